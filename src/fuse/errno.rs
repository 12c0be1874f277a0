//! The errors of the overlay, as the error numbers that a plain directory would return.

use std::io;

use fuser::Errno;

use crate::overlay::Error;
use crate::overlay::journal::JournalError;
use crate::store::NameError;

/// The outcome of one request, for the counters and the log.
pub trait RequestOutcome {
    /// The request is answered with this error number.
    fn refused(&self, errno: Errno) -> Errno;

    /// The request is answered with the number of an error.
    fn failed(&self, error: &Error) -> Errno {
        self.refused(to_errno(error))
    }
}

/// One row per variant and no wildcard: a new kind of error doesn't compile until someone has decided.
pub fn to_errno(error: &Error) -> Errno {
    match error {
        Error::NotFound => Errno::ENOENT,
        Error::Exists => Errno::EEXIST,
        Error::NotDirectory => Errno::ENOTDIR,
        Error::IsDirectory => Errno::EISDIR,
        Error::NotEmpty => Errno::ENOTEMPTY,
        Error::UnknownInode(_) => Errno::ESTALE,
        Error::NoXattr => Errno::NO_XATTR,
        Error::XattrExists => Errno::EEXIST,
        Error::Invalid => Errno::EINVAL,
        Error::NotSupported => Errno::EOPNOTSUPP,
        Error::NotPermitted => Errno::EPERM,
        Error::NoData => Errno::ENXIO,
        Error::Moved | Error::Kept => Errno::EBUSY,
        Error::Upper { source, .. } => of_io(source),
        // Never ENOENT: a bundler would quietly resolve another copy.
        Error::LostObject { .. } | Error::LostTree(_) => Errno::EIO,
        Error::Journal(JournalError::Io(e)) => Errno::from_i32(e.errno()),
        Error::Journal(JournalError::TooLong) => Errno::E2BIG,
        Error::Journal(JournalError::NotAJournal { .. } | JournalError::Version { .. }) => Errno::EIO,
    }
}

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
