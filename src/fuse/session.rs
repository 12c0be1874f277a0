//! Serving one connection: as its first server, or taking over from one that is gone.
//!
//! A later server never sees the kernel's FUSE_INIT, which comes once. It is given one on a socket instead, made
//! from what the kernel offered then; after that handshake the real device takes the socket's place.
//!
//! | step                                  | a crash right after it leaves                                    |
//! |---------------------------------------|------------------------------------------------------------------|
//! | 1. handshake on the socket            | the connection as it was                                         |
//! | 2. the device takes the socket's place| the same                                                         |
//! | 3. the kernel re-sends                | requests in the queue again, for whoever comes next              |
//! | 4. requests are answered              | those read and unanswered wait for the next server's step 3      |

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuser::{Config, SessionACL};

use super::adapter::Adapter;
use super::linger::Linger;
use super::notices::Notices;
use super::{Passthrough, View};
use crate::overlay::Stale;
use crate::sys::fuse_dev::{self, KernelOffer};
use crate::sys::socket;

/// A connection whose handshake is done.
pub struct Session {
    inner: fuser::Session<Adapter>,
    offer: KernelOffer,
    notices: Notices,
    passthrough: Arc<Passthrough>,
    linger: Arc<Linger>,
}

/// What the kernel has cached of one connection.
#[derive(Clone)]
pub struct Caches(Notices);

impl Caches {
    /// Has the kernel forget; it does some time later.
    pub fn forget(&self, stale: &[Stale]) {
        for stale in stale {
            self.0.send(stale.clone().into());
        }
    }

    /// Waits until the kernel has forgotten everything it was told to; `false` after `limit`.
    pub fn wait(&self, limit: Duration) -> bool {
        self.0.wait(limit)
    }
}

impl Session {
    /// Begins on a connection that the kernel has just made; waits for its FUSE_INIT. Files are passed through only when
    /// the kernel takes `sample`, a file of the store.
    pub fn first(view: View, device: OwnedFd, sample: Option<OwnedFd>) -> io::Result<Session> {
        let session = Session::shake_hands(view, device)?;
        let tried = || {
            let file = sample.ok_or(io::ErrorKind::NotFound)?;
            fuse_dev::try_backing(session.inner.as_fd(), file.as_fd())
        };
        if session.passthrough.least().is_some()
            && let Err(e) = tried()
        {
            tracing::info!("the kernel passes no file of the store through: {e}");
            session.passthrough.turn_off();
        }
        Ok(session)
    }

    /// Takes over a connection from a server that is gone, whose handshake was about `offer`.
    pub fn next(view: View, device: OwnedFd, offer: KernelOffer) -> io::Result<Session> {
        let (near, far) = socket::packet_pair()?;
        socket::send(far.as_fd(), &offer.to_request(), &[])?;
        let session = Session::shake_hands(view, near)?;
        fuse_dev::replace(session.inner.as_fd(), device.as_fd())?;
        if let Err(e) = fuse_dev::resend(device.as_fd()) {
            // Kernels before 6.9: requests that the dead server had read stay unanswered; all others are served.
            tracing::warn!("the kernel does not send unanswered requests again: {e}");
        }
        Ok(session)
    }

    fn shake_hands(view: View, device: OwnedFd) -> io::Result<Session> {
        let (notices, unstarted) = Notices::new();
        let told = notices.clone();
        view.overlay.on_stale(move |stale| told.send(stale.into()));
        let offer = Arc::new(Mutex::new(None));
        let mut config = Config::default();
        // Who may use the mount is the kernel's to say: it knows `allow_other`, and asks for other users' requests
        // only what it does in their name (a read of theirs may fill a page for ours).
        config.acl = SessionACL::All;
        config.n_threads = Some(1);
        let (passthrough, linger) = (view.passthrough.clone(), Arc::new(Linger::default()));
        let inner = fuser::Session::from_fd(
            Adapter { view, notices: notices.clone(), offer: offer.clone(), linger: linger.clone() },
            device,
            config.acl,
            config,
        )?;
        passthrough.begin(inner.notifier());
        unstarted.start(inner.notifier(), passthrough.clone())?;
        let offer = offer.lock().unwrap_or_else(|e| e.into_inner()).take();
        Ok(Session { inner, offer: offer.ok_or(io::ErrorKind::NotConnected)?, notices, passthrough, linger })
    }

    /// What a later server needs to take over.
    pub fn offer(&self) -> KernelOffer {
        self.offer
    }

    /// From which size on files of the store are passed through; to be known by every later server.
    pub fn passes(&self) -> Option<u64> {
        self.passthrough.least()
    }

    pub fn caches(&self) -> Caches {
        Caches(self.notices.clone())
    }

    /// Answers requests until the last user of the view is gone after it was unmounted.
    pub fn run(self) -> io::Result<()> {
        drop(self.notices);
        self.linger.begin(self.inner.as_fd());
        self.inner.run()
    }
}
