//! The locations of a checkout and of its git directories, from libgit2, or from git if libgit2 declines.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use git2::{ErrorCode, Repository, RepositoryOpenFlags};

use super::command::{Git, GitError};
use crate::sys::{IoError, path};

/// One checkout: the main one, a linked worktree, or a submodule's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its top directory, absolute and without symlinks.
    pub root: PathBuf,
    /// Its private git directory.
    pub git_dir: PathBuf,
    /// The git directory it shares with its sibling worktrees; equal to `git_dir` for the main one.
    pub common_dir: PathBuf,
}

impl Checkout {
    /// The checkout that holds `place`, which may be inside a view or not be there at all. git stops at file
    /// system borders; this walk doesn't, because a view is one.
    pub fn containing(place: &Path) -> Result<Option<Checkout>, GitError> {
        let start = nearest_there(place)?;
        for dir in start.ancestors() {
            if let Some(found) = Checkout::at(dir)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The checkout that this one is a submodule of, and so on up: worktrees are made of whole projects.
    pub fn outermost(self) -> Result<Checkout, GitError> {
        let above = self.root.parent().map(Checkout::containing).transpose()?.flatten();
        match above {
            Some(above) if self.git_dir.starts_with(above.git_dir.join("modules")) => above.outermost(),
            _ => Ok(self),
        }
    }

    /// The checkout whose top is `root`; `None` when there is no `.git` that leads to a git directory.
    pub fn at(root: &Path) -> Result<Option<Checkout>, GitError> {
        let dot_git = root.join(".git");
        match path::stat(&dot_git) {
            // As in another user's view.
            Err(e) if e.errno() == libc::EACCES => return Err(e.into()),
            Err(_) | Ok(None) => return Ok(None),
            Ok(Some(_)) => {}
        }
        match repository(root) {
            Ok(found) => Checkout::of(root, found.path(), found.commondir()).map(Some),
            Err(e) if e.code() == ErrorCode::NotFound => Ok(None),
            // A repository libgit2 declines (sha256, another ref storage, another owner) is git's to explain.
            Err(e) => match Git::at(root).directories() {
                Ok((git_dir, common_dir)) => Checkout::of(root, &git_dir, &common_dir).map(Some),
                // Packages bring `.git` files along that mean nothing here.
                Err(GitError::Failed { .. }) if e.code() != ErrorCode::Owner && !path::is_dir(&dot_git) => Ok(None),
                Err(e) => Err(e),
            },
        }
    }

    /// As [`Checkout::containing`], and then the outermost; or the bare repository that holds `place`, as if it were a
    /// checkout: its worktrees can be listed.
    pub fn of_any_repository(place: &Path) -> Result<Option<Checkout>, GitError> {
        if let Some(checkout) = Checkout::containing(place)? {
            return checkout.outermost().map(Some);
        }
        let flags = RepositoryOpenFlags::CROSS_FS;
        match Repository::open_ext(nearest_there(place)?, flags, std::iter::empty::<&OsStr>()) {
            Ok(found) => Checkout::of(found.path(), found.path(), found.commondir()).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Whether it has no tracked files of its own: the directory around a bare repository that its `.git` leads to.
    pub fn is_bare(&self) -> bool {
        !self.is_linked() && repository(&self.root).is_ok_and(|r| r.is_bare())
    }

    fn of(root: &Path, git_dir: &Path, common_dir: &Path) -> Result<Checkout, GitError> {
        let (root, git_dir) = (path::canonical(root)?, path::canonical(git_dir)?);
        Ok(Checkout { root, git_dir, common_dir: path::canonical(common_dir)? })
    }

    /// The state directory of depsfs for this checkout.
    pub fn state_dir(&self) -> PathBuf {
        self.git_dir.join("depsfs")
    }

    /// git in the top directory of this checkout.
    pub fn git(&self) -> Git {
        Git::at(&self.root)
    }

    /// Whether it was made by `git worktree add`; false for the main checkout, and for a submodule's.
    pub fn is_linked(&self) -> bool {
        self.git_dir != self.common_dir
    }

    /// The branch that is checked out; `None` when HEAD is detached.
    pub fn branch(&self) -> Result<Option<OsString>, GitError> {
        let Ok(repository) = repository(&self.root) else { return self.git().branch() };
        let head = repository.find_reference("HEAD");
        let branch = head.as_ref().ok().and_then(|h| h.symbolic_target_bytes()?.strip_prefix(b"refs/heads/"));
        Ok(branch.map(|b| OsStr::from_bytes(b).to_owned()))
    }

    /// The tops of all linked worktrees that are registered with this repository, there or not, with their
    /// private git directories. libgit2 passes over what git has only begun to register: `undo` must see it.
    pub fn registered(&self) -> Result<Vec<(PathBuf, PathBuf)>, IoError> {
        let all = self.common_dir.join("worktrees");
        let mut found = Vec::new();
        for entry in path::list(&all)? {
            let git_dir = all.join(OsStr::from_bytes(&entry.name));
            let Some(bytes) = path::read_if_there(&git_dir.join("gitdir"))? else { continue };
            if let Some(root) = pointed_at(&git_dir, &bytes).as_deref().and_then(Path::parent) {
                found.push((root.to_path_buf(), git_dir));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The main checkout of this repository, unless the repository is bare.
    pub fn main(&self) -> Result<Option<Checkout>, GitError> {
        match self.common_dir.parent() {
            Some(parent) if self.common_dir.file_name() == Some(OsStr::new(".git")) => Checkout::at(parent),
            _ => Ok(None),
        }
    }
}

/// The branch that is checked out in the worktree of a private git directory, there or not; `None` when HEAD is
/// detached. Without a process, unless the refs are in another format than files.
///
/// # Errors
/// `HEAD` can't be read.
pub fn branch_of(git_dir: &Path) -> Result<Option<OsString>, GitError> {
    let Some(head) = path::read_if_there(&git_dir.join("HEAD"))? else { return Ok(None) };
    match head.trim_ascii_end().strip_prefix(b"ref: ") {
        // A reftable has a HEAD that is valid for no program that reads files.
        Some(b"refs/heads/.invalid") => Ok(Git::at(git_dir).branch()?),
        target => {
            let branch = target.and_then(|target| target.strip_prefix(b"refs/heads/"));
            Ok(branch.map(|branch| OsStr::from_bytes(branch).to_owned()))
        }
    }
}

/// The repository of the checkout whose top is `root`, if libgit2 can read it.
pub(crate) fn repository(root: &Path) -> Result<Repository, git2::Error> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::CROSS_FS;
    Repository::open_ext(root, flags, std::iter::empty::<&OsStr>())
}

/// The path that a git file holds (`gitdir`, `commondir`, `.git` behind its first word), a relative one taken from `base`
/// (`worktree.useRelativePaths`). As in git, the path ends at the end of the file: it may hold line ends.
pub fn pointed_at(base: &Path, bytes: &[u8]) -> Option<PathBuf> {
    let path = bytes.split(|b| *b == 0).next()?.trim_ascii_end();
    (!path.is_empty()).then(|| plain(&base.join(OsStr::from_bytes(path))))
}

/// The path without `.` and with each `..` taken literally.
pub fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

/// The path at which something is about to be made: absolute, and without symlinks as far as it is there already.
///
/// # Errors
/// The working directory was deleted; a part of the path can't be read.
pub fn destination(path: &Path) -> Result<PathBuf, IoError> {
    let wanted = plain(&path::absolute(path)?);
    let there = wanted.ancestors().find(|dir| path::is_there(dir)).unwrap_or(&wanted);
    let below = wanted.strip_prefix(there).unwrap_or(Path::new(""));
    let real = path::canonical(there)?;
    Ok(if below.as_os_str().is_empty() { real } else { real.join(below) })
}

/// The deepest ancestor of `place` that is there, absolute and without symlinks.
fn nearest_there(place: &Path) -> Result<PathBuf, IoError> {
    let absolute = path::absolute(place)?;
    for dir in absolute.ancestors() {
        if path::is_there(dir) {
            return path::canonical(dir).or_else(|e| if dir.parent().is_none() { Err(e) } else { Ok(dir.into()) });
        }
    }
    Ok(absolute)
}
