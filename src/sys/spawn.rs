//! Threads that make work faster, and that it goes on without: where none can be had (RLIMIT_NPROC, a pids cgroup), the
//! caller's thread does it.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use super::fault;

/// Work that was given to a thread, or done already.
pub enum ScopedWork<'scope, T> {
    Elsewhere(ScopedJoinHandle<'scope, T>),
    Done(T),
}

impl<T> ScopedWork<'_, T> {
    /// Waits for its outcome. It panics as the work did.
    pub fn join(self) -> T {
        match self {
            ScopedWork::Elsewhere(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            ScopedWork::Done(outcome) => outcome,
        }
    }
}

/// As `scope.spawn`, which panics where there is no thread to be had.
pub fn scoped<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedWork<'scope, T> {
    let work = SharedClosure::new(work);
    let theirs = work.clone();
    match Builder::new().spawn_scoped(scope, move || theirs.run()) {
        Ok(thread) => ScopedWork::Elsewhere(thread),
        Err(_) => ScopedWork::Done(work.run()),
    }
}

/// As `scope.spawn`, for work that has to go on beside the caller.
///
/// # Errors
/// There is no thread to be had: nothing of the work was done.
pub fn beside<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().spawn_scoped(scope, work)
}

/// As `std::thread::spawn`, for work without an outcome.
pub fn detached(work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let work = SharedClosure::new(work);
    let theirs = work.clone();
    match Builder::new().spawn(move || theirs.run()) {
        Ok(thread) => Some(thread),
        Err(_) => {
            work.run();
            None
        }
    }
}

/// `work` of each item, by at most `at_once` threads, one of them the caller's; the outcomes are in the items' order.
pub fn map<T: Sync, R: Send>(items: &[T], at_once: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let Ok(all) = try_map(items, at_once, |item| Ok::<_, Infallible>(work(item)));
    all
}

/// As [`map`], for work that may fail.
///
/// # Errors
/// The first one in the items' order, of those that came. No work was begun after the first that came.
pub fn try_map<T: Sync, R: Send, E: Send>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(n) else { break };
            let outcome = work(item);
            failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            done.push((n, outcome));
        }
        done
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..at_once.min(items.len())).map(|_| scoped(scope, fault::inherit(&worker))).collect();
        let mut all = worker();
        others.into_iter().for_each(|other| all.extend(other.join()));
        all
    });
    all.sort_unstable_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A closure that one of two threads runs, once.
struct SharedClosure<F>(Arc<Mutex<Option<F>>>);

impl<F> Clone for SharedClosure<F> {
    fn clone(&self) -> SharedClosure<F> {
        SharedClosure(self.0.clone())
    }
}

impl<F> SharedClosure<F> {
    fn new(work: F) -> SharedClosure<F> {
        SharedClosure(Arc::new(Mutex::new(Some(work))))
    }

    fn run<T>(&self) -> T
    where
        F: FnOnce() -> T,
    {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.expect("the other thread runs it only if there is one, and then this one does not")()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_in_the_order_of_the_items_and_an_error_ends_the_work() {
        let items: Vec<u32> = (0..100).collect();
        for at_once in [0, 1, 3, 200] {
            assert!(map(&items, at_once, |n| n * 2).into_iter().eq((0..100).map(|n| n * 2)));
            let begun = AtomicUsize::new(0);
            let failing = |n: &u32| {
                begun.fetch_add(1, Ordering::Relaxed);
                if *n == 7 { Err(*n) } else { Ok(()) }
            };
            assert_eq!(try_map(&items, at_once, failing), Err(7));
            assert!(begun.load(Ordering::Relaxed) >= 8);
        }
        assert!(map(&[] as &[u32], 4, |n| *n).is_empty());
    }
}
