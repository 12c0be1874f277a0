//! Worktrees of which a part is gone: the directory, its `.git` file, or the private git directory. git itself refuses
//! to remove or repair them.
//!
//! | what is there                               | `remove`                                | `doctor --fix`            |
//! |---------------------------------------------|-----------------------------------------|---------------------------|
//! | directory and git directory, no `.git` file | writes the file, then as for any other  | writes the file           |
//! | the git directory alone                     | refuses what only it holds, then deletes | the same, refusing always |
//! | the directory alone, views mounted or not   | refuses files that git can't compare, then deletes | unmounts the views |
//!
//! Nothing here touches a path in a view before that is unmounted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::{Risk, WorktreeError};
use super::sole_holder;
use crate::daemon::client;
use crate::git::checkout::{self, Checkout};
use crate::git::command::Git;
use crate::store::{Manifest, Store};
use crate::sys::mountinfo::{self, MountPoint};
use crate::sys::{IoError, mount, path, process};
use crate::views::set;

/// A linked worktree that git can't use as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its directory, there or not.
    pub root: PathBuf,
    /// Its private git directory, there or not.
    pub git_dir: PathBuf,
    pub common_dir: PathBuf,
    pub fault: Fault,
}

/// The defect of a registered worktree. A lost git directory counts before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no directory.
    NoPlace,
    /// The directory has no `.git`.
    NoDotGit,
    /// Its `.git` is empty, as a power cut leaves it.
    EmptyDotGit,
    /// Its `.git` is that of another checkout.
    Taken,
    /// The private git directory is gone, or has no HEAD.
    NoGitDir,
}

impl Fault {
    /// The defect as a clause of a message.
    pub fn words(self) -> &'static str {
        match self {
            Fault::NoPlace => "its directory is gone",
            Fault::NoDotGit => "its .git file is gone",
            Fault::EmptyDotGit => "its .git file is empty",
            Fault::Taken => "another checkout is in its place",
            Fault::NoGitDir => "its git directory is gone or damaged",
        }
    }
}

impl Broken {
    /// The fault of a registered worktree, if it has one.
    pub fn of(common_dir: &Path, root: &Path, git_dir: &Path) -> Result<Option<Broken>, IoError> {
        let fault = match head_is_there(git_dir)? {
            false => Some(Fault::NoGitDir),
            true => fault_of_place(root, git_dir)?,
        };
        let (root, git_dir, common_dir) = (root.into(), git_dir.into(), common_dir.into());
        Ok(fault.map(|fault| Broken { root, git_dir, common_dir, fault }))
    }

    /// As [`Broken::of`], by the state directory of a linked worktree, which is or was at `place`; `None` for others.
    pub fn of_state(state_dir: &Path, place: &Path) -> Result<Option<Broken>, IoError> {
        let Some(git_dir) = state_dir.parent() else { return Ok(None) };
        let line = |file: &str| path::read_if_there(&git_dir.join(file));
        let (Some(common_dir), Some(told)) = (line("commondir")?, line("gitdir")?) else { return Ok(None) };
        let absolute = |bytes: &[u8]| checkout::pointed_at(git_dir, bytes).unwrap_or_else(|| git_dir.into());
        // `git worktree move`, and repair, update git's registration; the manifest is updated later.
        let root = absolute(&told).parent().map(Path::to_path_buf).filter(|root| path::is_there(root));
        Broken::of(&absolute(&common_dir), root.as_deref().unwrap_or(place), git_dir)
    }

    /// The worktree at a directory whose `.git` file leads to a git directory that its repository has no more.
    pub fn at(place: &Path) -> Result<Option<Broken>, IoError> {
        let Some(git_dir) = led_to(place)? else { return Ok(None) };
        let Some(common_dir) = git_dir.parent().and_then(Path::parent) else { return Ok(None) };
        let is_linked = git_dir.parent().and_then(Path::file_name) == Some(OsStr::new("worktrees"));
        // Without its repository it may only be away.
        if !is_linked || !path::is_there(&common_dir.join("HEAD")) {
            return Ok(None);
        }
        Broken::of(common_dir, &path::canonical(place)?, &git_dir)
    }

    /// Writes the `.git` file again, as `git worktree repair` does; `None` for other faults.
    pub fn repair(&self) -> Result<Option<Checkout>, WorktreeError> {
        if !matches!(self.fault, Fault::NoDotGit | Fault::EmptyDotGit) {
            return Ok(None);
        }
        let dot_git = self.root.join(".git");
        if path::is_dir(&dot_git) {
            path::remove_dir(&dot_git)?;
        }
        let line = [b"gitdir: ", self.git_dir.as_os_str().as_bytes(), b"\n"].concat();
        path::replace_synced(&dot_git, &line)?;
        Ok(Checkout::at(&self.root)?)
    }

    /// The work that removing it would lose.
    pub fn risks(&self) -> Result<Vec<Risk>, WorktreeError> {
        if self.fault != Fault::NoGitDir {
            return sole_holder::risks(&self.git_dir);
        }
        let files = own_files(&self.root, &self.root, &views_below(&self.root)?)?;
        Ok(if files.is_empty() { Vec::new() } else { vec![Risk::Untracked(files)] })
    }

    /// Unmounts its views, then deletes its directory and its registration. The caller checks the risks.
    pub fn remove(&self, lazy: bool) -> Result<(), WorktreeError> {
        let state_dir = self.git_dir.join("depsfs");
        let file = set::manifest_file(&state_dir);
        let store = Manifest::load(&file).ok().map(|manifest| manifest.store);
        client::unmount(&state_dir, lazy)?;
        if self.fault == Fault::NoGitDir {
            self.unmount(lazy)?;
            path::remove_tree(&self.root)?;
        }
        path::remove_tree(&self.git_dir)?;
        if let Some(store) = store {
            Store::open(&store)?.roots().remove(&file)?;
        }
        Ok(())
    }

    /// Unmounts the views below its directory, of any server. Files in their uppers stay there.
    pub fn unmount(&self, lazy: bool) -> Result<(), WorktreeError> {
        for view in views_below(&self.root)?.iter().rev() {
            mount::unmount(&view.path, lazy).map_err(|e| match e.kind() {
                std::io::ErrorKind::ResourceBusy => WorktreeError::Daemon(crate::daemon::DaemonError::Busy {
                    paths: vec![view.path.clone()],
                    user: None,
                }),
                _ => IoError::of("unmount", &view.path)(e).into(),
            })?;
        }
        Ok(())
    }

    /// The branch that it has checked out.
    pub fn branch(&self) -> Option<OsString> {
        Git::at(&self.git_dir).branch().ok().flatten()
    }
}

fn head_is_there(git_dir: &Path) -> Result<bool, IoError> {
    Ok(path::read_if_there(&git_dir.join("HEAD"))?.is_some_and(|head| !head.trim_ascii().is_empty()))
}

fn fault_of_place(root: &Path, git_dir: &Path) -> Result<Option<Fault>, IoError> {
    if path::stat(root)?.is_none_or(|stat| !stat.is_dir()) {
        return Ok(Some(Fault::NoPlace));
    }
    let dot_git = root.join(".git");
    let Some(stat) = path::stat(&dot_git)? else { return Ok(Some(Fault::NoDotGit)) };
    if stat.is_dir() {
        return Ok(Some(if path::list(&dot_git)?.is_empty() { Fault::EmptyDotGit } else { Fault::Taken }));
    }
    if stat.is_file() && path::read(&dot_git)?.iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
        return Ok(Some(Fault::EmptyDotGit));
    }
    let Some(led_to) = led_to(root)? else { return Ok(Some(Fault::Taken)) };
    // One that leads to where nothing is was moved with its repository, or is about to be repaired: git's to mend.
    let is_its = led_to == git_dir || path::stat(&led_to)?.is_none() || is_canonically(&led_to, git_dir)?;
    Ok((!is_its).then_some(Fault::Taken))
}

/// Whether a path leads to this directory through symlinks.
fn is_canonically(path: &Path, dir: &Path) -> Result<bool, IoError> {
    match path::canonical(path) {
        Err(e) if matches!(e.source.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(false),
        at => Ok(at? == dir),
    }
}

/// The git directory that a directory's `.git` file names.
fn led_to(root: &Path) -> Result<Option<PathBuf>, IoError> {
    let dot_git = root.join(".git");
    if path::stat(&dot_git)?.is_none_or(|stat| !stat.is_file()) {
        return Ok(None);
    }
    let bytes = path::read_if_there(&dot_git)?.unwrap_or_default();
    Ok(bytes.strip_prefix(b"gitdir: ").and_then(|to| checkout::pointed_at(root, to)))
}

/// The views of this user below a directory, in the order in which they were mounted.
fn views_below(root: &Path) -> Result<Vec<MountPoint>, IoError> {
    let user = process::user();
    let is_its =
        |m: &MountPoint| m.kind == mount::KIND && (user == 0 || m.user == Some(user)) && m.path.starts_with(root);
    Ok(mountinfo::read()?.into_iter().filter(is_its).collect())
}

/// The topmost files of a directory that are in no view, but for `.git`.
fn own_files(root: &Path, dir: &Path, views: &[MountPoint]) -> Result<Vec<PathBuf>, IoError> {
    let mut found = Vec::new();
    for entry in path::list(dir)? {
        let at = dir.join(OsStr::from_bytes(&entry.name));
        if views.iter().any(|view| view.path == at) || at == root.join(".git") {
            continue;
        }
        match entry.kind {
            crate::sys::fs::FileType::Directory => found.extend(own_files(root, &at, views)?),
            _ => found.push(at.strip_prefix(root).unwrap_or(&at).to_path_buf()),
        }
        if found.len() > 100 {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_whose_git_file_leads_to_what_cannot_be_resolved_is_not_taken_for_another_one() {
        let temp = tempfile::tempdir().expect("a directory");
        let (root, git_dir) = (temp.path().join("w"), temp.path().join("worktrees/w"));
        for dir in [&root, &git_dir] {
            path::make_dirs(dir).expect("made");
        }
        path::replace(&git_dir.join("HEAD"), b"ref: refs/heads/w\n").expect("written");
        let lead_to = |to: &Path| {
            path::replace(&root.join(".git"), &[b"gitdir: ", to.as_os_str().as_bytes(), b"\n"].concat())
                .expect("written");
            Broken::of(temp.path(), &root, &git_dir).map(|broken| broken.map(|broken| broken.fault))
        };
        let link = |to: &str, name: &str| path::symlink(to.as_bytes(), &temp.path().join(name)).expect("linked");
        link("worktrees/w", "its");
        link("w", "another");
        link("nowhere", "dangling");
        link("loop", "loop");
        assert_eq!(lead_to(&git_dir).expect("looked"), None);
        assert_eq!(lead_to(&temp.path().join("its")).expect("looked"), None);
        assert_eq!(lead_to(&temp.path().join("gone")).expect("looked"), None);
        assert_eq!(lead_to(&temp.path().join("another")).expect("looked"), Some(Fault::Taken));
        assert_eq!(lead_to(&temp.path().join("dangling")).expect("looked"), Some(Fault::Taken));
        lead_to(&temp.path().join("loop")).expect_err("too many links");
    }
}
