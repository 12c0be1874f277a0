//! `depsfs help`: the help of a verb, or one of the topics.

use clap::{Args, Command, CommandFactory};

use super::output;
use super::report::Failure;
use super::topics::{self, TOPICS};

/// Print the help of a verb, or a topic
///
/// Without a name: the list of verbs and topics. A topic is also a manual page: `depsfs man TOPIC` prints it.
#[derive(Args)]
#[command(after_help = "Examples:
  depsfs help paths
  depsfs help troubleshooting | grep -A1 'is in use'
  depsfs help store add")]
pub struct Help {
    /// A topic, or a verb with its sub-verbs
    names: Vec<String>,
}

impl Help {
    /// Prints to stdout. An unknown name is [`Failure::Usage`].
    pub fn run(self) -> Result<(), Failure> {
        let mut command = super::Cli::command();
        command.build();
        if let [name] = &self.names[..]
            && let Some(topic) = topics::find(name)
        {
            return output::print(topic.text);
        }
        let found = subcommand(&command, &self.names);
        let text = found.ok_or(UNKNOWN)?.clone().render_long_help();
        output::print(&text.to_string())
    }
}

const UNKNOWN: Failure = Failure::Usage("there is no such verb or topic", "depsfs help lists them");

/// The verb that these names lead to, the program itself for none.
pub fn subcommand<'a>(command: &'a Command, names: &[String]) -> Option<&'a Command> {
    names.iter().try_fold(command, |command, name| command.find_subcommand(name))
}

/// The end of `depsfs --help`: the topics, one line each.
pub fn topic_list() -> String {
    let lines = TOPICS.iter().map(|topic| format!("  {:<16} {}\n", topic.name, topic.summary));
    format!("Topics (depsfs help TOPIC):\n{}", lines.collect::<String>())
}
