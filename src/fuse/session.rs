//! The beginning of one connection: as its first server, or taking over from one that is gone.
//!
//! The handshake is fuser's, on a session that is over when it is done: from then on the workers of the pool read the
//! device ([`Pool`]). A later server never sees the kernel's FUSE_INIT, which comes once, and needs none: the kernel goes
//! on with what the first one agreed with it.
//!
//! | step                                  | a crash right after it leaves                                    |
//! |---------------------------------------|------------------------------------------------------------------|
//! | 1. the kernel re-sends                | requests in the queue again, for the next server                 |
//! | 2. requests are answered              | those read and unanswered wait for the next server's step 1      |

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuser::{Filesystem, KernelConfig, Request, SessionACL};

use super::config::config;
use super::connection::ServedConnection;
use super::notices::Notices;
use super::pool::Pool;
use super::retained::RetainedQueue;
use super::{Passthrough, ServedView, handshake};
use crate::overlay::Stale;
use crate::sys::fuse_dev::{self, KernelOffer};

/// A connection whose handshake is done.
pub struct Session {
    connection: ServedConnection,
    offer: KernelOffer,
}

/// The kernel's cache of one connection.
#[derive(Clone)]
pub struct Caches(Notices);

impl Caches {
    /// Queues invalidations; the kernel gets them some time later.
    pub fn forget(&self, stale: &[Stale]) {
        for stale in stale {
            self.0.send(stale.clone().into());
        }
    }

    /// Waits until the kernel has forgotten everything that notices named; `false` after `limit`.
    pub fn wait(&self, limit: Duration) -> bool {
        self.0.wait(limit)
    }
}

impl Session {
    /// Begins on a connection that the kernel has just made; waits for its FUSE_INIT. Files are passed through only when
    /// the kernel takes `sample`, a file of the store.
    pub fn first(view: ServedView, device: OwnedFd, sample: Option<OwnedFd>, pool: &Pool) -> io::Result<Session> {
        let offer = shake_hands(&view.passthrough, device.try_clone()?)?;
        let tried = || {
            let file = sample.ok_or(io::ErrorKind::NotFound)?;
            fuse_dev::try_backing(device.as_fd(), file.as_fd())
        };
        if view.passthrough.least().is_some()
            && let Err(e) = tried()
        {
            tracing::info!("the kernel passes no file of the store through: {e}");
            view.passthrough.turn_off();
        }
        Ok(Session::new(view, device, offer, pool))
    }

    /// Takes over a connection from a server that is gone, whose handshake was about `offer`.
    pub fn next(view: ServedView, device: OwnedFd, offer: KernelOffer, pool: &Pool) -> io::Result<Session> {
        let mut session = Session::new(view, device, offer, pool);
        let connection = &mut session.connection;
        match fuse_dev::resend(connection.device.as_fd()) {
            Ok(()) => fuse_dev::forget_retained(connection.view.connection),
            Err(e) => {
                // Kernels before 6.9.
                connection.retained = RetainedQueue::of(connection.device.as_fd(), connection.view.connection);
                let found = connection.retained.len();
                tracing::info!("the kernel does not send unanswered requests again: {e}; {found} were retained");
            }
        }
        Ok(session)
    }

    fn new(view: ServedView, device: OwnedFd, offer: KernelOffer, pool: &Pool) -> Session {
        let device = Arc::new(device);
        let notices = Notices::new(device.clone(), view.passthrough.clone(), pool.notices().clone());
        let told = notices.clone();
        view.overlay.on_stale(move |stale| told.send(stale.into()));
        view.passthrough.begin(device.clone());
        let (key, busy_poll, requests, retained, on_end) = Default::default();
        let connection = ServedConnection { key, view, device, notices, busy_poll, requests, retained, on_end };
        Session { connection, offer }
    }

    /// The kernel's offer, which a later server needs to take over.
    pub fn offer(&self) -> KernelOffer {
        self.offer
    }

    /// From which size on files of the store are passed through; to be known by every later server.
    pub fn passes(&self) -> Option<u64> {
        self.connection.view.passthrough.least()
    }

    /// A handle by which changes beside the mount, of grafts for example, invalidate what the kernel has cached of this
    /// view.
    pub fn caches(&self) -> Caches {
        Caches(self.connection.notices.clone())
    }

    /// Has the pool answer requests until the last user of the view is gone after it was unmounted. Then the view is
    /// closed, and `on_end` called.
    pub fn serve(self, pool: &Pool, on_end: impl FnOnce() + Send + 'static) -> io::Result<()> {
        *self.connection.on_end.lock() = Some(Box::new(on_end));
        pool.add(self.connection)
    }
}

/// Answers FUSE_INIT, and returns the kernel's offer.
fn shake_hands(passthrough: &Arc<Passthrough>, device: OwnedFd) -> io::Result<KernelOffer> {
    struct Handshake(Arc<Passthrough>, Arc<Mutex<Option<KernelOffer>>>);
    impl Filesystem for Handshake {
        fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
            let offer = handshake::answer(config, &self.0);
            *self.1.lock().unwrap_or_else(|e| e.into_inner()) = Some(offer);
            Ok(())
        }
    }
    let offer = Arc::new(Mutex::new(None));
    drop(fuser::Session::from_fd(Handshake(passthrough.clone(), offer.clone()), device, SessionACL::All, config())?);
    let offer = offer.lock().unwrap_or_else(|e| e.into_inner()).take();
    Ok(offer.ok_or(io::ErrorKind::NotConnected)?)
}
