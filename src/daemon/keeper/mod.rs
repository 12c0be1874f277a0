//! The keeper: holds what must outlive a server (mounts, FUSE devices, the directories underneath), and starts
//! servers on it. It has one thread, waits for signals and messages, and never touches a path inside a view.
//!
//! | it gets              | it does                                                                        |
//! |----------------------|--------------------------------------------------------------------------------|
//! | SIGHUP               | compares what is mounted with the manifest (`reconcile`)                       |
//! | SIGTERM              | detaches everything, ends when no process has a view open; the second time at once |
//! | SIGCHLD              | starts another server (`supervise`)                                            |
//! | a server's message   | notes it in `daemon.json`                                                      |
//! | the last view's end  | ends                                                                           |

mod connection;
mod core;
mod crash_history;
mod handover;
mod progress;
mod publish;
mod reconcile;
mod server_process;
mod supervise;
mod upgrade;
pub(super) mod worktree_lock;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::connection::Connection;
use self::core::Keeper;
use self::crash_history::CrashHistory;
pub(super) use self::progress::{AT_WORK, READY};
use self::progress::{KeeperProgress, SLOW};
use super::program::Program;
use super::state::{DaemonState, StateDir};
use super::wire::{ConnectionId, FromServer};
use crate::sys::feature::{KernelFeature, is_without};
use crate::sys::lock::Lock;
use crate::sys::log::OrWarn;
use crate::sys::process::{self, Signalled, Signals};
use crate::sys::{IoError, fs, fuse_dev, log, mountinfo, program, retained};

/// How long the lock may be held by processes that only look whether a daemon lives.
const PROBED_FOR: Duration = Duration::from_secs(10);

/// Runs as `depsfs keeper <state directory>`, with the pipe on which the client waits; or goes on for another
/// ([`handover::go_on`]).
pub fn main(args: &[OsString]) -> ExitCode {
    log::begin("info");
    process::set_name(c"depsfs-keeper");
    let done = match args {
        [] => Err(io::Error::other("no state directory was named")),
        [state_dir] => process::given().and_then(|ready| run(Path::new(state_dir), ready)),
        [state_dir, left, ..] => handover::go_on(Path::new(state_dir), left),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("the keeper ends: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(state_dir: &Path, ready: OwnedFd) -> io::Result<()> {
    let state = StateDir::new(state_dir);
    let lock = match take_lock(&state) {
        Ok(lock) => lock,
        Err(e) => {
            fs::write_all(&ready, e.to_string().as_bytes())?;
            return Err(io::Error::other(e));
        }
    };
    let said = lock.write(format!("{}\n", process::id()).as_bytes());
    let said = said.map_err(IoError::of("write", state.path())).and_then(|()| DaemonState::prepare(&state));
    if let Err(e) = said {
        // A daemon that no command can find must not mount anything.
        fs::write_all(&ready, e.to_string().as_bytes())?;
        return Err(io::Error::other(e));
    }
    process::raise_open_files();
    let signals = Signals::take_over()?;
    let mut keeper = Keeper {
        state,
        lock,
        manifest: None,
        hold: None,
        connections: BTreeMap::new(),
        next_connection: 1,
        server: None,
        program: Program::this().map_err(|e| e.source)?,
        former: None,
        offered: None,
        follows: None,
        version: env!("CARGO_PKG_VERSION").into(),
        crashes: CrashHistory::default(),
        servers: 0,
        errors: BTreeMap::new(),
        trouble: None,
        pending: true,
        again: false,
        ending: false,
        generation: 0,
        reconciled: 0,
        progress: KeeperProgress::default(),
        ready: Some(ready),
        requests: request_memory(),
    };
    keeper.reconcile();
    keeper.run_event_loop(&signals)
}

/// Memory for what servers read; `None` where the kernel sends requests again, or there is none to be had.
fn request_memory() -> Option<OwnedFd> {
    if fuse_dev::has_resend() || is_without(KernelFeature::Retained) {
        return None;
    }
    retained::create().inspect_err(|e| tracing::warn!("requests are not retained for the next server: {e}")).ok()
}

/// Retries: a liveness probe holds the lock shared for a moment, on a busy machine for longer. A daemon holds it alone.
fn take_lock(state: &StateDir) -> Result<Lock, IoError> {
    let (mut refusals, until) = (0, Instant::now() + PROBED_FOR);
    while refusals < 20 && Instant::now() < until {
        if let Some(lock) = state.try_daemon_lock()? {
            return Ok(lock);
        }
        refusals += usize::from(state.living()?.is_some());
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(IoError::of("lock", state.path())(io::Error::other("another daemon serves this worktree")))
}

impl Keeper {
    /// Does what signals and the server ask for, until there is nothing left to keep.
    pub(super) fn run_event_loop(mut self, signals: &Signals) -> io::Result<()> {
        let mut buf = Vec::new();
        loop {
            self.end_comparison();
            if self.is_done() {
                return self.end();
            }
            self.publish_news();
            if self.is_to_follow() {
                self.follow();
            }
            let mut fds = vec![signals.as_fd()];
            fds.extend(self.server.as_ref().map(|s| s.socket.as_fd()));
            let awake = process::wait_any(&fds, self.pending.then_some(SLOW))?;
            if awake.get(1) == Some(&true) {
                self.receive_all(&mut buf);
            } else if !awake[0] {
                self.warn_about_wait();
            }
            for signal in signals.drain()? {
                match signal {
                    Signalled::Reconcile(program) => {
                        self.offered = program.and_then(|file| Program::of(file).ok()).or(self.offered.take());
                        self.ask_again();
                    }
                    Signalled::ChildEnded => self.reap_server(),
                    Signalled::End if self.ending => return self.end(),
                    Signalled::End => self.detach_all(),
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.connections.is_empty() && !self.pending
    }

    fn ask_again(&mut self) {
        self.ending = false;
        if self.pending {
            self.again = true;
        } else {
            self.reconcile();
        }
    }

    /// One message of the server.
    fn received(&mut self, message: FromServer) {
        match message {
            FromServer::Ready { connection, offer, version, passes, handover } => {
                self.version = version;
                self.follows = self.follows.map(|_| handover);
                self.former = None;
                return self.answers(connection, offer, passes);
            }
            FromServer::Regrafted { connection, error } => {
                if let Some(connection) = self.connections.get_mut(&connection)
                    && let Some((view, generation)) = connection.wanted.take()
                {
                    match error {
                        Some(why) => drop(self.errors.insert(view.id, format!("its grafts stay as they were: {why}"))),
                        None => (connection.view, connection.generation) = (view, generation),
                    }
                }
            }
            FromServer::Failed { connection, why } => {
                self.detach(&[connection]);
                if let Some(connection) = self.connections.remove(&connection) {
                    self.errors.insert(connection.view.id, why);
                }
            }
            FromServer::Exchanging { connection, exchange } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.exchange = Some(exchange);
                }
                return;
            }
            FromServer::Passed { connection, passed } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.passed.insert(passed.ino, passed);
                }
                return;
            }
            FromServer::Dropped { connection } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    tracing::info!(view = connection.view.id, "emptied by its user and detached");
                    connection.mounted = false;
                }
            }
            FromServer::Ended { connection } => {
                if let Some(connection) = self.connections.remove(&connection) {
                    tracing::info!(view = connection.view.id, "unmounted");
                }
            }
        }
        self.progress.note();
        if self.pending {
            self.work(|| "the server has answered".into());
        }
    }

    /// After the server's report that it answers the requests of a connection.
    fn answers(&mut self, connection: ConnectionId, offer: fuse_dev::KernelOffer, passes: Option<u64>) {
        if let Some(known) = self.connections.get_mut(&connection) {
            if known.offer.is_none() {
                known.identity = self.state.view_identity(&known.view.id);
            }
            (known.offer, known.answered, known.passes) = (Some(offer), true, passes);
        }
        let serves_all = self.connections.values().all(|c| c.answered || c.refused);
        if let Some(server) = self.server.as_mut().filter(|_| serves_all) {
            server.serving = server.serving.or(Some(Instant::now()));
        }
        self.ask_to_regraft(connection);
    }

    fn detach_all(&mut self) {
        tracing::info!("asked to end");
        self.ending = true;
        let ids: Vec<_> = self.connections.iter().filter(|(_, c)| c.mounted).map(|(id, _)| *id).collect();
        self.detach(&ids);
        self.publish();
    }

    /// Takes the places of these connections away.
    fn detach(&mut self, ids: &[ConnectionId]) {
        let mounts = mountinfo::MountTable::read().unwrap_or_else(|e| {
            tracing::error!("{e}");
            Default::default()
        });
        for (n, id) in ids.iter().enumerate() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.detach(&mounts);
            }
            self.work(|| format!("{n} of {} views detached", ids.len()));
        }
    }

    /// Whether a server still has to say that it serves this one as it shall be served.
    fn is_awaited(&self, connection: &Connection) -> bool {
        let is_answered = connection.answered || self.crashes.given_up;
        !connection.refused && (connection.offer.is_none() || connection.wanted.is_some() || !is_answered)
    }

    /// Ends a comparison as soon as every view of it is served or has failed.
    fn end_comparison(&mut self) {
        if !self.pending || self.connections.values().any(|c| self.is_awaited(c)) {
            return;
        }
        self.pending = false;
        self.progress.end(self.connections.len());
        self.generation = self.manifest.as_ref().map_or(0, |m| m.generation);
        self.reconciled += 1;
        // Made here only: later, the program that removed it may be removing all there is.
        if self.connections.values().any(|c| c.mounted)
            && let Err(e) = worktree_lock::keep(self.state.path(), true)
        {
            tracing::error!("{e}");
        }
        self.publish();
        if let Some(ready) = self.ready.take() {
            // A client that is gone needs no answer.
            fs::write_all(&ready, READY).or_debug("the client that waited is gone");
            program::give_back_instructions();
        }
        if std::mem::take(&mut self.again) {
            self.reconcile();
        }
    }

    /// Nothing is left, or a second request to end arrived: the server ends with its socket.
    fn end(mut self) -> io::Result<()> {
        let mounted: Vec<_> = self.connections.iter().filter(|(_, c)| c.mounted).map(|(id, _)| *id).collect();
        if !mounted.is_empty() {
            self.detach(&mounted);
        }
        self.connections.clear();
        if let Some(server) = self.server.take() {
            server.stop(Duration::from_secs(2));
        }
        if self.next_connection == 1 || self.trouble.is_some() || !self.errors.is_empty() {
            self.publish();
        } else if let Err(e) = self.leave() {
            tracing::error!("{e}");
        }
        tracing::info!("ends");
        Ok(())
    }
}
