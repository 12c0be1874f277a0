//! Errors of the program `git`: it could not be run, it failed, or its output was not understood.

use std::io;

use crate::sys::{IoError, reason};

/// The oldest git that supports all commands that depsfs runs.
pub const OLDEST: (u32, u32) = (2, 32);

/// The reason why a git command gave no result. `what` is the subcommand without its arguments; `code` is `None` if a
/// signal ended git.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("cannot run git: {}", reason(.0))]
    Absent(io::Error),
    #[error("git {found} is too old: git {}.{} or later is needed", OLDEST.0, OLDEST.1)]
    TooOld { found: String },
    #[error("git {what} failed: {}", first_lines(.stderr))]
    Failed { what: &'static str, code: Option<i32>, stderr: String },
    #[error("the output of git {what} cannot be understood")]
    Unreadable { what: &'static str },
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    #[error(transparent)]
    Io(#[from] IoError),
}

/// The part of git's stderr for an error message: its `fatal:` and `error:` lines, else all lines, at most four.
fn first_lines(stderr: &str) -> String {
    let stderr = &crate::sys::url::without_userinfo(stderr);
    let wrong: Vec<&str> =
        stderr.lines().filter_map(|l| l.strip_prefix("fatal: ").or_else(|| l.strip_prefix("error: "))).collect();
    let lines = if wrong.is_empty() { stderr.lines().collect() } else { wrong };
    if lines.is_empty() { "it said nothing".into() } else { lines[..lines.len().min(4)].join("; ") }
}
