//! Directories that the source has built and the worktree has nothing of become views of it.
//!
//! | step                                           | undone by          |
//! |------------------------------------------------|--------------------|
//! | 1. trees of the source's directories are made  | gc takes them      |
//! | 2. mount points, relocated files               | removing them      |
//! | 3. the manifest names the views; they are mounted | naming the old ones |

use std::path::{Path, PathBuf};

use super::{Synced, Takes, Task, fits};
use crate::store::manifest::ViewSpec;
use crate::sys::path;
use crate::worktree::create::{self, Created};
use crate::worktree::error::Error;
use crate::worktree::ignored::Ignored;
use crate::worktree::plan::Plan;
use crate::worktree::snapshot::{Snapshot, Snapshots};
use crate::worktree::submodule;
use crate::worktree::traces::{self, Record, Traced};
use crate::worktree::undo::Undo;
use crate::worktree::views::{self, Views};

/// Adds what is meant and fits; in a look only says it.
pub fn add(views: &mut Views, plan: &Plan, task: &Task<'_>, synced: &mut Synced) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for at in &plan.ignored.directories {
        let takes = (task.takes)(at);
        let is_apart = |v: &ViewSpec| !v.path.starts_with(at) && !at.starts_with(&v.path);
        if takes != Takes::No && views.manifest.views.iter().all(is_apart) && is_vacant(&task.target.root.join(at))? {
            fits(plan, task, at, takes, &mut wanted, synced)?;
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut undo = Undo::new(&plan.source, task.store);
    let fitting = fitting(plan, task, wanted, synced, &mut undo)?;
    if task.look || fitting.is_empty() {
        synced.added.extend(fitting);
        return Ok(());
    }
    views::refuse_too_many(fitting.len())?;
    let taken = Snapshots::start(plan, &fitting, task.store, task.progress.clone())?.wait()?;
    for at in &fitting {
        undo.make_dirs(&task.target.root.join(at))?;
    }
    let settled = traces::settle(task.store, &task.target.root, taken, &plan.policies, &mut undo)?;
    let excluded = settled.excluded.into_iter();
    synced.unfit.extend(excluded.map(|at| (at, "it holds the absolute path of the source")));
    let none = |at: &Path| Traced { path: at.into(), traces: Vec::new() };
    let traced = |s: &Snapshot| settled.record.of(&s.path).cloned().unwrap_or_else(|| none(&s.path));
    let traced = settled.snapshots.iter().map(traced).collect();
    synced.added.extend(settled.snapshots.iter().map(|s| s.path.clone()));
    show(views, settled.snapshots)?;
    undo.keep();
    Record::note(&views.state_dir, traced)
}

/// Nothing of the worktree's own is there.
fn is_vacant(place: &Path) -> Result<bool, Error> {
    Ok(!path::is_there(place) || (path::is_dir(place) && path::list(place)?.is_empty()))
}

/// What git ignores in the worktree, too, and where nothing is in the way.
fn fitting(
    plan: &Plan,
    task: &Task<'_>,
    wanted: Vec<PathBuf>,
    synced: &mut Synced,
    undo: &mut Undo<'_>,
) -> Result<Vec<PathBuf>, Error> {
    let modules = submodule::there(&plan.modules, task.target, Path::new(""))?;
    let ignored = Ignored { directories: wanted, files: Vec::new(), ..plan.ignored.clone() };
    let mut created = Created::default();
    let directories = create::fit(plan, &ignored, task.target, &modules, &mut created, undo)?.directories;
    synced.unfit.extend(created.unfit);
    Ok(directories)
}

fn show(views: &mut Views, snapshots: Vec<Snapshot>) -> Result<(), Error> {
    views.mount_changed(|manifest| {
        manifest.views.extend(snapshots.into_iter().map(Snapshot::into_view));
        manifest.views.sort_by(|a, b| a.path.cmp(&b.path));
    })
}
