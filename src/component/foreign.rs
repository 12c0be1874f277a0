//! Commands of a repository that run only after the user has approved them.

use std::path::PathBuf;

use crate::sys::terminal::DisplayName;

/// A command that a repository brings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Foreign {
    /// The shell that runs all the other commands; the command is the last argument.
    Shell(Vec<String>),
    Command {
        /// The directory in which it runs, from the top of the repository.
        dir: PathBuf,
        text: String,
    },
    /// An object store that artifacts come from, in words.
    Remote(String),
}

impl Foreign {
    /// Complete and without ambiguity, for the eyes of the user who approves it.
    pub fn words(&self) -> String {
        match self {
            Foreign::Shell(words) => {
                let words: Vec<String> = words.iter().map(|w| w.word().to_string()).collect();
                format!("shell: {} …", words.join(" "))
            }
            Foreign::Command { dir, text } if dir.as_os_str().is_empty() => format!("in .: {}", text.shown()),
            Foreign::Remote(words) => words.shown().to_string(),
            Foreign::Command { dir, text } => format!("in {}: {}", dir.as_os_str().word(), text.shown()),
        }
    }
}
