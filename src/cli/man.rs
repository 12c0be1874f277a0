//! `depsfs man`: the manual pages, for packagers.

use clap::{Args, CommandFactory};

use super::report::Failure;
use super::{help, output, topics};

/// Print the manual page of depsfs, of one of its verbs, or of a topic
#[derive(Args)]
pub struct Man {
    /// A topic, or a verb with its sub-verbs
    names: Vec<String>,
}

impl Man {
    pub fn run(self) -> Result<(), Failure> {
        if let [name] = &self.names[..]
            && let Some(topic) = topics::find(name)
        {
            return output::print(&topic.page());
        }
        let mut command = super::Cli::command();
        command.build();
        let unknown = Failure::Usage("there is no such verb or topic", "depsfs help lists them");
        let command = help::subcommand(&command, &self.names).ok_or(unknown)?.clone();
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text).map_err(Failure::Output)?;
        output::bytes(&text)
    }
}
