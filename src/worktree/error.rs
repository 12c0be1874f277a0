//! What can be wrong in the life of a worktree.

use std::path::PathBuf;

use super::component::ConfigError;
use super::git::GitError;
use super::ignored::IgnoredError;
use super::mtime::MtimeError;
use super::naming::NamingError;
use super::settings::{BadPattern, BadSetting};
use super::submodule::SubmoduleError;
use crate::daemon::DaemonError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::IoError;
use crate::sys::terminal::Shown;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Naming(#[from] NamingError),
    #[error(transparent)]
    Ignored(#[from] IgnoredError),
    #[error(transparent)]
    Submodule(#[from] SubmoduleError),
    #[error(transparent)]
    Mtime(#[from] MtimeError),
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    #[error(transparent)]
    Setting(#[from] BadSetting),
    #[error(transparent)]
    Component(#[from] super::component::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Overlay(#[from] crate::overlay::Error),
    #[error("{} is in no git checkout", .0.shown())]
    NotACheckout(PathBuf),
    #[error("{} is the directory of a bare repository, which has no files checked out", .0.shown())]
    Bare(PathBuf),
    #[error("{} exists already", .0.shown())]
    PathTaken(PathBuf),
    /// By a create that runs.
    #[error("{} is being created", .0.shown())]
    BeingMade(PathBuf),
    #[error("branch {0} exists already")]
    BranchTaken(String),
    #[error("branch {branch} is checked out in {}", at.shown())]
    BranchInUse { branch: String, at: PathBuf },
    #[error("branch {wanted} cannot be made beside branch {existing}")]
    BranchInTheWay { wanted: String, existing: String },
    #[error("{0:?} is no commit of this repository")]
    NoBase(String),
    #[error("{branch} could not be fetched from {remote}: {source}")]
    Fetch { remote: String, branch: String, source: GitError },
    #[error("{} has no ignored directory to share", .0.shown())]
    Unbuilt(PathBuf),
    #[error("artifacts would have to be built: {}", listed(.0))]
    WouldBuild(Vec<PathBuf>),
    #[error("{} was not mounted: {why}", view.shown())]
    View { view: PathBuf, why: String },
    #[error("{views} views are to be mounted, and fusermount3 mounts only {room} more for an ordinary user")]
    TooManyViews { views: usize, room: usize },
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// A create that failed after it had begun. `left` says what could not be undone.
    #[error("{source}")]
    Undone { source: Box<Error>, left: Vec<String>, log: Vec<String> },
    #[error("{} is broken: {why}", worktree.shown())]
    Broken { worktree: PathBuf, why: &'static str },
    #[error("no worktree of this repository is called {0:?}")]
    NoWorktree(String),
    #[error("{name:?} can mean several worktrees: {}", listed(.all))]
    Ambiguous { name: String, all: Vec<PathBuf> },
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
    #[error("depsfs knows of no views in {}", .0.shown())]
    NoViews(PathBuf),
    #[error("{} is in no view", .0.shown())]
    NotInView(PathBuf),
    #[error("{} does not exist", .0.shown())]
    Absent(PathBuf),
    #[error("{} would be lost with {}", listed_words(.risks), worktree.shown())]
    WouldLose { worktree: PathBuf, risks: Vec<Risk> },
    #[error("{} is locked: {reason}", worktree.shown())]
    Locked { worktree: PathBuf, reason: String },
    #[error("{} is in use: {}", view.shown(), listed(.by))]
    Busy { view: PathBuf, by: Vec<PathBuf> },
    #[error("{} is there and not empty", .0.shown())]
    NotEmpty(PathBuf),
    #[error("{} is in {}, which will be mounted over", state.shown(), dir.shown())]
    Beneath { state: PathBuf, dir: PathBuf },
    #[error("{} and {} lie in each other", .0.shown(), .1.shown())]
    Overlap(PathBuf, PathBuf),
    #[error("{} belongs to the upper {}", state.shown(), upper.shown())]
    OtherUpper { state: PathBuf, upper: PathBuf },
    #[error("there is no place for the state of a directory: HOME and XDG_STATE_HOME are not set")]
    NoState,
    #[error("its upper is mounted at {}", .0.shown())]
    MountedElsewhere(PathBuf),
    #[error("no view can be mounted: {0}")]
    NoMounts(String),
    #[error("its views are of the store {}", .0.shown())]
    OtherStore(PathBuf),
    #[error("a view answers what this program does not understand: {0}")]
    Unreadable(PathBuf),
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
    pub fn words(&self) -> String {
        match self {
            Risk::Changes(paths) => format!("uncommitted changes ({})", listed(paths)),
            Risk::Untracked(paths) => format!("untracked files ({})", listed(paths)),
            Risk::Commits { of, count } => format!("{count} commits only {of} has"),
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

/// The first few of some paths.
fn listed(paths: &[PathBuf]) -> String {
    let mut words: Vec<String> = paths.iter().take(5).map(|p| p.shown().to_string()).collect();
    if paths.len() > 5 {
        words.push(format!("{} more", paths.len() - 5));
    }
    words.join(", ")
}
