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
        let text = found.ok_or_else(|| unknown(&command, &self.names))?.clone().render_long_help();
        output::print(&text.to_string())
    }
}

/// The failure about names that lead to no verb and no topic, with the name that is most similar to them.
pub fn unknown(command: &Command, names: &[String]) -> Failure {
    let name = names.join(" ");
    // Of `help store lits`, the verbs of `store`.
    let above = names.split_last().and_then(|(_, above)| subcommand(command, above)).unwrap_or(command);
    let last = names.last().map_or("", String::as_str);
    let shown = above.get_subcommands().filter(|verb| !verb.is_hide_set()).map(Command::get_name);
    let topics = TOPICS.iter().map(|topic| topic.name).filter(|_| names.len() == 1);
    let scored = shown.chain(topics).map(|known| (distance(last, known), known));
    let similar = scored.min().filter(|(steps, known)| *steps <= known.chars().count().div_ceil(3));
    let begin = names.split_last().map(|(_, above)| above.join(" ")).filter(|above| !above.is_empty());
    let whole = |known: &str| begin.iter().map(String::as_str).chain([known]).collect::<Vec<_>>().join(" ");
    Failure::NoHelp { name, similar: similar.map(|(_, known)| whole(known)) }
}

/// The number of letters that were mistyped: Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[m + 1];
            row[m + 1] = changed.min(row[m] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The verb that these names lead to, the program itself for none.
pub fn subcommand<'a>(command: &'a Command, names: &[String]) -> Option<&'a Command> {
    names.iter().try_fold(command, |command, name| command.find_subcommand(name))
}

/// The end of `depsfs --help`: the topics, one line each.
pub fn topic_list() -> String {
    let lines = TOPICS.iter().map(|topic| format!("  {:<16} {}\n", topic.name, topic.summary));
    format!("Topics (depsfs help TOPIC):\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Command {
        let mut command = crate::cli::Cli::command();
        command.build();
        command
    }

    /// The visible arguments without a text, of a command and all below it.
    fn without_text(command: &Command, found: &mut Vec<String>) {
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let silent = shown.filter(|arg| arg.get_help().is_none_or(|help| help.to_string().trim().is_empty()));
        found.extend(silent.map(|arg| format!("{} {}", command.get_name(), arg.get_id())));
        command.get_subcommands().filter(|verb| !verb.is_hide_set()).for_each(|verb| without_text(verb, found));
    }

    #[test]
    fn every_argument_of_every_verb_has_a_help_text() {
        let mut found = Vec::new();
        without_text(&built(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn help_for_a_mistyped_name_names_the_one_that_is_similar() {
        let similar = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            match unknown(&built(), &names) {
                Failure::NoHelp { similar, .. } => similar,
                other => panic!("{other}"),
            }
        };
        assert_eq!(similar(&["creat"]).as_deref(), Some("create"));
        assert_eq!(similar(&["stauts"]).as_deref(), Some("status"));
        assert_eq!(similar(&["sematics"]).as_deref(), Some("semantics"));
        assert_eq!(similar(&["store", "lits"]).as_deref(), Some("store list"));
        assert_eq!(similar(&["nonsense"]), None);
        assert_eq!(similar(&[""]), None);
    }
}
