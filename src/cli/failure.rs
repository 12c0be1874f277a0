//! Everything that ends a verb without success.

use std::io;
use std::path::PathBuf;

use super::units::count;
use crate::cache::CacheError;
use crate::git::command::GitError;
use crate::remote::RemoteError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::reason;
use crate::sys::terminal::DisplayName;
use crate::{component, git, views, worktree};

/// An error that ends a verb.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Worktree(#[from] worktree::WorktreeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A cache without the artifact. It has been reported.
    #[error("no cache has the artifact")]
    Missed,
    /// The command of an exec ended with this code. It has reported what it had to.
    #[error("the command ended with code {0}")]
    Exited(u8),
    #[error("{why}")]
    NotStarted { why: String, is_absent: bool },
    #[error("{} of the store {} damaged or missing (see above)", count(*.0 as u64, "file"), are(*.0))]
    Damaged(usize),
    /// A status with views that are missing. It has been printed.
    #[error("views are missing")]
    ViewsMissing,
    /// The answer to a question was no. That is no failure.
    #[error("nothing was changed")]
    Declined,
    #[error("not confirmed: there is no terminal to ask on")]
    NotConfirmed,
    #[error("neither HOME nor the XDG variables are set")]
    NoHome,
    #[error("DEPSFS_STORE is {}, which is a relative path", .0.shown())]
    RelativeStore(PathBuf),
    #[error("{0}")]
    Usage(&'static str, &'static str),
    /// `what` was not done.
    #[error("{why}")]
    Refused { what: &'static str, why: String, hint: &'static str },
    #[error("the option {} is not known", .0.shown())]
    MountOption(String),
    /// Of `depsfs help`, with a name that is similar.
    #[error("there is no verb or topic {}", name.shown())]
    NoHelp { name: String, similar: Option<String> },
    #[error("{} failed (see above)", count(*.0 as u64, "check"))]
    Unwell(usize),
    #[error("{failed} of {} not mounted (see above)", count(*all as u64, "worktree") + if *failed == 1 { " was" } else { " were" })]
    NotAll { failed: usize, all: usize },
    #[error("systemctl failed: {0}")]
    Systemd(String),
    #[error(transparent)]
    Io(#[from] crate::sys::IoError),
    /// A call that concerns no file.
    #[error("cannot {verb}: {}", reason(source))]
    Os { verb: &'static str, source: io::Error },
    #[error("cannot write to the standard output: {}", reason(.0))]
    Output(io::Error),
    /// The work is done, as `done` puts it; its report could not be written.
    #[error("cannot write to the standard output: {}", reason(source))]
    Unreported { done: String, source: io::Error },
}

fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

impl Failure {
    /// For `map_err(Failure::os("read the standard input"))`.
    pub fn os(verb: &'static str) -> impl FnOnce(io::Error) -> Failure {
        move |source| Failure::Os { verb, source }
    }
}

macro_rules! of_a_worktree {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(e: $error) -> Failure {
                Failure::Worktree(e.into())
            }
        })*
    };
}

of_a_worktree!(component::ComponentError, views::ViewsError, git::RepositoryError, GitError);
