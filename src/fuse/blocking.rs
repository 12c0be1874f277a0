//! A blocking pool: threads of a server that do what waits for a disk or for the kernel, or takes long, for all its views.
//!
//! Threads are made when work comes and none is idle, up to a limit; work beyond that waits for its turn. One that had
//! nothing to do for a while ends.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::sys::fault;

/// How long a thread waits for more work.
const IDLE: Duration = Duration::from_secs(5);

type BlockingWork = Box<dyn FnOnce() + Send>;

/// Cloning gives the same pool; its threads end some time after their work.
#[derive(Clone)]
pub struct Blocking(Arc<BlockingShared>);

struct BlockingShared {
    name: &'static str,
    /// The most threads, and how many of them never end.
    most: usize,
    kept: usize,
    state: Mutex<BlockingState>,
    more: Condvar,
}

#[derive(Default)]
struct BlockingState {
    queue: VecDeque<BlockingWork>,
    threads: usize,
    idle: usize,
}

impl Blocking {
    /// At most so many threads, and none yet.
    pub fn new(name: &'static str, most: usize) -> Blocking {
        Blocking(Arc::new(BlockingShared { name, most, kept: 0, state: Mutex::default(), more: Condvar::new() }))
    }

    /// As [`Blocking::new`], with one thread from the beginning, which is kept: work never waits for one to be had.
    pub fn with_one(name: &'static str, most: usize) -> io::Result<Blocking> {
        let shared = BlockingShared { name, most, kept: 1, state: Mutex::default(), more: Condvar::new() };
        let pool = Blocking(Arc::new(shared));
        pool.0.state.lock().threads = 1;
        start(pool.0.clone())?;
        Ok(pool)
    }

    /// Nothing is being done or waits to be done.
    pub fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        state.queue.is_empty() && state.idle == state.threads
    }

    /// Has `work` done by a thread of the pool. When the system has none to give, the caller does it.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        self.spawn_with(work, start);
    }

    fn spawn_with(
        &self,
        work: impl FnOnce() + Send + 'static,
        start: impl FnOnce(Arc<BlockingShared>) -> io::Result<()>,
    ) {
        let mut state = self.0.state.lock();
        state.queue.push_back(Box::new(fault::inherit(work)));
        if state.idle >= state.queue.len() {
            self.0.more.notify_one();
        } else if state.threads < self.0.most {
            state.threads += 1;
            drop(state);
            if let Err(e) = start(self.0.clone()) {
                tracing::warn!("no thread for the pool {}: {e}", self.0.name);
                self.0.no_thread();
            }
        }
    }
}

fn start(shared: Arc<BlockingShared>) -> io::Result<()> {
    let builder = thread::Builder::new().name(shared.name.into());
    builder.spawn(move || shared.run()).map(drop)
}

impl BlockingShared {
    /// The loop of one thread.
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work();
                state = self.state.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.more.wait_for(&mut state, IDLE);
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() && state.threads > self.kept {
                state.threads -= 1;
                return;
            }
        }
    }

    /// One that was to begin could not: others do its work, or, without any, this one.
    fn no_thread(&self) {
        let mut state = self.state.lock();
        state.threads -= 1;
        while state.threads == 0
            && let Some(work) = state.queue.pop_front()
        {
            drop(state);
            work();
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    const MOST: usize = 8;
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn work_beyond_the_most_threads_waits_and_is_done() {
        let pool = Blocking::new("test", MOST);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (done, is_done) = channel();
        for _ in 0..5 * MOST {
            let (running, most, done) = (running.clone(), most.clone(), done.clone());
            pool.spawn(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
                running.fetch_sub(1, Ordering::SeqCst);
                done.send(()).expect("waited for");
            });
        }
        (0..5 * MOST).for_each(|_| is_done.recv_timeout(PATIENCE).expect("done"));
        let most = most.load(Ordering::SeqCst);
        assert!((2..=MOST).contains(&most), "{most} at once");
    }

    #[test]
    fn one_that_takes_long_does_not_hold_up_the_next() {
        let pool = Blocking::new("test", MOST);
        let (release, held) = channel::<()>();
        let (done, is_done) = channel();
        pool.spawn(move || assert!(held.recv().is_err()));
        pool.spawn(move || done.send(()).expect("waited for"));
        is_done.recv_timeout(PATIENCE).expect("done");
        drop(release);
    }

    #[test]
    fn without_a_thread_to_have_whoever_brings_the_work_does_it() {
        let none = |_| Err(io::ErrorKind::WouldBlock.into());
        let me = thread::current().id();
        let pool = Blocking::new("test", MOST);
        let (done, is_done) = channel();
        let tell = |done: std::sync::mpsc::Sender<_>| move || done.send(thread::current().id()).expect("waited for");
        pool.spawn_with(tell(done.clone()), none);
        assert_eq!(is_done.try_recv(), Ok(me), "it was not done at once");

        let pool = Blocking::with_one("test", MOST).expect("a thread");
        let (release, held) = channel::<()>();
        pool.spawn(move || assert!(held.recv().is_err()));
        pool.spawn_with(tell(done), none);
        assert!(is_done.try_recv().is_err(), "it was not left to the thread there is");
        drop(release);
        assert_ne!(is_done.recv_timeout(PATIENCE), Ok(me));
    }
}
