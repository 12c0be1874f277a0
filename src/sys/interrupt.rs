//! Ctrl-C and SIGTERM as something a program can wait for and look at, so that half-done work is undone first.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

static RAISED: AtomicI32 = AtomicI32::new(0);
static WAKE: AtomicI32 = AtomicI32::new(-1);
static PIPE: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP are noted instead of ending the process. Once is enough.
pub fn catch() -> io::Result<()> {
    if PIPE.get().is_none() {
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let pipe = rustix::pipe::pipe_with(flags)?;
        WAKE.store(pipe.1.as_raw_fd(), Ordering::SeqCst);
        let _ = PIPE.set(pipe);
    }
    use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, sigaction};
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for number in [signal::SIGINT, signal::SIGTERM, signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic and calls write(2); both are async-signal-safe.
        unsafe { sigaction(number, &action) }?;
    }
    Ok(())
}

extern "C" fn note(signal: i32) {
    RAISED.store(signal, Ordering::SeqCst);
    // SAFETY: write(2) of one byte from a live stack variable to our own pipe; errno is kept for the interrupted code.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(WAKE.load(Ordering::SeqCst), [0u8].as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// The signal that came since [`catch`], if any.
pub fn raised() -> Option<i32> {
    match RAISED.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// The program received a signal to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by signal {0}")]
pub struct Interrupted(pub i32);

/// # Errors
/// A signal came since [`catch`].
pub fn check() -> Result<(), Interrupted> {
    raised().map_or(Ok(()), |signal| Err(Interrupted(signal)))
}

/// Readable from the first signal on; none without [`catch`].
pub fn wake() -> Option<BorrowedFd<'static>> {
    PIPE.get().map(|(reader, _)| reader.as_fd())
}

/// Asks a child process to end (SIGTERM); one that is gone already is fine.
pub fn terminate(pid: u32) {
    let _ = as_pid(pid).map(|pid| kill_process(pid, Signal::TERM));
}

/// As [`terminate`], for a whole process group, named by its leader.
pub fn terminate_group(leader: u32) {
    let _ = as_pid(leader).map(|pid| kill_process_group(pid, Signal::TERM));
}

/// Ends a process group without asking.
pub fn kill_group(leader: u32) {
    let _ = as_pid(leader).map(|pid| kill_process_group(pid, Signal::KILL));
}

/// Whether anybody is left in a process group.
pub fn group_lives(leader: u32) -> bool {
    as_pid(leader).is_some_and(|pid| test_kill_process_group(pid).is_ok())
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
