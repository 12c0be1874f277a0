//! Takes back what a create or an adopt has made so far, last thing first.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkout::Checkout;
use super::git::{Git, GitError};
use crate::daemon::client;
use crate::store::Store;
use crate::sys::{IoError, path};

/// How long git may take from making its directory for a worktree until it says what that is for.
const BEING_MADE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// One thing that was made.
enum Made {
    /// The worktree's directory, and with it the registration with git, if it got that far.
    Directory(PathBuf),
    Branch(String),
    Root(PathBuf),
    Views(PathBuf),
    /// A directory that goes again as long as nobody has put anything into it.
    Empty(PathBuf),
    File(PathBuf),
    /// All of a state directory, or in one that was there already the manifest, which was as given.
    State(PathBuf, Option<Vec<u8>>),
    Submodule(Checkout),
}

/// The things made so far. Dropped before [`Undo::keep`], it takes them back.
pub struct Undo<'a> {
    source: &'a Checkout,
    store: &'a Store,
    made: Vec<Made>,
}

impl<'a> Undo<'a> {
    pub fn new(source: &'a Checkout, store: &'a Store) -> Undo<'a> {
        Undo { source, store, made: Vec::new() }
    }

    pub fn directory(&mut self, path: &Path) {
        self.made.push(Made::Directory(path.into()));
    }

    /// Taken back last: git keeps a branch that a worktree has checked out.
    pub fn branch(&mut self, name: &str) {
        self.made.insert(0, Made::Branch(name.into()));
    }

    /// Makes a directory and its missing parents.
    pub fn make_dirs(&mut self, path: &Path) -> Result<(), IoError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !path::is_there(p)).collect();
        path::make_dirs(path)?;
        self.made.extend(missing.into_iter().rev().map(|p| Made::Empty(p.into())));
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
        self.made.push(Made::File(to.into()));
        path::copy_node(from, to)
    }

    /// A file that is about to be made where nothing is.
    pub fn file(&mut self, at: &Path) {
        self.made.push(Made::File(at.into()));
    }

    /// Takes back a copy now; `false` when the file is not of our making.
    pub fn uncopy(&mut self, to: &Path) -> Result<bool, IoError> {
        let is_ours = self.made.iter().any(|made| matches!(made, Made::File(at) if at == to));
        if is_ours {
            path::remove_file(to)?;
        }
        Ok(is_ours)
    }

    /// The state directory of a worktree, before anything is written there.
    pub fn state(&mut self, state_dir: &Path) -> Result<(), IoError> {
        let manifest = path::read_if_there(&super::views::manifest_file(state_dir))?;
        if !path::is_there(state_dir) || manifest.is_some() {
            self.made.push(Made::State(state_dir.into(), manifest));
        }
        Ok(())
    }

    /// A submodule that was initialised where none was.
    pub fn submodule(&mut self, checkout: &Checkout) {
        self.made.push(Made::Submodule(checkout.clone()));
    }

    /// A root of the store, named by its manifest.
    pub fn root(&mut self, manifest: &Path) {
        self.made.push(Made::Root(manifest.into()));
    }

    pub fn views(&mut self, state_dir: &Path) {
        self.made.push(Made::Views(state_dir.into()));
    }

    /// Everything went well: nothing is taken back.
    pub fn keep(mut self) {
        self.made.clear();
    }

    /// Takes everything back; answers, in words, what could not be.
    pub fn run(mut self) -> Vec<String> {
        self.take_back()
    }

    fn take_back(&mut self) -> Vec<String> {
        let made = std::mem::take(&mut self.made);
        made.into_iter().rev().filter_map(|made| self.take_one_back(&made).err()).collect()
    }

    fn take_one_back(&self, made: &Made) -> Result<(), String> {
        match made {
            Made::Views(state_dir) => client::unmount(state_dir, true).map_err(|e| format!("views stay mounted: {e}")),
            Made::Root(manifest) => self.store.roots().remove(manifest).map_err(|e| e.to_string()),
            Made::Directory(at) => remove_worktree(self.source, at).map_err(|e| e.to_string()),
            Made::Empty(at) => remove_if_empty(at).map_err(|e| e.to_string()),
            Made::File(at) => path::remove_file(at).map_err(|e| e.to_string()),
            Made::State(dir, manifest) => restore_state(dir, manifest.as_deref()).map_err(|e| e.to_string()),
            Made::Submodule(checkout) => remove_submodule(checkout).map_err(|e| e.to_string()),
            Made::Branch(name) => delete_branch(self.source, name).map_err(|e| e.to_string()),
        }
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// git reads all registrations for that, and fails at one that another git is just making or taking back. A git that
/// was ended leaves its lock of the branch, which nobody else knows yet.
fn delete_branch(source: &Checkout, name: &str) -> Result<(), GitError> {
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

/// Without git, which refuses what is half made: the directory, then the registration that names it.
pub(super) fn remove_worktree(source: &Checkout, at: &Path) -> Result<(), IoError> {
    path::remove_tree(at)?;
    for (root, git_dir) in source.registered()? {
        if root == at {
            path::remove_tree(&git_dir)?;
        }
    }
    remove_nameless(source, at)
}

/// A git that was ended while it cleaned up, or right after it made its directory for the worktree, leaves that without
/// a word of what it was for. One that another git is just making holds `locked`, git's own mark, until it is done:
/// that one gets its word soon.
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
        Some(manifest) => path::replace(&super::views::manifest_file(dir), manifest),
        None => path::remove_tree(dir),
    }
}

/// Its directory stays, empty, as git makes it for a submodule that is not initialised.
fn remove_submodule(checkout: &Checkout) -> Result<(), IoError> {
    path::empty_dir(&checkout.root)?;
    path::remove_tree(&checkout.git_dir)
}
