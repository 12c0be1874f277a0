//! The same thing in the kernel's words and in the overlay's: attributes, times, callers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, Generation, INodeNo, Request, TimeOrNow};

use crate::overlay::{Attr, Caller, Ino};
use crate::sys::fs::{SetTime, Timespec};

/// `st_blksize`: what programs read at a time.
const BLOCK_SIZE: u32 = 4096;

/// The inode behind a number that the kernel was given.
pub fn ino(number: INodeNo) -> Ino {
    Ino::of_kernel(number.0)
}

/// The user and group of the program that caused the request (fsuid and fsgid); both are 0 for requests of the kernel
/// itself.
pub fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

/// The caller, when it is an ordinary user: those may not keep set-id bits on what they change.
pub fn ordinary(request: &Request) -> Option<Caller> {
    (request.uid() != 0).then(|| caller(request))
}

/// The attributes in fuser's form. A creation time is not reported: Linux does not ask for it.
pub fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: kind(attr.mode),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev as u32,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The part of a file handle that a later file with the same number doesn't share. The kernel keeps 32 bits of it.
pub fn generation(attr: &Attr) -> Generation {
    Generation(u64::from((attr.generation ^ (attr.generation >> 32)) as u32))
}

/// `fuse_entry_out` of `linux/fuse.h`, for an answer without fuser: a name is this file, under `number`, for so long.
pub fn entry_out(attr: &Attr, number: INodeNo, lasts: Duration) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let times = [attr.atime, attr.mtime, attr.ctime];
    let (named, seconds) = ([number.0, generation(attr).0], lasts.as_secs());
    let whole = [attr.size, attr.blocks].into_iter().chain(times.map(|t| t.sec.cast_unsigned()));
    for word in named.into_iter().chain([seconds, seconds]) {
        out.extend(word.to_ne_bytes());
    }
    // The nanoseconds of both, then `fuse_attr`.
    [lasts.subsec_nanos(); 2].iter().for_each(|half| out.extend(half.to_ne_bytes()));
    for word in [number.0].into_iter().chain(whole) {
        out.extend(word.to_ne_bytes());
    }
    let owner = [attr.mode, attr.nlink, attr.uid, attr.gid, attr.rdev as u32, BLOCK_SIZE, 0];
    for half in times.map(|t| t.nsec).into_iter().chain(owner) {
        out.extend(half.to_ne_bytes());
    }
    out
}

/// `fuse_attr_out` of `linux/fuse.h`, for an answer without fuser: these attributes, for so long.
pub fn attr_out(attr: &Attr, lasts: Duration) -> Vec<u8> {
    // Seconds, nanoseconds, padding; then `fuse_attr` as in `fuse_entry_out`.
    let mut out = lasts.as_secs().to_ne_bytes().to_vec();
    out.extend(lasts.subsec_nanos().to_ne_bytes());
    out.extend([0; 4]);
    out.extend_from_slice(&entry_out(attr, INodeNo(attr.ino.0), lasts)[40..]);
    out
}

/// The negative entry, inode 0: it reports an absent name to the kernel, which then caches it.
pub fn absent() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The type in the high bits of a mode (inode(7)).
pub fn kind(mode: u32) -> FileType {
    use crate::sys::fs::FileType as Mode;
    match Mode::from_raw_mode(mode) {
        Mode::Directory => FileType::Directory,
        Mode::Symlink => FileType::Symlink,
        Mode::Fifo => FileType::NamedPipe,
        Mode::Socket => FileType::Socket,
        Mode::CharacterDevice => FileType::CharDevice,
        Mode::BlockDevice => FileType::BlockDevice,
        Mode::RegularFile | Mode::Unknown => FileType::RegularFile,
    }
}

fn system_time(t: Timespec) -> SystemTime {
    let whole = Duration::from_secs(t.sec.unsigned_abs());
    let seconds = if t.sec < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    seconds.and_then(|s| s.checked_add(Duration::from_nanos(t.nsec.into()))).unwrap_or(UNIX_EPOCH)
}

/// The change of a time in SETATTR; `None` from the kernel keeps it. Now is taken when the change is made.
pub fn set_time(time: Option<TimeOrNow>) -> SetTime {
    match time {
        None => SetTime::Keep,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(t)) => SetTime::At(timespec(t)),
    }
}

/// The seconds and nanoseconds that the kernel sent. fuser 0.18 subtracts both from 1970 when the seconds are negative
/// (`system_time_from_time`), so both are taken back as they are; what no i64 holds is the nearest that it does.
fn timespec(t: SystemTime) -> Timespec {
    match t.duration_since(UNIX_EPOCH) {
        Ok(after) => Timespec { sec: after.as_secs().try_into().unwrap_or(i64::MAX), nsec: after.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            Timespec {
                sec: 0i64.checked_sub_unsigned(before.as_secs()).unwrap_or(i64::MIN),
                nsec: before.subsec_nanos(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_bytes_of_the_kernels_struct() {
        let time = |sec| Timespec { sec, nsec: 9 };
        let attr = Attr {
            ino: Ino(0x11),
            generation: 5,
            mode: 0o100644,
            nlink: 2,
            uid: 3,
            gid: 4,
            rdev: 6,
            size: 7,
            blocks: 8,
            atime: time(-1),
            mtime: time(2),
            ctime: time(3),
        };
        let out = entry_out(&attr, INodeNo(0x12), Duration::new(10, 11));
        let word = |at: usize| u64::from_ne_bytes(out[at..at + 8].try_into().expect("eight"));
        let half = |at: usize| u32::from_ne_bytes(out[at..at + 4].try_into().expect("four"));
        assert_eq!(out.len(), 128);
        assert_eq!([0, 8, 16, 24].map(word), [0x12, 5, 10, 10]);
        assert_eq!([32, 36].map(half), [11, 11]);
        assert_eq!([40, 48, 56, 64, 72, 80].map(word), [0x12, 7, 8, u64::MAX, 2, 3]);
        assert_eq!([88, 92, 96].map(half), [9, 9, 9]);
        assert_eq!([100, 104, 108, 112, 116, 120, 124].map(half), [0o100644, 2, 3, 4, 6, 4096, 0]);
    }

    #[test]
    fn times_before_1970_are_told_as_they_are_and_heard_as_fuser_says_them() {
        let t = |sec, nsec| Timespec { sec, nsec };
        assert_eq!(system_time(t(-5, 7)), UNIX_EPOCH - Duration::new(4, 999_999_993));
        assert_eq!(timespec(UNIX_EPOCH - Duration::new(5, 7)), t(-5, 7));
        for same in [
            t(0, 0),
            t(1, 999_999_999),
            t(-1, 0),
            t(-62_135_596_800, 0),
            t(253_402_300_799, 7),
            t(i64::MIN, 0),
            t(i64::MAX, 0),
        ] {
            assert_eq!(timespec(system_time(same)), same);
        }
    }
}
