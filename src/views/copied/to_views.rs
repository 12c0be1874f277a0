//! `depsfs mount` in a worktree of plain files: its copies become views. The user's changes become the uppers, and the
//! unchanged files are removed, as the views show them.
//!
//! | step                                                   | a crash right after it leaves                       |
//! |--------------------------------------------------------|-----------------------------------------------------|
//! | 1. copies that were begun are completed                | a worktree of plain files                           |
//! | 2. journals are written, with a whiteout for each deleted name | the same, and journals that nothing names   |
//! | 3. the manifest names views                            | views with all their files as private copies        |
//! | 4. private copies that equal the trees' files are removed | views with some of them                          |
//! | 5. the views are mounted                               | done                                                |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::ViewsError;
use super::super::access::Access;
use super::super::set::{self, ManifestLock, Views};
use super::{CopiedView, complete};
use crate::overlay::ChangeKind;
use crate::store::manifest::ViewSpec;
use crate::store::plain_copy::CopyMode;
use crate::store::{Progress, Store};
use crate::sys::fs::FileType;
use crate::sys::{interrupt, mount, path};

/// Steps 1 to 4; the caller mounts the views. Returns the number of copies that became views.
///
/// # Errors
/// This machine can't mount; as [`complete`]. Nothing of the user's is lost by any of them.
pub fn to_views(views: &mut Views, progress: &dyn Progress) -> Result<usize, ViewsError> {
    let copies: Vec<ViewSpec> = views.manifest.views.iter().filter(|view| view.is_copy()).cloned().collect();
    if copies.is_empty() {
        return Ok(0);
    }
    mount::is_possible().map_err(ViewsError::NoMounts)?;
    set::refuse_too_many(copies.len())?;
    let store = Store::existing(&views.manifest.store)?;
    complete(views, &store, CopyMode::Complete, progress)?;
    progress.begin("comparing", None);
    for view in views.manifest.views.iter().filter(|view| view.is_copy()) {
        write_journal(views, view)?;
    }
    {
        let _lock = ManifestLock::wait(&views.state_dir)?;
        *views = Views::load(&views.state_dir)?;
        let is_meant = |view: &&mut ViewSpec| copies.iter().any(|copy| copy.id == view.id);
        views.manifest.views.iter_mut().filter(is_meant).for_each(|view| view.copy = None);
        views.save()?;
    }
    for view in views.manifest.views.iter().filter(|view| copies.iter().any(|copy| copy.id == view.id)) {
        drop_unchanged(views, view, &store, progress)?;
    }
    Ok(copies.len())
}

/// Step 2. The remains of an earlier try are removed.
fn write_journal(views: &Views, view: &ViewSpec) -> Result<(), ViewsError> {
    views.forget(view)?;
    let copied = CopiedView::open(views, view)?;
    let mut deleted = Vec::new();
    deleted_below(&copied, Path::new(""), &mut deleted)?;
    let mut times = BTreeMap::new();
    for dir in deleted.iter().filter_map(|at| at.parent()) {
        let at = copied.at(dir);
        times.insert(at.clone(), path::stat(&at)?);
    }
    let access = Access::open(views, &ViewSpec { copy: None, ..view.clone() })?;
    deleted.iter().try_for_each(|at| access.delete(at))?;
    drop(access);
    for (dir, stat) in times {
        stat.map_or(Ok(()), |stat| path::set_mtime(&dir, stat.mtime))?;
    }
    Ok(())
}

/// The names of the trees that the user deleted; a directory stands for all below it.
pub(super) fn deleted_below(copied: &CopiedView, dir: &Path, deleted: &mut Vec<PathBuf>) -> Result<(), ViewsError> {
    interrupt::check()?;
    for change in copied.changes(dir)? {
        let inside = path::child(dir, change.name.bytes());
        match change.kind {
            ChangeKind::Deleted => deleted.push(inside),
            ChangeKind::Below | ChangeKind::Modified if change.is_dir && copied.is_stored_dir(&inside) => {
                deleted_below(copied, &inside, deleted)?;
            }
            ChangeKind::Added | ChangeKind::Below | ChangeKind::Modified => {}
        }
    }
    Ok(())
}

/// Step 4. An interruption leaves private copies, which cost space alone.
fn drop_unchanged(views: &Views, view: &ViewSpec, store: &Store, progress: &dyn Progress) -> Result<(), ViewsError> {
    let lower = super::GraftedTrees::of(store, super::live(view))?;
    let access = Access::open(views, view)?;
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        for name in lower.names(&dir) {
            let inside = path::child(&dir, &name);
            let Some((tree, node)) = lower.find(&inside) else {
                todo.push(inside);
                continue;
            };
            let stat = tree.stat(node);
            match (stat.kind, tree.object(node)) {
                (FileType::Directory, _) if path::is_dir(&views.place(view).join(&inside)) => todo.push(inside),
                (_, Some(object)) => {
                    if interrupt::raised().is_some() || progress.is_cancelled() {
                        return Ok(());
                    }
                    access.give_up(&inside, &object, stat.perm)?;
                    progress.advance_file(stat.size);
                }
                _ => {}
            }
        }
    }
    access.told()
}
