//! Work that makes more work, done by all cores: the newest job first, so that little is open at a time.

use std::num::NonZero;

use parking_lot::{Condvar, Mutex};

use crate::sys::{fault, spawn};

struct QueueState<J> {
    jobs: Vec<J>,
    /// Workers that may still push.
    busy: usize,
    stopped: bool,
}

/// The jobs that wait.
pub struct JobQueue<J> {
    state: Mutex<QueueState<J>>,
    more: Condvar,
}

impl<J> JobQueue<J> {
    /// Adds a job, for the next thread that is free. The last one added is taken first.
    pub fn push(&self, job: J) {
        self.state.lock().jobs.push(job);
        self.more.notify_one();
    }

    /// The next job; nothing when all is done or the work was stopped.
    fn next(&self, was_busy: bool) -> Option<J> {
        let mut state = self.state.lock();
        state.busy -= usize::from(was_busy);
        loop {
            if state.stopped || (state.jobs.is_empty() && state.busy == 0) {
                self.more.notify_all();
                return None;
            }
            if let Some(job) = state.jobs.pop() {
                state.busy += 1;
                return Some(job);
            }
            self.more.wait(&mut state);
        }
    }

    /// The only job that waits, before any worker was started.
    fn next_alone(&self) -> Option<J> {
        let mut state = self.state.lock();
        if state.jobs.len() == 1 { state.jobs.pop() } else { None }
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.more.notify_all();
    }
}

/// How many threads have work at the same time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `first` and all jobs that come of it. Each worker has a value of its own, made by `start`; they come
/// back when everything is done. The first error stops all workers and comes back instead. Other threads are started
/// when two jobs wait at the same time: a chain of jobs, as in a directory of one file, is done by the caller alone.
pub fn run<J: Send, W: Send, E: Send>(
    first: Vec<J>,
    start: impl Fn() -> W + Sync,
    work: impl Fn(J, &mut W, &JobQueue<J>) -> Result<(), E> + Sync,
) -> Result<Vec<W>, E> {
    let queue =
        JobQueue { state: Mutex::new(QueueState { jobs: first, busy: 0, stopped: false }), more: Condvar::new() };
    let worker = || {
        let mut own = start();
        let mut was_busy = false;
        while let Some(job) = queue.next(was_busy) {
            was_busy = true;
            if let Err(e) = work(job, &mut own, &queue) {
                queue.stop();
                return Err(e);
            }
        }
        Ok(own)
    };
    let mut alone = start();
    while let Some(job) = queue.next_alone() {
        work(job, &mut alone, &queue)?;
    }
    if queue.state.lock().jobs.is_empty() {
        return Ok(vec![alone]);
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..cores()).map(|_| spawn::scoped(scope, fault::inherit(&worker))).collect();
        let mine = worker();
        let done = std::iter::once(mine).chain(others.into_iter().map(spawn::ScopedWork::join));
        std::iter::once(Ok(alone)).chain(done).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_jobs_is_done_by_the_caller_alone() {
        let mine = std::thread::current().id();
        let next = |job: u32, alone: &mut u32, queue: &JobQueue<u32>| -> Result<(), ()> {
            *alone += u32::from(std::thread::current().id() == mine);
            if job > 0 {
                queue.push(job - 1);
            }
            Ok(())
        };
        assert_eq!(run(vec![100], || 0, next), Ok(vec![101]));
    }

    #[test]
    fn jobs_that_jobs_made_are_done_and_an_error_ends_all() {
        let count = |job: u32, sum: &mut u64, queue: &JobQueue<u32>| {
            *sum += 1;
            (0..job).for_each(|j| queue.push(j));
            if job == 99 { Err("ninety-nine") } else { Ok(()) }
        };
        let sums = run(vec![10], || 0, count).unwrap();
        assert_eq!(sums.iter().sum::<u64>(), 1 << 10);
        assert_eq!(run(vec![99], || 0, count), Err("ninety-nine"));
        assert_eq!(run(vec![], || 0, count).unwrap().iter().sum::<u64>(), 0);
    }
}
