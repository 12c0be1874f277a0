//! `depsfs remove`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::RemoveAnswer;
use super::output::{self, count};
use super::places;
use super::record;
use super::report::Failure;
use super::unmount::say_held;
use crate::git;
use crate::git::checkout::Checkout;
use crate::sys::path;
use crate::sys::terminal::{DisplayName, shell_word};
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::remove::{self, Accept, RemoveTarget};

const EXAMPLES: &str = "Examples:
  depsfs remove fix-login                    # by its name or its branch; without one, the worktree you stand in
  depsfs remove fix-login --delete-branch
  depsfs remove fix-login --dry-run";

/// Remove a worktree: its views, its directory, its registration with git
///
/// Refused while it holds work that exists nowhere else; each risk has its flag. Files that git ignores (the
/// worktree's own changes in its views, too) are removed with it.
#[derive(Args)]
#[command(visible_alias = "rm", after_help = EXAMPLES)]
pub struct Remove {
    /// The worktree: its name, its branch, or the path of its top [default: the one of the working directory]
    #[arg(value_name = "WORKTREE")]
    name: Option<PathBuf>,
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
    /// A name means a worktree of the repository around; a path may name one of any. Without either it is the one that
    /// holds the working directory.
    fn worktree(&self) -> Result<RemoveTarget, Failure> {
        let Some(name) = &self.name else { return Ok(RemoveTarget::Whole(places::checkout()?)) };
        match repository().and_then(|here| Ok(remove::target(&here, name)?)) {
            Err(Failure::Worktree(
                e @ (WorktreeError::Git(git::RepositoryError::NotACheckout(_)) | WorktreeError::NoWorktree(_)),
            )) => Ok(remove::at(name)?.ok_or(e)?),
            found => found,
        }
    }

    /// The words for the worktree in a message.
    pub fn name(&self) -> String {
        self.name.as_ref().map_or("the worktree".into(), |name| name.shown().to_string())
    }

    /// A name that a create has which was killed.
    fn killed<T>(
        &self,
        look: impl Fn(&Checkout, &Path) -> Result<Option<T>, WorktreeError>,
    ) -> Result<Option<T>, Failure> {
        match (&self.name, repository()) {
            (Some(name), Ok(here)) => Ok(look(&here, name)?),
            _ => Ok(None),
        }
    }

    /// Removes one worktree and all in it, or with `--dry-run` prints what would go. Work that would be lost is refused
    /// before anything is changed.
    pub fn run(self) -> Result<(), Failure> {
        let unfinished = match self.dry_run {
            true => self.killed(remove::would_take_back)?,
            false => self.killed(remove::unfinished)?.map(|removed| removed.worktree),
        };
        if let Some(worktree) = unfinished {
            let answer = RemoveAnswer {
                dry_run: self.dry_run,
                worktree: worktree.as_path().into(),
                private_paths: 0,
                branch_deleted: None,
                was_unfinished: true,
            };
            let left = format!("removed {}, which a create that was killed had left\n", worktree.shown());
            return output::answer(&answer, || output::dry(self.dry_run, left));
        }
        let worktree = self.worktree()?;
        if !self.dry_run {
            begin_record(&worktree);
        }
        let way_out = way_out(&worktree);
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
        removed.released.into_iter().for_each(|released| say_held(released, "it goes on with them as they were"));
        let mut text = format!("removed {}\n", removed.worktree.shown());
        if removed.private_paths > 0 {
            let paths = count(removed.private_paths as u64, "path");
            text += &format!("  dropped: {paths} of its views that were its own\n");
        }
        if let Some(branch) = &removed.branch_deleted {
            text += &format!("  deleted: branch {branch}\n");
        }
        let answer = RemoveAnswer {
            dry_run: self.dry_run,
            worktree: removed.worktree.as_path().into(),
            private_paths: removed.private_paths as u64,
            branch_deleted: removed.branch_deleted,
            was_unfinished: false,
        };
        if self.dry_run {
            return output::answer(&answer, || output::dry(true, text));
        }
        text += &way_out;
        output::done_answer(format!("{} was removed", removed.worktree.shown()), &answer, || text)
    }
}

/// The record is in the store that its views are of: afterwards its path is not found any more.
fn begin_record(worktree: &RemoveTarget) {
    let (root, views) = match worktree {
        RemoveTarget::Whole(checkout) => (&checkout.root, Views::of(checkout).ok().flatten()),
        RemoveTarget::Broken(broken) => (&broken.root, None),
    };
    let store = views.map(|views| views.manifest.store).or_else(|| places::store_path().ok());
    if let Some(store) = store {
        record::begin("remove", &store);
        record::concerns(root);
    }
}

/// The checkout of the working directory, or the bare repository around it.
fn repository() -> Result<Checkout, Failure> {
    match Checkout::of_any_repository(Path::new(".")).map_err(WorktreeError::from)? {
        Some(here) => Ok(here),
        None => places::checkout(),
    }
}

/// The next step of a shell that stands in the worktree: its working directory goes with it.
fn way_out(target: &RemoveTarget) -> String {
    let RemoveTarget::Whole(checkout) = target else { return String::new() };
    let here = path::absolute(Path::new(".")).and_then(|here| path::canonical(&here));
    match (here, checkout.main()) {
        (Ok(here), Ok(Some(main))) if here.starts_with(&checkout.root) => {
            format!("  next:    cd {}\n", shell_word(&main.root))
        }
        _ => String::new(),
    }
}
