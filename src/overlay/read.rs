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

/// A part of a file that is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadRange {
    pub ino: Ino,
    pub offset: u64,
    pub len: usize,
    /// The file was opened with O_NOATIME: its access time stays.
    pub unnoticed: bool,
}

/// How bytes are read into a buffer, from an offset on: `None` when a disk would have to be waited for.
type ReadBytes = fn(&Extent, &mut [u8], u64) -> std::io::Result<Option<usize>>;

impl Overlay {
    /// Calls `done` with up to `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// As pread(2). A damaged or lost object is EIO.
    pub fn read<R>(&self, ino: Ino, offset: u64, len: usize, done: impl FnOnce(&[u8]) -> R) -> Result<R> {
        self.read_range(ReadRange { ino, offset, len, unnoticed: false }, done)
    }

    /// As [`Overlay::read`].
    pub(crate) fn read_range<R>(&self, range: ReadRange, done: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let file = self.view.lock().open_to_answer(range)?;
        let wait: ReadBytes = |file, buffer, at| file.read_to_keep(buffer, at).map(Some);
        let read = self.read_checked(range, file, wait, done)?;
        Ok(read.expect("a read that waits has an outcome"))
    }

    /// As [`Overlay::read_range`], if it needs nothing that is on the disk alone; else `None`.
    pub(crate) fn read_now<R>(&self, range: ReadRange, done: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let file = {
            let mut view = self.view.lock();
            if !view.is_at_hand(range.ino) {
                return Ok(None);
            }
            view.open_to_answer(range)?
        };
        self.read_checked(range, file, Extent::read_now, done)
    }

    /// Reads; a small object that was not compared with its name yet is read whole first. The view is not locked.
    fn read_checked<R>(
        &self,
        range: ReadRange,
        (file, unchecked): (Extent, Option<Unchecked>),
        how: ReadBytes,
        done: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        let Some(object) = unchecked else { return read(&file, range.offset..range.end(), how, done) };
        // A damaged object is opened anew at the next read: it may be whole by then.
        let forget = |_: &OverlayError| self.view.lock().files.forget(range.ino);
        // The object is read once, whole, wherever the requested part lies.
        let checked = read(&file, 0..object.size as u64, how, |bytes| {
            object.is_in(bytes).inspect_err(forget)?;
            let from = bytes.len().min(usize::try_from(range.offset).unwrap_or(usize::MAX));
            let end = bytes.len().min(from.saturating_add(range.len));
            Ok(done(&bytes[from..end]))
        })?;
        checked.transpose()
    }

    /// The next data (or, with `hole`, the next hole) at or after `offset`.
    ///
    /// # Errors
    /// [`OverlayError::NoData`] past the end of the file or of its data.
    pub fn lseek(&self, ino: Ino, offset: u64, hole: bool) -> Result<u64> {
        let mut view = self.view.lock();
        let file = match view.open_to_read(ino) {
            // Which holes it has is not known yet: it counts as one without.
            Err(OverlayError::AbsentObject(_)) => {
                let size = view.attr(ino)?.size;
                return if offset >= size { Err(OverlayError::NoData) } else { Ok(if hole { size } else { offset }) };
            }
            file => file?,
        };
        drop(view);
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

impl ReadRange {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.len as u64)
    }
}

/// Reads into this thread's buffer.
fn read<R>(
    file: &Extent,
    range: std::ops::Range<u64>,
    how: ReadBytes,
    done: impl FnOnce(&[u8]) -> R,
) -> Result<Option<R>> {
    BUFFER.with_borrow_mut(|buffer| {
        let len = (range.end - range.start) as usize;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        // The kernel caches the bytes for the view, so the page cache need not keep those of the store's file.
        let read = how(file, &mut buffer[..len], range.start).map_err(upper("read a file"))?;
        Ok(read.map(|read| done(&buffer[..read])))
    })
}

impl View {
    /// The bytes of a file that is read, and the check that is due.
    fn open_to_answer(&mut self, range: ReadRange) -> Result<(Extent, Option<Unchecked>)> {
        self.has_all(range.ino, Some(range.offset..range.end()))?;
        if range.unnoticed {
            return self.open_unnoticed(range.ino);
        }
        let file = self.open_unchecked(range.ino)?;
        self.accessed(range.ino);
        Ok(file)
    }

    /// The target of a symlink, to the letter: that of the upper, else that of the tree. [`OverlayError::Invalid`] for
    /// another type.
    pub(super) fn target(&mut self, ino: Ino) -> Result<Vec<u8>> {
        if self.has_upper_bytes(ino) {
            let fd = self.upper_path_fd(ino)?;
            return fs::readlink_at(&*fd, b"").map_err(upper("read a symlink"));
        }
        let (tree, node) = self.lower.source(ino).ok_or(OverlayError::UnknownInode(ino.0))?;
        let target = match tree.stat(node).kind {
            FileType::Symlink => self.lower_target(ino).ok_or(OverlayError::Invalid),
            _ => Err(OverlayError::Invalid),
        };
        self.lower.must_be_sound()?;
        target
    }
}
