//! Copies of a file's bytes, by the cheapest way the file systems have: clone, kernel copy, read and write.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::fault::{self, Call};
use super::fs;

const CHUNK: usize = 16 << 20;

/// How a file came to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It shares the blocks of the other file, which are on disk.
    Cloned,
    /// They were written, and are in memory.
    Bytes,
}

/// Makes `to`, a new empty file, hold the first `len` bytes of `from`; holes stay holes.
pub fn copy_contents(from: impl AsFd, to: impl AsFd, len: u64) -> io::Result<Copied> {
    if len == 0 {
        return Ok(Copied::Bytes);
    }
    let size = fs::stat(&from)?.size;
    if fs::clone_file(&from, &to).is_ok() {
        return if len < size { fs::truncate(&to, len) } else { Ok(()) }.map(|()| Copied::Cloned);
    }
    let end = len.min(size);
    copy_data(&from, &to, 0, end)?;
    fs::truncate(&to, end).map(|()| Copied::Bytes)
}

/// Gives `to` what it lacks: the data that `from` has where `to` has a hole, or has ended.
/// Says whether anything was missing.
pub fn fill_missing(from: impl AsFd, to: impl AsFd) -> io::Result<bool> {
    let (size, has) = (fs::stat(&from)?.size, fs::stat(&to)?.size);
    let (mut at, mut filled) = (0, has < size);
    while at < size {
        let here = if at < has { fs::next_data(&to, at, has)? } else { None };
        let gap_end = here.as_ref().map_or(size, |data| data.start.min(size));
        filled |= copy_data(&from, &to, at, gap_end)?;
        at = here.map_or(size, |data| data.end);
    }
    if has < size {
        fs::truncate(&to, size)?;
    }
    Ok(filled)
}

/// Copies the data, not the holes, between two offsets; returns whether there was any.
fn copy_data(from: impl AsFd, to: impl AsFd, mut at: u64, end: u64) -> io::Result<bool> {
    let mut any = false;
    while at < end {
        let Some(data) = fs::next_data(&from, at, end)? else { break };
        copy_segment(&from, &to, data.start, data.end.min(end))?;
        any = true;
        at = data.end;
    }
    Ok(any)
}

fn copy_segment(from: impl AsFd, to: impl AsFd, mut at: u64, stop: u64) -> io::Result<()> {
    while at < stop {
        let want = usize::try_from(stop - at).unwrap_or(CHUNK).min(CHUNK);
        match fs::copy_range(&from, at, &to, at, want) {
            Ok(0) => return read_and_write(from, to, at, stop),
            Ok(n) => at += n as u64,
            Err(e)
                if matches!(e.raw_os_error(), Some(libc::EXDEV | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS)) =>
            {
                return read_and_write(from, to, at, stop);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn read_and_write(from: impl AsFd, to: impl AsFd, mut at: u64, stop: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while at < stop {
        let want = usize::try_from(stop - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = fs::read_at(&from, &mut buffer[..want], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        fs::write_all_at(&to, &buffer[..read], at)?;
        at += read as u64;
    }
    Ok(())
}

/// Starts the writing of a file's bytes to its disk and waits for it; metadata and the disk's own cache
/// are left to the file system's journal, which commits what comes later no sooner (`sync_file_range(2)`).
pub fn write_back(fd: impl AsFd) -> io::Result<()> {
    sync_range(fd, libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER)
}

/// As [`write_back`], without waiting for its end.
pub fn start_write_back(fd: impl AsFd) -> io::Result<()> {
    sync_range(fd, libc::SYNC_FILE_RANGE_WRITE)
}

fn sync_range(fd: impl AsFd, flags: u32) -> io::Result<()> {
    fault::point(Call::Sync)?;
    // SAFETY: the descriptor is open while `fd` is borrowed; the call touches no memory of ours.
    match unsafe { libc::sync_file_range(fd.as_fd().as_raw_fd(), 0, 0, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Starts the writing of bytes to the disk and doesn't wait. A hint: what comes of it shows in a later sync.
pub fn begin_write_back(fd: impl AsFd, offset: u64, len: u64) {
    let (offset, len) = (offset.min(i64::MAX as u64) as i64, len.min(i64::MAX as u64) as i64);
    // SAFETY: the descriptor is open while `fd` is borrowed; the call touches no memory of ours.
    unsafe { libc::sync_file_range(fd.as_fd().as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}
