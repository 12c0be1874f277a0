//! `depsfs pr`.

use clap::Args;

use super::create::Create;
use super::make_options::MakeOptions;
use super::report::Failure;
use super::{output, places};
use crate::sys::interrupt;
use crate::worktree::branch::BranchRequest;
use crate::worktree::pull_request;

const EXAMPLES: &str = "Examples:
  depsfs pr 123                       # ../pr-123, on the branch pr-123; git pull gets what is pushed later
  depsfs pr 123 --remote upstream
  cd \"$(depsfs pr 123 --print-path)\"";

/// Create a worktree of a pull request
///
/// The commits are fetched by plain git, from the references that GitHub, GitLab, Gitea, Forgejo and Bitbucket have for
/// each pull (or merge) request. The worktree and its branch are called pr-NUMBER; all else is as depsfs create does it. A
/// branch of that name moves to the newest commits, unless it has commits of its own: then it is checked out as it is.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct PullRequestCommand {
    /// The number of the pull request or merge request
    #[arg(value_parser = number)]
    number: u64,
    /// The remote that has it [default: the only one, else upstream, else origin]
    #[arg(long)]
    remote: Option<String>,
    #[command(flatten)]
    how: MakeOptions,
}

/// As people write it, too: `#123`, `!123`.
fn number(text: &str) -> Result<u64, String> {
    text.trim_start_matches(['#', '!']).parse().map_err(|_| "it is no number".into())
}

impl PullRequestCommand {
    /// The words for the worktree in a message.
    pub fn name(&self) -> String {
        format!("pr-{}", self.number)
    }

    /// Looks it up, fetches it, and makes the worktree.
    ///
    /// # Errors
    /// No remote has it; as those of `depsfs create`.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let source = places::checkout()?;
        let found = pull_request::find(&source, self.remote.as_deref(), self.number)?;
        let commit = std::slice::from_ref(&found.commit);
        let has_commit = !self.how.dry_run || source.git().resolve(commit)?.pop().flatten().is_some();
        if !self.how.dry_run {
            found.fetch(&source)?;
        }
        let branch = if has_commit { found.branch(&source)? } else { BranchRequest::New(found.name()) };
        let base = match &branch {
            // It is only looked at: the remote's own words for what would be fetched.
            _ if !has_commit => Some(format!("{}/{}", found.remote, found.reference)),
            BranchRequest::Named(name) => {
                output::note(&format!("branch {name} has commits of its own, and is checked out as it is"));
                None
            }
            _ => Some(found.commit.clone()),
        };
        let is_dry_run = self.how.dry_run;
        Create::of_commit(found.name(), base, branch.clone(), self.how).run()?;
        match branch.name() {
            Some(name) if !is_dry_run => Ok(found.track(&source, name)?),
            _ => Ok(()),
        }
    }
}
