//! The lock of a manifest: the file `manifest.lock` beside it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::error::ViewsError;
use crate::sys::IoError;
use crate::sys::fs::{OpenFlags, open_path};
use crate::sys::lock::Lock;

/// The right to change the manifest, of one process at a time. The kernel releases it if the process dies.
#[derive(Debug)]
pub struct ManifestLock {
    _lock: Lock,
}

impl ManifestLock {
    /// Waits, as long as it takes, until no other process holds the lock. The state directory must exist.
    pub fn wait(state_dir: &Path) -> Result<ManifestLock, ViewsError> {
        let (path, file) = ManifestLock::file(state_dir)?;
        Ok(ManifestLock { _lock: Lock::exclusive(file).map_err(IoError::of("lock", &path))? })
    }

    /// `None` while another process holds it.
    pub(super) fn attempt(state_dir: &Path) -> Result<Option<ManifestLock>, ViewsError> {
        let (path, file) = ManifestLock::file(state_dir)?;
        let lock = Lock::try_exclusive(file).map_err(IoError::of("lock", &path))?;
        Ok(lock.map(|_lock| ManifestLock { _lock }))
    }

    fn file(state_dir: &Path) -> Result<(PathBuf, OwnedFd), ViewsError> {
        let path = state_dir.join("manifest.lock");
        let file = open_path(&path, OpenFlags::RDWR | OpenFlags::CREATE, 0o600).map_err(IoError::of("open", &path))?;
        Ok((path, file))
    }
}
