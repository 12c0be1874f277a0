//! A file of the user that depsfs adds to, and the record by which an uninstall restores it byte for byte.
//!
//! The record lies in the user's state directory, below `hooks/`, one directory for each file:
//!
//! | file     | contents |
//! |----------|----------|
//! | `before` | the file without the part of depsfs; absent if there was no file |
//! | `after`  | the file as depsfs wrote it |
//! | `made`   | the number of directories that were made for it |
//! | `ignored` | the paths that a line was added to `info/exclude` for, a NUL behind each; absent: none |
//!
//! A file that was changed meanwhile is not the one of the record: then the part of depsfs is taken out of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::git::checkout::Checkout;
use crate::git::hooks;
use crate::sys::{IoError, path};
use crate::views::set::id_of;
use crate::worktree::WorktreeError;

/// The files of the record that an uninstall reads to restore the file.
const RESTORED: [&str; 3] = ["before", "after", "made"];
const IGNORED: &str = "ignored";

/// A file and its record.
pub struct KeptFile {
    pub file: PathBuf,
    record: PathBuf,
}

impl KeptFile {
    /// The record of a file, in the user's state directory.
    pub fn new(file: PathBuf, states: &Path) -> KeptFile {
        let record = states.join("hooks").join(id_of(&file));
        KeptFile { file, record }
    }

    /// The bytes now; `None` without a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>, IoError> {
        path::read_if_there(&self.file)
    }

    /// The bytes without the part of depsfs, `stripped` being those that are left when it is taken out. `None` if there
    /// was no file, and none is needed (`is_blank`).
    ///
    /// # Errors
    /// The file or its record cannot be read.
    pub fn before(&self, stripped: Vec<u8>, is_blank: bool) -> Result<Option<Vec<u8>>, IoError> {
        let (before, after) = (self.recorded("before")?, self.recorded("after")?);
        let is_recorded = after.is_some() && after == self.bytes()?;
        Ok(match before {
            Some(before) if is_recorded => Some(before),
            None if is_blank && (after.is_some() || stripped.is_empty()) => None,
            _ => Some(stripped),
        })
    }

    /// Writes the file, and the record first.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub fn put(&self, before: Option<&[u8]>, after: &[u8]) -> Result<(), IoError> {
        path::make_private_dirs(&self.record)?;
        match before {
            Some(before) => path::replace_synced(&self.record.join("before"), before)?,
            None => path::remove_file(&self.record.join("before"))?,
        }
        path::replace_synced(&self.record.join("after"), after)?;
        let parent = self.file.parent().unwrap_or(&self.file);
        let missing = parent.ancestors().take_while(|dir| !path::is_there(dir)).count();
        if missing > 0 {
            path::replace_synced(&self.record.join("made"), missing.to_string().as_bytes())?;
            path::make_dirs(parent)?;
        }
        path::rewrite(&self.file, after)
    }

    /// Puts the bytes back that were there before, or removes the file, with the directories that were made for it.
    ///
    /// # Errors
    /// The file or its record cannot be written.
    pub fn restore(&self, before: Option<&[u8]>) -> Result<(), IoError> {
        match before {
            Some(before) => path::rewrite(&self.file, before)?,
            None => {
                path::remove_file(&self.file)?;
                let made = self.recorded("made")?.and_then(|n| String::from_utf8_lossy(&n).parse::<usize>().ok());
                for dir in self.file.ancestors().skip(1).take(made.unwrap_or(0)) {
                    if !path::list(dir)?.is_empty() {
                        break;
                    }
                    path::remove_dir(dir)?;
                }
            }
        }
        for name in RESTORED {
            path::remove_file(&self.record.join(name))?;
        }
        self.drop_empty_record()
    }

    /// Has git ignore a path below the checkout, and records it if that takes a line in `info/exclude`.
    ///
    /// # Errors
    /// git fails; the list or the record cannot be written.
    pub fn ignore(&self, of: &Checkout, below: &Path) -> Result<(), WorktreeError> {
        // A crash in between leaves a line that no uninstall takes out; the other way round it could be the user's.
        if hooks::exclude(of, below)? {
            let mut paths = self.ignored()?;
            if !paths.iter().any(|path| path == below) {
                paths.push(below.into());
            }
            self.record_ignored(&paths)?;
        }
        Ok(())
    }

    /// Takes the lines of [`KeptFile::ignore`] out of `info/exclude`, and no other; not those that are still needed.
    ///
    /// # Errors
    /// The list or the record cannot be written.
    pub fn include_again(&self, of: &Checkout, is_needed: impl Fn(&Path) -> bool) -> Result<(), IoError> {
        let (needed, rest): (Vec<_>, Vec<_>) = self.ignored()?.into_iter().partition(|path| is_needed(path));
        for below in &rest {
            hooks::include_again(of, below)?;
        }
        if rest.is_empty() { Ok(()) } else { self.record_ignored(&needed) }
    }

    fn ignored(&self) -> Result<Vec<PathBuf>, IoError> {
        let bytes = self.recorded(IGNORED)?.unwrap_or_default();
        let paths = bytes.split(|b| *b == 0).filter(|path| !path.is_empty());
        Ok(paths.map(|path| OsStr::from_bytes(path).into()).collect())
    }

    fn record_ignored(&self, paths: &[PathBuf]) -> Result<(), IoError> {
        let file = self.record.join(IGNORED);
        if paths.is_empty() {
            path::remove_file(&file)?;
            return self.drop_empty_record();
        }
        path::make_private_dirs(&self.record)?;
        let bytes: Vec<u8> = paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect();
        path::replace_synced(&file, &bytes)
    }

    fn drop_empty_record(&self) -> Result<(), IoError> {
        if path::list(&self.record)?.is_empty() { path::remove_dir(&self.record) } else { Ok(()) }
    }

    fn recorded(&self, name: &str) -> Result<Option<Vec<u8>>, IoError> {
        path::read_if_there(&self.record.join(name))
    }
}
