//! Which of many descriptors can be read, for one thread that waits for all of them (epoll(7)).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

/// Descriptors and the numbers under which they are reported. One has to be taken out before it is closed.
#[derive(Debug)]
pub struct Readiness(OwnedFd);

/// One that a read would not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub key: u64,
    /// It is in error, or its other end is closed.
    pub has_ended: bool,
}

impl Readiness {
    /// An empty set, close-on-exec. EMFILE or ENFILE if no descriptor is free.
    pub fn new() -> io::Result<Readiness> {
        Ok(Readiness(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Reports `fd` under `key` as soon as it can be read, and again as long as it can (level-triggered). EEXIST if it
    /// is in the set.
    pub fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?)
    }

    /// Takes `fd` out. It must still be open: closing it does not take it out while a duplicate is open (epoll(7)).
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.0, fd)?)
    }

    /// Waits until there is at least one, at most so long; reports the same ones again as long as they are ready.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<Ready>> {
        let limit =
            limit.map(|limit| Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() });
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let (events, _) = match epoll::wait(&self.0, &mut events, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            events => events?,
        };
        let ready = |event: &epoll::Event| {
            let flags = event.flags;
            let has_ended = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            Ready { key: event.data.u64(), has_ended }
        };
        Ok(events.iter().map(ready).collect())
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;

    #[test]
    fn what_can_be_read_is_reported_by_its_key_until_it_is_taken_out() {
        let (near, far) = socket::packet_pair().expect("a pair");
        let (other, end) = socket::packet_pair().expect("a pair");
        let readiness = Readiness::new().expect("made");
        readiness.add(near.as_fd(), 7).expect("added");
        readiness.add(other.as_fd(), 8).expect("added");
        assert_eq!(readiness.wait(Some(Duration::ZERO)).expect("asked"), []);
        socket::send(far.as_fd(), b"x", &[]).expect("sent");
        for _ in 0..2 {
            assert_eq!(readiness.wait(None).expect("asked"), [Ready { key: 7, has_ended: false }]);
        }
        readiness.remove(near.as_fd()).expect("taken out");
        drop(end);
        assert_eq!(readiness.wait(None).expect("asked"), [Ready { key: 8, has_ended: true }]);
    }
}
