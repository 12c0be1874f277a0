//! The store's lock: shared by imports and creates, exclusive for gc. The kernel takes it back when its holder dies.

use std::os::fd::OwnedFd;

use super::{Store, StoreError};
use crate::sys::IoError;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::lock::Lock;

/// While it is held, gc deletes nothing.
#[derive(Debug)]
pub struct StoreShare {
    _lock: Lock,
}

/// The store's exclusive lock, as a value: functions that delete objects, trees or names take a reference to it.
#[derive(Debug)]
pub struct StoreExclusive {
    _lock: Lock,
}

impl Store {
    /// Keeps gc away until the value is dropped; waits while gc runs. Held by imports, and by a caller that imports
    /// trees or looks up entries and names them in a manifest afterwards.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn share(&self) -> Result<StoreShare, StoreError> {
        let file = self.lock_file()?;
        let lock = Lock::shared(file).map_err(IoError::of("lock", &self.path.join("lock")))?;
        Ok(StoreShare { _lock: lock })
    }

    /// The exclusive lock: no import and no create runs while it is held.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while an import or a create runs.
    pub fn try_exclusive(&self) -> Result<StoreExclusive, StoreError> {
        let lock = Lock::try_exclusive(self.lock_file()?).map_err(IoError::of("lock", &self.path.join("lock")))?;
        lock.map(|lock| StoreExclusive { _lock: lock }).ok_or(StoreError::Busy)
    }

    fn lock_file(&self) -> Result<OwnedFd, StoreError> {
        let flags = OpenFlags::RDWR | OpenFlags::CREATE;
        Ok(fs::open_at(&self.dir, b"lock", flags, 0o666).map_err(IoError::of("open", &self.path.join("lock")))?)
    }
}
