//! Which worktrees use the store: what their manifests name, gc keeps.
//!
//! One JSON file per worktree, named by the hash of its manifest's path: that path, and the trees that the manifest
//! named when the file was written (version 2; version 1, which is still read, had none). A root whose manifest is
//! gone is dead, unless it is *held*: a daemon has its file locked as long as it lives, because views may be open
//! somewhere though worktree and manifest were deleted. One whose manifest can't be read may be alive. One whose
//! manifest is *away* ([`Absence`]) keeps the trees that it names, until its user lets go of it (`gc --forget`).
//!
//! | gc looks                    | a daemon begins                               |
//! |-----------------------------|-----------------------------------------------|
//! | 1. is the manifest there?   | 1. locks the file                             |
//! | 2. if not, is it held?      | 2. is the manifest there? If not, it ends     |
//!
//! So, whatever the order, one of the two sees the other. The file is never changed in place, and a new one is
//! locked before it has its name: it is never unlocked in between.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::absence::Absence;
use super::{FileKind, Manifest, Store, StoreError, TreeId, escape, versioned};
use crate::sys::fs::{self, OpenFlags};
use crate::sys::lock::Lock;
use crate::sys::{IoError, path as paths};

const VERSION: u32 = 2;

/// A worktree that uses, or used, the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The root's own file.
    pub file: PathBuf,
    /// The path that the manifest has or had; nothing when the root's own file is damaged.
    pub manifest: Option<PathBuf>,
    /// As it was when the root was read.
    pub state: RootState,
    /// The trees that a living daemon needs, whatever is in the manifest; `None` if none lives.
    pub held: Option<BTreeSet<TreeId>>,
    /// The trees that the root names itself; `None`: an older depsfs wrote it, and named none.
    pub named: Option<BTreeSet<TreeId>>,
}

/// The state of the manifest that a root names, as gc and doctor distinguish it. Only the trees of a
/// [`RootState::Dead`] one may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootState {
    /// The manifest is there, and is this one.
    Live(Box<Manifest>),
    /// The manifest is gone.
    Dead,
    /// The manifest is not there, and may come back with the directory that it was in.
    Away,
    /// In words, why the manifest or the root can't be read.
    Unreadable(String),
}

/// Keeps the trees that a root names alive until it is dropped.
#[derive(Debug)]
pub struct RootHold {
    lock: Lock,
}

impl RootHold {
    /// The hold that the program had which this process was before.
    pub(crate) fn inherited(lock: Lock) -> RootHold {
        RootHold { lock }
    }
}

impl AsFd for RootHold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootFile {
    version: u32,
    #[serde(with = "escape::path")]
    manifest: PathBuf,
    #[serde(default)]
    trees: BTreeSet<TreeId>,
}

/// The roots of a store.
pub struct Roots<'s> {
    store: &'s Store,
}

impl<'s> Roots<'s> {
    /// The roots of this store; nothing is read yet.
    pub(super) fn of(store: &'s Store) -> Roots<'s> {
        Roots { store }
    }

    /// Makes known that the manifest at this absolute path keeps trees alive, now `trees`. Repeating is harmless.
    pub fn add(&self, manifest: &Path, trees: &BTreeSet<TreeId>) -> Result<(), StoreError> {
        // Keeps gc away, for which the temporary file would be a leftover.
        let _share = self.store.share()?;
        self.note(manifest, trees)
    }

    /// As [`Roots::add`], for a caller that has the store's lock.
    pub(super) fn note(&self, manifest: &Path, trees: &BTreeSet<TreeId>) -> Result<(), StoreError> {
        let path = self.file(manifest);
        let Some(file) = open(&path)? else { return self.write(manifest, trees, |_| Ok(())) };
        // A holder of the root has named the trees that it needs. A process that is about to hold it waits, and then
        // finds the new one.
        let Some(alone) = Lock::try_exclusive(file).map_err(IoError::of("lock", &path))? else { return Ok(()) };
        let names_all = |root: RootFile| root.version == VERSION && root.trees.is_superset(trees);
        let is_named = parse(&paths::read_if_there(&path)?.unwrap_or_default()).is_ok_and(names_all);
        if is_named || !is_at(&alone, &path)? {
            return Ok(());
        }
        self.write(manifest, trees, |_| Ok(()))
    }

    /// Keeps `trees` alive as long as the value lives, also when the manifest goes. Waits while gc looks at the root.
    /// Only one at a time may do so for one manifest; what it held before it may drop afterwards.
    pub fn hold(&self, manifest: &Path, trees: &BTreeSet<TreeId>) -> Result<RootHold, StoreError> {
        let path = self.file(manifest);
        if let Some(file) = open(&path)? {
            let lock = Lock::shared(file).map_err(IoError::of("lock", &path))?;
            let named = parse(&paths::read_if_there(&path)?.unwrap_or_default());
            if is_at(&lock, &path)? && named.is_ok_and(|root| root.trees == *trees) {
                return Ok(RootHold { lock });
            }
        }
        let mut lock = None;
        let _share = self.store.share()?;
        self.write(manifest, trees, |file| {
            lock = Some(Lock::shared(fs::duplicate(file.as_fd())?)?);
            Ok(())
        })?;
        Ok(RootHold { lock: lock.expect("a root that was written was locked before") })
    }

    /// Forgets the manifest at this path; one that isn't known is fine. One that is held stays until gc finds it dead.
    pub fn remove(&self, manifest: &Path) -> Result<(), StoreError> {
        let path = self.file(manifest);
        let Some(file) = open(&path)? else { return Ok(()) };
        match Lock::try_exclusive(file).map_err(IoError::of("lock", &path))? {
            Some(_alone) => Ok(paths::remove_file(&path)?),
            None => Ok(()),
        }
    }

    /// All roots, sorted by the path of their manifests.
    pub fn list(&self) -> Result<Vec<Root>, StoreError> {
        self.list_where(&|_| true)
    }

    /// As [`Roots::list`], for a caller that must not wait: a manifest that `may_look` refuses is not looked for, and
    /// its root is left out.
    pub(crate) fn list_where(&self, may_look: &dyn Fn(&Path) -> bool) -> Result<Vec<Root>, StoreError> {
        let dir = self.store.path().join("roots");
        let files = paths::list(&dir)?.into_iter().map(|e| dir.join(std::ffi::OsStr::from_bytes(&e.name)));
        let read = |file| read(file, may_look).transpose();
        let mut roots = files.filter_map(read).collect::<Result<Vec<Root>, _>>()?;
        roots.sort_by(|a, b| a.manifest.cmp(&b.manifest));
        Ok(roots)
    }

    fn write(
        &self,
        manifest: &Path,
        trees: &BTreeSet<TreeId>,
        unnamed: impl FnOnce(&OwnedFd) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let root = RootFile { version: VERSION, manifest: manifest.into(), trees: trees.clone() };
        let bytes = serde_json::to_vec(&root).expect("strings and numbers are always JSON");
        self.store.put_file_with("roots", &name(manifest), &bytes, 0o644, unnamed)
    }

    fn file(&self, manifest: &Path) -> PathBuf {
        self.store.path().join("roots").join(name(manifest))
    }
}

fn name(manifest: &Path) -> String {
    blake3::hash(manifest.as_os_str().as_bytes()).to_hex().to_string()
}

fn open(path: &Path) -> Result<Option<OwnedFd>, StoreError> {
    match fs::open_path(path, OpenFlags::RDONLY, 0) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(IoError::of("open", path)(e).into()),
    }
}

/// Whether the locked file is still the one of this name.
fn is_at(lock: &Lock, path: &Path) -> Result<bool, StoreError> {
    let locked = fs::stat(lock).map_err(IoError::of("stat", path))?;
    Ok(paths::stat(path)?.is_some_and(|there| (there.dev, there.ino) == (locked.dev, locked.ino)))
}

fn parse(bytes: &[u8]) -> Result<RootFile, String> {
    versioned::parse(bytes, 1..=VERSION)
}

/// Reads a root's file and the manifest that it names; nothing when the file was removed meanwhile.
fn read(file: PathBuf, may_look: &dyn Fn(&Path) -> bool) -> Result<Option<Root>, StoreError> {
    let Some(bytes) = paths::read_if_there(&file)? else { return Ok(None) };
    let (manifest, named) = match parse(&bytes) {
        Ok(root) => (root.manifest, (root.version > 1).then_some(root.trees)),
        Err(why) => {
            let state = RootState::Unreadable(why);
            return Ok(Some(Root { file, manifest: None, state, held: None, named: None }));
        }
    };
    if !may_look(&manifest) {
        return Ok(None);
    }
    let state = match paths::read_if_there(&manifest) {
        Ok(None) => match Absence::of_manifest(&manifest) {
            Ok(Absence::Gone) => RootState::Dead,
            Ok(Absence::Away) => RootState::Away,
            Err(e) => RootState::Unreadable(e.to_string()),
        },
        Ok(Some(bytes)) => Manifest::parse(&bytes).map_or_else(RootState::Unreadable, |m| RootState::Live(Box::new(m))),
        Err(e) => RootState::Unreadable(e.to_string()),
    };
    let held = held(&file)?;
    Ok(Some(Root { file, manifest: Some(manifest), state, held, named }))
}

/// The trees that a root names, if a process holds it.
fn held(path: &Path) -> Result<Option<BTreeSet<TreeId>>, StoreError> {
    loop {
        let Some(file) = open(path)? else { return Ok(None) };
        if let Some(free) = Lock::try_exclusive(file).map_err(IoError::of("lock", path))? {
            if is_at(&free, path)? {
                return Ok(None);
            }
            // Replaced since it was opened, perhaps by a locked one.
            continue;
        }
        let bytes = paths::read_if_there(path)?.unwrap_or_default();
        return parse(&bytes).map(|root| Some(root.trees)).map_err(|why| StoreError::BadFile {
            kind: FileKind::Root,
            path: path.into(),
            why,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_lives_as_long_as_its_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let path = dir.path().join("manifest.json");
        let state = || store.roots().list().unwrap().pop().map(|r| r.state);
        store.roots().add(&path, &BTreeSet::new()).unwrap();
        store.roots().add(&path, &BTreeSet::new()).unwrap();
        assert_eq!(state(), Some(RootState::Dead));
        paths::replace(&path, b"{}").unwrap();
        assert!(matches!(state(), Some(RootState::Unreadable(_))));
        let source = Some("/src".into());
        let manifest = Manifest { source, ..Manifest::new(Path::new("/w"), Path::new("/s")) };
        manifest.save(&path).unwrap();
        assert_eq!(state(), Some(RootState::Live(Box::new(manifest))));
        store.roots().remove(&path).unwrap();
        assert_eq!(state(), None);
    }
    #[test]
    fn a_held_root_names_its_trees_and_stays_while_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let (roots, path) = (store.roots(), dir.path().join("manifest.json"));
        let held = || store.roots().list().unwrap().pop().map(|r| (r.state, r.held));
        let (one, two) = (BTreeSet::from([TreeId([1; 32])]), BTreeSet::from([TreeId([2; 32])]));
        roots.add(&path, &one).unwrap();
        assert_eq!(held(), Some((RootState::Dead, None)));
        let hold = roots.hold(&path, &one).unwrap();
        assert_eq!(held(), Some((RootState::Dead, Some(one.clone()))));
        let other = roots.hold(&path, &two).unwrap();
        drop(hold);
        assert_eq!(held(), Some((RootState::Dead, Some(two.clone()))));
        roots.remove(&path).unwrap();
        roots.add(&path, &one).unwrap();
        assert_eq!(held(), Some((RootState::Dead, Some(two))));
        drop(other);
        assert_eq!(held(), Some((RootState::Dead, None)));
        roots.remove(&path).unwrap();
        assert_eq!(held(), None);
        let made = roots.hold(&path, &one).unwrap();
        assert_eq!(held(), Some((RootState::Dead, Some(one))));
        drop(made);
    }

    #[test]
    fn a_root_that_nobody_holds_names_what_was_added_last_and_one_that_is_held_what_its_holder_needs() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let (roots, path) = (store.roots(), dir.path().join("manifest.json"));
        let (one, two) = (BTreeSet::from([TreeId([1; 32])]), BTreeSet::from([TreeId([2; 32])]));
        let named = || store.roots().list().unwrap().pop().and_then(|r| r.named);
        roots.add(&path, &one).unwrap();
        roots.add(&path, &two).unwrap();
        assert_eq!(named(), Some(two.clone()));
        let hold = roots.hold(&path, &two).unwrap();
        roots.add(&path, &one).unwrap();
        assert_eq!(named(), Some(two));
        drop(hold);
        roots.add(&path, &one).unwrap();
        assert_eq!(named(), Some(one));
    }

    #[test]
    fn a_root_of_version_1_is_read_and_replaced_when_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let path = dir.path().join("manifest.json");
        let file = store.roots().file(&path);
        paths::replace(&file, format!(r#"{{"version":1,"manifest":{path:?}}}"#).as_bytes()).unwrap();
        assert_eq!(store.roots().list().unwrap()[0].manifest, Some(path.clone()));
        let trees = BTreeSet::from([TreeId([1; 32])]);
        let _hold = store.roots().hold(&path, &trees).unwrap();
        assert_eq!(store.roots().list().unwrap()[0].held, Some(trees));
        paths::replace(&file, br#"{"version":3,"manifest":"/","more":0}"#).unwrap();
        let root = store.roots().list().unwrap().remove(0);
        assert_eq!(root.state, RootState::Unreadable("it has version 3, this depsfs knows 2".into()));
    }
}
