//! Crashes of servers, and their limit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A server that served longer than this did not die of its first requests.
const SERVED: Duration = Duration::from_millis(250);

/// The weight of a death at once after the server began to serve, that of a failed start, and the limit of the sum: so
/// four servers that die before they serve are too many, or eight that do so right after.
const QUICK: Duration = SERVED;

const FAILED_START: Duration = Duration::from_millis(500);

const TOO_MUCH: Duration = Duration::from_secs(2);

/// The limit of deaths in an hour, whatever the servers' lifetimes.
const IN_AN_HOUR: usize = 300;

const HOUR: Duration = Duration::from_secs(3600);

/// The late deaths of servers, and whether they reached a limit.
///
/// A server that dies of a request dies again soon after it begins: the kernel resends the same request. Deaths with a
/// cause outside (out of memory, a signal) come at any time.
#[derive(Default)]
pub struct CrashHistory {
    times: VecDeque<Instant>,
    backoff: Duration,
    in_a_row: u32,
    /// Servers are started to refuse, not to serve.
    pub given_up: bool,
}

impl CrashHistory {
    /// Notes the death of one that served since then; `true` when it was the one too many.
    pub fn note(&mut self, now: Instant, serving: Option<Instant>) -> bool {
        self.times.retain(|t| now.duration_since(*t) < HOUR);
        self.times.push_back(now);
        let served = serving.map(|since| now.duration_since(since));
        self.in_a_row = if served.is_some_and(|served| served > SERVED) { 1 } else { self.in_a_row + 1 };
        self.backoff = match served {
            None => self.backoff + FAILED_START,
            Some(served) => (self.backoff + QUICK).saturating_sub(served),
        };
        self.backoff >= TOO_MUCH || self.times.len() >= IN_AN_HOUR
    }

    /// The reason, after [`CrashHistory::note`] returned true, as a clause of an error message.
    pub fn words(&self) -> String {
        match self.backoff >= TOO_MUCH {
            true => format!("the server died {} times in a row", self.in_a_row),
            false => format!("the server died {} times in an hour", self.times.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many deaths are too many, each of a server that served so long; `None`: a hundred are not.
    fn endured(served_ms: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let (mut deaths, mut now) = (CrashHistory::default(), Instant::now());
        (1..=100).find(|n| {
            let served = served_ms(*n).map(Duration::from_millis);
            let since = now;
            now += served.unwrap_or_default() + Duration::from_millis(50);
            deaths.note(since + served.unwrap_or_default(), served.map(|_| since))
        })
    }

    #[test]
    fn servers_that_die_as_soon_as_they_begin_are_too_many_and_a_hundred_killed_at_any_moment_are_not() {
        assert_eq!(endured(|_| None), Some(4));
        assert_eq!(endured(|_| Some(0)), Some(8));
        assert_eq!(endured(|_| Some(100)), Some(14));
        assert_eq!(endured(|_| Some(300)), None);
        assert_eq!(endured(|n| Some(n * 7919 % 1000)), None);
        assert_eq!(endured(|n| (n % 3 > 0).then_some(600)), None);
    }

    #[test]
    fn deaths_without_haste_are_too_many_in_an_hour_and_not_in_a_day() {
        let count = |every: u64| {
            let (mut deaths, start) = (CrashHistory::default(), Instant::now());
            let at = |n: u64| start + Duration::from_secs(n * every);
            (1..1000).find(|n| deaths.note(at(*n), Some(at(n - 1))))
        };
        assert_eq!((count(1), count(60)), (Some(300), None));
    }
}
