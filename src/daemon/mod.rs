//! One daemon per worktree, in two processes: the keeper holds the mounts, the server answers for them.
//!
//! ```text
//! client ──starts, SIGHUP, SIGTERM──▶ keeper ──starts, socket (`wire`)──▶ server
//!    ▲                                  │  holds: FUSE devices, uppers      │  a few threads for all views
//!    └────────── daemon.json ◀──────────┘                                   └─▶ overlay, store
//! ```
//!
//! There is no control socket for the outside: `manifest.json` has the wanted mounts, a signal makes the keeper
//! compare, `daemon.json` has the present ones. The keeper never touches a path inside a view: a process that does
//! waits for the server, and the keeper has to restart it.
//!
//! | dies            | then                                                                                    |
//! |-----------------|-----------------------------------------------------------------------------------------|
//! | the server      | the keeper starts another on the same connections; programs notice a pause              |
//! | another build   | if it requests a mount, the keeper has its server replaced by that of the other build   |
//! | again and again | the views answer EIO until the next `mount`                                             |
//! | the keeper      | the server ends too; the next `mount` detaches the dead mounts and mounts anew           |
//!
//! | file | contents |
//! |------|----------|
//! | `client`, `release`, `timeouts`, `known` | requests of commands to a daemon, and the time that they wait |
//! | `health`, `mounts` | the state of a daemon and its mounts, without a request |
//! | `state`, `wire`, `program` | files, messages, and the builds of the two processes |
//! | `keeper/` | the process that holds mounts and devices |
//! | `server`, `served`, `checks`, `fast_path`, `refused` | the process that answers |

mod checks;
pub mod client;
mod fast_path;
mod health;
pub mod keeper;
mod known;
mod mounts;
mod program;
mod refused;
mod release;
mod served;
pub mod server;
mod state;
mod timeouts;
mod wire;

use std::path::PathBuf;

use crate::store::StoreError;
use crate::sys::IoError;
use crate::sys::process::ProcessId;
use crate::sys::terminal::DisplayName;

pub use health::hung;
pub(crate) use health::{Health, left_mounted};
pub(crate) use health::{health, hung_around};
pub(crate) use mounts::whereabouts;
pub(crate) use release::Released;
pub(crate) use state::SETTLED;
pub use state::{DaemonState, KEEPER_VERB};

/// The reason why a request to a daemon failed. The views stay as they were unless a variant says otherwise.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Views that a program uses; nothing was unmounted. `user` is one of those programs, if it was found.
    #[error("{} in use{}", listed(paths), by(user))]
    Busy { paths: Vec<PathBuf>, user: Option<(ProcessId, String)> },
    /// A process of it was stopped (SIGSTOP, a debugger).
    #[error("the daemon does not answer: its {which}, process {pid}, is stopped")]
    Stopped { which: &'static str, pid: ProcessId },
    /// Its keeper is of another depsfs, for which servers of this one can't serve. Nothing was changed.
    #[error(
        "the daemon that runs (process {pid}) is of another depsfs: it speaks protocol {protocol}, this program {}",
        wire::PROTOCOL
    )]
    Protocol { pid: ProcessId, protocol: u32 },
    #[error("the daemon did not start: {why} (its log: {})", log.shown())]
    Start { why: String, log: PathBuf },
    #[error("the daemon does not answer (its log: {})", log.shown())]
    Silent { log: PathBuf },
    /// The working directory is in a mount whose requests hang: nothing in it was looked at.
    #[error("{} does not answer: requests wait for an answer that no server will give", place.shown())]
    Hung { place: PathBuf },
}

fn by(user: &Option<(ProcessId, String)>) -> String {
    user.as_ref().map(|(pid, name)| format!(" by process {pid} ({})", name.shown())).unwrap_or_default()
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|p| p.shown().to_string()).collect();
    format!("{} {}", paths.join(", "), if paths.len() == 1 { "is" } else { "are" })
}
