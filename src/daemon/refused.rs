//! Views that no server could keep alive, and those whose journal was deleted: each of their requests gets EIO.
//!
//! The thread that reads the keeper's messages answers them. A server that only refuses needs no other thread: the
//! lack of threads may be why it refuses.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::wire::ConnectionId;
use crate::sys::{fuse_dev, process};

struct Refusal {
    connection: ConnectionId,
    device: OwnedFd,
    view: String,
}

/// The refused connections of a server.
#[derive(Default)]
pub struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Takes over a connection: every request of it, those that a dead server had read included, fails with EIO from
    /// now on. `view` is its id, for the log.
    pub fn add(&mut self, connection: ConnectionId, device: OwnedFd, view: &str) {
        if let Err(e) = fuse_dev::resend(device.as_fd()) {
            // Kernels before 6.9.
            let refused = fuse_dev::refuse_unanswered(device.as_fd(), connection);
            tracing::warn!(view, "the kernel does not send unanswered requests again: {e}; {refused} are refused");
        }
        self.0.push(Refusal { connection, device, view: view.into() });
    }

    /// Refuses requests until a message can be read from `socket`, or `limit` has passed. Returns the connections that
    /// have ended meanwhile, as soon as one has.
    pub fn answer_until_message(&mut self, socket: &OwnedFd, limit: Option<Duration>) -> io::Result<Vec<ConnectionId>> {
        let (mut ended, until) = (Vec::new(), limit.map(|limit| Instant::now() + limit));
        while !self.0.is_empty() && ended.is_empty() {
            let fds: Vec<_> = std::iter::once(socket.as_fd()).chain(self.0.iter().map(|r| r.device.as_fd())).collect();
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let awake = process::wait_any(&fds, left)?;
            if !awake.contains(&true) {
                break;
            }
            let mut awake = awake.into_iter();
            if awake.next() == Some(true) {
                break;
            }
            self.0.retain(|refusal| {
                let goes_on = awake.next() != Some(true) || refusal.answer();
                ended.extend((!goes_on).then_some(refusal.connection));
                goes_on
            });
        }
        Ok(ended)
    }
}

impl Refusal {
    /// Answers the requests that wait. `false`: the connection has ended.
    fn answer(&self) -> bool {
        fuse_dev::refuse_waiting(self.device.as_fd()).unwrap_or_else(|e| {
            tracing::error!(view = self.view, "cannot even refuse: {e}");
            false
        })
    }
}
