//! `depsfs reset`: drops the worktree's own changes at a path of a view, which then shows its lower again.
//!
//! | step (whole view)                       | a crash right after it leaves |
//! |-----------------------------------------|-------------------------------|
//! | 1. the view is unmounted                | everything as it was |
//! | 2. the upper is cleared                 | whiteouts, without the files that replaced them |
//! | 3. its state directory is removed       | the lower's content, unmounted |
//! | 4. it is mounted, if it was             | done |

use std::path::Path;

use super::ViewsError;
use super::access::Access;
use super::copied;
use super::set::Views;
use super::thaw;
use crate::daemon::Released;
use crate::store::manifest::ViewSpec;
use crate::sys::path;

/// Drops local changes. Mounts of a whole view in other mount namespaces return errors afterwards: the old overlay must
/// change nothing in the new one.
pub fn reset(views: &Views, view: &ViewSpec, inside: &Path) -> Result<Released, ViewsError> {
    if view.is_copy() && inside.as_os_str().is_empty() {
        return copied::restore_all(views, view).map(|()| Released::Gone);
    }
    if views.is_whole() && inside.as_os_str().is_empty() && !views.is_dropped(view) {
        return one_of_all(views, view);
    }
    if !inside.as_os_str().is_empty() {
        return Access::open(views, view)?.reset(inside).map(|()| Released::Gone);
    }
    if views.is_whole() {
        // Nothing is left of the worktree but its directory.
        path::remove_file(&views.view_dir(view).join("dropped"))?;
        return views.mount().map(|()| Released::Gone);
    }
    // A dropped view is mounted again, also if its daemon ended with the last view.
    let serves = views.state().is_some() || views.is_dropped(view);
    let released = thaw::release(views, view)?;
    let upper = views.upper(view);
    path::make_dirs(&upper)?;
    path::empty_dir(&upper)?;
    views.forget(view)?;
    if serves {
        views.mount()?;
    }
    Ok(released)
}

/// A view that is one of those which the mount of the whole worktree shows: its directory is the store's again, and those
/// above it are there.
fn one_of_all(views: &Views, view: &ViewSpec) -> Result<Released, ViewsError> {
    let access = Access::open(views, view)?;
    if !access.is_there(Path::new(""))? {
        for graft in view.grafts.iter().filter(|graft| !graft.retired) {
            access.uncover(graft.tree)?;
        }
    }
    access.reset(Path::new(""))?;
    // The kernel goes on with a deleted directory as long as it is open.
    if !access.is_there(Path::new(""))? {
        let why = "it was deleted, and a program still has it open or stands in it".into();
        return Err(ViewsError::View { view: views.place(view), why, hint: "end that program, then run it again" });
    }
    Ok(Released::Gone)
}
