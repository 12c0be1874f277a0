//! Wrong usage, as the parser of arguments finds it: its own words for people, one object for scripts.

use std::io::ErrorKind;

use super::answers::{self, ErrorAnswer};
use super::report::Failure;
use super::{output, report};

const WRONG_USAGE: u8 = 2;

/// Prints the parser's text, which may be the requested help; returns the exit code.
pub fn report(wrong: &clap::Error) -> u8 {
    // The option counts also behind the error; what follows `--` is no option.
    let asks_for_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !wrong.use_stderr() {
        return help(wrong);
    }
    if !asks_for_json {
        wrong.exit();
    }
    let (because, hint) = because_and_hint(&wrong.render().to_string());
    output::stderr(&answers::line(&ErrorAnswer {
        what: "the arguments were not understood".into(),
        because,
        hint,
        exit_code: WRONG_USAGE,
        log: Vec::new(),
        left_behind: Vec::new(),
    }));
    WRONG_USAGE
}

/// Prints help that was asked for, or the version; a standard output that can't be written is an error, as for an answer.
fn help(wanted: &clap::Error) -> u8 {
    match wanted.print() {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => report::print("the text was not written", &Failure::Output(e)),
        _ => 0,
    }
}

/// The parts of the parser's message: the first paragraph with the arguments that it names; the tips and the usage.
fn because_and_hint(words: &str) -> (String, String) {
    let paragraphs = words.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    });
    let (mut because, mut hints) = (String::new(), Vec::new());
    for paragraph in paragraphs {
        match paragraph.strip_prefix("tip: ") {
            Some(tip) => hints.push(tip.to_owned()),
            None if paragraph.starts_with("Usage: ") => hints.push(paragraph),
            None if because.is_empty() => because = paragraph.trim_start_matches("error: ").to_owned(),
            None => {}
        }
    }
    let hint = if hints.is_empty() { "depsfs help lists the verbs".into() } else { hints.join("; ") };
    (because, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(args: &[&str]) -> (String, String) {
        let command = clap::Command::new("depsfs")
            .subcommand(
                clap::Command::new("status").arg(clap::Arg::new("json").long("json").action(clap::ArgAction::SetTrue)),
            )
            .subcommand(clap::Command::new("thaw").arg(clap::Arg::new("PATH").required(true)));
        let wrong = command.try_get_matches_from(args).expect_err("it is wrong usage");
        because_and_hint(&wrong.render().to_string())
    }

    #[test]
    fn a_script_is_told_the_missing_argument_and_the_name_that_is_similar() {
        let (because, hint) = parts(&["depsfs", "thaw"]);
        assert_eq!(because, "the following required arguments were not provided: <PATH>");
        assert_eq!(hint, "Usage: depsfs thaw <PATH>");
        let (because, hint) = parts(&["depsfs", "status", "--jsno"]);
        assert_eq!(because, "unexpected argument '--jsno' found");
        assert!(hint.starts_with("a similar argument exists: '--json'; Usage: "), "{hint}");
        let (because, hint) = parts(&["depsfs", "stauts"]);
        assert_eq!(because, "unrecognized subcommand 'stauts'");
        assert!(hint.starts_with("a similar subcommand exists: 'status'; Usage: "), "{hint}");
    }
}
