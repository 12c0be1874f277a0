//! A file that is written under a temporary name and then renamed: a reader of its name sees all of it, or nothing.
//!
//! | step                          | a crash right after it leaves                                    |
//! |-------------------------------|------------------------------------------------------------------|
//! | 1. it is made and written     | the temporary name, which its directory's owner removes          |
//! | 2. it is synced, if requested | the same                                                         |
//! | 3. it is renamed              | the whole file, after step 2 also if the power was cut           |

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs as rfs;

use super::fs::{self, OpenFlags, RenameFlags};

/// The handling of a file that has the temporary name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Fail: nothing else has the name, unless it is in use.
    Refuse,
    /// Write over it: an earlier process left it.
    Reuse,
}

/// A file without its final name. Dropping it removes it.
#[derive(Debug)]
pub struct TemporaryFile<'a> {
    dir: BorrowedFd<'a>,
    name: Vec<u8>,
    /// `None`: it was renamed.
    file: Option<OwnedFd>,
}

impl<'a> TemporaryFile<'a> {
    /// Makes an empty file, to be read and written.
    ///
    /// # Errors
    /// That of openat(2).
    pub fn make(dir: BorrowedFd<'a>, name: &[u8], mode: u32, leftover: Leftover) -> io::Result<TemporaryFile<'a>> {
        let how = if leftover == Leftover::Refuse { OpenFlags::EXCL } else { OpenFlags::TRUNC };
        let file = fs::open_at(dir, name, OpenFlags::RDWR | OpenFlags::CREATE | how, mode)?;
        Ok(TemporaryFile { dir, name: name.to_owned(), file: Some(file) })
    }

    /// The file.
    pub fn file(&self) -> &OwnedFd {
        self.file.as_ref().expect("a renamed file is given back, and this with it")
    }

    /// Gives the file its final name, in the directory `to`, and gives the file back.
    ///
    /// # Errors
    /// That of renameat2(2). The file is removed.
    pub fn rename(mut self, to: impl AsFd, name: &[u8], flags: RenameFlags) -> io::Result<OwnedFd> {
        fs::rename_at(self.dir, &self.name, to, name, flags)?;
        Ok(self.file.take().expect("it was not renamed before"))
    }
}

impl TemporaryFile<'static> {
    /// As [`Self::make`], by its path.
    ///
    /// # Errors
    /// That of openat(2).
    pub fn at(path: &Path, mode: u32, leftover: Leftover) -> io::Result<TemporaryFile<'static>> {
        TemporaryFile::make(rfs::CWD, path.as_os_str().as_bytes(), mode, leftover)
    }

    /// As [`Self::rename`], by its path; a file that has the name is replaced.
    ///
    /// # Errors
    /// That of renameat(2). The file is removed.
    pub fn rename_to(self, path: &Path) -> io::Result<()> {
        self.rename(rfs::CWD, path.as_os_str().as_bytes(), RenameFlags::empty()).map(drop)
    }
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // It stays under a name that its directory's owner removes.
            let _ = fs::unlink_at(self.dir, &self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::path;

    #[test]
    fn a_file_has_its_name_with_all_its_bytes_or_leaves_nothing() {
        let temp = tempfile::tempdir().expect("a directory");
        let (aside, to) = (temp.path().join("aside"), temp.path().join("file"));
        let file = TemporaryFile::at(&aside, 0o644, Leftover::Refuse).expect("made");
        fs::write_all_at(file.file(), b"whole", 0).expect("written");
        let refused = TemporaryFile::at(&aside, 0o644, Leftover::Refuse).expect_err("it is there");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(!path::is_there(&to));
        file.rename_to(&to).expect("named");
        assert_eq!(path::read(&to).expect("read"), b"whole");

        drop(TemporaryFile::at(&aside, 0o644, Leftover::Refuse).expect("made"));
        assert!(!path::is_there(&aside));
        let unnamed = TemporaryFile::at(&aside, 0o644, Leftover::Refuse).expect("made");
        unnamed.rename_to(&temp.path().join("none/file")).expect_err("there is no such directory");
        assert!(!path::is_there(&aside));

        path::replace(&aside, b"left by a crash").expect("written");
        TemporaryFile::at(&aside, 0o644, Leftover::Refuse).expect_err("it is there");
        let reused = TemporaryFile::at(&aside, 0o644, Leftover::Reuse).expect("made");
        assert_eq!(fs::stat(reused.file()).expect("looked at").size, 0);
    }
}
