//! Which file system holds a file, where that makes a difference (`statfs(2)`).

use std::os::fd::AsFd;

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
