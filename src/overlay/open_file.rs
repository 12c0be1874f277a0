//! Files of the lower that were truncated: the next bytes replace the old ones, and so go to the disk soon.
//!
//! ext4 and xfs begin that when a truncated file is closed: a power cut seldom finds it empty. A view gets no request
//! when a file is closed (`fuse/mod.rs`), so it begins with the first bytes, and again whenever a stretch is full. The
//! rest follows a moment later, all at once: for each small write by itself it takes several times as long as the
//! write.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::sys::copy::start_write_back;
use crate::sys::log::OrWarn;

/// An open file of the view's cache, which lives until its last user drops it.
pub(super) struct OpenFile {
    pub fd: Arc<OwnedFd>,
    /// An object never is.
    pub writable: bool,
    /// It became the worktree's own by the truncation of a file of the lower.
    pub truncated: Option<Truncated>,
}

const STRETCH: u64 = 1 << 20;

/// The state of an open file that was truncated.
#[derive(Default)]
pub(super) struct Truncated {
    /// Some of its bytes are to be written back later.
    is_due: AtomicBool,
}

impl OpenFile {
    /// After a write of `len` bytes: whether the view has to write them back later (`View::write_back_later`).
    pub(super) fn wrote(&self, offset: u64, len: usize) -> bool {
        let Some(truncated) = &self.truncated else { return false };
        if offset == 0 || offset / STRETCH != offset.saturating_add(len as u64) / STRETCH {
            start_write_back(&*self.fd).or_warn("the write-back of a file was not begun");
            return false;
        }
        !truncated.is_due.swap(true, Ordering::AcqRel)
    }

    fn write_back_what_is_due(&self) {
        // Later writes are due again.
        if self.truncated.as_ref().is_some_and(|truncated| truncated.is_due.swap(false, Ordering::AcqRel)) {
            start_write_back(&*self.fd).or_warn("the write-back of a file was not begun");
        }
    }
}

/// The cache drops a file to make room for others, for instance.
impl Drop for OpenFile {
    fn drop(&mut self) {
        self.write_back_what_is_due();
    }
}

/// Files that are looked at a moment later; they don't stay open for that.
#[derive(Default)]
pub(super) struct DelayedFlush(pub Vec<Weak<OpenFile>>);

impl DelayedFlush {
    /// Whether no file waits. One that was closed meanwhile counts until the next round.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts the kernel's write-back of those that are open still, without waiting for the disk.
    pub fn write_back(self) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|file| file.write_back_what_is_due());
    }
}
