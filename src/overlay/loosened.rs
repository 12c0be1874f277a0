//! Reaching a file or directory of the upper whose own mode keeps the server out, which may not run as root: the mode is
//! loosened for one call. The kernel checked the caller's permission before, or the mode doesn't guard what is done.
//!
//! | step                          | a crash or power cut right after it leaves                   |
//! |-------------------------------|--------------------------------------------------------------|
//! | 1. a note in `aside`          | a note and the mode that it has: the next open deletes it     |
//! | 2. the mode is loosened       | a note and the loosened mode: the next open restores the mode |
//! | 3. the call                   | the same                                                     |
//! | 4. the mode is set back       | as after step 1                                              |
//! | 5. the note is deleted        | nothing                                                      |
//!
//! A note is an empty file `mode.<inode number>.<birth>.<mode>.<loosened mode>`. A mode that was changed after the crash
//! stays as it is.

use std::io;
use std::os::fd::OwnedFd;

use crate::store::Name;
use crate::sys::fs::{self, OpenFlags, Stat};
use crate::sys::fs_type;
use crate::sys::log::OrWarn;

const PREFIX: &str = "mode.";

/// Which mode a file had before it was loosened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub real: u64,
    pub born: u64,
    pub mode: u32,
    pub loosened: u32,
}

impl Note {
    fn name(&self) -> String {
        format!("{PREFIX}{:016x}.{:016x}.{:o}.{:o}", self.real, self.born, self.mode, self.loosened)
    }

    /// The note that a name in the work directory stands for; `None` for any other name, and for a mode above 07777.
    pub fn of_name(name: &[u8]) -> Option<Note> {
        let fields: Vec<&str> = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.split('.').collect();
        let [real, born, mode, loosened] = fields[..] else { return None };
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let octal = |text| u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o7777 == 0);
        Some(Note { real: hex(real)?, born: hex(born)?, mode: octal(mode)?, loosened: octal(loosened)? })
    }

    /// Writes the note. If that fails, a crash in the next moment would leave the loosened mode, and nothing else.
    fn put(&self, aside: &OwnedFd) {
        let put = || -> io::Result<()> {
            let file = fs::open_at(aside, self.name().as_bytes(), OpenFlags::WRONLY | OpenFlags::CREATE, 0o600)?;
            if fs_type::commits_names_in_order(aside) { Ok(()) } else { fs::fsync(&file) }
        };
        if let Err(e) = put() {
            tracing::warn!("cannot note a mode before it is changed for a moment: {e}");
        }
    }

    fn delete(&self, aside: &OwnedFd) {
        // A note that stays holds the mode that the file has: the next open deletes it.
        fs::unlink_at(aside, self.name().as_bytes()).or_warn("the note of a loosened mode stays");
    }
}

/// Whether this name in `aside` is a note: it outlives the server that made it.
pub(super) fn is_note(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

/// Makes a call in a directory, whatever the directory's mode is. Without an `aside` no crash is provided for.
pub(super) fn despite_mode<T>(
    aside: Option<&OwnedFd>,
    dir: &OwnedFd,
    call: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match call() {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
            let stat = fs::stat(dir)?;
            loosened(aside, &stat, 0o700, |mode| fs::chmod_path_fd(dir, mode), call)?.unwrap_or(Err(e))
        }
        done => done,
    }
}

/// Opens a file of ours whose mode keeps us out. The kernel checked the permission when the program
/// opened the file; the mode may have changed since, and what is open stays open.
pub(super) fn open_against_mode(
    aside: Option<&OwnedFd>,
    (dir, name, stat): (&OwnedFd, &Name, &Stat),
    flags: OpenFlags,
) -> io::Result<OwnedFd> {
    let set = |mode| fs::chmod_at(dir, name.bytes(), mode);
    let open = || fs::open_at(dir, name.bytes(), flags, 0);
    match open() {
        // The directory may be what keeps us out.
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => loosened(aside, stat, 0o600, set, open)?.unwrap_or(Err(e)),
        opened => opened,
    }
}

/// Makes a call while a file's mode has some bits more. `None`, and no call, when it has them already, or can't be given them.
fn loosened<T>(
    aside: Option<&OwnedFd>,
    stat: &Stat,
    bits: u32,
    set: impl Fn(u32) -> io::Result<()>,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<Option<io::Result<T>>> {
    let mode = stat.mode & 0o7777;
    let note = Note { real: stat.ino, born: stat.born, mode, loosened: mode | bits };
    if note.loosened == mode {
        return Ok(None);
    }
    aside.inspect(|aside| note.put(aside));
    let done = set(note.loosened).is_ok().then(call);
    if done.is_some() {
        // The note stays for an error.
        set(mode)?;
    }
    aside.inspect(|aside| note.delete(aside));
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_from_its_name() {
        let note = Note { real: 77, born: u64::MAX, mode: 0o4050, loosened: 0o4750 };
        assert_eq!(Note::of_name(note.name().as_bytes()), Some(note));
        assert!(is_note(note.name().as_bytes()) && note.name().len() < 255);
        for wrong in ["mode.", "mode.1.2.3", "mode.1.2.700.70000", "mode.x.2.3.4", "mode.1.2.3.4.5"] {
            assert_eq!(Note::of_name(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
