//! `--view`: how the views of a worktree are mounted.

use clap::ValueEnum;

use crate::store::manifest::Shape;

/// The values of `--view`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViewOption {
    /// One view of the whole worktree: artifact directories can be removed, renamed and linked as any other
    Worktree,
    /// One view for each artifact directory; sources are not mounted
    Directories,
}

impl From<ViewOption> for Shape {
    fn from(option: ViewOption) -> Shape {
        match option {
            ViewOption::Worktree => Shape::Worktree,
            ViewOption::Directories => Shape::Directories,
        }
    }
}
