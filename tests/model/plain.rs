//! Operations on a real directory by the kernel's calls, and what is there afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use depsfs::sys::fs::{self as sysfs, RenameFlags, SetTime, Timespec, XattrFlags};

use super::ops::Op;

/// Later than this is "now": the operation itself set the time.
const RECENT: i64 = 1_500_000_000;
pub const XATTR: &[u8] = b"user.color";

/// Everything comparable of one path. Times are kept when an operation or the fixture set them.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub nlink: u64,
    pub size: u64,
    pub mtime: Option<(i64, u32)>,
    pub content: Vec<u8>,
    pub xattr: Option<Vec<u8>>,
}

/// Whether a symlink is on the way to a path: following it is the kernel's work, not a file system's.
pub fn crosses_a_link(root: &Path, path: &str) -> bool {
    let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
    parents.into_iter().any(|p| fs::symlink_metadata(root.join(p)).is_ok_and(|m| m.is_symlink()))
}

/// Does `op` below `root`, which is a plain directory or a mounted view.
pub fn apply(root: &Path, op: &Op) -> io::Result<()> {
    match op {
        Op::Create(p) => fs::File::create_new(root.join(p)).map(drop),
        Op::Write(p, at, byte) => {
            let file = open(root, p)?;
            std::os::unix::fs::FileExt::write_all_at(&file, &[*byte; 5], *at)
        }
        Op::Truncate(p, size) => open(root, p)?.set_len(*size),
        Op::Mkdir(p) => fs::create_dir(root.join(p)),
        Op::Rmdir(p) => fs::remove_dir(root.join(p)),
        Op::Unlink(p) => fs::remove_file(root.join(p)),
        Op::RemoveAll(p) => match fs::symlink_metadata(root.join(p))?.is_dir() {
            true => fs::remove_dir_all(root.join(p)),
            false => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        },
        Op::Rename(a, b) => rename(root, a, b, RenameFlags::empty()),
        Op::RenameNoReplace(a, b) => rename(root, a, b, RenameFlags::NOREPLACE),
        Op::Exchange(a, b) => rename(root, a, b, RenameFlags::EXCHANGE),
        Op::Link(a, b) => fs::hard_link(root.join(a), root.join(b)),
        Op::Symlink(p) => std::os::unix::fs::symlink("somewhere", root.join(p)),
        Op::Chmod(p, mode) => {
            let (dir, name) = split(root, p)?;
            not_a_link(sysfs::stat_at(&dir, &name)?.mode)?;
            sysfs::chmod_at(&dir, &name, *mode)
        }
        Op::Utimens(p, sec) => {
            let (dir, name) = split(root, p)?;
            let time = SetTime::At(Timespec { sec: *sec, nsec: 7 });
            sysfs::utimens_at(&dir, &name, SetTime::Keep, time)
        }
        Op::SetXattr(p, value) => sysfs::set_xattr(&open(root, p)?, XATTR, &[*value], XattrFlags::empty()),
        Op::RemoveXattr(p) => sysfs::remove_xattr(&open(root, p)?, XATTR),
        Op::Thaw(p) => fs::symlink_metadata(root.join(p)).map(drop),
        Op::Reset(p) => {
            match fs::symlink_metadata(root.join(p)) {
                Ok(meta) if meta.is_dir() => fs::remove_dir_all(root.join(p))?,
                Ok(_) => fs::remove_file(root.join(p))?,
                Err(_) => {}
            }
            let store = tempfile::tempdir()?;
            super::fixture::plain(store.path(), 1);
            let copied = std::process::Command::new("cp").arg("-a").arg(store.path().join(p)).arg(root).status()?;
            assert!(copied.success());
            Ok(())
        }
        Op::Remount => Ok(()),
    }
}

fn split(root: &Path, path: &str) -> io::Result<(std::os::fd::OwnedFd, Vec<u8>)> {
    let path = root.join(path);
    let parent = path.parent().expect("below the root");
    let dir = sysfs::open_path(parent, sysfs::OpenFlags::PATH | sysfs::OpenFlags::DIRECTORY, 0)?;
    Ok((dir, path.file_name().expect("a name").as_bytes().to_vec()))
}

fn open(root: &Path, path: &str) -> io::Result<fs::File> {
    let (dir, name) = split(root, path)?;
    not_a_link(sysfs::stat_at(&dir, &name)?.mode)?;
    sysfs::open_at(&dir, &name, sysfs::OpenFlags::RDWR, 0).map(fs::File::from)
}

fn rename(root: &Path, a: &str, b: &str, flags: RenameFlags) -> io::Result<()> {
    let ((from, old), (to, new)) = (split(root, a)?, split(root, b)?);
    sysfs::rename_at(&from, &old, &to, &new, flags)
}

/// Everything below `root`, by path.
pub fn dump(root: &Path) -> BTreeMap<String, Seen> {
    let mut out = BTreeMap::new();
    dump_into(root, "", &mut out);
    out
}

fn dump_into(at: &Path, path: &str, out: &mut BTreeMap<String, Seen>) {
    let meta = fs::symlink_metadata(at).expect("there");
    let content = match meta.mode() & libc::S_IFMT {
        libc::S_IFREG => fs::read(at).expect("content"),
        libc::S_IFLNK => fs::read_link(at).expect("a target").as_os_str().as_bytes().to_vec(),
        _ => Vec::new(),
    };
    let xattr = if meta.is_symlink() { None } else { sysfs::xattr_of_path(at, XATTR).ok() };
    let size = if meta.is_dir() { 0 } else { meta.size() };
    let mtime = settled(meta.mtime(), meta.mtime_nsec() as u32);
    out.insert(path.to_string(), Seen { mode: meta.mode(), nlink: meta.nlink(), size, mtime, content, xattr });
    if meta.is_dir() {
        for entry in fs::read_dir(at).expect("a directory") {
            let entry = entry.expect("an entry");
            dump_into(&entry.path(), &format!("{path}/{}", entry.file_name().to_string_lossy()), out);
        }
    }
}

/// A time that an operation or the fixture set; `None` for "now".
pub fn settled(sec: i64, nsec: u32) -> Option<(i64, u32)> {
    (sec < RECENT).then_some((sec, nsec))
}

pub fn not_a_link(mode: u32) -> io::Result<()> {
    let link = mode & libc::S_IFMT == libc::S_IFLNK;
    if link { Err(io::Error::from_raw_os_error(libc::ELOOP)) } else { Ok(()) }
}
