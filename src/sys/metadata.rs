//! Changes of a file's metadata: mode, owner, times. Reached as part of [`super::fs`].

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self as rfs, AtFlags, Mode};

use super::fault::{self, Call};
use super::fs::{Timespec, proc_path};

/// Changes the mode of `name`, which must not be a symlink (the kernel has no mode for those).
///
/// # Errors
/// As fchmodat(2).
pub fn chmod_at(dir: impl AsFd, name: &[u8], mode: u32) -> io::Result<()> {
    fault::point(Call::Change)?;
    Ok(rfs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
}

/// Changes the mode of what a path descriptor refers to, whatever it is (but a symlink).
pub(crate) fn chmod_path_fd(fd: impl AsFd, mode: u32) -> io::Result<()> {
    fault::point(Call::Change)?;
    Ok(rfs::chmod(proc_path(fd), Mode::from_raw_mode(mode))?)
}

/// # Errors
/// As fchmod(2).
pub fn chmod(fd: impl AsFd, mode: u32) -> io::Result<()> {
    fault::point(Call::Change)?;
    Ok(rfs::fchmod(fd, Mode::from_raw_mode(mode))?)
}

/// Changes owner and group; `None` leaves one as it is, an empty name is `dir` itself.
///
/// # Errors
/// As fchownat(2).
pub fn chown_at(dir: impl AsFd, name: &[u8], uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    fault::point(Call::Change)?;
    let uid = uid.map(rustix::fs::Uid::from_raw);
    let gid = gid.map(rustix::fs::Gid::from_raw);
    Ok(rfs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?)
}

/// As [`chown_at`], for an open file.
///
/// # Errors
/// As fchown(2).
pub fn chown(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    fault::point(Call::Change)?;
    let uid = uid.map(rustix::fs::Uid::from_raw);
    let gid = gid.map(rustix::fs::Gid::from_raw);
    Ok(rfs::fchown(fd, uid, gid)?)
}

/// Which time to give a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time stays (UTIME_OMIT).
    Keep,
    /// The kernel's time at the call (UTIME_NOW).
    Now,
    /// This time, cut to what the file system can store.
    At(Timespec),
}

impl SetTime {
    fn raw(self) -> rustix::fs::Timespec {
        match self {
            SetTime::Keep => rustix::fs::Timespec { tv_sec: 0, tv_nsec: rfs::UTIME_OMIT },
            SetTime::Now => rustix::fs::Timespec { tv_sec: 0, tv_nsec: rfs::UTIME_NOW },
            SetTime::At(t) => rustix::fs::Timespec { tv_sec: t.sec, tv_nsec: t.nsec.into() },
        }
    }
}

/// Sets access and modification time of `name`, or of the symlink itself; an empty name is `dir` itself.
///
/// # Errors
/// As utimensat(2).
pub fn utimens_at(dir: impl AsFd, name: &[u8], atime: SetTime, mtime: SetTime) -> io::Result<()> {
    fault::point(Call::Change)?;
    let times = rfs::Timestamps { last_access: atime.raw(), last_modification: mtime.raw() };
    Ok(rfs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?)
}

/// As [`utimens_at`], for an open file.
///
/// # Errors
/// As futimens(3).
pub fn utimens(fd: impl AsFd, atime: SetTime, mtime: SetTime) -> io::Result<()> {
    fault::point(Call::Change)?;
    let times = rfs::Timestamps { last_access: atime.raw(), last_modification: mtime.raw() };
    Ok(rfs::futimens(fd, &times)?)
}
