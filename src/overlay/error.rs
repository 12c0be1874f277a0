//! The errors of a view, by cause; the errno is chosen at the FUSE edge.

use std::io;

use crate::store::{ObjectId, TreeId};
use crate::sys::reason;

use super::journal::JournalError;

/// The reason why an operation of a view failed. An error that the operating system returned keeps its errno.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    #[error("no such name")]
    NotFound,
    #[error("the name is taken")]
    Exists,
    #[error("not a directory")]
    NotDirectory,
    #[error("is a directory")]
    IsDirectory,
    #[error("the directory is not empty")]
    NotEmpty,
    /// The kernel (or a caller) named an inode that this view doesn't have.
    #[error("unknown inode {0}")]
    UnknownInode(u64),
    #[error("no such extended attribute")]
    NoXattr,
    #[error("the extended attribute exists")]
    XattrExists,
    #[error("the argument makes no sense here")]
    Invalid,
    #[error("a view doesn't do this")]
    NotSupported,
    #[error("the kind of file doesn't allow this")]
    NotPermitted,
    /// `lseek` past the end, or past the last data.
    #[error("no data at or after this offset")]
    NoData,
    /// A file that was to be given up holds other bytes by now, or a process is writing to it.
    #[error("the file is the worktree's own")]
    Kept,
    /// A call on the worktree's own directory failed; the kernel's error stands.
    #[error("cannot {verb} in the upper directory: {}", reason(source))]
    Upper { verb: &'static str, source: io::Error },
    /// Bytes of a tree were lost while it is shown: what it would answer may be wrong.
    #[error("tree {0} has lost bytes since it was opened")]
    LostTree(TreeId),
    #[error("object {0} is not here yet")]
    AbsentObject(ObjectId),
    #[error("object {id} cannot be read from the store: {source}")]
    LostObject { id: ObjectId, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The result of every operation of a view.
pub type Result<T> = std::result::Result<T, OverlayError>;

/// For `map_err(upper("create a file"))`: a failed call on the upper.
pub(super) fn upper(verb: &'static str) -> impl FnOnce(io::Error) -> OverlayError {
    move |source| match source.raw_os_error() {
        Some(libc::ENOENT) => OverlayError::NotFound,
        _ => OverlayError::Upper { verb, source },
    }
}
