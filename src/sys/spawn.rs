//! Threads that make work faster, and that it goes on without: where none can be had (RLIMIT_NPROC, a pids cgroup), the
//! caller's thread does it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// Work that was given to a thread, or done already.
pub enum Work<'scope, T> {
    Elsewhere(ScopedJoinHandle<'scope, T>),
    Done(T),
}

impl<T> Work<'_, T> {
    /// Waits for its outcome. It panics as the work did.
    pub fn join(self) -> T {
        match self {
            Work::Elsewhere(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Work::Done(outcome) => outcome,
        }
    }
}

/// As `scope.spawn`, which panics where there is no thread to be had.
pub fn scoped<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Work<'scope, T> {
    let work = SharedClosure::new(work);
    let theirs = work.clone();
    match Builder::new().spawn_scoped(scope, move || theirs.run()) {
        Ok(thread) => Work::Elsewhere(thread),
        Err(_) => Work::Done(work.run()),
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
