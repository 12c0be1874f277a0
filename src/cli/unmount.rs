//! `depsfs unmount`.

use std::path::PathBuf;

use crate::sys::terminal::Shown;

use clap::Args;

use super::report::Failure;
use super::{output, places};

/// Unmount all views of a worktree, or of a directory
///
/// What was written stays where it was written, as plain files. Refused, with all views still there, while a program
/// uses one.
#[derive(Args)]
pub struct Unmount {
    /// The worktree, or any path in it [default: the working directory]
    #[arg(conflicts_with = "at")]
    worktree: Option<PathBuf>,
    /// A directory that entries are mounted at
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Detach views that are in use: programs that use them can go on
    #[arg(long)]
    lazy: bool,
}

impl Unmount {
    pub fn run(self) -> Result<(), Failure> {
        let views = places::views(self.at.as_deref().or(self.worktree.as_deref()))?;
        views.unmount(self.lazy)?;
        let place = self.at.unwrap_or(views.manifest.worktree);
        output::done("the views were unmounted", &format!("unmounted the views of {}\n", place.shown()))
    }
}
