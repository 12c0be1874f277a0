//! A view that is plain files: its trees copied into the worktree, for machines that can't mount, and for those who
//! don't want to.
//!
//! The manifest names the trees as for a view, so `diff`, `reset` and `sync` compare with them, and gc keeps them. No
//! daemon and no journal belong to it.
//!
//! | step                                       | a crash right after it leaves                           |
//! |--------------------------------------------|---------------------------------------------------------|
//! | 1. the manifest names it, begun            | a directory without files, which [`complete`] completes |
//! | 2. the trees are copied (`plain_copy`)     | a part of them, which [`complete`] completes            |
//! | 3. the manifest names it, complete         | done                                                    |
//!
//! | file | contents |
//! |------|----------|
//! | `compare` | the differences between the files and the trees |
//! | `restore` | `depsfs reset` |
//! | `update` | `depsfs sync`: its trees are replaced by others |
//! | `to_views` | `depsfs mount`: it becomes a view, with the user's changes as its upper |

mod compare;
mod restore;
mod to_views;
mod update;

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::ViewsError;
use super::lower::{GraftedTrees, live};
use super::set::{ManifestLock, Views};
use crate::store::manifest::{CopyState, ViewSpec};
use crate::store::plain_copy::{self, CopyMode};
use crate::store::{Progress, Store};
use crate::sys::fs::{self, OpenFlags, Timespec};
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, path};

pub use compare::CopiedView;
pub use restore::restore_all;
pub use to_views::to_views;
pub use update::{CopyUpdate, begin_again};

/// Copies the views of the manifest that were begun, and notes that they are complete. `mode` is
/// [`CopyMode::Complete`] if an earlier copy may have left files.
///
/// # Errors
/// An object that the store has lost; a file that can't be written; an interruption. The next call goes on.
pub fn complete(views: &mut Views, store: &Store, mode: CopyMode, progress: &dyn Progress) -> Result<(), ViewsError> {
    let begun: Vec<ViewSpec> =
        views.manifest.views.iter().filter(|view| view.copy == Some(CopyState::Begun)).cloned().collect();
    if begun.is_empty() {
        return Ok(());
    }
    let mut bytes = 0;
    for view in &begun {
        bytes += GraftedTrees::of(store, live(view))?.0.iter().map(|(_, tree)| tree.content_bytes()).sum::<u64>();
    }
    progress.begin("copying", Some(bytes));
    let mut done = Vec::new();
    for view in &begun {
        done.push((view.id.clone(), copy_one(views, store, view, mode, progress)?));
    }
    let _lock = ManifestLock::wait(&views.state_dir)?;
    *views = Views::load(&views.state_dir)?;
    for (id, times) in done {
        let view = views.manifest.views.iter_mut().find(|v| v.id == id && v.copy == Some(CopyState::Begun));
        if let Some(view) = view {
            view.copy = Some(CopyState::Complete { since: times.0.into(), until: times.1.into() });
        }
    }
    views.save()
}

/// Copies the trees of one view, the last on top. Returns the times of the file system before and after.
fn copy_one(
    views: &Views,
    store: &Store,
    view: &ViewSpec,
    mode: CopyMode,
    progress: &dyn Progress,
) -> Result<(Timespec, Timespec), ViewsError> {
    let place = views.place(view);
    let since = time_after(&views.manifest.worktree)?;
    refuse_detour(views, view)?;
    path::make_dirs(&place)?;
    open_inside(views, &view.path)?;
    for (at, tree) in GraftedTrees::of(store, live(view))?.0.iter().rev() {
        let to = place.join(at);
        path::make_dirs(&to)?;
        let into = path::open_dir(&to)?;
        let top = (&**tree, crate::store::Node::ROOT);
        plain_copy::copy_tree(store, top, (&into, &to), (mode, &|_: &Path| false), progress)?;
    }
    Ok((since, time_after(&place)?))
}

/// Refuses a view whose directory lies below a symlink or a file: nothing is written or removed outside of the worktree.
pub(super) fn refuse_detour(views: &Views, view: &ViewSpec) -> Result<(), ViewsError> {
    for above in view.path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        if path::stat(&views.manifest.worktree.join(above))?.is_some_and(|stat| !stat.is_dir()) {
            let why = format!("{} is in its way", above.shown());
            return Err(ViewsError::View {
                view: views.place(view),
                why,
                hint: "move that file or symlink away, then run it again",
            });
        }
    }
    Ok(())
}

/// Opens a directory by its path in the worktree. No symlink is followed.
fn open_inside(views: &Views, inside: &Path) -> Result<OwnedFd, ViewsError> {
    let root = &views.manifest.worktree;
    let flags = OpenFlags::RDONLY | OpenFlags::DIRECTORY;
    let opened = fs::open_beneath(path::open_dir(root)?, inside.as_os_str().as_bytes(), flags);
    Ok(opened.map_err(IoError::of("open", &root.join(inside)))?)
}

/// The time of a change of a directory that is made now, as its file system has it; nothing of it changes but this time.
///
/// # Errors
/// The directory can't be opened or changed.
pub fn time_after(dir: &Path) -> Result<Timespec, ViewsError> {
    let fd = path::open_dir(dir)?;
    let change = || {
        fs::chmod(&fd, fs::stat(&fd)?.mode & 0o7777)?;
        Ok(fs::stat(&fd)?.ctime)
    };
    Ok(change().map_err(IoError::of("set the mode of", dir))?)
}
