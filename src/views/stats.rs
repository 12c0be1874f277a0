//! Counters of a worktree's daemon: `depsfs status --stats`.
//!
//! The keeper counts the servers that it starts, in its state file. A server counts the requests of each view: they are
//! read from the view itself (`user.depsfs.stats`), so every wait here has an end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::set::Views;
use crate::sys::{fs, reason, time};

/// The time limit for the replies of all views together.
const LIMIT: Duration = Duration::from_secs(5);

/// Counters of a daemon. Serialised as `--json` prints it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Stats {
    /// Servers that were started after the first. Each begins to count at 0.
    pub restarts: u64,
    pub total: RequestStats,
    pub views: Vec<ViewStats>,
}

/// The requests of one mounted view.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ViewStats {
    #[serde(serialize_with = "super::json_path::path")]
    pub path: PathBuf,
    /// The reason why its counters could not be read.
    pub error: Option<String>,
    #[serde(flatten)]
    pub stats: RequestStats,
}

/// As a server reports them; a later one may count more, an earlier one less.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestStats {
    /// By operation.
    pub requests: BTreeMap<String, u64>,
    /// Requests that were answered with an error number; names that do not exist are among them.
    pub failed: u64,
    pub slowest: Option<Slowest>,
    /// By requests: what the kernel has in its cache, or reads without the server, is not counted.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub copy_ups: u64,
    /// Without those of clones.
    pub bytes_copied_up: u64,
    pub objects_hashed: u64,
}

/// The request that took longest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Slowest {
    pub microseconds: u64,
    pub operation: String,
}

impl RequestStats {
    fn add(&mut self, other: &RequestStats) {
        for (operation, count) in &other.requests {
            *self.requests.entry(operation.clone()).or_default() += count;
        }
        self.failed += other.failed;
        self.slowest = self.slowest.take().max(other.slowest.clone());
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
        self.copy_ups += other.copy_ups;
        self.bytes_copied_up += other.bytes_copied_up;
        self.objects_hashed += other.objects_hashed;
    }
}

/// Asks every mounted view. One that hangs leaves a thread behind, which ends with this process.
pub fn stats(views: &Views) -> Stats {
    let Some(state) = views.state() else { return Stats::default() };
    let mounts = views.manifest.clone().into_mounts().views;
    let mounted = mounts.iter().filter(|view| !state.refusing && views.is_mounted(view));
    let places: Vec<(PathBuf, PathBuf)> = mounted.map(|view| (view.path.clone(), views.place(view))).collect();
    let (sender, answers) = mpsc::channel();
    let asked = places.clone();
    let ask =
        move || asked.iter().try_for_each(|(_, place)| sender.send(fs::xattr_of_path(place, b"user.depsfs.stats")));
    let started = std::thread::Builder::new().name("stats".into()).spawn(ask);
    let until = Instant::now() + LIMIT;
    let mut stats = Stats { restarts: state.restarts, ..Stats::default() };
    for (path, _) in places {
        let left = until.saturating_duration_since(Instant::now());
        let answer = match (&started, answers.recv_timeout(left)) {
            (Err(e), _) => Err(reason(e)),
            (_, Err(_)) => Err(format!("it does not answer within {}", time::seconds(LIMIT))),
            (_, Ok(answer)) => answer.map_err(|e| reason(&e)),
        };
        let counted = answer.and_then(|text| serde_json::from_slice::<RequestStats>(&text).map_err(|e| e.to_string()));
        let error = counted.as_ref().err().cloned();
        let counted = counted.unwrap_or_default();
        stats.total.add(&counted);
        stats.views.push(ViewStats { path, error, stats: counted });
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_views_add_up_and_the_slowest_of_all_is_kept() {
        let counted = |text: &str| serde_json::from_str::<RequestStats>(text).expect("JSON");
        let mut total = counted(r#"{"requests":{"lookup":2},"slowest":{"operation":"read","microseconds":5}}"#);
        total.add(&counted(r#"{"requests":{"lookup":1,"fsync":1},"slowest":{"operation":"fsync","microseconds":70}}"#));
        total.add(&counted(r#"{"copy_ups":3,"of_a_later_server":1}"#));
        assert_eq!((total.requests["lookup"], total.requests["fsync"], total.copy_ups), (3, 1, 3));
        assert_eq!(total.slowest, Some(Slowest { microseconds: 70, operation: "fsync".into() }));
    }
}
