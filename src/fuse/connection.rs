//! One connection to the kernel, with the view that it shows. Whichever worker reads a request of it answers it here.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fuser::Request;
use parking_lot::Mutex;

use super::ServedView;
use super::busy_poll::BusyPoll;
use super::notices::Notices;
use super::requests::Requests;
use super::retained::RetainedQueue;
use crate::overlay::Ino;

/// Called when the connection has ended and its view is closed.
pub type OnEnd = Box<dyn FnOnce() + Send>;

/// A FUSE connection that this process serves, shared by the workers that answer its requests one after the other.
pub struct ServedConnection {
    /// Its number in the pool.
    pub key: AtomicU64,
    pub view: ServedView,
    pub device: Arc<OwnedFd>,
    pub notices: Notices,
    pub busy_poll: BusyPoll,
    pub requests: Arc<Requests>,
    pub retained: RetainedQueue,
    pub on_end: Mutex<Option<OnEnd>>,
}

impl ServedConnection {
    /// After a name of `parent` was deleted: if it was the view's last, the callback runs before the answer.
    pub fn removed(&self, parent: Ino) {
        if parent == Ino::ROOT && self.view.facts.has_names.load(Ordering::Relaxed) && self.view.overlay.root_is_empty()
        {
            if let Err(e) = self.view.overlay.leave_upper() {
                tracing::error!(view = self.view.id, "emptied, but something of it stays in its directory: {e}");
            }
            (self.view.on_emptied)();
        }
    }

    /// Whether the caller may use the virtual xattrs: root and the worktree's owner may.
    pub fn may_ask(&self, request: &Request) -> bool {
        request.uid() == 0 || request.uid() == self.view.owner
    }

    /// Closes the view of a connection that has ended, and reports the end.
    pub fn end(self: Arc<Self>) {
        if let Err(e) = self.view.overlay.flush() {
            tracing::error!(view = self.view.id, "not everything was written to disk: {e}");
        }
        let on_end = self.on_end.lock().take();
        drop(self);
        if let Some(on_end) = on_end {
            on_end();
        }
    }
}
