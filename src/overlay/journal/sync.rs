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
        // With its name, which fdatasync(2) doesn't guarantee.
        let synced = if self.is_renamed { fs::fsync(&*self.file) } else { fs::fdatasync(&*self.file) };
        Ok(synced.map_err(IoError::of("sync", &self.path))?)
    }

    /// Waits until its bytes are written, as [`Journal::precede`] does.
    pub fn write_back(&self) -> Result<(), JournalError> {
        Ok(write_back(&*self.file).map_err(IoError::of("write", &self.path))?)
    }
}

impl Journal {
    /// Order barrier: after a power cut, the records so far of names and metadata are there if any later change of
    /// names or metadata in the upper is.
    pub(crate) fn precede(&mut self) -> Result<(), JournalError> {
        self.make_good()?;
        if self.is_pending { self.write_back() } else { Ok(()) }
    }

    /// As [`Journal::precede`], for all records.
    pub(crate) fn write_back(&mut self) -> Result<(), JournalError> {
        self.make_good()?;
        let written = write_back(&*self.file).map_err(IoError::of("write", &self.path));
        self.is_lost = written.is_err();
        written?;
        self.is_pending = false;
        Ok(())
    }

    /// The files that [`Journal::precede`] would wait for; `None` if it has nothing to wait for. The wait needs no lock.
    pub fn to_write_back(&self) -> Option<Unsynced> {
        self.is_pending.then(|| self.as_it_is())
    }

    /// To be called after [`Unsynced::write_back`] with its result, whatever was appended meanwhile.
    ///
    /// # Errors
    /// That of `result`.
    pub fn written_back(&mut self, done: &Unsynced, result: Result<(), JournalError>) -> Result<(), JournalError> {
        // One that was replaced meanwhile is on disk, whole.
        if Arc::ptr_eq(&self.file, &done.file) {
            self.is_lost |= result.is_err();
            if result.is_ok() && self.appended == done.appended {
                self.is_pending = false;
            }
        }
        result
    }

    /// Waits until everything appended so far is on disk.
    ///
    /// # Errors
    /// The file cannot be synced.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.make_good()?;
        let Some(unsynced) = self.to_sync() else { return Ok(()) };
        self.synced(&unsynced, unsynced.sync())
    }

    /// The files to sync so that everything appended so far is on disk; `None` if it is already. The sync needs no
    /// lock.
    pub fn to_sync(&self) -> Option<Unsynced> {
        let is_due = self.unsynced || self.is_renamed;
        is_due.then(|| self.as_it_is())
    }

    fn as_it_is(&self) -> Unsynced {
        Unsynced {
            file: self.file.clone(),
            path: self.path.clone(),
            is_renamed: self.is_renamed,
            appended: self.appended,
        }
    }

    /// To be called after [`Unsynced::sync`] with its result, whatever was appended meanwhile.
    ///
    /// # Errors
    /// `result`, if it is an error.
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

    /// Appended frames may never reach the disk: the journal must be written anew before the next append.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }
}
