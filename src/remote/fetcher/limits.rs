//! The limits of a fetcher: those of the environment, then those that the user's configuration has for a remote.

use std::collections::HashMap;
use std::time::Duration;

use crate::remote::RemoteLimits;
use crate::store::DEFAULT_FETCH_WAIT;

/// How long is waited for which remote, and how many bytes come from it.
#[derive(Clone, Debug, Default)]
pub struct FetcherLimits {
    /// A time that goes before all others.
    pub wait: Option<Duration>,
    /// By the names of remotes.
    pub remotes: HashMap<String, RemoteLimits>,
}

impl FetcherLimits {
    /// How long is waited for the most patient of these remotes.
    pub fn wait_of<'a>(&self, remotes: impl Iterator<Item = &'a str>) -> Duration {
        let of = |name| self.of(name).wait.unwrap_or(DEFAULT_FETCH_WAIT);
        self.wait.or_else(|| remotes.map(of).max()).unwrap_or(DEFAULT_FETCH_WAIT)
    }

    /// Whether the bytes of some remote are limited.
    pub fn has_bandwidth(&self) -> bool {
        self.remotes.values().any(|limits| limits.bandwidth.is_some())
    }

    /// Those of a remote.
    pub fn of(&self, name: &str) -> RemoteLimits {
        self.remotes.get(name).copied().unwrap_or_default()
    }
}
