//! Names that go: `unlink` and `rmdir`.
//!
//! | what shows at the name   | in the upper        | in the journal                    |
//! |--------------------------|---------------------|-----------------------------------|
//! | only the upper's file    | unlinked            | nothing                           |
//! | a copy of a lower file   | unlinked            | a whiteout, prepared before       |
//! | only the lower's file    | nothing             | a whiteout                        |
//! | a directory              | removed, when there | a whiteout; records inside are void |

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::store::Name;
use crate::sys::fs::Timespec;

use super::error::{OverlayError, Result};
use super::journal::{Check, Record};
use super::types::Ino;
use super::upper::touch_dir;
use super::view::Overlay;
use super::view::{FoundName, Orphan, OrphanBacking, View};

impl Overlay {
    /// # Errors
    /// As unlink(2).
    pub fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        let mut view = self.view.lock();
        let found = view.resolve(parent, name)?;
        if view.attr_of(&found)?.mode & libc::S_IFMT == libc::S_IFDIR {
            return Err(OverlayError::IsDirectory);
        }
        view.remove_name(parent, name, &found, false)
    }

    /// # Errors
    /// As rmdir(2).
    pub fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        let mut view = self.view.lock();
        let found = view.resolve(parent, name)?;
        if view.attr_of(&found)?.mode & libc::S_IFMT != libc::S_IFDIR {
            return Err(OverlayError::NotDirectory);
        }
        if !view.is_empty_dir(found.ino)? {
            return Err(OverlayError::NotEmpty);
        }
        view.remove_name(parent, name, &found, true)
    }
}

impl View {
    /// Whether no name shows in a directory.
    pub(super) fn is_empty_dir(&mut self, dir: Ino) -> Result<bool> {
        let mut empty = true;
        self.for_each_name(dir, &mut |_, _| {
            empty = false;
            false
        })?;
        Ok(empty)
    }

    fn remove_name(&mut self, dir: Ino, name: &Name, found: &FoundName, is_dir: bool) -> Result<()> {
        let mut orphan = self.orphan_of(found)?;
        let mut records = self.hiding(dir, name, found.upper.is_none());
        if is_dir && self.is_recorded(found.ino) {
            records.push(Record::Cleared { dir: found.ino });
        }
        if !found.ino.is_upper() && orphan.is_some() && self.delta.copied(found.ino).is_some() {
            records.push(Record::Uncopied { ino: found.ino });
        }
        records.extend(self.one_name_less(found));
        match found.upper {
            None => self.record_names(records)?,
            Some(stat) => {
                let call = |view: &mut View| match orphan {
                    Some(_) => view.set_aside(dir, name, found.ino, is_dir),
                    None => view.delete(dir, name, is_dir).map(|()| OrphanBacking::Store),
                };
                let kept = match records.is_empty() {
                    true => call(self)?,
                    false => self.change(Check::Absent { dir, name: name.clone(), real: stat.ino }, records, call)?,
                };
                if let Some(orphan) = &mut orphan {
                    orphan.kept = kept;
                }
            }
        }
        self.disappeared(dir, name, found, is_dir, orphan);
        Ok(())
    }

    /// A file of the lower that loses one of several names changes thereby (unlink(2): its ctime).
    pub(super) fn one_name_less(&self, found: &FoundName) -> Option<Record> {
        let lower = found.upper.is_none() && !found.ino.is_upper();
        if !lower || self.lower.is_dir(found.ino) || self.lower.has_one_name(found.ino) {
            return None;
        }
        Some(self.redressed(found.ino, |meta| meta.ctime = Some(Timespec::now())))
    }

    /// Whether the journal has records of this directory's entries or metadata.
    pub(super) fn is_recorded(&self, dir: Ino) -> bool {
        let delta = &self.delta;
        delta.has_overrides(dir) || delta.is_opaque(dir) || delta.meta(dir).is_some() || delta.place(dir).is_some()
    }

    /// The records that keep what lies below from showing at a name; none when nothing lies there.
    /// `journal_only`: the upper's directory doesn't change, so its time is the journal's.
    pub(super) fn hiding(&mut self, dir: Ino, name: &Name, journal_only: bool) -> Vec<Record> {
        if self.lower_named(dir, name).is_none() {
            return Vec::new();
        }
        vec![self.hidden(dir, name, journal_only.then(Timespec::now))]
    }

    /// The record of a name at which nothing of the lower shows any more. A name without a lower entry showed a moved one,
    /// and nothing is deleted: a whiteout would hide the entry of a later graft, at the next mount.
    pub(super) fn hidden(&self, dir: Ino, name: &Name, time: Option<Timespec>) -> Record {
        let name = name.clone();
        match self.lower.lookup(dir, &name) {
            Some(_) => Record::Whiteout { dir, name, time },
            None => Record::Unset { dir, name, time },
        }
    }

    /// Appends records that change names, and moves the directories' times: those in the upper get theirs
    /// there, for the others the records' own times count.
    pub(super) fn record_names(&mut self, mut records: Vec<Record>) -> Result<()> {
        let touched = self.settle_times(&mut records)?;
        let places = self.places_for(&records)?;
        records.extend(places);
        self.record_all(records)?;
        touched.iter().for_each(|fd| touch_dir(fd));
        Ok(())
    }

    /// Takes the times out of records about directories that the upper has, and gives those directories.
    pub(super) fn settle_times(&mut self, records: &mut [Record]) -> Result<Vec<Arc<OwnedFd>>> {
        let mut touched = Vec::new();
        for record in records {
            let (Record::Whiteout { dir, time, .. }
            | Record::Moved { dir, time, .. }
            | Record::Unset { dir, time, .. }) = record
            else {
                continue;
            };
            let dir = *dir;
            if let Some(fd) = self.dir_fd(dir)? {
                touched.extend(time.take().map(|_| fd));
            }
        }
        Ok(touched)
    }

    /// Records of the locations of the upper's own directories that `records` name for the first time.
    pub(super) fn places_for(&mut self, records: &[Record]) -> Result<Vec<Record>> {
        let mut out: Vec<Record> = Vec::new();
        for record in records {
            let (Record::Whiteout { dir, .. }
            | Record::Moved { dir, .. }
            | Record::Opaque { dir }
            | Record::Place { dir, .. }) = record
            else {
                continue;
            };
            let mut at = *dir;
            while at.is_upper() && self.delta.place(at).is_none() {
                let (parent, name) = self.dir_place(at)?;
                out.push(Record::Place { ino: at, dir: parent, name });
                at = parent;
            }
        }
        Ok(out)
    }

    /// A name no longer shows: updates everything that caches names.
    pub(super) fn disappeared(
        &mut self,
        dir: Ino,
        name: &Name,
        found: &FoundName,
        is_dir: bool,
        orphan: Option<Orphan>,
    ) {
        self.upper.note(dir, name, None);
        if is_dir {
            self.count_subdir(dir, -1);
            self.upper.forget_dir(found.ino);
            self.subdirs.remove(&found.ino);
        }
        if let Some(seen) = self.seen.get_mut(&found.ino) {
            seen.names.remove(dir, name);
        }
        if let Some(orphan) = orphan {
            self.orphans.insert(found.ino, orphan);
        }
    }

    /// The kernel gave back `count` references.
    pub(super) fn forget(&mut self, ino: Ino, count: u64) {
        let left = match self.seen.get_mut(&ino) {
            Some(seen) => {
                seen.lookups = seen.lookups.saturating_sub(count);
                seen.lookups
            }
            None => 0,
        };
        if left > 0 {
            return;
        }
        self.seen.remove(&ino);
        if self.is_gone(ino) {
            self.drop_orphan(ino);
        }
    }
}
