//! Extended attributes (xattr(7)) of open files and of paths. Reached as part of [`super::fs`].

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self as rfs, XattrFlags};

use super::fault::{self, Call};
use super::fs::proc_path;

/// The most bytes of an attribute's value that the kernel allows (`XATTR_SIZE_MAX`, xattr(7)).
const LONGEST: usize = 64 * 1024;

/// The value of an extended attribute of an open file, directory or (with a path descriptor) symlink.
///
/// # Errors
/// As fgetxattr(2).
pub fn xattr(fd: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    fault::point(Call::Look)?;
    match grow(|buf| rfs::fgetxattr(&fd, name, buf)) {
        // A path descriptor (open(2)); the detour by its path costs more.
        Err(e) if e.raw_os_error() == Some(libc::EBADF) => grow(|buf| rfs::getxattr(proc_path(&fd), name, buf)),
        done => done,
    }
}

/// The value of a long extended attribute of an open file or directory, requested once: it may cost work to make.
pub(crate) fn long_xattr(fd: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    fault::point(Call::Look)?;
    let mut buf = vec![0; LONGEST];
    let n = rfs::fgetxattr(fd, name, &mut buf)?;
    buf.truncate(n);
    Ok(buf)
}

/// The names of the extended attributes, each without its NUL.
///
/// # Errors
/// As flistxattr(2).
pub fn xattr_names(fd: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    fault::point(Call::Look)?;
    let all = grow(|buf| rfs::listxattr(proc_path(&fd), buf))?;
    Ok(all.split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect())
}

/// All `user.*` attributes of an open file or directory: (name, value). None where the file system has no such thing.
pub(crate) fn user_xattrs(fd: impl AsFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    fault::point(Call::Look)?;
    let names = match grow(|buf| rfs::flistxattr(&fd, buf)) {
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(vec![]),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|n| n.starts_with(b"user.")) {
        match grow(|buf| rfs::fgetxattr(&fd, name, buf)) {
            Ok(value) => found.push((name.to_vec(), value)),
            // Removed since it was listed.
            Err(e) if e.raw_os_error() == Some(libc::ENODATA) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// As [`xattr`], by path; symlinks in it are followed.
///
/// # Errors
/// As lgetxattr(2).
pub fn xattr_of_path(path: &std::path::Path, name: &[u8]) -> io::Result<Vec<u8>> {
    fault::point(Call::Look)?;
    grow(|buf| rfs::getxattr(path, name, buf))
}

/// Sets an extended attribute by path; symlinks in it are followed.
///
/// # Errors
/// As lsetxattr(2).
pub fn set_xattr_of_path(path: &std::path::Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    fault::point(Call::Add)?;
    Ok(rfs::setxattr(path, name, value, XattrFlags::empty())?)
}

/// # Errors
/// As fsetxattr(2).
pub fn set_xattr(fd: impl AsFd, name: &[u8], value: &[u8], flags: XattrFlags) -> io::Result<()> {
    fault::point(Call::Add)?;
    Ok(rfs::setxattr(proc_path(fd), name, value, flags)?)
}

/// # Errors
/// As fremovexattr(2).
pub fn remove_xattr(fd: impl AsFd, name: &[u8]) -> io::Result<()> {
    fault::point(Call::Change)?;
    Ok(rfs::removexattr(proc_path(fd), name)?)
}

/// Calls `read` with a buffer that grows until the value fits.
fn grow(mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; 256];
    loop {
        match read(&mut buf) {
            Ok(n) => {
                buf.truncate(n);
                return Ok(buf);
            }
            Err(rustix::io::Errno::RANGE) if buf.len() < 1 << 17 => buf.resize(buf.len() * 8, 0),
            Err(e) => return Err(e.into()),
        }
    }
}
