//! Constants of the journal's format, and the errors of reading it.

use std::path::PathBuf;

use crate::sys::IoError;
use crate::sys::terminal::DisplayName;

/// No two versions differ by one bit.
pub(super) const VERSION: u32 = 1;

/// The version of a journal with records or frames that version 1 doesn't have.
pub(super) const NEWER: u32 = 4;

/// The length of the header in bytes: the offset of the first frame.
pub(super) const HEADER: usize = 16;

/// No payload is longer.
pub(super) const FRAME_MAX: usize = 16 << 20;

/// The reason why a journal could not be read or written. Damage inside it is none: it is mended, or skipped and
/// reported.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("{} is not a journal of depsfs", path.shown())]
    NotAJournal { path: PathBuf },
    #[error("{} has format {version}; this program knows formats {VERSION} and {NEWER}", path.shown())]
    Version { path: PathBuf, version: u32 },
    #[error("one change says more than a journal takes")]
    TooLong,
}
