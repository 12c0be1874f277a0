//! Files without a name: deleted, and perhaps still open.
//!
//! The server gets no request for an open, so every deleted file may still be open in some process. It is moved to
//! `aside` instead, under its inode number, until the kernel forgets the inode (mostly at once). There it also outlives
//! the server: the next one finds it. If the move fails (another file system, a full one), a descriptor holds the file.
//!
//! | step                      | a crash right after it leaves                                      |
//! |---------------------------|--------------------------------------------------------------------|
//! | 1. rename into `aside`    | what a server that takes over serves on; a fresh mount deletes it  |
//! | 2. delete there           | nothing                                                            |

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::store::Name;
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags};
use crate::sys::log::OrWarn;

use super::attr::plain_attr;
use super::error::{Result, upper};
use super::types::{Attr, Ino};
use super::view::{FoundName, Orphan, OrphanBacking, View};

/// The name in `aside` of an inode.
pub(super) fn aside_name(ino: Ino) -> String {
    format!("{:016x}", ino.0)
}

const STAYS: &str = "a deleted file stays in its place aside until the next mount";

impl View {
    /// The orphan that the file becomes when this name goes; `None` while the file has other names.
    pub(super) fn orphan_of(&mut self, found: &FoundName) -> Result<Option<Orphan>> {
        let attr = self.attr_of(found)?;
        let is_dir = FileType::from_raw_mode(attr.mode) == FileType::Directory;
        let last = is_dir || attr.nlink <= 1;
        Ok(last.then_some(Orphan { kept: OrphanBacking::Store, attr: Attr { nlink: 0, ..attr } }))
    }

    /// Removes the last name of a file of the upper, and returns how the file is kept.
    pub(super) fn set_aside(&mut self, dir: Ino, name: &Name, ino: Ino, is_dir: bool) -> Result<OrphanBacking> {
        let fd = self.dir_to_change(dir)?;
        if let Some(aside) = &self.upper.aside {
            let to = aside_name(ino);
            if fs::rename_at(&fd, name.bytes(), aside, to.as_bytes(), RenameFlags::empty()).is_ok() {
                return Ok(OrphanBacking::Aside);
            }
        }
        let open =
            self.open_kept(|| fs::open_at(&fd, name.bytes(), OpenFlags::PATH, 0)).map_err(upper("open a file"))?;
        self.delete(dir, name, is_dir)?;
        Ok(OrphanBacking::Open(Arc::new(open)))
    }

    /// Keeps what a rename is about to replace: a second name in `aside`, or a descriptor for a directory.
    /// A file that keeps other names needs neither.
    pub(super) fn hold_replaced(&mut self, dir: Ino, name: &Name, there: Option<FoundName>) -> Result<OrphanBacking> {
        let Some((there, stat)) = there.and_then(|t| t.upper.map(|s| (t, s))) else { return Ok(OrphanBacking::Store) };
        if !stat.is_dir() && stat.nlink > 1 {
            return Ok(OrphanBacking::Store);
        }
        let fd = self.dir_to_change(dir)?;
        if let Some(aside) = &self.upper.aside
            && !stat.is_dir()
            && fs::link_at(&fd, name.bytes(), aside, aside_name(there.ino).as_bytes()).is_ok()
        {
            return Ok(OrphanBacking::Aside);
        }
        let open = self.open_kept(|| fs::open_at(&fd, name.bytes(), OpenFlags::PATH, 0));
        open.map(|fd| OrphanBacking::Open(Arc::new(fd))).map_err(upper("open a file"))
    }

    /// Drops the extra name of an entry that was not replaced after all.
    pub(super) fn let_go(&self, kept: &OrphanBacking, there: Option<FoundName>) {
        if let (OrphanBacking::Aside, Some(aside), Some(there)) = (kept, &self.upper.aside, there) {
            fs::unlink_at(aside, aside_name(there.ino).as_bytes()).or_warn(STAYS);
        }
    }

    /// Deletes a name of the upper.
    pub(super) fn delete(&mut self, dir: Ino, name: &Name, is_dir: bool) -> Result<()> {
        let fd = self.dir_to_change(dir)?;
        let gone = if is_dir { fs::rmdir_at(&fd, name.bytes()) } else { fs::unlink_at(&fd, name.bytes()) };
        gone.map_err(upper("delete a file"))
    }

    /// A path descriptor of an orphan that the upper has; `None` for one of the store's.
    pub(super) fn orphan_fd(&mut self, ino: Ino) -> Result<Option<Arc<OwnedFd>>> {
        match self.orphans.get(&ino).map(|o| o.kept.clone()) {
            Some(OrphanBacking::Open(fd)) => Ok(Some(fd)),
            Some(OrphanBacking::Aside) => {
                let aside = self.aside()?;
                let fd = self.open_kept(|| fs::open_at(&aside, aside_name(ino).as_bytes(), OpenFlags::PATH, 0));
                fd.map(|fd| Some(Arc::new(fd))).map_err(upper("open a file"))
            }
            Some(OrphanBacking::Store) | None => Ok(None),
        }
    }

    fn aside(&self) -> Result<OwnedFd> {
        let aside = self.upper.aside.as_ref().ok_or(super::OverlayError::NotSupported)?;
        fs::duplicate(aside.as_fd()).map_err(upper("open a directory"))
    }

    /// No process holds the file any more.
    pub(super) fn drop_orphan(&mut self, ino: Ino) {
        let Some(orphan) = self.orphans.remove(&ino) else { return };
        self.files.forget(ino);
        self.given_up.remove(&ino);
        let is_dir = FileType::from_raw_mode(orphan.attr.mode) == FileType::Directory;
        if is_dir {
            self.upper.forget_dir(ino);
        }
        if let (OrphanBacking::Aside, Some(aside)) = (orphan.kept, &self.upper.aside) {
            let name = aside_name(ino);
            // If this fails, the next mount deletes the file.
            let removed =
                if is_dir { fs::rmdir_at(aside, name.as_bytes()) } else { fs::unlink_at(aside, name.as_bytes()) };
            removed.or_warn(STAYS);
        }
    }

    /// Finds the orphans of the server before this one.
    pub(super) fn find_orphans(&mut self) -> Result<()> {
        let Some(aside) = &self.upper.aside else { return Ok(()) };
        for entry in fs::list(aside).map_err(upper("list a directory"))? {
            let name = std::str::from_utf8(&entry.name).ok().filter(|n| n.len() == 16);
            let Some(ino) = name.and_then(|n| u64::from_str_radix(n, 16).ok()).map(Ino) else { continue };
            let stat = fs::stat_at(aside, &entry.name).map_err(upper("look at a file"))?;
            let attr = Attr { nlink: 0, ..plain_attr(ino, &stat) };
            self.orphans.insert(ino, Orphan { kept: OrphanBacking::Aside, attr });
        }
        Ok(())
    }
}
