//! Errors of views: their mounts, their manifests, and the paths in them.

use std::path::PathBuf;

use crate::daemon::DaemonError;
use crate::git;
use crate::git::command::GitError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::IoError;
use crate::sys::interrupt::Interrupted;
use crate::sys::terminal::{Shown, listed};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] git::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Overlay(#[from] crate::overlay::Error),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error("{} was not mounted: {why}", view.shown())]
    View { view: PathBuf, why: String },
    #[error("{views} views are to be mounted, and fusermount3 mounts only {room} more for an ordinary user")]
    TooManyViews { views: usize, room: usize },
    #[error("depsfs knows of no views in {}", .0.shown())]
    NoViews(PathBuf),
    #[error("{} is in no view", .0.shown())]
    NotInView(PathBuf),
    #[error("{} does not exist", .0.shown())]
    Absent(PathBuf),
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

impl From<GitError> for Error {
    fn from(e: GitError) -> Error {
        Error::Git(e.into())
    }
}
