//! The keeper becomes another build's program, as its servers have: the same process, with all that it holds. So no program
//! of before an upgrade goes on for weeks, and no program that uses a view notices.
//!
//! | step                                               | when it fails                                    |
//! |----------------------------------------------------|--------------------------------------------------|
//! | 1. a server of the other build serves all views    | the former build goes on ([`super::upgrade`])    |
//! | 2. what the keeper holds is written into memory    | the former program goes on, with the new servers |
//! | 3. exec; descriptors, children, signals go along   | the same                                         |
//! | 4. the other program reads it                      | it becomes the former program again              |

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::core::Keeper;
use super::progress::KeeperProgress;
use super::server_process::ServerProcess;
use crate::daemon::program::Program;
use crate::daemon::state::{KEEPER_VERB, StateDir};
use crate::daemon::wire::{self, ConnectionId};
use crate::fuse::{Exchange, Passed};
use crate::store::manifest::{Manifest, ViewSpec};
use crate::store::{RootHold, escape};
use crate::sys::fuse_dev::KernelOffer;
use crate::sys::inherit::{Bequest, Inheritance, Number};
use crate::sys::lock::Lock;
use crate::sys::process::{ProcessId, Signals};
use crate::sys::{mount, program, socket};

/// The version alone, and the descriptor of the program that wrote it: the rest may differ in a later version.
#[derive(Serialize, Deserialize)]
struct HandoverHead {
    version: u32,
    program: Number,
}

/// All that the keeper holds, descriptors by their numbers.
#[derive(Serialize, Deserialize)]
struct Handover {
    #[serde(flatten)]
    head: HandoverHead,
    lock: Number,
    hold: Option<Number>,
    requests: Option<Number>,
    manifest: Option<Manifest>,
    connections: Vec<HandedConnection>,
    next_connection: ConnectionId,
    server: Option<HandedServer>,
    server_version: String,
    servers: u64,
    errors: BTreeMap<String, String>,
    generation: u64,
    reconciled: u64,
    progress: u64,
}

#[derive(Serialize, Deserialize)]
struct HandedServer {
    pid: ProcessId,
    started: Option<u64>,
    socket: Number,
    serving: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
struct HandedConnection {
    id: ConnectionId,
    view: ViewSpec,
    generation: u64,
    wanted: Option<(ViewSpec, u64)>,
    #[serde(with = "escape::path")]
    path: PathBuf,
    options: mount::Options,
    upper: Number,
    upper_id: (u64, u64),
    alone: Option<Number>,
    device: Number,
    device_number: Option<(u32, u32)>,
    offer: Option<KernelOffer>,
    exchange: Option<Exchange>,
    passes: Option<u64>,
    passed: Vec<Passed>,
    answered: bool,
    identity: Option<(u64, u64, u64)>,
    refused: bool,
    mounted: bool,
}

impl Keeper {
    /// Whether a server of another build serves all views, with whose program a keeper can go on from here.
    pub fn is_to_follow(&self) -> bool {
        let is_served = self.server.as_ref().is_some_and(|server| server.serving.is_some());
        self.follows == Some(wire::HANDOVER)
            && is_served
            && self.former.is_none()
            && self.trouble.is_none()
            && !(self.pending || self.again || self.ending || self.crashes.given_up)
    }

    /// Becomes the program of its servers. Returns when that fails: then this program goes on.
    pub fn follow(&mut self) {
        self.follows = None;
        tracing::info!("the keeper is of the other build from now on");
        let failed = self.try_to_follow().unwrap_or_else(|e| e);
        tracing::error!("the keeper stays of the former build: {failed}");
    }

    /// # Errors
    /// A descriptor can't go along, or there is no memory. Otherwise the error of exec.
    fn try_to_follow(&self) -> io::Result<io::Error> {
        let mut bequest = Bequest::default();
        let own = Program::this().map_err(|e| e.source)?;
        let handover = self.to_handover(own.as_fd(), &mut bequest)?;
        let file = socket::memory_file(&serde_json::to_vec(&handover).map_err(io::Error::other)?)?;
        let number = bequest.add(file.as_fd())?;
        Ok(become_keeper(bequest, &self.program, self.state.path(), number))
    }

    fn to_handover(&self, own: BorrowedFd<'_>, bequest: &mut Bequest) -> io::Result<Handover> {
        let mut add = |fd: BorrowedFd<'_>| bequest.add(fd);
        let connections = self.connections.iter().map(|(id, c)| {
            Ok(HandedConnection {
                id: *id,
                view: c.view.clone(),
                generation: c.generation,
                wanted: c.wanted.clone(),
                path: c.path.clone(),
                options: c.options.clone(),
                upper: add(c.upper.as_fd())?,
                upper_id: c.upper_id,
                alone: c.alone.as_ref().map(|lock| add(lock.as_fd())).transpose()?,
                device: add(c.device.as_fd())?,
                device_number: c.device_number,
                offer: c.offer,
                exchange: c.exchange,
                passes: c.passes,
                passed: c.passed.values().copied().collect(),
                answered: c.answered,
                identity: c.identity,
                refused: c.refused,
                mounted: c.mounted,
            })
        });
        let connections = connections.collect::<io::Result<Vec<_>>>()?;
        let server = self.server.as_ref().map(|server| {
            let serving = server.serving.map(|since| since.elapsed());
            Ok::<_, io::Error>(HandedServer {
                pid: server.pid,
                started: server.started,
                socket: add(server.socket.as_fd())?,
                serving,
            })
        });
        Ok(Handover {
            head: HandoverHead { version: wire::HANDOVER, program: add(own)? },
            lock: add(self.lock.as_fd())?,
            hold: self.hold.as_ref().map(|hold| add(hold.as_fd())).transpose()?,
            requests: self.requests.as_ref().map(|memory| add(memory.as_fd())).transpose()?,
            manifest: self.manifest.clone(),
            connections,
            next_connection: self.next_connection,
            server: server.transpose()?,
            server_version: self.version.clone(),
            servers: self.servers,
            errors: self.errors.clone(),
            generation: self.generation,
            reconciled: self.reconciled,
            progress: self.progress.count,
        })
    }
}

/// Runs as `depsfs keeper <state directory> <descriptor>`: goes on from where the program before was.
///
/// # Errors
/// The text of the program before can't be understood, and that program can't go on either.
pub fn go_on(state_dir: &Path, descriptor: &OsStr) -> io::Result<()> {
    let number = descriptor.to_str().and_then(|text| text.parse().ok());
    let number: Number = number.ok_or(io::ErrorKind::InvalidInput)?;
    let mut left = Inheritance::default();
    let file = left.take(number)?;
    let text = socket::read_memory_file(file.try_clone()?)?;
    match serde_json::from_slice::<Handover>(&text).map_err(io::Error::other) {
        Ok(handover) if handover.head.version == wire::HANDOVER => {
            drop(file);
            // Blocked signals stay pending over exec, so none came in between.
            let signals = Signals::take_over()?;
            let mut keeper = restored(handover, state_dir, &mut left)?;
            tracing::info!("goes on with {} views", keeper.connections.len());
            // Of one that ended meanwhile the signal may be lost.
            keeper.reap_server();
            keeper.publish();
            program::give_back_instructions();
            keeper.run_event_loop(&signals)
        }
        other => {
            let why = other.map_or_else(|e| e.to_string(), |handover| format!("version {}", handover.head.version));
            tracing::error!("cannot go on from what the program before has left ({why})");
            Err(go_back(&text, file.as_fd(), state_dir, &mut left).unwrap_or_else(|e| e))
        }
    }
}

/// Becomes the program that has written `text` again; returns why that fails.
fn go_back(text: &[u8], file: BorrowedFd<'_>, state_dir: &Path, left: &mut Inheritance) -> io::Result<io::Error> {
    let head: HandoverHead = serde_json::from_slice(text).map_err(io::Error::other)?;
    let former = Program::of(left.take(head.program)?)?;
    if former.build() == Program::this().map_err(|e| e.source)?.build() {
        return Ok(io::Error::other("the program before is this one"));
    }
    let mut bequest = Bequest::default();
    bequest.add(former.as_fd())?;
    let number = bequest.add(file)?;
    Ok(become_keeper(bequest, &former, state_dir, number))
}

fn become_keeper(bequest: Bequest, program: &Program, state_dir: &Path, handover: Number) -> io::Error {
    let number = OsString::from(handover.to_string());
    let args = [OsStr::new("depsfs"), OsStr::new(KEEPER_VERB), state_dir.as_os_str(), &number];
    bequest.become_program(&program.path(), &args)
}

/// A connection as it was. Connections on one upper share its lock, which came as one descriptor.
fn restored_connection(
    c: HandedConnection,
    left: &mut Inheritance,
    locks: &mut HashMap<Number, Rc<Lock>>,
) -> io::Result<Connection> {
    let alone = match c.alone {
        None => None,
        Some(number) => Some(match locks.get(&number) {
            Some(lock) => lock.clone(),
            None => locks.entry(number).or_insert(Rc::new(Lock::inherited(left.take(number)?))).clone(),
        }),
    };
    Ok(Connection {
        view: c.view,
        generation: c.generation,
        wanted: c.wanted,
        path: c.path,
        options: c.options,
        upper: left.take(c.upper)?,
        upper_id: c.upper_id,
        alone,
        device: left.take(c.device)?,
        device_number: c.device_number,
        offer: c.offer,
        exchange: c.exchange,
        passes: c.passes,
        passed: c.passed.into_iter().map(|passed| (passed.ino, passed)).collect(),
        answered: c.answered,
        identity: c.identity,
        refused: c.refused,
        mounted: c.mounted,
    })
}

/// The keeper as it was.
fn restored(handover: Handover, state_dir: &Path, left: &mut Inheritance) -> io::Result<Keeper> {
    drop(left.take(handover.head.program)?);
    let mut locks: HashMap<Number, Rc<Lock>> = HashMap::new();
    let mut connections = BTreeMap::new();
    for c in handover.connections {
        connections.insert(c.id, restored_connection(c, left, &mut locks)?);
    }
    let server = handover.server.map(|server| {
        let serving = server.serving.and_then(|for_| Instant::now().checked_sub(for_));
        let socket = left.take(server.socket)?;
        Ok::<_, io::Error>(ServerProcess { pid: server.pid, started: server.started, socket, serving })
    });
    let mut take = |number: Option<Number>| number.map(|number| left.take(number)).transpose();
    Ok(Keeper {
        state: StateDir::new(state_dir),
        lock: Lock::inherited(take(Some(handover.lock))?.ok_or(io::ErrorKind::InvalidInput)?),
        manifest: handover.manifest,
        hold: take(handover.hold)?.map(|file| RootHold::inherited(Lock::inherited(file))),
        connections,
        next_connection: handover.next_connection,
        server: server.transpose()?,
        program: Program::this().map_err(|e| e.source)?,
        former: None,
        offered: None,
        follows: None,
        version: handover.server_version,
        crashes: Default::default(),
        servers: handover.servers,
        errors: handover.errors,
        trouble: None,
        pending: false,
        again: false,
        ending: false,
        generation: handover.generation,
        reconciled: handover.reconciled,
        progress: KeeperProgress { count: handover.progress, ..KeeperProgress::default() },
        ready: None,
        requests: take(handover.requests)?,
    })
}
