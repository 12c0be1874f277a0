//! Writes to stdout in one piece, and lines to stderr; both without characters that control a terminal.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use super::report::Failure;
use crate::sys::log::OrWarn;
use crate::sys::terminal;

/// Writes text. A reader that has enough (`| head`) is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    bytes(terminal::plain(text).as_bytes())
}

/// Writes one line on stderr. That nobody reads it is no error.
pub fn note(line: &str) {
    writeln!(std::io::stderr().lock(), "{}", terminal::line(line)).or_debug("a note was not printed");
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
    let text = serde_json::to_string_pretty(value).expect("what is printed has string keys");
    bytes((text + "\n").as_bytes())
}

pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(e)),
        _ => Ok(()),
    }
}

/// A number of bytes for people: three digits or so.
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// A number with a comma between thousands.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number, as [`number`], and its noun.
pub fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        let sizes = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (847_000_000, "847 MB"), (1_250_000_000, "1.2 GB")];
        sizes.iter().for_each(|(n, text)| assert_eq!(size(*n), *text));
        let counts = [
            (0, "0 files"),
            (1, "1 file"),
            (999, "999 files"),
            (57_048, "57,048 files"),
            (1_000_000, "1,000,000 files"),
        ];
        counts.iter().for_each(|(n, text)| assert_eq!(count(*n, "file"), *text));
    }
}
