//! Waiting until something in a directory is replaced (inotify(7)).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;

use super::IoError;

/// Becomes readable when a file is renamed into the directory.
pub struct Watch(OwnedFd);

impl Watch {
    /// Watches one directory, not those below it (inotify(7)). A file that is there already does not make it readable;
    /// one that is written in place doesn't either.
    pub fn renames_into(dir: &Path) -> Result<Watch, IoError> {
        let make = || {
            let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            inotify::add_watch(&fd, dir, inotify::WatchFlags::MOVED_TO)?;
            Ok(Watch(fd))
        };
        make().map_err(|e: rustix::io::Errno| IoError::of("watch", dir)(e.into()))
    }

    /// Forgets what has happened so far.
    pub fn clear(&self) -> io::Result<()> {
        let mut buf = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buf);
        loop {
            match reader.next() {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
