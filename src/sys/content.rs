//! The content of an open file: read, written, synced and copied. [`super::fs`] offers these calls.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self as rfs, FallocateFlags};

use super::fault::{self, Call};
use super::feature::{KernelFeature, is_without};

/// # Errors
/// As ftruncate(2).
pub fn truncate(fd: impl AsFd, size: u64) -> io::Result<()> {
    fault::point(Call::Change)?;
    Ok(rfs::ftruncate(fd, size)?)
}

/// # Errors
/// As fallocate(2).
pub fn fallocate(fd: impl AsFd, flags: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
    fault::point(Call::Add)?;
    Ok(rfs::fallocate(fd, flags, offset, len)?)
}

/// Reads at `offset` until `buf` is full or the file ends; returns the bytes read.
///
/// # Errors
/// As pread(2).
pub fn read_at(fd: impl AsFd, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    fault::point(Call::Look)?;
    let mut done = 0;
    while done < buf.len() {
        match rustix::io::pread(&fd, &mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(done)
}

/// Writes at `offset`; fewer bytes than `bytes` has only when some were written before an error.
///
/// # Errors
/// As pwrite(2).
pub fn write_at(fd: impl AsFd, buf: &[u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        let room = match fault::room(buf.len() - done) {
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
            Ok(room) => room,
        };
        match rustix::io::pwrite(&fd, &buf[done..done + room], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) if done == 0 => return Err(e.into()),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Writes all of `buf` at `offset`. After a short write the rest is tried once more: that call returns the cause
/// (a full disk, a quota, a limit on the size of files, the disk itself).
///
/// # Errors
/// As pwrite(2).
pub fn write_all_at(fd: impl AsFd, buf: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match write_at(&fd, &buf[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => done += n,
        }
    }
    Ok(())
}

/// One read of up to 4 KiB from a pipe; empty at its end.
///
/// # Errors
/// As read(2).
pub fn read_once(fd: impl AsFd) -> io::Result<Vec<u8>> {
    fault::point(Call::Look)?;
    let mut buf = vec![0; 4096];
    loop {
        match rustix::io::read(&fd, &mut buf) {
            Ok(n) => {
                buf.truncate(n);
                return Ok(buf);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Writes all of `buf` at the descriptor's own position: to a pipe, or to a file just opened.
///
/// # Errors
/// As write(2).
pub fn write_all(fd: impl AsFd, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let room = fault::room(buf.len())?;
        match rustix::io::write(&fd, &buf[..room]) {
            Ok(n) => buf = &buf[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// # Errors
/// As fsync(2).
pub fn fsync(fd: impl AsFd) -> io::Result<()> {
    fault::point(Call::Sync)?;
    Ok(rfs::fsync(fd)?)
}

/// Waits until the bytes and the size of an open file are on disk (fdatasync(2)). Its times, mode and name are not
/// promised.
pub(crate) fn fdatasync(fd: impl AsFd) -> io::Result<()> {
    fault::point(Call::Sync)?;
    Ok(rfs::fdatasync(fd)?)
}

/// Writes back everything of the file system that holds `fd`.
pub(crate) fn syncfs(fd: impl AsFd) -> io::Result<()> {
    fault::point(Call::Sync)?;
    Ok(rfs::syncfs(fd)?)
}

/// The next offset at or after `offset` that holds data (or, with `hole`, that doesn't); ENXIO past the end.
///
/// # Errors
/// As lseek(2).
pub fn seek_data(fd: impl AsFd, offset: u64, hole: bool) -> io::Result<u64> {
    fault::point(Call::Look)?;
    let from = if hole { rfs::SeekFrom::Hole(offset) } else { rfs::SeekFrom::Data(offset) };
    Ok(rfs::seek(fd, from)?)
}

/// The next stretch of data at or after `offset` in a file of `size` bytes; nothing when the rest is a hole.
/// A file system that can't tell holes calls all of it data.
///
/// # Errors
/// As lseek(2).
pub fn next_data(fd: impl AsFd, offset: u64, size: u64) -> io::Result<Option<std::ops::Range<u64>>> {
    fault::point(Call::Look)?;
    if offset >= size {
        return Ok(None);
    }
    let start = match rfs::seek(&fd, rfs::SeekFrom::Data(offset)) {
        Ok(start) if start >= size => return Ok(None),
        Ok(start) => start,
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok(Some(offset..size)),
        Err(e) => return Err(e.into()),
    };
    let end = rfs::seek(&fd, rfs::SeekFrom::Hole(start)).map_or(size, |end| end.min(size));
    Ok(Some(start..if end > start { end } else { size }))
}

/// Copies within the kernel; returns the bytes copied, 0 at the end of the source.
///
/// # Errors
/// As copy_file_range(2).
pub fn copy_range(from: impl AsFd, mut from_at: u64, to: impl AsFd, mut to_at: u64, len: usize) -> io::Result<usize> {
    fault::point(Call::Add)?;
    if is_without(KernelFeature::CopyRange) {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    Ok(rfs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), len)?)
}

/// Makes `to` share the blocks of `from` (FICLONE); EOPNOTSUPP or EXDEV where that can't be.
pub(crate) fn clone_file(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    fault::point(Call::Add)?;
    if is_without(KernelFeature::Clone) {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(rfs::ioctl_ficlone(to, from)?)
}
