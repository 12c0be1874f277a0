//! Which file system holds a file, where that makes a difference (`statfs(2)`).

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs as rfs;

/// Whether the file system that holds `fd` is a FUSE mount (`FUSE_SUPER_MAGIC`, `statfs(2)`).
pub fn is_fuse(fd: impl AsFd) -> bool {
    const FUSE_SUPER_MAGIC: rfs::FsWord = 0x6573_5546;
    rfs::fstatfs(fd).is_ok_and(|s| s.f_type == FUSE_SUPER_MAGIC)
}

/// Whether a power cut never keeps a later change of names and loses an earlier one: ext4 and xfs have one journal
/// for both.
pub fn commits_names_in_order(fd: impl AsFd) -> bool {
    const EXT4_SUPER_MAGIC: rfs::FsWord = 0xef53;
    const XFS_SUPER_MAGIC: rfs::FsWord = 0x5846_5342;
    rfs::fstatfs(fd).is_ok_and(|s| matches!(s.f_type, EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC))
}

/// Turns copy-on-write off for `file`, a new empty one, if the file system would write each change elsewhere (btrfs,
/// FS_NOCOW_FL of ioctl_iflags(2)): so the space that was allocated for it is enough on a full disk. If that fails, it
/// stays an ordinary file.
pub fn write_in_place(file: impl AsFd) {
    if is_btrfs(&file)
        && let Ok(flags) = rfs::ioctl_getflags(&file)
    {
        let _ = rfs::ioctl_setflags(&file, flags | rfs::IFlags::NOCOW);
    }
}

/// Whether this file was made without [`write_in_place`], where that makes a difference.
pub fn is_written_elsewhere(file: impl AsFd) -> bool {
    is_btrfs(&file) && rfs::ioctl_getflags(&file).is_ok_and(|flags| !flags.contains(rfs::IFlags::NOCOW))
}

/// Whether a copy of a file takes as many bytes there as the file has: blocks are neither shared nor compressed.
pub fn copies_every_byte(fd: impl AsFd) -> bool {
    const EXT4_SUPER_MAGIC: rfs::FsWord = 0xef53;
    const TMPFS_MAGIC: rfs::FsWord = 0x0102_1994;
    rfs::fstatfs(fd).is_ok_and(|s| matches!(s.f_type, EXT4_SUPER_MAGIC | TMPFS_MAGIC))
}

/// How many names a file may have in the file system that holds `fd` (`_PC_LINK_MAX`, fpathconf(3)); `None` if it
/// reports none.
pub fn most_links(fd: impl AsFd) -> Option<u64> {
    // SAFETY: the descriptor is open while `fd` is borrowed; the call touches no memory of ours.
    let most = unsafe { libc::fpathconf(fd.as_fd().as_raw_fd(), libc::_PC_LINK_MAX) };
    u64::try_from(most).ok()
}

fn is_btrfs(fd: impl AsFd) -> bool {
    const BTRFS_SUPER_MAGIC: rfs::FsWord = 0x9123_683e;
    rfs::fstatfs(fd).is_ok_and(|s| s.f_type == BTRFS_SUPER_MAGIC)
}
