//! Writing: the first write to a shared file makes a copy, all others go to it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::sys::copy::{start_write_back, write_back};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FallocateFlags, FileType};

use super::attr::without_set_id;
use super::error::{Result, upper};
use super::types::{Caller, Ino};
use super::view::Overlay;
use super::view::{FoundName, View};

/// The result of a change of a file's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrote {
    pub bytes: usize,
    /// The file had set-id bits, and has them no more.
    pub lost_set_id: bool,
}

impl Overlay {
    /// Writes `data` at `offset`; with `by`, an ordinary user, the file loses its set-id bits. Fewer bytes than
    /// requested are written only when an error came after some.
    ///
    /// # Errors
    /// As pwrite(2).
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8], by: Option<Caller>) -> Result<Wrote> {
        let file = {
            let mut view = self.view.lock();
            view.regain(ino)?;
            view.copy_up(ino, u64::MAX)?;
            view.open_to_write(ino)?
        };
        // First: the writes of an ordinary user's server drop the bits by themselves, and that would go unnoticed.
        let lost_set_id = drop_set_id(&file.fd, by)?;
        let bytes = fs::write_at(&*file.fd, data, offset).map_err(upper("write a file"))?;
        if file.wrote(offset, bytes) {
            self.view.lock().write_back_later(&file);
        }
        Ok(Wrote { bytes, lost_set_id })
    }

    /// `fallocate(2)`, with its mode bits; with `by`, an ordinary user, the file loses its set-id bits.
    ///
    /// # Errors
    /// As fallocate(2).
    pub fn fallocate(&self, ino: Ino, mode: i32, offset: u64, len: u64, by: Option<Caller>) -> Result<Wrote> {
        let file = {
            let mut view = self.view.lock();
            view.regain(ino)?;
            view.copy_up(ino, u64::MAX)?;
            view.flush(ino)?;
            view.open_to_write(ino)?
        };
        let lost_set_id = drop_set_id(&file.fd, by)?;
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        fs::fallocate(&*file.fd, flags, offset, len).map_err(upper("allocate"))?;
        Ok(Wrote { bytes: 0, lost_set_id })
    }

    /// `copy_file_range(2)` between two files of the view, each with its offset; returns the bytes copied. With
    /// `by`, an ordinary user, the second loses its set-id bits.
    ///
    /// # Errors
    /// As copy_file_range(2).
    pub fn copy_range(&self, from: (Ino, u64), to: (Ino, u64), len: usize, by: Option<Caller>) -> Result<Wrote> {
        let ((from, from_at), (to, to_at)) = (from, to);
        let (source, target) = {
            let mut view = self.view.lock();
            view.regain(to)?;
            view.copy_up(to, u64::MAX)?;
            // A range that is shared or copied from a hole is a hole, which an intent would fill again.
            view.flush(to)?;
            let target = view.open_to_write(to)?;
            (if from == to { Extent::whole(target.fd.clone()) } else { view.open_to_read(from)? }, target)
        };
        let lost_set_id = drop_set_id(&target.fd, by)?;
        let bytes = source.copy_range(from_at, &*target.fd, to_at, len).map_err(upper("copy"))?;
        Ok(Wrote { bytes, lost_set_id })
    }
}

impl View {
    /// Changes the size; what is cut off is not copied first.
    pub(super) fn truncate(&mut self, ino: Ino, size: u64) -> Result<()> {
        if !self.has_upper_bytes(ino) {
            return self.copy_up(ino, size);
        }
        self.regain(ino)?;
        self.settle_to_cut(ino, size)?;
        self.precede()?;
        let file = self.open_to_write(ino)?;
        fs::truncate(&*file.fd, size).map_err(upper("truncate a file"))
    }

    /// Before an own file takes the name of a lower one: a power cut must not find it without its bytes there. If it
    /// replaces a file of the upper, the file system sees to that as far as it does anywhere.
    pub(super) fn write_back_file(&mut self, found: &FoundName) -> Result<()> {
        let file = self.own_bytes(found)?;
        file.map_or(Ok(()), |fd| write_back(&*fd)).map_err(upper("write a file"))
    }

    /// Begins that, to be waited for together with the journal.
    pub(super) fn begin_write_back(&mut self, found: &FoundName) -> Result<()> {
        let file = self.own_bytes(found)?;
        file.map_or(Ok(()), |fd| start_write_back(&*fd)).map_err(upper("write a file"))
    }

    /// The upper's file of a name, opened to read; `None` if that has none, or it is no regular file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn own_bytes(&mut self, found: &FoundName) -> Result<Option<Arc<OwnedFd>>> {
        match found.upper {
            Some(stat) if stat.kind() == FileType::RegularFile => Ok(self.open_to_read(found.ino)?.as_file().cloned()),
            _ => Ok(None),
        }
    }
}

/// As the kernel does before an ordinary user's change of a file's content (`file_remove_privs`): a server with
/// FUSE_HANDLE_KILLPRIV_V2 gets a request for it only with writes. Returns whether there were any.
fn drop_set_id(file: impl std::os::fd::AsFd, by: Option<Caller>) -> Result<bool> {
    let Some(caller) = by else { return Ok(false) };
    let stat = fs::stat(&file).map_err(upper("look at a file"))?;
    let (before, after) = (stat.mode & 0o7777, without_set_id(stat.mode, stat.gid, caller) & 0o7777);
    if before != after {
        fs::chmod(&file, after).map_err(upper("set the mode"))?;
    }
    Ok(before != after)
}
