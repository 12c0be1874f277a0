//! The frozen, content-addressed store that all worktrees share: objects, trees, entries, roots.
//!
//! ```text
//! version            depsfs store 2 (of an older one: 1, until it gets a pack; 3 once objects may be absent)
//! CACHEDIR.TAG       backups skip it
//! objects/ab/cdef…   the bytes of one file, 0444, named by their BLAKE3 hash; never opened for writing again
//! packs/<hash>       the bytes of many small files ([`pack`]), 0444, in place of as many objects
//! packs/<hash>.have  which objects of a sparse pack are here ([`sparse`])
//! trees/ab/cdef…     indexes of directories ([`tree`]), named by their BLAKE3 hash
//! sources/<hash>     of a tree whose objects are not all here: where they can be had ([`sources`])
//! entries/<name>     names for trees, and where they came from ([`Entries`])
//! roots/<hash>       one per worktree: where its manifest is, and what its daemon needs ([`Roots`])
//! snapshots/<hash>   what an imported directory looked like, so that the next import reads only what changed
//! checked/<hash>     large objects whose bytes were found to be their own ([`Store::check_large`])
//! received/<name>    what came with an entry from a remote: its origin, the times of tracked files
//! damaged/<hash>     objects that were met damaged or missing ([`Lost`])
//! tmp/               everything is written here first, then renamed
//! private            the directory was made, or has been made, 0700 ([`private`]): a later chmod is its owner's
//! fetcher/           the socket and the log of the process that brings absent objects ([`demand`])
//! lock               shared by imports and creates, exclusive for gc
//! log/               what commands changed, when, with which outcome ([`OperationLog`]); nothing depends on it
//! turns              of those that import the same thing at once, one after the other ([`Store::single_flight`])
//! ```
//!
//! Readers never lock. A name in `objects`, `trees` or `entries` stands for whole bytes, after a power cut too, and
//! whatever is named stands on what is on disk already:
//!
//! | step                                            | synced by                  | a power cut right after it leaves |
//! |-------------------------------------------------|----------------------------|-----------------------------------|
//! | 1. bytes of objects, in `tmp` ([`Stage`])       | each, or all at once ([`publish`]) | leftovers in `tmp`        |
//! | 2. names of objects                             | their directories, or all at once | objects that nothing names |
//! | 3. bytes of the tree, in `tmp`; its name        | file, then directory       | a tree that nothing names         |
//! | 4. the entry ([`Entries`]) or the root ([`Roots`]) | file, then directory    | an entry that is whole; a root that is dead |
//! | 5. the manifest, which names trees ([`Manifest`]) | file                     | a worktree without views, or with all of them |
//!
//! Steps 1 to 3 are not done for what is there: a `create` from an unchanged source syncs its root and its manifest
//! only. An object or tree that another import named a moment ago counts as there. Its bytes are on disk; its name gets
//! there with the sync of what is named later, as file systems with one journal (ext4, xfs) promise. Snapshots are
//! never synced: a torn one is not used.
//!
//! | file | contents |
//! |------|----------|
//! | `objects`, `pack/`, `stage`, `writer`, `publish` | bytes of files: found, collected unseen by an import, named at its end |
//! | `sparse`, `sources`, `demand`, `arrival` | objects that are not here yet: packs without bytes, where they can be had, the request for one, the wait for it |
//! | `tree/`, `trees` | indexes of directories: their format, and those that are open |
//! | `version`, `entries`, `versioned` | the store's version; names for trees, and JSON files with a version |
//! | `roots`, `manifest`, `frame`, `absence` | worktrees that use the store, their manifests, and worktrees that are away |
//! | `embedded_paths` | the files of a worktree that hold the path of a checkout |
//! | `locks`, `private` | the lock of imports and gc; the permissions of the store |
//! | `import/`, `extract`, `plain_copy/` | directories and archives become trees; trees become plain files |
//! | `gc`, `repack` | the deletion of trees, objects and packs |
//! | `check`, `verify`, `damage`, `lost`, `file_times` | damage: found, noted, reported |
//! | `operations`, `progress` | the log of commands; progress and its cancellation |
//! | `id`, `name`, `escape`, `pool` | hashes, file names, names as text, work for all cores |

mod absence;
mod arrival;
mod check;
mod damage;
mod demand;
pub(crate) mod embedded_paths;
mod entries;
mod error;
pub mod escape;
pub mod extract;
#[cfg(test)]
#[path = "tests/fault.rs"]
mod fault_tests;
mod file_times;
pub mod frame;
mod gc;
mod id;
pub mod import;
mod locks;
mod lost;
pub mod manifest;
mod name;
mod objects;
mod operations;
pub mod pack;
pub mod plain_copy;
mod pool;
mod private;
mod progress;
mod publish;
mod repack;
mod roots;
mod sources;
mod sparse;
mod stage;
pub mod tree;
mod trees;
mod verify;
mod version;
mod versioned;
mod writer;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub(crate) use absence::Absence;
pub use arrival::{DEFAULT_FETCH_WAIT, FETCH_WAIT_VARIABLE, seconds_of_variable};
pub use check::Checked;
pub use damage::DamageKind;
pub(crate) use damage::{Damage, OTHER_BYTES};
pub use demand::{FETCHER_DIR, SOCKET as FETCHER_SOCKET, Unanswered, demand, start_fetcher};
pub(crate) use entries::Entries;
pub use entries::{Entry, Provenance};
pub(crate) use error::FileKind;
pub use error::StoreError;
pub use file_times::FileTimes;

pub use gc::{AwayRoot, GcOptions, GcReport};
pub(crate) use id::{LARGE, PackId};
pub use id::{ObjectId, TreeId};
pub use locks::{StoreExclusive, StoreShare};
pub(crate) use lost::Lost;
pub use lost::Notes;
pub use manifest::Manifest;
pub(crate) use name::NameError;
#[cfg(test)]
pub(crate) use name::with_equal_cookies;
pub use name::{Cookie, Name};
pub use objects::Objects;
pub use operations::{LoggedOperation, OperationLog, OperationOutcome, ReadOperations};
pub use progress::Progress;
pub use roots::{Root, RootState};
pub(crate) use roots::{RootHold, Roots};
pub use stage::Added;
pub(crate) use stage::{CopyError, Stage};
pub use tree::{Node, Tree, TreeBuilder};
pub(crate) use tree::{NodeStat, TreeEntry};
pub use verify::Verified;
pub(crate) use versioned::not_json;

use crate::sys::fs::{self, OpenFlags, RenameFlags};
use crate::sys::lock::Lock;
use crate::sys::single_flight::SingleFlight;
use crate::sys::temporary::{Leftover, TemporaryFile};
use crate::sys::{IoError, copy, fs_type, path as paths};

/// How long one import waits for another of the same thing.
const FLIGHT_TIMEOUT: Duration = Duration::from_secs(300);

/// Trees of a dry run, which are not written.
type DryTrees = Mutex<HashMap<TreeId, Arc<Tree>>>;

/// An open store. Clones share one descriptor.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    dir: Arc<OwnedFd>,
    objects: Arc<Objects>,
    /// Of a dry handle: the trees that it was given.
    dry: Option<Arc<DryTrees>>,
}

impl Store {
    /// Opens the store at `path`, made when it is absent or an empty directory. Only its owner may.
    ///
    /// # Errors
    /// The store is of an unknown version, belongs to another user, or cannot be created.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        private::refuse_others(path)?;
        if !paths::is_dir(&path.join("objects")) || paths::read_if_there(&path.join("version"))?.is_none() {
            private::make(path)?;
        }
        Store::open_made(path)
    }

    /// Opens the store at `path`, which a manifest names: one that is gone is an error, and is not made anew, empty.
    ///
    /// # Errors
    /// [`StoreError::Gone`]
    pub fn existing(path: &Path) -> Result<Store, StoreError> {
        match paths::stat(&path.join("version"))? {
            Some(_) => Store::open_made(path),
            None => Err(StoreError::Gone { path: path.into() }),
        }
    }

    fn open_made(path: &Path) -> Result<Store, StoreError> {
        let path = paths::canonical(path)?;
        version::check(&path)?;
        let dir = Arc::new(paths::open_dir(&path)?);
        private::tighten(&dir, &path)?;
        let objects = Arc::new(Objects::open_dir(&path)?);
        Ok(Store { path, dir, objects, dry: None })
    }

    /// Another handle of this store, for a dry run: what is imported through it is hashed and not written, and its trees are
    /// in memory, for this handle and its clones.
    pub fn dry(&self) -> Store {
        Store { dry: Some(Arc::default()), ..self.clone() }
    }

    fn is_dry(&self) -> bool {
        self.dry.is_some()
    }

    /// Absolute, without symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The objects and packs of this store. The clones of a `Store` share them.
    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// The named trees. Nothing is read until a method is called.
    pub fn entries(&self) -> Entries<'_> {
        Entries::of(self)
    }

    /// The worktrees whose trees gc keeps. Nothing is read until a method is called.
    pub fn roots(&self) -> Roots<'_> {
        Roots::of(self)
    }

    /// Whether the file of a tree is there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the look-up fails for another reason than that it is absent.
    pub fn has_tree(&self, id: TreeId) -> Result<bool, StoreError> {
        match self.must_have_tree(id) {
            Ok(()) => Ok(true),
            Err(StoreError::NoTree(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// # Errors
    /// [`StoreError::NoTree`]; [`StoreError::Io`] if the look-up fails for another reason.
    fn must_have_tree(&self, id: TreeId) -> Result<(), StoreError> {
        let place = format!("trees/{}", id.place());
        match fs::stat_at(&self.dir, place.as_bytes()) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(StoreError::NoTree(id)),
            Err(e) => Err(IoError::of("stat", &self.path.join(place))(e).into()),
        }
    }

    /// The right to bring into the store what this hash stands for: another process with the same hash waits until the
    /// value is dropped, and then finds it done. `None` for a store that nothing is brought into.
    ///
    /// # Errors
    /// The lock's file cannot be opened or locked; or that of `go_on`, which may end the waiting.
    pub(crate) fn single_flight<E: From<IoError>>(
        &self,
        of: &blake3::Hash,
        go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<SingleFlight>, E> {
        if self.is_dry() {
            return Ok(None);
        }
        let number = tree::u64_at(of.as_bytes(), 0);
        let path = self.path.join("turns");
        let attempt = || {
            let file = fs::open_at(&self.dir, b"turns", OpenFlags::RDWR | OpenFlags::CREATE, 0o666);
            Ok(file.and_then(|file| Lock::try_numbered(file, number)).map_err(IoError::of("lock", &path))?)
        };
        SingleFlight::wait(attempt, go_on).map(Some)
    }

    /// As [`Self::single_flight`], for work that may also be done twice: after [`FLIGHT_TIMEOUT`], when it is cancelled, or
    /// where the file system has no such locks.
    pub(crate) fn try_single_flight(&self, of: &blake3::Hash, is_cancelled: impl Fn() -> bool) -> Option<SingleFlight> {
        let until = Instant::now() + FLIGHT_TIMEOUT;
        let go_on = || match is_cancelled() || Instant::now() > until {
            true => Err(IoError::of("lock", &self.path.join("turns"))(std::io::ErrorKind::TimedOut.into())),
            false => Ok(()),
        };
        self.single_flight(of, go_on).ok().flatten()
    }

    /// Waits until everything that was done in the store is on disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        Ok(fs::syncfs(&self.dir).map_err(IoError::of("sync", &self.path))?)
    }

    /// A place to collect new objects in, unseen until they are published.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn stage(&self) -> Result<Stage, StoreError> {
        Stage::new(self)
    }

    /// Adds a tree whose objects are all in the store.
    ///
    /// # Errors
    /// The tree is larger than its format allows, or the store cannot be written.
    pub fn put_tree(&self, builder: &TreeBuilder) -> Result<TreeId, StoreError> {
        self.put_tree_bytes(&builder.finish()?)
    }

    /// As [`Store::put_tree`], for a tree that was built already. A tree that is there is left as it is.
    pub(crate) fn put_tree_bytes(&self, bytes: &[u8]) -> Result<TreeId, StoreError> {
        let id = TreeId::of(bytes);
        if let Some(trees) = &self.dry {
            let tree = Tree::from_bytes(bytes.to_vec()).map_err(|source| StoreError::BadTree { id, source })?;
            trees.lock().insert(id, Arc::new(tree));
            return Ok(id);
        }
        if !self.tree(id).is_ok_and(|tree| tree.bytes() == bytes) {
            let (bucket, rest) = id.split();
            self.make_tree_dir(&bucket).map_err(IoError::of("create", &self.path.join("trees")))?;
            self.put_file(&format!("trees/{bucket}"), &rest, bytes, 0o444)?;
        }
        Ok(id)
    }

    fn make_tree_dir(&self, bucket: &str) -> std::io::Result<()> {
        if make_dir(&self.dir, &format!("trees/{bucket}"))? && !fs_type::commits_names_in_order(&self.dir) {
            fs::fsync(fs::open_dir_at(&self.dir, b"trees")?)?;
        }
        Ok(())
    }

    /// Writes `bytes` to a temporary file, syncs it, gives it its name and syncs that.
    pub(crate) fn put_file(&self, dir: &str, name: &str, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
        self.put_file_with(dir, name, bytes, mode, |_| Ok(()))
    }

    /// As [`Store::put_file`], calling `unnamed` with the file before it gets its name.
    fn put_file_with(
        &self,
        dir: &str,
        name: &str,
        bytes: &[u8],
        mode: u32,
        unnamed: impl FnOnce(&OwnedFd) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        let path = self.path.join(dir).join(name);
        let to = paths::open_dir(&self.path.join(dir))?;
        let aside = format!("tmp/{}", aside_name());
        let one_journal = fs_type::commits_names_in_order(&self.dir);
        let write = || {
            let new = TemporaryFile::make(self.dir.as_fd(), aside.as_bytes(), mode, Leftover::Refuse)?;
            let file = new.file();
            fs::chmod(file, mode)?;
            fs::write_all_at(file, bytes, 0)?;
            // With one journal the directory's sync commits the file, too, once its bytes are written.
            if one_journal {
                copy::write_back(file)?
            } else {
                fs::fdatasync(file)?
            }
            unnamed(file)?;
            new.rename(&to, name.as_bytes(), RenameFlags::empty())?;
            fs::fsync(&to)
        };
        write().map_err(|e| IoError::of("write", &path)(e).into())
    }

    /// Replaces a file of the store by one that was written in `tmp/`. Not synced: what is in it can be made again, and
    /// its reader refuses a torn one.
    ///
    /// # Errors
    /// It cannot be written or renamed.
    pub(crate) fn replace_unsynced(&self, path: &Path, bytes: &[u8]) -> Result<(), IoError> {
        replace_unsynced(&self.path, path, bytes)
    }
}

/// As [`Store::replace_unsynced`], for the store at `store`.
fn replace_unsynced(store: &Path, path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    paths::replace_through(&store.join("tmp").join(aside_name()), path, bytes, |_| Ok(()))
}

/// A name in `tmp/` that no other process or thread uses now: none is in two at once, and a dead one's leftovers
/// carry another time.
pub(crate) fn aside_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = fs::Timespec::now();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}-{:x}{:08x}", std::process::id(), now.sec, now.nsec)
}

/// `false`: it was there.
fn make_dir(dir: impl AsFd, name: &str) -> std::io::Result<bool> {
    match fs::mkdir_at(dir, name.as_bytes(), 0o777) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tree::NodeMeta;

    #[test]
    fn a_store_is_made_once_and_other_directories_and_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/store");
        Store::open(&path).unwrap();
        assert_eq!(Store::open(&path).unwrap().path(), paths::canonical(&path).unwrap());
        paths::replace(&path.join("version"), b"depsfs store 4\n").unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Version { .. })));
        let other = dir.path().join("other");
        paths::make_dirs(&other.join("src")).unwrap();
        assert!(matches!(Store::open(&other), Err(StoreError::NotAStore { .. })));
        assert_eq!(paths::list(&other).unwrap().len(), 1);
    }

    #[test]
    fn a_stored_tree_is_mapped_and_a_damaged_one_is_replaced_when_it_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let builder = TreeBuilder::new(NodeMeta { perm: 0o755, ..NodeMeta::default() });
        let id = store.put_tree(&builder).unwrap();
        assert_eq!(store.tree(id).unwrap().stat(Node::ROOT).perm, 0o755);
        let path = dir.path().join("trees").join(id.place());
        paths::remove_file(&path).unwrap();
        assert!(matches!(store.tree(id), Err(StoreError::NoTree(_))));
        paths::replace(&path, b"depsfs T").unwrap();
        assert!(matches!(store.tree(id), Err(StoreError::BadTree { .. })));
        assert_eq!(store.put_tree(&builder).unwrap(), id);
        assert!(store.tree(id).is_ok() && store.has_tree(id).unwrap());
        assert_eq!(paths::list(&dir.path().join("tmp")).unwrap(), []);
    }

    #[test]
    fn shares_go_together_and_keep_the_exclusive_lock_away() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let shares = (store.share().unwrap(), store.stage().unwrap());
        assert!(matches!(store.try_exclusive(), Err(StoreError::Busy)));
        drop(shares);
        assert!(store.try_exclusive().is_ok());
    }
}
