//! `depsfs remove`.

use std::path::Path;

use clap::Args;

use super::output::{self, count};
use super::places;
use super::report::Failure;
use crate::git;
use crate::sys::terminal::DisplayName;
use crate::worktree::WorktreeError;
use crate::worktree::remove::{self, Accept, RemoveTarget};

/// Remove a worktree: its views, its directory, its registration with git
///
/// Refused while it holds work that exists nowhere else; each risk has its flag. Files that git ignores (the
/// worktree's own changes in its views, too) are removed with it.
#[derive(Args)]
pub struct Remove {
    /// Path of the worktree; in a checkout of its repository, the last segment of the path or its branch will do
    name: String,
    /// Lose uncommitted changes of tracked files, or a rebase or merge in progress
    #[arg(long)]
    discard_changes: bool,
    /// Lose untracked files
    #[arg(long)]
    discard_untracked: bool,
    /// Lose commits that no branch, tag or remote has
    #[arg(long)]
    discard_commits: bool,
    /// Delete its branch as well
    #[arg(long)]
    delete_branch: bool,
    /// Detach views that a program still uses
    #[arg(long)]
    lazy: bool,
    /// Print what would be removed, and change nothing (that a program uses a view, only root is told)
    #[arg(long)]
    dry_run: bool,
}

impl Remove {
    /// A name means a worktree of the repository around; a path may name one of any.
    fn worktree(&self) -> Result<RemoveTarget, Failure> {
        match places::checkout().and_then(|here| Ok(remove::target(&here, &self.name)?)) {
            Err(Failure::Worktree(
                e @ (WorktreeError::Git(git::RepositoryError::NotACheckout(_)) | WorktreeError::NoWorktree(_)),
            )) => Ok(remove::at(Path::new(&self.name))?.ok_or(e)?),
            found => found,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn run(self) -> Result<(), Failure> {
        let here = places::checkout().ok();
        let left = |worktree: &Path| format!("removed {}, which a create that was killed had left\n", worktree.shown());
        if self.dry_run {
            let found = here.map(|here| remove::would_take_back(&here, &self.name)).transpose()?.flatten();
            if let Some(worktree) = found {
                return output::would(&left(&worktree));
            }
        } else if let Some(removed) = here.map(|here| remove::unfinished(&here, &self.name)).transpose()?.flatten() {
            return output::print(&left(&removed.worktree));
        }
        let worktree = self.worktree()?;
        let accept = Accept {
            changes: self.discard_changes,
            untracked: self.discard_untracked,
            commits: self.discard_commits,
            delete_branch: self.delete_branch,
            lazy: self.lazy,
            dry_run: self.dry_run,
        };
        let removed = match worktree {
            RemoveTarget::Whole(worktree) => remove::remove(&worktree, accept)?,
            RemoveTarget::Broken(broken) => remove::remove_broken(&broken, accept)?,
        };
        let mut text = format!("removed {}\n", removed.worktree.shown());
        if removed.private_paths > 0 {
            let paths = count(removed.private_paths as u64, "path");
            text += &format!("  dropped: {paths} of its views that were its own\n");
        }
        if let Some(branch) = removed.branch_deleted {
            text += &format!("  deleted: branch {branch}\n");
        }
        if self.dry_run {
            return output::would(&text);
        }
        output::done(format!("{} was removed", removed.worktree.shown()), &text)
    }
}
