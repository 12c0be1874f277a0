//! Descriptors that a process leaves to the program which it becomes (execve(2)): the same process, by another program.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The number of a descriptor that goes along.
pub type Number = i32;

/// The descriptors that go along. Dropped, as after an exec that failed, everything is closed on exec again.
#[derive(Default)]
pub struct Bequest(BTreeSet<Number>);

impl Bequest {
    /// Lets a descriptor go along, under the number that is returned. It has to stay open until then.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn add(&mut self, fd: BorrowedFd<'_>) -> io::Result<Number> {
        let number = fd.as_raw_fd();
        set_flags(number, 0)?;
        self.0.insert(number);
        Ok(number)
    }

    /// Becomes another program, with the environment, the process id, the children, the blocked and the pending signals
    /// of this one. Returns when that fails.
    pub fn become_program(self, program: &Path, args: &[&OsStr]) -> io::Error {
        let word = |word: &OsStr| CString::new(word.as_bytes());
        let words: Result<Vec<CString>, _> = args.iter().map(|arg| word(arg)).collect();
        let (Ok(program), Ok(words)) = (word(program.as_os_str()), words) else {
            return io::ErrorKind::InvalidInput.into();
        };
        let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        // SAFETY: both are NUL-terminated, the list ends with a null pointer, and all of it outlives the call. The standard
        // library's `exec` would unblock signals, of which one that is pending would end the process.
        unsafe { libc::execv(program.as_ptr(), pointers.as_ptr()) };
        io::Error::last_os_error()
    }
}

impl Drop for Bequest {
    fn drop(&mut self) {
        for number in &self.0 {
            // One that was closed meanwhile needs nothing.
            drop(set_flags(*number, libc::FD_CLOEXEC));
        }
    }
}

/// The descriptors that the program before has left: each descriptor can be taken once.
#[derive(Default)]
pub struct Inheritance(BTreeSet<Number>);

impl Inheritance {
    /// Takes a descriptor by its number.
    ///
    /// # Errors
    /// It is not open, one of the three standard ones, or was taken already.
    pub fn take(&mut self, number: Number) -> io::Result<OwnedFd> {
        if number <= libc::STDERR_FILENO || !self.0.insert(number) {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        set_flags(number, libc::FD_CLOEXEC)?;
        // SAFETY: it is open, was left to this program by the one before, and is taken for the first time.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }
}

fn set_flags(number: Number, flags: i32) -> io::Result<()> {
    // SAFETY: a plain system call on a number; that of a closed descriptor is an error, which changes nothing.
    match unsafe { libc::fcntl(number, libc::F_SETFD, flags) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn flags(number: Number) -> i32 {
        // SAFETY: a plain system call on a number.
        unsafe { libc::fcntl(number, libc::F_GETFD) }
    }

    #[test]
    fn what_goes_along_is_open_after_exec_and_closed_by_the_next_one_when_exec_failed() {
        let file = std::fs::File::open("/dev/null").expect("it is there");
        let mut bequest = Bequest::default();
        let number = bequest.add(file.as_fd()).expect("it is open");
        assert_eq!(flags(number), 0);
        let failed = bequest.become_program(Path::new("/nowhere/at/all"), &[OsStr::new("depsfs")]);
        assert_eq!((failed.kind(), flags(number)), (io::ErrorKind::NotFound, libc::FD_CLOEXEC));
    }

    #[test]
    fn a_descriptor_is_taken_once_and_a_standard_one_or_a_closed_one_never() {
        let number = std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open("/dev/null").expect("it is there"));
        let mut left = Inheritance::default();
        let _owned = left.take(number).expect("it is open");
        for number in [number, 2, -1, 1 << 20] {
            assert_eq!(left.take(number).expect_err("refused").raw_os_error(), Some(libc::EBADF), "{number}");
        }
    }
}
