//! The state of a daemon, read without a request to it: from its lock, its state file, the kernel's tables and `/proc`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::DaemonError;
use super::state::{DaemonState, KEEPER_VERB, StateDir, ViewState};
use crate::sys::mountinfo::MountTable;
use crate::sys::process::{Ask, ProcessId, ProcessIdentity};
use crate::sys::{IoError, fuse_dev, mount, proc};

/// Requests that wait for so long, while the server does no work, hang.
const HUNG_AFTER: Duration = Duration::from_secs(1);
/// A server that works all this time is given up on: whether a request hangs beside its work cannot be seen.
const HUNG_WITHIN: Duration = Duration::from_secs(10);
/// How long a killed daemon may take to end.
const HUNG_ENDS_WITHIN: Duration = Duration::from_secs(5);

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
    /// See [`DaemonState::retains`].
    pub retains: bool,
    processes: Vec<ProcessIdentity>,
}

impl Health {
    /// The keeper and the server, as far as they are alive.
    pub fn processes(&self) -> &[ProcessIdentity] {
        &self.processes
    }
}

/// The state of the daemon of this state directory (absolute). It waits for no process and no view; a file that can't
/// be read counts as absent.
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
    Health { keeper, server, refuses, views: state.views, retains: state.retains, processes }
}

/// The mounted views of which requests wait for an answer that no server will give: a server had read them when it
/// died, the kernel does not send them again, and they were not retained. Takes a moment when there may be one.
pub fn hung(state_dir: &Path) -> Vec<ViewState> {
    let health = health(state_dir);
    let (Some(server), false) = (health.server, health.retains) else { return Vec::new() };
    let is_lost = |view: &ViewState| view.capabilities.is_some_and(|offered| offered & fuse_dev::HAS_RESEND == 0);
    let waits =
        |view: &ViewState| view.device.is_some_and(|(_, minor)| fuse_dev::waiting(minor).is_some_and(|n| n > 0));
    let mut views: Vec<_> = health.views.into_iter().filter(|v| v.mounted && is_lost(v) && waits(v)).collect();
    let end = Instant::now() + HUNG_WITHIN;
    while !views.is_empty() && Instant::now() < end {
        let (before, until) = (proc::work(server), Instant::now() + HUNG_AFTER);
        while !views.is_empty() && Instant::now() < until {
            std::thread::sleep(HUNG_AFTER / 20);
            views.retain(waits);
        }
        // A server that did something may have answered others only.
        if !proc::work(server).is_more_than(before) {
            return views;
        }
    }
    Vec::new()
}

/// The state directory of the daemon that serves the mount around `place` (absolute), if that hangs, as [`hung`] has it.
/// The mount is found by the kernel's tables: a look-up in it could wait for ever.
pub(crate) fn hung_around(place: &Path) -> Option<PathBuf> {
    if fuse_dev::has_resend() {
        return None;
    }
    let mounts = MountTable::current().ok()?;
    let innermost = place.ancestors().find_map(|at| mounts.at(at).next_back())?;
    let connection = innermost.device.1;
    if innermost.kind != mount::KIND || fuse_dev::waiting(connection).is_none_or(|waiting| waiting == 0) {
        return None;
    }
    let holders = proc::fuse_connections()?.remove(&connection)?;
    let kept_by = |pid| match proc::arguments(pid).as_slice() {
        [_, verb, dir] if verb == KEEPER_VERB => Some(PathBuf::from(dir)),
        _ => None,
    };
    holders.into_iter().find_map(kept_by).filter(|state_dir| !hung(state_dir).is_empty())
}

/// Ends a daemon whose connections hang ([`hung`]): the programs that wait get ENOTCONN, and its views can be mounted
/// again. `false`: none hangs.
///
/// # Errors
/// It can't be killed.
pub(super) fn end_hung(dir: &StateDir) -> Result<bool, DaemonError> {
    let hung = hung(dir.path());
    let Some(first) = hung.first() else { return Ok(false) };
    tracing::warn!(view = first.id, "its connection hangs and is ended");
    // The server's first: it would go on for a moment after its keeper.
    for process in health(dir.path()).processes().iter().rev() {
        process.signal(Ask::Kill).map_err(IoError::of("kill the daemon of", &first.path))?;
    }
    proc::wait_until(HUNG_ENDS_WITHIN, || dir.living().is_ok_and(|living| living.is_none()));
    Ok(true)
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
