//! A working directory in a view whose requests hang: a command that looked at it could wait for ever, and could not even
//! be killed.

use std::path::PathBuf;

use super::report::Failure;
use crate::daemon::{self, DaemonError};
use crate::worktree::WorktreeError;

/// The state directory of the daemon that serves the working directory, if that hangs.
pub fn daemon_here() -> Option<PathBuf> {
    // getcwd(2) looks at no file system.
    std::env::current_dir().ok().and_then(|here| daemon::hung_around(&here))
}

/// # Errors
/// [`DaemonError::Hung`] if the working directory is in a view that hangs.
pub fn refuse() -> Result<(), Failure> {
    let Some(place) = std::env::current_dir().ok().filter(|here| daemon::hung_around(here).is_some()) else {
        return Ok(());
    };
    Err(WorktreeError::Daemon(DaemonError::Hung { place }).into())
}
