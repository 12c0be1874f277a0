//! Which build of depsfs a daemon's servers run: a newer one replaces the server of a living daemon, in place.
//!
//! A client that requests a comparison names its own program by an open descriptor of it, which travels in the
//! signal: a path could be another's by the time it is read.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::sys::fs::{self, OpenFlags, open_path};
use crate::sys::{IoError, process};

/// A file that is a depsfs program.
pub struct Program {
    file: OwnedFd,
    build: String,
}

impl Program {
    /// The program at a path, or at a link in /proc. Its file stays open, so that a later one at the path is another
    /// program.
    pub fn open(path: &Path) -> Result<Program, IoError> {
        let file = open_path(path, OpenFlags::PATH, 0).map_err(IoError::of("open", path))?;
        Program::of(file).map_err(IoError::of("look at", path))
    }

    /// The one that this process runs, also after its file was replaced or deleted.
    pub fn this() -> Result<Program, IoError> {
        Program::open(Path::new("/proc/self/exe"))
    }

    /// As [`Program::open`], of an open file (O_PATH is enough).
    pub fn of(file: OwnedFd) -> std::io::Result<Program> {
        let s = fs::stat(&file)?;
        Ok(Program { build: format!("{}:{}:{}:{}.{}", s.dev, s.ino, s.size, s.mtime.sec, s.mtime.nsec), file })
    }

    /// Differs between builds, and between copies of one.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// A path by which children of this process can run it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.file.as_raw_fd()).into()
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
