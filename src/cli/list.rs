//! `depsfs list`.

use std::path::Path;

use clap::Args;

use super::answers::ListAnswer;
use super::report::Failure;
use super::{output, overview, places};
use crate::git::checkout::Checkout;
use crate::worktree::WorktreeError;
use crate::worktree::list;

const EXAMPLES: &str = "Examples:
  depsfs list
  depsfs list --all
  depsfs list --json | jq -r '.worktrees[] | select(.mounted < .views) | .path'";

/// List the worktrees of this repository
///
/// One line for each, the main checkout first: its path, its branch, how many of its views are mounted, the disk space of
/// its own files in them, lock files that have changed since the artifacts were made, and its age. With --all, or outside
/// any repository: the worktrees with views of every repository that the store knows.
#[derive(Args)]
#[command(visible_alias = "ls", after_help = EXAMPLES)]
pub struct List {
    /// List those of all repositories
    #[arg(long)]
    all: bool,
}

impl List {
    /// Prints a line for each worktree of this repository; outside any, for each that the store knows.
    pub fn run(self) -> Result<(), Failure> {
        let listed = match Checkout::of_any_repository(Path::new(".")).map_err(WorktreeError::from)? {
            Some(checkout) if !self.all => list::of_repository(&checkout)?,
            _ => list::of_store(&places::store()?)?,
        };
        let answer = ListAnswer { worktrees: listed };
        output::answer(&answer, || overview::table(&answer.worktrees))
    }
}
