//! `depsfs shell-init`: the function that makes `depsfs cd` work.

use clap::{Args, ValueEnum};

use super::output;
use super::report::Failure;

const EXAMPLES: &str = "Examples:
  eval \"$(depsfs shell-init bash)\"     # in ~/.bashrc
  eval \"$(depsfs shell-init zsh)\"      # in ~/.zshrc, after compinit
  depsfs shell-init fish | source      # in ~/.config/fish/config.fish";

/// A shell that depsfs has functions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShellName {
    Bash,
    Zsh,
    Fish,
}

/// Print the shell function for depsfs cd
///
/// The shell's configuration reads it. All other verbs of the function are those of the program.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ShellInit {
    /// The shell
    shell: ShellName,
}

impl ShellInit {
    /// Prints the text.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub fn run(self) -> Result<(), Failure> {
        output::bytes(match self.shell {
            ShellName::Bash | ShellName::Zsh => include_bytes!("shell/init.sh"),
            ShellName::Fish => include_bytes!("shell/init.fish"),
        })
    }
}
