//! `depsfs path`.

use std::path::PathBuf;

use clap::Args;

use super::answers::PathAnswer;
use super::report::Failure;
use super::{named, output};

const EXAMPLES: &str = "Examples:
  depsfs path fix-login              # /home/ada/src/fix-login
  code \"$(depsfs path fix-login)\"    # by its branch, too: depsfs path al/fix-login";

/// Print the path of a worktree
///
/// One line: the absolute path of its top.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct PathCommand {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    worktree: Option<PathBuf>,
}

impl PathCommand {
    /// Prints the path.
    ///
    /// # Errors
    /// The word names no worktree, or several.
    pub fn run(self) -> Result<(), Failure> {
        let top = named::checkout(self.worktree.as_deref())?.root;
        if output::is_json() {
            return output::answer(&PathAnswer { path: top.as_path().into() }, String::new);
        }
        output::path(&top)
    }
}
