//! The findings of an import's workers: directories, files, and their attributes.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::place::SourceDir;
use super::{Holds, ImportStats, SkipReason, Skipped};
use crate::store::Tree;
use crate::store::tree::Xattr;
use crate::store::{Name, Node, ObjectId};
use crate::sys::fs::{self, Stat};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A directory of the source: one that the last import knew, or a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DirKey {
    Before(Node),
    New(u32),
    /// Of a view: as its trees have it, with all below it.
    Shared(u64),
}

/// The node of one name in a directory that changed.
pub(super) enum FoundEntry {
    /// The node it was.
    Same(Node),
    /// Of a view: a file, symlink or fifo as its tree has it, by its inode number.
    Shared(u64),
    Dir(DirKey),
    /// The number of a file that is read; hard links share one.
    File(u32),
    Symlink(Stat, Box<[u8]>),
    Fifo(Stat),
}

/// A directory that is not as it was.
pub(super) struct DirFound {
    pub stat: Stat,
    pub xattrs: Vec<Xattr>,
    pub names: Vec<(Name, FoundEntry)>,
}

/// The findings of one worker.
#[derive(Default)]
pub(super) struct Findings {
    pub dirs: HashMap<DirKey, DirFound>,
    pub files: Vec<(u32, FileFound)>,
    pub skipped: Vec<Skipped>,
    /// Directories that could not be read.
    pub closed: HashSet<DirKey>,
    pub stats: ImportStats,
    pub buf: Vec<u8>,
}

impl Findings {
    /// Leaves out a directory that could not be read.
    pub fn closed(&mut self, key: DirKey, path: PathBuf) {
        self.skipped.push(Skipped { path, why: SkipReason::Unreadable });
        self.closed.insert(key);
    }
}

/// Some files of one directory, with their numbers.
pub(super) struct ReadJob {
    pub place: Arc<SourceDir>,
    pub files: Vec<(u32, Box<[u8]>)>,
}

/// A file that was read.
pub(super) struct FileFound {
    pub stat: Stat,
    pub object: ObjectId,
    pub xattrs: Vec<Xattr>,
    pub holds: Holds,
}

/// The user xattrs of an open file or directory that belong in a tree.
pub(crate) fn xattrs_of(file: impl AsFd) -> std::io::Result<Vec<Xattr>> {
    fs::user_xattrs(file).map(kept)
}

/// The xattrs that belong in a tree: `user.depsfs.*` are depsfs's own.
pub(super) fn kept(xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Xattr> {
    let own = |name: &[u8]| name.starts_with(b"user.depsfs.");
    xattrs.into_iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The path of a name in a directory of a tree, from its root.
pub(super) fn path_in(tree: &Tree, dir: Node, name: &[u8]) -> PathBuf {
    let mut names = vec![name];
    let mut at = dir;
    while let Some((parent, own)) = tree.place(at) {
        names.push(own);
        at = parent;
    }
    names.into_iter().rev().map(OsStr::from_bytes).collect()
}
