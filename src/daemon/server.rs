//! The server: answers the requests of all views of one worktree, one thread for each.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, Weak};

use super::mounts;
use super::state::StateDir;
use super::wire::{self, FromServer, Serve, ToServer};
use crate::fuse::{Session, View};
use crate::overlay::{self, GraftSpec, Overlay, OverlayConfig};
use crate::store::{Node, Store, StoreError};
use crate::sys::{IoError, fs, fuse_dev, mount, mountinfo, path as paths, process};

/// Runs as `depsfs server`, with the socket to its keeper; ends with the keeper.
pub fn main(_args: &[OsString]) -> ExitCode {
    super::keeper::log_to_stderr();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("the server ends: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let socket = Arc::new(process::given()?);
    process::clear_umask();
    process::raise_open_files();
    // A thread that panicked would leave its view hanging; a server that dies is replaced by another.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
    let mut buf = Vec::new();
    let mut server: Option<Arc<Server>> = None;
    while let Some((message, mut fds)) = wire::receive::<ToServer>(socket.as_fd(), &mut buf)? {
        match message {
            ToServer::Hello { state_dir } => {
                let state = StateDir::new(&state_dir);
                let overlays = Mutex::default();
                server = Some(Arc::new(Server { state, socket: socket.clone(), overlays, _lock: fds.pop() }));
            }
            ToServer::Serve(serve) => {
                let (Some(server), Some(upper), Some(device)) = (&server, fds.pop(), fds.pop()) else {
                    return Err(io::Error::other("a message without what belongs to it"));
                };
                let server = server.clone();
                let name = format!("view {}", serve.view.id);
                std::thread::Builder::new().name(name).spawn(move || server.serve(*serve, device, upper))?;
            }
        }
    }
    Ok(())
}

/// Why a view can't be served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Overlay(#[from] overlay::Error),
    #[error(transparent)]
    File(#[from] IoError),
    #[error("the FUSE connection: {0}")]
    Connection(#[from] io::Error),
}

struct Server {
    state: StateDir,
    socket: Arc<OwnedFd>,
    /// By view and by the directory underneath. A view that was detached while in use and then mounted again is two
    /// connections on one directory and one journal: they share what stands between.
    overlays: Mutex<HashMap<(String, u64, u64), Weak<Overlay>>>,
    _lock: Option<OwnedFd>,
}

impl Server {
    /// Serves one connection until it ends.
    fn serve(self: Arc<Self>, serve: Serve, device: OwnedFd, upper: OwnedFd) {
        let connection = serve.connection;
        if serve.refuse {
            if let Err(e) = fuse_dev::resend(device.as_fd()).and_then(|()| fuse_dev::refuse_all(device.as_fd())) {
                tracing::error!(view = serve.view.id, "cannot even refuse: {e}");
            }
            return self.tell(&FromServer::Ended { connection });
        }
        let id = serve.view.id.clone();
        let session = match self.begin(serve, device, upper) {
            Ok(session) => session,
            Err(e) => {
                tracing::error!(view = id, "not served: {e}");
                return self.tell(&FromServer::Failed { connection, why: format!("{e}") });
            }
        };
        self.tell(&FromServer::Ready { connection, offer: session.offer() });
        if let Err(e) = session.run() {
            tracing::warn!(view = id, "the connection ended with an error: {e}");
        }
        self.tell(&FromServer::Ended { connection });
    }

    fn begin(self: &Arc<Self>, serve: Serve, device: OwnedFd, upper: OwnedFd) -> Result<Session, ServeError> {
        let store = Store::open(&serve.store)?;
        let mut grafts = Vec::with_capacity(serve.view.grafts.len());
        for graft in &serve.view.grafts {
            grafts.push(GraftSpec { at: graft.at.clone(), tree: store.tree(graft.tree)?, retired: graft.retired });
        }
        let grafted = grafts.iter().any(|g| !g.at.as_os_str().is_empty() || g.tree.entry_count(Node::ROOT) > 0);
        let state_dir = self.state.view(&serve.view.id);
        paths::make_private_dirs(&state_dir)?;
        let takeover = serve.offer.is_some();
        let config = OverlayConfig { state_dir, grafts, objects: store.objects().clone(), takeover };
        let overlay = self.overlay(&serve.view.id, upper, config)?;
        let offer = serve.offer;
        let view = View {
            // An upper elsewhere stays when the view is emptied, so the mount does too.
            has_names: serve.view.upper.is_none() && (grafted || !overlay.root_is_empty()),
            overlay,
            id: serve.view.id.clone(),
            generation: serve.generation,
            owner: process::user(),
            on_emptied: self.clone().on_emptied(serve),
        };
        Ok(match offer {
            None => Session::first(view, device)?,
            Some(offer) => Session::next(view, device, offer)?,
        })
    }

    fn overlay(&self, id: &str, upper: OwnedFd, config: OverlayConfig) -> Result<Arc<Overlay>, ServeError> {
        let stat = fs::stat(&upper)?;
        let key = (id.to_owned(), stat.dev, stat.ino);
        let mut overlays = self.overlays.lock().unwrap_or_else(|e| e.into_inner());
        overlays.retain(|_, overlay| overlay.strong_count() > 0);
        if let Some(shared) = overlays.get(&key).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        let overlay = Arc::new(Overlay::open(upper, config)?);
        overlays.insert(key, Arc::downgrade(&overlay));
        Ok(overlay)
    }

    fn on_emptied(self: Arc<Self>, serve: Serve) -> Box<dyn Fn() + Send + Sync> {
        Box::new(move || match self.drop_view(&serve) {
            Ok(false) => {}
            Ok(true) => self.tell(&FromServer::Dropped { connection: serve.connection }),
            Err(e) => tracing::error!(view = serve.view.id, "emptied, but not detached: {e}"),
        })
    }

    /// The user deleted the last name: the mount goes, so that the `rmdir` that follows meets the plain directory
    /// underneath, which is empty too. `false`: the view was detached before, by someone else.
    ///
    /// | step       | a crash right after it leaves                                          |
    /// |------------|------------------------------------------------------------------------|
    /// | 1. mark    | an empty view, still mounted; the next `mount` detaches it             |
    /// | 2. detach  | the plain, empty directory                                             |
    fn drop_view(&self, serve: &Serve) -> Result<bool, IoError> {
        if mounts::top_view(&mountinfo::read()?, &serve.path) != serve.device {
            return Ok(false);
        }
        let mark = self.state.dropped(&serve.view.id);
        // Where the state directory was deleted, nobody will mount it again.
        if paths::is_there(&self.state.view(&serve.view.id)) {
            paths::replace(&mark, b"")?;
        }
        if let Err(e) = mount::unmount(&serve.path, true) {
            paths::remove_file(&mark)?;
            return Err(IoError::of("detach", &serve.path)(e));
        }
        Ok(true)
    }

    fn tell(&self, message: &FromServer) {
        // A keeper that is gone takes this process with it: `run` sees the end of the socket.
        let _ = wire::send(self.socket.as_fd(), message, &[]);
    }
}
