//! The time that a client waits for a daemon: as long as that makes progress, however much there is to do.
//!
//! | sign of life                                        | then                                                    |
//! |-----------------------------------------------------|---------------------------------------------------------|
//! | a byte on the starting client's pipe                | the silence begins anew                                 |
//! | `daemon.json` counts more progress                  | the same                                                |
//! | processor time of keeper and server                 | the same, for some times: one that spins is not waited for |

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::DaemonError;
use super::state::{DaemonState, StateDir};
use crate::sys::proc;
use crate::sys::process::{self, ProcessId};
use crate::sys::watch::Watch;

/// The longest time without a sign of life of a daemon.
const SILENCE: Duration = Duration::from_secs(30);
/// For tests: another silence, in milliseconds.
const VARIABLE: &str = "DEPSFS_SILENCE_MS";
/// The number of silences in a row that a daemon may have which uses time, as one that reads a long journal does.
const BUSY: u32 = 4;

/// The time a daemon has until it has to show progress again.
pub struct Patience {
    silence: Duration,
    until: Instant,
    /// The number of silences since the last sign of life.
    endured: u32,
    /// The last seen progress of the daemon, and the processor time that it has used.
    progress: (u64, u64),
    used: u64,
}

impl Patience {
    /// The silence begins now. The variable `DEPSFS_SILENCE_MS` replaces its length, for tests.
    pub fn new() -> Patience {
        let silence = std::env::var(VARIABLE).ok().and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        Patience::of(silence.unwrap_or(SILENCE))
    }

    /// With another silence.
    pub fn of(silence: Duration) -> Patience {
        Patience { silence, until: Instant::now() + silence, endured: 0, progress: (0, 0), used: 0 }
    }

    /// It lives: the silence begins anew.
    pub fn sign(&mut self) {
        self.endured = 0;
        self.until = Instant::now() + self.silence;
    }

    /// The same, if it has made progress since the last time.
    pub fn note(&mut self, state: &DaemonState) {
        let progress = (state.reconciled, state.progress);
        if progress != self.progress {
            self.progress = progress;
            self.sign();
        }
    }

    /// How long to wait for the next sign.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether the daemon was silent for too long, and has done nothing meanwhile, or too much.
    pub fn is_over(&mut self, keeper: Option<ProcessId>) -> bool {
        if !self.left().is_zero() {
            return false;
        }
        self.silence_passed(keeper.map_or(0, proc::used_by_family))
    }

    fn silence_passed(&mut self, used: u64) -> bool {
        let has_worked = used > self.used;
        self.used = used;
        self.endured += 1;
        self.until = Instant::now() + self.silence;
        !has_worked || self.endured >= BUSY
    }
}

/// Waits until `daemon.json` has the awaited state; `None` when the daemon has ended before.
pub fn wait_for(
    dir: &StateDir,
    pid: ProcessId,
    watch: &Watch,
    mut patience: Patience,
    done: impl Fn(&DaemonState) -> bool,
) -> Result<Option<DaemonState>, DaemonError> {
    let silent = || DaemonError::Silent { log: dir.log() };
    let Some(end) = dir.process(pid).watch().map_err(|_| silent())? else { return Ok(None) };
    loop {
        watch.clear().map_err(|_| silent())?;
        if let Some(state) = DaemonState::load(dir) {
            if done(&state) {
                return Ok(Some(state));
            }
            patience.note(&state);
        }
        let awake = process::wait_any(&[end.as_fd(), watch.as_fd()], Some(patience.left())).map_err(|_| silent())?;
        if awake[0] {
            return Ok(None);
        }
        if patience.is_over(Some(pid)) {
            return Err(silent());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_makes_progress_is_waited_for_and_a_silent_one_for_one_silence() {
        let mut patience = Patience::of(Duration::ZERO);
        let at = |reconciled, progress| DaemonState { reconciled, progress, ..DaemonState::default() };
        for n in 1..100 {
            patience.note(&at(0, n));
            assert_eq!(patience.endured, 0);
            assert!(!patience.silence_passed(n), "it has used time");
        }
        patience.note(&at(0, 99));
        assert!(patience.silence_passed(99), "neither progress nor time used");
    }

    #[test]
    fn a_daemon_that_only_uses_time_is_waited_for_a_few_silences() {
        let mut patience = Patience::of(Duration::ZERO);
        let endured = (1..100).take_while(|used| !patience.silence_passed(*used)).count();
        assert_eq!(endured as u32, BUSY - 1);
        patience.sign();
        assert!(!patience.silence_passed(1000));
    }

    #[test]
    fn nothing_is_over_before_the_silence_has_passed() {
        assert!(!Patience::of(Duration::from_secs(3600)).is_over(None));
        assert!(Patience::of(Duration::ZERO).is_over(None));
    }
}
