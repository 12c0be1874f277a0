//! `depsfs completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::output;
use super::report::Failure;

const EXAMPLES: &str = "Examples:
  depsfs completions bash > ~/.local/share/bash-completion/completions/depsfs
  depsfs completions zsh > ~/.zfunc/_depsfs                   # a directory of fpath, before compinit
  depsfs completions fish > ~/.config/fish/completions/depsfs.fish";

/// Print the completions for a shell
///
/// In bash, zsh and fish they know the worktrees, branches, views, entries and components that there are; in the others,
/// verbs and options. depsfs shell-init has them, too.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the text.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub fn run(self) -> Result<(), Failure> {
        match text(self.shell) {
            Some(text) => output::bytes(text.as_bytes()),
            None => {
                let mut text = Vec::new();
                clap_complete::generate(self.shell, &mut super::Cli::command(), "depsfs", &mut text);
                output::bytes(&text)
            }
        }
    }
}

/// The functions that ask the program at each completion; `None` for a shell without.
pub fn text(shell: Shell) -> Option<&'static str> {
    match shell {
        Shell::Bash => Some(include_str!("shell/complete.bash")),
        Shell::Zsh => Some(include_str!("shell/complete.zsh")),
        Shell::Fish => Some(include_str!("shell/complete.fish")),
        _ => None,
    }
}
