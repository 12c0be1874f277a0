//! New names: files, directories, symlinks, hard links. They are plain files of the upper at once.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::store::Name;
use crate::sys::fs::{self, FileType, OpenFlags, Stat, Timespec};
use crate::sys::log::OrWarn;
use crate::sys::process;

use super::error::{OverlayError, Result, upper};
use super::journal::{MetaChange, Record};
use super::open_file::OpenFile;
use super::types::{Attr, Caller, Ino};
use super::view::Overlay;
use super::view::{FoundName, View};

impl Overlay {
    /// Makes a directory. As all new files it belongs to `caller`, and counts one reference.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn mkdir(&self, parent: Ino, name: &Name, mode: u32, caller: Caller) -> Result<Attr> {
        self.make(parent, name, caller, |dir, name| fs::mkdir_at(dir, name, mode & 0o7777))
    }

    /// Makes a file of any other type, which `mode` holds.
    ///
    /// # Errors
    /// As mknod(2).
    pub fn mknod(&self, parent: Ino, name: &Name, mode: u32, rdev: u64, caller: Caller) -> Result<Attr> {
        self.make(parent, name, caller, |dir, name| fs::mknod_at(dir, name, mode, rdev))
    }

    /// # Errors
    /// As symlink(2).
    pub fn symlink(&self, parent: Ino, name: &Name, target: &[u8], caller: Caller) -> Result<Attr> {
        self.make(parent, name, caller, |dir, name| fs::symlink_at(target, dir, name))
    }

    /// The entry that an earlier server created for `caller` with `mode`, without having sent the reply. Its owner and
    /// set-id bits may not have been set yet.
    ///
    /// # Errors
    /// [`OverlayError::Exists`] if the existing entry can't be that one: it is the lower's, of another type, or owned by
    /// neither the caller nor the server's user; it has contents, or another name.
    pub fn made_before(&self, parent: Ino, name: &Name, mode: u32, caller: Caller) -> Result<Attr> {
        let mut view = self.view.lock();
        let found = view.resolve(parent, name)?;
        let stat = found.upper.filter(|stat| is_just_made(stat, mode, caller)).ok_or(OverlayError::Exists)?;
        if stat.is_dir() && !view.is_empty_dir(found.ino)? {
            return Err(OverlayError::Exists);
        }
        let dir = view.dir_fd(parent)?.ok_or(OverlayError::NotFound)?;
        let given = give(&dir, name, caller)?;
        let lost = mode & 0o6000 & !given.mode;
        if given.kind() == FileType::RegularFile && lost != 0 {
            fs::chmod_at(&dir, name.bytes(), given.mode & 0o7777 | lost).map_err(upper("set the mode"))?;
        }
        drop(view);
        self.lookup(parent, name)
    }

    /// Makes a regular file, or finds the one that is there unless `exclusive`.
    ///
    /// # Errors
    /// As open(2) with `O_CREAT`.
    pub fn create(&self, parent: Ino, name: &Name, mode: u32, caller: Caller, exclusive: bool) -> Result<Attr> {
        let mut view = self.view.lock();
        let below = view.lower_at(parent, name);
        view.lower.must_be_sound()?;
        if below.is_some() || !exclusive {
            match view.resolve(parent, name) {
                Ok(_) if exclusive => return Err(OverlayError::Exists),
                Ok(found) => return view.referenced(&found),
                Err(OverlayError::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL;
        let dir = view.dir_to_change(parent)?;
        let file = view.open_kept(|| fs::open_at(&dir, name.bytes(), flags, mode & 0o7777)).map_err(refused)?;
        let found = view.take_in(parent, &dir, name, caller)?;
        view.files.keep(found.ino, Arc::new(OpenFile { fd: Arc::new(file), writable: true, truncated: None }));
        if let Some(seen) = view.seen.get_mut(&found.ino) {
            seen.has_no_capability = true;
        }
        view.referenced(&found)
    }

    fn make(
        &self,
        parent: Ino,
        name: &Name,
        caller: Caller,
        call: impl FnOnce(&OwnedFd, &[u8]) -> std::io::Result<()>,
    ) -> Result<Attr> {
        let mut view = self.view.lock();
        let dir = view.dir_to_change(parent)?;
        let below = view.lower_at(parent, name);
        view.lower.must_be_sound()?;
        if below.is_some() {
            return Err(OverlayError::Exists);
        }
        call(&dir, name.bytes()).map_err(refused)?;
        let found = view.take_in(parent, &dir, name, caller)?;
        view.referenced(&found)
    }

    /// Adds a name to a file. A file of the lower is not copied for it: the journal records the name.
    ///
    /// # Errors
    /// As link(2).
    pub fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Attr> {
        let mut view = self.view.lock();
        view.must_be_free(parent, name)?;
        if view.is_gone(ino) {
            return Err(OverlayError::NotFound);
        }
        if view.lower.is_dir(ino) || ino == Ino::ROOT {
            return Err(OverlayError::NotPermitted);
        }
        if view.is_in_upper(ino) {
            let (from, old, stat) = view.locate(ino)?;
            let dir = view.dir_to_change(parent)?;
            fs::link_at(&from, old.bytes(), &dir, name.bytes()).map_err(upper("link a file"))?;
            let stat = fs::stat_at(&dir, name.bytes()).unwrap_or(stat);
            view.upper.note(parent, name, Some((stat.kind(), stat.ino)));
            view.see(ino, parent, name);
            return view.referenced(&FoundName { ino, upper: Some(stat) });
        }
        let now = Timespec::now();
        let meta = MetaChange { ctime: Some(now), ..view.delta.meta(ino).cloned().unwrap_or_default() };
        let moved = Record::Moved { dir: parent, name: name.clone(), ino, time: Some(now) };
        view.record_names(vec![moved, Record::Meta { ino, meta }])?;
        view.referenced(&FoundName { ino, upper: None })
    }
}

impl View {
    /// # Errors
    /// [`OverlayError::Exists`] when something shows at this name.
    pub(super) fn must_be_free(&mut self, dir: Ino, name: &Name) -> Result<()> {
        match self.resolve(dir, name) {
            Ok(_) => Err(OverlayError::Exists),
            Err(OverlayError::NotFound) if self.is_gone(dir) => Err(OverlayError::NotFound),
            Err(OverlayError::NotFound) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The upper's directory, made when it isn't there, for a change of the names in it.
    pub(super) fn dir_to_change(&mut self, dir: Ino) -> Result<Arc<OwnedFd>> {
        if self.is_gone(dir) {
            return Err(OverlayError::NotFound);
        }
        let fd = self.ensure_dir(dir)?;
        self.precede()?;
        Ok(fd)
    }

    /// Takes a new entry in: sets its owner and updates everything that caches names. If that fails, the entry is
    /// removed again.
    fn take_in(&mut self, parent: Ino, dir: &OwnedFd, name: &Name, caller: Caller) -> Result<FoundName> {
        let taken = give(dir, name, caller).and_then(|stat| self.appeared(parent, name, stat));
        taken.inspect_err(|_| {
            let removed = fs::unlink_at(dir, name.bytes()).or_else(|_| fs::rmdir_at(dir, name.bytes()));
            removed.or_warn("a name stays that could not be finished");
            self.upper.note(parent, name, None);
        })
    }

    /// A name is new in the upper: updates everything that caches names.
    fn appeared(&mut self, dir: Ino, name: &Name, stat: Stat) -> Result<FoundName> {
        let below = self.lower_named(dir, name);
        let ino = self.identity(below, stat.kind(), stat.ino);
        // A new file may get the number of one that is gone: what was known of that is void.
        self.seen.remove(&ino);
        self.orphans.remove(&ino);
        self.files.forget(ino);
        self.upper.forget_dir(ino);
        self.subdirs.remove(&ino);
        if ino.is_upper() && (self.delta.has_overrides(ino) || self.delta.place(ino).is_some()) {
            self.record(Record::Cleared { dir: ino })?;
        }
        self.see(ino, dir, name);
        self.upper.note(dir, name, Some((stat.kind(), stat.ino)));
        if stat.is_dir() {
            self.count_subdir(dir, 1);
            if ino.is_upper() {
                self.subdirs.insert(ino, 0);
            }
        }
        Ok(FoundName { ino, upper: Some(stat) })
    }

    /// `by` more subdirectories show in `dir`.
    pub(super) fn count_subdir(&mut self, dir: Ino, by: i32) {
        if let Some(count) = self.subdirs.get_mut(&dir) {
            *count = count.saturating_add_signed(by);
        }
    }

    /// The metadata of a file, for a reply that gives the kernel one more reference to it.
    pub(super) fn referenced(&mut self, found: &FoundName) -> Result<Attr> {
        let attr = self.attr_of(found)?;
        self.reference(found.ino);
        Ok(attr)
    }

    /// Counts one more lookup of the kernel, which it gives back with FORGET. An inode that the view has not handed out
    /// is not counted.
    pub(super) fn reference(&mut self, ino: Ino) {
        if let Some(seen) = self.seen.get_mut(&ino) {
            seen.lookups += 1;
        }
    }
}

/// The error of a call that makes a name. The call itself finds an entry of the upper there: no look comes before it.
fn refused(e: std::io::Error) -> OverlayError {
    match e.kind() {
        std::io::ErrorKind::AlreadyExists => OverlayError::Exists,
        _ => upper("create a file")(e),
    }
}

/// Whether a request to make such a file for `caller` can have left this. Between its creation and the reply only its
/// owner changes ([`give`]), and no other program can have found it; the caller checks that a directory is empty.
fn is_just_made(stat: &Stat, mode: u32, caller: Caller) -> bool {
    stat.kind() == FileType::from_raw_mode(mode)
        && (stat.uid == caller.uid || stat.uid == process::user())
        && (stat.is_dir() || stat.nlink == 1)
        && (stat.kind() != FileType::RegularFile || stat.size == 0)
}

/// Gives a new file to its maker.
fn give(dir: &OwnedFd, name: &Name, caller: Caller) -> Result<Stat> {
    let stat = fs::stat_at(dir, name.bytes()).map_err(upper("look at a file"))?;
    if (stat.uid, stat.gid) == (caller.uid, caller.gid) {
        return Ok(stat);
    }
    let parent = fs::stat(dir).map_err(upper("look at a directory"))?;
    let gid = if parent.mode & 0o2000 != 0 { stat.gid } else { caller.gid };
    if (stat.uid, stat.gid) == (caller.uid, gid) {
        return Ok(stat);
    }
    fs::chown_at(dir, name.bytes(), Some(caller.uid), Some(gid)).map_err(upper("set the owner"))?;
    if !stat.is_dir() && stat.kind() != FileType::Symlink && stat.mode & 0o6000 != 0 {
        // Changing the owner drops set-id bits that the caller requested.
        fs::chmod_at(dir, name.bytes(), stat.mode & 0o7777).map_err(upper("set the mode"))?;
    }
    fs::stat_at(dir, name.bytes()).map_err(upper("look at a file"))
}
