//! The answer of `depsfs top`.

use schemars::JsonSchema;
use serde::Serialize;

use super::JsonPath;
use crate::views::activity::WorktreeActivity;
use crate::views::stats::Slowest;

/// `depsfs top`: one look; without `--once` one object on each line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TopAnswer {
    pub worktrees: Vec<TopRowAnswer>,
}

/// The activity of one worktree. The counters begin at 0 when a server starts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TopRowAnswer {
    pub path: JsonPath,
    pub views: u64,
    /// Views that do not show what they should.
    pub incomplete_views: u64,
    pub requests: u64,
    /// Since the look before; null in the first.
    pub requests_per_second: Option<f64>,
    /// Requests that were answered with an error number.
    pub failed: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Servers that were started after the daemon's first one; during each restart, requests wait.
    pub restarts: u64,
    pub slowest: Option<Slowest>,
    /// The reason why not everything is known of it.
    pub trouble: Option<String>,
}

impl TopRowAnswer {
    /// The row of a worktree.
    pub fn of(worktree: &WorktreeActivity, requests_per_second: Option<f64>) -> TopRowAnswer {
        let total = &worktree.stats.total;
        TopRowAnswer {
            path: worktree.place.as_path().into(),
            views: worktree.views,
            incomplete_views: worktree.incomplete,
            requests: worktree.requests(),
            requests_per_second,
            failed: total.failed,
            bytes_read: total.bytes_read,
            bytes_written: total.bytes_written,
            restarts: worktree.stats.restarts,
            slowest: total.slowest.clone(),
            trouble: worktree.trouble.clone(),
        }
    }
}
