//! `depsfs sync` in a copied view: its trees are replaced by others. The user's changes stay.
//!
//! | step                                              | a crash right after it leaves                         |
//! |---------------------------------------------------|-------------------------------------------------------|
//! | 1. unchanged files that the new trees don't have are removed | files that look deleted; `depsfs reset` restores them |
//! | 2. the manifest names the new trees, begun        | a copy that the next sync, adopt or mount completes   |
//! | 3. the new files are copied                       | the same                                              |
//! | 4. the manifest names it, complete                | done                                                  |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::ViewsError;
use super::super::lower::{GraftedTrees, live};
use super::super::set::{ManifestLock, Views};
use super::CopiedView;
use super::to_views::deleted_below;
use crate::store::manifest::{CopyState, Graft, ViewSpec};
use crate::store::plain_copy::{self, CopyMode};
use crate::store::{Node, Progress, Store, Tree};
use crate::sys::fs::FileType;
use crate::sys::path;

/// A copy whose trees are about to be replaced.
pub struct CopyUpdate {
    before: ViewSpec,
    /// The names that the user has deleted.
    deleted: BTreeSet<PathBuf>,
}

/// The view with other trees, which are not copied yet.
pub fn begin_again(view: &mut ViewSpec, grafts: Vec<Graft>) {
    view.grafts = grafts;
    view.copy = Some(CopyState::Begun);
}

impl CopyUpdate {
    /// Step 1.
    ///
    /// # Errors
    /// A tree that the store has lost; a file that can't be read or removed.
    pub fn begin(views: &Views, view: &ViewSpec, new: &GraftedTrees) -> Result<CopyUpdate, ViewsError> {
        let copied = CopiedView::open(views, view)?;
        let mut deleted = Vec::new();
        deleted_below(&copied, Path::new(""), &mut deleted)?;
        copied.drop_replaced(new, Path::new(""))?;
        Ok(CopyUpdate { before: view.clone(), deleted: deleted.into_iter().collect() })
    }

    /// Steps 3 and 4. Names that the user has deleted stay deleted.
    ///
    /// # Errors
    /// An object that the store has lost; a file that can't be written.
    pub fn end(&self, views: &mut Views, store: &Store, progress: &dyn Progress) -> Result<(), ViewsError> {
        let Some(view) = views.manifest.views.iter().find(|view| view.id == self.before.id) else { return Ok(()) };
        let place = views.place(view);
        for (at, tree) in GraftedTrees::of(store, live(view))?.0.iter().rev() {
            let to = crate::store::manifest::joined(&place, at);
            path::make_dirs(&to)?;
            let into = path::open_dir(&to)?;
            let skip = |inside: &Path| self.deleted.contains(&at.join(inside));
            plain_copy::copy_tree(store, (tree, Node::ROOT), (&into, &to), (CopyMode::New, &skip), progress)?;
        }
        let _lock = ManifestLock::wait(&views.state_dir)?;
        *views = Views::load(&views.state_dir)?;
        let is_begun = |view: &&mut ViewSpec| view.id == self.before.id && view.copy == Some(CopyState::Begun);
        // The times stay: the new files are younger than these, so they are compared by their content.
        views.manifest.views.iter_mut().filter(is_begun).for_each(|view| view.copy = self.before.copy);
        views.save()
    }
}

impl CopiedView {
    /// Removes the files below a directory that are as the trees have them, and not as the new trees have them.
    fn drop_replaced(&self, new: &GraftedTrees, dir: &Path) -> Result<(), ViewsError> {
        let Some(kept) = path::stat(&self.at(dir))?.filter(crate::sys::fs::Stat::is_dir) else { return Ok(()) };
        for name in self.lower.names(dir) {
            let inside = path::child(dir, &name);
            let (at, Some(old)) = (self.at(&inside), self.lower.find(&inside)) else { continue };
            let Some(stat) = path::stat(&at)? else { continue };
            let next = new.find(&inside);
            if old.0.kind(old.1) == Some(FileType::Directory) {
                self.drop_replaced(new, &inside)?;
                let stays = next.is_some_and(|(tree, node)| tree.kind(node) == Some(FileType::Directory));
                if !stays && stat.is_dir() && path::list(&at)?.is_empty() {
                    path::remove_dir(&at)?;
                }
            } else if !next.is_some_and(|(tree, node)| is_same((old.0, old.1), (tree, node)))
                && self.is_equal(&inside, &stat, (old.0, old.1))?
            {
                path::remove_file(&at)?;
            }
        }
        Ok(path::set_mtime(&self.at(dir), kept.mtime)?)
    }
}

/// Whether two trees have the same file at a path: times apart.
fn is_same((old, node): (&Tree, Node), (new, other): (&Tree, Node)) -> bool {
    old.kind(node) == new.kind(other)
        && old.object(node) == new.object(other)
        && old.target(node) == new.target(other)
        && old.stat(node).perm == new.stat(other).perm
}
