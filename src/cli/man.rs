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
        let found = help::subcommand(&command, &self.names);
        let command = found.ok_or_else(|| help::unknown(&command, &self.names))?;
        output::bytes(&page(command)?)
    }
}

/// The page of a verb. Its synopsis is the usage that its help prints: that of the library has neither the values of
/// options nor the `--` before a command.
fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(Failure::Output)?;
    let text = String::from_utf8(text).expect("the help of every verb is UTF-8");
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace('\\', "\\e").replace('-', "\\-");
    let with_usage = text.split_once(SYNOPSIS).and_then(|(before, rest)| {
        let after = &rest[rest.find(".SH ")?..];
        Some(format!("{before}{SYNOPSIS}{}\n{after}", usage.lines().map(str::trim).collect::<Vec<_>>().join("\n.br\n")))
    });
    Ok(with_examples(&with_usage.unwrap_or(text)).into_bytes())
}

/// The text after the options under a heading of its own, with its lines as they are.
fn with_examples(page: &str) -> String {
    let Some((before, extra)) = page.split_once(".SH EXTRA\n") else { return page.into() };
    let (extra, after) = extra.find("\n.SH ").map_or((extra, ""), |end| extra.split_at(end + 1));
    let (heading, lines) = extra.split_once('\n').unwrap_or(("", extra));
    let word = heading.split([' ', ':']).next().unwrap_or_default().to_uppercase();
    format!("{before}.SH {word}\n.nf\n{}\n.fi\n{after}", lines.trim_end())
}

const SYNOPSIS: &str = ".SH SYNOPSIS\n";

/// The pages of a command and of all its visible verbs, each with the name of its file.
fn of_all(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    pages.push((format!("man1/{name}.1"), page(command)?));
    let shown = |verb: &&Command| !verb.is_hide_set() && (verb.get_name() != "help" || name == "depsfs");
    command.get_subcommands().filter(shown).try_for_each(|verb| of_all(verb, pages))
}
