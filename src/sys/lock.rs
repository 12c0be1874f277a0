//! Locks that the kernel gives back when their holder dies (`flock(2)`): none can outlive a crash.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::FlockOperation as Op;

/// A held lock; dropping it (or dying) releases it. A process that was given a duplicate of its descriptor
/// holds it on.
#[derive(Debug)]
pub struct Lock {
    /// The descriptor's last close releases the lock.
    file: OwnedFd,
}

impl Lock {
    /// Waits until no other process holds `file` exclusively.
    pub fn shared(file: OwnedFd) -> io::Result<Lock> {
        wait(&file, Op::LockShared)?;
        Ok(Lock { file })
    }

    /// Waits until no other process holds `file`.
    pub fn exclusive(file: OwnedFd) -> io::Result<Lock> {
        wait(&file, Op::LockExclusive)?;
        Ok(Lock { file })
    }

    /// The shared lock, or nothing while another process holds `file` exclusively.
    pub fn try_shared(file: OwnedFd) -> io::Result<Option<Lock>> {
        attempt(file, Op::NonBlockingLockShared)
    }

    /// The exclusive lock, or nothing while another process holds `file`.
    pub fn try_exclusive(file: OwnedFd) -> io::Result<Option<Lock>> {
        attempt(file, Op::NonBlockingLockExclusive)
    }

    /// One of 2⁶² locks that a file has, each with a number, or nothing while another process holds that one
    /// (`fcntl(2)`, F_OFD_SETLK: also given back when the last descriptor is closed). `file` is open for writing, and
    /// holds no other lock.
    pub fn try_numbered(file: OwnedFd, number: u64) -> io::Result<Option<Lock>> {
        let (l_type, l_whence) = (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
        let lock = libc::flock { l_type, l_whence, l_start: (number >> 2) as i64, l_len: 1, l_pid: 0 };
        // SAFETY: the descriptor is open while `file` is owned; the kernel only reads the structure.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
            0 => Ok(Some(Lock { file })),
            _ => match io::Error::last_os_error() {
                e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(None),
                e => Err(e),
            },
        }
    }

    /// The lock that a descriptor holds already, as the program had it which this process was before.
    pub(crate) fn inherited(file: OwnedFd) -> Lock {
        Lock { file }
    }

    /// Replaces the content of the lock's file, which names the holder for other processes.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        // In this order it needs no room where there was a text before.
        super::fs::write_at(&self.file, text, 0)?;
        super::fs::truncate(&self.file, text.len() as u64)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn attempt(file: OwnedFd, how: Op) -> io::Result<Option<Lock>> {
    match rustix::fs::flock(&file, how) {
        Ok(()) => Ok(Some(Lock { file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn wait(file: impl AsFd, how: Op) -> io::Result<()> {
    loop {
        match rustix::fs::flock(&file, how) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::{OpenFlags, open_path};

    #[test]
    fn a_number_is_locked_by_one_at_a_time_and_others_are_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || open_path(&dir.path().join("turns"), OpenFlags::RDWR | OpenFlags::CREATE, 0o644).expect("opened");
        let take = |number| Lock::try_numbered(open(), number).expect("asked");
        let (one, two) = (take(u64::MAX).expect("free"), take(0).expect("free"));
        assert!(take(u64::MAX).is_none() && take(0).is_none());
        drop(one);
        assert!(take(u64::MAX).is_some() && take(0).is_none());
        drop(two);
    }

    #[test]
    fn a_lock_stands_until_the_last_duplicate_of_its_descriptor_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || open_path(&dir.path().join("lock"), OpenFlags::RDWR | OpenFlags::CREATE, 0o644).expect("opened");
        let one = Lock::shared(open()).expect("locked");
        let two = Lock::try_shared(open()).expect("asked").expect("shared");
        assert!(Lock::try_exclusive(open()).expect("asked").is_none());
        drop((one, two));
        let alone = Lock::try_exclusive(open()).expect("asked").expect("free now");
        let given_away = alone.as_fd().try_clone_to_owned().expect("duplicated");
        drop(alone);
        assert!(Lock::try_shared(open()).expect("asked").is_none());
        drop(given_away);
        assert!(Lock::try_shared(open()).expect("asked").is_some());
    }
}
