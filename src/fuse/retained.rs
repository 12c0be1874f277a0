//! Requests that a dead server had read and not answered, on kernels that do not send them again (before 6.9).
//!
//! They are in memory that outlived the server ([`crate::sys::retained`]). The worker that takes the connection first
//! reads them, each from a file in memory, before it reads the device: they go the same way as others, with the rules
//! for resent requests ([`super::resend`]), and the answer carries the number that the kernel waits for.
//!
//! A copy stays where it was until the request is answered, so a server that dies meanwhile leaves it to the next.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use parking_lot::Mutex;

use crate::sys::log::OrWarn;
use crate::sys::retained::{self, RequestSlot, RetainedRequest};
use crate::sys::{fuse_dev, socket};

/// FUSE_RELEASE and FUSE_RELEASEDIR.
const RELEASES: [u32; 2] = [18, 29];

/// Whether the adapter answers requests with this operation code of `linux/fuse.h`. fuser answers all others by itself.
fn is_known(opcode: u32) -> bool {
    matches!(opcode, 1 | 3..=6 | 8..=17 | 20..=25 | 27 | 28 | 30 | 35 | 39 | 43..=47)
}

/// The requests of one connection that are to be answered before its device is read.
#[derive(Default)]
pub struct RetainedQueue(Mutex<VecDeque<RequestSlot>>);

impl RetainedQueue {
    /// Those that are unanswered. The operations that the adapter does not have are answered at once.
    pub fn of(device: BorrowedFd<'_>, connection: u64) -> RetainedQueue {
        let (known, others): (Vec<_>, Vec<_>) =
            fuse_dev::unanswered(device, connection).into_iter().partition(|request| is_known(request.opcode));
        others.iter().for_each(|request| answer_unknown(device, request));
        RetainedQueue(Mutex::new(known.iter().map(|request| request.slot).collect()))
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// The next one, and a file from which it can be read once.
    pub fn next(&self) -> Option<(RequestSlot, OwnedFd)> {
        loop {
            let slot = self.0.lock().pop_front()?;
            match socket::memory_file(&slot.bytes()) {
                Ok(file) => return Some((slot, file)),
                Err(e) => {
                    tracing::error!("an unanswered request of an ended server is lost: {e}");
                    slot.free();
                }
            }
        }
    }
}

impl Drop for RetainedQueue {
    fn drop(&mut self) {
        self.0.lock().drain(..).for_each(RequestSlot::free);
    }
}

fn answer_unknown(device: BorrowedFd<'_>, request: &RetainedRequest) {
    let outcome = if RELEASES.contains(&request.opcode) { Ok(&[][..]) } else { Err(libc::ENOSYS) };
    fuse_dev::answer(device, request.unique, outcome).or_debug("nobody waits for the answer any more");
    request.slot.free();
}

/// A request's copy that stays until it is answered, by whichever thread.
#[derive(Debug)]
pub struct KeptRequest(Option<RequestSlot>);

impl KeptRequest {
    /// Copies the request in `slot`, the buffer of the calling worker. `None`: there is no room, so the request has to be
    /// answered before the next one is read. On kernels that send requests again nothing is copied.
    pub fn of(slot: Option<RequestSlot>) -> Option<KeptRequest> {
        match retained::memory() {
            None => Some(KeptRequest(None)),
            Some(memory) => Some(KeptRequest(Some(memory.keep(slot?)?))),
        }
    }
}

impl Drop for KeptRequest {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.free();
        }
    }
}

/// Takes the memory into which an earlier server has read, and this one will read.
///
/// # Errors
/// It can't be mapped, or has another layout.
pub fn adopt(memory: &OwnedFd) -> io::Result<()> {
    retained::adopt(memory).map(drop)
}
