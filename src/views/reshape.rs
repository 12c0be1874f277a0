//! `depsfs mount --view`: the views of a worktree are mounted as one, or one by one, from now on, with all that the
//! worktree changed in them.
//!
//! | step                                              | a crash right after it leaves                       |
//! |---------------------------------------------------|-----------------------------------------------------|
//! | 1. the views are unmounted                        | everything as it was                                |
//! | 2. the journals of the new shape are written      | the same, and journals that nothing names           |
//! | 3. the manifest names the other shape             | the new shape, and the old journals, without a name |
//! | 4. the old journals are removed                   | done                                                |

use std::path::Path;
use std::sync::Arc;

use super::ViewsError;
use super::access::Access;
use super::set::{ManifestLock, Views};
use crate::overlay::{IN_UPPER, JournalContent, JournalPart};
use crate::store::manifest::{Shape, WHOLE};
use crate::store::{Store, Tree, frame};
use crate::sys::path;

/// Has the views mounted in another shape from the next mount on. Whether anything had to be done.
///
/// # Errors
/// Views in use; views that can't be of that shape ([`refuse_whole`]).
pub fn reshape(views: &mut Views, shape: Shape) -> Result<bool, ViewsError> {
    if views.manifest.shape == shape {
        return Ok(false);
    }
    match shape {
        Shape::Worktree => refuse_whole(&views.state_dir, &views.manifest.worktree)?,
        Shape::Directories => refuse_nested(views)?,
    }
    views.unmount(false)?;
    let store = Store::existing(&views.manifest.store)?;
    // gc sees the new frames when the manifest names them.
    let _share = store.share()?;
    let _lock = ManifestLock::wait(&views.state_dir)?;
    *views = Views::load(&views.state_dir)?;
    let before = views.clone();
    match shape {
        Shape::Worktree => as_one(views, &store)?,
        Shape::Directories => one_by_one(views, &store)?,
    }
    views.save()?;
    for view in before.manifest.views.iter().take(if before.is_whole() { 1 } else { usize::MAX }) {
        before.forget(view)?;
    }
    Ok(true)
}

/// One view of a whole worktree needs its state outside: requests of the daemon to itself would wait for ever.
///
/// # Errors
/// A main checkout, or another whose git directory lies in it.
pub fn refuse_whole(state_dir: &Path, worktree: &Path) -> Result<(), ViewsError> {
    if state_dir.starts_with(worktree) {
        let why = "its git directory, with the state of its views, lies in it".into();
        let hint = "linked worktrees alone can be one view: git worktree add, then depsfs adopt";
        return Err(ViewsError::View { view: worktree.into(), why, hint });
    }
    Ok(())
}

fn refuse_nested(views: &Views) -> Result<(), ViewsError> {
    let all = &views.manifest.views;
    let is_in = |inner: &Path| all.iter().any(|outer| inner != outer.path && inner.starts_with(&outer.path));
    match all.iter().find(|view| is_in(&view.path)) {
        None => Ok(()),
        Some(inner) => {
            let why = "it lies in another artifact, so it can't be a mount of its own".into();
            let hint = "depsfs thaw makes it plain files, then run it again";
            Err(ViewsError::View { view: inner.path.clone(), why, hint })
        }
    }
}

fn as_one(views: &mut Views, store: &Store) -> Result<(), ViewsError> {
    let mut parts = Vec::new();
    for view in &views.manifest.views {
        let content = if views.is_dropped(view) { None } else { Some(content(views, view.path.as_path(), false)?) };
        parts.push(JournalPart { at: view.path.clone(), content });
    }
    views.manifest.set_shape(Shape::Worktree);
    frame::complete(store, &mut views.manifest)?;
    let worktree = views.manifest.worktree.clone();
    let content = JournalContent::of_all(&frames(views, store)?, parts);
    write(content, &worktree, &views.state_dir.join("views").join(WHOLE))
}

fn one_by_one(views: &mut Views, store: &Store) -> Result<(), ViewsError> {
    let Some(first) = views.manifest.views.first() else {
        views.manifest.set_shape(Shape::Directories);
        return Ok(());
    };
    let all = content(views, &first.path, true)?;
    let frames = frames(views, store)?;
    views.manifest.set_shape(Shape::Directories);
    for view in &views.manifest.views {
        let (place, dir) = (views.place(view), views.view_dir(view));
        match all.of_part(&frames, &view.path) {
            Some(content) => {
                path::make_dirs(&place)?;
                write(content, &place, &dir)?;
            }
            None => {
                path::make_private_dirs(&dir)?;
                path::replace(&dir.join("dropped"), b"")?;
            }
        }
    }
    Ok(())
}

/// The content of the journal of the mount that shows a view. With `alone`, nothing is moved in it any more.
fn content(views: &Views, view: &Path, alone: bool) -> Result<JournalContent, ViewsError> {
    let spec = views.manifest.views.iter().find(|v| v.path == view);
    let spec = spec.ok_or_else(|| ViewsError::NotInView(view.into()))?;
    match Access::open(views, spec)? {
        Access::Direct { overlay, .. } => {
            if alone {
                overlay.thaw_moved()?;
            }
            Ok(overlay.journal_content())
        }
        Access::Mounted { root, .. } => Err(ViewsError::MountedElsewhere(root)),
        Access::Copied(_) => Err(ViewsError::MountedElsewhere(views.place(spec))),
    }
}

fn frames(views: &Views, store: &Store) -> Result<Vec<Arc<Tree>>, ViewsError> {
    Ok(views.manifest.directories.iter().map(|id| store.tree(*id)).collect::<Result<_, _>>()?)
}

/// Replaces the remains of an earlier try.
fn write(content: JournalContent, upper: &Path, state_dir: &Path) -> Result<(), ViewsError> {
    path::remove_tree(state_dir)?;
    path::remove_tree(&upper.join(IN_UPPER))?;
    path::make_private_dirs(state_dir)?;
    Ok(content.write(&path::open_dir(upper)?, state_dir)?)
}
