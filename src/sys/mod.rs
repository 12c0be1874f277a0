//! The calls of the operating system: files, maps, mounts, processes. The only layer with `unsafe`
//! and raw system calls; stores, views and worktrees do not occur in it.
//!
//! | file | contents |
//! |------|----------|
//! | `fs`, `content`, `metadata`, `xattr`, `path`, `stream` | files: by an open directory, by path, as a stream |
//! | `extent`, `mmap`, `copy`, `temporary`, `descent` | parts of files, maps, copies, files that are renamed into place, deep directories |
//! | `fs_type`, `feature`, `kernel`, `contention` | abilities of file systems and of the kernel, and the load of the machine |
//! | `lock`, `lease`, `single_flight` | locks that end with their holder |
//! | `mount`, `mount_options`, `mountinfo`, `mount_use`, `fusermount` | mounts: made, removed, listed, in use |
//! | `fuse_dev`, `retained`, `readiness` | the FUSE device, requests that outlive a server, waiting for many descriptors |
//! | `namespace` | programs in a mount namespace of their own |
//! | `process`, `proc`, `program`, `inherit`, `signal`, `interrupt`, `watch` | processes: started, looked at, replaced, signalled |
//! | `invocation`, `running`, `shell` | other programs: the one runner, and commands of the user |
//! | `spawn`, `thread` | threads |
//! | `socket`, `local_socket` | messages between keeper and server; sockets in a directory |
//! | `memory` | the allocator |
//! | `log`, `terminal`, `time`, `url` | text for logs and terminals |
//! | `fault` | errors for tests |

mod content;
pub(crate) mod contention;
pub(crate) mod copy;
pub(crate) mod descent;
pub mod extent;
pub(crate) mod fault;
pub mod feature;
pub mod fs;
pub(crate) mod fs_type;
pub(crate) mod fuse_dev;
pub(crate) mod fusermount;
pub(crate) mod inherit;
pub(crate) mod interrupt;
pub(crate) mod invocation;
pub(crate) mod kernel;
pub(crate) mod lease;
pub(crate) mod local_socket;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod memory;
mod metadata;
pub(crate) mod mmap;
pub mod mount;
mod mount_options;
pub mod mount_use;
pub mod mountinfo;
pub mod namespace;
pub mod path;
pub mod proc;
pub mod process;
pub(crate) mod program;
pub(crate) mod readiness;
pub(crate) mod retained;
mod running;
pub(crate) mod shell;
mod signal;
pub(crate) mod single_flight;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stream;
pub(crate) mod temporary;
pub(crate) mod terminal;
pub(crate) mod thread;
pub(crate) mod time;
pub(crate) mod url;
pub(crate) mod watch;
mod xattr;

use std::io;
use std::path::{Path, PathBuf};

use terminal::DisplayName;

/// An error of the kernel in words, without its number.
pub fn reason(e: &io::Error) -> String {
    let mut words = e.to_string();
    while let Some(begin) = words.find(" (os error ")
        && let Some(length) = words[begin..].find(')')
    {
        words.replace_range(begin..=begin + length, "");
    }
    words
}

/// An I/O error with what was being done, and to what.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {}", path.shown(), reason(source))]
pub struct IoError {
    /// The operation, as in "cannot *read* file".
    pub verb: &'static str,
    /// As the caller named it; not always absolute.
    pub path: PathBuf,
    /// Mostly an errno; [`IoError::errno`] has it.
    pub source: io::Error,
}

impl IoError {
    /// Wraps `source`; for `map_err(IoError::of("read", &path))`.
    pub fn of<P: AsRef<Path> + ?Sized>(verb: &'static str, path: &P) -> impl FnOnce(io::Error) -> IoError {
        let path = path.as_ref().to_path_buf();
        move |source| IoError { verb, path, source }
    }

    /// The kernel's error number; EIO for an error that has none.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(libc::EIO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_names_the_path_and_the_reason_and_no_number() {
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        let nested = io::Error::other(format!("cannot write: {}; nor can the log: {}", full(), full()));
        assert_eq!(reason(&nested), "cannot write: No space left on device; nor can the log: No space left on device");
        let error = IoError::of("write", "/a\nb")(full());
        assert_eq!(error.to_string(), "cannot write \"/a\\nb\": No space left on device");
    }
}
