//! Directories that the source has built and the worktree has nothing of become views of it.
//!
//! | step                                           | undone by          |
//! |------------------------------------------------|--------------------|
//! | 1. trees of the source's directories are made  | gc takes them      |
//! | 2. mount points, relocated files               | removing them      |
//! | 3. the manifest names the views; they are mounted | naming the old ones |

use std::path::{Path, PathBuf};

use super::{SyncTask, Synced, TakePolicy, fits};
use crate::daemon::client;
use crate::git::ignored::Ignored;
use crate::git::partly_tracked::{self, OwnPaths};
use crate::git::settings::AbsolutePaths;
use crate::git::submodule;
use crate::store::manifest::{CopyState, ViewSpec};
use crate::store::plain_copy::CopyMode;
use crate::sys::log::OrWarn;
use crate::sys::path;
use crate::views::copied;
use crate::views::embedded_paths;
use crate::views::set::{self, ManifestLock, Views};
use crate::worktree::error::WorktreeError;
use crate::worktree::fit;
use crate::worktree::plan::CreatePlan;
use crate::worktree::relocation::{self, EmbeddedPaths, ShownBy, Traced};
use crate::worktree::snapshot::{Snapshot, Snapshots};
use crate::worktree::undo::Undo;
use crate::worktree::unfit::UnfitReason;

/// Adds requested directories that fit; a dry run only reports them.
pub fn add(
    views: &mut Views,
    plan: &CreatePlan,
    task: &SyncTask<'_>,
    synced: &mut Synced,
) -> Result<(), WorktreeError> {
    let (mut wanted, own) = (Vec::new(), OwnPaths::default());
    for at in &plan.ignored.directories {
        let takes = (task.takes)(at);
        let is_free = views.manifest.views.iter().all(|v| is_apart(&v.path, at));
        if takes != TakePolicy::No && is_free && is_vacant(&own, &task.target.root.join(at))? {
            fits(plan, task, at, takes, &mut wanted, synced)?;
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let fitting = fitting(plan, task, wanted, synced)?;
    if fitting.is_empty() {
        return Ok(());
    }
    if !views.is_whole() && !views.manifest.is_copy() {
        set::refuse_too_many(fitting.len())?;
    }
    let taken = Snapshots::start(plan, &fitting, task.store, task.progress.clone())?.wait()?;
    let closed = taken.iter().flat_map(|s| &s.closed);
    synced.unfit.extend(closed.map(|at| (at.clone(), UnfitReason::Unreadable)));
    if task.look {
        let is_out = |s: &Snapshot| !s.traces.is_empty() && plan.policies.of(&s.path) == AbsolutePaths::Exclude;
        let (out, added): (Vec<_>, Vec<_>) = taken.into_iter().partition(is_out);
        synced.unfit.extend(out.into_iter().map(|s| (s.path, UnfitReason::HoldsSourcePath)));
        synced.added.extend(added.into_iter().map(|s| s.path));
        return Ok(());
    }
    let mut undo = Undo::new(&plan.source, task.store);
    for at in fitting.iter().filter(|_| !views.is_whole()) {
        undo.make_dirs(&task.target.root.join(at))?;
    }
    let shown_by = if views.manifest.is_copy() { ShownBy::PlainFiles } else { ShownBy::View };
    let settled = relocation::settle(task.store, &task.target.root, taken, (&plan.policies, shown_by), &mut undo)?;
    let excluded = settled.excluded.into_iter();
    synced.unfit.extend(excluded.map(|at| (at, UnfitReason::HoldsSourcePath)));
    let none = |at: &Path| Traced { path: at.into(), traces: Vec::new() };
    let traced = |s: &Snapshot| settled.record.of(&s.path).cloned().unwrap_or_else(|| none(&s.path));
    let traced = settled.snapshots.iter().map(traced).collect();
    synced.added.extend(settled.snapshots.iter().map(|s| s.path.clone()));
    show(views, settled.snapshots)?;
    undo.keep();
    copied::complete(views, task.store, CopyMode::New, &*task.progress)?;
    EmbeddedPaths::note(&views.state_dir, &task.target.root, traced)?;
    Ok(embedded_paths::tell(views)?)
}

fn is_apart(a: &Path, b: &Path) -> bool {
    !a.starts_with(b) && !b.starts_with(a)
}

/// Nothing of the worktree's own is there, tracked files apart.
fn is_vacant(own: &OwnPaths, place: &Path) -> Result<bool, WorktreeError> {
    if !path::is_dir(place) {
        return Ok(!path::is_there(place));
    }
    let names = path::list(place)?;
    if names.is_empty() {
        return Ok(true);
    }
    let own = own.below(place)?;
    Ok(names.iter().all(|entry| partly_tracked::has_below(&own, &path::child(Path::new(""), &entry.name))))
}

/// The directories that git also ignores in the worktree, and that nothing is in the way of.
fn fitting(
    plan: &CreatePlan,
    task: &SyncTask<'_>,
    wanted: Vec<PathBuf>,
    synced: &mut Synced,
) -> Result<Vec<PathBuf>, WorktreeError> {
    let modules = submodule::there(&plan.modules, task.target, Path::new(""))?;
    let ignored = Ignored { directories: wanted, files: Vec::new(), ..plan.ignored.clone() };
    let (fitting, unfit) = fit::look(plan, &ignored, task.target, &modules)?;
    synced.unfit.extend(unfit);
    Ok(fitting.directories)
}

/// Mounts the new views. On an error they are removed from the manifest and unmounted.
fn show(views: &mut Views, snapshots: Vec<Snapshot>) -> Result<(), WorktreeError> {
    // Beside copies alone, they are copies, too.
    let copy = views.manifest.is_copy().then_some(CopyState::Begun);
    let view = |snapshot: Snapshot| ViewSpec { copy, ..snapshot.into_view() };
    let new: Vec<ViewSpec> = snapshots.into_iter().map(view).collect();
    let mut is_refused = false;
    let done = views.mount_if(|views| {
        let there = &mut views.manifest.views;
        let is_taken = |view: &&ViewSpec| !there.iter().all(|v| is_apart(&v.path, &view.path));
        if let Some(taken) = new.iter().find(is_taken) {
            is_refused = true;
            let why = "another view was made there meanwhile".into();
            let hint = "depsfs status lists the views; run it again";
            return Err(crate::views::ViewsError::View { view: taken.path.clone(), why, hint });
        }
        there.extend(new.iter().cloned());
        there.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    });
    if done.is_err() && !is_refused {
        take_out(views, &new)?;
    }
    Ok(done?)
}

/// Removes the new views. Grafts that other processes added to them meanwhile stay.
fn take_out(views: &mut Views, new: &[ViewSpec]) -> Result<(), WorktreeError> {
    {
        let _lock = ManifestLock::wait(&views.state_dir)?;
        *views = Views::load(&views.state_dir)?;
        for view in &mut views.manifest.views {
            let Some(ours) = new.iter().find(|ours| ours.id == view.id) else { continue };
            view.grafts.retain(|graft| !ours.grafts.contains(graft));
        }
        views.manifest.views.retain(|v| !v.grafts.is_empty() || new.iter().all(|ours| ours.id != v.id));
        views.save()?;
    }
    // Failures of other views are logged, and are no error of this sync.
    client::mount(&views.state_dir).or_warn("other views of the worktree are not mounted");
    Ok(())
}
