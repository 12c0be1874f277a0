//! When the journal's bytes are on disk, or on their way.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Journal, JournalError};
use crate::sys::copy::write_back;
use crate::sys::{IoError, fs};

/// The journal as it was at one moment.
#[derive(Debug)]
pub struct Unsynced {
    file: Arc<OwnedFd>,
    path: PathBuf,
    is_renamed: bool,
    appended: u64,
}

impl Unsynced {
    /// Waits until it is on disk.
    pub fn sync(&self) -> Result<(), JournalError> {
        // With its name, which fdatasync(2) doesn't promise.
        let synced = if self.is_renamed { fs::fsync(&*self.file) } else { fs::fdatasync(&*self.file) };
        Ok(synced.map_err(IoError::of("sync", &self.path))?)
    }
}

impl Journal {
    /// After a power cut, what was said so far of names and metadata is there if any change of such is that is made in
    /// the upper from now on.
    pub fn precede(&mut self) -> Result<(), JournalError> {
        self.make_good()?;
        if self.is_pending { self.write_back() } else { Ok(()) }
    }

    /// As [`Journal::precede`], for all that was said.
    pub fn write_back(&mut self) -> Result<(), JournalError> {
        self.make_good()?;
        let written = write_back(&*self.file).map_err(IoError::of("write", &self.path));
        self.is_lost = written.is_err();
        written?;
        self.is_pending = false;
        Ok(())
    }

    /// What was appended so far is on disk when this returns.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.make_good()?;
        let Some(unsynced) = self.to_sync() else { return Ok(()) };
        self.synced(&unsynced, unsynced.sync())
    }

    /// What has to be synced so that everything appended so far is on disk; `None`: it is. No lock has to be held for it.
    pub fn to_sync(&self) -> Option<Unsynced> {
        let is_due = self.unsynced || self.is_renamed;
        is_due.then(|| Unsynced {
            file: self.file.clone(),
            path: self.path.clone(),
            is_renamed: self.is_renamed,
            appended: self.appended,
        })
    }

    /// To be called after [`Unsynced::sync`], with what came of it, whatever was appended meanwhile.
    pub fn synced(&mut self, done: &Unsynced, result: Result<(), JournalError>) -> Result<(), JournalError> {
        // Of one that was replaced meanwhile, the new file has its bytes on disk, and the old one stays at the name until
        // the new one is there.
        if Arc::ptr_eq(&self.file, &done.file) {
            self.is_lost |= result.is_err();
            if result.is_ok() {
                self.is_renamed &= !done.is_renamed;
            }
            if result.is_ok() && self.appended == done.appended {
                (self.unsynced, self.is_pending) = (false, false);
            }
        }
        result
    }

    /// What was appended may never come to the disk: nothing is appended before it was written anew.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }
}
