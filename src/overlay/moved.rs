//! The store's files and directories that the worktree moved elsewhere: where they are now, and how they become the
//! worktree's own there, so that the store's show again at their places.
//!
//! An inode of a directory shows at one name only. Before the store's directory comes back, the moved one gets copies of
//! all that it shows, under numbers of the upper; the journal forgets that it was the store's.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::store::Name;
use crate::sys::fs::{FileType, Timespec};

use super::error::{OverlayError, Result};
use super::journal::Record;
use super::names::{Location, LocationSet};
use super::types::{Ino, Stale};
use super::view::Overlay;
use super::view::View;

/// A directory of the store that shows at another path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedDirectory {
    /// Its path in the store.
    pub from: PathBuf,
    /// The path that shows it.
    pub to: PathBuf,
}

impl Overlay {
    /// The directories of the store that show at other paths, in no particular order.
    ///
    /// # Errors
    /// The upper can't be read.
    pub fn moved_directories(&self) -> Result<Vec<MovedDirectory>> {
        let mut view = self.view.lock();
        let mut found = Vec::new();
        for ino in view.delta.all_moved() {
            let place = view.delta.moved_to(ino).first().cloned();
            let Some(place) = place.filter(|_| view.lower.is_dir(ino)) else { continue };
            if let (Some(from), Some(to)) = (view.stored_path(ino), view.path_of(place)?) {
                found.push(MovedDirectory { from, to });
            }
        }
        Ok(found)
    }

    /// The directories on the way to a path, and its own, that were moved elsewhere become the worktree's own there.
    /// Returns what the kernel must forget.
    ///
    /// # Errors
    /// The copies or the journal cannot be written.
    pub fn disown_moved(&self, path: &Path) -> Result<Vec<Stale>> {
        let mut view = self.view.lock();
        let (mut dir, mut stale) = (Ino::ROOT, Vec::new());
        for part in path.iter() {
            let Ok(name) = Name::new(part.as_bytes()) else { break };
            let Some(stored) = view.lower.lookup(dir, &name) else { break };
            if !view.delta.moved_to(stored).is_empty() && !view.is_gone(stored) {
                let mut records = view.part_with(Some(stored), None, &mut stale)?;
                view.forget_below(stored, &mut records);
                view.record_all(records)?;
                view.forget_names();
            }
            dir = stored;
        }
        Ok(stale)
    }
}

impl View {
    /// Copies the parts of the store's `top`, itself included, that were moved elsewhere, to the places that show them.
    /// Returns the records by which they are the worktree's own there; the records of `top` itself are the caller's
    /// ([`View::forget_below`]). Nothing at or below the name `given_up` is kept: the records void the journal's of it.
    pub(super) fn part_with(
        &mut self,
        top: Option<Ino>,
        given_up: Option<&Location>,
        stale: &mut Vec<Stale>,
    ) -> Result<Vec<Record>> {
        let moved = self.delta.all_moved();
        let below = top.map(|top| self.stored_below(top)).unwrap_or_default();
        let (mut records, mut plain) = (Vec::new(), Vec::new());
        for ino in moved.into_iter().filter(|ino| below.contains(ino)) {
            let mut places = Vec::new();
            for place in self.delta.moved_to(ino).to_vec() {
                if self.shows(place.0) && !self.is_gone(place.0) && !self.is_at_or_below(&place, given_up)? {
                    places.push(place);
                }
            }
            if places.is_empty() || self.is_gone(ino) {
                continue;
            }
            self.thaw(ino)?;
            if self.lower.is_dir(ino) {
                plain.extend(self.directories_below(ino)?);
            }
            stale.push(Stale::Inode(ino));
            for (dir, name) in places {
                let time = self.dir_fd(dir)?.is_none().then(Timespec::now);
                records.push(self.hidden(dir, &name, time));
                stale.push(Stale::Entry { parent: dir, name });
            }
        }
        plain.extend(self.given_up_directories(given_up)?);
        records.extend(plain.into_iter().filter(|dir| self.is_recorded(*dir)).map(|dir| Record::Cleared { dir }));
        if let Some(given_up) = given_up {
            self.forget_copies(given_up, &below, &mut records)?;
        }
        Ok(records)
    }

    /// All inodes of the trees at and below one.
    fn stored_below(&self, top: Ino) -> HashSet<Ino> {
        let (mut found, mut todo) = (HashSet::from([top]), vec![top]);
        while let Some(at) = todo.pop() {
            if self.lower.is_dir(at) {
                for (_, _, ino) in self.lower.entries(at) {
                    found.insert(ino);
                    todo.push(ino);
                }
            }
        }
        found
    }

    /// A directory, and all that show below it.
    fn directories_below(&mut self, top: Ino) -> Result<Vec<Ino>> {
        let (mut todo, mut dirs) = (vec![top], Vec::new());
        while let Some(dir) = todo.pop() {
            dirs.push(dir);
            self.for_each_name(dir, &mut |_, (_, shown)| {
                todo.extend((shown.kind == FileType::Directory).then_some(shown.ino));
                true
            })?;
        }
        Ok(dirs)
    }

    /// The directories with records that show at or below a name, and are not the store's of that place.
    fn given_up_directories(&mut self, given_up: Option<&Location>) -> Result<Vec<Ino>> {
        let mut found = Vec::new();
        let mut dirs: HashSet<Ino> = self.delta.recorded_upper_dirs();
        dirs.extend(self.delta.all_moved().into_iter().filter(|ino| self.lower.is_dir(*ino)));
        for dir in dirs.into_iter().filter(|_| given_up.is_some()) {
            match self.dir_place(dir) {
                Ok(place) if self.is_at_or_below(&place, given_up)? => found.push(dir),
                Ok(_) | Err(OverlayError::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    /// Records that void the copies of files of other places that lie at or below a name: they go with it.
    fn forget_copies(&mut self, given_up: &Location, below: &HashSet<Ino>, records: &mut Vec<Record>) -> Result<()> {
        let Some((_, stat)) = self.upper_at(given_up.0, &given_up.1)? else { return Ok(()) };
        let copied: Vec<Ino> = match stat.is_dir() {
            true => self.delta.all_copied().map(|(ino, _)| ino).collect(),
            false => self.delta.origin(stat.ino).into_iter().collect(),
        };
        for ino in copied {
            if below.contains(&ino) || self.is_gone(ino) {
                continue;
            }
            let Ok((_, name, stat)) = self.locate(ino) else { continue };
            let dir = self.seen.get(&ino).and_then(|seen| seen.names.first()).map(|(dir, _)| *dir);
            // Of several names some may stay.
            if let Some(dir) = dir.filter(|_| stat.nlink == 1)
                && self.is_at_or_below(&(dir, name), Some(given_up))?
            {
                records.push(Record::Uncopied { ino });
            }
        }
        Ok(())
    }

    /// Whether a name is `top`, or lies in the directory at that name.
    fn is_at_or_below(&mut self, place: &Location, top: Option<&Location>) -> Result<bool> {
        let (Some(top), mut at) = (top, place.clone()) else { return Ok(false) };
        loop {
            if at == *top {
                return Ok(true);
            }
            if at.0 == Ino::ROOT {
                return Ok(false);
            }
            at = match self.dir_place(at.0) {
                Err(OverlayError::NotFound) => return Ok(false),
                place => place?,
            };
        }
    }

    /// The path of the trees' `ino` in them.
    fn stored_path(&self, mut ino: Ino) -> Option<PathBuf> {
        let mut names = Vec::new();
        while ino != Ino::ROOT {
            let (dir, name) = self.lower.places(ino).into_iter().next()?;
            names.push(name);
            ino = dir;
        }
        Some(names.iter().rev().map(|name| std::ffi::OsStr::from_bytes(name.bytes())).collect())
    }

    /// The path of a name; `None` if its directory does not show.
    fn path_of(&mut self, place: Location) -> Result<Option<PathBuf>> {
        let (mut names, mut dir) = (vec![place.1], place.0);
        while dir != Ino::ROOT {
            let place = match self.dir_place(dir) {
                Err(OverlayError::NotFound) => return Ok(None),
                place => place?,
            };
            names.push(place.1);
            dir = place.0;
        }
        Ok(Some(names.iter().rev().map(|name| std::ffi::OsStr::from_bytes(name.bytes())).collect()))
    }

    /// Clears what is cached of names, which are other files now. The names of a file that the kernel knows are found
    /// again in the upper.
    pub(super) fn forget_names(&mut self) {
        self.upper.forget_all();
        self.files.clear();
        self.subdirs.clear();
        self.seen.retain(|_, seen| {
            seen.names = LocationSet::default();
            seen.lookups > 0
        });
    }
}
