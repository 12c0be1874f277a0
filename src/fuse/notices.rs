//! Telling the kernel that something it has cached is no longer so.
//!
//! A notice about a name needs the lock of its directory, which the program whose request is being answered may hold:
//! sent from a thread that answers requests it would wait for ever. So notices have a thread of their own. One about
//! attributes alone needs no lock.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuser::{INodeNo, Notifier};

use super::Passthrough;
use super::attr::OTHER;
use crate::overlay::{Error, Ino, Stale, Wrote};
use crate::store::Name;

/// What the kernel shall forget.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A name, with everything below it.
    Entry { parent: Ino, name: Name },
    /// Attributes and content (of a directory: its listing).
    Inode(Ino),
    /// Nothing; whoever waits is told that all before it was sent.
    Told(Sender<()>),
}

impl From<Stale> for Notice {
    fn from(stale: Stale) -> Notice {
        match stale {
            Stale::Entry { parent, name } => Notice::Entry { parent, name },
            Stale::Inode(ino) => Notice::Inode(ino),
        }
    }
}

/// The queue. Cloning gives another end of the same one; its thread ends with the last.
#[derive(Clone)]
pub struct Notices {
    queue: Sender<Notice>,
    pending: Arc<AtomicU64>,
    at_once: Arc<OnceLock<Notifier>>,
}

impl Notices {
    /// `notifier` comes when the session has begun: [`Unstarted::start`].
    pub fn new() -> (Notices, Unstarted) {
        let (queue, waiting) = channel();
        let pending = Arc::new(AtomicU64::new(0));
        let at_once = Arc::new(OnceLock::new());
        let unstarted = Unstarted { waiting, pending: pending.clone(), at_once: at_once.clone() };
        (Notices { queue, pending, at_once }, unstarted)
    }

    /// To be called before a change of content is answered. When it took the file's set-id bits, the kernel is told to
    /// forget the mode: after direct writes, fallocate and copy_file_range it goes on with the one it has.
    pub fn changed(&self, ino: Ino, done: Result<Wrote, Error>) -> Result<usize, Error> {
        let done = done?;
        if done.lost_set_id
            && let Some(notifier) = self.at_once.get()
        {
            // A negative offset: attributes, no pages. An error means that the kernel knows nothing of the file.
            let _ = notifier.inval_inode(INodeNo(ino.0), -1, 0);
        }
        Ok(done.bytes)
    }

    /// Queues a notice. It is sent some time after the request under way has been answered.
    pub fn send(&self, notice: Notice) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(notice).is_err() {
            // The thread is gone, so the connection is, and its caches with it.
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything queued so far was sent, or `limit` has passed: `false`.
    pub fn wait(&self, limit: Duration) -> bool {
        let (told, waiting) = channel();
        self.send(Notice::Told(told));
        // A connection that has ended has nothing cached.
        !matches!(waiting.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }

    /// How many are not sent yet.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }
}

/// The other end of the queue, before its thread runs.
pub struct Unstarted {
    waiting: std::sync::mpsc::Receiver<Notice>,
    pending: Arc<AtomicU64>,
    at_once: Arc<OnceLock<Notifier>>,
}

impl Unstarted {
    pub fn start(self, notifier: Notifier, passthrough: Arc<Passthrough>) -> std::io::Result<()> {
        let _ = self.at_once.set(notifier.clone());
        let run = move || {
            for notice in self.waiting {
                // ENOENT (nothing cached) is no error to fuser; any other means that the connection has ended.
                let _ = match notice {
                    Notice::Entry { parent, name } => {
                        notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name.bytes()))
                    }
                    Notice::Inode(ino) => {
                        if passthrough.least().is_some() {
                            let _ = notifier.inval_inode(INodeNo(ino.0 + OTHER), 0, 0);
                        }
                        notifier.inval_inode(INodeNo(ino.0), 0, 0)
                    }
                    Notice::Told(who) => {
                        let _ = who.send(());
                        Ok(())
                    }
                };
                self.pending.fetch_sub(1, Ordering::Relaxed);
            }
        };
        std::thread::Builder::new().name("notices".into()).stack_size(64 * 1024).spawn(run).map(drop)
    }
}
