//! Asking before something is dropped.

use std::io::{BufRead, IsTerminal, Write};

use super::report::Failure;

/// The answer: yes with `yes`, else that of the user at the terminal. Without a terminal the question is refused.
pub fn confirm(question: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(Failure::NotConfirmed);
    }
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(Failure::os("ask on the terminal"))?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(Failure::os("read the answer"))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
