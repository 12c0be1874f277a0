//! Wrong usage, as the parser of arguments finds it: its own words for people, one object for scripts.

use super::answers::{self, ErrorAnswer};
use super::output;

const WRONG_USAGE: u8 = 2;

/// Prints the parser's text, which may be the requested help; returns the exit code.
pub fn report(wrong: &clap::Error) -> u8 {
    // The option counts also behind the error; what follows `--` is no option.
    let asks_for_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !wrong.use_stderr() || !asks_for_json {
        wrong.exit();
    }
    let words = wrong.render().to_string();
    let mut lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    let because = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let usage = lines.find(|line| line.starts_with("Usage: ")).unwrap_or("depsfs help lists the verbs");
    output::stderr(&answers::line(&ErrorAnswer {
        what: "the arguments were not understood".into(),
        because,
        hint: usage.into(),
        exit_code: WRONG_USAGE,
        log: Vec::new(),
        left_behind: Vec::new(),
    }));
    WRONG_USAGE
}
