//! Invalidation of the kernel's cache.
//!
//! A notice about a name needs the lock of its directory, which the program whose request is being answered may hold:
//! sent from a thread that answers requests it would wait for ever. So notices have threads of their own, a few for all
//! views of a server; those of one view are sent in their order. One about attributes alone needs no lock.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Blocking, Passthrough};
use crate::overlay::{Ino, OTHER, OverlayError, Stale, Wrote};
use crate::store::Name;
use crate::sys::fuse_dev;
use crate::sys::log::OrWarn;

/// One item of the kernel's cache that is to be invalidated.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A name, with everything below it.
    Entry { parent: Ino, name: Name },
    /// Attributes and content (of a directory: its listing).
    Inode(Ino),
    /// The bytes of this file, and its backing if it is passed through.
    Object(Ino),
    /// Nothing: it reports to a waiting thread that all notices before it were sent.
    Told(Sender<()>),
}

impl From<Stale> for Notice {
    fn from(stale: Stale) -> Notice {
        match stale {
            Stale::Entry { parent, name } => Notice::Entry { parent, name },
            Stale::Inode(ino) => Notice::Inode(ino),
            Stale::Object(ino) => Notice::Object(ino),
        }
    }
}

/// The notices of one connection. Cloning gives another end of the same queue.
#[derive(Clone)]
pub struct Notices(Arc<NoticesShared>);

struct NoticesShared {
    device: Arc<OwnedFd>,
    passthrough: Arc<Passthrough>,
    /// The threads that send them. One is reserved, so the thread that queues a notice never sends it.
    threads: Blocking,
    queue: Mutex<NoticeQueue>,
}

#[derive(Default)]
struct NoticeQueue {
    waiting: VecDeque<Notice>,
    /// One is being sent; the thread that does it takes the next one, too.
    is_sending: bool,
}

impl Notices {
    /// The notices of one connection, of which nothing is sent yet. `threads` send those that may wait for the kernel.
    pub fn new(device: Arc<OwnedFd>, passthrough: Arc<Passthrough>, threads: Blocking) -> Notices {
        Notices(Arc::new(NoticesShared { device, passthrough, threads, queue: Mutex::default() }))
    }

    /// To be called before a change of content is answered. When it took the file's set-id bits, a notice has the
    /// kernel forget the mode: after direct writes, fallocate and copy_file_range it goes on with the one it has.
    pub fn changed(&self, ino: Ino, done: Result<Wrote, OverlayError>) -> Result<usize, OverlayError> {
        let done = done?;
        if done.lost_set_id {
            // Attributes, no pages. An error means that the kernel has nothing of the file.
            fuse_dev::forget_inode(self.0.device.as_fd(), ino.0, -1).or_debug("the kernel knows no such file");
        }
        Ok(done.bytes)
    }

    /// Queues a notice. It is sent some time after the request under way has been answered.
    pub fn send(&self, notice: Notice) {
        let mut queue = self.0.queue.lock();
        queue.waiting.push_back(notice);
        if !std::mem::replace(&mut queue.is_sending, true) {
            let shared = self.0.clone();
            self.0.threads.spawn(move || shared.run());
        }
    }

    /// Waits until everything queued so far was sent, or `limit` has passed: `false`.
    pub fn wait(&self, limit: Duration) -> bool {
        let (told, waiting) = channel();
        self.send(Notice::Told(told));
        !matches!(waiting.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }

    /// How many are not sent yet.
    pub fn pending(&self) -> u64 {
        let queue = self.0.queue.lock();
        queue.waiting.len() as u64 + u64::from(queue.is_sending)
    }
}

impl NoticesShared {
    fn forget_inode(&self, ino: Ino) -> std::io::Result<()> {
        if self.passthrough.least().is_some() {
            fuse_dev::forget_inode(self.device.as_fd(), ino.0 + OTHER, 0).or_debug("the kernel knows no such file");
        }
        fuse_dev::forget_inode(self.device.as_fd(), ino.0, 0)
    }

    /// Sends what waits, in its order.
    fn run(&self) {
        loop {
            let notice = {
                let mut queue = self.queue.lock();
                match queue.waiting.pop_front() {
                    Some(notice) => notice,
                    None => return queue.is_sending = false,
                }
            };
            // ENOENT: nothing is cached. Any other error means that the connection has ended, and its caches with it.
            let sent = match notice {
                Notice::Entry { parent, name } => fuse_dev::forget_name(self.device.as_fd(), parent.0, name.bytes()),
                Notice::Inode(ino) => self.forget_inode(ino),
                Notice::Object(ino) => {
                    self.passthrough.give_up(ino);
                    self.forget_inode(ino)
                }
                Notice::Told(who) => {
                    who.send(()).or_debug("nobody waits for the notices any more");
                    Ok(())
                }
            };
            sent.or_debug("the kernel has nothing cached of it");
        }
    }
}
