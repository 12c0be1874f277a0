//! Requests that take long: answered by the blocking pool, while the view serves others.
//!
//! Mostly the first change of a shared file that is long to copy. The kernel holds the file's lock until it is answered,
//! so no other write to it overtakes. A server that dies meanwhile has not answered, and the next one is sent the request
//! again. The others wait for the disk: a sync covers all requests that were answered before it was sent, and requests
//! after it need not wait.
//!
//! fuser's replies go to the present connection of the worker's session, so a later answer is written without them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use fuser::{Errno, ReplyEmpty, ReplyWrite, Request};

use super::errno::to_errno;
use super::reply::{empty, written};
use super::worker::{Answering, Pending};
use crate::overlay::{Ino, Overlay, OverlayError};
use crate::sys::fuse_dev;
use crate::sys::log::OrWarn;

/// A reply that can be given later: nothing, or how many bytes.
pub trait Reply {
    const HAS_BYTES: bool;

    fn give(self, on: &Answering<'_>, done: Result<usize, OverlayError>);
    /// Gives an answer that nobody hears.
    fn give_up(self);
}

impl Reply for ReplyEmpty {
    const HAS_BYTES: bool = false;

    fn give(self, on: &Answering<'_>, done: Result<usize, OverlayError>) {
        empty(on, done.map(drop), self);
    }

    fn give_up(self) {
        self.error(Errno::EIO);
    }
}

impl Reply for ReplyWrite {
    const HAS_BYTES: bool = true;

    fn give(self, on: &Answering<'_>, done: Result<usize, OverlayError>) {
        written(on, done, self);
    }

    fn give_up(self) {
        self.error(Errno::EIO);
    }
}

/// Has `change` make a change of a file's bytes, and its outcome answered: now, or from the pool when the file is long to
/// copy. `data` is what it is given.
pub fn change<R: Reply>(
    on: &Answering<'_>,
    (request, reply): (&Request, R),
    ino: Ino,
    data: &[u8],
    change: impl FnOnce(&Overlay, &[u8]) -> Result<usize, OverlayError> + Send + 'static,
) {
    let overlay = &on.view.overlay;
    if !overlay.copies_long(ino) {
        return reply.give(on, change(overlay, data));
    }
    let (overlay, data) = (overlay.clone(), data.to_vec());
    apart(on, (request, reply), move || {
        // A copy that failed here fails again in the change, which answers with the error.
        overlay.copy_ahead(ino).or_debug("it is copied while the view is locked");
        change(&overlay, &data)
    });
}

/// Answers `fsync` and `fsyncdir`.
pub fn sync(on: &Answering<'_>, (request, reply): (&Request, ReplyEmpty), ino: Ino, data_only: bool) {
    match on.view.overlay.to_sync(ino, data_only) {
        Ok(Some(sync)) => apart(on, (request, reply), move || sync.wait().map(|()| 0)),
        done => empty(on, done.map(drop), reply),
    }
}

/// Has `work` done, and its outcome answered, by the pool.
pub fn apart<R: Reply>(
    on: &Answering<'_>,
    (request, reply): (&Request, R),
    work: impl FnOnce() -> Result<usize, OverlayError> + Send + 'static,
) {
    let Some(kept) = on.keep() else { return reply.give(on, work()) };
    let pending = on.unheard(kept, || reply.give_up());
    let later = Later { device: on.device.clone(), unique: request.unique().0, has_bytes: R::HAS_BYTES, pending };
    on.view.blocking.spawn(move || {
        let done = later.pending.work(work);
        later.give(done);
    });
}

/// The parts of a request that a later answer needs.
struct Later {
    device: Arc<OwnedFd>,
    unique: u64,
    has_bytes: bool,
    pending: Pending,
}

impl Later {
    fn give(self, done: Result<usize, OverlayError>) {
        // fuse_write_out: size u32, padding u32.
        let mut body = [0; 8];
        let result = match &done {
            Ok(bytes) if self.has_bytes => {
                body[..4].copy_from_slice(&(*bytes as u32).to_ne_bytes());
                Ok(&body[..])
            }
            Ok(_) => Ok(&[][..]),
            Err(e) => Err(to_errno(e).code()),
        };
        if let Err(e) = fuse_dev::answer(self.device.as_fd(), self.unique, result) {
            tracing::debug!("an answer that nobody waits for any more: {e}");
        }
        self.pending.answered(match (done, result) {
            (_, Err(errno)) => Err(errno),
            (Ok(bytes), Ok(_)) if self.has_bytes => Ok(bytes),
            _ => Ok(0),
        });
    }
}
