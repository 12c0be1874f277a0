//! `depsfs man`: the manual pages, for packagers.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};

use super::report::Failure;
use super::{help, output, topics};
use crate::sys::path;

/// Print the manual page of depsfs, of one of its verbs, or of a topic
#[derive(Args)]
pub struct Man {
    /// A topic, or a verb with its sub-verbs
    names: Vec<String>,
    /// Write the pages of all verbs and topics into this directory, as man1/NAME.1 and man7/NAME.7
    #[arg(long, value_name = "DIR", conflicts_with = "names")]
    all: Option<PathBuf>,
}

impl Man {
    /// Prints roff to stdout, or writes all pages below a directory.
    pub fn run(self) -> Result<(), Failure> {
        let mut command = super::Cli::command();
        command.build();
        if let Some(dir) = &self.all {
            let mut pages = Vec::new();
            of_all(&command, &mut pages)?;
            pages.extend(topics::TOPICS.iter().map(|t| (format!("man7/depsfs-{}.7", t.name), t.page().into_bytes())));
            // `git depsfs --help` opens this one.
            pages.push(("man1/git-depsfs.1".into(), b".so man1/depsfs.1\n".to_vec()));
            path::make_dirs(&dir.join("man1"))?;
            path::make_dirs(&dir.join("man7"))?;
            return Ok(pages.into_iter().try_for_each(|(name, page)| path::replace(&dir.join(name), &page))?);
        }
        if let [name] = &self.names[..]
            && let Some(topic) = topics::find(name)
        {
            return output::print(&topic.page());
        }
        let unknown = Failure::Usage("there is no such verb or topic", "depsfs help lists them");
        let command = help::subcommand(&command, &self.names).ok_or(unknown)?;
        output::bytes(&page(command)?)
    }
}

/// The page of a verb.
fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(Failure::Output)?;
    Ok(text)
}

/// The pages of a command and of all its visible verbs, each with the name of its file.
fn of_all(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    pages.push((format!("man1/{name}.1"), page(command)?));
    let shown = |verb: &&Command| !verb.is_hide_set() && (verb.get_name() != "help" || name == "depsfs");
    command.get_subcommands().filter(shown).try_for_each(|verb| of_all(verb, pages))
}
