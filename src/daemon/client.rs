//! What other programs ask of a worktree's daemon: to mount, to unmount, what there is.
//!
//! No call here touches a path inside a view. Every wait has an end.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::health::refuse_stopped;
use super::program::Program;
use super::state::{DaemonState, StateDir, ViewState};
use super::{DaemonError, keeper, mounts, wire};
use crate::store::Manifest;
use crate::sys::fs::{OpenFlags, open_path};
use crate::sys::process::{self, Ask, ProcessId};
use crate::sys::watch::Watch;
use crate::sys::{IoError, fs, mount, mountinfo, path as paths};

/// How long a daemon may take to mount or unmount.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for the end of a daemon whose views may still be open somewhere.
const LINGER: Duration = Duration::from_millis(500);
/// A view that is in use for no longer than this is not in use: `df` looks at each, a program is about to end.
const GLANCE: Duration = Duration::from_millis(200);
/// A log longer than this is put aside when a daemon starts.
const LONG_LOG: u64 = 1 << 20;

/// Mounts every view of the worktree's manifest: starts the daemon, or has it compare, and has its server replaced when
/// that runs another build than this program. Returns when each is mounted
/// or has failed; the state says which, and why. Views that the user dropped stay unmounted.
pub fn mount(state_dir: &Path) -> Result<DaemonState, DaemonError> {
    mount_with(Path::new("/proc/self/exe"), state_dir)
}

/// As [`mount`], with another program as the daemon's.
pub fn mount_with(program: &Path, state_dir: &Path) -> Result<DaemonState, DaemonError> {
    let dir = StateDir::new(state_dir);
    if !paths::is_there(&dir.manifest()) {
        Manifest::load(&dir.manifest())?;
    }
    let _turn = dir.client_lock()?;
    let manifest = Manifest::load(&dir.manifest())?;
    refuse_stopped(&dir)?;
    let own = Program::open(program)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match dir.living()? {
            None => {
                detach_dead(&dir, Some(&manifest))?;
                return start(program, &dir, until).inspect_err(|e| {
                    // One that died may have mounted some of it.
                    if matches!(e, DaemonError::Start { .. }) && dir.living().is_ok_and(|lives| lives.is_none()) {
                        let _ = detach_dead(&dir, Some(&manifest));
                    }
                });
            }
            Some(Some(pid)) => {
                if let Some(state) = ask_to_compare(&dir, pid, &manifest, &own, until)? {
                    return Ok(state);
                }
            }
            // It has the lock and has not written who it is, or ends just now.
            Some(None) => std::thread::sleep(Duration::from_millis(1)),
        }
        if Instant::now() > until {
            return Err(DaemonError::Silent { log: dir.log() });
        }
    }
}

/// Starts a keeper and waits until it says that it is ready, or why it isn't.
fn start(program: &Path, dir: &StateDir, until: Instant) -> Result<DaemonState, DaemonError> {
    let log = dir.log();
    if paths::stat(&log)?.is_some_and(|s| s.size > LONG_LOG) {
        paths::rename(&log, &log.with_extension("log.1"))?;
    }
    let flags = OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::APPEND;
    let output = open_path(&log, flags, 0o644).map_err(IoError::of("open", &log))?;
    let failed = |why: String| DaemonError::Start { why, log: log.clone() };
    let (ready, theirs) = process::pipe().map_err(|e| failed(e.to_string()))?;
    let args = [OsStr::new("keeper"), dir.path().as_os_str()];
    process::start_apart(program, &args, output.as_fd(), theirs.as_fd()).map_err(|e| failed(e.to_string()))?;
    drop(theirs);
    let left = until.saturating_duration_since(Instant::now());
    let awake = process::wait_any(&[ready.as_fd()], Some(left)).map_err(|e| failed(e.to_string()))?;
    if !awake[0] {
        return Err(DaemonError::Silent { log });
    }
    let said = fs::read_once(&ready).map_err(|e| failed(e.to_string()))?;
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
    until: Instant,
) -> Result<Option<DaemonState>, DaemonError> {
    let mut compared = 0;
    if let Some(mut state) = DaemonState::load(dir).filter(|s| s.pid == pid) {
        compared = state.reconciled;
        state.compare(&mountinfo::read()?);
        if state.build == own.build() && is_as_wanted(dir, &state, manifest) {
            return Ok(Some(state));
        }
        if state.build != own.build() && !wire::understands(state.protocol) {
            return Err(DaemonError::Protocol { pid, protocol: state.protocol });
        }
        take_down(dir, pid, &mounted_otherwise(&state, manifest))?;
    }
    let watch = Watch::renames_into(dir.path())?;
    process::ask_with_file(pid, own.as_fd()).map_err(|_| DaemonError::Silent { log: dir.log() })?;
    wait_for(dir, pid, &watch, until, |state| {
        state.pid == pid && state.reconciled > compared && state.generation >= manifest.generation
    })
}

/// The views that are mounted in another way than is wanted now (a mount's options hold as long as it does).
fn mounted_otherwise(state: &DaemonState, manifest: &Manifest) -> Vec<ViewState> {
    let wanted = |id: &str| manifest.views.iter().find(|v| v.id == id).map(|v| mounts::options(manifest, v));
    let differs = |view: &&ViewState| {
        let is = view.options.as_ref();
        view.mounted && is.zip(wanted(&view.id)).is_some_and(|(is, wanted)| *is != wanted)
    };
    state.views.iter().filter(differs).cloned().collect()
}

fn is_as_wanted(dir: &StateDir, state: &DaemonState, manifest: &Manifest) -> bool {
    let settled = |view: &crate::store::manifest::ViewSpec| {
        let there = state.views.iter().find(|v| v.id == view.id);
        there.is_some_and(|v| v.mounted && v.error.is_none()) != dir.is_dropped(&view.id)
    };
    state.generation == manifest.generation
        && !state.ending
        && state.trouble.is_none()
        && state.views.len() == manifest.views.len()
        && manifest.views.iter().all(settled)
        && mounted_otherwise(state, manifest).is_empty()
}

/// Waits until `daemon.json` says what is waited for; `None` when the daemon has ended before.
fn wait_for(
    dir: &StateDir,
    pid: ProcessId,
    watch: &Watch,
    until: Instant,
    done: impl Fn(&DaemonState) -> bool,
) -> Result<Option<DaemonState>, DaemonError> {
    let silent = || DaemonError::Silent { log: dir.log() };
    let Some(end) = process::watch(pid).map_err(|_| silent())? else { return Ok(None) };
    loop {
        watch.clear().map_err(|_| silent())?;
        if let Some(state) = DaemonState::load(dir).filter(&done) {
            return Ok(Some(state));
        }
        let left = until.saturating_duration_since(Instant::now());
        let awake = process::wait_any(&[end.as_fd(), watch.as_fd()], Some(left)).map_err(|_| silent())?;
        if awake[0] {
            return Ok(None);
        }
        if left.is_zero() {
            return Err(silent());
        }
    }
}

/// Unmounts every view of the worktree and ends its daemon. When one is in use and `lazy` isn't asked for, all of them
/// are mounted afterwards. Lazily unmounted views live on, unseen, for whoever has them open. Fine when nothing was
/// mounted.
pub fn unmount(state_dir: &Path, lazy: bool) -> Result<(), DaemonError> {
    let dir = StateDir::new(state_dir);
    if !paths::is_dir(state_dir) {
        return Ok(());
    }
    let _turn = dir.client_lock()?;
    let Some(pid) = dir.living()? else {
        detach_dead(&dir, None)?;
        return Ok(keeper::worktree_lock::keep(state_dir, false)?);
    };
    let Some(pid) = pid else { return Err(DaemonError::Silent { log: dir.log() }) };
    if !lazy {
        let stopped = refuse_stopped(&dir).err();
        if let Some(e @ DaemonError::Stopped { which: "keeper", .. }) = stopped {
            return Err(e);
        }
        // What nobody uses goes without the server. What somebody waits for says why it is in use.
        take_down(&dir, pid, &mounted_views(&dir)?).map_err(|e| match (e, stopped) {
            (DaemonError::Busy { .. }, Some(stopped)) => stopped,
            (e, _) => e,
        })?;
    }
    if let Err(DaemonError::Stopped { which: "server", pid: server }) = refuse_stopped(&dir) {
        // Programs that wait for it could not even be killed. Another answers them.
        signal(&dir, server, Ask::Kill)?;
    }
    let end = process::watch(pid).map_err(|_| DaemonError::Silent { log: dir.log() })?;
    signal(&dir, pid, Ask::End)?;
    // Most daemons end now. One whose views are still open somewhere goes on for those who have them open.
    if end.is_none_or(|end| process::wait_any(&[end.as_fd()], Some(LINGER)).is_ok_and(|awake| awake[0])) {
        return Ok(());
    }
    let watch = Watch::renames_into(dir.path())?;
    let gone = |state: &DaemonState| state.ending && state.views.iter().all(|v| !v.mounted);
    wait_for(&dir, pid, &watch, Instant::now() + PATIENCE, gone).map(drop)
}

/// As [`unmount`], for one view. The daemon goes on for the others.
pub fn unmount_view(state_dir: &Path, view_id: &str, lazy: bool) -> Result<(), DaemonError> {
    let dir = StateDir::new(state_dir);
    let _turn = dir.client_lock()?;
    let Some(Some(pid)) = dir.living()? else { return detach_dead(&dir, None) };
    let views: Vec<_> = mounted_views(&dir)?.into_iter().filter(|v| v.id == view_id).collect();
    let Some(view) = views.first() else { return Ok(()) };
    if lazy {
        return Ok(mount::unmount(&view.path, true).map_err(IoError::of("unmount", &view.path))?);
    }
    let watch = Watch::renames_into(dir.path())?;
    take_down(&dir, pid, &views)?;
    let gone = |state: &DaemonState| state.views.iter().all(|v| v.id != view_id || !v.mounted);
    wait_for(&dir, pid, &watch, Instant::now() + PATIENCE, gone).map(drop)
}

/// What a living daemon has mounted, or `None`.
pub fn state(state_dir: &Path) -> Option<DaemonState> {
    let dir = StateDir::new(state_dir);
    dir.living().ok()??;
    let mut state = DaemonState::load(&dir)?;
    state.compare(&mountinfo::read().ok()?);
    Some(state)
}

/// Unmounts all of `views` or none.
fn take_down(dir: &StateDir, pid: ProcessId, views: &[ViewState]) -> Result<(), DaemonError> {
    let busy = || -> Vec<PathBuf> {
        let in_use = |path: &&PathBuf| mount::is_busy(path).is_ok_and(|b| b == Some(true));
        views.iter().map(|v| &v.path).filter(in_use).cloned().collect()
    };
    let until = Instant::now() + GLANCE;
    loop {
        let paths = busy();
        if paths.is_empty() {
            break;
        }
        if Instant::now() > until {
            return Err(DaemonError::Busy { paths });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for view in views {
        if let Err(e) = mount::unmount(&view.path, false) {
            put_back(dir, pid)?;
            return Err(match e.kind() {
                std::io::ErrorKind::ResourceBusy => DaemonError::Busy { paths: vec![view.path.clone()] },
                _ => IoError::of("unmount", &view.path)(e).into(),
            });
        }
    }
    Ok(())
}

/// Has the daemon mount what was unmounted before the one that could not be.
fn put_back(dir: &StateDir, pid: ProcessId) -> Result<(), DaemonError> {
    let watch = Watch::renames_into(dir.path())?;
    let compared = DaemonState::load(dir).map_or(0, |s| s.reconciled);
    signal(dir, pid, Ask::Reconcile)?;
    wait_for(dir, pid, &watch, Instant::now() + PATIENCE, |state| state.reconciled > compared).map(drop)
}

fn mounted_views(dir: &StateDir) -> Result<Vec<ViewState>, DaemonError> {
    let mut state = DaemonState::load(dir).unwrap_or_default();
    state.compare(&mountinfo::read()?);
    state.views.retain(|v| v.mounted);
    Ok(state.views)
}

/// Detaches what a daemon that is gone has left mounted, found without touching it.
fn detach_dead(dir: &StateDir, manifest: Option<&Manifest>) -> Result<(), DaemonError> {
    let mounts = mountinfo::read()?;
    let left = DaemonState::load(dir).unwrap_or_default().views.into_iter().map(|v| v.path);
    let wanted = manifest.iter().flat_map(|m| m.views.iter().map(|v| mounts::place(&m.worktree, v)));
    let mut paths: Vec<PathBuf> = left.chain(wanted).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        mounts::detach_dead(&mounts, &path).map_err(IoError::of("detach the dead mount at", &path))?;
    }
    Ok(())
}

fn signal(dir: &StateDir, pid: ProcessId, what: Ask) -> Result<(), DaemonError> {
    // One that is gone is noticed by whoever waits for it.
    process::ask(pid, what).map(drop).map_err(|_| DaemonError::Silent { log: dir.log() })
}
