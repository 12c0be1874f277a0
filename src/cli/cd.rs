//! `depsfs cd`, for a shell without the function of `depsfs shell-init`.

use std::path::PathBuf;

use clap::Args;

use super::report::Failure;

const EXAMPLES: &str = "Examples:
  depsfs cd fix-login
  depsfs cd al/fix-login
  depsfs cd -              # back to the directory before

Once, in ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish:
  eval \"$(depsfs shell-init bash)\"
  eval \"$(depsfs shell-init zsh)\"
  depsfs shell-init fish | source";

/// Go to a worktree: needs the shell function of depsfs shell-init
///
/// A program cannot change the directory of the shell that starts it, so the shell function does it, with the path that
/// depsfs path prints.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Cd {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    worktree: Option<PathBuf>,
}

impl Cd {
    /// Fails: only the function can do it.
    ///
    /// # Errors
    /// Always.
    pub fn run(self) -> Result<(), Failure> {
        Err(Failure::Usage(
            "a program cannot change the directory of its shell",
            "depsfs cd --help has the line for your shell's configuration; cd \"$(depsfs path NAME)\" works without",
        ))
    }
}
