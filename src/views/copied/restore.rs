//! `depsfs reset` in a copied view: entries become those of the trees again.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::super::ViewsError;
use super::super::set::{ManifestLock, Views};
use super::{CopiedView, complete};
use crate::git::partly_tracked;
use crate::overlay::ChangeKind;
use crate::store::manifest::{CopyState, ViewSpec};
use crate::store::plain_copy::{self, CopyMode};
use crate::store::{Node, ObjectId, Tree};
use crate::sys::fs::{self, FileType, SetTime, Timespec};
use crate::sys::{IoError, path};

/// A whole view. One without any file is copied anew.
///
/// # Errors
/// An object that the store has lost; a file that can't be removed or written.
pub fn restore_all(views: &Views, view: &ViewSpec) -> Result<(), ViewsError> {
    let place = views.place(view);
    super::refuse_detour(views, view)?;
    if !path::is_dir(&place) {
        path::remove_tree(&place)?;
        path::make_dirs(&place)?;
    }
    let copied = CopiedView::open(views, view)?;
    if !path::list(&place)?.is_empty() && view.copy != Some(CopyState::Begun) {
        return copied.restore_below(Path::new(""));
    }
    let mut views = views.clone();
    {
        let _lock = ManifestLock::wait(&views.state_dir)?;
        views = Views::load(&views.state_dir)?;
        views.manifest.views.iter_mut().filter(|v| v.id == view.id).for_each(|v| v.copy = Some(CopyState::Begun));
        views.save()?;
    }
    copied.restore_below(Path::new(""))?;
    complete(&mut views, &copied.store, CopyMode::Complete, &())
}

impl CopiedView {
    /// Restores one entry, and all that is below it.
    ///
    /// # Errors
    /// As [`restore_all`].
    pub fn restore(&self, inside: &Path) -> Result<(), ViewsError> {
        let at = self.at(inside);
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(()) };
        let own = self.own()?;
        if partly_tracked::holds(own, inside) {
            return Ok(());
        }
        if partly_tracked::has_below(own, inside) && path::is_dir(&at) {
            return self.restore_below(inside);
        }
        let dir = super::open_inside(&self.views, self.path.join(inside).parent().unwrap_or(Path::new("")))?;
        let kept = fs::stat(&dir).map_err(IoError::of("stat", parent))?;
        match self.lower.find(inside) {
            None => path::remove_tree(&at)?,
            Some((tree, node)) if tree.kind(node) == Some(FileType::Directory) => {
                if path::is_dir(&at) {
                    self.restore_below(inside)?;
                } else {
                    path::remove_tree(&at)?;
                    self.copy_directory(inside)?;
                }
            }
            Some((tree, node)) => {
                path::remove_tree(&at)?;
                plain_copy::copy_file(&self.store, (tree, node), (&dir, parent), name.as_bytes())?;
            }
        }
        Ok(fs::utimens(&dir, SetTime::Keep, SetTime::At(kept.mtime)).map_err(IoError::of("set the time of", parent))?)
    }

    /// Restores what is in a directory, with its mode and time.
    pub(super) fn restore_below(&self, dir: &Path) -> Result<(), ViewsError> {
        for change in self.changes(dir)? {
            let inside = path::child(dir, change.name.bytes());
            match change.kind {
                ChangeKind::Below => self.restore_below(&inside)?,
                _ => self.restore(&inside)?,
            }
        }
        match self.lower.find(dir) {
            Some((tree, node)) => dress(&self.at(dir), tree, node),
            None => Ok(()),
        }
    }

    /// Removes a file that has this content and mode; returns whether it was removed.
    ///
    /// # Errors
    /// It can't be read or removed.
    pub fn give_up(&self, inside: &Path, held: &ObjectId, perm: u32) -> Result<bool, ViewsError> {
        let at = self.at(inside);
        let is_alike = path::stat(&at)?.is_some_and(|stat| stat.is_file() && stat.mode & 0o777 == perm & 0o777);
        if !is_alike || super::super::drop_unchanged::content_of(&at)? != *held {
            return Ok(false);
        }
        path::remove_file(&at)?;
        Ok(true)
    }

    /// Removes the files and symlinks that a copy has made since a time: they are as the trees have them, or written in
    /// part. Then the directories that are empty.
    ///
    /// # Errors
    /// A file can't be read or removed.
    pub fn remove(&self, since: Timespec) -> Result<(), ViewsError> {
        self.remove_below(Path::new(""), since)
    }

    fn remove_below(&self, dir: &Path, since: Timespec) -> Result<(), ViewsError> {
        let own: Vec<Vec<u8>> = self.changes(dir)?.into_iter().map(|change| change.name.bytes().to_vec()).collect();
        for name in self.lower.names(dir) {
            let inside = path::child(dir, &name);
            if self.is_stored_dir(&inside) && path::is_dir(&self.at(&inside)) {
                self.remove_below(&inside, since)?;
                if path::list(&self.at(&inside))?.is_empty() {
                    path::remove_dir(&self.at(&inside))?;
                }
            } else if !own.contains(&name) && path::stat(&self.at(&inside))?.is_some_and(|stat| stat.ctime >= since) {
                path::remove_file(&self.at(&inside))?;
            }
        }
        Ok(())
    }

    fn copy_directory(&self, inside: &Path) -> Result<(), ViewsError> {
        let at = self.at(inside);
        path::make_dirs(&at)?;
        let into = path::open_dir(&at)?;
        for (grafted, tree) in self.lower.0.iter().rev() {
            let Some(node) = inside.strip_prefix(grafted).ok().and_then(|p| super::super::lower::node(tree, p)) else {
                continue;
            };
            if tree.kind(node) != Some(FileType::Directory) {
                break;
            }
            plain_copy::copy_tree(&self.store, (tree, node), (&into, &at), (CopyMode::New, &|_: &Path| false), &())?;
        }
        Ok(())
    }
}

fn dress(dir: &Path, tree: &Tree, node: Node) -> Result<(), ViewsError> {
    let (fd, stat) = (path::open_dir(dir)?, tree.stat(node));
    let change = || {
        fs::chmod(&fd, stat.perm & 0o1777)?;
        fs::utimens(&fd, SetTime::Keep, SetTime::At(stat.mtime))
    };
    Ok(change().map_err(IoError::of("set the mode of", dir))?)
}
