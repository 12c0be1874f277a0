//! The check for a git that is so old that it lists ignored paths wrongly.
//!
//! Before 2.32 `git ls-files -o -i --directory` leaves out ignored files and directories that lie in untracked ones: a
//! worktree would lack them, without an error.

use std::sync::OnceLock;

use super::command_error::GitError;
pub use super::command_error::OLDEST;
use crate::sys::kernel;

/// An error if the git in PATH is older than [`OLDEST`]. The version is queried once in a process; an unreadable
/// version passes.
pub fn refuse_old(version: fn() -> Option<String>) -> Result<(), GitError> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    match FOUND.get_or_init(|| old(version)) {
        Some(found) => Err(GitError::TooOld { found: found.clone() }),
        None => Ok(()),
    }
}

/// The version of a git that is too old.
fn old(version: fn() -> Option<String>) -> Option<String> {
    let said = version()?;
    let found = said.strip_prefix("git version ")?.split_whitespace().next()?;
    kernel::version(found).filter(|version| *version < OLDEST).map(|_| found.to_owned())
}
