//! Two ways out of a view: *thaw* makes a path plain, *reset* makes it the store's again.

use std::os::fd::OwnedFd;

use crate::store::{Name, ObjectId};
use crate::sys::fs::{self, FileType};

use super::error::{Error, Result, upper};
use super::journal::Record;
use super::resolve::View;
use super::upper::touch_dir;
use super::{Ino, Overlay};

impl Overlay {
    /// Makes a file's bytes and metadata, or a directory with all that shows in it, plain files of the upper.
    pub fn thaw(&self, ino: Ino) -> Result<()> {
        self.view.lock().thaw(ino)
    }

    /// Makes `name` show what the store says of it. What the worktree had there, and below it, is deleted.
    ///
    /// # Errors
    /// [`Error::Moved`] when the store's file or directory is now elsewhere in the view.
    pub fn reset(&self, parent: Ino, name: &Name) -> Result<()> {
        let mut view = self.view.lock();
        let stored = view.lower.lookup(parent, name);
        if let Some(ino) = stored
            && view.delta.moved_to(ino).iter().any(|(d, n)| *d != parent || n != name)
        {
            return Err(Error::Moved);
        }
        if let Some(dir) = view.dir_fd(parent)? {
            remove_tree(&dir, name.bytes())?;
            if !view.delta.is_empty() {
                touch_dir(&dir)?;
            }
        }
        let mut records = vec![Record::Unset { dir: parent, name: name.clone(), time: None }];
        if let Some(ino) = stored {
            view.forget_below(ino, &mut records);
        }
        view.record_all(records)?;
        view.upper.forget_all();
        view.files.clear();
        view.subdirs.clear();
        view.seen.retain(|_, seen| seen.lookups > 0);
        Ok(())
    }

    /// The object that holds this regular file's bytes, while they are the store's.
    pub fn object(&self, ino: Ino) -> Option<ObjectId> {
        let view = self.view.lock();
        if view.has_upper_bytes(ino) { None } else { view.lower_object(ino) }
    }
}

impl View {
    /// The object that holds a regular file's bytes in the lower.
    pub(super) fn lower_object(&self, ino: Ino) -> Option<ObjectId> {
        let (tree, node) = self.lower.source(ino)?;
        if tree.stat(node).kind == FileType::RegularFile { tree.object(node) } else { None }
    }

    /// See [`Overlay::thaw`].
    pub(super) fn thaw(&mut self, ino: Ino) -> Result<()> {
        self.copy_up(ino, u64::MAX)?;
        if ino == Ino::ROOT || self.lower.is_dir(ino) {
            self.thaw_names(ino)?;
        }
        Ok(())
    }

    /// Copies up everything below a directory, then hides the lower: nothing of it is needed any more.
    fn thaw_names(&mut self, dir: Ino) -> Result<()> {
        let mut names = Vec::new();
        self.for_each_name(dir, 0, &mut |_, (_, shown)| {
            names.push(shown);
            true
        })?;
        for shown in names {
            self.copy_up(shown.ino, u64::MAX)?;
            if shown.kind == FileType::Directory && self.lower.is_dir(shown.ino) {
                self.thaw_names(shown.ino)?;
            }
        }
        if dir == Ino::ROOT {
            return Ok(());
        }
        let places = self.places_for(&[Record::Opaque { dir }])?;
        self.record_all(places.into_iter().chain([Record::Opaque { dir }]).collect())
    }

    /// Records that void all that was said of a lower file or directory and what the trees have below it.
    fn forget_below(&mut self, ino: Ino, records: &mut Vec<Record>) {
        let mut todo = vec![ino];
        while let Some(at) = todo.pop() {
            if self.lower.is_dir(at) {
                if self.is_recorded(at) {
                    records.push(Record::Emptied { dir: at });
                }
                todo.extend(self.lower.entries(at, 0).map(|(_, _, below)| below));
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

/// Deletes `name` from a directory of the upper, with all below it; nothing there is fine.
fn remove_tree(dir: &OwnedFd, name: &[u8]) -> Result<()> {
    match fs::unlink_at(dir, name) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {
            let below = fs::open_dir_at(dir, name).map_err(upper("open a directory"))?;
            for entry in fs::list(&below).map_err(upper("list a directory"))? {
                remove_tree(&below, &entry.name)?;
            }
            fs::rmdir_at(dir, name).map_err(upper("delete a directory"))
        }
        Err(e) => Err(upper("delete a file")(e)),
    }
}
