//! Adaptive busy polling: after a reply, spin briefly for the next request or block in `poll`.
//!
//! A program that waits for one answer after another, on a machine that is idle otherwise, finds its server asleep on a
//! processor that sleeps, too: waking that takes several times as long as answering, above all in a virtual machine. A
//! thread that spins instead answers at once, at the price of the processor time between. Spinning only delays the
//! program if both share a processor, or if waking is cheap. So both ways are tried now and then, and the measured gaps
//! between an answer and the next request decide. And it takes processors from others where those are scarce, and keeps
//! server and program on two of them: while more threads could run than there are processors, nothing spins.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::sys::contention::is_contended;
use crate::sys::fuse_dev;

/// The longest time that it spins.
const LONGEST: Duration = Duration::from_micros(50);
/// A request after a longer gap belongs to no burst, and is not counted.
const BURST: Duration = Duration::from_millis(1);
/// Gaps that are shorter than this (in nanoseconds) without spinning leave nothing to gain.
const WORTH: u64 = 10_000;
/// After so many gaps the other way is tried; after each try in vain it takes twice as many, up to the last.
const TRY_AFTER: u32 = 16;
const TRY_AFTER_AT_MOST: u32 = 256;
/// A try of not spinning takes so many gaps, and the last ones count: a thread that spins keeps the program on another
/// processor, and the scheduler brings the two together only when it has slept a few times.
const SLEEPS: u32 = 6;
const SLEEPS_THAT_COUNT: u32 = 3;

/// The requests of one connection, which one thread at a time answers.
#[derive(Default)]
pub struct BusyPoll(Mutex<PollState>);

#[derive(Default)]
struct PollState {
    gaps: Gaps,
    /// When the last request was answered, and whether the thread spun then.
    answered: Option<(Instant, bool)>,
}

impl BusyPoll {
    /// A request has come.
    pub fn begin(&self, now: Instant) {
        let mut state = self.0.lock();
        if let Some((since, spun)) = state.answered.take() {
            state.gaps.note(spun, now.saturating_duration_since(since));
        }
    }

    /// It has been answered: the thread may spin for the next one of `device`. Returns whether it did.
    pub fn end(&self, device: BorrowedFd<'_>, now: Instant) -> bool {
        let spins = {
            let mut state = self.0.lock();
            let spins = state.gaps.spins_next() && !is_contended(now);
            state.answered = Some((now, spins));
            spins
        };
        if spins {
            spin(device, now);
        }
        spins
    }

    /// A request is answered later, elsewhere: its program waits for that, and may not be back soon.
    pub fn pause(&self) {
        self.0.lock().answered = None;
    }

    /// Work was done that no program waited for: the thread spins for the rest of its time. Returns whether it did.
    pub fn aside(&self, device: BorrowedFd<'_>) -> bool {
        let answered = self.0.lock().answered;
        let Some((since, true)) = answered else { return false };
        spin(device, since);
        true
    }
}

fn spin(device: BorrowedFd<'_>, since: Instant) {
    while since.elapsed() < LONGEST && !fuse_dev::has_request(device) {
        std::hint::spin_loop();
    }
}

/// How long the gaps were: nanoseconds, as moving averages; none yet is 0.
#[derive(Debug)]
struct Gaps {
    asleep: u64,
    awake: u64,
    is_awake: bool,
    since_try: u32,
    try_after: u32,
    /// The gaps that are left of a try of not spinning.
    sleeps: u32,
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps { asleep: 0, awake: 0, is_awake: false, since_try: 0, try_after: TRY_AFTER, sleeps: 0 }
    }
}

impl Gaps {
    /// Whether to spin after this answer.
    fn spins_next(&mut self) -> bool {
        if self.sleeps > 0 {
            return false;
        }
        self.since_try += 1;
        if self.since_try < self.try_after || (!self.is_awake && self.asleep < WORTH) {
            return self.is_awake;
        }
        self.since_try = 0;
        self.sleeps = if self.is_awake { SLEEPS } else { 0 };
        !self.is_awake
    }

    /// Records the gap after one reply.
    fn note(&mut self, spun: bool, gap: Duration) {
        let is_early = self.sleeps > SLEEPS_THAT_COUNT;
        self.sleeps = self.sleeps.saturating_sub(1);
        if gap > BURST || is_early {
            return;
        }
        let is_try = spun != self.is_awake;
        let average = if spun { &mut self.awake } else { &mut self.asleep };
        // There are few tries: each counts for more.
        let weight = if is_try { 2 } else { 8 };
        let gap = (gap.as_nanos() as u64).max(1);
        *average = if *average == 0 { gap } else { (*average * (weight - 1) + gap) / weight };
        // Looking out has to save at least half of what it costs.
        let pays = self.awake > 0 && self.asleep >= WORTH && self.asleep > self.awake + self.awake / 2;
        if pays != self.is_awake {
            (self.is_awake, self.try_after, self.sleeps) = (pays, TRY_AFTER, 0);
        } else if is_try && self.sleeps == 0 {
            self.try_after = (self.try_after * 2).min(TRY_AFTER_AT_MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `n` gaps of so many microseconds, asleep and awake: how many of them spun.
    fn spun(gaps: &mut Gaps, n: usize, asleep: u64, awake: u64) -> usize {
        let one = |gaps: &mut Gaps| {
            let spins = gaps.spins_next();
            gaps.note(spins, Duration::from_micros(if spins { awake } else { asleep }));
            spins
        };
        (0..n).filter(|_| one(gaps)).count()
    }

    #[test]
    fn where_waking_takes_long_it_spins() {
        assert!(spun(&mut Gaps::default(), 1000, 60, 20) > 900);
    }

    #[test]
    fn where_server_and_program_share_a_processor_it_never_does() {
        assert_eq!(spun(&mut Gaps::default(), 1000, 5, 60), 0);
    }

    #[test]
    fn where_waking_is_cheap_or_the_program_computes_it_hardly_ever_does() {
        for (asleep, awake) in [(25, 21), (300, 290), (80, 80)] {
            assert!(spun(&mut Gaps::default(), 10_000, asleep, awake) < 100, "{asleep} {awake}");
        }
    }

    #[test]
    fn it_notices_when_that_changes() {
        let mut gaps = Gaps::default();
        spun(&mut gaps, 10_000, 60, 20);
        assert!(spun(&mut gaps, 2_000, 5, 60) < 400, "another program came to the other processor");
        assert!(spun(&mut gaps, 2_000, 60, 20) > 1_600, "it went again");
    }

    #[test]
    fn where_the_program_comes_to_the_servers_processor_once_that_sleeps_it_sleeps() {
        let (mut gaps, mut slept) = (Gaps::default(), 0);
        let mut one = || {
            let spins = gaps.spins_next();
            slept = if spins { 0 } else { slept + 1 };
            let asleep = if slept > 2 { 5 } else { 90 };
            gaps.note(spins, Duration::from_micros(if spins { 45 } else { asleep }));
            spins
        };
        (0..1000).for_each(|_| _ = one());
        assert!((0..1000).filter(|_| one()).count() < 10);
    }

    #[test]
    fn a_pause_says_nothing() {
        let mut gaps = Gaps::default();
        spun(&mut gaps, 1000, 60, 20);
        spun(&mut gaps, 1000, 5_000_000, 5_000_000);
        assert!(spun(&mut gaps, 100, 60, 20) > 90);
    }
}
