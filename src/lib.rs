//! depsfs gives a git worktree its artifact directories at once: FUSE views of one shared store.
//!
//! # Layers
//!
//! They look one way only; a layer may skip down, never up (`tests/layers.rs` holds this and the rules below):
//!
//! ```text
//! cli → doctor → worktree → component → views → git → cache → remote → daemon → fuse → overlay → store → sys
//! ```
//!
//! | layer       | contents                                                              | named nowhere else       |
//! |-------------|-----------------------------------------------------------------------|--------------------------|
//! | `cli`       | words, flags, exit codes: one file per verb                           | clap, the terminal       |
//! | `doctor`    | checks of the machine, the store and all worktrees, and their repairs |                          |
//! | `worktree`  | a worktree's life: planned, created, adopted, synced, removed         |                          |
//! | `component` | `depsfs.toml`: what a repository builds, and the keys of its artifacts |                         |
//! | `views`     | the views of one worktree: manifest, status, diff, thaw, reset        |                          |
//! | `git`       | repositories, ignored files, the index, submodules, naming            | the program `git`, libgit2 |
//! | `cache`     | the build cache: artifacts by name, their sources and destinations    | the programs curl, aws, ssh |
//! | `remote`    | a team's object stores: entries, packs, trees, pushed and fetched     | the object store's crate, tokio |
//! | `daemon`    | one daemon per worktree: keeper and server, and requests to them      | its state directory      |
//! | `fuse`      | the kernel's requests as calls on the overlay                         | the crate `fuser`        |
//! | `overlay`   | one view without a kernel: upper, journal and lower as one tree       | the journal              |
//! | `store`     | objects, trees, entries, roots: what all worktrees share              | their bytes on disk      |
//! | `sys`       | files, maps, mounts, processes, as the operating system has them      | `unsafe`, system calls   |
//!
//! # Where to change what
//!
//! | change                                              | file |
//! |-----------------------------------------------------|------|
//! | the order or a cookie of a directory listing        | `overlay/position.rs`, `overlay/readdir.rs`, `fuse/listing.rs` |
//! | a record of the journal                             | `overlay/journal/record.rs`, `overlay/journal/bytes.rs`, `overlay/state.rs` |
//! | the paths that `create` shares, copies or leaves out | `git/ignored.rs`, `git/include.rs`, `worktree/fit.rs` |
//! | a check of `doctor`                                 | `doctor/mod.rs` and the file beside it for its subject |
//! | the namespace of `depsfs exec`                      | `worktree/at_source.rs`, `sys/namespace.rs` |
//! | another remote for artifacts                        | `cache/remote.rs`, `cache/environment.rs`, `mount-helpers/cache-remotes.toml` |
//! | the order in which contents are fetched             | `remote/fetcher/work.rs` |
//! | the bytes or names of remote objects                | `remote/layout.rs`, `remote/entry.rs`, `remote/pack.rs` |
//! | the reply to a FUSE request                         | `fuse/adapter.rs`, then the file of the operation in `overlay/` |
//! | the hook of a program that makes worktrees          | `cli/hook/caller.rs`, the file of the program beside it, `mount-helpers/` |
//! | the text, hint or exit code of an error             | the file `error` of its layer, `cli/remedies.rs` |
//!
//! # Five walks
//!
//! **A read.** The kernel opens a file of a view without a message (`fuse/mod.rs`, zero-message opens). The first read
//! of a page arrives on the thread of a worker (`fuse/worker.rs`; assigned by `fuse/pool.rs`), becomes a call
//! (`fuse/adapter.rs`) on the connection's view (`fuse/connection.rs`), that is on the overlay
//! (`overlay/read.rs`), which takes the file's descriptor from its cache (`overlay/cache.rs`) or opens it
//! (`overlay/files.rs`): the upper's file if there is one (`overlay/upper.rs`), else the object of the tree's entry
//! (`overlay/lower.rs`, `store/tree/mod.rs`, `store/objects.rs`). A small object is in a pack with its neighbours
//! (`store/pack/mod.rs`, `sys/extent.rs`). From then on the kernel has the page. Big files of a view with few others
//! (`daemon/fast_path.rs`) are opened by a message, and read from the object without another (`fuse/passthrough.rs`).
//! Bytes that are not in memory are read by another thread (`overlay/at_hand.rs`, `fuse/offload.rs`): the worker's
//! waits for no disk. Lookups came before: each (`overlay/resolve.rs`) queries upper, journal (`overlay/state.rs`) and lower, in that
//! order.
//!
//! **A first write.** The same way to `overlay/write.rs`, which starts a copy-up (`overlay/copy_up.rs`,
//! `sys/copy.rs`): a clone if the file system can, into the upper, announced in the journal
//! (`overlay/journal/mod.rs`, `overlay/journal/record.rs`; its location: `overlay/state_dir.rs`), linked at its name,
//! under its old inode number. A large file is copied while others use the view (`fuse/offload.rs`); the write does not
//! wait for the disk, an intent covers the copy until it is flushed (`overlay/writeback.rs`). The bytes go to the copy;
//! the object is open for reading only, and cannot be written. A change of mode or times alone copies nothing
//! (`overlay/attr.rs`), a deleted name is a whiteout (`overlay/remove.rs`), a moved directory one record
//! (`overlay/rename.rs`).
//!
//! **`depsfs create`.** `cli/create.rs` finds the checkout and the store (`cli/places.rs`); `worktree/plan.rs` checks
//! everything first: names (`git/naming.rs`), configuration (`git/settings.rs`), ignored files
//! (`git/ignored.rs`), submodules (`git/submodule.rs`). Then `worktree/create.rs` has git make the worktree
//! (`git/command.rs`), with the source's files if those are the blobs (`worktree/copy_checkout.rs`),
//! while a thread makes trees of the source's directories (`worktree/snapshot.rs`,
//! `store/import/dir.rs`: one `fstatat` for each unchanged file, `store/import/scan.rs`; files that it reads, it
//! searches for the source's absolute path, `store/import/watch.rs`; of a changed view it queries the changes, and
//! copies the rest from its trees, `views/changed_source.rs`, `store/import/shared.rs`, `overlay/unchanged.rs`).
//! Artifacts without a place at the new commit are left out (`worktree/fit.rs`). Tracked files take
//! the source's times (`worktree/mtime.rs`), files with embedded paths of the source are noted, for the view to
//! relocate them (`worktree/relocation/mod.rs`, `overlay/relocated.rs`), manifest and root are written (`store/manifest.rs`, `store/roots.rs`),
//! and the daemon is started (`daemon/client.rs`): its keeper mounts (`daemon/keeper/reconcile.rs`, `sys/mount.rs`,
//! or `sys/fusermount.rs` for an ordinary user) and starts a server (`daemon/keeper/supervise.rs`), which opens the
//! overlay (`daemon/server.rs`, `overlay/open.rs`) and answers. One request to each view tests the answer
//! (`views/probe.rs`). A create that fails half-way is undone (`worktree/undo.rs`), and so is one that was killed, by
//! its record (`worktree/unfinished.rs`). `depsfs adopt` does the same for an existing worktree (`worktree/adopt.rs`).
//!
//! **`depsfs cache get`.** `cli/cache.rs` reads the variables, `cache/fetch.rs` finds the artifact in the store, in
//! `CACHE_LOCAL_DIR` (`cache/local.rs`) or at the remote (`cache/remote.rs`), one process at a time
//! (`sys/single_flight.rs`),
//! and imports it (`store/import/archive/mod.rs`). `worktree/placement/mod.rs` maps its members to directories
//! (`worktree/placement/layout.rs` queries git), makes a tree of each part (`store/tree/build.rs`), names them in the
//! manifest and has the daemon show them (`views/layers.rs`); deleted files of theirs are restored in the view
//! (`overlay/shadowed.rs`). The other members become plain files (`store/extract.rs`). `depsfs sync` brings other
//! artifacts to a worktree the same way (`worktree/artifacts/materialize.rs`, `worktree/sync/mod.rs`); private copies
//! that still equal the old artifacts are dropped first (`views/drop_unchanged.rs`, `overlay/drop_unchanged.rs`).
//!
//! **`depsfs gc`.** `store/gc.rs` takes the store's exclusive lock (`store/locks.rs`): imports and creates hold it shared,
//! views never do. It marks the trees of every manifest that a root names and those that a daemon holds
//! (`store/roots.rs`, `store/manifest.rs`), those of worktrees that are only away (`store/absence.rs`), those of
//! entries used lately (`store/entries.rs`), and the objects in them; then it sweeps trees, and after them objects, the
//! small ones by whole packs (`store/repack.rs`). An unreadable file stops it before it deletes anything.
//!
//! Beside them, `depsfs doctor` (`doctor/mod.rs`) checks every part of this without waiting for one
//! (`daemon/health.rs`, `sys/proc.rs`), and `cli/mount_all.rs` and `cli/service.rs` go over all worktrees
//! (`views/all_worktrees.rs`).

#![deny(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::missing_errors_doc)]
// The documentation is for those who change the program.
#![allow(rustdoc::private_intra_doc_links)]
#![cfg_attr(
    not(test),
    warn(clippy::disallowed_methods, clippy::disallowed_types, clippy::let_underscore_must_use, clippy::unwrap_used)
)]

pub(crate) mod cache;
pub mod cli;
pub mod component;
pub mod daemon;
pub(crate) mod doctor;
pub(crate) mod fuse;
pub(crate) mod git;
pub mod overlay;
pub(crate) mod remote;
pub mod store;
// The error of a system call that changes nothing is discarded at the call itself.
#[allow(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types, clippy::let_underscore_must_use)]
pub mod sys;
pub mod views;
pub(crate) mod worktree;
