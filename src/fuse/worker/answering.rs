//! A request while it is answered, by the worker that has read it or later by another thread.

use std::cell::Cell;
use std::ffi::OsStr;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use fuser::{Errno, INodeNo};
use tracing::Span;
use tracing::span::EnteredSpan;

use super::Worker;
use crate::fuse::connection::ServedConnection;
use crate::fuse::errno::RequestOutcome;
use crate::fuse::requests::{self, Operation, Requests};
use crate::fuse::retained::KeptRequest;

/// A request that is being answered, and the connection that it is of. When it has been, the worker may spin for the
/// next one, or turn to another connection.
pub struct Answering<'a> {
    worker: &'a Worker,
    connection: Arc<ServedConnection>,
    then: Then,
    pub operation: Operation,
    /// `None`: its time is not taken.
    began: Option<Instant>,
    /// The error number that it was answered with; `None`: it is answered later, elsewhere.
    outcome: Cell<Option<i32>>,
    span: EnteredSpan,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Spin,
    /// Look out as long as is left, and turn to no other connection.
    Stay,
}

impl Worker {
    /// To be held while a request is answered.
    pub fn request(&self, operation: Operation, number: INodeNo, name: Option<&OsStr>) -> Answering<'_> {
        self.answering(Then::Spin, operation, number, name)
    }

    /// To be held during work that no program waits for; the worker stays with its connection.
    pub fn aside(&self, operation: Operation, number: INodeNo) -> Answering<'_> {
        self.answering(Then::Stay, operation, number, None)
    }

    fn answering(&self, then: Then, operation: Operation, number: INodeNo, name: Option<&OsStr>) -> Answering<'_> {
        let connection = self.begin();
        let began = (then != Then::Stay).then(Instant::now);
        if let (Then::Spin, Some(now)) = (then, began) {
            connection.busy_poll.begin(now);
        }
        let span = requests::span(&connection.view.id, operation, number, name).entered();
        Answering { worker: self, connection, then, operation, began, outcome: Cell::new(Some(0)), span }
    }
}

impl RequestOutcome for Answering<'_> {
    fn refused(&self, errno: Errno) -> Errno {
        self.outcome.set(Some(errno.code()));
        errno
    }
}

impl Answering<'_> {
    /// A copy of the request that outlives this process, for an answer by another thread; `None`: there is no room.
    pub fn keep(&self) -> Option<KeptRequest> {
        KeptRequest::of(self.worker.state.lock().buffer)
    }

    /// Lets go of fuser's reply: the request is answered later, elsewhere.
    pub fn unheard(&self, kept: KeptRequest, reply: impl FnOnce()) -> Pending {
        self.worker.unheard(&self.connection, reply);
        self.outcome.set(None);
        let began = self.began.unwrap_or_else(Instant::now);
        let requests = self.connection.requests.clone();
        Pending { requests, operation: self.operation, began, span: self.span.clone(), _kept: kept }
    }
}

impl Deref for Answering<'_> {
    type Target = ServedConnection;

    fn deref(&self) -> &ServedConnection {
        &self.connection
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let (now, device) = (Instant::now(), self.connection.device.as_fd());
        let spun = match self.then {
            _ if self.outcome.get().is_none() => {
                self.connection.busy_poll.pause();
                false
            }
            Then::Spin => self.connection.busy_poll.end(device, now),
            Then::Stay => self.connection.busy_poll.aside(device),
        };
        if let Some(errno) = self.outcome.get() {
            let took = self.began.map(|began| now - began);
            self.connection.requests.answered(self.operation, took, errno);
            requests::report(&self.span, took, errno);
        }
        if self.then != Then::Stay && self.worker.source.is_draining() {
            return self.worker.park();
        }
        let resends = self.worker.rest(if spun { Instant::now() } else { now }, &self.connection);
        if self.then != Then::Stay && !resends {
            self.worker.take_waiting();
        }
    }
}

/// A request that is answered later, by another thread.
pub struct Pending {
    requests: Arc<Requests>,
    operation: Operation,
    began: Instant,
    span: Span,
    _kept: KeptRequest,
}

impl Pending {
    /// Carries it out.
    pub fn work<R>(&self, work: impl FnOnce() -> R) -> R {
        self.span.in_scope(work)
    }

    /// The counters of its connection.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// It was answered, with an error number or 0.
    pub fn answered(self, errno: i32) {
        let took = Some(self.began.elapsed());
        self.requests.answered(self.operation, took, errno);
        requests::report(&self.span, took, errno);
    }
}
