//! `depsfs list`.

use std::path::Path;

use clap::Args;

use super::answers::ListAnswer;
use super::report::Failure;
use super::{output, places};
use crate::git::checkout::Checkout;
use crate::sys::terminal::DisplayName;
use crate::worktree::WorktreeError;
use crate::worktree::list::{self, ListedWorktree};

/// List the worktrees that have views
///
/// Those of this repository; with --all, or outside any repository, those of every repository the store knows.
#[derive(Args)]
pub struct List {
    /// Those of all repositories
    #[arg(long)]
    all: bool,
}

impl List {
    pub fn run(self) -> Result<(), Failure> {
        let listed = match Checkout::of_any_repository(Path::new(".")).map_err(WorktreeError::from)? {
            Some(checkout) if !self.all => list::of_repository(&checkout)?,
            _ => list::of_store(&places::store()?)?,
        };
        let answer = ListAnswer { worktrees: listed };
        output::answer(&answer, || text(&answer.worktrees))
    }
}

fn text(listed: &[ListedWorktree]) -> String {
    let width = listed.iter().map(|l| l.path.shown().to_string().len()).max().unwrap_or(0);
    let lines = listed.iter().map(|l| {
        let branch = l.branch.as_deref().unwrap_or("-").shown();
        let trouble = l.trouble.as_ref().map(|why| format!("  ({})", why.shown())).unwrap_or_default();
        format!("{:width$}  {}/{} mounted  {branch}{trouble}\n", l.path.shown().to_string(), l.mounted, l.views)
    });
    lines.collect()
}
