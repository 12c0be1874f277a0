//! How far the keeper is with a comparison, for the log and for clients that wait.

use std::time::{Duration, Instant};

use crate::sys::time;

/// The message to the starting client once every view is mounted or has failed.
pub(in crate::daemon) const READY: &[u8] = b"ready";

/// Before that, while views are mounted; [`READY`] begins otherwise.
pub(in crate::daemon) const AT_WORK: &[u8] = b".";

/// A comparison that takes longer than this is in the log, and so is a server that is silent for as long.
pub const SLOW: Duration = Duration::from_secs(5);

/// The shortest time between two reports of progress.
pub const EVERY: Duration = Duration::from_millis(200);

/// The progress of the keeper.
pub struct KeeperProgress {
    /// Grows with each step.
    pub count: u64,
    pub reported: Instant,
    /// When the comparison under way began.
    pub begun: Instant,
    /// `daemon.json` has less than the keeper has received.
    pub has_news: bool,
}

impl Default for KeeperProgress {
    fn default() -> KeeperProgress {
        let now = Instant::now();
        KeeperProgress { count: 0, reported: now, begun: now, has_news: false }
    }
}

impl KeeperProgress {
    /// At the start of a comparison of the manifest with the mounts.
    pub fn begin(&mut self) {
        self.begun = Instant::now();
        self.reported = self.begun;
    }

    /// Something was received that `daemon.json` has to say.
    pub fn note(&mut self) {
        self.count += 1;
        self.has_news = true;
    }

    /// At the end of that comparison: one that was slow is logged. `connections` is the number of views that the keeper
    /// has.
    pub fn end(&self, connections: usize) {
        let took = self.begun.elapsed();
        if took > SLOW {
            tracing::info!("the comparison took {}, with {connections} views", time::seconds(took));
        }
    }
}
