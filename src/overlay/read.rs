//! Reading: bytes, holes, symlinks.

use std::cell::RefCell;

use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType};

use super::error::{OverlayError, Result, upper};
use super::files::Unchecked;
use super::types::Ino;
use super::view::Overlay;
use super::view::View;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Overlay {
    /// Calls `done` with up to `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// As pread(2). A damaged or lost object is EIO.
    pub fn read<R>(&self, ino: Ino, offset: u64, len: usize, done: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let mut view = self.view.lock();
        view.has_all(ino, Some(offset..offset.saturating_add(len as u64)))?;
        let file = view.open_unchecked(ino)?;
        view.accessed(ino);
        drop(view);
        self.read_checked(ino, file, offset, len, done)
    }

    /// As [`Overlay::read`], for a file that was opened with O_NOATIME: its access time stays.
    pub(crate) fn read_unnoticed<R>(
        &self,
        ino: Ino,
        offset: u64,
        len: usize,
        done: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let mut view = self.view.lock();
        view.has_all(ino, Some(offset..offset.saturating_add(len as u64)))?;
        let file = view.open_unnoticed(ino)?;
        drop(view);
        self.read_checked(ino, file, offset, len, done)
    }

    /// Reads; a small object that nobody has compared with its name is read whole first. The view is not locked.
    fn read_checked<R>(
        &self,
        ino: Ino,
        (file, unchecked): (Extent, Option<Unchecked>),
        offset: u64,
        len: usize,
        done: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let Some(object) = unchecked else { return read(&file, offset, len, done) };
        // A damaged object is opened anew at the next read: it may be whole by then.
        let forget = |_: &OverlayError| self.view.lock().files.forget(ino);
        // The object is read once, whole, wherever the requested part lies.
        read(&file, 0, object.size, |bytes| {
            object.is_in(bytes).inspect_err(forget)?;
            let from = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let end = bytes.len().min(from.saturating_add(len));
            Ok(done(&bytes[from..end]))
        })?
    }

    /// The next data (or, with `hole`, the next hole) at or after `offset`.
    ///
    /// # Errors
    /// [`OverlayError::NoData`] past the end of the file or of its data.
    pub fn lseek(&self, ino: Ino, offset: u64, hole: bool) -> Result<u64> {
        let file = self.view.lock().open_to_read(ino)?;
        file.seek_data(offset, hole).map_err(|e| match e.raw_os_error() {
            Some(libc::ENXIO) => OverlayError::NoData,
            _ => upper("seek in a file")(e),
        })
    }

    /// The target of a symlink, to the letter.
    ///
    /// # Errors
    /// As readlink(2).
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        let mut view = self.view.lock();
        let target = view.target(ino)?;
        view.accessed(ino);
        Ok(target)
    }
}

fn read<R>(file: &Extent, offset: u64, len: usize, done: impl FnOnce(&[u8]) -> R) -> Result<R> {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        // The kernel caches the bytes for the view, so the page cache need not keep those of the store's file.
        let read = file.read_to_keep(&mut buffer[..len], offset).map_err(upper("read a file"))?;
        Ok(done(&buffer[..read]))
    })
}

impl View {
    pub(super) fn target(&mut self, ino: Ino) -> Result<Vec<u8>> {
        if self.has_upper_bytes(ino) {
            let fd = self.upper_path_fd(ino)?;
            return fs::readlink_at(&*fd, b"").map_err(upper("read a symlink"));
        }
        let (tree, node) = self.lower.source(ino).ok_or(OverlayError::UnknownInode(ino.0))?;
        let target = match tree.stat(node).kind {
            FileType::Symlink => Ok(tree.target(node).to_vec()),
            _ => Err(OverlayError::Invalid),
        };
        self.lower.must_be_sound()?;
        target
    }
}
