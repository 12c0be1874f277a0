//! What went wrong, for people (what, because, hint) and for scripts (the exit code).
//!
//! | code | meaning |
//! |------|---------|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage |
//! | 3 | refused, and nothing was changed |

use std::io;
use std::path::PathBuf;

use super::output;
use super::output::count;
use super::remedies::judge;
use crate::cache::CacheError;
use crate::component;
use crate::git::command::GitError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::reason;
use crate::sys::terminal::Shown;
use crate::worktree::{self, Error};
use crate::{git, views};

/// Whatever ends a verb without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Worktree(#[from] worktree::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A cache without the artifact. It has been reported.
    #[error("no cache has the artifact")]
    Missed,
    #[error("{} of the store {} damaged or missing (see above)", count(*.0 as u64, "file"), are(*.0))]
    Damaged(usize),
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

of_a_worktree!(component::Error, views::Error, git::Error, GitError);

/// Prints a failure on stderr; answers the exit code.
pub fn print(what: &str, failure: &Failure) -> u8 {
    let (code, hint) = judge(failure);
    // A worktree was made, and stays.
    let kept = matches!(failure, Failure::Worktree(Error::Component(component::Error::Build { .. })));
    let unreported;
    let what = match failure {
        _ if kept => "not everything was built; the worktree is kept",
        Failure::Unreported { done, .. } => {
            unreported = format!("{done}, but the report of it could not be written");
            &unreported
        }
        Failure::Output(_) => "the answer could not be written",
        Failure::Refused { what, .. } => what,
        Failure::Worktree(Error::Unpublished { left, all, .. }) => {
            unreported = format!(
                "{left} of {} not published",
                count(*all as u64, "component") + if *left == 1 { " was" } else { " were" }
            );
            &unreported
        }
        _ => what,
    };
    output::note(&format!("depsfs: {what}"));
    output::note(&format!("  because: {failure}"));
    output::note(&format!("  hint: {hint}"));
    if let Failure::Worktree(Error::Undone { left, log, .. }) = failure {
        log.iter().for_each(|line| output::note(&format!("  its log: {line}")));
        left.iter().for_each(|words| output::note(&format!("  left behind: {words}")));
    }
    code
}
