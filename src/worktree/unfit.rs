//! The reasons for which an artifact of the source is not taken.

use super::conflict::Conflict;

/// Why an artifact of the source does not come to a worktree. `Display` completes `left out: PATH: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnfitReason {
    /// The worktree's commit has a tracked file there.
    Tracked,
    NotIgnored,
    /// The commit has no such submodule.
    NoSubmodule,
    Conflict(Conflict),
    /// It is excluded by policy: a file in it holds the source's absolute path.
    HoldsSourcePath,
    /// This user may not read it.
    Unreadable,
    /// The lock files that the source was built with differ from the worktree's.
    OtherLockFiles,
    /// Another process has put something in its place during the sync.
    Replaced,
    /// The worktree has files of its own in its place.
    OwnFiles,
}

impl std::fmt::Display for UnfitReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            UnfitReason::Tracked => "it is tracked at this commit",
            UnfitReason::NotIgnored => "git does not ignore it at this commit",
            UnfitReason::NoSubmodule => "its submodule is not there at this commit",
            UnfitReason::Conflict(conflict) => return conflict.fmt(f),
            UnfitReason::HoldsSourcePath => "it holds the absolute path of the source",
            UnfitReason::Unreadable => {
                "you may not read it (git config --add depsfs.exclude leaves it out without a word)"
            }
            UnfitReason::OtherLockFiles => "the source was built with other lock files",
            UnfitReason::Replaced => "something else came there meanwhile",
            UnfitReason::OwnFiles => "the worktree has its own there",
        })
    }
}
