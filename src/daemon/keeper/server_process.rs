//! The server that the keeper has started.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::sys::log::OrWarn;
use crate::sys::process::{self, Ask, ProcessId, ProcessIdentity};

/// How long a killed server may wait in a system call for another file system.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// A server that this keeper started and has not reaped yet.
pub struct ServerProcess {
    pub pid: ProcessId,
    /// When it was started; see [`crate::sys::proc::started`].
    pub started: Option<u64>,
    pub socket: OwnedFd,
    /// Since when it serves every connection that was sent to it.
    pub serving: Option<Instant>,
}

impl ServerProcess {
    /// Its identity, by which signals reach it alone.
    pub fn process(&self) -> ProcessIdentity {
        ProcessIdentity { pid: self.pid, started: self.started }
    }

    /// Ends it by closing its socket; kills it when that takes too long. Returns when it has closed its files, which
    /// keep the file systems of the store and the uppers in use.
    pub fn stop(self, limit: Duration) {
        let process = self.process();
        drop(self.socket);
        let Ok(Some(watch)) = process.watch() else { return };
        let has_ended = |limit| process::wait_any(&[watch.as_fd()], Some(limit)).is_ok_and(|awake| awake[0]);
        if !has_ended(limit) {
            if !limit.is_zero() {
                tracing::warn!("the server does not end; killed");
            }
            process.signal(Ask::Kill).or_warn("the server cannot be killed");
            has_ended(KILLED_WITHIN);
        }
    }
}
