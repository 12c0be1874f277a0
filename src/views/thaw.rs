//! `depsfs thaw`: a path of a view becomes plain files of the worktree; a whole view needs no daemon from then on.
//! A whole view that a program uses is refused: before anything is changed if the kernel reports the use (to root),
//! else after step 1.
//!
//! In one view of the whole worktree, a view that is one of several is thawed while it is mounted: instead of step 2 the
//! server shows the others alone.
//!
//! | step (whole view)                  | a crash right after it leaves |
//! |------------------------------------|-------------------------------|
//! | 1. every node is thawed, bottom up | a view with private copies: what it shows is the same |
//! | 2. the view is unmounted           | the next mount shows the same |
//! | 3. the manifest forgets it         | a plain directory; an orphaned state directory |
//! | 4. what is kept for it is removed  | nothing |

use std::path::Path;

use super::ViewsError;
use super::access::Access;
use super::set::{ManifestLock, Views};
use crate::daemon::{DaemonError, Released, client};
use crate::store::manifest::ViewSpec;
use crate::store::{Store, StoreError};
use crate::sys::path;

/// Refuses a path that the view doesn't show.
pub fn check(views: &Views, view: &ViewSpec, inside: &Path) -> Result<(), ViewsError> {
    let at = views.place(view).join(inside);
    let is_there = match inside.as_os_str().is_empty() {
        true => true,
        false if views.is_dropped(view) => path::stat(&at)?.is_some(),
        false => Access::open(views, view)?.is_there(inside)?,
    };
    if is_there { Ok(()) } else { Err(ViewsError::Absent(at)) }
}

/// Thaws what `inside` names in one view; calls `step` for each node. Answers what became of the
/// view, if the whole of it became plain.
pub fn thaw(
    views: &mut Views,
    view: &ViewSpec,
    inside: &Path,
    step: &mut dyn FnMut(),
) -> Result<Option<Released>, ViewsError> {
    let is_whole = inside.as_os_str().is_empty();
    let ends_mount = is_last_of_mount(views);
    if is_whole && ends_mount {
        views.refuse_busy(view)?;
    }
    if !views.is_dropped(view) {
        let access = Access::open(views, view)?;
        let is_dir = access.is_dir(inside)?;
        each_node(&access, inside, is_dir, &mut |at| {
            access.thaw(at)?;
            step();
            Ok(())
        })?;
    }
    if !is_whole {
        return Ok(None);
    }
    let released = if ends_mount { release(views, view)? } else { Released::Gone };
    let file = super::set::manifest_file(&views.state_dir);
    {
        let _lock = ManifestLock::wait(&views.state_dir)?;
        *views = Views::load(&views.state_dir)?;
        views.manifest.views.retain(|v| v.id != view.id);
        views.save()?;
    }
    if ends_mount {
        views.forget(view)?;
    }
    if views.manifest.views.is_empty() {
        views.unmount(false)?;
        match Store::existing(&views.manifest.store) {
            // A store that is gone keeps nothing for it.
            Err(StoreError::Gone { .. }) => {}
            store => store?.roots().remove(&file)?,
        }
    } else if views.state().is_some() {
        views.mount()?;
    }
    Ok(Some(released))
}

/// The number of nodes that [`thaw`] would make plain; nothing is changed.
///
/// # Errors
/// The view is in use, as far as this user may know; it can't be read.
pub fn would(views: &Views, view: &ViewSpec, inside: &Path) -> Result<u64, ViewsError> {
    if inside.as_os_str().is_empty() && is_last_of_mount(views) {
        views.refuse_busy(view)?;
    }
    if views.is_dropped(view) {
        return Ok(0);
    }
    let access = Access::open(views, view)?;
    let is_dir = access.is_dir(inside)?;
    let mut nodes = 0;
    each_node(&access, inside, is_dir, &mut |_| {
        nodes += 1;
        Ok(())
    })?;
    Ok(nodes)
}

/// Unmounts one view; the error names a program that uses it. Copies in other mount namespaces are not waited for.
pub fn release(views: &Views, view: &ViewSpec) -> Result<Released, ViewsError> {
    match client::unmount_view(&views.state_dir, views.manifest.mount_id(view), false) {
        Err(DaemonError::Busy { paths, .. }) => Err(ViewsError::Busy { view: views.mount_place(view), by: paths }),
        released => Ok(released?),
    }
}

/// Whether the mount that shows a view shows no other one.
fn is_last_of_mount(views: &Views) -> bool {
    !views.is_whole() || views.manifest.views.len() == 1
}

/// Calls `each` for every node, those in a directory before the directory.
fn each_node(
    access: &Access,
    at: &Path,
    is_dir: bool,
    each: &mut dyn FnMut(&Path) -> Result<(), ViewsError>,
) -> Result<(), ViewsError> {
    if is_dir {
        for (name, is_dir) in access.list(at)? {
            each_node(access, &path::child(at, &name), is_dir, each)?;
        }
    }
    each(at)
}
