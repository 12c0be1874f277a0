//! Makes trees of what lies outside the store: directories ([`import_dir`]) and archives ([`import_archive`]).
//!
//! All or nothing: when an import fails, no tree and no object of it is in the store.

pub mod archive;
mod dir;
mod found;
mod lost;
mod place;
mod read;
mod room;
mod scan;
mod shared;
mod snapshot;
mod tree_search;
mod watch;

use std::fmt;
use std::path::PathBuf;

pub(crate) use archive::refuse_git;
pub use archive::{ArchiveLimits, Refused, import_archive};
pub(crate) use dir::import_shared;
pub use dir::{import_dir, import_dir_watching};
pub(crate) use found::xattrs_of;
pub(crate) use lost::files_lost;
pub use shared::Shared;
pub(crate) use tree_search::{HeldPath, search_tree};
pub(crate) use watch::PathScan;

use super::tree::BuildError;
use super::{StoreError, TreeId};
use crate::sys::IoError;
use crate::sys::fs::FileType;
use crate::sys::terminal::DisplayName;

/// The tree that a file of `snapshots` belongs to, if it is one that is known.
pub(in crate::store) fn snapshot_tree(bytes: &[u8]) -> Option<TreeId> {
    snapshot::check(bytes).or_else(|| archive::check(bytes)).or_else(|| tree_search::check(bytes))
}

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// It is in the store, with all its objects, on disk.
    pub tree: TreeId,
    /// For reports only.
    pub stats: ImportStats,
    /// Files that can't be in a tree and were left out (only of directories: archives with such members are refused).
    /// Each is reported when it is met: not again while its directory doesn't change, unless it could not be read.
    pub skipped: Vec<Skipped>,
    /// The files that hold the path that was searched for ([`import_dir_watching`]), sorted.
    pub holding: Vec<Holding>,
    /// Files of a view that were not read, because they are unchanged, and whose bytes the store has lost
    /// ([`import_shared`]).
    pub lost: Vec<PathBuf>,
}

impl Imported {
    /// For a caller that leaves nothing out which this user may not read.
    ///
    /// # Errors
    /// Something could not be read.
    pub fn complete(self) -> Result<Imported, ImportError> {
        match self.skipped.iter().find(|skipped| skipped.why == SkipReason::Unreadable) {
            None => Ok(self),
            Some(closed) => {
                let denied = std::io::Error::from_raw_os_error(libc::EACCES);
                Err(IoError::of("read", &closed.path)(denied).into())
            }
        }
    }
}

/// A file that holds the path that was searched for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holding {
    /// Relative to the directory that was imported.
    pub path: PathBuf,
    /// Never [`Holds::Nothing`].
    pub holds: Holds,
}

/// How a file holds a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Holds {
    /// Neither in its bytes nor as a target.
    #[default]
    Nothing = 0,
    /// In bytes without a zero among them.
    Text = 1,
    /// In bytes with a zero among them.
    Binary = 2,
    /// As the target of a symlink, or the beginning of it.
    Target = 3,
}

impl Holds {
    fn of_byte(byte: u8) -> Holds {
        match byte {
            1 => Holds::Text,
            2 => Holds::Binary,
            3 => Holds::Target,
            _ => Holds::Nothing,
        }
    }
}

/// Counts of one import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportStats {
    /// Regular files, by name: a file with two names counts twice.
    pub files: u64,
    /// Directories, the imported one included.
    pub dirs: u64,
    /// Symlinks, by name.
    pub symlinks: u64,
    /// The bytes of the tree's files, hard-linked ones once.
    pub bytes: u64,
    /// Files whose bytes were read; 0 for a directory that didn't change since its last import.
    pub files_read: u64,
    /// The bytes of those.
    pub bytes_read: u64,
    /// Objects that the store didn't have.
    pub new_objects: u64,
}

impl ImportStats {
    fn add(&mut self, more: &ImportStats) {
        self.files += more.files;
        self.dirs += more.dirs;
        self.symlinks += more.symlinks;
        self.bytes += more.bytes;
        self.files_read += more.files_read;
        self.bytes_read += more.bytes_read;
        self.new_objects += more.new_objects;
    }
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// As the caller named the source, joined with the path in it.
    pub path: PathBuf,
    /// See [`SkipReason`].
    pub why: SkipReason,
}

/// The reason, with the text that follows the path in a message (`Display`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// A socket or device.
    Special(FileType),
    /// Another file system is mounted there, and it is no view; the directory is in the tree, empty.
    Mount,
    /// A directory that this user may not list or enter, or a file that this user may not read. Each import meets it,
    /// whether the directory above changes or not.
    Unreadable,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SkipReason::Special(_) => "neither a file, a directory nor a link",
            SkipReason::Mount => "another file system is mounted there",
            SkipReason::Unreadable => "you may not read it",
        })
    }
}

/// Why an import failed.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("the archive {} is refused: {why}", path.shown())]
    Refused { path: PathBuf, why: Refused },
    #[error("{} changed while it was read", .0.shown())]
    Changed(PathBuf),
    #[error("interrupted")]
    Cancelled,
}

impl From<BuildError> for ImportError {
    fn from(e: BuildError) -> ImportError {
        ImportError::Store(e.into())
    }
}
