//! Whether any process has a file open for writing, by a lease (`fcntl(2)`, F_SETLEASE).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// The command that sets the signal for a lease that is to be broken (`fcntl.h`).
const F_SETSIG: libc::c_int = 10;

/// While it is held, no process has the file open for writing, nor mapped so: not by any path, not beneath a mount.
/// An open for writing waits until it is dropped.
#[derive(Debug)]
pub struct ReadLease {
    file: Arc<OwnedFd>,
}

impl ReadLease {
    /// `None` if a process has the file open for writing. `file` is open for reading only.
    ///
    /// # Errors
    /// EACCES for a file of another user's; EINVAL if the file system has no leases.
    pub fn take(file: Arc<OwnedFd>) -> io::Result<Option<ReadLease>> {
        // The kernel sends a signal if the lease is broken, and SIGIO would end the process: SIGURG is ignored.
        control(&file, F_SETSIG, libc::SIGURG)?;
        match control(&file, libc::F_SETLEASE, libc::F_RDLCK) {
            Ok(_) => Ok(Some(ReadLease { file })),
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// No process waits to write.
    pub fn stands(&self) -> bool {
        control(&self.file, libc::F_GETLEASE, 0).is_ok_and(|kind| kind == libc::F_RDLCK)
    }
}

impl Drop for ReadLease {
    fn drop(&mut self) {
        // A lease that stays because of an error ends with the descriptor.
        let _ = control(&self.file, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn control(file: &OwnedFd, command: libc::c_int, value: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: the descriptor is open, and none of these commands takes a pointer.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, value) } {
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::{OpenFlags, open_path};

    #[test]
    fn a_lease_is_had_when_nobody_writes_and_falls_when_somebody_wants_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        let open = |flags| open_path(&path, flags | OpenFlags::NONBLOCK | OpenFlags::CREATE, 0o644);
        let take = || ReadLease::take(Arc::new(open(OpenFlags::RDONLY).expect("opened"))).expect("asked");
        let writer = open(OpenFlags::WRONLY).expect("opened");
        assert!(take().is_none());
        drop(writer);
        let lease = take().expect("nobody writes");
        open(OpenFlags::RDONLY).expect("readers are no matter");
        assert!(lease.stands());
        let refused = open(OpenFlags::WRONLY).expect_err("it has to wait");
        assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN));
        assert!(!lease.stands());
        drop(lease);
        open(OpenFlags::WRONLY).expect("free again");
    }
}
