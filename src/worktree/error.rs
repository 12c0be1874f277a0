//! Errors of creating, changing and removing worktrees.

use std::ffi::OsString;
use std::path::PathBuf;

use super::mtime::MtimeError;
use crate::component::ConfigError;
use crate::daemon::DaemonError;
use crate::git::command::GitError;
use crate::git::ignored::IgnoredError;
use crate::git::include::IncludeError;
use crate::git::naming::NamingError;
use crate::git::settings::{BadPattern, BadSetting};
use crate::git::submodule::SubmoduleError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::IoError;
use crate::sys::interrupt::Interrupted;
use crate::sys::terminal::{DisplayName, listed};
use crate::{git, views};

/// The reason why a worktree could not be made, changed or removed. A command that makes one has taken back its steps;
/// [`WorktreeError::Undone`] names what is left.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Mtime(#[from] MtimeError),
    #[error(transparent)]
    Git(#[from] git::RepositoryError),
    #[error(transparent)]
    Views(#[from] views::ViewsError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Component(#[from] crate::component::ComponentError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error("{} exists already", .0.shown())]
    PathTaken(PathBuf),
    /// By a create that runs.
    #[error("{} is being created", .0.shown())]
    BeingMade(PathBuf),
    #[error("branch {} exists already", .0.shown())]
    BranchTaken(String),
    #[error("branch {} is checked out in {}", branch.shown(), at.shown())]
    BranchInUse { branch: String, at: PathBuf },
    #[error("branch {} cannot be made beside branch {}", wanted.shown(), existing.shown())]
    BranchInTheWay { wanted: String, existing: String },
    #[error("several remotes have a branch {}: {}", branch.shown(), remotes.join(", "))]
    AtSeveralRemotes { branch: String, remotes: Vec<String> },
    #[error("{} is no commit of this repository", .0.shown())]
    NoBase(String),
    #[error("branch {} could not be fetched from {}: {source}", branch.shown(), remote.shown())]
    Fetch { remote: String, branch: String, source: GitError },
    #[error("the repository has no remote {}", .0.shown())]
    NoRemote(String),
    #[error("pull request {number} is not at {}", remotes.shown())]
    NoPullRequest { number: u64, remotes: String },
    #[error("{} has no ignored directory to share", .0.shown())]
    Unbuilt(PathBuf),
    #[error("artifacts would have to be built: {}", listed(.0))]
    WouldBuild(Vec<PathBuf>),
    /// Of several components one failed; those before it were published.
    #[error("{source}")]
    Unpublished { left: usize, all: usize, source: Box<WorktreeError> },
    /// A create that failed after it had begun. `left` lists what could not be undone.
    #[error("{source}")]
    Undone { source: Box<WorktreeError>, left: Vec<String>, log: Vec<String> },
    #[error("the worktree {} is broken: {why}", worktree.shown())]
    Broken { worktree: PathBuf, why: &'static str },
    #[error("no worktree of this repository is called {}", .0.shown())]
    NoWorktree(PathBuf),
    #[error("{} can mean {readings}", name.shown())]
    Ambiguous { name: OsString, readings: String },
    #[error("{} is the main checkout, not a worktree", .0.shown())]
    IsMain(PathBuf),
    #[error("{} is the source itself", .0.shown())]
    IsSource(PathBuf),
    #[error("{} and {} are not of one repository", worktree.shown(), source_checkout.shown())]
    OtherRepository { worktree: PathBuf, source_checkout: PathBuf },
    #[error("{} has views already, of {}", worktree.shown(), of.as_deref().map_or("entries".into(), |s| s.shown().to_string()))]
    HasViews { worktree: PathBuf, of: Option<PathBuf> },
    #[error("the repository of {} has no main worktree to take as the source", .0.shown())]
    NoSource(PathBuf),
    #[error("{} would be lost with {}", listed_words(.risks), worktree.shown())]
    WouldLose { worktree: PathBuf, risks: Vec<Risk> },
    #[error("{} is locked: {}", worktree.shown(), reason.shown())]
    Locked { worktree: PathBuf, reason: String },
}

/// Lets `?` lift the error of a layer below, by the type that stands between.
macro_rules! lifted {
    ($($error:ty => $through:ident),* $(,)?) => {
        $(impl From<$error> for WorktreeError {
            fn from(e: $error) -> WorktreeError {
                WorktreeError::$through(e.into())
            }
        })*
    };
}

lifted! {
    GitError => Git,
    IgnoredError => Git,
    IncludeError => Git,
    NamingError => Git,
    SubmoduleError => Git,
    BadPattern => Git,
    BadSetting => Git,
    ConfigError => Component,
    crate::overlay::OverlayError => Views,
}

/// Work that removing a worktree would lose, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Risk {
    Changes(Vec<PathBuf>),
    Untracked(Vec<PathBuf>),
    Commits { of: String, count: u64 },
    Operation(&'static str),
}

impl Risk {
    /// The work that would be lost, as a part of a list in a message.
    pub fn words(&self) -> String {
        match self {
            Risk::Changes(paths) => format!("uncommitted changes ({})", listed(paths)),
            Risk::Untracked(paths) => format!("untracked files ({})", listed(paths)),
            Risk::Commits { of, count: 1 } => format!("1 commit that only {} has", of.shown()),
            Risk::Commits { of, count } => format!("{count} commits that only {} has", of.shown()),
            Risk::Operation(what) => format!("a {what} in progress"),
        }
    }

    /// The flag of `depsfs remove` that accepts it.
    pub fn flag(&self) -> &'static str {
        match self {
            Risk::Changes(_) | Risk::Operation(_) => "--discard-changes",
            Risk::Untracked(_) => "--discard-untracked",
            Risk::Commits { .. } => "--discard-commits",
        }
    }
}

fn listed_words(risks: &[Risk]) -> String {
    risks.iter().map(Risk::words).collect::<Vec<_>>().join(" and ")
}
