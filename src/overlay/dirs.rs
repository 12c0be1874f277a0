//! Directories of the upper, by inode number: opened, made, listed.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::store::Name;
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags};

use super::error::{OverlayError, Result, upper};
use super::loosened::despite_mode;
use super::types::Ino;
use super::upper::{KEPT_LISTINGS, Listing, restore_times};
use super::view::View;

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
            let aside = self.upper.aside.clone();
            match self.open_kept(|| despite_mode(aside.as_deref(), &fd, open)) {
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
        // Records of the journal may hold the directory's location: they must be written first.
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
            self.apply_metadata(&made, &attr, &xattrs)?;
            let real = fs::stat(&made).map_err(upper("look at a directory"))?.ino;
            if self.upper.aside.is_some() {
                fs::rename_at(at, aside_name, parent_fd, name.bytes(), RenameFlags::empty())
                    .map_err(upper("make a directory"))?;
            }
            Ok((made, real))
        };
        let finished = finish();
        if finished.is_err() {
            // A directory that can't be finished is removed; the first error is returned.
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
        let aside = self.upper.aside.clone();
        let open = || despite_mode(aside.as_deref(), fd, || fs::open_dir_at(fd, b"."));
        let dir = self.open_kept(open).map_err(upper("open a directory"))?;
        let mut listing = Listing::new();
        let names = match fs::list(&dir) {
            // A directory that was deleted has no names. If it is the upper, those of the lower are still shown: libc takes
            // ENOENT for the end of a listing, and programs would see an empty directory.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return self.ready().and(Err(OverlayError::NotFound)),
            names => names.map_err(upper("list a directory"))?,
        };
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
