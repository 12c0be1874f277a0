//! The worktree, or the paths in its views, that the words of a command line name.
//!
//! A word is a path, or the name or the branch of a worktree of this repository. If it can be both, it is refused:
//! `./WORD` is the path. A word that is none of them can be the last part of a branch.

use std::path::{Path, PathBuf};

use super::places;
use super::report::Failure;
use crate::git::checkout::Checkout;
use crate::sys::mountinfo::MountTable;
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::views::diff::Differences;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::find::{self, NameReading};
use crate::worktree::relocation;

/// The views of the worktree that a word names; without a word, of the working directory's.
///
/// # Errors
/// The word names nothing, or several things; the worktree has no views.
pub fn views(word: Option<&Path>) -> Result<Views, Failure> {
    places::views_at(&place(word)?)
}

/// As [`views`], the checkout; in a submodule, the project it is part of.
///
/// # Errors
/// As [`views`].
pub fn checkout(word: Option<&Path>) -> Result<Checkout, Failure> {
    places::checkout_at(&place(word)?)
}

/// A path in the worktree that a word names; without a word, the working directory.
///
/// # Errors
/// The word names nothing, or several things.
pub fn place(word: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(word) = word else { return Ok(PathBuf::from(".")) };
    let Some(here) = repository(word)? else { return Ok(word.into()) };
    let readings = find::readings(&here, word.as_os_str())?;
    if is_there(word) {
        let holder = Checkout::containing(word).map_err(WorktreeError::from)?;
        let holder = holder.map(Checkout::outermost).transpose().map_err(WorktreeError::from)?;
        let is_same = |reading: &&NameReading| holder.as_ref().is_some_and(|h| h.root == reading.worktree.root);
        return unless_ambiguous(word, readings.iter().filter(|reading| !is_same(reading)));
    }
    match find::only(word.as_os_str(), readings)? {
        Some(worktree) => Ok(worktree.whole(&here)?.root),
        None if is_deleted(word) => Ok(word.into()),
        None => match find::only(word.as_os_str(), find::by_last_part(&here, word.as_os_str())?)? {
            Some(worktree) => Ok(worktree.whole(&here)?.root),
            None => Err(WorktreeError::NoWorktree(word.into()).into()),
        },
    }
}

/// The meaning of the words `[WORKTREE] [PATH]…`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedPaths {
    /// The top of the worktree, if the first word is the name or the branch of one.
    pub worktree: Option<PathBuf>,
    /// In that worktree, if there is one; else as seen from the working directory.
    pub paths: Vec<PathBuf>,
}

impl NamedPaths {
    /// The paths; the top of a worktree that was named alone.
    pub fn or_top(self) -> Vec<PathBuf> {
        if self.paths.is_empty() { self.worktree.into_iter().collect() } else { self.paths }
    }
}

/// The worktree and the paths that words name.
///
/// # Errors
/// The first word is the name of several worktrees, or of one and a path as well.
pub fn paths(words: &[PathBuf]) -> Result<NamedPaths, Failure> {
    let as_paths = || NamedPaths { worktree: None, paths: words.to_vec() };
    let Some((first, rest)) = words.split_first() else { return Ok(as_paths()) };
    let Some(here) = repository(first)? else { return Ok(as_paths()) };
    let readings = find::readings(&here, first.as_os_str())?;
    if is_there(first) || is_deleted(first) {
        let whole = path::absolute(first).map_err(WorktreeError::from)?;
        unless_ambiguous(first, readings.iter().filter(|reading| reading.worktree.root != whole))?;
        return Ok(as_paths());
    }
    let readings = if readings.is_empty() { find::by_last_part(&here, first.as_os_str())? } else { readings };
    let Some(worktree) = find::only(first.as_os_str(), readings)? else { return Ok(as_paths()) };
    let top = worktree.whole(&here)?.root;
    let paths = rest.iter().map(|path| top.join(path)).collect();
    Ok(NamedPaths { worktree: Some(top), paths })
}

/// The repository whose worktrees a word can name; `None` for a path and nothing else, and outside any repository.
fn repository(word: &Path) -> Result<Option<Checkout>, Failure> {
    if find::is_path_only(word) {
        return Ok(None);
    }
    Ok(Checkout::of_any_repository(Path::new(".")).map_err(WorktreeError::from)?)
}

fn unless_ambiguous<'a>(word: &Path, others: impl Iterator<Item = &'a NameReading>) -> Result<PathBuf, Failure> {
    let mut others = others.map(NameReading::words).peekable();
    if others.peek().is_none() {
        return Ok(word.into());
    }
    let whole = path::absolute(word).map_err(WorktreeError::from)?;
    let path = std::iter::once(format!("the path {}", whole.shown()));
    Err(find::ambiguous(word.as_os_str(), path.chain(others)).into())
}

/// A mount point is there, and is not looked at: its view may be dead, or hang.
fn is_there(word: &Path) -> bool {
    let is_mounted = |at: &Path| MountTable::current().is_ok_and(|table| table.at(at).next().is_some());
    path::absolute(word).is_ok_and(|at| is_mounted(&at)) || path::is_there(word)
}

/// Whether it was deleted from a view of the working directory's worktree: it is not there, and can be reset.
fn is_deleted(word: &Path) -> bool {
    let Ok(views) = places::views_at(Path::new(".")) else { return false };
    let Ok((view, inside)) = views.locate(word).map(|(view, inside)| (view.clone(), inside)) else { return false };
    relocation::own_changes(&Differences::of(&views), &view, &inside).is_ok_and(|changes| !changes.is_empty())
}
