//! Asking before something is dropped.

use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::report::Failure;
use crate::sys::{interrupt, process};
use crate::worktree::WorktreeError;

/// Whether `--yes` was given.
static YES: AtomicBool = AtomicBool::new(false);

/// From now on each answer is yes.
pub fn always_yes() {
    YES.store(true, Ordering::Relaxed);
}

/// Whether each answer is yes.
pub fn is_yes() -> bool {
    YES.load(Ordering::Relaxed)
}

/// Whether there is a terminal to ask on.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The answer: yes with `--yes`, else that of the user at the terminal. Without a terminal the question is refused.
///
/// # Errors
/// [`Failure::NotConfirmed`]; the terminal can't be read; Ctrl-C.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    if is_yes() {
        return Ok(true);
    }
    if !can_ask() {
        return Err(Failure::NotConfirmed);
    }
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(Failure::os("ask on the terminal"))?;
    // A caught signal interrupts no read: the wait for the answer ends by it.
    if let Some(wake) = interrupt::wake() {
        process::wait_any(&[stdin.as_fd(), wake], None).map_err(Failure::os("read the answer"))?;
    }
    interrupt::check().map_err(WorktreeError::from)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(Failure::os("read the answer"))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
