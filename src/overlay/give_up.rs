//! *Give up*: a private copy that still holds just what an artifact held goes, so that it doesn't hide what is newer.
//!
//! Comparing and removing are one step: the view is locked, and a lease says that nobody has the upper's file open for
//! writing. Who had found the file before writes to it a moment later, through an inode that no name leads to: then it
//! is the worktree's own again, at its name.
//!
//! | step                                | a crash right after it leaves                      |
//! |-------------------------------------|----------------------------------------------------|
//! | 1. prepared frame                   | the copy: the frame is void                        |
//! | 2. unlinked; an own file: set aside | what the lower shows                               |
//! | 3. done frame                       | the same                                           |

use std::sync::Arc;

use crate::store::{Name, ObjectId};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags, Stat};
use crate::sys::lease::ReadLease;

use super::error::{Error, Result, upper};
use super::graft::Stale;
use super::journal::{Check, Record};
use super::resolve::{Found, Kept, Orphan, View};
use super::state::Override;
use super::upper::restore_times;
use super::{Ino, Overlay};

impl Overlay {
    /// Gives up the upper's file at `name`, if it has this content and mode (07777), and nobody is writing to it. Whether
    /// it did.
    pub fn give_up(&self, parent: Ino, name: &Name, held: &ObjectId, perm: u32) -> Result<bool> {
        let mut view = self.view.lock();
        let found = match view.resolve(parent, name) {
            Err(Error::NotFound) => return Ok(false),
            found => found?,
        };
        let Some(stat) = found.upper.filter(|s| s.kind() == FileType::RegularFile && s.mode & 0o7777 == perm) else {
            return Ok(false);
        };
        // What was moved here or thawed was put here by the user.
        let is_moved = matches!(view.delta.name(parent, name), Some(Override::Moved(_)))
            || (found.ino.upper_real().is_none() && !view.lower.places(found.ino).contains(&(parent, name.clone())));
        if is_moved || view.delta.is_opaque(parent) {
            return Ok(false);
        }
        view.give_up(parent, name, &found, &stat, held)
    }

    /// Has `tell` called with what the kernel must forget beyond what a call returns.
    pub fn on_stale(&self, tell: impl Fn(Stale) + Send + Sync + 'static) {
        self.view.lock().on_stale.push(Box::new(tell));
    }
}

impl View {
    fn give_up(&mut self, dir: Ino, name: &Name, found: &Found, stat: &Stat, held: &ObjectId) -> Result<bool> {
        let is_own = found.ino.upper_real().is_some();
        if is_own && self.upper.aside.is_none() {
            return Ok(false);
        }
        // Else it is our own descriptor that writes.
        self.files.forget(found.ino);
        let file = Arc::new(self.open_upper(found.ino, OpenFlags::RDONLY)?);
        // Where there are no leases nobody can tell: it stays.
        let Ok(Some(_lease)) = ReadLease::take(file.clone()) else { return Ok(false) };
        let names = fs::xattr_names(&file).map_err(upper("list extended attributes"))?;
        let content = ObjectId::of_extent(&Extent::whole(file)).map_err(upper("read a file"))?;
        if content != *held || names.iter().any(|n| n.starts_with(b"user.")) {
            return Ok(false);
        }
        let is_known = self.seen.get(&found.ino).is_some_and(|seen| seen.lookups > 0);
        let orphan = self.orphan_of(found)?.filter(|_| is_own && is_known);
        let mut records = Vec::new();
        if self.delta.name(dir, name).is_some() {
            records.push(Record::Unset { dir, name: name.clone(), time: None });
        }
        if !is_own && stat.nlink == 1 {
            records.push(Record::Uncopied { ino: found.ino });
        }
        let fd = self.dir_to_change(dir)?;
        let kept = fs::stat(&*fd).map_err(upper("look at a directory"))?;
        let call = |view: &mut View| match orphan {
            Some(_) => view.set_aside(dir, name, found.ino, false),
            None => view.delete(dir, name, false).map(|()| Kept::Store),
        };
        let held = match records.is_empty() {
            true => call(self)?,
            false => self.change(Check::Absent { dir, name: name.clone(), real: stat.ino }, records, call)?,
        };
        restore_times(&fd, &kept);
        if orphan.is_some() {
            self.given_up.insert(found.ino, (dir, name.clone()));
        }
        self.disappeared(dir, name, found, false, orphan.map(|orphan| Orphan { kept: held, ..orphan }));
        Ok(true)
    }

    /// Before a write: a file that was given up is at its name again, if nothing of the worktree's own is there by now.
    pub(super) fn regain(&mut self, ino: Ino) -> Result<()> {
        let Some((dir, name)) = self.given_up.remove(&ino) else { return Ok(()) };
        if !matches!(self.orphans.get(&ino), Some(Orphan { kept: Kept::Aside, .. })) || !self.is_free(dir, &name)? {
            return Ok(());
        }
        let fd = self.ensure_dir(dir)?;
        let Some(aside) = &self.upper.aside else { return Ok(()) };
        let from = super::orphan::aside_name(ino);
        fs::rename_at(aside, from.as_bytes(), &fd, name.bytes(), RenameFlags::NOREPLACE)
            .map_err(upper("rename a file"))?;
        self.orphans.remove(&ino);
        let real = ino.upper_real().unwrap_or_default();
        self.upper.note(dir, &name, Some((FileType::RegularFile, real)));
        self.see(ino, dir, &name);
        self.shows_again(dir, name);
        Ok(())
    }

    /// The names that a copy of `ino` gets: those it has, or those it had in a tree that shows no more, where nothing of
    /// the worktree's own is in their place.
    pub(super) fn names_of_copy(&mut self, ino: Ino) -> Result<Vec<(Ino, Name)>> {
        let mut names = self.lower_names(ino);
        if !names.is_empty() || self.is_gone(ino) || !self.lower.is_retired(ino) {
            return Ok(names);
        }
        for (dir, name) in self.lower.places(ino) {
            if self.lower.is_dir(dir) && self.shows(dir) && self.is_free(dir, &name)? {
                names.push((dir, name));
            }
        }
        Ok(names)
    }

    /// Whether a file of the upper can come to a name without taking anything back that the user did there.
    fn is_free(&mut self, dir: Ino, name: &Name) -> Result<bool> {
        if self.is_gone(dir) || self.delta.name(dir, name).is_some() || self.delta.is_opaque(dir) {
            return Ok(false);
        }
        match self.resolve(dir, name) {
            Ok(found) => Ok(found.upper.is_none() && !self.lower.is_dir(found.ino)),
            Err(Error::NotFound) => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// The kernel may still lead this name elsewhere.
    pub(super) fn shows_again(&self, dir: Ino, name: Name) {
        for tell in &self.on_stale {
            tell(Stale::Inode(dir));
            tell(Stale::Entry { parent: dir, name: name.clone() });
        }
    }
}
