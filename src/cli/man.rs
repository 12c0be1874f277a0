//! `depsfs man`: the manual page, for packagers.

use clap::{Args, CommandFactory};

use super::output;
use super::report::Failure;

/// Print the manual page of depsfs, or of one of its verbs
#[derive(Args)]
pub struct Man {
    verb: Option<String>,
}

impl Man {
    pub fn run(self) -> Result<(), Failure> {
        let mut command = super::Cli::command();
        command.build();
        let command = match self.verb {
            None => command,
            Some(verb) => {
                let found = command.find_subcommand(&verb).cloned();
                found.ok_or(Failure::Usage("there is no such verb", "depsfs --help lists them"))?
            }
        };
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text).map_err(Failure::Output)?;
        output::bytes(&text)
    }
}
