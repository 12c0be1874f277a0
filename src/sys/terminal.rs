//! Foreign text on a terminal: names and messages that come from a commit, an archive, a server or another program.
//!
//! | what                  | how it is printed |
//! |-----------------------|-------------------|
//! | a name, a path, a command | [`DisplayName::shown`]: as it is; in C's quotes, as git prints it, if a byte of it would not show as itself |
//! | a whole message       | [`plain`]: what would control the terminal is an escape sequence of C; line ends stay |
//! | a message of one line | [`line()`]: line ends too |
//!
//! A quoted name is unambiguous: a name that begins with a quotation mark is quoted as well.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Display, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The number of lines that a terminal has.
pub(crate) fn height(terminal: BorrowedFd<'_>) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes one structure of this type
    // (TIOCGWINSZ of ioctl_tty(2)).
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_row > 0).then_some(size.ws_row)
}

/// A value that can be printed as a name.
pub trait DisplayName {
    fn shown(&self) -> Quoted<'_>;

    /// As [`DisplayName::shown`], for a line in which other words follow: in quotes too if it could be taken for several words.
    fn word(&self) -> Word<'_> {
        Word(self.shown())
    }
}

impl DisplayName for Path {
    fn shown(&self) -> Quoted<'_> {
        Quoted(self.as_os_str().as_bytes())
    }
}

impl DisplayName for OsStr {
    fn shown(&self) -> Quoted<'_> {
        Quoted(self.as_bytes())
    }
}

impl DisplayName for str {
    fn shown(&self) -> Quoted<'_> {
        Quoted(self.as_bytes())
    }
}

impl DisplayName for [u8] {
    fn shown(&self) -> Quoted<'_> {
        Quoted(self)
    }
}

/// The first few of some paths, for a message.
pub fn listed(paths: &[PathBuf]) -> String {
    let mut words: Vec<String> = paths.iter().take(5).map(|p| p.shown().to_string()).collect();
    if paths.len() > 5 {
        words.push(format!("{} more", paths.len() - 5));
    }
    words.join(", ")
}

/// A name on its way to a terminal.
#[derive(Clone, Copy)]
pub struct Quoted<'a>(&'a [u8]);

/// A word among others on its way to a terminal.
#[derive(Clone, Copy)]
pub struct Word<'a>(Quoted<'a>);

impl Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-/@+=%~*".contains(b);
        let Quoted(bytes) = self.0;
        if bytes.is_empty() || !bytes.iter().all(is_plain) { f.pad(&quoted(bytes)) } else { self.0.fmt(f) }
    }
}

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if shows_as_itself(text) => f.pad(text),
            _ => f.pad(&quoted(self.0)),
        }
    }
}

/// A space at an end is as good as invisible.
fn shows_as_itself(text: &str) -> bool {
    !text.starts_with(['"', ' ']) && !text.ends_with(' ') && !text.is_empty() && text.chars().all(is_visible)
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if is_visible(c) => out.push(c),
                c => escape(&mut out, c),
            }
        }
        chunk.invalid().iter().for_each(|b| octal(&mut out, *b));
    }
    out.push('"');
    out
}

/// A path as a word of a command for a shell (POSIX; for a byte that a terminal would not show: bash, zsh, ksh).
pub fn shell_word(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-/@+=%,:".contains(b);
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(is_plain) && !text.starts_with('-') => text.to_owned(),
        Ok(text) if text.chars().all(is_visible) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let quoted = quoted(bytes);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
            format!("$'{}'", inner.replace("\\\"", "\"").replace('\'', r"\'"))
        }
    }
}

/// A message of several lines.
pub fn plain(text: &str) -> Cow<'_, str> {
    without(text, |c| c == '\n' || c == '\t' || is_visible(c))
}

/// A message of one line.
pub fn line(text: &str) -> Cow<'_, str> {
    without(text, is_visible)
}

fn without(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    text.chars().for_each(|c| if stays(c) { out.push(c) } else { escape(&mut out, c) });
    out.into()
}

fn escape(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| octal(out, b)),
    }
}

fn octal(out: &mut String, byte: u8) {
    let _ = write!(out, "\\{byte:03o}");
}

/// Whether a terminal shows the character, at its place, and as what it is: no control character, none that changes the
/// direction of others or joins them, no blank but the space.
fn is_visible(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_control() || c.is_whitespace() => false,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' => false,
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' => false,
        '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_quoted_when_it_would_not_show_as_itself() {
        let table: [(&[u8], &str); 12] = [
            (b"node_modules/@a/b c", "node_modules/@a/b c"),
            ("grün/日本".as_bytes(), "grün/日本"),
            (b"50%\\n", "50%\\n"),
            (b"a\nM b", r#""a\nM b""#),
            (b"\x1b[2Kx", r#""\033[2Kx""#),
            (b"\xff\\", r#""\377\\""#),
            (b"\"a\"", r#""\"a\"""#),
            (b" a", r#"" a""#),
            (b"a ", r#""a ""#),
            (b"", r#""""#),
            ("a\u{202e}b".as_bytes(), r#""a\342\200\256b""#),
            ("a\u{9b}b\u{a0}".as_bytes(), r#""a\302\233b\302\240""#),
        ];
        for (name, shown) in table {
            assert_eq!(name.shown().to_string(), shown);
        }
        assert_eq!(format!("{:5}|", Path::new("a").shown()), "a    |");
    }

    #[test]
    fn a_word_for_a_shell_is_the_path_and_runs_nothing() {
        let table: [(&[u8], &str); 6] = [
            (b"../fix-login", "../fix-login"),
            (b"-x", "'-x'"),
            (b"a $(id) `id`", "'a $(id) `id`'"),
            (b"it's \"\\", r#"'it'\''s "\'"#),
            (b"a\n'\"\\", r#"$'a\n\'"\\'"#),
            (b"\xff", r"$'\377'"),
        ];
        for (bytes, word) in table {
            assert_eq!(shell_word(Path::new(OsStr::from_bytes(bytes))), word);
        }
    }

    #[test]
    fn a_message_keeps_its_lines_and_controls_nothing() {
        assert_eq!(plain("a\n\tb\x1b[8m\r"), "a\n\tb\\033[8m\\r");
        assert_eq!(line("a\n  hint: b"), "a\\n  hint: b");
        assert!(matches!(plain("as it was\n"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn two_names_are_never_shown_alike(a in "[ab\"\\\\n\n\u{1b} ]{0,4}", b in "[ab\"\\\\n\n\u{1b} ]{0,4}") {
            prop_assert_eq!(a == b, a.shown().to_string() == b.shown().to_string());
        }

        #[test]
        fn nothing_that_is_shown_controls_a_terminal(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(bytes.shown().to_string().chars().all(is_visible));
            prop_assert!(plain(&String::from_utf8_lossy(&bytes)).chars().all(|c| is_visible(c) || c == '\n' || c == '\t'));
        }
    }
}
