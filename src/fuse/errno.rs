//! The errors of the overlay, as the error numbers that a plain directory would return.

use std::io;

use fuser::Errno;

use crate::overlay::OverlayError;
use crate::overlay::journal::JournalError;
use crate::store::NameError;

/// The outcome of one request, for the counters and the log.
pub trait RequestOutcome {
    /// The request is answered with this error number.
    fn refused(&self, errno: Errno) -> Errno;

    /// The request is answered with the number of an error.
    fn failed(&self, error: &OverlayError) -> Errno {
        self.refused(to_errno(error))
    }
}

/// One row per variant and no wildcard: a new kind of error doesn't compile until someone has decided.
pub fn to_errno(error: &OverlayError) -> Errno {
    match error {
        OverlayError::NotFound => Errno::ENOENT,
        OverlayError::Exists => Errno::EEXIST,
        OverlayError::NotDirectory => Errno::ENOTDIR,
        OverlayError::IsDirectory => Errno::EISDIR,
        OverlayError::NotEmpty => Errno::ENOTEMPTY,
        OverlayError::UnknownInode(_) => Errno::ESTALE,
        OverlayError::NoXattr => Errno::NO_XATTR,
        OverlayError::XattrExists => Errno::EEXIST,
        OverlayError::Invalid => Errno::EINVAL,
        OverlayError::NotSupported => Errno::EOPNOTSUPP,
        OverlayError::NotPermitted => Errno::EPERM,
        OverlayError::NoData => Errno::ENXIO,
        OverlayError::Kept => Errno::EBUSY,
        OverlayError::Upper { source, .. } => of_io(source),
        // Never ENOENT: a bundler would quietly resolve another copy.
        OverlayError::LostObject { .. } | OverlayError::AbsentObject(_) | OverlayError::LostTree(_) => Errno::EIO,
        OverlayError::Journal(JournalError::Io(e)) => Errno::from_i32(e.errno()),
        OverlayError::Journal(JournalError::TooLong) => Errno::E2BIG,
        OverlayError::Journal(JournalError::NotAJournal { .. } | JournalError::Version { .. }) => Errno::EIO,
    }
}

/// The errno for a name that no file of a view can have.
pub fn of_name(error: NameError) -> Errno {
    match error {
        NameError::Malformed => Errno::EINVAL,
        NameError::TooLong => Errno::ENAMETOOLONG,
    }
}

/// The kernel's own number, so that ENOSPC stays ENOSPC; EIO where there is none.
fn of_io(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_i32)
}
