//! A worktree of a repository by the word that a user has for it.
//!
//! | reading | matches                                                                              |
//! |---------|--------------------------------------------------------------------------------------|
//! | name    | the last component of the worktree's path                                            |
//! | branch  | the branch that is checked out in it; `refs/heads/BRANCH` has no other reading       |
//! | path    | a path in it: the caller's reading, since only the caller has a working directory    |
//!
//! A word that has none of these readings is the last part of a branch: `fix` for `al/fix`, which `depsfs create fix` has
//! made, wherever its directory lies.
//!
//! Two readings that lead to different worktrees make a word ambiguous. No reading has precedence.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::broken::Broken;
use super::error::WorktreeError;
use crate::git::checkout::{Checkout, branch_of};
use crate::sys::terminal::DisplayName;

const FULL_BRANCH: &[u8] = b"refs/heads/";

/// A worktree, the main checkout included, as git has it registered: its directory may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub root: PathBuf,
    pub git_dir: PathBuf,
    pub is_main: bool,
}

/// One reading of a word, and the worktree that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameReading {
    pub worktree: Registered,
    /// Whether the word is its branch, not its name.
    by_branch: bool,
}

impl NameReading {
    /// As a part of the message about an ambiguous word.
    pub fn words(&self) -> String {
        let kind = if self.by_branch { "the branch in" } else { "the worktree" };
        format!("{kind} {}", self.worktree.root.shown())
    }
}

/// All worktrees of a repository, the main checkout first.
///
/// # Errors
/// git's registrations can't be read.
pub fn all(from: &Checkout) -> Result<Vec<Registered>, WorktreeError> {
    let main = from.main()?.filter(|main| !main.is_bare());
    let main = main.map(|main| Registered { root: main.root, git_dir: main.git_dir, is_main: true });
    let linked = from.registered()?.into_iter().map(|(root, git_dir)| Registered { root, git_dir, is_main: false });
    Ok(main.into_iter().chain(linked).collect())
}

/// The worktrees that a word is the name or the branch of, each once.
///
/// # Errors
/// As [`all`]; a `HEAD` can't be read.
pub fn readings(from: &Checkout, word: &OsStr) -> Result<Vec<NameReading>, WorktreeError> {
    let mut found = Vec::new();
    for worktree in all(from)? {
        let is_name = worktree.root.file_name() == Some(word);
        if is_name || is_branch(&worktree, word) {
            found.push(NameReading { worktree, by_branch: !is_name });
        }
    }
    Ok(found)
}

/// The worktrees on a branch whose last part the word is, for a word without a reading.
///
/// # Errors
/// As [`readings`].
pub fn by_last_part(from: &Checkout, word: &OsStr) -> Result<Vec<NameReading>, WorktreeError> {
    let mut found = all(from)?;
    let ends_so = |branch: &OsStr| branch.as_bytes().rsplitn(2, |b| *b == b'/').next() == Some(word.as_bytes());
    found.retain(|worktree| branch_of(&worktree.git_dir).ok().flatten().is_some_and(|branch| ends_so(&branch)));
    Ok(found.into_iter().map(|worktree| NameReading { worktree, by_branch: true }).collect())
}

/// One that git can't read has no branch: its fault is reported when it is the worktree that is meant.
fn is_branch(worktree: &Registered, word: &OsStr) -> bool {
    let wanted = word.as_bytes().strip_prefix(FULL_BRANCH).unwrap_or(word.as_bytes());
    branch_of(&worktree.git_dir).ok().flatten().is_some_and(|branch| branch.as_bytes() == wanted)
}

/// The only reading; `None` without one.
///
/// # Errors
/// [`WorktreeError::Ambiguous`].
pub fn only(word: &OsStr, mut found: Vec<NameReading>) -> Result<Option<Registered>, WorktreeError> {
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop().map(|reading| reading.worktree)),
        _ => Err(ambiguous(word, found.iter().map(NameReading::words))),
    }
}

/// The error about a word with several readings.
pub fn ambiguous(word: &OsStr, readings: impl Iterator<Item = String>) -> WorktreeError {
    WorktreeError::Ambiguous { name: word.to_owned(), readings: readings.collect::<Vec<_>>().join(", or ") }
}

impl Registered {
    /// The checkout, if git can use it.
    ///
    /// # Errors
    /// [`WorktreeError::Broken`].
    pub fn whole(&self, from: &Checkout) -> Result<Checkout, WorktreeError> {
        let broken = |why| WorktreeError::Broken { worktree: self.root.clone(), why };
        if let Some(fault) = self.broken(from)? {
            return Err(broken(fault.fault.words()));
        }
        Checkout::at(&self.root)?.ok_or_else(|| broken("its .git file leads nowhere"))
    }

    /// Its fault, if a part of it is gone.
    ///
    /// # Errors
    /// It can't be read.
    pub fn broken(&self, from: &Checkout) -> Result<Option<Broken>, WorktreeError> {
        if self.is_main { Ok(None) } else { Ok(Broken::of(&from.common_dir, &self.root, &self.git_dir)?) }
    }
}

/// Whether a word is a path and nothing else: absolute, or with `.` or `..` at its begin.
pub fn is_path_only(word: &Path) -> bool {
    use std::path::Component::{CurDir, ParentDir, RootDir};
    matches!(word.components().next(), Some(RootDir | CurDir | ParentDir) | None)
}
