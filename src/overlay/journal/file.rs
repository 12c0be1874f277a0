//! The journal's file as such: its header, its making and replacing, and the copy that is kept of a damaged one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::format::{HEADER, JournalError, NEWER, VERSION};
use crate::sys::fs::{self, OpenFlags, RenameFlags};
use crate::sys::temporary::{Leftover, TemporaryFile};
use crate::sys::{IoError, fs_type, path as paths};

const MAGIC: &[u8; 8] = b"depsfsJ\n";
/// The version of a header without a journal: the journal is in the upper (`state_dir.rs`).
pub const ELSEWHERE: u32 = 2;
/// The prefix of the name of a damaged journal's copy.
pub const DAMAGED: &str = "journal.damaged";

/// The first bytes of a journal of this format version; the reserved ones are zero.
pub(super) fn header_of(version: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&version.to_le_bytes());
    out
}

/// The whole file that marks that the journal is elsewhere.
pub fn elsewhere() -> [u8; HEADER] {
    header_of(ELSEWHERE)
}

fn version_in(header: &[u8]) -> u32 {
    u32::from_le_bytes([header[8], header[9], header[10], header[11]])
}

/// The version of a journal that begins with these bytes.
pub(super) fn check_header(bytes: &[u8], path: &Path) -> Result<u32, JournalError> {
    if !bytes.starts_with(MAGIC) || bytes.len() < HEADER || bytes[12..HEADER] != [0; 4] {
        return Err(JournalError::NotAJournal { path: path.into() });
    }
    match version_in(bytes) {
        version @ (VERSION | NEWER) => Ok(version),
        version => Err(JournalError::Version { path: path.into(), version }),
    }
}

/// The version in the header of the journal in `dir`; none when there is none. `path` names the directory in errors.
///
/// # Errors
/// The file cannot be read, or is no journal.
pub fn version(dir: &OwnedFd, path: &Path) -> Result<Option<u32>, JournalError> {
    let path = path.join("journal");
    let file = match fs::open_at(dir, b"journal", OpenFlags::RDONLY, 0) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(IoError::of("open", &path))?,
    };
    let mut bytes = [0; HEADER];
    let read = fs::read_at(&file, &mut bytes, 0).map_err(IoError::of("read", &path))?;
    // Opening the journal finds any other damage.
    let is_whole = read == HEADER && bytes.starts_with(MAGIC);
    Ok(Some(if is_whole { version_in(&bytes) } else { VERSION }))
}

/// Makes the journal of `from`, as it is, that of `to`, too; its bytes are on disk then.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy(from: &OwnedFd, to: &OwnedFd, path: &Path) -> Result<(), JournalError> {
    let path = path.join("journal");
    let file = fs::open_at(from, b"journal", OpenFlags::RDONLY, 0).map_err(IoError::of("open", &path))?;
    put(to, &path, &contents(&file, &path)?).map(drop)
}

/// All bytes of an open journal, header included, from offset 0. `path` is for the error alone.
pub(super) fn contents(file: &OwnedFd, path: &Path) -> Result<Vec<u8>, JournalError> {
    let size = fs::stat(file).map_err(IoError::of("read", path))?.size;
    let mut bytes = vec![0; size as usize];
    let read = fs::read_at(file, &mut bytes, 0).map_err(IoError::of("read", path))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Opens the journal in `dir`, or makes an empty file.
pub(super) fn open(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, JournalError> {
    match fs::open_at(dir, b"journal", OpenFlags::RDWR, 0) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        file => return Ok(file.map_err(IoError::of("open", path))?),
    }
    let flags = OpenFlags::RDWR | OpenFlags::CREATE;
    let file = fs::open_at(dir, b"journal", flags, 0o600).map_err(IoError::of("create", path))?;
    fs_type::write_in_place(&file);
    Ok(file)
}

/// Replaces the journal in `dir` by these bytes, which are on disk then.
pub(super) fn put(dir: &OwnedFd, path: &Path, bytes: &[u8]) -> Result<OwnedFd, JournalError> {
    let aside = path.with_extension("new");
    // Half of one would take the room that is wanted.
    let new = TemporaryFile::make(dir.as_fd(), b"journal.new", 0o600, Leftover::Reuse)
        .map_err(IoError::of("create", &aside))?;
    fs_type::write_in_place(new.file());
    fs::write_all_at(new.file(), bytes, 0).map_err(IoError::of("write", &aside))?;
    fs::fdatasync(new.file()).map_err(IoError::of("sync", &aside))?;
    Ok(new.rename(dir, b"journal", RenameFlags::empty()).map_err(IoError::of("replace", path))?)
}

/// Keeps `bytes`, a whole damaged journal, in the directory `dir`, on disk. No earlier copy is touched. Gives its path.
pub(super) fn keep_damaged(dir: &Path, bytes: &[u8]) -> Result<PathBuf, JournalError> {
    for n in 1.. {
        let path = dir.join(if n == 1 { DAMAGED.into() } else { format!("{DAMAGED}.{n}") });
        if let Some(copy) = paths::write_new(&path, bytes)? {
            fs::fsync(&copy).map_err(IoError::of("sync", &path)).inspect_err(|_| drop(paths::remove_file(&path)))?;
            return Ok(path);
        }
        // The same damage, found again: nothing could be written since.
        if paths::read(&path).is_ok_and(|earlier| earlier == bytes) {
            return Ok(path);
        }
    }
    unreachable!("one of the names is free")
}
