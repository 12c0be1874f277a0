//! `depsfs create`: a sibling worktree with the source's artifact directories in it.
//!
//! | step                                        | undone by |
//! |---------------------------------------------|-----------|
//! | 1. everything is checked (`plan`)           | nothing was made |
//! | 2. the directory is made: who makes it owns the name | removing it, and the registration that names it |
//! | 3. the branch is made                       | deleting it |
//! | 4. `git worktree add`, beside the snapshot of the source | as 2 |
//! | 5. submodules, mount points, copied files, times | as 2 |
//! | 6. the manifest, and the store's root       | as 2; removing the root |
//! | 7. the views are mounted, or copied         | unmounting them; as 2 |
//!
//! A crash (`kill -9`) leaves what was made until then, and a record of it that was made first (`unfinished.rs`): the next
//! create of the name, `remove` and `doctor --fix` take it back.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use super::artifacts::resolve::ArtifactSources;
use super::artifacts::select;
use super::branch::BranchUse;
use super::copies;
use super::copy_checkout;
pub use super::created::{CopiedFile, Created};
use super::error::WorktreeError;
use super::fit::{copy_files, fit};
use super::manifest_builder;
use super::mtime;
use super::plan::CreatePlan;
use super::relocation::{self, EmbeddedPaths, ForeignPaths, ShownBy};
use super::snapshot::Snapshots;
use super::undo::Undo;
use super::unfinished::Unfinished;
use super::unfit::UnfitReason;
use crate::daemon::client;
use crate::git;
use crate::git::checkout::Checkout;
use crate::git::command::{Git, GitError, NewHead};
use crate::git::ignored::Ignored;
use crate::git::submodule;
use crate::store::manifest::{Manifest, Shape};
use crate::store::{Progress, Store, frame};
use crate::sys::interrupt::Interrupted;
use crate::sys::log::OrWarn;
use crate::sys::{interrupt, mount, path, spawn};
use crate::views;
use crate::views::lower::live;
use crate::views::probe;
use crate::views::set::{self, ManifestLock, Views};

/// How to make it.
#[derive(Clone, Copy, Debug)]
pub struct CreateOptions {
    pub mount: bool,
    /// Tracked files get the source's times.
    pub mtimes: bool,
    /// Other users may enter the views.
    pub allow_other: bool,
    /// How the views are mounted.
    pub shape: Shape,
    /// The artifacts become plain files, and no view is mounted.
    pub copy: bool,
}

impl CreateOptions {
    /// The same, with plain files instead of views.
    pub fn without_views(self) -> CreateOptions {
        CreateOptions { mount: false, allow_other: false, shape: Shape::Directories, copy: true, ..self }
    }

    /// How many mounts so many views are.
    pub fn mounts(&self, views: usize) -> usize {
        match self.shape {
            Shape::Directories => views,
            Shape::Worktree => views.min(1),
        }
    }
}

/// Carries a plan out. On an error everything made is taken back first.
pub fn create(
    plan: &CreatePlan,
    store: &Arc<Store>,
    how: CreateOptions,
    supply: &ArtifactSources<'_>,
    progress: Arc<dyn Progress + Send + Sync>,
) -> Result<Created, WorktreeError> {
    if how.mount {
        mount::is_possible().map_err(views::ViewsError::NoMounts)?;
        set::refuse_too_many(how.mounts(plan.ignored.directories.len()))?;
    }
    let record = Unfinished::begin(&plan.source, &plan.new_worktree(), store)?;
    // While this is held, gc leaves alone what the new manifest is about to name.
    let _share = store.share()?;
    let mut undo = Undo::new(&plan.source, store);
    match make(plan, store, how, supply, progress, &mut undo) {
        Ok(created) => {
            undo.keep();
            record.end()?;
            Ok(created)
        }
        Err(e) => {
            let source = match e {
                WorktreeError::Git(git::RepositoryError::Command(GitError::Interrupted(signal))) => {
                    WorktreeError::Interrupted(Interrupted(signal))
                }
                other => other,
            };
            // A create that lost the race for the path has made nothing.
            if matches!(source, WorktreeError::PathTaken(_)) {
                record.end()?;
                return Err(source);
            }
            let (log, left) = (undo.log(), undo.run());
            // If the undo is incomplete, the record stays: the next command that finds it completes the undo.
            if left.is_empty() {
                record.end()?;
            }
            Err(WorktreeError::Undone { source: Box::new(source), left, log })
        }
    }
}

fn make(
    plan: &CreatePlan,
    store: &Arc<Store>,
    how: CreateOptions,
    supply: &ArtifactSources<'_>,
    progress: Arc<dyn Progress + Send + Sync>,
    undo: &mut Undo<'_>,
) -> Result<Created, WorktreeError> {
    let at = &plan.names.path;
    if let Some(parent) = at.parent() {
        undo.make_dirs(parent)?;
    }
    if !path::make_dir(at)? {
        return Err(WorktreeError::PathTaken(at.clone()));
    }
    undo.directory(at);
    // The import runs beside git's work. If the create ends early, the import is stopped, with a short wait for its
    // end.
    let early = select::early(plan);
    let snapshots = Snapshots::start(plan, &early.directories, store, progress.clone())?;
    make_branch(plan, undo)?;
    let head = match plan.branch {
        BranchUse::Detached => NewHead::Detached(plan.commit.as_deref().unwrap_or("HEAD")),
        _ => NewHead::Branch(&plan.names.branch),
    };
    copy_checkout::add_worktree(&plan.source, &plan.settings, at, head, how.mtimes)?;
    let new = Checkout::at(at)?.ok_or_else(|| git::RepositoryError::NotACheckout(at.clone()))?;
    interrupt::check()?;
    if plan.components.is_empty() {
        return populate(plan, &plan.ignored, (store, &*progress), how, &new, &[&snapshots], undo);
    }
    submodule::initialise(&plan.modules, &new, Path::new(""), &mut |made| undo.submodule(made))?;
    let choice = select::choose(plan, &new, supply)?;
    let mut late = choice.ignored.directories.clone();
    let begun: HashSet<&PathBuf> = early.directories.iter().collect();
    late.retain(|at| !begun.contains(at));
    let more = Snapshots::start(plan, &late, store, progress.clone())?;
    let all = [&snapshots, &more];
    let mut created = populate(plan, &choice.ignored, (store, &*progress), how, &new, &all, undo)?;
    select::record(&choice.decisions).save(&new.state_dir())?;
    created.decisions = choice.decisions;
    Ok(created)
}

/// Steps 5 to 7, after git's checkout, for a new worktree and for an adopted one.
pub(super) fn populate(
    plan: &CreatePlan,
    ignored: &Ignored,
    (store, progress): (&Arc<Store>, &dyn Progress),
    how: CreateOptions,
    new: &Checkout,
    snapshots: &[&Snapshots],
    undo: &mut Undo<'_>,
) -> Result<Created, WorktreeError> {
    let created = furnish(plan, ignored, store, how, new, snapshots, undo)?;
    if how.copy {
        copies::make(store, new, &created, progress, undo)?;
    }
    // A view of the source may show an artifact, which holds the path of another checkout.
    let Some(views) = Views::of(new)? else { return Ok(created) };
    let of_artifacts = views.manifest.views.iter().filter(|view| live(view).any(|graft| graft.entry.is_some()));
    let of_artifacts: BTreeSet<PathBuf> = of_artifacts.map(|view| new.root.join(&view.path)).collect();
    ForeignPaths::of(store, new, &plan.components).in_views(&of_artifacts)?;
    Ok(created)
}

fn furnish(
    plan: &CreatePlan,
    ignored: &Ignored,
    store: &Arc<Store>,
    how: CreateOptions,
    new: &Checkout,
    snapshots: &[&Snapshots],
    undo: &mut Undo<'_>,
) -> Result<Created, WorktreeError> {
    let modules = submodule::initialise(&plan.modules, new, Path::new(""), &mut |made| undo.submodule(made))?;
    let mut created = Created { submodules: modules.len(), ..Created::default() };
    let fitting = fit(plan, ignored, new, &modules, &mut created, undo)?;
    // In one view of all, the store has the directories of the artifacts.
    for directory in fitting.directories.iter().filter(|_| how.shape == Shape::Directories) {
        undo.make_dirs(&new.root.join(directory))?;
    }
    created.copied.extend(copy_files(plan, new, &fitting.files, undo)?);
    interrupt::check()?;
    let timed = Timed::start(plan, new, &modules, how);
    let mut taken = Vec::new();
    for snapshots in snapshots {
        taken.extend(snapshots.wait()?);
    }
    interrupt::check()?;
    let fit_in: HashSet<&PathBuf> = fitting.directories.iter().collect();
    taken.retain(|s| fit_in.contains(&s.path));
    let closed = taken.iter().flat_map(|s| &s.closed);
    created.unfit.extend(closed.map(|at| (at.clone(), UnfitReason::Unreadable)));
    let shown_by = if how.copy { ShownBy::PlainFiles } else { ShownBy::View };
    let settled = relocation::settle(store, &new.root, taken, (&plan.policies, shown_by), undo)?;
    let excluded = settled.excluded.into_iter();
    created.unfit.extend(excluded.map(|at| (at, UnfitReason::HoldsSourcePath)));
    let mut manifest = manifest_builder::describe(plan, store, new, settled.snapshots, &mut created)?;
    manifest.allow_other = how.allow_other;
    manifest.set_shape(how.shape);
    save_manifest(&mut manifest, store, &new.state_dir(), how.copy, undo)?;
    let mut record = settled.record;
    record.join(EmbeddedPaths::load(&new.state_dir())?);
    record.save(&new.state_dir())?;
    created.traced = record.artifacts;
    let mut timed = Some(timed);
    if how.shape == Shape::Worktree || !ignored.partly_tracked.is_empty() {
        // Not through the view, nor while one is mounted over tracked files.
        created.timed = timed.take().map_or(Ok(0), Timed::wait)?;
    }
    if how.mount && !manifest.views.is_empty() {
        undo.views(&new.state_dir());
        set::all_mounted(client::mount(&new.state_dir())?)?;
        probe::wait(&manifest)?;
    }
    if let Some(timed) = timed {
        created.timed = timed.wait()?;
    }
    interrupt::check()?;
    created.worktree = new.root.clone();
    created.branch = plan.names.branch.clone();
    created.commit = plan.commit.clone().unwrap_or_default();
    Ok(created)
}

/// Step 6. The views of a manifest that is there already stay in it.
fn save_manifest(
    manifest: &mut Manifest,
    store: &Store,
    state_dir: &Path,
    copy: bool,
    undo: &mut Undo<'_>,
) -> Result<(), WorktreeError> {
    undo.state(state_dir)?;
    path::make_private_dirs(state_dir)?;
    let file = set::manifest_file(state_dir);
    let _lock = ManifestLock::wait(state_dir)?;
    if path::is_there(&file) {
        manifest_builder::join(manifest, Manifest::load(&file)?, copy);
    } else {
        manifest_builder::copy_all(manifest, copy);
        undo.root(&file);
    }
    frame::complete(store, manifest)?;
    store.roots().add(&file, &manifest.trees())?;
    Ok(manifest.save(&file)?)
}

fn make_branch(plan: &CreatePlan, undo: &mut Undo<'_>) -> Result<(), WorktreeError> {
    // By name where one was given, so that git sets up tracking as the user has configured it.
    let commit = plan.commit.as_deref().unwrap_or("HEAD");
    let base = if plan.base == "HEAD" { commit } else { &plan.base };
    // Deaf to signals: whether the branch was made, and by whom, must be known.
    let (git, branch) = (Git::deaf(&plan.source.root), &plan.names.branch);
    match &plan.branch {
        BranchUse::Existing | BranchUse::Detached => {}
        BranchUse::New(tracking) => {
            git.make_branch(branch, base, *tracking)?;
            undo.branch(branch);
        }
        BranchUse::Reset { from, tracking } => {
            git.move_branch(branch, base, *tracking)?;
            undo.moved_branch(branch, from);
        }
    }
    Ok(())
}

/// The times of tracked files, set on a thread of its own.
struct Timed {
    thread: Option<std::thread::JoinHandle<()>>,
    done: mpsc::Receiver<Result<usize, mtime::MtimeError>>,
}

impl Timed {
    fn start(
        plan: &CreatePlan,
        new: &Checkout,
        modules: &[(PathBuf, Checkout, Checkout)],
        how: CreateOptions,
    ) -> Timed {
        let (sender, done) = mpsc::channel();
        if !how.mtimes {
            return Timed { thread: None, done };
        }
        let mut pairs = vec![(plan.source.clone(), new.clone())];
        pairs.extend(modules.iter().map(|(_, source, new)| (source.clone(), new.clone())));
        let thread = spawn::detached(move || {
            // No thread receives it when the create has failed meanwhile.
            let times = pairs.iter().map(|(source, new)| mtime::take_over(source, new)).sum();
            sender.send(times).or_debug("the create has failed");
        });
        Timed { thread, done }
    }

    fn wait(self) -> Result<usize, WorktreeError> {
        // No sender: no times are wanted.
        Ok(self.done.recv().unwrap_or(Ok(0))?)
    }
}

impl Drop for Timed {
    /// A create that fails meanwhile takes the worktree back: not under the hands of this thread.
    fn drop(&mut self) {
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}
