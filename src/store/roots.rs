//! Which worktrees use the store: what their manifests name, gc keeps.
//!
//! One JSON file per worktree, version 1, named by the hash of its manifest's path. A root whose manifest is gone
//! is dead. One whose manifest can't be read may be alive.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Manifest, Store, StoreError, escape};
use crate::sys::path as paths;

const VERSION: u32 = 1;

/// A worktree that uses, or used, the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The root's own file.
    pub file: PathBuf,
    /// Where the manifest is or was; nothing when the root's own file is damaged.
    pub manifest: Option<PathBuf>,
    pub state: RootState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootState {
    Live(Box<Manifest>),
    /// The manifest is gone.
    Dead,
    /// In words, why the manifest or the root can't be read.
    Unreadable(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    version: u32,
    #[serde(with = "escape::path")]
    manifest: PathBuf,
}

/// The roots of a store.
pub struct Roots<'s> {
    store: &'s Store,
}

impl<'s> Roots<'s> {
    pub(super) fn of(store: &'s Store) -> Roots<'s> {
        Roots { store }
    }

    /// Makes known that the manifest at this absolute path keeps trees alive. Repeating is harmless.
    pub fn add(&self, manifest: &Path) -> Result<(), StoreError> {
        if paths::stat(&self.file(manifest))?.is_some() {
            return Ok(());
        }
        let root = OnDisk { version: VERSION, manifest: manifest.into() };
        let bytes = serde_json::to_vec(&root).expect("strings and numbers are always JSON");
        self.store.put_file("roots", &name(manifest), &bytes, 0o644)
    }

    /// Forgets the manifest at this path; one that isn't known is fine.
    pub fn remove(&self, manifest: &Path) -> Result<(), StoreError> {
        Ok(paths::remove_file(&self.file(manifest))?)
    }

    /// All roots, sorted by the path of their manifests.
    pub fn list(&self) -> Result<Vec<Root>, StoreError> {
        let dir = self.store.path().join("roots");
        let files = paths::list(&dir)?.into_iter().map(|e| dir.join(std::ffi::OsStr::from_bytes(&e.name)));
        let mut roots = files.filter_map(|file| read(file).transpose()).collect::<Result<Vec<Root>, _>>()?;
        roots.sort_by(|a, b| a.manifest.cmp(&b.manifest));
        Ok(roots)
    }

    fn file(&self, manifest: &Path) -> PathBuf {
        self.store.path().join("roots").join(name(manifest))
    }
}

fn name(manifest: &Path) -> String {
    blake3::hash(manifest.as_os_str().as_bytes()).to_hex().to_string()
}

/// Reads a root's file and the manifest it tells of; nothing when the file was removed meanwhile.
fn read(file: PathBuf) -> Result<Option<Root>, StoreError> {
    let Some(bytes) = paths::read_if_there(&file)? else { return Ok(None) };
    let found = serde_json::from_slice::<OnDisk>(&bytes).map_err(|e| e.to_string()).and_then(|root| {
        let known = root.version == VERSION;
        known.then_some(root.manifest).ok_or_else(|| format!("it has version {}", root.version))
    });
    let manifest = match found {
        Ok(manifest) => manifest,
        Err(why) => return Ok(Some(Root { file, manifest: None, state: RootState::Unreadable(why) })),
    };
    let state = match paths::read_if_there(&manifest) {
        Ok(None) => RootState::Dead,
        Ok(Some(bytes)) => Manifest::parse(&bytes).map_or_else(RootState::Unreadable, |m| RootState::Live(Box::new(m))),
        Err(e) => RootState::Unreadable(e.to_string()),
    };
    Ok(Some(Root { file, manifest: Some(manifest), state }))
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
        store.roots().add(&path).unwrap();
        store.roots().add(&path).unwrap();
        assert_eq!(state(), Some(RootState::Dead));
        paths::replace(&path, b"{}").unwrap();
        assert!(matches!(state(), Some(RootState::Unreadable(_))));
        let manifest = Manifest {
            version: 1,
            worktree: "/w".into(),
            store: "/s".into(),
            source: Some("/src".into()),
            commit: None,
            created: String::new(),
            allow_other: false,
            views: vec![],
            generation: 0,
        };
        manifest.save(&path).unwrap();
        assert_eq!(state(), Some(RootState::Live(Box::new(manifest))));
        store.roots().remove(&path).unwrap();
        assert_eq!(state(), None);
    }
}
