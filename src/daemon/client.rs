//! Requests of other programs to a worktree's daemon: to mount, to unmount (`release`), what there is.
//!
//! No call here touches a path inside a view. Every wait has an end (`patience`).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use super::health::{end_hung, refuse_stopped};
use super::program::Program;
use super::release::{detach_dead, take_down};
use super::state::{DaemonState, KEEPER_VERB, StateDir, ViewState};
use super::timeouts::{Patience, wait_for};
use super::{DaemonError, keeper, known, mounts, wire};
use crate::store::Manifest;
use crate::store::manifest::ViewSpec;
use crate::sys::fs::{OpenFlags, open_path};
use crate::sys::log::OrWarn;
use crate::sys::mountinfo::MountTable;
use crate::sys::process::{self, ProcessId};
use crate::sys::watch::Watch;
use crate::sys::{IoError, fs, path as paths, reason};

pub(crate) use super::release::wait_for_end;
pub use super::release::{unmount as release, unmount_view};

/// A log longer than this is put aside when a daemon starts.
const LONG_LOG: u64 = 1 << 20;

/// Mounts every view of the worktree's manifest: starts the daemon, or has it compare, and has its server replaced when
/// that runs another build than this program. Returns when each is mounted
/// or has failed; the state has the reason of each failure. Views that the user dropped stay unmounted.
///
/// # Errors
/// As [`DaemonError`] describes: no daemon could be started, it is silent, or its mounts failed.
pub fn mount(state_dir: &Path) -> Result<DaemonState, DaemonError> {
    mount_with(Path::new("/proc/self/exe"), state_dir)
}

/// As [`mount`], with another program as the daemon's.
///
/// # Errors
/// As [`mount`].
pub fn mount_with(program: &Path, state_dir: &Path) -> Result<DaemonState, DaemonError> {
    let dir = StateDir::new(state_dir);
    if !paths::is_there(&dir.manifest()) {
        Manifest::load(&dir.manifest())?;
    }
    let _turn = dir.client_lock()?;
    let manifest = Manifest::load(&dir.manifest())?.into_mounts();
    refuse_stopped(&dir)?;
    end_hung(&dir)?;
    let own = Program::open(program)?;
    let mut patience = Patience::new();
    loop {
        match dir.living_keeper()? {
            None => {
                detach_dead(&dir, Some(&manifest))?;
                match start(program, &dir) {
                    Err(e @ DaemonError::Start { .. }) if dir.living()?.is_none() => {
                        // One that died may have mounted some of it.
                        detach_dead(&dir, Some(&manifest)).or_warn("the mounts of a dead daemon stay");
                        return Err(e);
                    }
                    // Another keeper was faster: that of a client which was killed while it started one.
                    Err(DaemonError::Start { .. }) => {}
                    done => return done,
                }
            }
            Some(Some(pid)) => {
                if let Some(state) = ask_to_compare(&dir, pid, &manifest, &own)? {
                    return Ok(state);
                }
            }
            // It has the lock and has not written who it is, or ends just now.
            Some(None) => std::thread::sleep(Duration::from_millis(1)),
        }
        if patience.is_over(None) {
            return Err(DaemonError::Silent { log: dir.log() });
        }
    }
}

/// Starts a keeper and waits until it reports that it is ready, or why it isn't.
fn start(program: &Path, dir: &StateDir) -> Result<DaemonState, DaemonError> {
    let log = dir.log();
    if paths::stat(&log)?.is_some_and(|s| s.size > LONG_LOG) {
        paths::rename(&log, &log.with_extension("log.1"))?;
    }
    let flags = OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::APPEND;
    let output = open_path(&log, flags, 0o644).map_err(IoError::of("open", &log))?;
    let failed = |why: String| DaemonError::Start { why, log: log.clone() };
    let (ready, theirs) = process::pipe().map_err(|e| failed(reason(&e)))?;
    let args = [OsStr::new(KEEPER_VERB), dir.path().as_os_str()];
    process::start_apart(program, &args, output.as_fd(), theirs.as_fd()).map_err(|e| failed(reason(&e)))?;
    drop(theirs);
    let mut patience = Patience::new();
    // It reports as long as it is at work; the last words end with the pipe.
    let mut said = Vec::new();
    while said != keeper::READY {
        let awake = process::wait_any(&[ready.as_fd()], Some(patience.left())).map_err(|e| failed(reason(&e)))?;
        if awake[0] {
            let more = fs::read_once(&ready).map_err(|e| failed(reason(&e)))?;
            if more.is_empty() {
                break;
            }
            said.extend(more);
            let at_work = said.iter().take_while(|byte| keeper::AT_WORK.contains(byte)).count();
            said.drain(..at_work);
            patience.sign();
        } else if patience.is_over(dir.living()?.flatten()) {
            return Err(DaemonError::Silent { log });
        }
    }
    match (said == keeper::READY, DaemonState::load(dir)) {
        (true, Some(state)) => Ok(state),
        (true, None) => Err(failed("it left no daemon.json".into())),
        (false, _) if said.is_empty() => Err(failed("it died".into())),
        (false, _) => Err(failed(String::from_utf8_lossy(&said).into_owned())),
    }
}

/// Has the living daemon compare, unless everything is as it should be; `None` when it ended instead.
fn ask_to_compare(
    dir: &StateDir,
    pid: ProcessId,
    manifest: &Manifest,
    own: &Program,
) -> Result<Option<DaemonState>, DaemonError> {
    let mut compared = 0;
    if let Some(mut state) = DaemonState::load(dir).filter(|s| s.pid == pid) {
        compared = state.reconciled;
        state.compare(&MountTable::read()?);
        if state.build == own.build() && is_as_wanted(dir, &state, manifest) {
            return Ok(Some(state));
        }
        if state.build != own.build() && !wire::understands(state.protocol) {
            return Err(DaemonError::Protocol { pid, protocol: state.protocol });
        }
        take_down(dir, pid, &mounted_otherwise(&state, manifest))?;
    }
    let watch = Watch::renames_into(dir.path())?;
    dir.process(pid).signal_with_file(own.as_fd()).map_err(|_| DaemonError::Silent { log: dir.log() })?;
    wait_for(dir, pid, &watch, Patience::new(), |state| {
        state.pid == pid && state.reconciled > compared && state.generation >= manifest.generation
    })
}

/// The views that are mounted in another way than is wanted now (a mount's options hold as long as it does).
fn mounted_otherwise(state: &DaemonState, manifest: &Manifest) -> Vec<ViewState> {
    let wanted: HashMap<&str, &ViewSpec> = manifest.views.iter().map(|v| (v.id.as_str(), v)).collect();
    let differs = |view: &&ViewState| {
        let wanted = wanted.get(view.id.as_str()).map(|v| mounts::options(manifest, v));
        view.mounted && view.options.as_ref().zip(wanted).is_some_and(|(is, wanted)| *is != wanted)
    };
    state.views.iter().filter(differs).cloned().collect()
}

fn is_as_wanted(dir: &StateDir, state: &DaemonState, manifest: &Manifest) -> bool {
    let there = state.by_id();
    let settled = |view: &ViewSpec| {
        let there = there.get(view.id.as_str());
        let is_at_its_place = |v: &&&ViewState| v.path == mounts::place(&manifest.worktree, view);
        there.filter(is_at_its_place).is_some_and(|v| v.mounted && v.error.is_none()) != dir.is_dropped(&view.id)
    };
    state.generation == manifest.generation
        && !state.ending
        && state.trouble.is_none()
        && state.views.len() == manifest.views.len()
        && manifest.views.iter().all(settled)
        && mounted_otherwise(state, manifest).is_empty()
}

/// The state of a living daemon, or `None`.
pub fn state(state_dir: &Path) -> Option<DaemonState> {
    known::look(&StateDir::new(state_dir)).map(|known| known.state.clone())
}

/// Whether a living daemon has a view mounted. Asked of each of many views, what there is is read once.
pub fn is_mounted(state_dir: &Path, view_id: &str) -> bool {
    known::look(&StateDir::new(state_dir)).is_some_and(|known| known.mounted.contains(view_id))
}

/// The ids of the views that a living daemon has mounted.
pub fn mounted(state_dir: &Path) -> HashSet<String> {
    known::look(&StateDir::new(state_dir)).map(|known| known.mounted.clone()).unwrap_or_default()
}

/// As `release::unmount`, also if a process has the views open or mounted elsewhere.
///
/// # Errors
/// [`DaemonError::Busy`] while a program uses a view, unless `lazy`. The daemon is stopped or silent.
pub fn unmount(state_dir: &Path, lazy: bool) -> Result<(), DaemonError> {
    release(state_dir, lazy).map(drop)
}
