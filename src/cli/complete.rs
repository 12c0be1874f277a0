//! `depsfs complete`: what can stand at the cursor, for the functions that `depsfs completions` prints.
//!
//! The first line is `-`, or the kind of paths that the shell adds by itself: `files`, `dirs`, `commands`. Each other line
//! is a candidate, a tab, and its description. Verbs and options are those of the parser; values are looked up by the
//! name that an argument's value has in the help ([`super::candidates`]).

use std::ffi::OsString;

use clap::{Arg, Args, Command, CommandFactory};

use super::candidates::{self, Candidate, OtherWords, ShellPaths};
use super::output;
use super::report::Failure;
use crate::sys::process;

/// Print what can stand at the cursor
#[derive(Args)]
pub struct Complete {
    /// The words behind the program's name, up to the cursor: the last is the one to be completed
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// The place of the cursor in a command line.
struct CompletionPoint<'a> {
    command: &'a Command,
    /// The option whose value stands at the cursor.
    option: Option<&'a Arg>,
    /// The words before it that are neither verbs nor options.
    positional: Vec<String>,
    /// The number of words behind `--`, which is before it.
    trailing: Option<usize>,
    /// The options before it.
    options: Vec<String>,
    directory: Option<String>,
}

impl Complete {
    /// Prints the candidates.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub fn run(self) -> Result<(), Failure> {
        let words: Vec<String> = self.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut root = super::Cli::command();
        root.build();
        let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        let point = point(&root, before);
        if let Some(dir) = &point.directory {
            process::enter(dir.as_ref())?;
        }
        // bash makes a word of the sign in `--color=always`.
        let last = if last == "=" { "" } else { last };
        let (paths, found) = point.candidates(last);
        let begins = found.iter().filter(|candidate| is_offered(candidate, last));
        let lines: String =
            begins.map(|found| format!("{}\t{}\n", found.value, found.help.replace(['\t', '\n'], " "))).collect();
        output::print(&format!("{}\n{lines}", paths.word()))
    }
}

/// Whether a candidate can stand for the word at the cursor. A tab inserts no name that the command would read as an
/// option, such as a directory called `--discard-changes`, unless the word begins with a dash already.
fn is_offered(candidate: &Candidate, last: &str) -> bool {
    let is_option = candidate.value.starts_with('-');
    candidate.value.starts_with(last) && candidate.is_harmless() && (!is_option || last.starts_with('-'))
}

/// Reads the words before the cursor as the parser does, without the errors.
fn point<'a>(root: &'a Command, before: &[String]) -> CompletionPoint<'a> {
    let mut at = CompletionPoint {
        command: root,
        option: None,
        positional: Vec::new(),
        trailing: None,
        options: Vec::new(),
        directory: None,
    };
    for word in before {
        at.pass(word);
    }
    at
}

impl<'a> CompletionPoint<'a> {
    fn pass(&mut self, word: &str) {
        if let Some(trailing) = &mut self.trailing {
            *trailing += 1;
        } else if let Some(option) = self.option.filter(|_| word != "=") {
            if option.get_short() == Some('C') {
                self.directory = Some(word.into());
            }
            self.option = None;
        } else if word == "--" {
            self.trailing = Some(0);
        } else if word.starts_with('-') && word.len() > 1 {
            self.options.push(word.split('=').next().unwrap_or(word).into());
            self.option = if word.contains('=') { None } else { self.named(word).filter(|arg| takes_next_word(arg)) };
        } else if word != "=" {
            match self.command.find_subcommand(word).filter(|_| self.positional.is_empty()) {
                Some(verb) => self.command = verb,
                None => self.positional.push(word.into()),
            }
        }
    }

    /// The option of a word such as `--view` or `-qC`: of several letters the last.
    fn named(&self, word: &str) -> Option<&'a Arg> {
        let mut all = self.command.get_arguments();
        match word.strip_prefix("--") {
            Some(long) => all.find(|arg| arg.get_long() == Some(long)),
            None => {
                let short = word.chars().last();
                all.find(|arg| arg.get_short() == short)
            }
        }
    }

    fn candidates(&self, last: &str) -> (ShellPaths, Vec<Candidate>) {
        if let Some(trailing) = self.trailing {
            return match self.command.get_positionals().find(|arg| arg.is_last_set()) {
                Some(_) if trailing == 0 => (ShellPaths::Commands, vec![]),
                Some(_) => (ShellPaths::Files, vec![]),
                None => self.positional_at(self.positional.len() + trailing),
            };
        }
        if let Some(option) = self.option {
            return candidates::of(option, self.command, &self.others());
        }
        if last.starts_with('-') {
            return match last.split_once('=') {
                Some((name, _)) => self.with_sign(name),
                None => (ShellPaths::None, self.options_of()),
            };
        }
        let verbs = self.command.get_subcommands().filter(|verb| !verb.is_hide_set() && self.positional.is_empty());
        let mut verbs: Vec<Candidate> = verbs.map(|verb| Candidate::new(verb.get_name(), verb.get_about())).collect();
        let (paths, values) = self.positional_at(self.positional.len());
        verbs.extend(values);
        (paths, verbs)
    }

    /// The values of `--name=`, with that in front: fish and zsh have it in one word.
    fn with_sign(&self, name: &str) -> (ShellPaths, Vec<Candidate>) {
        let Some(option) = self.named(name) else { return (ShellPaths::None, vec![]) };
        let (_, mut found) = candidates::of(option, self.command, &self.others());
        found.iter_mut().for_each(|candidate| candidate.value = format!("{name}={}", candidate.value));
        (ShellPaths::None, found)
    }

    fn options_of(&self) -> Vec<Candidate> {
        let is_given = |word: &String| self.options.contains(word);
        let all = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let word = |arg: &Arg| match (arg.get_long(), arg.get_short()) {
            (Some(long), _) => Some(format!("--{long}")),
            (None, Some(short)) => Some(format!("-{short}")),
            (None, None) => None,
        };
        let named = all.filter_map(|arg| Some((word(arg)?, arg))).filter(|(word, _)| !is_given(word));
        named.map(|(word, arg)| Candidate::new(&word, arg.get_help())).collect()
    }

    fn positional_at(&self, at: usize) -> (ShellPaths, Vec<Candidate>) {
        let all: Vec<&Arg> = self.command.get_positionals().filter(|arg| !arg.is_last_set()).collect();
        let repeated = all.last().filter(|arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1));
        match all.get(at).or(repeated) {
            Some(arg) => candidates::of(arg, self.command, &self.others()),
            None => (ShellPaths::None, vec![]),
        }
    }

    fn others(&self) -> OtherWords<'_> {
        OtherWords { positional: &self.positional, options: &self.options }
    }
}

fn takes_next_word(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(words: &[&str]) -> Vec<String> {
        let mut root = crate::cli::Cli::command();
        root.build();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (last, before) = words.split_last().expect("there is a word");
        let (paths, found) = point(&root, before).candidates(last);
        let values = found.into_iter().map(|found| found.value).filter(|value| value.starts_with(last));
        std::iter::once(paths.word().to_owned()).chain(values).collect()
    }

    #[test]
    fn a_name_that_begins_like_an_option_is_offered_behind_a_dash_only() {
        let candidate = |value: &str| Candidate { value: value.into(), help: "on main".into() };
        assert!(!is_offered(&candidate("--delete-branch"), "") && !is_offered(&candidate("-rf"), ""));
        assert!(is_offered(&candidate("--stats"), "-") && is_offered(&candidate("fix"), ""));
        assert!(!is_offered(&candidate("fix"), "gi") && !is_offered(&candidate("f;x"), "f"));
    }

    #[test]
    fn verbs_options_and_their_values_are_those_of_the_parser() {
        assert_eq!(completed(&["unm"]), ["-", "unmount"]);
        assert_eq!(completed(&["store", "ver"]), ["-", "verify"]);
        assert_eq!(completed(&["status", "--st"]), ["-", "--stats"]);
        assert_eq!(completed(&["status", "--stats", "--st"]), ["-"], "it is there already");
        assert_eq!(completed(&["create", "x", "--view", "d"]), ["-", "directories"]);
        assert_eq!(completed(&["--color", "=", "n"]), ["-", "never"], "as bash cuts it");
        assert_eq!(completed(&["status", "--color=al"]), ["-", "--color=always"]);
        assert_eq!(completed(&["completions", "z"]), ["-", "zsh"]);
        assert_eq!(completed(&["-q", "-C", ""])[0], "dirs");
        assert_eq!(completed(&["exec", "fix", "--", ""]), ["commands"]);
        assert_eq!(completed(&["exec", "--", "make", ""]), ["files"]);
        assert!(completed(&["help", "tr"]).contains(&"troubleshooting".to_owned()));
        assert!(!completed(&[""]).contains(&"complete".to_owned()), "hidden verbs are not offered");
    }
}
