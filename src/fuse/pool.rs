//! The workers of a server, which answer for all its connections: one when little is to be done, a few when much is.
//!
//! One thread waits for requests of all connections that no worker has. One of which a request has come waits for a
//! worker: a parked one, a new one while there are few, or one whose own connection is silent. When all are busy, the
//! first that has answered takes it. When none does for a while (an answer may take another connection: the directory under
//! one view may lie in another), there is one worker more, whatever the limit.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connection::ServedConnection;
use super::worker::{ConnectionSource, Phase, Worker};
use super::worker_session::{self, WorkerSession};
use super::{ArrivalPool, Blocking};
use crate::sys::fs::{self, OpenFlags};
use crate::sys::log::OrWarn;
use crate::sys::readiness::Readiness;
use crate::sys::{socket, thread};

/// The number of no connection.
const WAKER: u64 = 0;
/// More workers than processors gain nothing while answers come from memory.
const FEW: usize = 4;
/// A connection that has been silent for so long belongs to no burst.
const SILENT: Duration = Duration::from_millis(1);
/// The interval at which workers that are to stop are looked at.
const LOOK: Duration = Duration::from_micros(200);
/// How long a connection waits before there is a worker more than [`FEW`].
const STUCK: Duration = Duration::from_millis(10);
/// After so long without a request a worker gives its connection back, and after it again ends, unless it is the last.
const IDLE: Duration = Duration::from_secs(5);

/// Cloning gives the same pool. It lives as long as the process.
#[derive(Clone)]
pub struct Pool(Arc<PoolShared>);

struct PoolShared {
    readiness: Readiness,
    /// The number of connections that wait for a worker, to be read without a lock.
    waiting: AtomicUsize,
    is_draining: AtomicBool,
    state: Mutex<PoolState>,
    few: usize,
    nowhere: OwnedFd,
    /// A message from the one to the other has the watching thread look for connections that wait.
    waker: (OwnedFd, OwnedFd),
    blocking: Blocking,
    arrivals: ArrivalPool,
    notices: Blocking,
}

#[derive(Default)]
struct PoolState {
    /// All that are served, by number.
    connections: HashMap<u64, Arc<ServedConnection>>,
    next: u64,
    /// Of these a request has come, and no worker has them.
    waiting: VecDeque<(Arc<ServedConnection>, Instant)>,
    workers: Vec<Arc<Worker>>,
    /// Threads that have begun and are no worker yet.
    starting: usize,
}

impl Pool {
    /// With its first worker. `blocking` is for what takes long, `arrivals` for what waits for a
    /// remote.
    pub fn new(blocking: Blocking, arrivals: ArrivalPool) -> io::Result<Pool> {
        thread::allow_restarts()?;
        let nowhere = fs::open_path(std::path::Path::new("/dev/null"), OpenFlags::WRONLY, 0)?;
        let few = std::thread::available_parallelism().map_or(1, |n| n.get()) + 1;
        let (readiness, waker) = (Readiness::new()?, socket::packet_pair()?);
        readiness.add(waker.1.as_fd(), WAKER)?;
        let pool = Pool(Arc::new(PoolShared {
            readiness,
            waker,
            waiting: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            state: Mutex::default(),
            few: few.min(FEW),
            nowhere,
            blocking,
            arrivals,
            notices: Blocking::with_one("notices", 3)?,
        }));
        let begun = worker_session::start(pool.0.clone())?;
        pool.0.state.lock().starting += 1;
        pool.0.start(Some(begun))?;
        let shared = pool.0.clone();
        std::thread::Builder::new().name("views".into()).spawn(move || shared.watch())?;
        Ok(pool)
    }

    /// Has no further request read, and waits until all that were read are answered; `false` when some are not within
    /// the limit. Nothing reads the devices after that.
    pub fn drain(&self, limit: Duration) -> bool {
        self.0.is_draining.store(true, Ordering::SeqCst);
        self.0.arrivals.leave();
        let until = Instant::now() + limit;
        // Twice: one that had just taken a connection reads it for the first time.
        let mut at_rest = 0;
        loop {
            let state = self.0.state.lock();
            let running = state.workers.iter().filter(|worker| !worker.drain()).count() + state.starting;
            drop(state);
            at_rest =
                if running == 0 && self.0.blocking.is_idle() && self.0.arrivals.is_idle() { at_rest + 1 } else { 0 };
            if at_rest == 2 {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The threads that send notices.
    pub fn notices(&self) -> &Blocking {
        &self.0.notices
    }

    /// Answers for this connection from now on, until it ends.
    pub fn add(&self, connection: ServedConnection) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.next += 1;
        let key = state.next;
        let connection = Arc::new(connection);
        connection.key.store(key, Ordering::Relaxed);
        if connection.retained.len() == 0 {
            self.0.readiness.add(connection.device.as_fd(), key)?;
            state.connections.insert(key, connection);
            return Ok(());
        }
        // The requests that an earlier server has read come before those in the device.
        state.connections.insert(key, connection.clone());
        state.waiting.push_back((connection, Instant::now()));
        self.0.waiting.store(state.waiting.len(), Ordering::SeqCst);
        socket::send(self.0.waker.0.as_fd(), b"x", &[])
    }
}

impl PoolShared {
    /// The endless loop of the thread that watches the devices.
    fn watch(self: Arc<Self>) {
        loop {
            let limit = self.patience();
            let ready = match self.readiness.wait(limit) {
                Ok(ready) => ready,
                Err(e) => panic!("the devices can't be waited for: {e}"),
            };
            for ready in ready {
                if ready.key == WAKER {
                    socket::receive_now(self.waker.1.as_fd(), &mut [0; 1]).or_warn("the waker is not read");
                    continue;
                }
                self.has_come(ready.key, ready.has_ended);
            }
            if self.waiting.load(Ordering::SeqCst) > 0 {
                self.find_workers();
            }
            self.send_home();
        }
    }

    /// How long it may take until something has to be done without a request.
    fn patience(&self) -> Option<Duration> {
        let state = self.state.lock();
        match state.waiting.is_empty() {
            false => Some(STUCK / 2),
            true if state.workers.len() + state.starting > 1 => Some(IDLE / 2),
            true => None,
        }
    }

    fn has_come(self: &Arc<Self>, key: u64, has_ended: bool) {
        let mut state = self.state.lock();
        let Some(connection) = state.connections.get(&key).cloned() else { return };
        if let Err(e) = self.readiness.remove(connection.device.as_fd()) {
            tracing::error!(view = connection.view.id, "its device is still watched: {e}");
        }
        if has_ended {
            state.connections.remove(&key);
            drop(state);
            return self.blocking.spawn(move || connection.end());
        }
        state.waiting.push_back((connection, Instant::now()));
        self.waiting.store(state.waiting.len(), Ordering::SeqCst);
    }

    /// Has as many workers come as connections wait.
    fn find_workers(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        let mut state = self.state.lock();
        let coming = state.starting + state.workers.iter().filter(|w| w.look().2).count();
        for _ in coming..state.waiting.len() {
            let there = state.workers.len() + state.starting;
            let is_stuck = state.waiting.front().is_some_and(|(_, since)| since.elapsed() > STUCK);
            let may_start = there < self.few || (is_stuck && there <= state.connections.len());
            if state.workers.iter().any(|w| w.call_parked()) || call_away(&state.workers, SILENT) {
                continue;
            }
            if there >= self.few && call_away(&state.workers, Duration::ZERO) {
                continue;
            }
            if !may_start {
                return;
            }
            state.starting += 1;
            drop(state);
            let started = self.start(None);
            state = self.state.lock();
            if let Err(e) = started {
                tracing::warn!("no thread for one more worker: {e}");
                if !call_away(&state.workers, Duration::ZERO) {
                    return;
                }
            }
        }
    }

    /// Has workers that have had nothing to do for a while give back what they have, or end.
    fn send_home(&self) {
        let mut state = self.state.lock();
        if state.workers.len() < 2 {
            return;
        }
        let is_long = |since: Instant| since.elapsed() > IDLE;
        for worker in &state.workers {
            match worker.look() {
                (Phase::Reading, since, _) if is_long(since) => drop(worker.call_away()),
                _ => {}
            }
        }
        let mut left = state.workers.len();
        state.workers.retain(|worker| {
            let goes = left > 1 && matches!(worker.look(), (Phase::Parked, since, false) if is_long(since));
            let goes = goes && worker.dismiss();
            left -= usize::from(goes);
            !goes
        });
    }

    /// Starts one worker, whose thread was counted before.
    fn start(self: &Arc<Self>, begun: Option<(Arc<Worker>, WorkerSession)>) -> io::Result<()> {
        let me = self.clone();
        let builder = std::thread::Builder::new().name("worker".into());
        let started = builder.spawn(move || me.work(begun)).map(drop);
        started.inspect_err(|_| self.state.lock().starting -= 1)
    }

    /// The loop of a worker's thread: a session of fuser's ends with the connection that it has, and another one
    /// follows.
    fn work(self: &Arc<Self>, mut begun: Option<(Arc<Worker>, WorkerSession)>) {
        loop {
            let next = begun.take().map_or_else(|| worker_session::start(self.clone()), Ok);
            let mut state = self.state.lock();
            state.starting -= 1;
            let (worker, session) = match next {
                Ok(next) => next,
                Err(e) => return tracing::error!("one worker less: {e}"),
            };
            state.workers.push(worker.clone());
            drop(state);
            let result = session.run();
            let mut state = self.state.lock();
            state.workers.retain(|w| !Arc::ptr_eq(w, &worker));
            let Ok(connection) = worker.ended() else { return };
            state.starting += 1;
            if let Some(connection) = &connection {
                state.connections.remove(&connection.key.load(Ordering::Relaxed));
            }
            drop(state);
            match connection {
                Some(connection) => {
                    if let Err(e) = result {
                        tracing::warn!(view = connection.view.id, "the connection ended with an error: {e}");
                    }
                    connection.end();
                }
                None => {
                    tracing::error!("a worker ended: {result:?}");
                    std::thread::sleep(STUCK);
                }
            }
        }
    }
}

impl ConnectionSource for PoolShared {
    fn take_waiting(&self) -> Option<Arc<ServedConnection>> {
        if self.waiting.load(Ordering::SeqCst) == 0 || self.is_draining() {
            return None;
        }
        let mut state = self.state.lock();
        let (next, _) = state.waiting.pop_front()?;
        self.waiting.store(state.waiting.len(), Ordering::SeqCst);
        Some(next)
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    fn release(&self, connection: Arc<ServedConnection>) {
        let key = connection.key.load(Ordering::Relaxed);
        if let Err(e) = self.readiness.add(connection.device.as_fd(), key) {
            tracing::error!(view = connection.view.id, "its device can't be watched: {e}");
            let mut state = self.state.lock();
            state.waiting.push_back((connection, Instant::now()));
            self.waiting.store(state.waiting.len(), Ordering::SeqCst);
        }
    }

    fn null_device(&self) -> BorrowedFd<'_> {
        self.nowhere.as_fd()
    }
}

/// Calls away the worker whose connection has been silent for longest, and at least so long.
fn call_away(workers: &[Arc<Worker>], silent: Duration) -> bool {
    let mut idle: Vec<_> = workers.iter().map(|worker| (worker.look(), worker)).collect();
    idle.retain(|((phase, since, _), _)| *phase == Phase::Reading && since.elapsed() >= silent);
    idle.sort_by_key(|((_, since, _), _)| *since);
    idle.iter().any(|(_, worker)| worker.call_away())
}

#[cfg(test)]
mod tests;
