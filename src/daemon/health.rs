//! The state of a daemon, read without a request to it: from its lock, its state file, the kernel's tables and `/proc`.

use std::path::Path;

use super::DaemonError;
use super::state::{DaemonState, StateDir, ViewState};
use crate::sys::mountinfo::MountTable;
use crate::sys::process::{ProcessId, ProcessIdentity};
use crate::sys::{mount, proc};

/// The state of a daemon, alive or dead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `None`: no daemon lives.
    pub keeper: Option<ProcessId>,
    pub server: Option<ProcessId>,
    /// Why its views answer EIO, if they do.
    pub refuses: Option<String>,
    /// As it last wrote them.
    pub views: Vec<ViewState>,
    processes: Vec<ProcessIdentity>,
}

impl Health {
    /// The keeper and the server, as far as they are alive.
    pub fn processes(&self) -> &[ProcessIdentity] {
        &self.processes
    }
}

pub(crate) fn health(state_dir: &Path) -> Health {
    let dir = StateDir::new(state_dir);
    let keeper = dir.living_keeper().ok().flatten().flatten();
    let state = DaemonState::load(&dir).unwrap_or_default();
    let is_its = keeper == Some(state.pid);
    let refuses = state.trouble.clone().filter(|_| is_its && state.refusing);
    // A server may be gone, and its number another's: its keeper writes of the next one a moment later.
    let is_it = |pid: &ProcessId| state.server_started.is_none_or(|then| proc::started(*pid) == Some(then));
    let server = state.server_pid.filter(|_| is_its).filter(is_it);
    let processes = keeper.into_iter().chain(server).map(|pid| state.process(pid)).collect();
    Health { keeper, server, refuses, views: state.views, processes }
}

/// Whether a daemon that is gone has left a view mounted.
pub fn left_mounted(state_dir: &Path) -> bool {
    let Health { keeper: None, views, .. } = health(state_dir) else { return false };
    let mounts = MountTable::read().unwrap_or_default();
    views.iter().any(|v| mounts.at(&v.path).any(|m| m.kind == mount::KIND))
}

/// # Errors
/// [`DaemonError::Stopped`] for a living daemon of which a process is stopped: it would be waited for in vain.
pub(super) fn refuse_stopped(dir: &StateDir) -> Result<(), DaemonError> {
    let health = health(dir.path());
    let stopped = [("keeper", health.keeper), ("server", health.server)];
    let mut stopped =
        stopped.into_iter().filter_map(|(which, pid)| Some((which, pid.filter(|p| proc::is_stopped(*p))?)));
    stopped.next().map_or(Ok(()), |(which, pid)| Err(DaemonError::Stopped { which, pid }))
}
