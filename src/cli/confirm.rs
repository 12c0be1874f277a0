//! Asking before something is dropped.

use std::io::{BufRead, IsTerminal, Write};

use super::report::Failure;

/// Passes with `yes`, or when the person at the terminal says so; without either it is refused.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(Failure::NotConfirmed);
    }
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(Failure::Output)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(Failure::Output)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(Failure::NotConfirmed) }
}
