//! Files by path: for configuration, state and git's own files, where the path comes from the user or from git.
//!
//! Views and uppers are reached through descriptors ([`super::fs`]), never through here.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs as rfs;

use super::IoError;
use super::descent::Descent;
use super::fault::{self, Call};
use super::fs::{DirEntry, FileType, OpenFlags, SetTime, Stat};
use super::temporary::{Leftover, TemporaryFile};

/// The path of a child, by the bytes of its name.
pub(crate) fn child(dir: &Path, name: &[u8]) -> PathBuf {
    dir.join(OsStr::from_bytes(name))
}

/// `~/x` is `x` in the home directory; any other path stays as it is.
pub(crate) fn at_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path.into(),
    }
}

/// The whole content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, IoError> {
    read_all(path).map_err(IoError::of("read", path))
}

/// As [`read`], `None` when there is no such file (ENOENT, ENOTDIR).
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, IoError> {
    absent_is_none(read_all(path)).map_err(IoError::of("read", path))
}

/// Metadata, not following a symlink at the end; `None` when there is no such file.
pub(crate) fn stat(path: &Path) -> Result<Option<Stat>, IoError> {
    absent_is_none(super::fs::stat_at(rfs::CWD, path.as_os_str().as_bytes())).map_err(IoError::of("stat", path))
}

/// The type of a path's target, symlinks followed; `None` if there is none.
pub(crate) fn kind_of_target(path: &Path) -> Result<Option<FileType>, IoError> {
    let stat = absent_is_none(rfs::stat(path).map_err(io::Error::from)).map_err(IoError::of("stat", path))?;
    Ok(stat.map(|s| FileType::from_raw_mode(s.st_mode)))
}

/// The target of a symlink.
pub(crate) fn read_link(path: &Path) -> Result<Vec<u8>, IoError> {
    super::fs::readlink_at(rfs::CWD, path.as_os_str().as_bytes()).map_err(IoError::of("read the link", path))
}

/// Whether anything has this name; an error counts as "yes" (what can't be looked at may be there).
pub(crate) fn is_there(path: &Path) -> bool {
    !matches!(stat(path), Ok(None))
}

/// Whether a FUSE file system is mounted here that no server answers for any more.
pub(crate) fn is_disconnected(path: &Path) -> bool {
    stat(path).is_err_and(|e| e.source.raw_os_error() == Some(libc::ENOTCONN))
}

/// Whether this is a directory and no symlink to one.
pub(crate) fn is_dir(path: &Path) -> bool {
    matches!(stat(path), Ok(Some(s)) if s.is_dir())
}

/// Opens a directory for searching and listing; symlinks in the path are followed.
///
/// # Errors
/// As open(2).
pub fn open_dir(path: &Path) -> Result<OwnedFd, IoError> {
    super::fs::open_path(path, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0).map_err(IoError::of("open", path))
}

/// The names in a directory; an absent directory has none.
pub(crate) fn list(path: &Path) -> Result<Vec<DirEntry>, IoError> {
    let dir = super::fs::open_path(path, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0);
    match absent_is_none(dir).and_then(|dir| dir.map(super::fs::list).transpose()) {
        Ok(names) => Ok(names.unwrap_or_default()),
        Err(e) => Err(IoError::of("list", path)(e)),
    }
}

/// Makes one directory; `false` when the name was taken already.
pub(crate) fn make_dir(path: &Path) -> Result<bool, IoError> {
    match fault::point(Call::Add).and_then(|()| fs::create_dir(path)) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(IoError::of("create", path)(e)),
    }
}

/// Makes a directory and its missing parents.
pub(crate) fn make_dirs(path: &Path) -> Result<(), IoError> {
    fault::point(Call::Add).and_then(|()| fs::create_dir_all(path)).map_err(IoError::of("create", path))
}

/// As [`make_dirs`], for directories of ours: no other user may enter them, whatever the umask is.
pub(crate) fn make_private_dirs(path: &Path) -> Result<(), IoError> {
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path).map_err(IoError::of("create", path))
}

/// As [`make_dir`], for a directory that no other user may enter.
pub(crate) fn make_private_dir(path: &Path) -> Result<bool, IoError> {
    let builder = &mut fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
    match builder.create(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(IoError::of("create", path)(e)),
    }
}

/// Removes an empty directory; an absent one is fine.
pub(crate) fn remove_dir(path: &Path) -> Result<(), IoError> {
    absent_is_none(fault::point(Call::Remove).and_then(|()| fs::remove_dir(path)))
        .map(drop)
        .map_err(IoError::of("remove", path))
}

/// Removes a directory with all that is in it, however deep, following no symlink; an absent one is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<(), IoError> {
    let name = path.as_os_str().as_bytes();
    let remove = || match super::fs::open_dir_at(rfs::CWD, name) {
        Err(e) if super::fs::is_symlink_error(&e) || e.kind() == io::ErrorKind::NotADirectory => {
            super::fs::unlink_at(rfs::CWD, name)
        }
        top => empty(Descent::new(top?)?).and_then(|()| super::fs::rmdir_at(rfs::CWD, name)),
    };
    absent_is_none(fault::point(Call::Remove).and_then(|()| remove())).map(drop).map_err(IoError::of("remove", path))
}

/// Removes all that is in a directory. An entry that another process removes meanwhile is no error.
fn empty(mut way: Descent) -> io::Result<()> {
    // For each directory on the way the names below it that are directories and still there; and its own name.
    let mut todo = vec![(Vec::new(), remove_files(way.here())?)];
    while let Some((_, dirs)) = todo.last_mut() {
        let Some(name) = dirs.pop() else {
            let own = todo.pop().map(|(name, _)| name).unwrap_or_default();
            if way.leave()?.is_some() {
                absent_is_none(super::fs::rmdir_at(way.here(), &own))?;
            }
            continue;
        };
        if absent_is_none(way.enter(&name))?.is_some() {
            todo.push((name, remove_files(way.here())?));
        }
    }
    Ok(())
}

/// Removes all names that are no directories, and gives those that are.
fn remove_files(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut dirs = Vec::new();
    for entry in super::fs::list(dir)? {
        match (entry.kind != FileType::Directory).then(|| super::fs::unlink_at(dir, &entry.name)) {
            None => dirs.push(entry.name),
            // A directory whose type the listing did not report; POSIX has EPERM for it (unlink(2)).
            Some(Err(e)) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {
                let is_dir = entry.kind == FileType::Unknown && super::fs::stat_at(dir, &entry.name)?.is_dir();
                if !is_dir {
                    return Err(e);
                }
                dirs.push(entry.name);
            }
            Some(done) => drop(absent_is_none(done)?),
        }
    }
    Ok(dirs)
}

/// Removes all that is in a directory, following no symlink; the directory stays as it is.
pub(crate) fn empty_dir(path: &Path) -> Result<(), IoError> {
    for entry in list(path)? {
        let child = path.join(std::ffi::OsStr::from_bytes(&entry.name));
        if is_dir(&child) { remove_tree(&child)? } else { remove_file(&child)? }
    }
    Ok(())
}

/// Removes a file; an absent one is fine.
pub(crate) fn remove_file(path: &Path) -> Result<(), IoError> {
    absent_is_none(fault::point(Call::Remove).and_then(|()| fs::remove_file(path)))
        .map(drop)
        .map_err(IoError::of("remove", path))
}

/// Replaces a file's content at once: written aside, then renamed. Not synced: for what can be made again.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    replace_through(&aside(path), path, bytes, |_| Ok(()))
}

/// As [`replace`], with the temporary file at `aside`, on the same file system.
///
/// # Errors
/// It cannot be written, synced or renamed.
pub(crate) fn replace_through(
    aside: &Path,
    path: &Path,
    bytes: &[u8],
    sync: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> Result<(), IoError> {
    let written = TemporaryFile::at(aside, 0o666, Leftover::Reuse).and_then(|new| {
        super::fs::write_all_at(new.file(), bytes, 0)?;
        sync(new.file()).map(|()| new)
    });
    written.map_err(IoError::of("write", aside))?.rename_to(path).map_err(IoError::of("rename", aside))
}

/// A name beside `path` that no other thread of this process uses, and no other process.
fn aside(path: &Path) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.{count}.new", std::process::id()));
    aside.into()
}

/// As [`replace`], but no name is made: `spare` is written, then the two change places. `false`, and nothing is there
/// that wasn't before, when one of them is gone. The file never gets shorter, so that it needs no new room on a full
/// disk: new lines follow the bytes.
pub(crate) fn swap_in(path: &Path, spare: &Path, bytes: &[u8]) -> Result<bool, IoError> {
    let write = |mut file: fs::File| {
        let before = file.metadata()?.len();
        super::fs::write_all(&file, bytes)?;
        io::copy(&mut io::repeat(b'\n').take(before.saturating_sub(bytes.len() as u64)), &mut file)
    };
    let written = fs::OpenOptions::new().write(true).open(spare).and_then(write).map(drop);
    let swap = || Ok(rfs::renameat_with(rfs::CWD, spare, rfs::CWD, path, rfs::RenameFlags::EXCHANGE)?);
    match written.and_then(|()| swap()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        // renameat2(2): EINVAL is a file system that can't exchange names.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => replace(path, bytes).map(|()| true),
        Err(e) => Err(IoError::of("replace", path)(e)),
    }
}

/// As [`replace`], and the bytes are on disk before the name is theirs: after a power cut the file is the old or
/// the new one, never an empty one.
pub(crate) fn replace_synced(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    replace_through(&aside(path), path, bytes, |file| super::fs::fdatasync(file))
}

/// Puts other bytes into a user's file, as [`replace_synced`] does: a symlink to it stays one, and the mode is kept.
///
/// # Errors
/// It cannot be read, written or renamed.
pub(crate) fn rewrite(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let real = if is_there(path) { canonical(path)? } else { path.to_path_buf() };
    let mode = stat(&real)?.map(|stat| stat.mode & 0o7777);
    replace_through(&aside(&real), &real, bytes, |file| {
        mode.map_or(Ok(()), |mode| super::fs::chmod(file, mode))?;
        super::fs::fdatasync(file)
    })
}

/// As [`replace_synced`], with a mode that the umask does not change.
///
/// # Errors
/// It cannot be written or renamed.
pub(crate) fn replace_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IoError> {
    replace_through(&aside(path), path, bytes, |file| {
        super::fs::chmod(file, mode)?;
        super::fs::fdatasync(file)
    })
}

/// Makes a file that must not be there yet (a lock, as git makes them) and writes it; `None` when it is there.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<Option<OwnedFd>, IoError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
    let file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(e) => return Err(IoError::of("create", path)(e)),
    };
    // Half of it would be taken for the whole.
    super::fs::write_all(&file, bytes)
        .inspect_err(|_| drop(fs::remove_file(path)))
        .map_err(IoError::of("write", path))?;
    Ok(Some(file.into()))
}

/// Makes a symlink at a name that is free.
pub(crate) fn symlink(target: &[u8], at: &Path) -> Result<(), IoError> {
    super::fs::symlink_at(target, rfs::CWD, at.as_os_str().as_bytes()).map_err(IoError::of("create", at))
}

/// As rename(2).
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), IoError> {
    fault::point(Call::Add).and_then(|()| fs::rename(from, to)).map_err(IoError::of("rename", from))
}

/// As [`rename`], but nothing that is there is replaced.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), IoError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let renamed = fault::point(Call::Add).and_then(|()| Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?));
    renamed.map_err(IoError::of("rename", from))
}

/// Two names change places.
pub(crate) fn exchange(one: &Path, other: &Path) -> Result<(), IoError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let done =
        fault::point(Call::Change).and_then(|()| Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?));
    done.map_err(IoError::of("rename", one))
}

/// Sets the modification time of a path, or of the symlink itself.
pub(crate) fn set_mtime(path: &Path, mtime: super::fs::Timespec) -> Result<(), IoError> {
    super::fs::utimens_at(rfs::CWD, path.as_os_str().as_bytes(), SetTime::Keep, SetTime::At(mtime))
        .map_err(IoError::of("set the time of", path))
}

/// The path from the root on, with symlinks and `..` as they are. The file system is not looked at; only a relative
/// one needs the working directory, which may have been deleted.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, IoError> {
    const GONE: &str = "the working directory was deleted, or its view unmounted: cd \"$PWD\" enters what is there now";
    let words = |e: io::Error| if e.kind() == io::ErrorKind::NotFound { io::Error::new(e.kind(), GONE) } else { e };
    std::path::absolute(path).map_err(|e| IoError::of("resolve", path)(words(e)))
}

/// The path without symlinks, `.` and `..`; it must be there.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, IoError> {
    fault::point(Call::Look).and_then(|()| fs::canonicalize(path)).map_err(IoError::of("resolve", path))
}

/// Copies a file, or symlink to a name that is free: mode, mtime and user xattrs come along. The bytes
/// are cloned where the file system can, else copied. `false` when the name is taken or the kind isn't copied.
pub(crate) fn copy_node(from: &Path, to: &Path) -> Result<bool, IoError> {
    let Some(stat) = stat(from)? else { return Ok(false) };
    let name = to.as_os_str().as_bytes();
    match stat.kind() {
        FileType::RegularFile => copy_file(from, to, &stat),
        FileType::Symlink => {
            let target = super::fs::readlink_at(rfs::CWD, from.as_os_str().as_bytes())
                .map_err(IoError::of("read the link", from))?;
            match super::fs::symlink_at(&target, rfs::CWD, name) {
                Ok(()) => set_mtime(to, stat.mtime).map(|()| true),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(e) => Err(IoError::of("create", to)(e)),
            }
        }
        _ => Ok(false),
    }
}

fn copy_file(from: &Path, to: &Path, stat: &Stat) -> Result<bool, IoError> {
    let source = fs::File::open(from).map_err(IoError::of("open", from))?;
    // 0600 until the bytes are there: a secret is never readable for longer than its original.
    let copy = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to) {
        Ok(copy) => copy,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => return Err(IoError::of("create", to)(e)),
    };
    if super::fs::clone_file(source.as_fd(), copy.as_fd()).is_err() {
        // `io::copy` between files is `copy_file_range`, with a plain loop where that can't be.
        io::copy(&mut &source, &mut &copy).map_err(IoError::of("copy", from))?;
    }
    let user_xattrs = super::fs::xattr_names(&source).unwrap_or_default();
    for name in user_xattrs.iter().filter(|n| n.starts_with(b"user.")) {
        if let Ok(value) = super::fs::xattr(&source, name) {
            // A file system without user xattrs keeps the bytes all the same.
            let _ = super::fs::set_xattr(&copy, name, &value, rfs::XattrFlags::empty());
        }
    }
    super::fs::chmod(&copy, stat.mode & 0o777).map_err(IoError::of("set the mode of", to))?;
    super::fs::utimens(&copy, SetTime::At(stat.atime), SetTime::At(stat.mtime))
        .map_err(IoError::of("set the time of", to))?;
    Ok(true)
}

fn read_all(path: &Path) -> io::Result<Vec<u8>> {
    fault::point(Call::Open)?;
    fault::point(Call::Look)?;
    fs::read(path)
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory_at_the_beginning_of_a_path_only() {
        let table = [("~/a/b", "/home/ada/a/b"), ("a/~/b", "a/~/b"), ("~eve/b", "~eve/b"), ("/a", "/a")];
        for (path, whole) in table {
            assert_eq!(at_home(Path::new(path), Some(Path::new("/home/ada"))), Path::new(whole));
            assert_eq!(at_home(Path::new(path), None), Path::new(path));
        }
    }
}
