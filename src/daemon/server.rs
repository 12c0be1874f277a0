//! The server: answers the requests of all views of one worktree, with the workers of one pool.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::checks::{Checks, Rounds};
use super::keeper::worktree_lock;
use super::mounts;
use super::refused::Refusals;
use super::served::{ServeError, Served};
use super::state::StateDir;
use super::wire::{self, ConnectionId, FromServer, Serve, ToServer};
use crate::fuse::{ArrivalPool, Blocking, Exchange, Passed, Passthrough, Pool, RenameGate, ServedView, Session};
use crate::store::manifest::{ViewSpec, WHOLE};
use crate::sys::log::OrWarn;
use crate::sys::mountinfo::MountTable;
use crate::sys::{IoError, fuse_dev, log, mount, path as paths, process, program};

/// How long a server that leaves may take for the requests that it has read.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// The most threads that wait for disks, of all views: a disk does so much at once, and each costs a stack.
const MOST_WAITING: usize = 16;

/// Runs as `depsfs server`, with the socket to its keeper; ends with the keeper.
pub fn main(_args: &[OsString]) -> ExitCode {
    log::begin("info");
    process::set_name(c"depsfs-server");
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
    process::allocate_big_from_kernel();
    process::clear_umask();
    process::raise_open_files();
    process::respect_quotas();
    // A thread that panicked would leave its view hanging; a server that dies is replaced by another.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
    let mut buf = Vec::new();
    let mut control = KeeperRequests { socket, server: None, refusals: Refusals::default(), rounds: Rounds::new() };
    loop {
        if !control.wait()? {
            continue;
        }
        match wire::receive::<ToServer>(control.socket.as_fd(), &mut buf) {
            Ok(Some((message, fds))) => control.carry_out(message, fds)?,
            Ok(None) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!("a message of the keeper is not understood: {e}");
            }
            Err(e) => return Err(e),
        }
    }
}

/// The main thread, which carries out the keeper's messages one after the other.
struct KeeperRequests {
    socket: Arc<OwnedFd>,
    /// From the first message on.
    server: Option<Arc<Server>>,
    refusals: Refusals,
    rounds: Rounds,
}

impl KeeperRequests {
    /// Waits for a message, refuses requests meanwhile, and looks at objects when it is time. `false`: no message came.
    fn wait(&mut self) -> io::Result<bool> {
        let ended = self.refusals.answer_until_message(&self.socket, self.rounds.left())?;
        for connection in &ended {
            self.server.iter().for_each(|server| server.tell(&FromServer::Ended { connection: *connection }));
        }
        if !ended.is_empty() {
            return Ok(false);
        }
        let has_come = self.rounds.wait(self.socket.as_fd())?;
        if !has_come {
            self.server.iter().for_each(|server| server.clone().look());
        }
        Ok(has_come)
    }

    /// `fds` came with the message.
    fn carry_out(&mut self, message: ToServer, fds: Vec<OwnedFd>) -> io::Result<()> {
        match message {
            ToServer::Hello { protocol, .. } if !wire::understands(protocol) => {
                Err(io::Error::other(format!("the keeper speaks protocol {protocol}, which this depsfs does not know")))
            }
            ToServer::Hello { state_dir, .. } => {
                self.server = Some(Arc::new(Server::new(&state_dir, self.socket.clone(), fds)));
                Ok(())
            }
            ToServer::Leave => self.leave(),
            ToServer::Regraft { connection, view, generation } => {
                let Some(server) = self.server.clone() else { return Ok(()) };
                self.rounds.begin();
                let control = server.control.clone();
                control.spawn(move || server.regraft(connection, &view, generation));
                Ok(())
            }
            ToServer::Serve(serve) => self.serve(*serve, fds),
        }
    }

    fn serve(&mut self, serve: Serve, mut fds: Vec<OwnedFd>) -> io::Result<()> {
        let (Some(server), Some(upper), Some(device)) = (&self.server, fds.pop(), fds.pop()) else {
            return Err(io::Error::other("a message without what belongs to it"));
        };
        if serve.refuse {
            self.refusals.add(serve.connection, device, &serve.view.id);
            return Ok(());
        }
        self.rounds.begin();
        server.start_pool()?;
        let (server, control) = (server.clone(), server.control.clone());
        control.spawn(move || server.serve(serve, device, upper));
        Ok(())
    }

    /// Ends this process when the requests that it has read are answered.
    fn leave(&self) -> ! {
        if let Some(pool) = self.server.as_ref().and_then(|server| server.pool.get())
            && !pool.drain(DRAIN_LIMIT)
        {
            tracing::info!("some requests take long: the next server answers them");
        }
        let _whole = self.server.as_ref().map(|server| server.whole.write());
        // With the lock held: no change that can't be made twice is under way.
        #[expect(clippy::disallowed_methods, reason = "returning would drop the lock first")]
        std::process::exit(0);
    }
}

struct Server {
    state: StateDir,
    socket: Arc<OwnedFd>,
    served: Served,
    checks: Arc<Checks>,
    /// The threads for requests of the keeper.
    control: Blocking,
    /// Requests that take long.
    blocking: Blocking,
    /// Requests that wait for absent objects.
    arrivals: ArrivalPool,
    /// All others; there is none in a server that only refuses.
    pool: OnceLock<Pool>,
    /// See [`ServedView::whole`].
    whole: Arc<RenameGate>,
    _lock: Option<OwnedFd>,
}

impl Server {
    /// `fds` came with the keeper's first message ([`ToServer::Hello`]).
    fn new(state_dir: &Path, socket: Arc<OwnedFd>, mut fds: Vec<OwnedFd>) -> Server {
        let state = StateDir::new(state_dir);
        let ((served, whole), checks) = (Default::default(), Checks::new());
        let lock = fds.pop();
        if let Some(memory) = fds.pop() {
            crate::fuse::adopt_requests(&memory).or_warn("requests are not retained for the next server");
        }
        let (control, blocking) = (Blocking::new("control", 2), Blocking::new("blocking", MOST_WAITING));
        let arrivals = ArrivalPool::default();
        Server { state, socket, served, checks, control, blocking, arrivals, pool: OnceLock::new(), whole, _lock: lock }
    }

    fn start_pool(&self) -> io::Result<()> {
        if self.pool.get().is_none() && self.pool.set(Pool::new(self.blocking.clone(), self.arrivals.clone())?).is_err()
        {
            tracing::debug!("another thread has started the pool");
        }
        Ok(())
    }

    fn pool(&self) -> &Pool {
        self.pool.get().expect("it is started before the first connection is served")
    }

    /// Has one connection served until it ends.
    fn serve(self: Arc<Self>, serve: Serve, device: OwnedFd, upper: OwnedFd) {
        let (connection, id) = (serve.connection, serve.view.id.clone());
        let session = match self.begin(serve, device, upper) {
            Ok(session) => session,
            Err(e) => {
                tracing::error!(view = id, "not served: {e}");
                self.served.end(connection);
                return self.tell(&FromServer::Failed { connection, why: format!("{e}") });
            }
        };
        let version = env!("CARGO_PKG_VERSION").into();
        let (offer, passes) = (session.offer(), session.passes());
        self.tell(&FromServer::Ready { connection, offer, version, passes, handover: wire::HANDOVER });
        program::give_back_instructions();
        let server = self.clone();
        if let Err(e) = session.serve(self.pool(), move || server.ended(connection)) {
            tracing::error!(view = id, "no longer served: {e}");
            self.ended(connection);
        }
    }

    /// Has a thread read the notes of the objects that are shown, and check the large ones.
    fn look(self: Arc<Self>) {
        let control = self.control.clone();
        control.spawn(move || {
            let again = self.clone();
            self.checks.look(|| self.served.shown(), move || again.clone().look());
        });
    }

    fn ended(&self, connection: ConnectionId) {
        self.served.end(connection);
        self.tell(&FromServer::Ended { connection });
    }

    fn begin(self: &Arc<Self>, serve: Serve, device: OwnedFd, upper: OwnedFd) -> Result<Session, ServeError> {
        let facts = Arc::default();
        fuse_dev::wait_in_reads(device.as_fd())?;
        let (overlay, fast) = self.served.begin(&self.state, &serve, upper, &facts)?;
        let (connection, offer) = (serve.connection, serve.offer);
        let view = ServedView {
            overlay,
            connection,
            id: serve.view.id.clone(),
            facts,
            passthrough: Passthrough::new(fast.least, &serve.passed, self.clone().on_passed(connection)),
            owner: process::user(),
            blocking: self.blocking.clone(),
            arrivals: self.arrivals.clone(),
            whole: self.whole.clone(),
            exchange_before: serve.exchange,
            on_exchange: self.clone().on_exchange(connection),
            on_emptied: self.clone().on_emptied(serve),
            on_relocated: self.clone().on_relocated(connection),
        };
        let session = match offer {
            None => Session::first(view, device, fast.sample, self.pool())?,
            Some(offer) => Session::next(view, device, offer, self.pool())?,
        };
        self.served.ready(connection, session.caches());
        Ok(session)
    }

    fn regraft(&self, connection: ConnectionId, view: &ViewSpec, generation: u64) {
        let done = self.served.regraft(connection, view, generation);
        let error = done.err().map(|e| {
            tracing::error!(view = view.id, "grafts not changed: {e}");
            e.to_string()
        });
        self.tell(&FromServer::Regrafted { connection, error });
    }

    fn on_exchange(self: Arc<Self>, connection: ConnectionId) -> Box<dyn Fn(Exchange) + Send + Sync> {
        Box::new(move |exchange| self.tell(&FromServer::Exchanging { connection, exchange }))
    }

    fn on_passed(self: Arc<Self>, connection: ConnectionId) -> Box<dyn Fn(Passed) + Send + Sync> {
        Box::new(move |passed| self.tell(&FromServer::Passed { connection, passed }))
    }

    fn on_emptied(self: Arc<Self>, serve: Serve) -> Box<dyn Fn() + Send + Sync> {
        Box::new(move || match self.drop_view(&serve) {
            Ok(false) => {}
            Ok(true) => self.tell(&FromServer::Dropped { connection: serve.connection }),
            Err(e) => tracing::error!(view = serve.view.id, "emptied, but not detached: {e}"),
        })
    }

    fn on_relocated(self: Arc<Self>, connection: ConnectionId) -> Arc<dyn Fn() + Send + Sync> {
        Arc::new(move || self.served.relocate(connection, &self.state))
    }

    /// The user deleted the last name: the mount goes, so that the `rmdir` that follows meets the plain directory
    /// underneath, which is empty too. `false`: the view was detached before, by someone else.
    ///
    /// | step       | a crash right after it leaves                                          |
    /// |------------|------------------------------------------------------------------------|
    /// | 1. mark    | an empty view, still mounted; the next `mount` detaches it             |
    /// | 2. detach  | the plain, empty directory                                             |
    /// | 3. git's lock of a whole worktree goes | the same; the keeper removes it            |
    fn drop_view(&self, serve: &Serve) -> Result<bool, IoError> {
        let mounts = MountTable::read()?;
        let Some(place) = mounts::whereabouts(&mounts, &serve.path, serve.device) else { return Ok(false) };
        if mounts::top_view(&mounts, place) != serve.device {
            return Ok(false);
        }
        let mark = self.state.dropped(&serve.view.id);
        // A view without a state directory is not mounted again, so it needs no mark.
        if paths::is_there(&self.state.view(&serve.view.id)) {
            paths::replace(&mark, b"")?;
        }
        if let Err(e) = mount::unmount(place, true) {
            paths::remove_file(&mark)?;
            return Err(IoError::of("detach", place)(e));
        }
        if serve.view.id == WHOLE {
            // The worktree goes: `git worktree prune` may follow before the keeper has read of it.
            worktree_lock::keep(self.state.path(), false)?;
        }
        Ok(true)
    }

    fn tell(&self, message: &FromServer) {
        // A keeper that is gone takes this process with it: `run` sees the end of the socket.
        wire::send(self.socket.as_fd(), message, &[]).or_warn("the keeper was not told");
    }
}
