//! `depsfs remove`: takes a worktree away, and refuses to lose work that exists nowhere else.
//!
//! | would be lost                                        | flag that accepts it |
//! |------------------------------------------------------|----------------------|
//! | changes of tracked files, a merge or rebase in progress | `--discard-changes` |
//! | untracked files                                      | `--discard-untracked` |
//! | commits no branch, tag or remote has: of a detached HEAD, of a submodule's clone, of the branch with `--delete-branch` | `--discard-commits` |
//!
//! Ignored files don't block, in a view or beside it: every used worktree has some, so a flag for them would always be
//! typed and protect nothing. The changes in views are counted and reported.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::broken::Broken;
use super::error::{Risk, WorktreeError};
use super::find;
use super::relocation;
use super::sole_holder;
use super::unfinished::{Killed, UndoOutcome};
use crate::daemon::Released;
use crate::git::checkout::Checkout;
use crate::git::command::Git;
use crate::git::submodule;
use crate::store::{Store, StoreError};
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::views::diff::Differences;
use crate::views::set::Views;

/// The losses that the user accepts, and other options.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accept {
    pub changes: bool,
    pub untracked: bool,
    pub commits: bool,
    pub delete_branch: bool,
    /// Detach views that are in use.
    pub lazy: bool,
    /// Only look: nothing is removed.
    pub dry_run: bool,
}

impl Accept {
    fn accepts(&self, risk: &Risk) -> bool {
        match risk {
            Risk::Changes(_) | Risk::Operation(_) => self.changes,
            Risk::Untracked(_) => self.untracked,
            Risk::Commits { .. } => self.commits,
        }
    }
}

/// The result of a remove.
#[derive(Debug, Default)]
pub struct Removed {
    pub worktree: PathBuf,
    pub branch_deleted: Option<String>,
    /// The number of paths in the uppers of its views.
    pub private_paths: usize,
    /// The outcome of unmounting its views, if they were to be unused.
    pub released: Option<Released>,
}

/// A worktree to be removed.
pub enum RemoveTarget {
    Whole(Checkout),
    Broken(Broken),
}

/// The worktree a user means by the path of its top, its name or its branch, whether git can use it or not.
///
/// # Errors
/// No worktree has that name, or several have; the main checkout has it.
pub fn target(from: &Checkout, name: &Path) -> Result<RemoveTarget, WorktreeError> {
    let as_path = path::absolute(name)?;
    let as_path = path::canonical(&as_path).unwrap_or(as_path);
    let as_path = crate::git::checkout::plain(&as_path);
    let by_path = find::all(from)?.into_iter().find(|worktree| worktree.root == as_path);
    let mut readings = if find::is_path_only(name) { vec![] } else { find::readings(from, name.as_os_str())? };
    let found = match by_path {
        None if readings.is_empty() && !find::is_path_only(name) => {
            find::only(name.as_os_str(), find::by_last_part(from, name.as_os_str())?)?
        }
        None => find::only(name.as_os_str(), readings)?,
        Some(worktree) => {
            readings.retain(|reading| reading.worktree != worktree);
            if !readings.is_empty() {
                let path = format!("the path {}", as_path.shown());
                let words = std::iter::once(path).chain(readings.iter().map(find::NameReading::words));
                return Err(find::ambiguous(name.as_os_str(), words));
            }
            Some(worktree)
        }
    };
    let found = found.ok_or_else(|| WorktreeError::NoWorktree(name.into()))?;
    if found.is_main {
        return Err(WorktreeError::IsMain(found.root));
    }
    match found.broken(from)? {
        Some(broken) => Ok(RemoveTarget::Broken(broken)),
        None => Ok(RemoveTarget::Whole(found.whole(from)?)),
    }
}

/// Takes back what a killed create made, if `name` (a path, its last segment or a branch) names it, and the worktree
/// has not changed since.
pub fn unfinished(from: &Checkout, name: &Path) -> Result<Option<Removed>, WorktreeError> {
    let Some(killed) = killed_at(from, name)? else { return Ok(None) };
    let worktree = killed.worktree().to_path_buf();
    Ok(match killed.take_back()? {
        UndoOutcome::TakenBack => Some(Removed { worktree, ..Removed::default() }),
        UndoOutcome::Kept => None,
    })
}

/// The worktree that [`unfinished`] would take back.
///
/// # Errors
/// A record of a create, or the worktree, can't be read.
pub fn would_take_back(from: &Checkout, name: &Path) -> Result<Option<PathBuf>, WorktreeError> {
    let Some(killed) = killed_at(from, name)? else { return Ok(None) };
    Ok(killed.is_unchanged()?.then(|| killed.worktree().to_path_buf()))
}

fn killed_at(from: &Checkout, name: &Path) -> Result<Option<Killed>, WorktreeError> {
    let as_path = std::path::absolute(name).map_err(crate::sys::IoError::of("resolve", name))?;
    let as_path = crate::git::checkout::plain(&as_path);
    let is_meant = |killed: &Killed| {
        let worktree = killed.worktree();
        worktree == as_path || worktree.file_name() == Some(name.as_os_str()) || Path::new(killed.branch()) == name
    };
    Ok(Killed::all(&from.common_dir)?.into_iter().find(is_meant))
}

/// The linked worktree whose top a path names, of whatever repository.
pub fn at(place: &Path) -> Result<Option<RemoveTarget>, WorktreeError> {
    match Checkout::at(place) {
        Ok(Some(checkout)) if !checkout.is_linked() => Err(WorktreeError::IsMain(checkout.root)),
        Ok(Some(checkout)) => Ok(Some(RemoveTarget::Whole(checkout))),
        otherwise => match Broken::at(place)? {
            Some(broken) => Ok(Some(RemoveTarget::Broken(broken))),
            None => otherwise.map(|_| None).map_err(WorktreeError::from),
        },
    }
}

/// As [`remove`], for one of which a part is gone. Its branch stays, unless it is whole again once its `.git` file is.
pub fn remove_broken(broken: &Broken, accept: Accept) -> Result<Removed, WorktreeError> {
    refuse_lock(&broken.root, &broken.git_dir)?;
    if accept.dry_run {
        return would_remove_broken(broken, accept);
    }
    if let Some(repaired) = broken.repair()? {
        return remove(&repaired, accept);
    }
    refuse_risks(&broken.root, broken.risks()?, accept)?;
    let branch = broken.branch().filter(|_| accept.delete_branch);
    broken.remove(accept.lazy)?;
    let mut removed = Removed { worktree: broken.root.clone(), ..Removed::default() };
    if let Some(branch) = branch {
        Git::at(&broken.common_dir).delete_branch(&branch)?;
        removed.branch_deleted = Some(shown(branch));
    }
    Ok(removed)
}

/// The name of a branch for the report: it need not be UTF-8.
fn shown(branch: OsString) -> String {
    branch.to_string_lossy().into_owned()
}

/// The outcome of [`remove_broken`], as far as it shows without the repair.
fn would_remove_broken(broken: &Broken, accept: Accept) -> Result<Removed, WorktreeError> {
    refuse_risks(&broken.root, broken.risks()?, accept)?;
    let branch_deleted = broken.branch().filter(|_| accept.delete_branch).map(shown);
    Ok(Removed { worktree: broken.root.clone(), branch_deleted, ..Removed::default() })
}

fn refuse_risks(worktree: &Path, mut risks: Vec<Risk>, accept: Accept) -> Result<(), WorktreeError> {
    risks.retain(|risk| !accept.accepts(risk));
    if risks.is_empty() { Ok(()) } else { Err(WorktreeError::WouldLose { worktree: worktree.into(), risks }) }
}

/// Looks at all risks, then unmounts and removes. Refused, nothing has changed.
pub fn remove(checkout: &Checkout, accept: Accept) -> Result<Removed, WorktreeError> {
    let from = checkout.main()?.unwrap_or_else(|| bare(checkout));
    refuse_locked(checkout)?;
    let branch = checkout.branch()?;
    refuse_risks(&checkout.root, risks(checkout, branch.as_deref(), accept.delete_branch)?, accept)?;
    let mut removed = Removed { worktree: checkout.root.clone(), ..Removed::default() };
    let views = Views::of(checkout)?;
    if let Some(views) = &views {
        let differences = Differences::of(views);
        for view in &views.manifest.views {
            removed.private_paths += relocation::own_changes(&differences, view, Path::new("")).map_or(0, |d| d.len());
        }
        drop(differences);
        if accept.dry_run {
            views.refuse_all_busy(accept.lazy)?;
        } else {
            let released = views.release(accept.lazy)?;
            removed.released = Some(released).filter(|_| !accept.lazy);
        }
    }
    if accept.dry_run {
        removed.branch_deleted = branch.filter(|_| accept.delete_branch).map(shown);
        return Ok(removed);
    }
    from.git().remove_worktree(&checkout.root)?;
    if let Some(views) = &views {
        let file = crate::views::set::manifest_file(&views.state_dir);
        match Store::existing(&views.manifest.store) {
            // A store that is gone keeps nothing for it.
            Err(StoreError::Gone { .. }) => {}
            store => store?.roots().remove(&file)?,
        }
    }
    if let Some(branch) = branch.filter(|_| accept.delete_branch) {
        from.git().delete_branch(&branch)?;
        removed.branch_deleted = Some(shown(branch));
    }
    Ok(removed)
}

/// The repository itself as the place to run git in, when there is no main checkout.
fn bare(checkout: &Checkout) -> Checkout {
    let dir = checkout.common_dir.clone();
    Checkout { root: dir.clone(), git_dir: dir.clone(), common_dir: dir }
}

/// Refuses the main worktree, and one that is locked, unless the lock is the daemon's own: the user wants to keep it.
pub(crate) fn refuse_locked(checkout: &Checkout) -> Result<(), WorktreeError> {
    if !checkout.is_linked() {
        return Err(WorktreeError::IsMain(checkout.root.clone()));
    }
    refuse_lock(&checkout.root, &checkout.git_dir)
}

/// As [`refuse_locked`], of a worktree that need not be there: `git_dir` is its private git directory, `root` is for
/// the error.
pub(crate) fn refuse_lock(root: &Path, git_dir: &Path) -> Result<(), WorktreeError> {
    let reason = path::read_if_there(&git_dir.join("locked"))?;
    match reason.map(|r| String::from_utf8_lossy(&r).trim().to_owned()) {
        Some(reason) if !reason.starts_with("depsfs") => Err(WorktreeError::Locked { worktree: root.into(), reason }),
        _ => Ok(()),
    }
}

fn risks(checkout: &Checkout, branch: Option<&OsStr>, delete_branch: bool) -> Result<Vec<Risk>, WorktreeError> {
    let mut found = Vec::new();
    let (untracked, changed): (Vec<_>, Vec<_>) =
        checkout.git().status()?.into_iter().partition(|(letters, _)| letters == "??");
    let paths = |list: Vec<(String, PathBuf)>| list.into_iter().map(|(_, path)| path).collect::<Vec<_>>();
    if !changed.is_empty() {
        found.push(Risk::Changes(paths(changed)));
    }
    if !untracked.is_empty() {
        found.push(Risk::Untracked(paths(untracked)));
    }
    found.extend(sole_holder::operation(&checkout.git_dir).map(Risk::Operation));
    let git = checkout.git();
    let known = ["--branches", "--remotes", "--tags"];
    let (of, count) = match branch {
        None => ("its HEAD", git.count_commits(&["HEAD"], &known)?),
        Some(branch) if delete_branch => {
            let mut others = OsString::from("--exclude=");
            others.push(branch);
            let known = std::iter::once(others).chain(known.map(OsString::from)).collect::<Vec<_>>();
            ("its branch", git.count_commits(&["HEAD"], &known)?)
        }
        Some(_) => ("", 0),
    };
    if count > 0 {
        found.push(Risk::Commits { of: of.into(), count });
    }
    found.extend(submodule_commits(checkout)?);
    Ok(found)
}

/// A submodule's clone goes with the worktree: commits that only it has go too.
fn submodule_commits(checkout: &Checkout) -> Result<Vec<Risk>, WorktreeError> {
    let modules = submodule::initialised(checkout)?;
    let mut flat = Vec::new();
    modules.iter().for_each(|m| m.flatten(Path::new(""), &mut flat));
    let mut found = Vec::new();
    for (at, module) in flat {
        let known = ["--remotes", "--tags", submodule::FROM_SOURCE_GLOB];
        let count = module.checkout.git().count_commits(&["HEAD", "--branches"], &known)?;
        if count > 0 {
            found.push(Risk::Commits { of: format!("submodule {}", at.shown()), count });
        }
    }
    Ok(found)
}
