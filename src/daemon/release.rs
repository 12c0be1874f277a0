//! Unmounting views: all of a worktree, one of them, or those that a daemon has left when it died.
//!
//! A view that is unmounted may be mounted elsewhere all the same: a mount namespace that was made while it was there
//! has a copy (mount_namespaces(7)). No command waits for that: the daemon goes on for it until the copy is gone.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::health::{end_hung, refuse_stopped};
use super::state::{DaemonState, StateDir, ViewState};
use super::timeouts::{Patience, wait_for};
use super::{DaemonError, keeper, mounts};
use crate::store::Manifest;
use crate::sys::mountinfo::MountTable;
use crate::sys::process::{self, Ask, ProcessId};
use crate::sys::watch::Watch;
use crate::sys::{IoError, mount, mount_use, path as paths, proc};

/// A view that is in use for no longer than this is not in use: `df` looks at each, a program is about to end.
const GLANCE: Duration = Duration::from_millis(200);
/// How soon a view is usually gone that was unmounted: after that, a copy of the mount is looked for.
const SOON: Duration = Duration::from_millis(50);
/// How long a view is waited for that is not gone, when no copy is found: the namespace may be another user's.
const LATE: Duration = Duration::from_secs(5);
/// The wait for the end of a daemon if no process is found that has its views, or if it is an older one, which
/// does not report whether they are open somewhere.
const LINGER: Duration = Duration::from_millis(500);
/// How long a keeper may take from getting its lock to writing its number.
const STARTS_WITHIN: Duration = Duration::from_secs(5);
/// How long a daemon that ends may be silent before its server is looked at again.
const STOPS_WITHIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// The outcome of unmounting views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// No process has them any more, and the file system of the upper is free.
    Gone,
    /// They live on where they are open, or mounted in another mount namespace; a process in one, when it is found.
    Held(Option<ProcessId>),
    /// They live on for the shells that the command was called from, which stand in them.
    Left,
}

/// Unmounts every view of the worktree and ends its daemon. When one is in use, without `lazy`, all of them are mounted
/// afterwards. Lazily unmounted views live on, unseen, for processes that have them open. Fine when nothing was
/// mounted.
///
/// # Errors
/// [`DaemonError::Busy`] while a program uses a view, unless `lazy`. The daemon is stopped or silent.
pub fn unmount(state_dir: &Path, lazy: bool) -> Result<Released, DaemonError> {
    let dir = StateDir::new(state_dir);
    if paths::stat(state_dir)?.is_none_or(|stat| !stat.is_dir()) {
        return Ok(Released::Gone);
    }
    let _turn = dir.client_lock()?;
    end_hung(&dir)?;
    let Some(pid) = living(&dir)? else {
        detach_dead(&dir, None)?;
        keeper::worktree_lock::keep(state_dir, false)?;
        return Ok(Released::Gone);
    };
    let views = mounted_views(&dir)?;
    if !lazy {
        let stopped = refuse_stopped(&dir).err();
        if let Some(e @ DaemonError::Stopped { which: "keeper", .. }) = stopped {
            return Err(e);
        }
        // Idle views are unmounted without the server. If a view is busy, a stopped server is the reason to report.
        take_down(&dir, pid, &views).map_err(|e| match (e, stopped) {
            (DaemonError::Busy { .. }, Some(stopped)) => stopped,
            (e, _) => e,
        })?;
    }
    kill_stopped_server(&dir)?;
    end(&dir, pid, &views, lazy)
}

/// Kills a stopped server: programs that wait for it could not even be killed. The keeper starts another, which replies.
fn kill_stopped_server(dir: &StateDir) -> Result<(), DaemonError> {
    match refuse_stopped(dir) {
        Err(DaemonError::Stopped { which: "server", pid }) => signal(dir, pid, Ask::Kill),
        _ => Ok(()),
    }
}

/// Waits until a daemon has ended of which another program, as umount(8), has unmounted the last view: then the file
/// systems of store and upper are free. One that has other views, or whose views are used elsewhere, goes on.
pub(crate) fn wait_for_end(state_dir: &Path) -> Result<(), DaemonError> {
    let dir = StateDir::new(state_dir);
    let Some(pid) = (if paths::is_dir(state_dir) { living(&dir)? } else { None }) else { return Ok(()) };
    let watch = Watch::renames_into(dir.path())?;
    let goes_on = |state: &DaemonState| state.held.is_some_and(|held| held > 0);
    if mounted_views(&dir)?.is_empty() {
        wait_for(&dir, pid, &watch, Patience::of(LATE), goes_on)?;
    }
    Ok(())
}

/// The keeper, if a daemon lives. One that starts, or ends, is waited for until it has written its number.
fn living(dir: &StateDir) -> Result<Option<ProcessId>, DaemonError> {
    let until = Instant::now() + STARTS_WITHIN;
    loop {
        match dir.living_keeper()? {
            Some(None) if Instant::now() < until => std::thread::sleep(PAUSE),
            Some(None) => return Err(DaemonError::Silent { log: dir.log() }),
            known => return Ok(known.flatten()),
        }
    }
}

/// Has the keeper detach what is there, and waits until it has ended, or goes on for others.
fn end(dir: &StateDir, pid: ProcessId, views: &[ViewState], lazy: bool) -> Result<Released, DaemonError> {
    let watch = Watch::renames_into(dir.path())?;
    let end = dir.process(pid).watch().map_err(|_| DaemonError::Silent { log: dir.log() })?;
    signal(dir, pid, Ask::End)?;
    let has_let_go = |state: &DaemonState| state.ending && state.views.iter().all(|v| !v.mounted);
    let is_held = |state: &DaemonState| has_let_go(state) && state.held.is_some_and(|held| held > 0);
    if DaemonState::load(dir).is_some_and(|state| state.held.is_none()) {
        // One of before.
        if end.is_none_or(|end| process::wait_any(&[end.as_fd()], Some(LINGER)).is_ok_and(|awake| awake[0])) {
            return Ok(Released::Gone);
        }
        wait_for(dir, pid, &watch, Patience::new(), has_let_go)?;
    } else {
        let ended = match wait_for(dir, pid, &watch, Patience::of(STOPS_WITHIN), is_held) {
            // A SIGSTOP takes effect when each thread has run: the server may have stopped since it was looked at.
            Err(DaemonError::Silent { .. }) => {
                kill_stopped_server(dir)?;
                wait_for(dir, pid, &watch, Patience::new(), is_held)?
            }
            ended => ended?,
        };
        if ended.is_none() {
            return Ok(Released::Gone);
        }
    }
    let holder = views.iter().filter_map(|v| v.device).find_map(proc::mounted_elsewhere);
    // A process that ends is gone before its mounts are.
    if holder.is_none() && !lazy && wait_for(dir, pid, &watch, Patience::of(LINGER), |_| false).is_ok() {
        return Ok(Released::Gone);
    }
    Ok(Released::Held(holder))
}

/// As [`unmount`], for one view. The daemon goes on for the others.
///
/// # Errors
/// As [`unmount`].
pub fn unmount_view(state_dir: &Path, view_id: &str, lazy: bool) -> Result<Released, DaemonError> {
    let dir = StateDir::new(state_dir);
    let _turn = dir.client_lock()?;
    let Some(pid) = living(&dir)? else { return detach_dead(&dir, None).map(|()| Released::Gone) };
    let views: Vec<_> = mounted_views(&dir)?.into_iter().filter(|v| v.id == view_id).collect();
    let Some(view) = views.first() else { return Ok(Released::Gone) };
    if lazy {
        mount::unmount(&view.path, true).map_err(IoError::of("unmount", &view.path))?;
        return Ok(Released::Held(None));
    }
    let watch = Watch::renames_into(dir.path())?;
    take_down(&dir, pid, &views)?;
    let gone = |state: &DaemonState| state.views.iter().all(|v| v.id != view_id || !v.mounted);
    let is_gone = |limit| match wait_for(&dir, pid, &watch, Patience::of(limit), gone) {
        Err(DaemonError::Silent { .. }) => Ok(false),
        done => done.map(|_| true),
    };
    if is_gone(SOON)? {
        return Ok(Released::Gone);
    }
    match view.device.and_then(proc::mounted_elsewhere) {
        None if is_gone(LATE)? => Ok(Released::Gone),
        holder => Ok(Released::Held(holder)),
    }
}

/// Unmounts all of `views` or none.
pub fn take_down(dir: &StateDir, pid: ProcessId, views: &[ViewState]) -> Result<(), DaemonError> {
    let busy = || -> Vec<PathBuf> {
        let in_use = |path: &&PathBuf| mount::is_busy(path).is_ok_and(|b| b == Some(true));
        views.iter().map(|v| &v.path).filter(in_use).cloned().collect()
    };
    mount_use::leave_directories(&views.iter().map(|v| v.path.clone()).collect::<Vec<_>>());
    let until = Instant::now() + GLANCE;
    loop {
        let paths = busy();
        if paths.is_empty() {
            break;
        }
        if Instant::now() > until {
            return Err(busy_error(paths));
        }
        std::thread::sleep(PAUSE);
    }
    for view in views {
        if let Err(e) = unmount_idle(&view.path) {
            let error = match e.kind() {
                ErrorKind::ResourceBusy => busy_error(vec![view.path.clone()]),
                _ => IoError::of("unmount", &view.path)(e).into(),
            };
            put_back(dir, pid)?;
            return Err(error);
        }
    }
    Ok(())
}

/// Unmounts a view that no process seems to use. A look-up on its way, or a process that is ending, uses it for a
/// moment.
fn unmount_idle(path: &Path) -> io::Result<()> {
    let until = Instant::now() + GLANCE;
    loop {
        match mount::unmount(path, false) {
            Err(e) if e.kind() == ErrorKind::ResourceBusy && Instant::now() < until => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn busy_error(paths: Vec<PathBuf>) -> DaemonError {
    let user = paths.iter().find_map(|path| mount_use::user_of_mount(path));
    DaemonError::Busy { paths, user: user.map(|pid| (pid, proc::name(pid).unwrap_or_default())) }
}

/// Has the daemon mount what was unmounted before the one that could not be.
fn put_back(dir: &StateDir, pid: ProcessId) -> Result<(), DaemonError> {
    let watch = Watch::renames_into(dir.path())?;
    let compared = DaemonState::load(dir).map_or(0, |s| s.reconciled);
    signal(dir, pid, Ask::Reconcile)?;
    wait_for(dir, pid, &watch, Patience::new(), |state| state.reconciled > compared).map(drop)
}

fn mounted_views(dir: &StateDir) -> Result<Vec<ViewState>, DaemonError> {
    let mut state = DaemonState::try_load(dir)?.unwrap_or_default();
    state.compare(&MountTable::read()?);
    state.views.retain(|v| v.mounted);
    Ok(state.views)
}

/// Detaches what a daemon that is gone has left mounted, found without touching it.
pub fn detach_dead(dir: &StateDir, manifest: Option<&Manifest>) -> Result<(), DaemonError> {
    let mounts = MountTable::read()?;
    let left = DaemonState::try_load(dir)?.unwrap_or_default().views.into_iter().map(|v| v.path);
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
    // Its end is noticed by the caller that waits for it.
    dir.process(pid).signal(what).map(drop).map_err(|_| DaemonError::Silent { log: dir.log() })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::fault::{Call, Plan};

    #[test]
    fn a_state_that_cannot_be_looked_at_does_not_say_that_nothing_is_mounted() {
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(unmount(&state.path().join("gone"), false).expect("nothing"), Released::Gone);
        let dir = StateDir::new(state.path());
        paths::replace(&dir.daemon_json(), b"{}").expect("written");
        let plan =
            || Plan { calls: |call| call == Call::Look, from: 0, for_ever: false, errno: libc::EIO, torn: false };
        let guard = plan().lay();
        unmount(state.path(), false).expect_err("nobody knows");
        drop(guard);
        let _guard = plan().lay();
        mounted_views(&dir).expect_err("nobody knows");
    }
}
