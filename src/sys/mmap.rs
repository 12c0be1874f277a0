//! Files seen as memory: read-only maps of files that never change.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};

use super::fault::{self, Call};

/// A file, mapped read-only and shared. Pages are read when they are first touched.
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps all of `fd`. The file must not be truncated while the map lives (a read past its new end
    /// would be SIGBUS): callers map only files that are written aside, renamed and never opened for writing again.
    pub fn of(fd: impl AsFd) -> io::Result<Map> {
        fault::point(Call::Look)?;
        // SAFETY: the mapping is private to this value and read-only; the files mapped are immutable by the
        // rule above, so the slice handed out never changes under a reader.
        let map = unsafe { memmap2::Mmap::map(fd.as_fd().as_raw_fd())? };
        Ok(Map(map))
    }

    /// Maps `len` bytes from `offset`, which the file must have; for the same files as [`Map::of`].
    pub fn part(fd: impl AsFd, offset: u64, len: usize) -> io::Result<Map> {
        // SAFETY: as above.
        let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(len).map(fd.as_fd().as_raw_fd())? };
        Ok(Map(map))
    }
}

impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
