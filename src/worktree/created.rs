//! The outcome of a create or an adopt.

use std::path::PathBuf;

use super::artifacts::resolve::Decision;
use super::unfit::UnfitReason;
use crate::views::embedded_paths::Traced;

/// The result of a create or an adopt.
#[derive(Debug, Default)]
pub struct Created {
    pub worktree: PathBuf,
    pub branch: String,
    pub commit: String,
    pub views: Vec<PathBuf>,
    pub shared_files: u64,
    pub shared_bytes: u64,
    /// Single ignored files that were copied.
    pub copied: Vec<CopiedFile>,
    pub timed: usize,
    pub submodules: usize,
    /// Artifacts that don't fit the new worktree's commit, and why.
    pub unfit: Vec<(PathBuf, UnfitReason)>,
    /// Artifact directories that had files of their own, which stay on top, and how many those are.
    pub kept: Vec<(PathBuf, usize)>,
    /// Artifacts with files that hold the absolute path of the source, or held it.
    pub traced: Vec<Traced>,
    /// Which way each component comes to its artifacts; those that are fetched or built are not in place yet.
    pub decisions: Vec<Decision>,
    /// Lock files that differ from those the artifacts were made with.
    pub drifted: Vec<PathBuf>,
    /// Files of the source's views whose bytes the store has lost: to read one is an error in the new worktree, too.
    pub lost: Vec<PathBuf>,
}

/// A single file that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFile {
    /// Relative to the worktree.
    pub path: PathBuf,
    /// It held the source's path, and the copy holds the worktree's.
    pub relocated: bool,
}
