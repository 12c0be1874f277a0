//! The values that an argument can have, for completion: looked up when the user asks, without starting a daemon or
//! waiting for a view.

use clap::{Arg, Command};

use super::answers;
use super::places;
use super::topics::TOPICS;
use crate::component::load;
use crate::git::checkout::{Checkout, branch_of};
use crate::store::Store;
use crate::worktree::find;

/// Longer lists help nobody, and take time.
const MOST_BRANCHES: usize = 2_000;

/// A word that can stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub value: String,
    pub help: String,
}

/// The paths that the shell adds to the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShellPaths {
    None,
    Files,
    Directories,
    Commands,
}

/// The words of the command line that decide what a value means.
pub struct OtherWords<'a> {
    pub positional: &'a [String],
    pub options: &'a [String],
}

impl Candidate {
    /// One with the first line of a help text.
    pub fn new(value: &str, help: Option<&clap::builder::StyledStr>) -> Candidate {
        let help = help.map(ToString::to_string).unwrap_or_default();
        Candidate { value: value.into(), help: help.lines().next().unwrap_or_default().into() }
    }

    fn of(value: impl Into<String>, help: impl Into<String>) -> Candidate {
        Candidate { value: value.into(), help: help.into() }
    }

    /// Whether no shell reads anything but the word itself: names come from a repository, and a shell inserts them into
    /// a command line. A branch may be called `$(reboot)`.
    pub fn is_harmless(&self) -> bool {
        let is_plain = |c: char| c.is_alphanumeric() || "._-/@+=,%".contains(c);
        self.value.chars().all(is_plain)
    }
}

impl ShellPaths {
    /// As the shells' functions read it.
    pub fn word(self) -> &'static str {
        match self {
            ShellPaths::None => "-",
            ShellPaths::Files => "files",
            ShellPaths::Directories => "dirs",
            ShellPaths::Commands => "commands",
        }
    }
}

/// The values of an argument.
pub fn of(arg: &Arg, command: &Command, others: &OtherWords<'_>) -> (ShellPaths, Vec<Candidate>) {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        return (ShellPaths::None, shown.map(|value| Candidate::new(value.get_name(), value.get_help())).collect());
    }
    let name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let is_first = others.positional.is_empty();
    match (name, command.get_name()) {
        ("WORKTREE|ENTRY", _) if others.options.iter().any(|word| word == "--at") => (ShellPaths::None, entries()),
        ("WORKTREE" | "WORKTREE|ENTRY", _) => (ShellPaths::Directories, worktrees(command.get_name() != "remove")),
        ("WORKTREE|PATH", verb) => {
            let mut found = views(others.positional.first());
            found.extend(if ["publish", "push"].contains(&verb) { components() } else { vec![] });
            found.extend(if is_first { worktrees(true) } else { vec![] });
            (ShellPaths::Files, found)
        }
        ("ENTRY", _) => (ShellPaths::None, entries()),
        ("NAME", "create") | ("BASE_REF" | "BRANCH", _) => (ShellPaths::None, branches()),
        ("CHECKOUT" | "DIR", _) => (ShellPaths::Directories, vec![]),
        ("NAMES", "help" | "man") if is_first => (ShellPaths::None, topics()),
        ("VERB", "json-schema") => {
            (ShellPaths::None, answers::ALL.iter().map(|(verb, _)| Candidate::of(*verb, "")).collect())
        }
        ("NAMES" | "NAME" | "N" | "NUMBER" | "BOOL" | "OPTIONS" | "VERB", _) => (ShellPaths::None, vec![]),
        _ => (ShellPaths::Files, vec![]),
    }
}

fn worktrees(with_main: bool) -> Vec<Candidate> {
    let Ok(Some(here)) = Checkout::of_any_repository(".".as_ref()) else { return vec![] };
    let mut found = Vec::new();
    for worktree in find::all(&here).unwrap_or_default().into_iter().filter(|worktree| with_main || !worktree.is_main) {
        let name = worktree.root.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let branch = branch_of(&worktree.git_dir).ok().flatten().and_then(|branch| branch.into_string().ok());
        found.push(Candidate::of(&name, branch.as_ref().map_or("detached".into(), |branch| format!("on {branch}"))));
        found.extend(branch.filter(|branch| *branch != name).map(|branch| Candidate::of(branch, format!("in {name}"))));
    }
    found
}

fn branches() -> Vec<Candidate> {
    let Ok(Some(here)) = Checkout::of_any_repository(".".as_ref()) else { return vec![] };
    let found = here.git().branches(MOST_BRANCHES).unwrap_or_default();
    found.into_iter().map(|name| Candidate::of(name, "branch")).collect()
}

/// The views of the worktree that the first word names, else of the working directory's.
fn views(first: Option<&String>) -> Vec<Candidate> {
    let named = first.and_then(|word| {
        let here = Checkout::of_any_repository(".".as_ref()).ok().flatten()?;
        let readings = find::readings(&here, word.as_ref()).ok()?;
        let readings = if readings.is_empty() { find::by_last_part(&here, word.as_ref()).ok()? } else { readings };
        find::only(word.as_ref(), readings).ok().flatten()
    });
    let top = named.as_ref().map(|worktree| worktree.root.clone());
    let Ok(views) = places::views_at(top.as_deref().unwrap_or(".".as_ref())) else { return vec![] };
    let base = match top {
        Some(top) => top,
        None => crate::sys::path::canonical(".".as_ref()).unwrap_or_default(),
    };
    let place = |view| views.place(view).strip_prefix(&base).ok().and_then(|path| path.to_str().map(str::to_owned));
    let all = views.manifest.views.iter().filter_map(place).filter(|path| !path.is_empty());
    all.map(|path| Candidate::of(path, "view")).collect()
}

fn entries() -> Vec<Candidate> {
    let store = places::store_path().ok().and_then(|path| Store::existing(&path).ok());
    let names = store.and_then(|store| store.entries().names().ok()).unwrap_or_default();
    names.into_iter().map(|name| Candidate::of(name, "entry")).collect()
}

/// The artifacts of the components, which stand for them.
fn components() -> Vec<Candidate> {
    let Ok(checkout) = places::checkout() else { return vec![] };
    let Ok(components) = load::on_disk(&checkout, &places::user()) else { return vec![] };
    let of = |declared: &crate::component::Declared| -> Vec<Candidate> {
        let help = format!("component {}", declared.component.name);
        declared.literals().filter_map(|path| Some(Candidate::of(path.to_str()?, help.clone()))).collect()
    };
    components.all.iter().flat_map(of).collect()
}

fn topics() -> Vec<Candidate> {
    let mut command = <super::Cli as clap::CommandFactory>::command();
    command.build();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut found: Vec<Candidate> = verbs.map(|verb| Candidate::new(verb.get_name(), verb.get_about())).collect();
    found.extend(TOPICS.iter().map(|topic| Candidate::of(topic.name, topic.summary)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_would_run_is_no_candidate() {
        for value in ["fix-login", "al/fix-login", "v1.2_3", "größe", "@types"] {
            assert!(Candidate::of(value, "a branch").is_harmless(), "{value}");
        }
        for value in ["$(reboot)", "a;b", "a b", "`id`", "a&b", "a|b", "'a", "a\nb", "a\x1b[2K", "~root", "a*"] {
            assert!(!Candidate::of(value, "a branch").is_harmless(), "{value}");
        }
    }
}
