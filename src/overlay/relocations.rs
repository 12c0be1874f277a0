//! The files of a view that show another path than the store has: as they are recorded, and by inode number.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::ObjectId;
use crate::store::embedded_paths::EmbeddedPaths;
use crate::store::import::PathScan;

use super::types::Ino;

/// A file or symlink of the lower that a view relocates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Relative to the view's root.
    pub(super) path: PathBuf,
    /// The path that it holds in the store.
    pub(super) from: PathBuf,
    /// The contents that were looked into; `None`: a symlink.
    pub(super) object: Option<ObjectId>,
    pub(super) occurrences: u64,
}

/// All files that one view relocates, and the path that they show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relocations {
    pub(super) to: PathBuf,
    pub(super) files: Vec<Relocation>,
}

impl Relocations {
    /// Those of the view that is mounted at `mount`, relative to the worktree.
    pub(crate) fn of(record: &EmbeddedPaths, mount: &Path) -> Relocations {
        let Some(to) = record.worktree.clone() else { return Relocations::default() };
        let mut files = Vec::new();
        for traced in &record.artifacts {
            let Ok(inside) = traced.path.strip_prefix(mount) else { continue };
            for trace in traced.traces.iter().filter(|trace| trace.relocated) {
                let Some(served) = &trace.served else { continue };
                let object = match served.object.as_deref().map(str::parse) {
                    Some(Ok(object)) => Some(object),
                    Some(Err(_)) => continue,
                    None => None,
                };
                let path = inside.join(&trace.path);
                files.push(Relocation { path, from: trace.root.clone(), object, occurrences: served.occurrences });
            }
        }
        Relocations { to, files }
    }
}

/// The table of a view: its relocated files by inode number.
#[derive(Default)]
pub(super) struct RelocatedFiles {
    pub wanted: Relocations,
    pub by_ino: HashMap<Ino, RelocatedFile>,
}

/// The path that one file holds in the store, and how often.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RelocatedFile {
    pub from: Arc<Path>,
    pub occurrences: u64,
}

impl RelocatedFiles {
    /// Whether the view decides what this file of the lower shows.
    pub fn has(&self, ino: Ino) -> bool {
        !self.by_ino.is_empty() && self.by_ino.contains_key(&ino)
    }

    /// Whether it shows other bytes than the store has.
    pub fn differs(&self, ino: Ino) -> bool {
        self.has(ino) && self.by_ino.get(&ino).is_some_and(|file| *file.from != *self.wanted.to)
    }

    /// Whether the view relocates no file.
    pub fn is_empty(&self) -> bool {
        self.by_ino.is_empty()
    }

    /// The files, in any order.
    pub fn inodes(&self) -> impl Iterator<Item = Ino> + '_ {
        self.by_ino.keys().copied()
    }

    /// The length that a file of this length in the store has in the view.
    pub fn len_of(&self, ino: Ino, stored: u64) -> Option<u64> {
        let file = self.by_ino.get(&ino).filter(|_| self.differs(ino))?;
        let len = |path: &Path| path.as_os_str().len() as u64;
        let without = stored.checked_sub(file.occurrences.checked_mul(len(&file.from))?)?;
        without.checked_add(file.occurrences.checked_mul(len(&self.wanted.to))?)
    }

    /// The search for the path that this file holds, if it shows another.
    pub fn scan(&self, ino: Ino) -> Option<PathScan> {
        let file = self.by_ino.get(&ino).filter(|_| self.differs(ino))?;
        PathScan::new(file.from.as_os_str().as_bytes())
    }

    /// The path that the files show.
    pub fn to(&self) -> &[u8] {
        self.wanted.to.as_os_str().as_bytes()
    }
}
