//! The activity of all worktrees: their views, and the counters of their daemons.

use std::path::{Path, PathBuf};

use super::ViewsError;
use super::all_worktrees::{self, KnownWorktree};
use super::stats::Stats;
use super::status;
use crate::store::Store;
use crate::sys::spawn;

/// The number of worktrees that are queried at once: one that hangs is waited for, up to a limit of time.
const AT_ONCE: usize = 32;

/// The activity of one worktree.
#[derive(Debug, Default)]
pub struct WorktreeActivity {
    /// The worktree, or the directory that entries are mounted at.
    pub place: PathBuf,
    pub views: u64,
    /// Views that do not show what they should.
    pub incomplete: u64,
    pub stats: Stats,
    /// The reason why not everything is known of it.
    pub trouble: Option<String>,
}

impl WorktreeActivity {
    /// Requests of all kinds.
    pub fn requests(&self) -> u64 {
        self.stats.total.requests.values().sum()
    }
}

/// Each worktree that is there, by path; with `only`, those of the repository with that common git directory.
///
/// # Errors
/// The roots of the store can't be read.
pub fn of_all(store: &Store, states: Option<&Path>, only: Option<&Path>) -> Result<Vec<WorktreeActivity>, ViewsError> {
    let known = all_worktrees::known(store, states)?;
    Ok(spawn::map(&known, AT_ONCE, |known| of(known, only)).into_iter().flatten().collect())
}

fn of(known: &KnownWorktree, only: Option<&Path>) -> Option<WorktreeActivity> {
    let views = known.views().filter(|views| only.is_none_or(|only| views.state_dir.starts_with(only)))?;
    let place = known.place.clone();
    let status = match status::with_stats(&views) {
        Ok(status) => status,
        Err(e) => return Some(WorktreeActivity { place, trouble: Some(e.to_string()), ..WorktreeActivity::default() }),
    };
    let incomplete = status.missing().count() as u64;
    let of_daemon = status.daemon.as_ref().and_then(|daemon| daemon.trouble.clone());
    let stats = status.stats.unwrap_or_default();
    let of_view = stats.views.iter().find_map(|view| view.error.clone());
    let trouble = of_daemon.or(of_view);
    Some(WorktreeActivity { place, views: status.views.len() as u64, incomplete, stats, trouble })
}
