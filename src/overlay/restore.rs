//! Two ways out of a view: *thaw* makes a path plain, *reset* makes it the store's again.

use std::os::fd::OwnedFd;

use crate::store::{Name, ObjectId};
use crate::sys::fs::{self, FileType, RenameFlags, Stat};
use crate::sys::log::OrWarn;

use super::error::{Result, upper};
use super::journal::{Check, Record};
use super::loosened::despite_mode;
use super::types::{Ino, Stale};
use super::upper::{remove_tree, touch_dir};
use super::view::Overlay;
use super::view::View;

impl Overlay {
    /// Makes a file's bytes and metadata, or a directory with all that shows in it, plain files of the upper.
    ///
    /// # Errors
    /// The copies cannot be written.
    pub fn thaw(&self, ino: Ino) -> Result<()> {
        self.view.lock().thaw(ino)
    }

    /// Restores the store's version of `name`. The worktree's own entry there, and everything below it, is deleted. Parts
    /// that were moved elsewhere in the view stay there, as the worktree's own. Returns the entries that the kernel must forget.
    ///
    /// # Errors
    /// The upper or the journal cannot be changed.
    pub fn reset(&self, parent: Ino, name: &Name) -> Result<Vec<Stale>> {
        let mut view = self.view.lock();
        let stored = view.lower.lookup(parent, name);
        let (mut records, mut stale) = (Vec::new(), Vec::new());
        records.extend(view.part_with(stored, Some(&(parent, name.clone())), &mut stale)?);
        records.push(Record::Unset { dir: parent, name: name.clone(), time: None });
        if let Some(ino) = stored {
            view.forget_below(ino, &mut records);
        }
        view.drop_own(parent, name, records)?;
        view.forget_names();
        Ok(stale)
    }

    /// The object that holds this regular file's bytes, while they are the store's.
    pub fn object(&self, ino: Ino) -> Option<ObjectId> {
        let view = self.view.lock();
        if view.has_upper_bytes(ino) { None } else { view.lower_object(ino) }
    }
}

impl View {
    /// The object that holds a regular file's bytes in the lower. A relocated one has none.
    pub(super) fn lower_object(&self, ino: Ino) -> Option<ObjectId> {
        let (tree, node) = self.lower.source(ino).filter(|_| !self.relocated.has(ino))?;
        if tree.stat(node).kind == FileType::RegularFile { tree.object(node) } else { None }
    }

    /// See [`Overlay::thaw`].
    pub(super) fn thaw(&mut self, ino: Ino) -> Result<()> {
        self.copy_up(ino, u64::MAX)?;
        if FileType::from_raw_mode(self.attr(ino)?.mode) == FileType::Directory {
            self.thaw_names(ino)?;
        }
        Ok(())
    }

    /// Copies up everything below a directory, then hides the lower: nothing of it is needed any more. A directory is
    /// hidden after those below it. One of the upper's own may hold what was moved there.
    fn thaw_names(&mut self, top: Ino) -> Result<()> {
        let (mut todo, mut dirs) = (vec![top], Vec::new());
        while let Some(dir) = todo.pop() {
            dirs.push(dir);
            let mut names = Vec::new();
            self.for_each_name(dir, &mut |_, (_, shown)| {
                names.push(shown);
                true
            })?;
            for shown in names {
                self.copy_up(shown.ino, u64::MAX)?;
                if shown.kind == FileType::Directory {
                    todo.push(shown.ino);
                }
            }
        }
        dirs.retain(|dir| *dir != Ino::ROOT && self.lower.is_dir(*dir));
        for dir in dirs.into_iter().rev() {
            let places = self.places_for(&[Record::Opaque { dir }])?;
            self.record_all(places.into_iter().chain([Record::Opaque { dir }]).collect())?;
        }
        Ok(())
    }

    /// Deletes the upper's entry at a name, with all below it, together with the journal's records of it.
    ///
    /// | step                                   | a crash right after it leaves                            |
    /// |----------------------------------------|----------------------------------------------------------|
    /// | 1. prepared frame                      | nothing: the name is still there, the frame is void      |
    /// | 2. rename into `aside`; a file: unlink | the store's version; what lies aside is for the next mount to delete |
    /// | 3. done frame                          | the same                                                 |
    /// | 4. delete aside                        | the store's version                                      |
    fn drop_own(&mut self, parent: Ino, name: &Name, records: Vec<Record>) -> Result<()> {
        let dir = self.dir_fd(parent)?;
        let own = match &dir {
            Some(dir) => match fs::stat_at(dir, name.bytes()) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                found => Some((dir.clone(), found.map_err(upper("look at a file"))?)),
            },
            None => None,
        };
        let says = !self.delta.is_empty();
        match own {
            None => self.record_all(records)?,
            Some((dir, stat)) => {
                let check = Check::Absent { dir: parent, name: name.clone(), real: stat.ino };
                let left = self.change(check, records, |view| view.move_out(&dir, name, &stat))?;
                if let (Some(left), Some(aside)) = (left, &self.upper.aside) {
                    // If this fails, the next mount deletes the rest.
                    remove_tree(aside, left.as_bytes()).or_warn("the moved-away file stays until the next mount");
                }
            }
        }
        if let Some(dir) = dir.filter(|_| says) {
            touch_dir(&dir);
        }
        Ok(())
    }

    /// Deletes a file at once, and moves a directory to `aside`; returns its name there. Without `aside`, the files
    /// deleted before an error stay deleted.
    fn move_out(&mut self, dir: &OwnedFd, name: &Name, stat: &Stat) -> Result<Option<String>> {
        let aside = self.upper.aside.as_deref();
        if !stat.is_dir() {
            let deleted = despite_mode(aside, dir, || fs::unlink_at(dir, name.bytes()));
            return deleted.map(|()| None).map_err(upper("delete a file"));
        }
        let Some(aside) = aside else {
            return remove_tree(dir, name.bytes()).map(|()| None).map_err(upper("delete a file"));
        };
        let to = format!("reset {}", stat.ino);
        remove_tree(aside, to.as_bytes()).map_err(upper("delete a file"))?;
        fs::rename_at(dir, name.bytes(), aside, to.as_bytes(), RenameFlags::empty()).map_err(upper("delete a file"))?;
        Ok(Some(to))
    }

    /// Records that void all earlier records of a lower file or directory and of everything below it in the trees.
    pub(super) fn forget_below(&mut self, ino: Ino, records: &mut Vec<Record>) {
        let mut todo = vec![ino];
        while let Some(at) = todo.pop() {
            if self.lower.is_dir(at) {
                if self.is_recorded(at) {
                    records.push(Record::Cleared { dir: at });
                }
                todo.extend(self.lower.entries(at).map(|(_, _, below)| below));
            } else {
                if self.delta.meta(at).is_some() {
                    records.push(Record::Meta { ino: at, meta: Default::default() });
                }
                if self.delta.copied(at).is_some() {
                    records.push(Record::Uncopied { ino: at });
                }
            }
        }
    }
}
