//! Reading: bytes, holes, symlinks.

use std::cell::RefCell;

use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType};

use super::error::{Error, Result, upper};
use super::resolve::View;
use super::{Ino, Overlay};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Overlay {
    /// Calls `done` with up to `len` bytes from `offset`; fewer only at the end of the file.
    pub fn read<R>(&self, ino: Ino, offset: u64, len: usize, done: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let mut view = self.view.lock();
        view.has_all(ino, Some(offset..offset.saturating_add(len as u64)))?;
        let file = view.open_bytes(ino)?;
        view.accessed(ino);
        drop(view);
        read(&file, offset, len, done)
    }

    /// As [`Overlay::read`], for who opened the file with O_NOATIME: its access time stays.
    pub fn read_unnoticed<R>(&self, ino: Ino, offset: u64, len: usize, done: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let mut view = self.view.lock();
        view.has_all(ino, Some(offset..offset.saturating_add(len as u64)))?;
        let file = view.open_unnoticed(ino)?;
        drop(view);
        read(&file, offset, len, done)
    }

    /// The next data (or, with `hole`, the next hole) at or after `offset`.
    ///
    /// # Errors
    /// [`Error::NoData`] past the end of the file or of its data.
    pub fn lseek(&self, ino: Ino, offset: u64, hole: bool) -> Result<u64> {
        let file = self.view.lock().open_to_read(ino)?;
        file.seek_data(offset, hole).map_err(|e| match e.raw_os_error() {
            Some(libc::ENXIO) => Error::NoData,
            _ => upper("seek in a file")(e),
        })
    }

    /// The target of a symlink, to the letter.
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
        // Who asks keeps it: the kernel, for the view.
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
        let (tree, node) = self.lower.source(ino).ok_or(Error::UnknownInode(ino.0))?;
        let target = match tree.stat(node).kind {
            FileType::Symlink => Ok(tree.target(node).to_vec()),
            _ => Err(Error::Invalid),
        };
        self.lower.must_be_sound()?;
        target
    }
}
