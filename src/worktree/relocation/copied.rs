//! Single ignored files that a worktree gets as copies (`.env`, a link to `compile_commands.json`): where they hold the
//! source's path, the copy holds the worktree's.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::relocate::{write_file, write_link};
use crate::store::import::PathScan;
use crate::sys::fs::{FileType, Stat};
use crate::sys::{IoError, path};

/// A longer file is copied as it is.
const LONGEST: u64 = 16 << 20;

/// The content, or the target, that the copy of a file of the checkout `source` has in the checkout `to`; `None`: the
/// same as in the source.
///
/// # Errors
/// The file can't be read.
pub fn content_of(file: &Path, source: &Path, to: &Path) -> Result<Option<Vec<u8>>, IoError> {
    Ok(found(file, source, to)?.map(|(content, _)| content))
}

fn found(file: &Path, source: &Path, to: &Path) -> Result<Option<(Vec<u8>, Stat)>, IoError> {
    let Some(watched) = PathScan::new(source.as_os_str().as_bytes()) else { return Ok(None) };
    let (Some(stat), to) = (path::stat(file)?, to.as_os_str().as_bytes()) else { return Ok(None) };
    let content = match stat.kind() {
        FileType::Symlink => watched.relocated_target(&path::read_link(file)?, to),
        FileType::RegularFile if stat.size <= LONGEST => watched.relocated_text(&path::read(file)?, to),
        _ => None,
    };
    Ok(content.map(|content| (content, stat)))
}

/// Relocates a copy that was just made, and keeps its mode and time. Returns whether it held the path.
///
/// # Errors
/// The copy can't be read or replaced.
pub fn relocate(copy: &Path, source: &Path, to: &Path) -> Result<bool, IoError> {
    let Some((content, stat)) = found(copy, source, to)? else { return Ok(false) };
    path::remove_file(copy)?;
    match stat.kind() {
        FileType::Symlink => write_link(copy, &content, stat.mtime)?,
        _ => write_file(copy, &content, stat.mode & 0o777, stat.mtime)?,
    }
    Ok(true)
}
