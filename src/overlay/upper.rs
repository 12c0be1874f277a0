//! The upper: the worktree's own directory, reached by descriptors only.
//!
//! A directory of the upper is opened component by component from the nearest one that is still open, so
//! neither the depth nor the length of a path has a limit of ours, and no symlink is ever followed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::Name;
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags, SetTime, Stat};
use crate::sys::log::OrWarn;

use super::cache::FdCache;
use super::intents::is_intent;
use super::loosened::{self, despite_mode};
use super::types::Ino;

/// Descriptors kept open for directories of the upper, and as many for files.
const KEPT_OPEN: usize = 48;
/// Directory listings kept in memory.
pub(super) const KEPT_LISTINGS: usize = 16;

/// The names in one directory of the upper, in listing order.
pub(super) type Listing = BTreeMap<Name, (FileType, u64)>;

/// The worktree's own directory below the mount, with what is kept open and in memory of it. Access is by descriptor:
/// the path leads into the mount.
pub(super) struct Upper {
    pub root: Arc<OwnedFd>,
    /// A directory of ours in the same file system, to make things aside in.
    pub aside: Option<Arc<OwnedFd>>,
    /// Names in `aside` that hold the modes that a crash left loosened (`loosened.rs`).
    pub notes: Vec<Vec<u8>>,
    /// The root holds the directory for journal and `aside` (`state_dir.rs`).
    pub has_home: bool,
    pub state_dir: PathBuf,
    pub dirs: FdCache<OwnedFd>,
    /// Directories of the lower that have no directory in the upper.
    pub absent: HashSet<Ino>,
    pub listings: HashMap<Ino, Listing>,
}

impl Upper {
    /// The work directory is made in `beside`, which is in the upper's file system. The remains of an earlier crash
    /// there are deleted, except those that a `takeover` continues.
    pub fn new(root: OwnedFd, beside: Option<OwnedFd>, takeover: bool) -> std::io::Result<Upper> {
        let opened = beside.map(|dir| open_aside(&dir, takeover)).transpose()?;
        let (aside, notes) = opened.map_or((None, Vec::new()), |(aside, notes)| (Some(Arc::new(aside)), notes));
        Ok(Upper {
            root: Arc::new(root),
            aside,
            notes,
            has_home: false,
            state_dir: PathBuf::new(),
            dirs: FdCache::new(KEPT_OPEN),
            absent: HashSet::new(),
            listings: HashMap::new(),
        })
    }

    /// Closes what can be opened again.
    pub fn close_kept(&mut self) {
        self.dirs.clear();
    }

    /// The directory `ino` is gone from the upper.
    pub fn forget_dir(&mut self, ino: Ino) {
        self.dirs.forget(ino);
        self.absent.remove(&ino);
        self.listings.remove(&ino);
    }

    /// Keeps a listing that is in memory true: `name` is in `dir` now, or no longer.
    pub fn note(&mut self, dir: Ino, name: &Name, now: Option<(FileType, u64)>) {
        if let Some(listing) = self.listings.get_mut(&dir) {
            match now {
                Some(what) => listing.insert(name.clone(), what),
                None => listing.remove(name),
            };
        }
    }

    /// Drops all cached state: anything may have changed below the upper's directories.
    pub fn forget_all(&mut self) {
        self.dirs.clear();
        self.absent.clear();
        self.listings.clear();
    }
}

/// The directory, and the notes of modes in it.
fn open_aside(beside: &OwnedFd, takeover: bool) -> std::io::Result<(OwnedFd, Vec<Vec<u8>>)> {
    match fs::mkdir_at(beside, b"aside", 0o700) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let (aside, mut notes) = (fs::open_dir_at(beside, b"aside")?, Vec::new());
    for left in fs::list(&aside)? {
        // Names of 16 digits are orphans; a server that takes over serves them on.
        if is_intent(&left.name) || (takeover && left.name.len() == 16) {
            continue;
        }
        if loosened::is_note(&left.name) {
            notes.push(left.name);
            continue;
        }
        // The remains of a failed deletion are harmless.
        remove_tree(&aside, &left.name).or_warn("the moved-away file stays until the next mount");
    }
    Ok((aside, notes))
}

/// Deletes `name` from a directory of ours, with all below it; nothing there is fine. No symlink is followed.
///
/// However deep it is, a few descriptors are open and nothing is called again: a directory below that isn't empty is
/// moved up into `name` before its turn comes.
pub(super) fn remove_tree(dir: &OwnedFd, name: &[u8]) -> std::io::Result<()> {
    if !unlink_or_is_dir(dir, name)? {
        return Ok(());
    }
    let top = open_to_empty(dir, name)?;
    let (mut todo, mut number) = (Vec::new(), 0u64);
    for entry in fs::list(fs::open_dir_at(&top, b".")?)? {
        if unlink_or_is_dir(&top, &entry.name)? {
            todo.push(entry.name);
        }
    }
    while let Some(child) = todo.pop() {
        let below = match open_to_empty(&top, &child) {
            // It was empty, and another took its name.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        for entry in fs::list(fs::open_dir_at(&below, b".")?)? {
            if unlink_or_is_dir(&below, &entry.name)? {
                todo.push(move_up(&below, &entry.name, &top, &mut number)?);
            }
        }
        fs::rmdir_at(&top, &child)?;
    }
    despite_mode(None, dir, || fs::rmdir_at(dir, name))
}

/// Deletes what is no directory, and answers whether one is there.
fn unlink_or_is_dir(dir: &OwnedFd, name: &[u8]) -> std::io::Result<bool> {
    match despite_mode(None, dir, || fs::unlink_at(dir, name)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) if e.raw_os_error() == Some(libc::EISDIR) => Ok(true),
        // The errno of POSIX for a directory, which some file systems return.
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            let is_dir = despite_mode(None, dir, || fs::stat_at(dir, name)).is_ok_and(|stat| stat.is_dir());
            if is_dir { Ok(true) } else { Err(e) }
        }
        done => done.map(|()| false),
    }
}

/// Opens a directory that is going to be deleted, with the permissions to do so.
fn open_to_empty(dir: &OwnedFd, name: &[u8]) -> std::io::Result<OwnedFd> {
    let opened = despite_mode(None, dir, || fs::open_at(dir, name, OpenFlags::PATH | OpenFlags::DIRECTORY, 0))?;
    if fs::stat(&opened)?.mode & 0o700 != 0o700 {
        fs::chmod_path_fd(&opened, 0o700)?;
    }
    Ok(opened)
}

/// Gives a directory of `from` a name in `to`, of which all is going to be deleted: an empty directory may have it.
fn move_up(from: &OwnedFd, name: &[u8], to: &OwnedFd, number: &mut u64) -> std::io::Result<Vec<u8>> {
    let mut may_write = false;
    loop {
        let new = format!("moved up {number:x}").into_bytes();
        match fs::rename_at(from, name, to, &new, RenameFlags::empty()) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST | libc::ENOTDIR)) => *number += 1,
            // It gets another parent, which its own mode may forbid to all but root (rename(2), EACCES).
            Err(e) if e.raw_os_error() == Some(libc::EACCES) && !may_write => {
                open_to_empty(from, name)?;
                may_write = true;
            }
            done => {
                *number += 1;
                return done.map(|()| new);
            }
        }
    }
}

/// Gives a directory the access and modification time it had: what was done in it doesn't show. It is done by then, so
/// where the times can't be set they are what is wrong, and nothing else is.
pub(super) fn restore_times(dir: &OwnedFd, was: &Stat) {
    fs::utimens_at(dir, b"", SetTime::At(was.atime), SetTime::At(was.mtime))
        .or_debug("the times of a directory show a change below");
}

/// The directory's content changed just now. As with [`restore_times`], that is done.
pub(super) fn touch_dir(dir: &OwnedFd) {
    fs::utimens_at(dir, b"", SetTime::Keep, SetTime::Now).or_debug("the times of a directory do not show a change");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn made_deep(dir: &std::path::Path, depth: usize) -> OwnedFd {
        let top = crate::sys::path::open_dir(dir).expect("there");
        let mut at = fs::duplicate(std::os::fd::AsFd::as_fd(&top)).expect("a descriptor");
        for _ in 0..depth {
            fs::mkdir_at(&at, b"d", 0o755).expect("made");
            at = fs::open_dir_at(&at, b"d").expect("opened");
        }
        top
    }

    #[test]
    fn a_directory_of_any_depth_is_deleted_with_little_stack_and_few_descriptors() {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let top = made_deep(temp.path(), 20_000);
        let work = move || remove_tree(&top, b"d").expect("deleted");
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread").join().expect("done");
        assert_eq!(std::fs::read_dir(temp.path()).expect("listed").count(), 0);
    }

    #[test]
    fn a_tree_is_deleted_whatever_its_modes_are_and_nothing_behind_its_links() {
        let temp = tempfile::tempdir().expect("a directory");
        let at = |path: &str| temp.path().join(path);
        for dir in ["d/a/b/c", "d/moved up 0/moved up 1", "d/e", "kept"] {
            std::fs::create_dir_all(at(dir)).expect("made");
        }
        for file in ["d/a/f", "d/a/b/c/f", "d/moved up 0/moved up 1/f", "kept/f"] {
            std::fs::write(at(file), "x").expect("written");
        }
        for (link, to) in [("d/l", "../kept"), ("d/a/b/l", "../../../kept"), ("d/a/gone", "nowhere")] {
            symlink(to, at(link)).expect("linked");
        }
        for (dir, mode) in [("d/a/b/c", 0), ("d/a/b", 0o500), ("d/a", 0o100), ("d/moved up 0", 0o500), ("d", 0)] {
            std::fs::set_permissions(at(dir), std::fs::Permissions::from_mode(mode)).expect("set");
        }
        let top = crate::sys::path::open_dir(temp.path()).expect("there");
        remove_tree(&top, b"d").expect("deleted");
        remove_tree(&top, b"d").expect("nothing there");
        let left: Vec<_> =
            std::fs::read_dir(temp.path()).expect("listed").map(|e| e.expect("one").file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert_eq!(std::fs::read(at("kept/f")).expect("kept"), b"x");
    }
}
