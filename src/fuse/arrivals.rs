//! Threads that wait for absent objects, for all views of a server: apart from those that wait for disks, as a remote may
//! be silent for long.
//!
//! A server that leaves does not carry out what still waits here: the request is the next server's, which is sent it
//! again.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Blocking;
use crate::overlay::AwaitedObject;

/// The most threads, of all views: the kernel sends a view some dozens of reads at once.
const MOST: usize = 256;

/// Cloning gives the same pool.
#[derive(Clone)]
pub struct ArrivalPool {
    threads: Blocking,
    is_leaving: Arc<AtomicBool>,
}

impl Default for ArrivalPool {
    fn default() -> ArrivalPool {
        ArrivalPool { threads: Blocking::new("arrivals", MOST), is_leaving: Arc::default() }
    }
}

impl ArrivalPool {
    /// Has `then` done when the object is here, or did not come within the limit of its store.
    pub fn wait(&self, absent: AwaitedObject, then: impl FnOnce() + Send + 'static) {
        let is_leaving = self.is_leaving.clone();
        self.threads.spawn(move || {
            let leaves = || is_leaving.load(Ordering::SeqCst);
            absent.arrive(&leaves);
            // Without the request being carried out, its copy stays for the next server.
            let then = ManuallyDrop::new(then);
            if !leaves() {
                ManuallyDrop::into_inner(then)();
            }
        });
    }

    /// Has every wait end, without its request being carried out.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::SeqCst);
    }

    /// No request waits here, or is carried out.
    pub fn is_idle(&self) -> bool {
        self.threads.is_idle()
    }
}
