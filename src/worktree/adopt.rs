//! `depsfs adopt`: gives an existing worktree of another tool the views and files of a `depsfs create`.
//!
//! Existing files stay: tracked files, submodules, single ignored files, and files in artifact directories, which
//! become part of the view's upper.
//!
//! | step                                                        | undone by |
//! |-------------------------------------------------------------|-----------|
//! | 1. everything is checked                                    | nothing was made |
//! | 2. the worktree's git directory is locked                   | the kernel |
//! | 3. submodules, mount points, copies, as in `create`       | removing those that were not there |
//! | 4. times of tracked files                                   | not: no content changes |
//! | 5. the manifest and the store's root; the views are mounted | unmounting them, removing both |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::create::{self, CreateOptions, Created};
use super::error::WorktreeError;
use super::plan::CreatePlan;
use super::snapshot::Snapshots;
use super::undo::Undo;
use super::unfinished::Killed;
use crate::git;
use crate::git::checkout::Checkout;
use crate::git::command::GitError;
use crate::git::submodule;
use crate::store::{Progress, Store};
use crate::sys::interrupt::Interrupted;
use crate::sys::lock::Lock;
use crate::sys::{IoError, fs, mount, path};
use crate::views;
use crate::views::set::{self, Views};

/// The limit for counting a worktree's own files in an artifact directory.
pub const COUNTED: usize = 10_000;

/// The checkout a worktree takes its artifacts from: the one given, else the main worktree of its repository.
pub fn source_of(target: &Checkout, given: Option<&Path>) -> Result<Checkout, WorktreeError> {
    let source = match given {
        Some(at) => {
            Checkout::containing(at)?.ok_or_else(|| git::RepositoryError::NotACheckout(at.into()))?.outermost()?
        }
        None => target.main()?.ok_or_else(|| WorktreeError::NoSource(target.root.clone()))?,
    };
    if source.common_dir != target.common_dir {
        return Err(WorktreeError::OtherRepository { worktree: target.root.clone(), source_checkout: source.root });
    }
    if source.root == target.root {
        return Err(WorktreeError::IsSource(source.root));
    }
    if !target.is_linked() {
        return Err(WorktreeError::IsMain(target.root.clone()));
    }
    Ok(source)
}

/// The views of a worktree. Refused if the requested source is not theirs.
pub fn present(target: &Checkout, source: &Checkout, asked: bool) -> Result<Option<Views>, WorktreeError> {
    // Completes git's part of a create that was killed.
    if let Some(killed) = Killed::at(&target.common_dir, &target.root)? {
        killed.complete(target)?;
    }
    let Some(views) = Views::of(target)?.filter(|v| !v.manifest.views.is_empty()) else { return Ok(None) };
    if asked && views.manifest.source.as_ref() != Some(&source.root) {
        return Err(WorktreeError::HasViews { worktree: target.root.clone(), of: views.manifest.source });
    }
    Ok(Some(views))
}

/// Held while a worktree is adopted: a second adopt waits, and then finds the views.
pub fn lock(target: &Checkout) -> Result<Lock, WorktreeError> {
    // The directory itself is the lock's file: nothing has to be made for it.
    let git_dir = path::open_dir(&target.git_dir)?;
    Ok(Lock::exclusive(git_dir).map_err(IoError::of("lock", &target.git_dir))?)
}

/// Gives the planned worktree its views. On an error everything made is taken back first.
pub fn adopt(
    plan: &CreatePlan,
    target: &Checkout,
    store: &Arc<Store>,
    how: CreateOptions,
    progress: Arc<dyn Progress + Send + Sync>,
) -> Result<Created, WorktreeError> {
    if how.mount {
        mount::is_possible().map_err(views::ViewsError::NoMounts)?;
        set::refuse_too_many(how.mounts(plan.ignored.directories.len()))?;
    }
    submodule::check_names(&plan.modules, target)?;
    let _share = store.share()?;
    let mut kept = own_files(plan, target)?;
    let mut undo = Undo::new(&plan.source, store);
    let snapshots = Snapshots::start(plan, &plan.ignored.directories, store, progress.clone())?;
    match create::populate(plan, &plan.ignored, (store, &*progress), how, target, &[&snapshots], &mut undo) {
        Ok(mut created) => {
            undo.keep();
            kept.retain(|(at, _)| created.views.contains(at));
            created.kept = kept;
            Ok(created)
        }
        Err(e) => {
            let source = match e {
                WorktreeError::Git(git::RepositoryError::Command(GitError::Interrupted(signal))) => {
                    WorktreeError::Interrupted(Interrupted(signal))
                }
                other => other,
            };
            drop(snapshots);
            let (log, left) = (undo.log(), undo.run());
            Err(WorktreeError::Undone { source: Box::new(source), left, log })
        }
    }
}

/// The planned directories that hold files already, and how many.
fn own_files(plan: &CreatePlan, target: &Checkout) -> Result<Vec<(PathBuf, usize)>, WorktreeError> {
    let mut found = Vec::new();
    for at in &plan.ignored.directories {
        let count = count_files(&target.root.join(at))?;
        if count > 0 {
            found.push((at.clone(), count));
        }
    }
    Ok(found)
}

/// How many files and links are below a directory; no more than [`COUNTED`] are looked for.
fn count_files(top: &Path) -> Result<usize, WorktreeError> {
    let (mut count, mut todo) = (0, if path::is_dir(top) { vec![top.to_path_buf()] } else { vec![] });
    while let Some(dir) = todo.pop().filter(|_| count < COUNTED) {
        for entry in path::list(&dir)? {
            match entry.kind {
                fs::FileType::Directory => todo.push(path::child(&dir, &entry.name)),
                _ => count += 1,
            }
        }
    }
    Ok(count.min(COUNTED))
}
