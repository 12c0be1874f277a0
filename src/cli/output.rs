//! Writes to stdout in one piece, and lines to stderr; both without characters that control a terminal.

use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::answers::{self, Answer, NoteAnswer};
use super::bars;
use super::color;
use super::failure::Failure;
pub use super::units::{count, number, size};
use crate::sys::log::OrWarn;
use crate::sys::terminal::{self, DisplayName};

/// Whether `--quiet` was given.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on there are no reports, notes and progress bars.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether there are no reports, notes and progress bars.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether answers, errors and notes are JSON: `--json` was given.
static JSON: AtomicBool = AtomicBool::new(false);

/// From now on answers, errors and notes are JSON.
pub fn use_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Whether answers, errors and notes are JSON.
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Writes the answer of a verb: with `--json` as JSON, else as the text.
///
/// # Errors
/// Standard output can't be written.
pub fn answer(answer: &impl Answer, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if is_json() { bytes(answers::pretty(answer).as_bytes()) } else { print(&text()) }
}

/// As [`answer`], for what was done, or with `dry_run` would be. When it can't be written, the failure reports that it
/// was done all the same.
///
/// # Errors
/// Standard output can't be written.
pub fn done_answer(
    done: impl Into<String>,
    outcome: &impl Answer,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if is_quiet() && !is_json() { Ok(()) } else { unless_written(done, answer(outcome, text)) }
}

/// Writes text. A reader that has enough (`| head`) is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    bytes(color::painted(&terminal::plain(text), &std::io::stdout()).as_bytes())
}

/// Prints a path: byte by byte for a program, and as every other name on a terminal.
///
/// # Errors
/// [`Failure::Output`].
pub fn path(path: &Path) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return print(&format!("{}\n", path.shown()));
    }
    bytes(&[path.as_os_str().as_bytes(), b"\n"].concat())
}

/// Above the output of a dry run.
pub const DRY_RUN: &str = "Dry run (no changes made):\n";

/// Writes one line on stderr, unless the program is quiet. A closed stderr is no error.
pub fn note(line: &str) {
    if is_quiet() {
        return;
    }
    if is_json() { stderr(&answers::line(&NoteAnswer { note: line.into() })) } else { error(line) }
}

/// Writes one line of an error on stderr.
pub fn error(line: &str) {
    stderr(&color::painted(&terminal::line(line), &std::io::stderr()));
}

/// Writes one line on stderr as it is. That nobody reads it is no error.
pub fn stderr(line: &str) {
    bars::above(|| {
        writeln!(std::io::stderr().lock(), "{line}").or_debug("a note was not printed");
    });
}

/// The text of what was done; with `dry_run` that of what would be done, which is the same below a heading.
pub fn dry(dry_run: bool, text: String) -> String {
    if dry_run { format!("{DRY_RUN}{text}") } else { text }
}

/// Writes what was done, unless the program is quiet. When that can't be written, the failure reports that it was done.
pub fn done(done: impl Into<String>, text: &str) -> Result<(), Failure> {
    if is_quiet() { Ok(()) } else { unless_written(done, print(text)) }
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
    written(bytes).map(drop)
}

/// Writes a part of an output without an end, as it is; `false`: its reader has enough.
///
/// # Errors
/// [`Failure::Output`].
pub fn stream(text: &str) -> Result<bool, Failure> {
    written(text.as_bytes())
}

/// Whether a person reads the standard output as it comes.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// The lines that the terminal has which is the standard output.
pub fn height() -> Option<u16> {
    terminal::height(std::io::stdout().as_fd())
}

fn written(bytes: &[u8]) -> Result<bool, Failure> {
    bars::clear();
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(e)),
        written => Ok(written.is_ok()),
    }
}
