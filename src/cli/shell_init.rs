//! `depsfs shell-init`: the function that makes `depsfs cd` work, and the completions.

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::report::Failure;
use super::{completions, output};

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

/// Print the shell function for depsfs cd, and the completions
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
        let (functions, shell) = match self.shell {
            ShellName::Bash => (include_str!("shell/init.sh"), Shell::Bash),
            ShellName::Zsh => (include_str!("shell/init.sh"), Shell::Zsh),
            ShellName::Fish => (include_str!("shell/init.fish"), Shell::Fish),
        };
        let completions = completions::text(shell).unwrap_or_default();
        // Without compinit zsh has no completion.
        let completions = match shell {
            Shell::Zsh => format!("if whence compdef >/dev/null; then\n{completions}fi\n"),
            _ => completions.to_owned(),
        };
        output::bytes(format!("{functions}\n{completions}").as_bytes())
    }
}
