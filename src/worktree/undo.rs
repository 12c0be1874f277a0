//! Takes back what a create has made so far, last thing first.

use std::path::{Path, PathBuf};

use super::checkout::Checkout;
use super::git::Git;
use crate::daemon::client;
use crate::store::Store;
use crate::sys::path;

/// One thing that was made.
enum Made {
    /// The worktree's directory, and with it the registration with git, if it got that far; whether git already had
    /// a registration of that name.
    Directory(PathBuf, bool),
    Branch(String),
    Root(PathBuf),
    Views(PathBuf),
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

    pub fn directory(&mut self, at: &Path) {
        let had_name = registration(self.source, at).is_some_and(|dir| path::is_there(&dir));
        self.made.push(Made::Directory(at.into(), had_name));
    }

    /// Taken back last: git keeps a branch that a worktree has checked out.
    pub fn branch(&mut self, name: &str) {
        self.made.insert(0, Made::Branch(name.into()));
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
            Made::Directory(at, had_name) => remove_worktree(self.source, at, *had_name).map_err(|e| e.to_string()),
            Made::Branch(name) => delete_branch(self.source, name).map_err(|e| e.to_string()),
        }
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// A git that was ended in the wrong moment leaves its lock of the branch behind. Nobody else knows this branch, and
/// the gits that were started for it are gone: so the lock is nobody's.
fn delete_branch(source: &Checkout, name: &str) -> Result<(), super::git::GitError> {
    let git = Git::deaf(&source.root);
    let lock = source.common_dir.join("refs/heads").join(format!("{name}.lock"));
    match git.delete_branch(name) {
        Err(_) if path::remove_file(&lock).is_ok() => git.delete_branch(name),
        other => other,
    }
}

/// Without git, which refuses what is half made: the directory, then the registration that names it, or that git had
/// not yet written a name into.
fn remove_worktree(source: &Checkout, at: &Path, had_name: bool) -> Result<(), crate::sys::IoError> {
    path::remove_tree(at)?;
    for (root, git_dir) in source.registered()? {
        if root == at {
            path::remove_tree(&git_dir)?;
        }
    }
    match registration(source, at) {
        Some(dir) if !had_name && !path::is_there(&dir.join("gitdir")) => path::remove_tree(&dir),
        _ => Ok(()),
    }
}

/// The private git directory that git gives to a worktree at `at`, unless the name is taken.
fn registration(source: &Checkout, at: &Path) -> Option<PathBuf> {
    Some(source.common_dir.join("worktrees").join(at.file_name()?))
}
