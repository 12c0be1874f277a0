//! Errors of views: their mounts, their manifests, and the paths in them.

use std::path::PathBuf;

use crate::daemon::DaemonError;
use crate::git;
use crate::git::command::GitError;
use crate::remote::RemoteError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::IoError;
use crate::sys::interrupt::Interrupted;
use crate::sys::terminal::{DisplayName, listed};

/// The reason why the views of a worktree could not be read or changed. Upper and journal are as they were, unless a
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] git::RepositoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Overlay(#[from] crate::overlay::OverlayError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("the view {} cannot be used: {why}", view.shown())]
    View { view: PathBuf, why: String, hint: &'static str },
    #[error("{views} views are to be mounted, and fusermount3 mounts only {room} more for an ordinary user")]
    TooManyViews { views: usize, room: usize },
    #[error("depsfs knows of no views in {}", .0.shown())]
    NoViews(PathBuf),
    #[error("depsfs has mounted nothing at {}", .0.shown())]
    NothingAt(PathBuf),
    #[error("{} is in no view", .0.shown())]
    NotInView(PathBuf),
    #[error("{} does not exist", .0.shown())]
    Absent(PathBuf),
    #[error("{} is in use: {}", view.shown(), listed(.by))]
    Busy { view: PathBuf, by: Vec<PathBuf> },
    #[error("{} is not empty", .0.shown())]
    NotEmpty(PathBuf),
    #[error("the workdir {} lies in {}, which a mount will cover", state.shown(), dir.shown())]
    Beneath { state: PathBuf, dir: PathBuf },
    #[error("one of {} and {} lies in the other", .0.shown(), .1.shown())]
    Overlap(PathBuf, PathBuf),
    #[error("the workdir {} belongs to another upper: {}", state.shown(), upper.shown())]
    OtherUpper { state: PathBuf, upper: PathBuf },
    #[error("no directory for the state of the mount is known: HOME and XDG_STATE_HOME are not set")]
    NoState,
    #[error("the upper is mounted already, at {}", .0.shown())]
    MountedElsewhere(PathBuf),
    #[error("{} is plain files, not a view", .0.shown())]
    IsCopy(PathBuf),
    #[error("no view can be mounted: {0}")]
    NoMounts(String),
    #[error("its views are of another store: {}", .0.shown())]
    OtherStore(PathBuf),
    #[error("the state that the view {} reports cannot be read by this version of depsfs", .0.shown())]
    Unreadable(PathBuf),
}

/// The hint for a view that a daemon could not mount or serve.
pub const NOT_MOUNTED_HINT: &str = "depsfs doctor checks this machine and the store; daemon.log is in depsfs/ of the git directory, or of the workdir of mount --at";

impl From<GitError> for ViewsError {
    fn from(e: GitError) -> ViewsError {
        ViewsError::Git(e.into())
    }
}
