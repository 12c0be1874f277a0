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
use super::set::Views;
use super::thaw;
use crate::daemon::Released;
use crate::store::manifest::ViewSpec;
use crate::sys::path;

/// Drops local changes. Mounts of a whole view in other mount namespaces return errors afterwards: the old overlay must
/// change nothing in the new one.
pub fn reset(views: &Views, view: &ViewSpec, inside: &Path) -> Result<Released, ViewsError> {
    if !inside.as_os_str().is_empty() {
        return Access::open(views, view)?.reset(inside).map(|()| Released::Gone);
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
