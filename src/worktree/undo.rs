//! Takes back what a create has made so far, last thing first.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::checkout::Checkout;
use super::git::Git;
use crate::daemon::client;
use crate::store::Store;
use crate::sys::path;

/// One thing that was made.
enum Made {
    /// The worktree's directory, and with it the registration with git, if it got that far.
    Directory(PathBuf),
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

    pub fn directory(&mut self, path: &Path) {
        self.made.push(Made::Directory(path.into()));
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
            Made::Directory(at) => remove_worktree(self.source, at).map_err(|e| e.to_string()),
            Made::Branch(name) => Git::deaf(&self.source.root).delete_branch(name).map_err(|e| e.to_string()),
        }
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Without git, which refuses what is half made: the directory, then the registration that names it.
fn remove_worktree(source: &Checkout, at: &Path) -> Result<(), crate::sys::IoError> {
    path::remove_tree(at)?;
    for (root, git_dir) in source.registered()? {
        if root == at {
            path::remove_tree(&git_dir)?;
        }
    }
    remove_nameless(source, at)
}

/// A git that was ended while it cleaned up, or right after it made its directory for the worktree, leaves that without
/// a word of what it was for. One that another git is just making holds `locked`, git's own mark, until it is done.
fn remove_nameless(source: &Checkout, at: &Path) -> Result<(), crate::sys::IoError> {
    let (all, name) = (source.common_dir.join("worktrees"), at.file_name().unwrap_or_default().as_bytes());
    // git puts a number behind a name that is taken.
    let is_its = |entry: &[u8]| entry.strip_prefix(name).is_some_and(|rest| rest.iter().all(u8::is_ascii_digit));
    for entry in path::list(&all)?.into_iter().filter(|entry| is_its(&entry.name)) {
        let dir = all.join(OsStr::from_bytes(&entry.name));
        if !["gitdir", "locked"].iter().any(|file| path::is_there(&dir.join(file))) {
            path::remove_tree(&dir)?;
        }
    }
    Ok(())
}
