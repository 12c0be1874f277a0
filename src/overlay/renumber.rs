//! The upper is a copy of the one that the journal was written for, or was restored from a copy: its directories have
//! other inode numbers.
//!
//! The journal names a directory that is only in the upper by its inode number there, and has its place, too
//! ([`Record::Place`]). The directory that is at that place now takes over its records:
//!
//! | at the place is                          | the records about names in the directory                         |
//! |------------------------------------------|------------------------------------------------------------------|
//! | a directory                              | hold, under the inode number that it has now; that of a tree that came and has such a directory, too |
//! | none, and the upper is another one       | are lost: files of the store that were moved there show where their tree has them |
//! | none, in the same upper                  | go along with the directory that its user renamed while it was not mounted; are void if it was deleted |
//!
//! Lost records are damage: a copy of the journal is kept, as in `journal/file.rs`.

use std::collections::{HashMap, HashSet};

use crate::store::Name;
use crate::sys::fs;
use crate::sys::terminal::DisplayName;

use super::error::{Result, upper};
use super::graft::renumbered;
use super::journal::{Frame, Record};
use super::state::{Delta, Override};
use super::types::{Attr, Ino};
use super::view::View;

/// The current inode number of each directory that the journal names; `None` if the directory is gone.
type Numbers = HashMap<Ino, Option<Ino>>;

impl View {
    /// The upper's root is another directory than last time. An empty one starts the view anew (a user deleted the
    /// directory while it was not mounted) with the metadata that the winning tree's root has; a full one is the old
    /// one, copied or restored. So is one that was changed before it was created.
    pub(super) fn new_root(&mut self, real: u64, born: u64) -> Result<()> {
        let known = self.delta.root.is_some();
        let mtime = fs::stat(&*self.upper.root).map_err(upper("look at the directory"))?.mtime;
        let is_restored = known && i128::from(mtime.sec) * 1_000_000_000 + i128::from(mtime.nsec) < i128::from(born);
        if is_restored || !self.listing(Ino::ROOT)?.is_empty() {
            return if known { self.adopt_copy(real, born) } else { self.record(Record::Root { real, born }) };
        }
        if let Some((tree, node)) = self.lower.source(Ino::ROOT) {
            let stat = tree.stat(node);
            let attr = Attr { mode: stat.perm, mtime: stat.mtime, atime: stat.mtime, ..self.attr(Ino::ROOT)? };
            let root = fs::open_dir_at(&*self.upper.root, b".").map_err(upper("open the directory"))?;
            self.apply_metadata(&root, &attr, &self.lower_xattrs(Ino::ROOT))?;
        }
        if known {
            self.delta = Delta::default();
            self.delta.apply(&self.lower, &Record::Root { real, born });
            return self.rewrite_journal();
        }
        self.record(Record::Root { real, born })
    }

    /// Whether the upper is another directory than the one that the journal was written for.
    pub(super) fn is_copy(&self) -> Result<bool> {
        let stat = fs::stat(&*self.upper.root).map_err(upper("look at the directory"))?;
        let born = fs::birth(&*self.upper.root, b"").map_err(upper("look at the directory"))?;
        Ok(self.delta.root.is_some_and(|root| root != (stat.ino, born)))
    }

    /// Records the locations of directories that an undecided change was the first to name.
    pub(super) fn learn_places(&mut self, frames: &[Frame]) {
        let records = frames.iter().flat_map(Frame::records);
        for record in records
            .filter(|record| matches!(record, Record::Place { ino, .. } if self.delta.place(*ino).is_none()))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.delta.apply(&self.lower, &record);
        }
    }

    /// Gives the records about directories of the upper to those of its copy.
    fn adopt_copy(&mut self, real: u64, born: u64) -> Result<()> {
        let numbers = self.numbers_now(true)?;
        let lost = self.lost_moves(&numbers);
        if lost.is_empty() && numbers.iter().all(|(dir, now)| Some(*dir) == *now) {
            return self.record(Record::Root { real, born });
        }
        if !lost.is_empty() {
            let copy = self.journal.keep_copy(&self.upper.state_dir)?;
            tracing::error!(
                "the upper was copied without directories that files of the store were moved to: {} names show where the \
                 store has them; a copy of the journal is {}",
                lost.len(),
                copy.shown()
            );
        }
        drop(self.renumber(&numbers, true));
        self.seen.clear();
        for ino in lost {
            self.show_where_stored(ino)?;
        }
        self.delta.apply(&self.lower, &Record::Root { real, born });
        self.upper.forget_all();
        self.rewrite_journal()
    }

    /// Directories of the same upper that were renamed while it was not mounted: their records in the journal go along.
    /// One that was born before the journal was last `written`, in nanoseconds, is the one that the journal names; a
    /// later one has the number of one that was deleted.
    ///
    /// # Errors
    /// A call on the upper or the journal that fails.
    pub(super) fn follow_renamed(&mut self, written: i128) -> Result<()> {
        let mut missing = HashSet::new();
        for dir in self.delta.recorded_upper_dirs() {
            let Some((parent, name)) = self.delta.place(dir).cloned() else { continue };
            let there = self.upper_at(parent, &name)?;
            if !there.is_some_and(|(_, stat)| stat.is_dir() && Ino::of_upper(stat.ino) == dir) {
                missing.insert(dir);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.upper.forget_all();
        let mut found = Vec::new();
        self.walk_upper(Ino::ROOT, &mut |parent, fd, entry| {
            let dir = Ino::of_upper(entry.ino);
            if entry.kind == fs::FileType::Directory && missing.contains(&dir) {
                found.push((dir, parent, fd.clone(), entry.name.clone()));
            }
        })?;
        let mut records = Vec::new();
        for (ino, dir, fd, name) in found {
            let born = fs::stat_at(&*fd, &name).map_err(upper("look at a directory"))?.born;
            if let (1.., Ok(name)) = (born, Name::new(&name))
                && i128::from(born) <= written
            {
                records.push(Record::Place { ino, dir, name });
            }
        }
        let above = self.places_for(&records)?;
        records.extend(above);
        if !records.is_empty() {
            self.record_all(records)?;
        }
        self.upper.forget_all();
        self.seen.clear();
        Ok(())
    }

    /// Directories of the same upper that were deleted while it was not mounted, or restored from a copy; or a tree has
    /// one at that place now, and they merge.
    pub(super) fn follow_directories(&mut self) -> Result<()> {
        let mut numbers = self.numbers_now(false)?;
        for dir in self.delta.named_upper_dirs() {
            if numbers.get(&dir) == Some(&None) {
                self.record(Record::Cleared { dir })?;
            }
        }
        numbers.retain(|_, now| now.is_some());
        if numbers.iter().any(|(dir, now)| Some(*dir) != *now) {
            let before = self.renumber(&numbers, false);
            if let Err(e) = self.rewrite_journal() {
                self.delta = before;
                return Err(e);
            }
        }
        Ok(())
    }

    fn numbers_now(&mut self, is_copy: bool) -> Result<Numbers> {
        let mut numbers = Numbers::new();
        for dir in self.delta.recorded_upper_dirs() {
            self.find_now(dir, is_copy, &mut numbers)?;
        }
        Ok(numbers)
    }

    /// Finds a directory, and those that it lies in, by their places. In a copy no number leads to one: it may be another's.
    fn find_now(&mut self, dir: Ino, is_copy: bool, numbers: &mut Numbers) -> Result<()> {
        let (mut chain, mut at) = (Vec::new(), dir);
        while at != Ino::ROOT && !numbers.contains_key(&at) {
            let place = match at.is_upper() {
                true => self.delta.place(at).cloned(),
                false => self.lower_places(at).into_iter().next(),
            };
            let Some((parent, name)) = place else {
                numbers.insert(at, (!is_copy).then_some(at));
                break;
            };
            // One that is in itself, as a damaged journal may have it, ends here.
            numbers.insert(at, None);
            chain.push((at, parent, name));
            at = parent;
        }
        while let Some((at, parent, name)) = chain.pop() {
            let now = match at.is_upper() {
                _ if parent != Ino::ROOT && numbers.get(&parent).is_none_or(Option::is_none) => None,
                false => Some(at),
                true => {
                    let there = self.upper_at(parent, &name)?.filter(|(_, stat)| stat.is_dir());
                    // A tree that came may have a directory there.
                    let parent = numbers.get(&parent).copied().flatten().unwrap_or(parent);
                    there.map(|(_, stat)| self.identity(self.lower_named(parent, &name), stat.kind(), stat.ino))
                }
            };
            numbers.insert(at, now);
        }
        Ok(())
    }

    /// Files and directories of the store that were moved into a directory that is nowhere.
    fn lost_moves(&self, numbers: &Numbers) -> Vec<Ino> {
        let moved = self.delta.records().into_iter().filter_map(|record| match record {
            Record::Moved { dir, ino, .. } if numbers.get(&dir) == Some(&None) => Some(ino),
            _ => None,
        });
        moved.collect()
    }

    /// Gives what was recorded before.
    fn renumber(&mut self, numbers: &Numbers, is_copy: bool) -> Delta {
        let number = |ino: Ino| match numbers.get(&ino) {
            _ if !ino.is_upper() => Some(ino),
            Some(now) => *now,
            None => (!is_copy).then_some(ino),
        };
        let records: Vec<Record> = self.delta.records().into_iter().filter_map(|r| renumbered(r, &number)).collect();
        let before = std::mem::take(&mut self.delta);
        records.iter().for_each(|record| self.delta.apply(&self.lower, record));
        self.subdirs.clear();
        self.upper.forget_all();
        before
    }

    /// A file or directory without another name shows again at its names in the trees, unless the upper has an entry
    /// there.
    fn show_where_stored(&mut self, ino: Ino) -> Result<()> {
        if !self.lower_places(ino).is_empty() {
            return Ok(());
        }
        for (dir, name) in self.lower.places(ino) {
            let is_hidden = self.delta.name(dir, &name) == Some(Override::Whiteout);
            if is_hidden && self.upper_at(dir, &name)?.is_none() {
                self.delta.apply(&self.lower, &Record::Unset { dir, name, time: None });
            }
        }
        Ok(())
    }
}
