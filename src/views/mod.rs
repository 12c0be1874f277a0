//! The views of one worktree as the commands see them: its manifest, its mounts, and the user's own changes.
//!
//! | file | contents |
//! |------|----------|
//! | `set`, `manifest_lock` | a worktree's manifest, its state directory, its mounts, and the lock of the manifest |
//! | `reshape` | `depsfs mount --view`: the other way to mount the views |
//! | `whole` | one mount of all views, or a mount for each |
//! | `mounted` | requests to a mounted view |
//! | `contents` | contents that are not here yet are brought before all of them are needed |
//! | `access` | one view, through its mount or in this process |
//! | `copied/` | a view that is plain files |
//! | `layers`, `lower`, `origin` | the grafts of a view: added for artifacts, read as one tree, and where they came from |
//! | `in_use` | views that a program uses, which are refused |
//! | `stats` | the counters of a worktree's daemon |
//! | `status`, `diff`, `thaw`, `reset` | one file for each verb that works on views |
//! | `renamed` | directories of artifacts that were renamed |
//! | `drop_unchanged` | private copies that equal the store are dropped before the trees change |
//! | `changed_source` | a view with local changes as the source of an import |
//! | `nested_upper` | an upper as a lower of another view |
//! | `standalone_mount`, `mount_undo` | `depsfs mount --at`: a view without git |
//! | `activity` | what all worktrees do |
//! | `all_worktrees` | the worktrees of all repositories |
//! | `private_bytes`, `sharing` | the disk space of a worktree's own files, and what it saves |
//! | `probe` | one request to each new view, with a time limit |
//! | `embedded_paths`, `lockfile` | records beside the manifest: relocated files, and the lock files of package managers |
//! | `json_path` | paths in JSON |

pub(crate) mod access;
pub(crate) mod activity;
pub(crate) mod all_worktrees;
pub mod changed_source;
pub(crate) mod contents;
pub(crate) mod copied;
pub(crate) mod diff;
pub(crate) mod drop_unchanged;
pub(crate) mod embedded_paths;
mod error;
mod in_use;
pub(crate) mod json_path;
pub(crate) mod layers;
pub(crate) mod lockfile;
pub(crate) mod lower;
mod manifest_lock;
mod mount_undo;
mod mounted;
pub(crate) mod nested_upper;
pub(crate) mod origin;
pub(crate) mod private_bytes;
pub(crate) mod probe;
mod renamed;
pub(crate) mod reset;
pub(crate) mod reshape;
pub(crate) mod set;
pub(crate) mod sharing;
pub(crate) mod standalone_mount;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod thaw;
mod whole;

pub(crate) use error::ViewsError;
