//! A pull request of the repository's server as the start of a worktree, by plain git: the server's references lead to
//! its commits, and no account or program of the server is needed.
//!
//! | server | reference |
//! |--------|-----------|
//! | GitHub, Gitea, Forgejo | `refs/pull/N/head` |
//! | GitLab | `refs/merge-requests/N/head` |
//! | Bitbucket | `refs/pull-requests/N/from` |

use super::branch::BranchRequest;
use super::error::WorktreeError;
use crate::git::checkout::Checkout;
use crate::git::command::GitError;
use crate::git::settings::Settings;
use crate::sys::interrupt::Interrupted;

/// Without `--remote`, the remotes that are queried, in this order: pull requests of a fork are those of its origin.
const REMOTES: [&str; 2] = ["upstream", "origin"];

/// A pull request as a remote has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    pub number: u64,
    pub remote: String,
    /// The reference at the remote.
    pub reference: String,
    /// The commit that it had when it was looked up.
    pub commit: String,
}

/// Looks a pull request up. Nothing is fetched.
///
/// # Errors
/// There is no such remote, or none that has it; a remote can't be reached.
pub fn find(source: &Checkout, remote: Option<&str>, number: u64) -> Result<PullRequest, WorktreeError> {
    let settings = Settings::load(&source.git())?;
    let all: Vec<&str> = settings.remotes().collect();
    let remotes: Vec<&str> = match (remote, &all[..]) {
        (Some(given), _) => all.iter().copied().filter(|name| *name == given).collect(),
        (None, [one]) => vec![one],
        (None, _) => REMOTES.into_iter().filter(|name| all.contains(name)).collect(),
    };
    if remotes.is_empty() {
        return Err(WorktreeError::NoRemote(remote.unwrap_or(REMOTES[1]).into()));
    }
    let references = [
        format!("refs/pull/{number}/head"),
        format!("refs/merge-requests/{number}/head"),
        format!("refs/pull-requests/{number}/from"),
    ];
    for remote in &remotes {
        let found = source.git().remote_references(remote, &references).map_err(|e| failed(remote, number, e))?;
        if let Some((commit, reference)) = found.into_iter().find(|(_, name)| references.contains(name)) {
            return Ok(PullRequest { number, remote: (*remote).into(), reference, commit });
        }
    }
    Err(WorktreeError::NoPullRequest { number, remotes: remotes.join(", ") })
}

impl PullRequest {
    /// The name of the worktree, and of its branch.
    pub fn name(&self) -> String {
        format!("pr-{}", self.number)
    }

    /// Fetches its commits.
    ///
    /// # Errors
    /// git fails.
    pub fn fetch(&self, source: &Checkout) -> Result<(), WorktreeError> {
        source.git().fetch(&self.remote, &self.reference).map_err(|e| failed(&self.remote, self.number, e))
    }

    /// The use of the branch, for the commits as they were fetched: a branch that has nothing else moves to them, one
    /// with commits of its own stays.
    ///
    /// # Errors
    /// git fails.
    pub fn branch(&self, source: &Checkout) -> Result<BranchRequest, WorktreeError> {
        let (name, git) = (self.name(), source.git());
        let full = format!("refs/heads/{name}");
        if git.resolve(std::slice::from_ref(&full))?.pop().flatten().is_none() {
            return Ok(BranchRequest::New(name));
        }
        let own = git.count_commits(&[&full], &[&self.commit])?;
        Ok(if own == 0 { BranchRequest::Reset(name) } else { BranchRequest::Named(name) })
    }

    /// Has `git pull` in the worktree get what is pushed to the pull request later.
    ///
    /// # Errors
    /// git fails.
    pub fn track(&self, source: &Checkout, branch: &str) -> Result<(), WorktreeError> {
        Ok(source.git().set_upstream(branch, &self.remote, &self.reference)?)
    }
}

fn failed(remote: &str, number: u64, source: GitError) -> WorktreeError {
    match source {
        GitError::Interrupted(signal) => WorktreeError::Interrupted(Interrupted(signal)),
        source => WorktreeError::Fetch { remote: remote.into(), branch: format!("of pull request {number}"), source },
    }
}
