//! Colours on a terminal: marks at the begin of a line, and the words that introduce an error.
//!
//! They are added after a message was made harmless ([`crate::sys::terminal`]), so that no name can bring its own.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::{ColorChoice, ValueEnum};

/// The values of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Also in a file or a pipe
    Always,
    /// Nowhere
    Never,
}

static WHEN: OnceLock<ColorWhen> = OnceLock::new();

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[1;31m";
const BLUE: &str = "\x1b[36m";
const END: &str = "\x1b[0m";

const MARKS: [(&str, &str); 8] = [
    ("[ok]", GREEN),
    ("[fixed]", GREEN),
    ("[warn]", YELLOW),
    ("[FAIL]", RED),
    ("[MISSING]", RED),
    ("[HUNG]", RED),
    ("depsfs:", RED),
    ("  hint:", BLUE),
];

/// Holds for the rest of the process.
pub fn choose(when: ColorWhen) {
    WHEN.get_or_init(|| when);
}

/// The choice for clap's own messages, which are printed before the options are read.
pub fn in_arguments(args: impl Iterator<Item = std::ffi::OsString>) -> ColorChoice {
    let words = args.skip(1).map(|word| word.to_string_lossy().into_owned()).take_while(|word| word != "--");
    let words: Vec<String> = words.collect();
    let value = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--color") {
        Some("") => words.get(at + 1).map(String::as_str),
        Some(value) => value.strip_prefix('='),
        None => None,
    });
    match value {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// A message for a stream, with colours if that is to have them.
pub fn painted(text: &str, stream: &impl IsTerminal) -> String {
    if is_on(stream) { marked(text) } else { text.to_owned() }
}

/// Whether a stream has colours.
pub fn is_on(stream: &impl IsTerminal) -> bool {
    match WHEN.get().copied().unwrap_or_default() {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => {
            let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            stream.is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

fn marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive('\n') {
        match MARKS.iter().find(|(mark, _)| line.starts_with(mark)) {
            Some((mark, color)) => out.extend([*color, mark, END, &line[mark.len()..]]),
            None => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_its_colour_at_the_begin_of_a_line_and_nowhere_else() {
        assert_eq!(marked("[ok]  a\nb [ok]\n[FAIL] c"), format!("{GREEN}[ok]{END}  a\nb [ok]\n{RED}[FAIL]{END} c"));
        assert_eq!(marked("words\n"), "words\n");
    }

    #[test]
    fn the_option_is_found_among_all_words_before_a_command() {
        let choice = |words: &[&str]| in_arguments(words.iter().map(Into::into));
        assert_eq!(choice(&["depsfs", "status", "--color=never"]), ColorChoice::Never);
        assert_eq!(choice(&["depsfs", "--color", "always", "status"]), ColorChoice::Always);
        assert_eq!(choice(&["depsfs", "exec", "--", "ls", "--color=always"]), ColorChoice::Auto);
        assert_eq!(choice(&["depsfs", "--color"]), ColorChoice::Auto);
    }
}
