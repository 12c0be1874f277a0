//! A worker: one session of fuser's, whose descriptor refers to the device of one connection after another.
//!
//! fuser reads a request, has it answered by the `Adapter`, and reads the next one, always by the same number. At the
//! end of each answer, on fuser's own thread, the worker may have that number refer to another device
//! ([`DescriptorSlot::refer_to`]). Otherwise it stays with the connection that it has, and waits in fuser's read(2) for
//! the next request: a view that is busy costs no more than with a thread of its own. While a worker has a connection,
//! no other thread reads its device, so the requests of one connection are answered in their order.
//!
//! A thread that needs a waiting worker *calls* it: its number is made to refer to a socket on which a request without
//! an answer waits ([`fuse_dev::call`]), and a signal has its read(2) begin again. Without a connection a worker waits
//! on that socket.
//!
//! | phase   | the number refers to | what happens next                                                         |
//! |---------|----------------------|---------------------------------------------------------------------------|
//! | parked  | the socket           | it is called, takes a connection that waits, and reads                     |
//! | reading | a device             | a request comes: busy. Or it is called                                     |
//! | called  | the socket           | it reads the call: parked. Or it had read a request before that: busy, and the number refers to the device again before anything is answered |
//! | busy    | a device             | the request is answered: reading, of the same connection or another       |
//!
//! Some requests fuser answers itself, without the adapter (those that it doesn't know: ENOSYS). The answer of one that
//! was read just before a call goes to the socket; it is passed on when the call is read.

mod answering;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use fuser::Request;
use parking_lot::Mutex;

use super::connection::ServedConnection;
use super::resend;
use crate::sys::fuse_dev::{self, DescriptorSlot, KernelOffer};
use crate::sys::retained::{self, RequestSlot};
use crate::sys::thread::{self, ThreadId};
use crate::sys::{fs, socket};

pub use answering::{Answering, Pending};

/// The offer that begins a worker's session, without a kernel; the negotiation of kernel and connection holds.
const OFFER: KernelOffer = KernelOffer { major: 7, minor: 31, max_readahead: 0, capabilities: 0 };

/// The connections that wait for a worker.
pub trait ConnectionSource: Send + Sync {
    /// The connection that has waited longest.
    fn take_waiting(&self) -> Option<Arc<ServedConnection>>;
    /// Workers read no further request.
    fn is_draining(&self) -> bool;
    /// No worker has this connection any more.
    fn release(&self, connection: Arc<ServedConnection>);
    /// Writes to it are discarded.
    fn null_device(&self) -> BorrowedFd<'_>;
}

/// The state of one worker, shared by its own thread and by those that call it.
pub struct Worker {
    source: Arc<dyn ConnectionSource>,
    /// The socket; the session's number refers to it, too, at the beginning.
    near: OwnedFd,
    far: OwnedFd,
    state: Mutex<WorkerState>,
}

struct WorkerState {
    phase: Phase,
    /// That of fuser's session, which stays open as long as this is here.
    number: Option<(DescriptorSlot, fuser::Notifier)>,
    /// The connection whose device the number refers to, or did before the call.
    connection: Option<Arc<ServedConnection>>,
    /// Of the phase.
    since: Instant,
    /// fuser's, once it has read something.
    thread: ThreadId,
    /// A call is on the socket.
    is_called: bool,
    /// The buffer of its session, if that outlives this process.
    buffer: Option<RequestSlot>,
    /// The retained request that the number refers to, or that is being answered.
    resending: Option<RequestSlot>,
}

/// The phase of a worker; the table above shows what its descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Parked,
    Reading,
    Called,
    Busy,
    /// It was made to end, or its session has ended.
    Gone,
}

impl Worker {
    /// A parked worker, and the socket that its session begins to read.
    ///
    /// # Errors
    /// No socket could be made.
    pub fn new(source: Arc<dyn ConnectionSource>) -> io::Result<(Arc<Worker>, OwnedFd)> {
        let (near, far) = socket::packet_pair()?;
        socket::send(far.as_fd(), &OFFER.to_request(), &[])?;
        let state = WorkerState {
            phase: Phase::Parked,
            number: None,
            connection: None,
            since: Instant::now(),
            thread: ThreadId::default(),
            is_called: false,
            buffer: None,
            resending: None,
        };
        let (kept, state) = (fs::duplicate(near.as_fd())?, Mutex::new(state));
        Ok((Arc::new(Worker { source, near: kept, far, state }), near))
    }

    /// The worker's session, as `number` and `notifier`, has read the handshake. Calls the worker.
    ///
    /// # Errors
    /// The socket could not be read.
    pub fn begun(&self, number: DescriptorSlot, notifier: fuser::Notifier) -> io::Result<()> {
        self.state.lock().number = Some((number, notifier));
        let mut answer = [0; 256];
        while socket::receive_now(self.far.as_fd(), &mut answer)?.is_some() {}
        self.call();
        Ok(())
    }

    /// Has it look for a connection that waits.
    fn call(&self) {
        let mut state = self.state.lock();
        self.send_call(&mut state);
    }

    fn send_call(&self, state: &mut WorkerState) {
        if !std::mem::replace(&mut state.is_called, true)
            && let Err(e) = socket::send(self.far.as_fd(), &fuse_dev::call(), &[])
        {
            tracing::error!("a worker can't be called: {e}");
        }
    }

    /// The worker's phase, its begin, and whether the worker will look for a connection soon.
    pub fn look(&self) -> (Phase, Instant, bool) {
        let state = self.state.lock();
        let comes = state.phase == Phase::Called || (state.phase == Phase::Parked && state.is_called);
        (state.phase, state.since, comes)
    }

    /// Calls it if it is parked.
    pub fn call_parked(&self) -> bool {
        let mut state = self.state.lock();
        let is_parked = state.phase == Phase::Parked && !state.is_called;
        if is_parked {
            self.send_call(&mut state);
        }
        is_parked
    }

    /// Calls it away from a connection of which no request waits.
    pub fn call_away(&self) -> bool {
        let mut state = self.state.lock();
        let is_idle = state.phase == Phase::Reading
            && state.resending.is_none()
            && state.connection.as_ref().is_some_and(|c| !fuse_dev::has_request(c.device.as_fd()));
        if is_idle {
            state.refer_to(self.near.as_fd());
            (state.phase, state.since) = (Phase::Called, Instant::now());
            self.send_call(&mut state);
            thread::restart_call(state.thread);
            return true;
        }
        false
    }

    /// Has it read no further request; whether it has stopped. To be repeated until it has.
    pub fn drain(&self) -> bool {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Parked | Phase::Gone => return true,
            Phase::Busy | Phase::Called => return false,
            Phase::Reading => {}
        }
        state.refer_to(self.near.as_fd());
        (state.phase, state.since) = (Phase::Called, Instant::now());
        self.send_call(&mut state);
        thread::restart_call(state.thread);
        false
    }

    /// Reads no device any more, after an answer.
    fn park(&self) {
        let mut state = self.state.lock();
        state.refer_to(self.near.as_fd());
        (state.phase, state.since) = (Phase::Parked, Instant::now());
    }

    /// Has it end, if it is parked.
    pub fn dismiss(&self) -> bool {
        let mut state = self.state.lock();
        let is_parked = state.phase == Phase::Parked && !state.is_called;
        if is_parked && socket::send(self.far.as_fd(), &fuse_dev::farewell(), &[]).is_ok() {
            state.phase = Phase::Gone;
            return true;
        }
        false
    }

    /// A call was read, by fuser's thread, whose buffer has its header.
    pub fn was_called(&self, header: &Request) {
        let before = {
            let mut state = self.state.lock();
            state.buffer = retained::memory().and_then(|memory| memory.slot_of(header));
            state.is_called = false;
            state.thread = thread::this();
            let before = state.connection.take();
            self.pass_on(before.as_deref());
            (state.phase, state.since) = (Phase::Parked, Instant::now());
            before
        };
        if let Some(before) = before {
            self.source.release(before);
        }
        self.take_waiting();
    }

    /// Answers that fuser gave itself on the socket belong to the connection that was there before.
    fn pass_on(&self, before: Option<&ServedConnection>) {
        let mut message = [0; 4096];
        while let Ok(Some(n)) = socket::receive_now(self.far.as_fd(), &mut message)
            && n > 0
        {
            if let Some(before) = before
                && let Err(e) = fuse_dev::pass_on(before.device.as_fd(), &message[..n])
            {
                tracing::debug!(view = before.view.id, "an answer that nobody waits for: {e}");
            }
        }
    }

    /// A request was read: whose it is. The caller reports its answer by [`Worker::rest`].
    fn begin(&self) -> Arc<ServedConnection> {
        let mut state = self.state.lock();
        let connection = state.connection.clone().expect("the socket carries calls");
        if state.phase == Phase::Called || state.resending.is_some() {
            state.refer_to(connection.device.as_fd());
        }
        resend::set_retained(state.resending.is_some());
        state.phase = Phase::Busy;
        connection
    }

    /// The request that was begun is answered, and another one of the same connection may come. After a retained one the
    /// next retained one is read. `false`: it was none.
    fn rest(&self, now: Instant, connection: &ServedConnection) -> bool {
        let mut state = self.state.lock();
        (state.phase, state.since) = (Phase::Reading, now);
        let Some(answered) = state.resending.take() else { return false };
        answered.free();
        state.read_from(connection);
        true
    }

    /// Goes over to a connection that waits, if one does.
    fn take_waiting(&self) {
        // A thread that queues a connection looks for idle workers after that: one of the two sees the other.
        fence(Ordering::SeqCst);
        let Some(next) = self.source.take_waiting() else { return };
        let before = {
            let mut state = self.state.lock();
            if let Some(buffer) = state.buffer {
                buffer.begin(next.view.connection);
            }
            state.read_from(&next);
            (state.phase, state.since) = (Phase::Reading, Instant::now());
            state.connection.replace(next)
        };
        if let Some(before) = before {
            self.source.release(before);
        }
    }

    /// Does something while what is answered through fuser's session goes nowhere. To be called between
    /// [`Worker::begin`] and [`Worker::rest`].
    fn unheard(&self, connection: &ServedConnection, answer: impl FnOnce()) {
        let state = self.state.lock();
        state.refer_to(self.source.null_device());
        answer();
        state.refer_to(connection.device.as_fd());
    }

    /// The session has ended: the connection that it had, which ended it, or `Err` when it was made to end.
    pub fn ended(&self) -> Result<Option<Arc<ServedConnection>>, ()> {
        let mut state = self.state.lock();
        // Only now may the number be closed, and used for something else: no thread has it refer to anything any more.
        state.number = None;
        match std::mem::replace(&mut state.phase, Phase::Gone) {
            Phase::Gone => Err(()),
            _ => Ok(state.connection.take()),
        }
    }
}

impl WorkerState {
    /// Has the number refer to the next retained request of a connection, or to its device.
    fn read_from(&mut self, connection: &ServedConnection) {
        match connection.retained.next() {
            Some((slot, file)) => {
                self.refer_to(file.as_fd());
                self.resending = Some(slot);
            }
            None => self.refer_to(connection.device.as_fd()),
        }
    }

    fn refer_to(&self, file: BorrowedFd<'_>) {
        let Some((number, _)) = &self.number else { return };
        // Both are open, and the number is in use: what is left to fail is a process that is broken.
        number.refer_to(file).expect("dup3(2) on a number that is in use");
    }
}
