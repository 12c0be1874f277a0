//! Takes back what a create or an adopt has made so far, last thing first.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::error::WorktreeError;
use crate::daemon::{client, health};
use crate::git::checkout::Checkout;
use crate::git::command::{Git, GitError, Tracking};
use crate::store::manifest::{CopyState, joined};
use crate::store::{Manifest, Store};
use crate::sys::fs::Timespec;
use crate::sys::log::OrWarn;
use crate::sys::process::Ask;
use crate::sys::{IoError, mount, mountinfo, path};
use crate::views::copied::{self, CopiedView};
use crate::views::set::Views;

/// The time limit for git from creating its directory for a worktree to writing `gitdir` there.
const BEING_MADE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
/// The time limit for unmounting: processes that exhaust the limit on processes may end in that time.
const UNMOUNTED_WITHIN: Duration = Duration::from_secs(10);
/// The time limit for a daemon to unmount its views.
const ASKED_FOR: Duration = Duration::from_secs(5);
/// The lines and bytes of a daemon's log that are reported before the log is removed.
const LOG_LINES: usize = 12;
const LOG_TAIL: usize = 4096;

/// One thing that was made.
enum UndoStep {
    /// The worktree's directory, and with it the registration with git, if it got that far.
    Directory(PathBuf),
    Branch(String),
    Root(PathBuf),
    Views(PathBuf),
    /// The files that were copied for the views of a manifest since a time of their file system.
    Copies {
        state_dir: PathBuf,
        since: Timespec,
    },
    /// A directory that is removed again if it is still empty.
    Empty(PathBuf),
    File(PathBuf),
    /// A whole state directory, or, in an existing one, the manifest with its earlier content.
    State(PathBuf, Option<Vec<u8>>),
    /// A branch that was moved, and the commit it was at.
    MovedBranch(String, String),
    Submodule(Checkout),
}

/// The things made so far. Dropped before [`Undo::keep`], it takes them back.
pub struct Undo<'a> {
    source: &'a Checkout,
    store: &'a Store,
    made: Vec<UndoStep>,
}

impl<'a> Undo<'a> {
    /// Nothing made yet. `source` is a checkout of the repository, in which git removes worktree and branch again.
    pub fn new(source: &'a Checkout, store: &'a Store) -> Undo<'a> {
        Undo { source, store, made: Vec::new() }
    }

    /// The directory of a worktree, before git makes it: absolute, and everything in it goes.
    pub fn directory(&mut self, path: &Path) {
        self.made.push(UndoStep::Directory(path.into()));
    }

    /// Taken back last: git keeps a branch that a worktree has checked out.
    pub fn branch(&mut self, name: &str) {
        self.made.insert(0, UndoStep::Branch(name.into()));
    }

    /// As [`Self::branch`], of one that was at the commit `from`.
    pub fn moved_branch(&mut self, name: &str, from: &str) {
        self.made.insert(0, UndoStep::MovedBranch(name.into(), from.into()));
    }

    /// Makes a directory and its missing parents.
    pub fn make_dirs(&mut self, path: &Path) -> Result<(), IoError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !path::is_there(p)).collect();
        path::make_dirs(path)?;
        self.made.extend(missing.into_iter().rev().map(|p| UndoStep::Empty(p.into())));
        Ok(())
    }

    /// Copies a file or symlink to where nothing is; answers whether it did.
    pub fn copy(&mut self, from: &Path, to: &Path) -> Result<bool, IoError> {
        if path::is_there(to) {
            return Ok(false);
        }
        if let Some(parent) = to.parent() {
            self.make_dirs(parent)?;
        }
        self.made.push(UndoStep::File(to.into()));
        path::copy_node(from, to)
    }

    /// A file that is about to be made where nothing is.
    pub fn file(&mut self, at: &Path) {
        self.made.push(UndoStep::File(at.into()));
    }

    /// Takes back a copy now; `false` when the file is not of our making.
    pub fn uncopy(&mut self, to: &Path) -> Result<bool, IoError> {
        let is_ours = self.made.iter().any(|made| matches!(made, UndoStep::File(at) if at == to));
        if is_ours {
            path::remove_file(to)?;
        }
        Ok(is_ours)
    }

    /// The state directory of a worktree, before anything is written there.
    pub fn state(&mut self, state_dir: &Path) -> Result<(), IoError> {
        let manifest = path::read_if_there(&crate::views::set::manifest_file(state_dir))?;
        if !path::is_there(state_dir) || manifest.is_some() {
            self.made.push(UndoStep::State(state_dir.into(), manifest));
        }
        Ok(())
    }

    /// A submodule that was initialised where none was.
    pub fn submodule(&mut self, checkout: &Checkout) {
        self.made.push(UndoStep::Submodule(checkout.clone()));
    }

    /// A root of the store, named by its manifest.
    pub fn root(&mut self, manifest: &Path) {
        self.made.push(UndoStep::Root(manifest.into()));
    }

    /// The views of a state directory, before they are mounted: its daemon unmounts them and ends.
    pub fn views(&mut self, state_dir: &Path) {
        self.made.push(UndoStep::Views(state_dir.into()));
    }

    /// The copies that a manifest names are about to be made.
    ///
    /// # Errors
    /// The time of the worktree's file system can't be had.
    pub fn copies(&mut self, views: &Views) -> Result<(), WorktreeError> {
        // They go with a directory of our making.
        if !self.made.iter().any(|made| matches!(made, UndoStep::Directory(_))) {
            let since = copied::time_after(&views.manifest.worktree)?;
            self.made.push(UndoStep::Copies { state_dir: views.state_dir.clone(), since });
        }
        Ok(())
    }

    /// Everything went well: nothing is taken back.
    pub fn keep(mut self) {
        self.made.clear();
    }

    /// The last lines in the logs of the created views' daemons.
    pub fn log(&self) -> Vec<String> {
        let views = self.made.iter().filter_map(|made| match made {
            UndoStep::Views(state_dir) => Some(log_tail(state_dir)),
            _ => None,
        });
        views.flatten().collect()
    }

    /// Takes everything back; returns the failures, in words.
    pub fn run(mut self) -> Vec<String> {
        self.take_back()
    }

    fn take_back(&mut self) -> Vec<String> {
        let made = std::mem::take(&mut self.made);
        made.into_iter().rev().filter_map(|made| self.take_one_back(&made).err()).collect()
    }

    fn take_one_back(&self, made: &UndoStep) -> Result<(), String> {
        match made {
            UndoStep::Views(state_dir) => unmount(state_dir).map_err(|e| format!("views stay mounted: {e}")),
            UndoStep::Copies { state_dir, since } => remove_copies(state_dir, *since).map_err(|e| e.to_string()),
            UndoStep::Root(manifest) => self.store.roots().remove(manifest).map_err(|e| e.to_string()),
            UndoStep::Directory(at) => remove_worktree(self.source, at).map_err(|e| e.to_string()),
            UndoStep::Empty(at) => remove_if_empty(at).map_err(|e| e.to_string()),
            UndoStep::File(at) => path::remove_file(at).map_err(|e| e.to_string()),
            UndoStep::State(dir, manifest) => restore_state(dir, manifest.as_deref()).map_err(|e| e.to_string()),
            UndoStep::Submodule(checkout) => remove_submodule(checkout).map_err(|e| e.to_string()),
            UndoStep::MovedBranch(name, from) => {
                Git::deaf(&self.source.root).move_branch(name, from, Tracking::No).map_err(|e| e.to_string())
            }
            UndoStep::Branch(name) => delete_branch(self.source, name).map_err(|e| e.to_string()),
        }
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Unmounts the views of a worktree whatever its daemon can still do. An ordinary user's mounts go through a program
/// that has to be started: where the threads of the daemon fill the limit on processes, the daemon has to end first.
pub(super) fn unmount(state_dir: &Path) -> Result<(), WorktreeError> {
    let asked = ask_to_unmount(state_dir);
    let mut left = mounted(state_dir)?;
    if left.is_empty() && asked.is_ok() {
        return Ok(());
    }
    let (until, mut last) = (Instant::now() + UNMOUNTED_WITHIN, asked.err());
    while !left.is_empty() {
        // The worktree is new: no program uses its server yet.
        end_daemon(state_dir);
        for at in left.iter().rev() {
            if let Err(e) = mount::unmount(at, true) {
                last = Some(IoError::of("unmount", at)(e).into());
            }
        }
        left = mounted(state_dir)?;
        if Instant::now() > until {
            break;
        }
        if !left.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    match last.filter(|_| !left.is_empty()) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Requests the daemon to unmount, with a time limit: a daemon that can't start a thread may not reply.
fn ask_to_unmount(state_dir: &Path) -> Result<(), WorktreeError> {
    let (sender, answer) = mpsc::channel();
    let dir = state_dir.to_path_buf();
    let asking = std::thread::Builder::new().spawn(move || sender.send(client::unmount(&dir, true)));
    if asking.is_ok()
        && let Ok(done) = answer.recv_timeout(ASKED_FOR)
    {
        return Ok(done?);
    }
    end_daemon(state_dir);
    match asking {
        // It ends with the daemon.
        Ok(_) => Ok(answer.recv_timeout(ASKED_FOR).unwrap_or(Ok(()))?),
        Err(_) => Ok(client::unmount(state_dir, true)?),
    }
}

/// Removes the files that were copied since a time, of the copies that are not complete.
fn remove_copies(state_dir: &Path, since: Timespec) -> Result<(), WorktreeError> {
    let views = Views::load(state_dir)?;
    for view in views.manifest.views.iter().filter(|view| view.copy == Some(CopyState::Begun)) {
        CopiedView::open(&views, view)?.remove(since)?;
    }
    Ok(())
}

fn end_daemon(state_dir: &Path) {
    for process in health(state_dir).processes() {
        process.signal(Ask::Kill).or_warn("a process of the daemon cannot be killed");
    }
}

/// The mount points of a manifest's views, from the mount table: no view is touched.
fn mounted(state_dir: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
    let file = crate::views::set::manifest_file(state_dir);
    if path::stat(&file)?.is_none() {
        return Ok(Vec::new());
    }
    let manifest = Manifest::load(&file)?.into_mounts();
    let mounts = mountinfo::read()?.into_iter().filter(|m| m.kind == mount::KIND).map(|m| m.path);
    let places: BTreeSet<PathBuf> = manifest.views.iter().map(|view| joined(&manifest.worktree, &view.path)).collect();
    Ok(mounts.filter(|at| places.contains(at)).collect())
}

/// The last lines of the daemon's log, which goes with the worktree.
pub(super) fn log_tail(state_dir: &Path) -> Vec<String> {
    let log = path::read_if_there(&state_dir.join("daemon.log")).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Retries: git reads all registrations for that, and fails at one that another git process is just creating or
/// removing. A killed git leaves its lock of the branch, which no other process uses yet.
pub(super) fn delete_branch(source: &Checkout, name: &str) -> Result<(), GitError> {
    let git = Git::deaf(&source.root);
    let until = Instant::now() + BEING_MADE;
    while git.delete_branch(name).is_err() {
        if Instant::now() > until {
            path::remove_file(&source.common_dir.join(format!("refs/heads/{name}.lock")))?;
            return git.delete_branch(name);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Removes the directory, then its registration. It does so without git, which refuses incomplete worktrees.
pub(super) fn remove_worktree(source: &Checkout, at: &Path) -> Result<(), IoError> {
    path::remove_tree(at)?;
    for (root, git_dir) in source.registered()? {
        if root == at {
            path::remove_tree(&git_dir)?;
        }
    }
    remove_nameless(source, at)
}

/// Removes git's directory for the worktree if it has no `gitdir`: git was killed during its cleanup, or right after it
/// created the directory. A directory that another git process is just creating holds `locked`, git's own mark, and
/// gets its `gitdir` soon.
fn remove_nameless(source: &Checkout, at: &Path) -> Result<(), IoError> {
    let (all, name) = (source.common_dir.join("worktrees"), at.file_name().unwrap_or_default().as_bytes());
    // git puts a number behind a name that is taken.
    let is_its = |entry: &[u8]| entry.strip_prefix(name).is_some_and(|rest| rest.iter().all(u8::is_ascii_digit));
    for entry in path::list(&all)?.into_iter().filter(|entry| is_its(&entry.name)) {
        let dir = all.join(OsStr::from_bytes(&entry.name));
        let until = Instant::now() + BEING_MADE;
        while path::is_there(&dir.join("locked")) && !path::is_there(&dir.join("gitdir")) && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
        if !path::is_there(&dir.join("gitdir")) {
            path::remove_tree(&dir)?;
        }
    }
    Ok(())
}

fn remove_if_empty(dir: &Path) -> Result<(), IoError> {
    if path::is_dir(dir) && path::list(dir)?.is_empty() { path::remove_dir(dir) } else { Ok(()) }
}

fn restore_state(dir: &Path, manifest: Option<&[u8]>) -> Result<(), IoError> {
    match manifest {
        Some(manifest) => path::replace(&crate::views::set::manifest_file(dir), manifest),
        None => path::remove_tree(dir),
    }
}

/// Its directory stays, empty, as git makes it for a submodule that is not initialised.
fn remove_submodule(checkout: &Checkout) -> Result<(), IoError> {
    path::empty_dir(&checkout.root)?;
    path::remove_tree(&checkout.git_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::fault::{Call, Plan};

    #[test]
    fn a_manifest_that_cannot_be_read_does_not_say_that_nothing_is_mounted() {
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(mounted(state.path()).expect("none"), Vec::<PathBuf>::new());
        path::replace(&state.path().join("manifest.json"), b"{}").expect("written");
        for call in [Call::Look, Call::Open] {
            let calls = if call == Call::Look { |call| call == Call::Look } else { |call| call == Call::Open };
            let _guard = Plan { calls, from: 0, for_ever: false, errno: libc::EIO, torn: false }.lay();
            mounted(state.path()).expect_err("nobody knows");
        }
        mounted(state.path()).expect_err("it is damaged");
    }
}
