//! Writes to stdout in one piece, and lines to stderr; both without characters that control a terminal.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use super::failure::Failure;
pub use super::units::{count, number, size};
use crate::sys::log::OrWarn;
use crate::sys::terminal;

/// Writes text. A reader that has enough (`| head`) is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    bytes(terminal::plain(text).as_bytes())
}

/// Above the output of a dry run.
pub const DRY_RUN: &str = "Dry run (no changes made):\n";

/// Writes one line on stderr. That nobody reads it is no error.
pub fn note(line: &str) {
    writeln!(std::io::stderr().lock(), "{}", terminal::line(line)).or_debug("a note was not printed");
}

/// Writes what a command would do, in the words in which it then says what it has done.
///
/// # Errors
/// Standard output can't be written.
pub fn would(text: &str) -> Result<(), Failure> {
    print(&format!("{DRY_RUN}{text}"))
}

/// Writes what was done. When that can't be written, the failure says that it was done all the same.
pub fn done(done: impl Into<String>, text: &str) -> Result<(), Failure> {
    unless_written(done, print(text))
}

/// As [`done`], as JSON.
pub fn done_json(done: impl Into<String>, value: &impl Serialize) -> Result<(), Failure> {
    unless_written(done, json(value))
}

fn unless_written(done: impl Into<String>, written: Result<(), Failure>) -> Result<(), Failure> {
    written.map_err(|failure| match failure {
        Failure::Output(source) => Failure::Unreported { done: done.into(), source },
        other => other,
    })
}

/// Writes a value as JSON, over several lines.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("the printed values have string keys");
    bytes((text + "\n").as_bytes())
}

/// Writes bytes on stdout as they are. A reader that has enough is no error.
///
/// # Errors
/// [`Failure::Output`].
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(e)),
        _ => Ok(()),
    }
}
