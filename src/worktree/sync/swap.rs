//! One view that shows other trees from now on, and what of the worktree's own is in their way.

use std::path::{Path, PathBuf};

use crate::git::checkout::Checkout;
use crate::store::manifest::{Graft, ViewSpec};
use crate::store::{ObjectId, Store};
use crate::sys::fs::FileType;
use crate::sys::path;
use crate::views::copied::CopyUpdate;
use crate::views::diff::{self, Difference};
use crate::views::drop_unchanged;
use crate::views::lower::GraftedTrees;
use crate::views::set::Views;
use crate::worktree::error::WorktreeError;
use crate::worktree::snapshot::Snapshot;

/// A view that shows other trees from now on.
pub struct Swap {
    pub view: ViewSpec,
    pub snapshot: Snapshot,
    old: GraftedTrees,
    new: GraftedTrees,
}

impl Swap {
    /// From the live grafts of `view` to those of `snapshot`. All trees are opened; nothing is changed.
    pub fn of(store: &Store, view: ViewSpec, snapshot: Snapshot) -> Result<Swap, WorktreeError> {
        let (old, new) = (GraftedTrees::of(store, live(&view))?, GraftedTrees::of(store, snapshot.grafts.iter())?);
        Ok(Swap { view, snapshot, old, new })
    }

    /// Begins to replace the trees of a copy; `None` for a view.
    ///
    /// # Errors
    /// As [`CopyUpdate::begin`].
    pub fn begin_copy(&self, views: &Views) -> Result<Option<CopyUpdate>, WorktreeError> {
        let is_copy = self.view.is_copy();
        Ok(if is_copy { Some(CopyUpdate::begin(views, &self.view, &self.new)?) } else { None })
    }

    /// Drops unchanged copies of the old trees' files.
    pub fn give_up(&self, target: &Checkout, views: &Views) -> Result<(), WorktreeError> {
        for (at, before) in &self.old.0 {
            if let Some((_, after)) = self.new.0.iter().find(|(there, _)| there == at) {
                drop_unchanged::give_up(target, Some(views), &self.view.path.join(at), before, after)?;
            }
        }
        Ok(())
    }

    /// The view's own changes that hide something newer.
    pub fn hidden(&self, views: &Views) -> Result<Vec<(Difference, PathBuf)>, WorktreeError> {
        let is_newer = |path: &PathBuf| {
            let inside = path.strip_prefix(&self.view.path).unwrap_or(path);
            let now = LowerEntry::at(&self.new, inside);
            now.is_some() && now != LowerEntry::at(&self.old, inside)
        };
        let view = views.manifest.views.iter().find(|v| v.id == self.view.id).unwrap_or(&self.view);
        let own = diff::of_view(views, view, Path::new(""))?;
        Ok(own.into_iter().filter(|(_, path)| is_newer(path)).collect())
    }
}

impl Swap {
    /// Whether a file of the view's own, relative to the worktree, is still just what the old trees have: such a copy goes
    /// before the new ones show ([`Swap::give_up`]).
    pub fn gives_up(&self, views: &Views, file: &Path) -> Result<bool, WorktreeError> {
        let whole = views.manifest.worktree.join(file);
        let inside = file.strip_prefix(&self.view.path).unwrap_or(file);
        let Some((tree, node)) = self.old.find(inside) else { return Ok(false) };
        let (Some(object), held) = (tree.object(node), tree.stat(node)) else { return Ok(false) };
        let stat = path::stat(&whole)?;
        let is_alike = stat.is_some_and(|s| s.is_file() && s.size == held.size && s.mode & 0o7777 == held.perm);
        Ok(is_alike && drop_unchanged::content_of(&whole)? == object)
    }
}

/// The entry at a path of a lower.
#[derive(PartialEq, Eq)]
enum LowerEntry {
    Dir,
    File(Option<ObjectId>, u32),
    Link(Vec<u8>),
    Other,
}

impl LowerEntry {
    fn at(lower: &GraftedTrees, path: &Path) -> Option<LowerEntry> {
        let (tree, node) = lower.find(path)?;
        Some(match tree.kind(node)? {
            FileType::Directory => LowerEntry::Dir,
            FileType::RegularFile => LowerEntry::File(tree.object(node), tree.stat(node).perm),
            FileType::Symlink => LowerEntry::Link(tree.target(node).to_vec()),
            _ => LowerEntry::Other,
        })
    }
}

/// The grafts of a view that show.
pub(super) fn live(view: &ViewSpec) -> impl Iterator<Item = &Graft> {
    view.grafts.iter().filter(|g| !g.retired)
}
