//! The remotes of a fetcher: which of them answers, since when one does not, and what one has damaged.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::catalog::{Piece, RemoteNumber};
use crate::sys::fs::Timespec;
use crate::sys::time;

/// A remote counts as down for this time after requests to it have failed for as long as a read waits.
const DOWN: Duration = Duration::from_secs(10);
/// A read waits as long for a remote that is down.
const WAIT_WHEN_DOWN: Duration = Duration::from_secs(2);
/// A damaged piece is requested again after this time.
const DAMAGED: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The state of all remotes.
#[derive(Default)]
pub struct RemotesHealth {
    remotes: HashMap<RemoteNumber, RemoteHealth>,
    damaged: HashMap<(Piece, RemoteNumber), (Instant, String)>,
}

/// A remote that has not answered since its last success.
struct RemoteHealth {
    failures: u32,
    not_before: Instant,
    down_until: Option<Instant>,
    why: String,
    since: String,
}

/// A remote that does not answer, for `depsfs status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentRemote {
    pub name: String,
    /// RFC 3339.
    pub since: String,
    pub why: String,
}

impl RemotesHealth {
    /// A remote has answered.
    pub fn answered(&mut self, remote: RemoteNumber) {
        self.remotes.remove(&remote);
    }

    /// A request to a remote has failed; the next is sent after a pause.
    pub fn failed(&mut self, remote: RemoteNumber, why: String, now: Instant) {
        let since = || time::rfc3339(Timespec::now());
        let health = self.remotes.entry(remote).or_insert_with(|| RemoteHealth {
            failures: 0,
            not_before: now,
            down_until: None,
            why: String::new(),
            since: since(),
        });
        let pause = FIRST_PAUSE.saturating_mul(1 << health.failures.min(8)).min(LONGEST_PAUSE);
        health.failures += 1;
        health.not_before = now + pause;
        health.why = why;
    }

    /// Reads have waited for a remote in vain: for a while they wait shorter.
    pub fn is_down(&mut self, remote: RemoteNumber, now: Instant) {
        if let Some(health) = self.remotes.get_mut(&remote) {
            health.down_until = Some(now + DOWN);
        }
    }

    /// How long a read waits for one of these remotes.
    pub fn patience(&self, remotes: &[RemoteNumber], wait: Duration, now: Instant) -> Duration {
        let is_down = |remote| self.remotes.get(remote).and_then(|h| h.down_until).is_some_and(|until| until > now);
        if remotes.iter().all(is_down) { wait.min(WAIT_WHEN_DOWN) } else { wait }
    }

    /// When the next request to a remote may be sent.
    pub fn not_before(&self, remote: RemoteNumber) -> Option<Instant> {
        self.remotes.get(&remote).map(|health| health.not_before)
    }

    /// Why a remote does not answer, if it does not.
    pub fn why(&self, remote: RemoteNumber) -> Option<&str> {
        self.remotes.get(&remote).map(|health| health.why.as_str())
    }

    /// A remote's bytes of a piece are not those of its objects.
    pub fn damaged(&mut self, piece: Piece, remote: RemoteNumber, why: String, now: Instant) {
        self.damaged.insert((piece, remote), (now + DAMAGED, why));
    }

    /// Of these remotes, the one to ask for a piece: one that answers first. The error is why none can be asked.
    pub fn choose(&self, piece: Piece, remotes: &[RemoteNumber], now: Instant) -> Result<RemoteNumber, Option<String>> {
        let damage = |remote: &RemoteNumber| self.damaged.get(&(piece, *remote)).filter(|(until, _)| *until > now);
        let usable = remotes.iter().filter(|remote| damage(remote).is_none());
        let failures = |remote: &&RemoteNumber| self.remotes.get(remote).map_or(0, |health| health.failures);
        let why = || remotes.iter().find_map(damage).map(|(_, why)| why.clone());
        usable.min_by_key(failures).copied().ok_or_else(why)
    }

    /// The remotes that do not answer, by their names.
    pub fn silent(&self, name: impl Fn(RemoteNumber) -> String) -> Vec<SilentRemote> {
        let all = self.remotes.iter().filter(|(_, health)| health.failures > 1 || health.down_until.is_some());
        let mut all: Vec<SilentRemote> = all
            .map(|(n, health)| SilentRemote { name: name(*n), since: health.since.clone(), why: health.why.clone() })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
