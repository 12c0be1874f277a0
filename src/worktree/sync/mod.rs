//! `depsfs sync`: views of the source's artifacts show what the source has now; the worktree's own changes stay on top.
//!
//! A view is looked at when the lock files beside it are the same in the source as in the worktree: else what the source
//! has doesn't fit, and the view stays. Directories that the source has and the worktree doesn't become views ([`added`]).
//! Files that were relocated are relocated again ([`super::relocation`]).
//!
//! | step                                            | a crash right after it leaves |
//! |-------------------------------------------------|-------------------------------|
//! | 1. trees of the source's directories are made   | trees that gc takes |
//! | 2. unchanged copies of what changed are given up| the same as before, shared |
//! | 3. the manifest names the new trees             | what the next mount shows |
//! | 4. the daemon has compared                      | all but what is relocated: the next sync does that |
//! | 5. files are relocated                          | done |

mod added;
mod local_files;
mod swap;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::WorktreeError;
use super::plan::{self, CreatePlan};
use super::relocation::{self, EmbeddedPaths, ShownBy, Trace, Traced};
use super::snapshot::{Snapshot, Snapshots};
use crate::component::Components;
use crate::git::checkout::Checkout;
use crate::git::settings::AbsolutePaths;
use crate::store::manifest::{LockFile, ViewSpec};
use crate::store::{Progress, Store};
use crate::views::copied;
use crate::views::diff::{self, Difference};
use crate::views::embedded_paths;
use crate::views::lockfile;
use crate::views::set::Views;
use crate::worktree::unfit::UnfitReason;
use swap::{Swap, live};

/// The result of a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Views that show other trees now.
    pub changed: Vec<PathBuf>,
    /// Directories that became views, and files that were absent.
    pub added: Vec<PathBuf>,
    /// Views and files that stay as they are, or directories that don't become a view, and why.
    pub unfit: Vec<(PathBuf, UnfitReason)>,
    /// Own changes, relative to the worktree, over something that is newer now.
    pub hidden: Vec<(Difference, PathBuf)>,
}

/// Whether a view is the source's to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakePolicy {
    No,
    /// When the lock files beside it are the same, and it shows no artifact that has a name.
    IfFitting,
    Yes,
}

/// The target of a sync, and its options.
pub struct SyncTask<'a> {
    pub target: &'a Checkout,
    pub store: &'a Arc<Store>,
    /// The declared components, with their policies for absolute paths.
    pub components: &'a Components,
    pub takes: &'a dyn Fn(&Path) -> TakePolicy,
    /// Dry run: only reports changes.
    pub look: bool,
    pub progress: Arc<dyn Progress + Send + Sync>,
}

/// Brings what `takes` speaks for up to date with the source.
pub fn from_source(views: &mut Views, source: Checkout, task: &SyncTask<'_>) -> Result<Synced, WorktreeError> {
    let _share = task.store.share()?;
    // A dry run only hashes what is new, and writes nothing anywhere.
    let store = if task.look { Arc::new(task.store.dry()) } else { task.store.clone() };
    let (target, components, takes, look) = (task.target, task.components, task.takes, task.look);
    let task = &SyncTask { target, store: &store, components, takes, look, progress: task.progress.clone() };
    let plan = plan::of_existing(source, task.target, task.components, true, task.store.path())?;
    let mut synced = Synced::default();
    let mut wanted = Vec::new();
    for view in views.manifest.views.iter().filter(|v| v.upper.is_none() && !views.is_dropped(v)) {
        let takes = (task.takes)(&view.path);
        let is_meant = takes == TakePolicy::Yes || (takes == TakePolicy::IfFitting && is_of_source(view));
        if plan.ignored.directories.contains(&view.path) && is_meant {
            fits(&plan, task, &view.path, takes, &mut wanted, &mut synced)?;
        }
    }
    let taken = Snapshots::start(&plan, &wanted, task.store, task.progress.clone())?.wait()?;
    let closed = taken.iter().flat_map(|s| &s.closed);
    synced.unfit.extend(closed.map(|at| (at.clone(), UnfitReason::Unreadable)));
    let record = EmbeddedPaths::load(&views.state_dir)?;
    let mut swaps = BTreeMap::new();
    for snapshot in taken {
        let Some(view) = views.manifest.views.iter().find(|v| v.path == snapshot.path).cloned() else { continue };
        if live(&view).map(|g| (g.tree, &g.at)).eq(snapshot.grafts.iter().map(|g| (g.tree, &g.at))) {
            // A sync that was ended after step 4 has left files for this one.
            let is_changed = match task.look {
                true => would_relocate(views, &plan, task, &view, &snapshot, record.of(&view.path))?,
                false => relocate(views, &plan, task, &snapshot, record.of(&view.path))?,
            };
            if is_changed {
                synced.changed.push(view.path);
            }
            continue;
        }
        if plan.policies.of(&view.path) == AbsolutePaths::Exclude && !snapshot.traces.is_empty() {
            synced.unfit.push((view.path, UnfitReason::HoldsSourcePath));
            continue;
        }
        swaps.insert(view.id.clone(), Swap::of(task.store, view, snapshot)?);
    }
    if task.look {
        for swap in swaps.values() {
            synced.hidden.extend(would_hide(views, task, swap, record.of(&swap.view.path))?);
        }
    } else if !swaps.is_empty() {
        exchange(views, &plan, task, &mut swaps, &mut synced)?;
    }
    synced.changed.extend(swaps.into_values().map(|swap| swap.view.path));
    synced.changed.sort();
    added::add(views, &plan, task, &mut synced)?;
    local_files::tell(views, &plan, task, &mut synced);
    local_files::copy(&plan, task, &mut synced)?;
    Ok(synced)
}

/// The worktree's own paths that would hide newer ones of the source after the swap.
fn would_hide(
    views: &Views,
    task: &SyncTask<'_>,
    swap: &Swap,
    traced: Option<&Traced>,
) -> Result<Vec<(Difference, PathBuf)>, WorktreeError> {
    let relocated = match traced {
        Some(traced) => relocation::still_relocated(task.store, views, &swap.view, traced)?,
        None => Vec::new(),
    };
    let is_own = |path: &Path| !relocated.iter().any(|r| swap.view.path.join(&r.path) == path);
    let mut hidden = Vec::new();
    for (kind, path) in swap.hidden(views)?.into_iter().filter(|(_, path)| is_own(path)) {
        if !swap.gives_up(views, &path)? {
            hidden.push((kind, path));
        }
    }
    Ok(hidden)
}

/// Adds a directory to `wanted` if the source's artifacts in it fit the worktree; else it is reported as unfit.
fn fits(
    plan: &CreatePlan,
    task: &SyncTask<'_>,
    at: &Path,
    takes: TakePolicy,
    wanted: &mut Vec<PathBuf>,
    synced: &mut Synced,
) -> Result<(), WorktreeError> {
    let beside = |root: &Path| lockfile::beside(root, at);
    if takes == TakePolicy::Yes || beside(&plan.source.root)? == beside(&task.target.root)? {
        wanted.push(at.into());
    } else {
        synced.unfit.push((at.into(), UnfitReason::OtherLockFiles));
    }
    Ok(())
}

/// It shows a snapshot of the source, not artifacts that have a name.
fn is_of_source(view: &ViewSpec) -> bool {
    live(view).count() > 0 && live(view).all(|g| g.entry.is_none())
}

/// Steps 2 to 5.
fn exchange(
    views: &mut Views,
    plan: &CreatePlan,
    task: &SyncTask<'_>,
    swaps: &mut BTreeMap<String, Swap>,
    synced: &mut Synced,
) -> Result<(), WorktreeError> {
    let record = EmbeddedPaths::load(&views.state_dir)?;
    let mut copies = BTreeMap::new();
    for (id, swap) in swaps.iter() {
        match swap.begin_copy(views)? {
            Some(copy) => drop(copies.insert(id.clone(), copy)),
            None => swap.give_up(task.target, views)?,
        }
        if let Some(traced) = record.of(&swap.view.path) {
            relocation::give_up_relocated(task.store, views, &swap.view, traced)?;
        }
    }
    show(views, swaps, synced)?;
    for (_, copy) in copies.iter().filter(|(id, _)| swaps.contains_key(*id)) {
        copy.end(views, task.store, &*task.progress)?;
    }
    for swap in swaps.values() {
        synced.hidden.extend(swap.hidden(views)?);
        relocate(views, plan, task, &swap.snapshot, None)?;
    }
    Ok(())
}

/// Step 5 for a view that shows this snapshot, and what is remembered of it. `known`: what was remembered, if it showed the
/// same before. Whether a file was relocated.
fn relocate(
    views: &Views,
    plan: &CreatePlan,
    task: &SyncTask<'_>,
    snapshot: &Snapshot,
    known: Option<&Traced>,
) -> Result<bool, WorktreeError> {
    let mut traces = snapshot.traces.clone();
    let done: HashMap<&Path, &Trace> =
        known.iter().flat_map(|k| &k.traces).filter(|t| t.relocated).map(|t| (&*t.path, t)).collect();
    for trace in &mut traces {
        let known = done.get(&*trace.path);
        trace.relocated = known.is_some();
        trace.served = known.filter(|known| known.root == trace.root).and_then(|known| known.served.clone());
    }
    let is_wanted = plan.policies.of(&snapshot.path) == AbsolutePaths::Relocate;
    let is_copy = views.manifest.views.iter().any(|v| v.path == snapshot.path && v.is_copy());
    let shown_by = if is_copy { ShownBy::PlainFiles } else { ShownBy::View };
    let changed = is_wanted
        && relocation::relocate_shown(
            task.store,
            (&task.target.root, shown_by),
            (&snapshot.path, &snapshot.grafts),
            &mut traces,
        )?;
    relocation::note_effects(task.store, &snapshot.grafts, &mut traces)?;
    EmbeddedPaths::note(&views.state_dir, &task.target.root, vec![Traced { path: snapshot.path.clone(), traces }])?;
    if changed {
        embedded_paths::tell(views)?;
    }
    Ok(changed)
}

/// Whether [`relocate`] would change a file, by what the view has of its own.
fn would_relocate(
    views: &Views,
    plan: &CreatePlan,
    task: &SyncTask<'_>,
    view: &ViewSpec,
    snapshot: &Snapshot,
    known: Option<&Traced>,
) -> Result<bool, WorktreeError> {
    if plan.policies.of(&snapshot.path) != AbsolutePaths::Relocate || snapshot.traces.is_empty() {
        return Ok(false);
    }
    let done: HashSet<&Path> = known.iter().flat_map(|k| k.done()).collect();
    let own: HashSet<PathBuf> = diff::of_view(views, view, Path::new(""))?.into_iter().map(|(_, path)| path).collect();
    let is_stored = |at: &Path| view.path.join(at).ancestors().all(|above| !own.contains(above));
    let open = snapshot.traces.iter().filter(|trace| !done.contains(&*trace.path) && is_stored(&trace.path));
    relocation::can_relocate(task.store, &task.target.root, snapshot, open)
}

/// Step 3. A view whose grafts have changed since the comparison stays as it is: the swap would drop grafts that other
/// processes added. Such views are removed from `swaps`, and reported.
fn show(views: &mut Views, swaps: &mut BTreeMap<String, Swap>, synced: &mut Synced) -> Result<(), WorktreeError> {
    let mut shown = BTreeSet::new();
    views.mount_if(|views| {
        for n in 0..views.manifest.views.len() {
            let view = &views.manifest.views[n];
            let Some(swap) = swaps.get(&view.id).filter(|swap| live(view).eq(live(&swap.view))) else { continue };
            let grafts = views.grafts(view, swap.snapshot.grafts.clone())?;
            shown.insert(view.id.clone());
            let lockfile = |(path, blake3): &(PathBuf, String)| LockFile { path: path.clone(), blake3: blake3.clone() };
            let view = &mut views.manifest.views[n];
            view.lockfiles = swap.snapshot.lockfiles.iter().map(lockfile).collect();
            match view.is_copy() {
                true => copied::begin_again(view, swap.snapshot.grafts.clone()),
                false => view.grafts = grafts,
            }
        }
        Ok(())
    })?;
    let others = swaps.extract_if(.., |id, _| !shown.contains(id));
    synced.unfit.extend(others.map(|(_, swap)| (swap.view.path, UnfitReason::Replaced)));
    Ok(())
}
