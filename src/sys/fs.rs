//! File calls relative to an open directory: the one place with system calls on files.
//!
//! Everything here takes a directory descriptor and a name (bytes), or an open descriptor, and returns
//! the kernel's own error. Nothing follows a symlink in the last component.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self as rfs, AtFlags, OFlags, StatxFlags};
use rustix::io::Errno;

pub(crate) use super::content::{clone_file, fdatasync, syncfs};
pub use super::content::{
    copy_range, fallocate, fsync, next_data, read_at, read_once, seek_data, truncate, write_all, write_all_at, write_at,
};
use super::fault::{self, Call};
use super::feature::{KernelFeature, is_without};
pub(crate) use super::metadata::chmod_path_fd;
pub use super::metadata::{SetTime, chmod, chmod_at, chown, chown_at, utimens, utimens_at};
pub(crate) use super::xattr::{long_xattr, user_xattrs};
pub use super::xattr::{remove_xattr, set_xattr, set_xattr_of_path, xattr, xattr_names, xattr_of_path};
pub use rustix::fs::{FallocateFlags, FileType, OFlags as OpenFlags, RenameFlags, XattrFlags};
pub(crate) use rustix::fs::{Mode, StatVfs};

/// A point in time: whole seconds since 1970 (may be negative) and nanoseconds below 10⁹.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timespec {
    /// Rounded down, so that `nsec` is never negative.
    pub sec: i64,
    /// Added to `sec`.
    pub nsec: u32,
}

impl Timespec {
    /// The wall clock, as the kernel's fine-grained clock reads it.
    pub fn now() -> Timespec {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timespec { sec: t.tv_sec, nsec: t.tv_nsec as u32 }
    }
}

/// The attributes that are requested from `statx(2)`.
const ASKED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// The attributes of a file, as `statx(2)` reports them. `mode` holds type and permission bits; `blocks` counts 512
/// bytes.
#[allow(missing_docs, reason = "the fields are those of stat(2)")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub blocks: u64,
    pub blksize: u32,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    /// When it was made, in nanoseconds since 1970, if the file system records it; else 0. With the inode number it
    /// distinguishes a file from a later one that got the same number.
    pub born: u64,
}

impl Stat {
    /// The file type bits of `mode`, as a type.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// False for a symlink to a directory if the metadata is that of the link (lstat(2)).
    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether it is a regular file: no directory, symlink, fifo, socket or device.
    pub fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    fn from_raw(s: rfs::Statx) -> Stat {
        let time = |t: rfs::StatxTimestamp| Timespec { sec: t.tv_sec, nsec: t.tv_nsec };
        let knows_birth = s.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = time(s.stx_btime);
        Stat {
            dev: rfs::makedev(s.stx_dev_major, s.stx_dev_minor),
            ino: fault::number(s.stx_ino),
            mode: s.stx_mode.into(),
            nlink: s.stx_nlink,
            uid: s.stx_uid,
            gid: s.stx_gid,
            rdev: rfs::makedev(s.stx_rdev_major, s.stx_rdev_minor),
            size: s.stx_size,
            blocks: s.stx_blocks,
            blksize: s.stx_blksize,
            atime: time(s.stx_atime),
            mtime: time(s.stx_mtime),
            ctime: time(s.stx_ctime),
            born: if knows_birth {
                born.sec.unsigned_abs().wrapping_mul(1_000_000_000).wrapping_add(born.nsec.into())
            } else {
                0
            },
        }
    }

    fn without_birth(s: rfs::Stat) -> Stat {
        let time = |sec, nsec: u64| Timespec { sec, nsec: nsec as u32 };
        Stat {
            dev: s.st_dev,
            ino: fault::number(s.st_ino),
            mode: s.st_mode,
            nlink: s.st_nlink as u32,
            uid: s.st_uid,
            gid: s.st_gid,
            rdev: s.st_rdev,
            size: s.st_size as u64,
            blocks: s.st_blocks as u64,
            blksize: s.st_blksize as u32,
            atime: time(s.st_atime, s.st_atime_nsec),
            mtime: time(s.st_mtime, s.st_mtime_nsec),
            ctime: time(s.st_ctime, s.st_ctime_nsec),
            born: 0,
        }
    }
}

/// Opens `name` below `dir`; never through a symlink at the end. `O_CLOEXEC` is always set.
///
/// # Errors
/// As openat(2).
pub fn open_at(dir: impl AsFd, name: &[u8], flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    fault::point_to_open(flags)?;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rfs::openat(dir, name, flags, Mode::from_raw_mode(mode))?)
}

/// Opens a path given by the user or by configuration; symlinks in it are followed.
///
/// # Errors
/// As open(2).
pub fn open_path(path: &std::path::Path, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    fault::point_to_open(flags)?;
    Ok(rfs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))?)
}

/// Opens a directory below `dir` for searching and reading.
///
/// # Errors
/// As openat(2).
pub fn open_dir_at(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// Opens a relative path of several components beneath `dir`, which an empty path names itself; a symlink or `..` on the
/// way fails (`openat2(2)` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Without that call, or if the path is longer than
/// it takes (PATH_MAX), one component after the other.
pub(crate) fn open_beneath(dir: impl AsFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    fault::point(Call::Open)?;
    let path = if path.is_empty() { b"." } else { path };
    let resolve = rfs::ResolveFlags::BENEATH | rfs::ResolveFlags::NO_SYMLINKS;
    let opened = match is_without(KernelFeature::Openat2) {
        true => Err(Errno::NOSYS),
        false => rfs::openat2(dir.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve),
    };
    match opened {
        Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG) => open_by_steps(dir, path, flags),
        opened => Ok(opened?),
    }
}

fn open_by_steps(dir: impl AsFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if path.starts_with(b"/") || names.contains(&&b".."[..]) {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    let (last, above) = names.split_last().map_or((&b"."[..], &[][..]), |(last, above)| (*last, above));
    let mut at = dir.as_fd().try_clone_to_owned()?;
    for name in above {
        at = rfs::openat(
            &at,
            *name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
    }
    let opened = rfs::openat(&at, last, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // With O_PATH the symlink itself would be opened.
    match flags.contains(OFlags::PATH) && stat(&opened)?.kind() == FileType::Symlink {
        true => Err(io::Error::from_raw_os_error(libc::ELOOP)),
        false => Ok(opened),
    }
}

/// A new nameless file in `dir`'s file system, open for reading and writing.
pub(crate) fn open_tmpfile(dir: impl AsFd, mode: u32) -> io::Result<OwnedFd> {
    fault::point(Call::Add)?;
    if is_without(KernelFeature::Tmpfile) {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    Ok(rfs::openat(dir, ".", flags, Mode::from_raw_mode(mode))?)
}

/// Opens again what `fd` refers to, with other flags, whatever its name is now.
pub(crate) fn reopen(fd: impl AsFd, flags: OFlags) -> io::Result<OwnedFd> {
    fault::point(Call::Open)?;
    Ok(rfs::open(proc_path(fd), flags | OFlags::CLOEXEC, Mode::empty())?)
}

/// Metadata of `name` below `dir`, not following a symlink.
///
/// # Errors
/// As fstatat(2).
pub fn stat_at(dir: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    fault::point(Call::Look)?;
    look(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Metadata of an open file.
///
/// # Errors
/// As fstat(2).
pub fn stat(fd: impl AsFd) -> io::Result<Stat> {
    fault::point(Call::Look)?;
    look(fd, b"", AtFlags::EMPTY_PATH)
}

/// [`Stat::born`] of `name` below `dir`; with an empty name of `dir` itself.
pub(crate) fn birth(dir: impl AsFd, name: &[u8]) -> io::Result<u64> {
    fault::point(Call::Look)?;
    Ok(look(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?.born)
}

/// statx(2), or fstatat(2) where a filter of system calls refuses that.
fn look(dir: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Stat> {
    let looked = match is_without(KernelFeature::Statx) {
        true => Err(Errno::NOSYS),
        false => rfs::statx(dir.as_fd(), name, flags, ASKED),
    };
    match looked {
        Ok(raw) => Ok(Stat::from_raw(raw)),
        Err(Errno::NOSYS) => Ok(Stat::without_birth(rfs::statat(dir, name, flags)?)),
        // Filters answer so as well; a file answers so to both.
        Err(Errno::PERM) => rfs::statat(dir, name, flags).map(Stat::without_birth).map_err(io::Error::from),
        Err(e) => Err(e.into()),
    }
}

/// The file system's figures, for `df`.
pub(crate) fn statfs(fd: impl AsFd) -> io::Result<StatVfs> {
    fault::point(Call::Look)?;
    Ok(rfs::fstatvfs(fd)?)
}

/// # Errors
/// As mkdirat(2).
pub fn mkdir_at(dir: impl AsFd, name: &[u8], mode: u32) -> io::Result<()> {
    fault::point(Call::Add)?;
    Ok(rfs::mkdirat(dir, name, Mode::from_raw_mode(mode))?)
}

/// # Errors
/// As mknodat(2).
pub fn mknod_at(dir: impl AsFd, name: &[u8], mode: u32, rdev: u64) -> io::Result<()> {
    fault::point(Call::Add)?;
    let kind = FileType::from_raw_mode(mode);
    Ok(rfs::mknodat(dir, name, kind, Mode::from_raw_mode(mode & 0o7777), rdev)?)
}

/// Makes a symlink called `name`, whose target is stored to the letter (symlinkat(2)). EEXIST if the name is taken.
pub(crate) fn symlink_at(target: &[u8], dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    fault::point(Call::Add)?;
    Ok(rfs::symlinkat(target, dir, name)?)
}

/// The target of a symlink, to the letter.
pub(crate) fn readlink_at(dir: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    fault::point(Call::Look)?;
    Ok(rfs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

/// # Errors
/// As linkat(2).
pub fn link_at(from: impl AsFd, name: &[u8], to: impl AsFd, new: &[u8]) -> io::Result<()> {
    fault::point(Call::Add)?;
    Ok(rfs::linkat(from, name, to, new, AtFlags::empty())?)
}

/// Gives an open nameless file (`O_TMPFILE`) a name; fails with EEXIST when the name is taken.
pub(crate) fn link_fd(fd: impl AsFd, to: impl AsFd, new: &[u8]) -> io::Result<()> {
    fault::point(Call::Add)?;
    Ok(rfs::linkat(rfs::CWD, proc_path(fd), to, new, AtFlags::SYMLINK_FOLLOW)?)
}

/// # Errors
/// As unlinkat(2).
pub fn unlink_at(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    fault::point(Call::Remove)?;
    Ok(rfs::unlinkat(dir, name, AtFlags::empty())?)
}

/// Removes an empty directory (unlinkat(2), AT_REMOVEDIR): ENOTEMPTY if it is not, EBUSY if something is mounted on it,
/// ENOTDIR for a symlink.
pub(crate) fn rmdir_at(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    fault::point(Call::Remove)?;
    Ok(rfs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// # Errors
/// As renameat2(2).
pub fn rename_at(from: impl AsFd, old: &[u8], to: impl AsFd, new: &[u8], flags: RenameFlags) -> io::Result<()> {
    fault::point(Call::Add)?;
    if flags.is_empty() {
        return Ok(rfs::renameat(from, old, to, new)?);
    }
    Ok(rfs::renameat_with(from, old, to, new, flags)?)
}

/// Whether opening failed because the name is a symlink (ELOOP: it is never followed).
pub fn is_symlink_error(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::ELOOP)
}

/// A name in a directory as `getdents64(2)` gives it; `.` and `..` are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Without slash and NUL; not always UTF-8.
    pub name: Vec<u8>,
    /// Of a mount point, that of the directory beneath the mount.
    pub ino: u64,
    /// `FileType::Unknown` on file systems that don't say.
    pub kind: FileType,
}

/// Every name in the directory, in the file system's order. `dir` is read from its start and its
/// position is used, so two threads must not list one descriptor at once.
///
/// # Errors
/// As getdents64(2).
pub fn list(dir: impl AsFd) -> io::Result<Vec<DirEntry>> {
    fault::point(Call::Look)?;
    rfs::seek(&dir, rfs::SeekFrom::Start(0))?;
    let mut buf: Vec<u8> = Vec::with_capacity(32 * 1024);
    let mut raw = rfs::RawDir::new(&dir, buf.spare_capacity_mut());
    let mut out = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            out.push(DirEntry { name: name.to_vec(), ino: fault::number(entry.ino()), kind: entry.file_type() });
        }
    }
    Ok(out)
}

/// A second descriptor for the same open file.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fault::point(Call::Open)?;
    fd.try_clone_to_owned()
}

/// `/proc/self/fd/N`: reaches the open file itself, whatever its name is, and takes path descriptors too.
pub(super) fn proc_path(fd: impl AsFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).expect("digits hold no NUL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_beneath_a_directory_is_opened_through_no_symlink_with_and_without_openat2() {
        let temp = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(temp.path().join("a/b")).expect("made");
        std::fs::write(temp.path().join("a/b/c"), "c").expect("written");
        std::os::unix::fs::symlink("b", temp.path().join("a/link")).expect("made");
        std::os::unix::fs::symlink("c", temp.path().join("a/b/last")).expect("made");
        let dir = crate::sys::path::open_dir(temp.path()).expect("there");
        let table = [
            ("a/b/c", None),
            ("./a//b/c", None),
            ("a/b", None),
            ("", None),
            (&"x/".repeat(3000), Some(libc::ENOENT)),
            ("a/link/c", Some(libc::ELOOP)),
            ("a/b/last", Some(libc::ELOOP)),
            ("a/../a/b/c", Some(libc::EXDEV)),
            ("/a", Some(libc::EXDEV)),
            ("a/none/c", Some(libc::ENOENT)),
            ("a/b/c/d", Some(libc::ENOTDIR)),
        ];
        for (path, error) in table {
            for flags in [OFlags::RDONLY, OFlags::PATH] {
                let steps = open_by_steps(&dir, path.as_bytes(), flags).err().and_then(|e| e.raw_os_error());
                let at_once = open_beneath(&dir, path.as_bytes(), flags).err().and_then(|e| e.raw_os_error());
                // `..` that stays beneath is fine for the kernel, and refused here.
                let at_once = if path.contains("..") { Some(libc::EXDEV) } else { at_once };
                // A symlink on the way is no directory to openat(2).
                let steps =
                    if steps == Some(libc::ENOTDIR) && path.contains("link") { Some(libc::ELOOP) } else { steps };
                assert_eq!((steps, at_once), (error, error), "{path} {flags:?}");
            }
        }
    }
}
