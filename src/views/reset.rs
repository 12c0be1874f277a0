//! `depsfs reset`: drops the worktree's own changes at a path of a view, which then shows its lower again.
//!
//! | step (whole view)                       | a crash right after it leaves |
//! |-----------------------------------------|-------------------------------|
//! | 1. the view is unmounted                | everything as it was |
//! | 2. the upper is cleared                 | whiteouts, without the files that replaced them |
//! | 3. its state directory is removed       | the lower's content, unmounted |
//! | 4. it is mounted, if it was             | done |

use std::path::{Path, PathBuf};

use super::ViewsError;
use super::access::Access;
use super::copied;
use super::set::Views;
use super::thaw;
use crate::daemon::Released;
use crate::git::partly_tracked::{self, OwnPaths};
use crate::store::manifest::ViewSpec;
use crate::sys::path;
use crate::sys::terminal::DisplayName;

pub use super::renamed::kept_elsewhere;

/// Drops local changes. Mounts of a whole view in other mount namespaces return errors afterwards: the old overlay must
/// change nothing in the new one.
pub fn reset(views: &Views, view: &ViewSpec, inside: &Path) -> Result<Released, ViewsError> {
    let own = OwnPaths::default().below(&views.place(view))?;
    if !inside.as_os_str().is_empty() && partly_tracked::holds(&own, inside) {
        let why = format!("{} is the checkout's own file, not an artifact's", inside.shown());
        return Err(ViewsError::View { view: views.place(view), why, hint: "git restore brings back a tracked file" });
    }
    if view.is_copy() && inside.as_os_str().is_empty() {
        return copied::restore_all(views, view).map(|()| Released::Gone);
    }
    copied::refuse_detour(views, view)?;
    if views.is_whole() && inside.as_os_str().is_empty() && !views.is_dropped(view) {
        return one_of_all(views, view, &own);
    }
    if !inside.as_os_str().is_empty() && partly_tracked::has_below(&own, inside) && !view.is_copy() {
        return around(&Access::open(views, view)?, inside, &own).map(|()| Released::Gone);
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
    if !path::is_dir(&upper) {
        // A file, or a symlink: the directory that it leads to is another's.
        path::remove_tree(&upper)?;
    }
    path::make_dirs(&upper)?;
    empty_around(&upper, Path::new(""), &own)?;
    views.forget(view)?;
    if serves {
        views.mount()?;
    }
    Ok(released)
}

/// A view that is one of those which the mount of the whole worktree shows: its directory is the store's again, and those
/// above it are there.
fn one_of_all(views: &Views, view: &ViewSpec, own: &[PathBuf]) -> Result<Released, ViewsError> {
    let access = Access::open(views, view)?;
    if !own.is_empty() && access.is_there(Path::new(""))? {
        return around(&access, Path::new(""), own).map(|()| Released::Gone);
    }
    if !access.is_there(Path::new(""))? {
        access.disown_moved()?;
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

/// Drops the local changes below a directory, but not the paths in it that are the checkout's.
fn around(access: &Access, dir: &Path, own: &[PathBuf]) -> Result<(), ViewsError> {
    for change in access.changes(dir)? {
        let at = path::child(dir, change.name.bytes());
        if partly_tracked::holds(own, &at) {
            continue;
        }
        match partly_tracked::has_below(own, &at) {
            true => around(access, &at, own)?,
            false => access.reset(&at)?,
        }
    }
    Ok(())
}

/// Removes all that is in a directory of `top`, but not the paths that are the checkout's.
fn empty_around(top: &Path, dir: &Path, own: &[PathBuf]) -> Result<(), ViewsError> {
    if own.is_empty() {
        return Ok(path::empty_dir(top)?);
    }
    for entry in path::list(&top.join(dir))? {
        let at = path::child(dir, &entry.name);
        if partly_tracked::holds(own, &at) {
            continue;
        }
        match partly_tracked::has_below(own, &at) {
            true => empty_around(top, &at, own)?,
            false => path::remove_tree(&top.join(&at))?,
        }
    }
    Ok(())
}
