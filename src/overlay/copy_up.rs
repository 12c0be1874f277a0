//! The first write to a shared file: the worktree gets a copy of its own, with the same inode number.
//!
//! | step                              | a crash right after it leaves                                 |
//! |-----------------------------------|---------------------------------------------------------------|
//! | 1. copy into a nameless file      | nothing: the kernel frees it                                  |
//! | 2. write its blocks back          | nothing                                                       |
//! | 3. prepared frame: inode is `real` | nothing: no such file at the name, the frame is void          |
//! | 4. link at its first name         | the whole copy, under its inode number                        |
//! | 5. link at other names, done frame | the whole copy; the journal leads from the other names to it |
//!
//! Step 2 (`sync_file_range`, no wait for the disk's cache) is what keeps a power cut from leaving an empty
//! file: ext4 and xfs commit the link only together with or after the allocation of written blocks. It is done where
//! an intent can't stand for it (`writeback.rs`); a clone has its blocks already.
//!
//! A long copy is made before the view is locked for the change that needs it ([`Overlay::copy_ahead`]): the object
//! it is made from never changes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::store::Name;
use crate::sys::copy::{Copied, write_back};
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags};
use crate::sys::fs_type;
use crate::sys::log::OrWarn;

use super::error::{OverlayError, Result, upper};
use super::journal::{Check, Record};
use super::open_file::OpenFile;
use super::open_file::Truncated;
use super::types::{Attr, Ino};
use super::upper::restore_times;
use super::view::Overlay;
use super::view::{Orphan, OrphanBacking, View};

/// From this size on, in bytes, a copy is long: others don't wait for it.
const LONG: u64 = 1 << 20;

impl Overlay {
    /// Makes the copy that a write to this file needs, when it is long, while others use the view. If the file system
    /// has no nameless files, the write makes the copy.
    ///
    /// # Errors
    /// The object cannot be read, or the copy cannot be written.
    pub fn copy_ahead(&self, ino: Ino) -> Result<()> {
        let (object, copy) = {
            let mut view = self.view.lock();
            if !view.copies_long(ino) || view.names_of_copy(ino)?.is_empty() {
                return Ok(());
            }
            view.ready()?;
            let root = view.upper.root.clone();
            match view.open_kept(|| fs::open_tmpfile(&root, 0o600)) {
                Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
                copy => (view.open_to_read(ino)?, copy.map_err(upper("create a file"))?),
            }
        };
        let copied = object.copy_contents(&copy, u64::MAX).map_err(upper("copy a file"))?;
        let mut view = self.view.lock();
        // Two may have begun, and the file's last name may be gone.
        if !view.copies_long(ino) || view.names_of_copy(ino)?.is_empty() {
            return Ok(());
        }
        let attr = view.attr(ino)?;
        view.place_copy(ino, &attr, copy, copied, u64::MAX)
    }
}

impl View {
    /// Whether a write to this file has so much to copy first that the view's other users should not wait for it.
    pub(super) fn copies_long(&self, ino: Ino) -> bool {
        let lower = || self.lower.source(ino).map(|(tree, node)| tree.stat(node));
        !self.has_upper_bytes(ino) && lower().is_some_and(|s| s.kind == FileType::RegularFile && s.size >= LONG)
    }

    /// Makes sure that the bytes of a file are the upper's. With a `keep` below `u64::MAX` it is made that long now: what
    /// is cut off is not copied first.
    pub(super) fn copy_up(&mut self, ino: Ino, keep: u64) -> Result<()> {
        if self.has_upper_bytes(ino) {
            return Ok(());
        }
        let attr = self.attr(ino)?;
        match FileType::from_raw_mode(attr.mode) {
            FileType::RegularFile => self.copy_file(ino, &attr, keep),
            FileType::Symlink | FileType::Fifo => self.copy_node(ino, &attr),
            FileType::Directory => self.ensure_dir(ino).map(drop),
            _ => Err(OverlayError::NotPermitted),
        }
    }

    /// Makes a copy that has this metadata.
    pub(super) fn copy_file(&mut self, ino: Ino, attr: &Attr, keep: u64) -> Result<()> {
        let object = match self.open_to_read(ino) {
            // None of its bytes are needed.
            Err(OverlayError::AbsentObject(_)) if keep == 0 => None,
            object => Some(object?),
        };
        let copy_to = |copy: &OwnedFd| match &object {
            Some(object) => object.copy_contents(copy, attr.size.min(keep)).map_err(upper("copy a file")),
            None => Ok(Copied::Bytes),
        };
        let names = self.names_of_copy(ino)?;
        let Some((dir, _)) = names.first() else {
            // Deleted while open; a server that took over learns of it only now.
            self.orphans.entry(ino).or_insert(Orphan { kept: OrphanBacking::Store, attr: Attr { nlink: 0, ..*attr } });
            return self.copy_orphan(ino, attr, &copy_to, keep);
        };
        self.ready()?;
        self.may_have(names.len())?;
        let dir_fd = self.ensure_dir(*dir)?;
        let copy = match self.open_kept(|| fs::open_tmpfile(&dir_fd, 0o600)) {
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => self.create_aside(&dir_fd)?,
            other => other.map_err(upper("create a file"))?,
        };
        let copied = copy_to(&copy)?;
        self.place_copy(ino, attr, copy, copied, keep)
    }

    /// Steps 2 to 5, for a copy of the first `keep` bytes that has no name yet.
    fn place_copy(&mut self, ino: Ino, attr: &Attr, copy: OwnedFd, copied: Copied, keep: u64) -> Result<()> {
        let names = self.names_of_copy(ino)?;
        self.may_have(names.len())?;
        let (dir, name) = names.first().ok_or(OverlayError::NotFound)?.clone();
        self.apply_metadata(&copy, attr, &self.lower_xattrs(ino))?;
        resize(&copy, keep)?;
        let real = fs::stat(&copy).map_err(upper("look at a file"))?.ino;
        let born = fs::birth(&copy, b"").map_err(upper("look at a file"))?;
        let promised = match (copied, self.lower_object(ino)) {
            (Copied::Bytes, Some(object)) if (1..=keep).contains(&attr.size) => self.intent(real, born, &object)?,
            _ => false,
        };
        if copied == Copied::Bytes && keep > 0 && !promised {
            write_back(&copy).map_err(upper("copy a file"))?;
        }
        let link = |view: &mut View, dir_fd: &OwnedFd| {
            if names.len() > 1 {
                // Else the names would become files of their own.
                view.journal.write_back()?;
            }
            view.publish(&copy, dir_fd, &name).map_err(upper("create a file"))?;
            view.link_others(ino, real, (dir_fd, &name), &names[1..])
        };
        let adopted = self.adopt(ino, dir, &name, (real, born), FileType::RegularFile, link);
        adopted.inspect_err(|_| self.flushed(real))?;
        self.counters.copied_up(copied, attr.size.min(keep));
        if self.lower.is_retired(ino) && self.lower.lookup(dir, &name) != Some(ino) {
            names.into_iter().for_each(|(dir, name)| self.shows_again(dir, name));
        }
        let truncated = (keep == 0).then(Truncated::default);
        self.files.keep(ino, Arc::new(OpenFile { fd: Arc::new(copy), writable: true, truncated }));
        Ok(())
    }

    /// Whether a file of the upper may have so many names: all of them or none are made, and tens of thousands leave a
    /// big directory behind.
    fn may_have(&self, names: usize) -> Result<()> {
        const SO_MANY_EVERYWHERE: usize = 1000;
        if names > SO_MANY_EVERYWHERE && fs_type::most_links(&*self.upper.root).is_some_and(|most| names as u64 > most)
        {
            return Err(upper("link a file")(std::io::Error::from_raw_os_error(libc::EMLINK)));
        }
        Ok(())
    }

    /// The nameless copy gets its name.
    fn publish(&mut self, copy: &OwnedFd, dir_fd: &OwnedFd, name: &Name) -> std::io::Result<()> {
        match &self.upper.aside {
            Some(aside) if fs::stat(copy)?.nlink > 0 => {
                fs::rename_at(aside, b"file", dir_fd, name.bytes(), RenameFlags::NOREPLACE)
            }
            _ => fs::link_fd(copy, dir_fd, name.bytes()),
        }
    }

    /// For file systems without `O_TMPFILE`.
    fn create_aside(&mut self, _dir: &OwnedFd) -> Result<OwnedFd> {
        let aside = self.upper.aside.as_ref().ok_or(OverlayError::NotSupported)?;
        let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::TRUNC;
        fs::open_at(aside, b"file", flags, 0o600).map_err(upper("create a file"))
    }

    fn copy_orphan(
        &mut self,
        ino: Ino,
        attr: &Attr,
        copy_to: &dyn Fn(&OwnedFd) -> Result<Copied>,
        keep: u64,
    ) -> Result<()> {
        // Not in the upper's directory, which may be deleted by now: the file lives as long as it is open.
        let copy = self.nameless()?;
        let copied = copy_to(&copy)?;
        self.apply_metadata(&copy, attr, &self.lower_xattrs(ino))?;
        resize(&copy, keep)?;
        let copy = Arc::new(copy);
        if let Some(orphan) = self.orphans.get_mut(&ino) {
            orphan.kept = OrphanBacking::Open(copy.clone());
        }
        self.files.keep(ino, Arc::new(OpenFile { fd: copy, writable: true, truncated: None }));
        self.counters.copied_up(copied, attr.size.min(keep));
        Ok(())
    }

    fn copy_node(&mut self, ino: Ino, attr: &Attr) -> Result<()> {
        let names = self.names_of_copy(ino)?;
        let (dir, name) = names.first().ok_or(OverlayError::NotFound)?.clone();
        let target = self.lower_target(ino);
        let kind = FileType::from_raw_mode(attr.mode);
        let aside = match &self.upper.aside {
            Some(aside) => fs::duplicate(aside.as_fd()).map_err(upper("open a directory"))?,
            None => return Err(OverlayError::NotSupported),
        };
        let make = || -> std::io::Result<(u64, u64)> {
            match kind {
                FileType::Symlink => fs::symlink_at(&target.unwrap_or_default(), &aside, b"node")?,
                _ => fs::mknod_at(&aside, b"node", attr.mode, 0)?,
            }
            fs::chown_at(&aside, b"node", Some(attr.uid), Some(attr.gid))?;
            fs::utimens_at(&aside, b"node", fs::SetTime::At(attr.atime), fs::SetTime::At(attr.mtime))?;
            Ok((fs::stat_at(&aside, b"node")?.ino, fs::birth(&aside, b"node")?))
        };
        let link = |view: &mut View, dir_fd: &OwnedFd, real| {
            let moved = fs::rename_at(&aside, b"node", dir_fd, name.bytes(), RenameFlags::NOREPLACE);
            moved.map_err(upper("create a file"))?;
            view.link_others(ino, real, (dir_fd, &name), &names[1..])
        };
        let made = make().map_err(upper("create a file"));
        let adopted = made.and_then(|(real, born)| {
            self.adopt(ino, dir, &name, (real, born), kind, |view, dir_fd| link(view, dir_fd, real))
        });
        // A copy that can't be finished is removed; the first error is returned.
        adopted.inspect_err(|_| drop(fs::unlink_at(&aside, b"node")))?;
        self.counters.copied_up(Copied::Cloned, 0);
        Ok(())
    }

    /// Steps 3 to 5: the upper's inode `real` becomes the file `ino`, at `name` in `dir`.
    fn adopt(
        &mut self,
        ino: Ino,
        dir: Ino,
        name: &Name,
        (real, born): (u64, u64),
        kind: FileType,
        link: impl FnOnce(&mut View, &OwnedFd) -> Result<()>,
    ) -> Result<()> {
        let dir_fd = self.ensure_dir(dir)?;
        let kept = fs::stat(&dir_fd).map_err(upper("look at a directory"))?;
        let check = Check::Present { dir, name: name.clone(), real };
        let records = vec![Record::Copied { ino, real, born }, Record::Meta { ino, meta: Default::default() }];
        // The name may be one that the journal gives the file. Its own frame can be lost: then the copy is a file of
        // its own, which looks the same (but not one of several names, see where it is linked).
        self.precede()?;
        self.change_after(check, records, |view| link(view, &dir_fd))?;
        restore_times(&dir_fd, &kept);
        self.read_at.remove(&ino);
        self.files.forget(ino);
        self.see(ino, dir, name);
        self.upper.note(dir, name, Some((kind, real)));
        Ok(())
    }

    /// A hard-linked file keeps all its names: the copy, at `first` already, gets the others. All of them or none.
    fn link_others(&mut self, ino: Ino, real: u64, first: (&OwnedFd, &Name), others: &[(Ino, Name)]) -> Result<()> {
        for (count, (dir, name)) in others.iter().enumerate() {
            if let Err(e) = self.link_other(ino, real, first, *dir, name) {
                for (dir, name) in &others[..count] {
                    self.unlink_other(ino, real, *dir, name);
                }
                fs::unlink_at(first.0, first.1.bytes()).or_warn("a copy without its other names stays");
                return Err(e);
            }
        }
        Ok(())
    }

    fn link_other(&mut self, ino: Ino, real: u64, first: (&OwnedFd, &Name), dir: Ino, name: &Name) -> Result<()> {
        let fd = self.ensure_dir(dir)?;
        let kept = fs::stat(&fd).map_err(upper("look at a directory"))?;
        match fs::link_at(first.0, first.1.bytes(), &fd, name.bytes()) {
            // The user put a file there meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            other => other.map_err(upper("link a file"))?,
        }
        restore_times(&fd, &kept);
        self.see(ino, dir, name);
        self.upper.note(dir, name, Some((FileType::RegularFile, real)));
        Ok(())
    }

    /// Takes back what [`View::link_other`] did.
    fn unlink_other(&mut self, ino: Ino, real: u64, dir: Ino, name: &Name) {
        let Ok(Some(fd)) = self.dir_fd(dir) else { return };
        let Ok(kept) = fs::stat(&fd) else { return };
        if fs::stat_at(&fd, name.bytes()).is_ok_and(|s| s.ino == real) && fs::unlink_at(&fd, name.bytes()).is_ok() {
            self.upper.note(dir, name, None);
            if let Some(seen) = self.seen.get_mut(&ino) {
                seen.names.remove(dir, name);
            }
        }
        restore_times(&fd, &kept);
    }
}

/// Gives a copy that isn't meant to be whole its size, and the time of that change.
fn resize(copy: &OwnedFd, keep: u64) -> Result<()> {
    if keep == u64::MAX {
        return Ok(());
    }
    fs::truncate(copy, keep).map_err(upper("truncate a file"))
}
