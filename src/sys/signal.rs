//! Signals: sent to the process that is meant, and received as something to wait for.
//!
//! A process id from a file may be another process's by the time it is used. So a descriptor of the process is opened
//! (pidfd_open(2)), then its start time is looked at, and what is sent goes to the descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::feature::{KernelFeature, is_without};
use super::process::{ProcessId, pipe};

/// The signals a daemon acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// SIGHUP: compare with what is wanted.
    Reconcile,
    /// SIGTERM, SIGINT: end.
    End,
    /// SIGKILL.
    Kill,
    /// SIGCONT: go on after having been stopped.
    GoOn,
}

impl Ask {
    fn signal(self) -> Signal {
        match self {
            Ask::Reconcile => Signal::HUP,
            Ask::End => Signal::TERM,
            Ask::Kill => Signal::KILL,
            Ask::GoOn => Signal::CONT,
        }
    }
}

/// A process that may have ended by the time it is used, and whose number may be another's then: one that a file names,
/// or one that was seen a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    pub pid: ProcessId,
    /// When it was started ([`super::proc::started`]). `None`: the process that has the number is meant.
    pub started: Option<u64>,
}

impl ProcessIdentity {
    /// The process that has this number now.
    pub fn now(pid: ProcessId) -> ProcessIdentity {
        ProcessIdentity { pid, started: super::proc::started(pid) }
    }

    /// Sends a signal to the process if it still lives; `false`: it doesn't.
    ///
    /// # Errors
    /// The process belongs to another user.
    pub fn signal(&self, what: Ask) -> io::Result<bool> {
        match self.find()? {
            FoundProcess::Gone => Ok(false),
            FoundProcess::Held(process) => is_there(rustix::process::pidfd_send_signal(process, what.signal())),
            FoundProcess::Number(pid) => is_there(rustix::process::kill_process(pid, what.signal())),
        }
    }

    /// Sends SIGHUP with the number of a file that this process has open. The file has to stay open until the other
    /// process has compared.
    ///
    /// # Errors
    /// The process belongs to another user, or has too many signals queued.
    pub fn signal_with_file(&self, file: BorrowedFd<'_>) -> io::Result<bool> {
        let value = libc::sigval { sival_ptr: file.as_raw_fd() as usize as *mut libc::c_void };
        let done = match self.find()? {
            FoundProcess::Gone => return Ok(false),
            FoundProcess::Held(process) => send_value(process.as_fd(), libc::SIGHUP, value),
            // SAFETY: a plain system call; the value is a number, which the receiver takes for nothing else.
            FoundProcess::Number(_) => unsafe { libc::sigqueue(self.pid, libc::SIGHUP, value) },
        };
        match done {
            0 => Ok(true),
            _ => match io::Error::last_os_error() {
                e if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
                e => Err(e),
            },
        }
    }

    /// A descriptor that becomes readable when the process ends; `None` when it is gone already.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn watch(&self) -> io::Result<Option<OwnedFd>> {
        let started = || self.started.or_else(|| super::proc::started(self.pid));
        match self.find()? {
            FoundProcess::Gone => Ok(None),
            FoundProcess::Held(process) => Ok(Some(process)),
            FoundProcess::Number(_) => watch_by_looking(self.pid, started()).map(Some),
        }
    }

    fn find(&self) -> io::Result<FoundProcess> {
        let Some(raw) = Pid::from_raw(self.pid) else { return Ok(FoundProcess::Gone) };
        let opened = match is_without(KernelFeature::Pidfd) {
            true => Err(rustix::io::Errno::NOSYS),
            false => rustix::process::pidfd_open(raw, PidfdFlags::empty()),
        };
        // Looked at after the descriptor was opened: if it is the one that is meant, so is the descriptor.
        let is_another = || {
            let now = super::proc::started(self.pid);
            now.is_none() || self.started.is_some_and(|then| now != Some(then))
        };
        match opened {
            Ok(_) if is_another() => Ok(FoundProcess::Gone),
            Ok(process) => Ok(FoundProcess::Held(process)),
            Err(rustix::io::Errno::SRCH) => Ok(FoundProcess::Gone),
            // Before Linux 5.3, or a filter of system calls (seccomp(2)).
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) if is_another() => Ok(FoundProcess::Gone),
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => Ok(FoundProcess::Number(raw)),
            Err(e) => Err(e.into()),
        }
    }
}

/// sigqueue(3) by a descriptor of the process (pidfd_send_signal(2)).
fn send_value(process: BorrowedFd<'_>, signal: i32, value: libc::sigval) -> i32 {
    // The beginning of siginfo_t as the kernel has it for a queued signal: signal, errno, code, padding, pid, uid, value.
    #[repr(C)]
    struct Queued {
        signal: i32,
        errno: i32,
        code: i32,
        #[cfg(target_pointer_width = "64")]
        _padding: i32,
        pid: i32,
        uid: u32,
        value: libc::sigval,
    }
    // SAFETY: siginfo_t is plain old data, larger than `Queued` and at least as aligned; the kernel only reads it.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let queued = (&raw mut info).cast::<Queued>();
        (*queued).signal = signal;
        (*queued).code = libc::SI_QUEUE;
        (*queued).pid = libc::getpid();
        (*queued).uid = libc::getuid();
        (*queued).value = value;
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, &raw const info, 0) as i32
    }
}

fn is_there(sent: rustix::io::Result<()>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// A process by its number.
enum FoundProcess {
    /// There is none, or another has the number by now.
    Gone,
    /// It is this one and stays so.
    Held(OwnedFd),
    /// It is there, and may be another the next moment: descriptors of processes can't be had.
    Number(Pid),
}

/// A pipe whose other end a thread closes when it no longer sees the process.
fn watch_by_looking(pid: ProcessId, started: Option<u64>) -> io::Result<OwnedFd> {
    const EVERY: Duration = Duration::from_millis(20);
    let (end, ours) = pipe()?;
    let look = move || {
        let is_there =
            || super::proc::started(pid).is_some_and(|now| started == Some(now) && !super::proc::is_dead(pid));
        let is_awaited = || {
            let mut polls = [PollFd::from_borrowed_fd(ours.as_fd(), PollFlags::empty())];
            poll(&mut polls, Some(&Timespec::default())).is_ok_and(|n| n == 0)
        };
        while is_there() && is_awaited() {
            std::thread::sleep(EVERY);
        }
    };
    std::thread::Builder::new().name("watch".into()).stack_size(64 * 1024).spawn(look)?;
    Ok(end)
}

/// Signals as something to wait for: a descriptor in place of handlers.
pub struct Signals(nix::sys::signalfd::SignalFd);

/// A signal that was received.
#[derive(Debug)]
pub enum Signalled {
    /// With the file that the sender has named, if it did and if the file may be opened.
    Reconcile(Option<OwnedFd>),
    End,
    ChildEnded,
}

impl Signals {
    /// Blocks SIGHUP, SIGTERM, SIGINT and SIGCHLD for this thread and those it starts, and takes them here
    /// instead. Programs that are started get the usual mask back (the standard library sees to it).
    pub fn take_over() -> io::Result<Signals> {
        use nix::sys::signal::{SigSet, Signal};
        use nix::sys::signalfd::{SfdFlags, SignalFd};
        let mut set = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Every kind of signal that came since the last call.
    pub(crate) fn drain(&self) -> io::Result<Vec<Signalled>> {
        let mut came = Vec::new();
        while let Some(info) = self.0.read_signal()? {
            came.push(match info.ssi_signo as i32 {
                libc::SIGHUP if info.ssi_code == libc::SI_QUEUE => {
                    Signalled::Reconcile(file_of(info.ssi_pid, info.ssi_ptr as u32))
                }
                libc::SIGHUP => Signalled::Reconcile(None),
                libc::SIGCHLD => Signalled::ChildEnded,
                _ => Signalled::End,
            });
        }
        Ok(came)
    }
}

/// The file that another process of this user has open under a number.
fn file_of(pid: u32, number: u32) -> Option<OwnedFd> {
    let path = format!("/proc/{pid}/fd/{number}");
    rustix::fs::open(path, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty()).ok()
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sys::proc;
    use crate::sys::process::wait_any;

    #[test]
    fn a_signal_reaches_the_process_that_was_meant_and_no_other_with_its_number() {
        let mut child = Command::new("sleep").arg("100").spawn().expect("sleep is there");
        let pid = child.id() as ProcessId;
        let started = proc::started(pid).expect("it runs");
        let another = ProcessIdentity { pid, started: Some(started + 1) };
        let file = std::fs::File::open("/dev/null").expect("it is there");
        assert!(!another.signal(Ask::Kill).expect("sent"));
        assert!(!another.signal_with_file(file.as_fd()).expect("sent"));
        assert!(another.watch().expect("looked up").is_none());
        assert!(child.try_wait().expect("ours").is_none(), "it lives");
        let process = ProcessIdentity::now(pid);
        let end = process.watch().expect("looked up").expect("it runs");
        let by_looking = watch_by_looking(pid, Some(started)).expect("a thread");
        assert_eq!(wait_any(&[end.as_fd(), by_looking.as_fd()], Some(Duration::ZERO)).expect("polled"), [false, false]);
        assert!(process.signal(Ask::Kill).expect("sent"));
        let limit = Some(Duration::from_secs(10));
        assert!(wait_any(&[end.as_fd()], limit).expect("polled")[0]);
        assert!(wait_any(&[by_looking.as_fd()], limit).expect("polled")[0], "also before it was reaped");
        child.wait().expect("ours");
        assert!(!process.signal(Ask::Kill).expect("sent"));
    }

    #[test]
    fn a_queued_signal_by_a_descriptor_of_the_process_brings_its_value() {
        let mut child = Command::new("sleep").arg("100").spawn().expect("sleep is there");
        let file = std::fs::File::open("/dev/null").expect("it is there");
        let pid = child.id() as ProcessId;
        assert!(ProcessIdentity::now(pid).signal_with_file(file.as_fd()).expect("sent"));
        let status = child.wait().expect("ours");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGHUP));
    }
}
