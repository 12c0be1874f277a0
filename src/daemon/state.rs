//! The daemon's files in a worktree's state directory.
//!
//! ```text
//! manifest.json      what is wanted
//! daemon.lock        held by keeper and server as long as they live; holds the keeper's process id
//! client.lock        held by a command that mounts or unmounts: one at a time
//! daemon.json        what is there
//! daemon.json.spare  the one before; the two change places
//! daemon.log         what the keeper and its servers had to say
//! views/<id>/settled the manifest's generation with which the journal was last opened afresh, if it had retired grafts
//! views/<id>/dropped an empty file: the user deleted the mount point; not mounted until `reset`
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::escape;
use crate::sys::fs::{OpenFlags, open_path};
use crate::sys::lock::Lock;
use crate::sys::mountinfo::MountTable;
use crate::sys::process::{ProcessId, ProcessIdentity};
use crate::sys::{IoError, mount, path as paths, proc};

/// In a view's directory: the generation from which on its journal speaks of no retired graft.
pub const SETTLED: &str = "settled";

/// The first word of a keeper's command line; the state directory is the second.
pub const KEEPER_VERB: &str = "keeper";

/// Names the daemon's files.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Of an absolute path; the directory need not exist.
    pub fn new(path: &Path) -> StateDir {
        StateDir(path.to_path_buf())
    }

    /// The absolute path of the state directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The manifest's path. Commands write it; daemons read it.
    pub fn manifest(&self) -> PathBuf {
        self.0.join("manifest.json")
    }

    /// The path of the state that the keeper writes ([`DaemonState`]). After the keeper's death it stays, and is out of
    /// date.
    pub fn daemon_json(&self) -> PathBuf {
        self.0.join("daemon.json")
    }

    fn daemon_json_spare(&self) -> PathBuf {
        self.0.join("daemon.json.spare")
    }

    /// The path of the log of keeper and servers, which they append to.
    pub fn log(&self) -> PathBuf {
        self.0.join("daemon.log")
    }

    /// The directory in which the overlay of a view keeps its state.
    pub fn view(&self, id: &str) -> PathBuf {
        self.0.join("views").join(id)
    }

    /// The mark of a view whose mount point the user deleted.
    pub fn dropped(&self, id: &str) -> PathBuf {
        self.view(id).join("dropped")
    }

    /// Whether the user deleted the view's mount point; then it is not mounted before `reset` brings it back.
    pub(crate) fn is_dropped(&self, id: &str) -> bool {
        paths::is_there(&self.dropped(id))
    }

    /// The daemon's lock, `None` while a daemon lives.
    pub(super) fn try_daemon_lock(&self) -> Result<Option<Lock>, IoError> {
        let path = self.0.join("daemon.lock");
        let file = open(&path)?;
        Lock::try_exclusive(file).map_err(IoError::of("lock", &path))
    }

    /// Whether a daemon lives, and its keeper's process id once it has written it.
    pub(super) fn living(&self) -> Result<Option<Option<ProcessId>>, IoError> {
        let path = self.0.join("daemon.lock");
        if !paths::is_there(&path) {
            return Ok(None);
        }
        if Lock::try_shared(open(&path)?).map_err(IoError::of("lock", &path))?.is_some() {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&paths::read(&path)?).trim().parse().ok()))
    }

    /// As [`StateDir::living`]. If the lock's file names a process that is not the keeper (it may be damaged, and
    /// another process would get the keeper's signals), `daemon.json` names the keeper.
    pub(super) fn living_keeper(&self) -> Result<Option<Option<ProcessId>>, IoError> {
        let Some(written) = self.living()? else { return Ok(None) };
        let written = written.filter(|pid| self.may_be_kept_by(*pid));
        let lives = |state: &DaemonState| state.started.is_some() && proc::started(state.pid) == state.started;
        // A keeper that has just begun has not written it yet; it was started later than the one that did.
        let is_older = |state: &DaemonState| written.and_then(proc::started) <= state.started;
        let state =
            DaemonState::load(self).filter(|state| written != Some(state.pid) && lives(state) && is_older(state));
        Ok(Some(state.map(|state| state.pid).or(written)))
    }

    /// Whether a process may be the keeper, by the words with which it was started: not if it is another program, or keeps
    /// another directory. A thread of the server has a number, too.
    fn may_be_kept_by(&self, pid: ProcessId) -> bool {
        let words = proc::arguments(pid);
        let Some((_, words)) = words.split_first() else { return true };
        let identity = |path: &Path| paths::stat(path).ok().flatten().map(|stat| (stat.dev, stat.ino));
        // The directory may have been moved since.
        let is_other =
            |dir: &Path| dir.is_absolute() && identity(dir).is_some_and(|there| identity(&self.0) != Some(there));
        matches!(words, [verb, dir, ..] if verb == KEEPER_VERB && !is_other(Path::new(dir)))
    }

    /// A process that the daemon's files name. A keeper that both files name, while it holds the lock, is the one: then a
    /// start time that is not its own is a damaged one.
    pub(super) fn process(&self, pid: ProcessId) -> ProcessIdentity {
        let state = DaemonState::load(self).unwrap_or_default();
        let named = state.process(pid);
        let started = proc::started(pid);
        if named.started == started || state.pid != pid || self.living().ok().flatten().flatten() != Some(pid) {
            return named;
        }
        ProcessIdentity { pid, started }
    }

    /// The identity of the overlay's state of a view: it differs after that was deleted and made again.
    pub(super) fn view_identity(&self, id: &str) -> Option<(u64, u64, u64)> {
        paths::stat(&self.view(id)).ok().flatten().map(|stat| (stat.dev, stat.ino, stat.born))
    }

    /// Waits for the lock that clients hold while they mount and unmount.
    pub(super) fn client_lock(&self) -> Result<Lock, IoError> {
        let path = self.0.join("client.lock");
        Lock::exclusive(open(&path)?).map_err(IoError::of("lock", &path))
    }
}

fn open(path: &Path) -> Result<std::os::fd::OwnedFd, IoError> {
    open_path(path, OpenFlags::RDWR | OpenFlags::CREATE, 0o644).map_err(IoError::of("open", path))
}

/// The content of `daemon.json`. Fields may be added; readers skip those they don't know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonState {
    /// The keeper.
    pub pid: ProcessId,
    /// `None` between two servers.
    pub server_pid: Option<ProcessId>,
    /// When both were started ([`crate::sys::proc::started`]): a number may be another process's by the time it is read.
    pub started: Option<u64>,
    pub(crate) server_started: Option<u64>,
    /// Of the manifest that was compared with last.
    pub generation: u64,
    /// Of the server.
    pub version: String,
    /// Which program file the server runs.
    pub build: String,
    /// The version of the keeper's protocol with its servers; 0: the first protocol.
    pub protocol: u32,
    /// How many servers were started after the first.
    pub restarts: u64,
    /// How often the keeper has compared.
    pub reconciled: u64,
    /// Grows while the keeper works: with each view that is mounted, served or detached.
    pub progress: u64,
    /// It was requested to end, and will once no program has a view open.
    pub ending: bool,
    /// The fault of the daemon as a whole, in words.
    pub trouble: Option<String>,
    /// Its views answer EIO, for the reason in `trouble`.
    pub refusing: bool,
    /// Its servers read requests into memory that outlives them, for kernels that send none again.
    pub retains: bool,
    /// How many views have no place any more and are open, or mounted in another mount namespace. `None`: a keeper of
    /// before, which does not report it.
    pub held: Option<usize>,
    /// A state for each view of the manifest, mounted or not.
    pub views: Vec<ViewState>,
}

/// The state of one view in `daemon.json`. A field that an older keeper does not write has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewState {
    pub id: String,
    /// Absolute.
    #[serde(with = "escape::path")]
    pub path: PathBuf,
    pub mounted: bool,
    /// `st_dev` of what is mounted, as major and minor number.
    pub device: Option<(u32, u32)>,
    /// How it is mounted.
    pub options: Option<mount::Options>,
    /// From which size on, in bytes, files of the store are read without the server.
    pub passes: Option<u64>,
    /// The kernel's offer for it (FUSE_INIT's flags).
    pub capabilities: Option<u64>,
    /// Why it is not mounted, in words.
    pub error: Option<String>,
}

impl DaemonState {
    /// `None` when there is no such file or it can't be understood.
    pub(super) fn load(dir: &StateDir) -> Option<DaemonState> {
        DaemonState::try_load(dir).ok().flatten()
    }

    /// As [`DaemonState::load`], where much depends on it: a file that can't be read is no absent one.
    ///
    /// # Errors
    /// The file can't be read.
    pub(super) fn try_load(dir: &StateDir) -> Result<Option<DaemonState>, IoError> {
        let bytes = paths::read_if_there(&dir.daemon_json())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Makes what [`DaemonState::save`] writes, with room on the disk; what is there stays.
    pub(super) fn prepare(dir: &StateDir) -> Result<(), IoError> {
        for file in [dir.daemon_json(), dir.daemon_json_spare()] {
            paths::write_new(&file, &[b'\n'; 4096])?;
        }
        Ok(())
    }

    /// Makes no name: git may be deleting this directory, and fails when something appears in it meanwhile. Then
    /// no reader is left.
    pub(super) fn save(&self, dir: &StateDir) -> Result<(), IoError> {
        let text = serde_json::to_vec_pretty(self).expect("numbers, text and lists become JSON");
        paths::swap_in(&dir.daemon_json(), &dir.daemon_json_spare(), &text).map(drop)
    }

    /// Corrects `mounted` and the path by the kernel's table: a mount may be gone before the keeper has a report
    /// of it, and a directory above it may have been renamed.
    pub(super) fn compare(&mut self, mounts: &MountTable) {
        for view in self.views.iter_mut().filter(|view| view.mounted) {
            let place = super::mounts::whereabouts(mounts, &view.path, view.device).map(Path::to_path_buf);
            view.mounted = place.is_some();
            view.path = place.unwrap_or_else(|| std::mem::take(&mut view.path));
        }
    }

    /// The process with this number, and when it was started if this is the keeper's or the server's number.
    pub(super) fn process(&self, pid: ProcessId) -> ProcessIdentity {
        let started = match (self.pid == pid, self.server_pid == Some(pid)) {
            (true, _) => self.started,
            (_, true) => self.server_started,
            _ => None,
        };
        ProcessIdentity { pid, started }
    }

    /// The views by their ids.
    pub fn by_id(&self) -> HashMap<&str, &ViewState> {
        self.views.iter().map(|view| (view.id.as_str(), view)).collect()
    }
}
