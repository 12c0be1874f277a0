//! A private copy that still holds just what an artifact held goes, so that it doesn't hide what is newer.
//!
//! Comparing and removing are one step: the view is locked, and a lease guarantees that no process has the upper's file
//! open for writing. A writer that had found the file before may write to it a moment later, through an inode that no
//! name leads to: then it becomes the worktree's own again, at its name.
//!
//! A long file is compared before that, while others use the view. The later check is only that it is the same file
//! with the same size and times: no process had it open for writing at the first look, so a later writer opens it
//! first and moves its times ([`TICK`]).
//!
//! | step                                | a crash right after it leaves                      |
//! |-------------------------------------|----------------------------------------------------|
//! | 1. prepared frame                   | the copy: the frame is void                        |
//! | 2. unlinked; an own file: set aside | what the lower shows                               |
//! | 3. done frame                       | the same                                           |

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::store::{Name, ObjectId};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags, Stat, Timespec};
use crate::sys::lease::ReadLease;

use super::error::{OverlayError, Result, upper};
use super::journal::{Check, Record};
use super::state::Override;
use super::types::Ino;
use super::types::Stale;
use super::upper::restore_times;
use super::view::Overlay;
use super::view::{FoundName, Orphan, OrphanBacking, View};

/// From this size on, in bytes, a file takes long to compare: others don't wait for it.
const LONG: u64 = 1 << 20;
/// Two changes of a file that are this far apart don't have the same time: file systems take it from a clock that moves
/// with the kernel's ticks, at least a hundred times a second (`ktime_get_coarse_real_ts64`).
const TICK: Duration = Duration::from_millis(20);

/// The copy to be given up, with the contents and permissions that it must have.
struct Wanted<'a> {
    dir: Ino,
    name: &'a Name,
    held: &'a ObjectId,
    perm: u32,
}

impl Overlay {
    /// Whether [`Overlay::give_up`] has so much to compare here that the view's other users should not wait for it.
    pub fn compares_long(&self, parent: Ino, name: &Name) -> bool {
        let found = self.view.lock().resolve(parent, name);
        found.is_ok_and(|found| found.upper.is_some_and(|stat| stat.is_file() && stat.size >= LONG))
    }

    /// Gives up the upper's file at `name`, if it has this content and mode (07777), and no process writes to it.
    /// Whether it did.
    ///
    /// # Errors
    /// The upper or the journal cannot be changed.
    pub fn give_up(&self, parent: Ino, name: &Name, held: &ObjectId, perm: u32) -> Result<bool> {
        let wanted = Wanted { dir: parent, name, held, perm };
        let mut view = self.view.lock();
        let Some((found, stat)) = view.may_be_held(&wanted)? else { return Ok(false) };
        if stat.size < LONG {
            return view.give_up(&wanted, &found, &stat, |file| has_content(file, held));
        }
        let Some((file, lease)) = view.at_rest(&found)? else { return Ok(false) };
        let before = fs::stat(&*file).map_err(upper("look at a file"))?;
        drop((lease, view));
        wait_for_tick(&before.ctime);
        if !has_content(&file, held)? {
            return Ok(false);
        }
        let mut view = self.view.lock();
        let Some((found, stat)) = view.may_be_held(&wanted)? else { return Ok(false) };
        view.give_up(&wanted, &found, &stat, |file| {
            let now = fs::stat(&**file).map_err(upper("look at a file"))?;
            let is_same = |s: &Stat| (s.dev, s.ino, s.size, s.mtime, s.ctime);
            Ok(is_same(&now) == is_same(&before))
        })
    }

    /// Adds a callback for the cached entries that the kernel must drop, beyond those that a call returns.
    pub fn on_stale(&self, tell: impl Fn(Stale) + Send + Sync + 'static) {
        self.view.lock().on_stale.push(Box::new(tell));
    }
}

impl View {
    /// The entry at this name, if its metadata allows it to be the unchanged copy (contents are compared later).
    fn may_be_held(&mut self, wanted: &Wanted<'_>) -> Result<Option<(FoundName, Stat)>> {
        let (dir, name) = (wanted.dir, wanted.name);
        let found = match self.resolve(dir, name) {
            Err(OverlayError::NotFound) => return Ok(None),
            found => found?,
        };
        let Some(stat) = found.upper.filter(|s| s.is_file() && s.mode & 0o7777 == wanted.perm) else {
            return Ok(None);
        };
        // The user moved this entry here, or it was thawed here.
        let is_moved = matches!(self.delta.name(dir, name), Some(Override::Moved(_)))
            || (!found.ino.is_upper() && !self.lower.places(found.ino).contains(&(dir, name.clone())));
        let can_be = !is_moved && !self.delta.is_opaque(dir) && (!is_own(&found) || self.upper.aside.is_some());
        // The store may have it no more.
        let is_as_long = self.objects.size_of(wanted.held).is_none_or(|size| size == stat.size);
        Ok((can_be && is_as_long).then_some((found, stat)))
    }

    /// The upper's file, open, with a lease that guarantees that no process writes to it; `None` if one does.
    fn at_rest(&mut self, found: &FoundName) -> Result<Option<(Arc<OwnedFd>, ReadLease)>> {
        // Else it is our own descriptor that writes.
        self.files.forget(found.ino);
        let file = Arc::new(self.open_upper(found.ino, OpenFlags::RDONLY)?);
        // Without leases a writer can't be detected: the file stays.
        Ok(ReadLease::take(file.clone()).ok().flatten().map(|lease| (file, lease)))
    }

    /// Gives it up if `is_held`, called while no process writes to the file, returns true.
    fn give_up(
        &mut self,
        wanted: &Wanted<'_>,
        found: &FoundName,
        stat: &Stat,
        is_held: impl FnOnce(&Arc<OwnedFd>) -> Result<bool>,
    ) -> Result<bool> {
        let (dir, name, is_own) = (wanted.dir, wanted.name, is_own(found));
        let Some((file, _lease)) = self.at_rest(found)? else { return Ok(false) };
        let names = fs::xattr_names(&file).map_err(upper("list extended attributes"))?;
        if names.iter().any(|n| n.starts_with(b"user.")) || !is_held(&file)? {
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
            None => view.delete(dir, name, false).map(|()| OrphanBacking::Store),
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
        if !matches!(self.orphans.get(&ino), Some(Orphan { kept: OrphanBacking::Aside, .. }))
            || !self.is_free(dir, &name)?
        {
            return Ok(());
        }
        let fd = self.ensure_dir(dir)?;
        let Some(aside) = &self.upper.aside else { return Ok(()) };
        let from = super::orphan::aside_name(ino);
        fs::rename_at(aside, from.as_bytes(), &fd, name.bytes(), RenameFlags::NOREPLACE)
            .map_err(upper("rename a file"))?;
        self.orphans.remove(&ino);
        let real = fs::stat_at(&fd, name.bytes()).map_err(upper("look at a file"))?.ino;
        self.upper.note(dir, &name, Some((FileType::RegularFile, real)));
        self.see(ino, dir, &name);
        self.shows_again(dir, name);
        Ok(())
    }

    /// The names that a copy of `ino` gets: those it has, or those it had in a tree that shows no more, where nothing of
    /// the worktree's own is in their place.
    pub(super) fn names_of_copy(&mut self, ino: Ino) -> Result<Vec<(Ino, Name)>> {
        let mut names = self.lower_names(ino);
        if names.len() > 1 {
            self.leave_out_taken(&mut names)?;
        }
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

    /// Some names of a file may be those of others, which the user put there while the view was not mounted.
    fn leave_out_taken(&mut self, names: &mut Vec<(Ino, Name)>) -> Result<()> {
        let mut free = Vec::with_capacity(names.len());
        for (dir, name) in names.drain(..) {
            if self.upper_at(dir, &name)?.is_none() {
                free.push((dir, name));
            }
        }
        *names = free;
        Ok(())
    }

    /// Whether a file of the upper can come to a name without taking anything back that the user did there.
    fn is_free(&mut self, dir: Ino, name: &Name) -> Result<bool> {
        if self.is_gone(dir) || self.delta.name(dir, name).is_some() || self.delta.is_opaque(dir) {
            return Ok(false);
        }
        match self.resolve(dir, name) {
            Ok(found) => Ok(found.upper.is_none() && !self.lower.is_dir(found.ino)),
            Err(OverlayError::NotFound) => Ok(true),
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

fn is_own(found: &FoundName) -> bool {
    found.ino.is_upper()
}

fn has_content(file: &Arc<OwnedFd>, held: &ObjectId) -> Result<bool> {
    let content = ObjectId::of_extent(&Extent::whole(file.clone())).map_err(upper("read a file"))?;
    Ok(content == *held)
}

/// Waits until a change of a file that was last changed at `changed` shows in its times.
fn wait_for_tick(changed: &Timespec) {
    let now = Timespec::now();
    let age = (now.sec.saturating_sub(changed.sec), i64::from(now.nsec) - i64::from(changed.nsec));
    // A time to come is of another clock, or of one that was set back.
    let age = age.0.saturating_mul(1_000_000_000).saturating_add(age.1);
    if (0..TICK.as_nanos() as i64).contains(&age) {
        std::thread::sleep(TICK);
    }
}
