//! Writing: the first write to a shared file makes a copy, all others go to it.

use crate::sys::fs::{self, FallocateFlags};

use super::attr::without_set_id;
use super::error::{Result, upper};
use super::resolve::View;
use super::{Ino, Overlay};

impl Overlay {
    /// Writes `data` at `offset`; with `kill_suid` the file loses its set-id bits.
    /// Returns the bytes written, fewer than asked only when an error came after some.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8], kill_suid: bool) -> Result<usize> {
        let file = {
            let mut view = self.view.lock();
            view.copy_up(ino, u64::MAX)?;
            view.open_to_write(ino)?
        };
        let wrote = fs::write_at(&*file.fd, data, offset).map_err(upper("write a file"))?;
        if kill_suid {
            let mode = fs::stat(&*file.fd).map_err(upper("look at a file"))?.mode & 0o7777;
            if without_set_id(mode) != mode {
                fs::chmod(&*file.fd, without_set_id(mode)).map_err(upper("set the mode"))?;
            }
        }
        Ok(wrote)
    }

    /// `fallocate(2)`, with its mode bits.
    pub fn fallocate(&self, ino: Ino, mode: i32, offset: u64, len: u64) -> Result<()> {
        let file = {
            let mut view = self.view.lock();
            view.copy_up(ino, u64::MAX)?;
            view.settle(ino)?;
            view.open_to_write(ino)?
        };
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        fs::fallocate(&*file.fd, flags, offset, len).map_err(upper("allocate"))
    }

    /// `copy_file_range(2)` between two files of the view; returns the bytes copied.
    pub fn copy_range(&self, from: Ino, from_at: u64, to: Ino, to_at: u64, len: usize) -> Result<usize> {
        let (source, target) = {
            let mut view = self.view.lock();
            view.copy_up(to, u64::MAX)?;
            let target = view.open_to_write(to)?;
            (if from == to { target.clone() } else { view.open_to_read(from)? }, target)
        };
        fs::copy_range(&*source.fd, from_at, &*target.fd, to_at, len).map_err(upper("copy"))
    }

    /// What was written to this file or directory is on disk when this returns, and what the journal says too.
    pub fn fsync(&self, ino: Ino, data_only: bool) -> Result<()> {
        let mut view = self.view.lock();
        let fd = view.fd_to_sync(ino)?;
        view.journal.sync()?;
        drop(view);
        match fd {
            Some(fd) if data_only => fs::fdatasync(&fd).map_err(upper("sync a file"))?,
            Some(fd) => fs::fsync(&fd).map_err(upper("sync a file"))?,
            None => return Ok(()),
        }
        self.view.lock().settle_for_good(ino)
    }
}

impl View {
    /// Changes the size; what is cut off is not copied first.
    pub(super) fn truncate(&mut self, ino: Ino, size: u64) -> Result<()> {
        self.copy_up(ino, size)?;
        self.settle(ino)?;
        let file = self.open_to_write(ino)?;
        fs::truncate(&*file.fd, size).map_err(upper("truncate a file"))
    }

    fn fd_to_sync(&mut self, ino: Ino) -> Result<Option<std::os::fd::OwnedFd>> {
        if self.is_gone(ino) {
            return Ok(None);
        }
        if ino == Ino::ROOT || self.lower.is_dir(ino) || self.is_upper_dir(ino) {
            let Some(dir) = self.dir_fd(ino)? else { return Ok(None) };
            return self.open_kept(|| fs::open_dir_at(&dir, b".")).map(Some).map_err(upper("open a directory"));
        }
        if !self.is_in_upper(ino) {
            return Ok(None);
        }
        let file = self.open_to_read(ino)?;
        file.fd.try_clone().map(Some).map_err(upper("open a file"))
    }
}
