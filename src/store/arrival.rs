//! Waiting for absent objects: bounded, so that nothing hangs when the remote does not answer.
//!
//! The limit is 30 seconds, or `DEPSFS_FETCH_WAIT` (in seconds), or that of the user's configuration, which the fetcher
//! sends. After an object that did not come in time, the remote
//! counts as silent for ten seconds: meanwhile the limit is two seconds. Then it is tried anew.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{ObjectId, Unanswered, demand};

/// The limit, and its variable.
pub const DEFAULT_FETCH_WAIT: Duration = Duration::from_secs(30);
/// In seconds.
pub const FETCH_WAIT_VARIABLE: &str = "DEPSFS_FETCH_WAIT";
/// The limit while the remote counts as silent, and how long it does.
const SHORT_WAIT: Duration = Duration::from_secs(2);
const SILENT_FOR: Duration = Duration::from_secs(10);

/// A time in seconds from a variable of the environment; `None` if it is not set, or no such time.
pub fn seconds_of_variable(name: &str) -> Option<Duration> {
    let seconds: f64 = std::env::var(name).ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The requests of a process for absent objects of a store.
pub(super) struct ArrivalWait {
    store: PathBuf,
    /// When the remote was found silent.
    silent_since: Mutex<Option<Instant>>,
}

impl ArrivalWait {
    /// Of the store at this absolute path.
    pub fn of(store: &std::path::Path) -> ArrivalWait {
        ArrivalWait { store: store.into(), silent_since: Mutex::default() }
    }

    /// Waits until an absent object is here, within the limit.
    ///
    /// # Errors
    /// It did not come in time, or cannot be had, or `is_interrupted` ended the waiting.
    pub fn wait(&self, id: &ObjectId, is_interrupted: &dyn Fn() -> bool) -> Result<(), Unanswered> {
        let answer = demand(&self.store, id, Instant::now() + self.limit(), is_interrupted);
        self.ended(&answer);
        answer
    }

    fn limit(&self) -> Duration {
        let wait = seconds_of_variable(FETCH_WAIT_VARIABLE).unwrap_or(DEFAULT_FETCH_WAIT);
        match *self.silent_since.lock() {
            Some(since) if since.elapsed() < SILENT_FOR => wait.min(SHORT_WAIT),
            _ => wait,
        }
    }

    fn ended(&self, answer: &Result<(), Unanswered>) {
        let mut since = self.silent_since.lock();
        match answer {
            // The fetcher has answered.
            Ok(()) | Err(Unanswered::Refused(_)) => *since = None,
            Err(Unanswered::Interrupted) => {}
            Err(Unanswered::Late(_) | Unanswered::NoFetcher(_)) => {
                let is_known = since.is_some_and(|since| since.elapsed() < SILENT_FOR);
                if !is_known {
                    *since = Some(Instant::now());
                }
            }
        }
    }
}
