//! `depsfs completions`.

use clap::{Args, CommandFactory};

use super::output;
use super::report::Failure;

/// Print the completions for a shell
#[derive(Args)]
pub struct Completions {
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "depsfs", &mut text);
        output::bytes(&text)
    }
}
