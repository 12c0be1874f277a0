//! Counters of copy-ups and hashed objects since a view was opened.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::copy::Copied;

/// Atomics, so that no lock is needed.
#[derive(Default)]
pub(super) struct Counters {
    copy_ups: AtomicU64,
    copied: AtomicU64,
    hashed: AtomicU64,
}

impl Counters {
    /// A file of so many bytes got a copy of its own. A clone copies none of them.
    pub fn copied_up(&self, how: Copied, bytes: u64) {
        self.copy_ups.fetch_add(1, Ordering::Relaxed);
        self.copied.fetch_add(if how == Copied::Bytes { bytes } else { 0 }, Ordering::Relaxed);
    }

    /// The bytes of an object were compared with its name.
    pub fn hashed(&self) {
        self.hashed.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub copy_ups: u64,
    pub(crate) bytes_copied_up: u64,
    pub objects_hashed: u64,
}

impl Counters {
    /// The counters since the view was opened.
    pub fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            copy_ups: load(&self.copy_ups),
            bytes_copied_up: load(&self.copied),
            objects_hashed: load(&self.hashed),
        }
    }
}
