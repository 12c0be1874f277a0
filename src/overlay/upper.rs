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

use super::Ino;
use super::cache::Cache;
use super::error::{Result, upper};
use super::resolve::View;
use super::unsettled::is_promise;

/// Descriptors kept open for directories of the upper, and as many for files.
const KEPT_OPEN: usize = 48;
/// Directory listings kept in memory.
const KEPT_LISTINGS: usize = 16;

/// The names in one directory of the upper, in listing order.
pub(super) type Listing = BTreeMap<Name, (FileType, u64)>;

pub(super) struct Upper {
    pub root: Arc<OwnedFd>,
    /// A directory of ours in the same file system, to make things aside in.
    pub aside: Option<Arc<OwnedFd>>,
    /// The root holds the directory of ours that journal and `aside` are in (`home.rs`).
    pub has_home: bool,
    pub state_dir: PathBuf,
    dirs: Cache<OwnedFd>,
    /// Directories of the lower that have no directory in the upper.
    absent: HashSet<Ino>,
    listings: HashMap<Ino, Listing>,
}

impl Upper {
    /// In `beside`, which is in the upper's file system, things are made aside. What an earlier
    /// crash left there is deleted, but for what a `takeover` goes on with.
    pub fn new(root: OwnedFd, beside: Option<OwnedFd>, takeover: bool) -> std::io::Result<Upper> {
        Ok(Upper {
            root: Arc::new(root),
            aside: beside.map(|dir| open_aside(&dir, takeover).map(Arc::new)).transpose()?,
            has_home: false,
            state_dir: PathBuf::new(),
            dirs: Cache::new(KEPT_OPEN),
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

    /// Anything may have changed below the upper's directories: know nothing.
    pub fn forget_all(&mut self) {
        self.dirs.clear();
        self.absent.clear();
        self.listings.clear();
    }
}

fn open_aside(beside: &OwnedFd, takeover: bool) -> std::io::Result<OwnedFd> {
    match fs::mkdir_at(beside, b"aside", 0o700) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let aside = fs::open_dir_at(beside, b"aside")?;
    for left in fs::list(&aside)? {
        // Names of 16 digits are orphans; a server that takes over serves them on.
        if is_promise(&left.name) || (takeover && left.name.len() == 16) {
            continue;
        }
        // What can't be deleted now is in nobody's way.
        let _ = remove_tree(&aside, &left.name);
    }
    Ok(aside)
}

impl View {
    /// The upper's directory for `dir`, or `None` when only the lower has it.
    pub(super) fn dir_fd(&mut self, dir: Ino) -> Result<Option<Arc<OwnedFd>>> {
        let mut chain = Vec::new();
        let mut at = dir;
        let mut fd = loop {
            if at == Ino::ROOT {
                break self.upper.root.clone();
            }
            if let Some(fd) = self.upper.dirs.find(at) {
                break fd;
            }
            if self.upper.absent.contains(&at) {
                self.upper.absent.extend(chain.iter().map(|(ino, _)| *ino));
                return Ok(None);
            }
            let (parent, name) = self.dir_place(at)?;
            chain.push((at, name));
            at = parent;
        };
        while let Some((ino, name)) = chain.pop() {
            let open = || fs::open_at(&fd, name.bytes(), OpenFlags::PATH | OpenFlags::DIRECTORY, 0);
            match self.open_kept(|| against_mode(&fd, open)) {
                Ok(next) => {
                    fd = Arc::new(next);
                    self.upper.dirs.keep(ino, fd.clone());
                }
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                    self.upper.absent.insert(ino);
                    self.upper.absent.extend(chain.iter().map(|(ino, _)| *ino));
                    return Ok(None);
                }
                Err(e) => return Err(upper("open a directory")(e)),
            }
        }
        Ok(Some(fd))
    }

    /// Runs an open; out of descriptors, closes what is kept and tries once more.
    pub(super) fn open_kept<T>(&mut self, open: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
        match open() {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                self.upper.close_kept();
                self.files.clear();
                open()
            }
            other => other,
        }
    }

    /// The upper's directory for `dir`; made there, with its parents, when only the lower has it.
    ///
    /// | step                     | a crash right after it leaves                         |
    /// |--------------------------|-------------------------------------------------------|
    /// | 1. make it aside, whole  | a directory in `aside` that the next open deletes     |
    /// | 2. rename into place     | an empty directory that merges with the lower: no change to be seen |
    pub(super) fn ensure_dir(&mut self, dir: Ino) -> Result<Arc<OwnedFd>> {
        let (mut missing, mut at) = (Vec::new(), dir);
        let mut fd = loop {
            match self.dir_fd(at)? {
                Some(fd) => break fd,
                None => missing.push((at, self.dir_place(at)?)),
            }
            at = missing[missing.len() - 1].1.0;
        };
        while let Some((dir, (parent, name))) = missing.pop() {
            fd = self.make_dir(dir, parent, &fd, &name)?;
        }
        Ok(fd)
    }

    fn make_dir(&mut self, dir: Ino, parent: Ino, parent_fd: &OwnedFd, name: &Name) -> Result<Arc<OwnedFd>> {
        // Where it lies may be what the journal says.
        self.precede()?;
        let attr = self.lower_attr(dir)?;
        let xattrs = self.lower_xattrs(dir);
        let kept = fs::stat(parent_fd).map_err(upper("look at a directory"))?;
        let (at, aside_name): (&dyn std::os::fd::AsFd, &[u8]) = match &self.upper.aside {
            Some(aside) => (aside, b"dir"),
            None => (&parent_fd, name.bytes()),
        };
        fs::mkdir_at(at, aside_name, 0o700).map_err(upper("make a directory"))?;
        let finish = || -> Result<(OwnedFd, u64)> {
            let made = fs::open_dir_at(at, aside_name).map_err(upper("open a directory"))?;
            self.dress(&made, &attr, &xattrs)?;
            let real = fs::stat(&made).map_err(upper("look at a directory"))?.ino;
            if self.upper.aside.is_some() {
                fs::rename_at(at, aside_name, parent_fd, name.bytes(), RenameFlags::empty())
                    .map_err(upper("make a directory"))?;
            }
            Ok((made, real))
        };
        let finished = finish();
        if finished.is_err() {
            // What can't be finished is taken back; the first error is the one that counts.
            drop(fs::rmdir_at(at, aside_name));
        }
        restore_times(parent_fd, &kept);
        let (made, real) = finished?;
        let made = Arc::new(made);
        self.upper.absent.remove(&dir);
        self.upper.dirs.keep(dir, made.clone());
        self.upper.note(parent, name, Some((FileType::Directory, real)));
        Ok(made)
    }

    /// The names of the upper's directory for `dir`, read once and then kept true; empty without one.
    pub(super) fn listing(&mut self, dir: Ino) -> Result<&Listing> {
        if !self.upper.listings.contains_key(&dir) {
            let listing = match self.dir_fd(dir)? {
                None => Listing::new(),
                Some(fd) => self.read_listing(&fd, dir)?,
            };
            if self.upper.listings.len() >= KEPT_LISTINGS {
                self.upper.listings.clear();
            }
            self.upper.listings.insert(dir, listing);
        }
        Ok(&self.upper.listings[&dir])
    }

    /// The listing, when it is in memory.
    pub(super) fn listing_if_read(&self, dir: Ino) -> Option<&Listing> {
        self.upper.listings.get(&dir)
    }

    fn read_listing(&mut self, fd: &OwnedFd, ino: Ino) -> Result<Listing> {
        let open = || against_mode(fd, || fs::open_dir_at(fd, b"."));
        let dir = self.open_kept(open).map_err(upper("open a directory"))?;
        let mut listing = Listing::new();
        let names = fs::list(&dir).map_err(upper("list a directory"))?;
        for entry in names.into_iter().filter(|e| !self.is_home(ino, &e.name)) {
            let kind = match entry.kind {
                FileType::Unknown => fs::stat_at(&dir, &entry.name).map_err(upper("look at a file"))?.kind(),
                known => known,
            };
            if let Ok(name) = Name::new(&entry.name) {
                listing.insert(name, (kind, entry.ino));
            }
        }
        Ok(listing)
    }
}

/// Deletes `name` from a directory of ours, with all below it; nothing there is fine.
pub(super) fn remove_tree(dir: &OwnedFd, name: &[u8]) -> std::io::Result<()> {
    match against_mode(dir, || fs::unlink_at(dir, name)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {
            let below = against_mode(dir, || fs::open_at(dir, name, OpenFlags::PATH | OpenFlags::DIRECTORY, 0))?;
            let names = against_mode(&below, || fs::list(fs::open_dir_at(&below, b".")?))?;
            names.iter().try_for_each(|entry| remove_tree(&below, &entry.name))?;
            against_mode(dir, || fs::rmdir_at(dir, name))
        }
        other => other,
    }
}

/// Looks or opens in a directory of ours whose mode keeps us out: who asks was let in by the kernel before the
/// mode was changed, or asks for what the mode doesn't guard.
pub(super) fn against_mode<T>(dir: &OwnedFd, open: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    match open() {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
            let mode = fs::stat(dir)?.mode & 0o7777;
            if mode & 0o700 == 0o700 || fs::chmod_path_fd(dir, mode | 0o700).is_err() {
                return Err(e);
            }
            let opened = open();
            fs::chmod_path_fd(dir, mode)?;
            opened
        }
        other => other,
    }
}

/// Gives a directory the access and modification time it had: what was done in it doesn't show. It is done by then, so
/// where the times can't be set they are what is wrong, and nothing else is.
pub(super) fn restore_times(dir: &OwnedFd, was: &Stat) {
    let _ = fs::utimens_at(dir, b"", SetTime::At(was.atime), SetTime::At(was.mtime));
}

/// The directory's content changed just now. As with [`restore_times`], that is done.
pub(super) fn touch_dir(dir: &OwnedFd) {
    let _ = fs::utimens_at(dir, b"", SetTime::Keep, SetTime::Now);
}
