//! The state of the keeper.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use super::connection::Connection;
use super::crash_history::CrashHistory;
use super::progress::KeeperProgress;
use super::server_process::ServerProcess;
use crate::daemon::program::Program;
use crate::daemon::state::StateDir;
use crate::daemon::wire::ConnectionId;
use crate::store::{Manifest, RootHold};
use crate::sys::lock::Lock;

/// The state of the keeper, which has one thread. Descriptors in it are closed when the keeper ends, and views that are
/// mounted then fail with ENOTCONN.
pub struct Keeper {
    pub state: StateDir,
    pub lock: Lock,
    /// As it was when it was compared with last.
    pub manifest: Option<Manifest>,
    /// Keeps gc from the trees of all connections.
    pub hold: Option<RootHold>,
    pub connections: BTreeMap<ConnectionId, Connection>,
    pub next_connection: ConnectionId,
    pub server: Option<ServerProcess>,
    /// The program of the servers, and the former one until the first server of the new one has served.
    pub program: Program,
    pub former: Option<Program>,
    /// The program of a client that has requested a comparison.
    pub offered: Option<Program>,
    /// Servers are of another build than this program: which handover of keepers that build understands, once one of
    /// its servers has reported it (0 until then).
    pub follows: Option<u32>,
    /// Of the server.
    pub version: String,
    pub crashes: CrashHistory,
    /// How many were started.
    pub servers: u64,
    /// By view: why it is not mounted.
    pub errors: BTreeMap<String, String>,
    /// The fault of the daemon as a whole.
    pub trouble: Option<String>,
    /// A comparison has begun and some views are neither served nor failed yet.
    pub pending: bool,
    /// Another comparison was requested meanwhile.
    pub again: bool,
    pub ending: bool,
    /// Of the manifest that was compared with to the end.
    pub generation: u64,
    pub reconciled: u64,
    pub progress: KeeperProgress,
    pub ready: Option<OwnedFd>,
    /// The memory into which servers read requests ([`crate::sys::retained`]), where the kernel sends none again.
    pub requests: Option<OwnedFd>,
}
