//! Processes: starting them apart from the caller's terminal and descriptors, signals, waiting with a bound.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions};

/// The number under which a process that was started here finds the one descriptor it was given.
const GIVEN: i32 = 3;

/// A process id, as it stands in a state file: it may be gone, or another's by now.
pub type ProcessId = i32;

/// A name for the time since the machine was started, a new one each time; nothing where the kernel doesn't say.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().replace('-', "")).filter(|id| !id.is_empty())
}

/// Starts `program` in a session of its own, as nobody's child: it outlives the caller and leaves no zombie.
/// Of the caller's descriptors it has only `given` (see [`given`]); stdin is empty, output goes to `log`.
pub fn start_apart(program: &Path, args: &[&OsStr], log: BorrowedFd<'_>, given: BorrowedFd<'_>) -> io::Result<()> {
    let mut command = command(program, args, log)?;
    let given = given.as_raw_fd();
    // SAFETY: the closure makes only async-signal-safe calls, as between fork and exec they must be: the
    // intermediate process, which is the caller's child, ends at once; the one after it goes on to exec.
    unsafe {
        command.pre_exec(move || {
            match libc::fork() {
                -1 => return Err(io::Error::last_os_error()),
                0 => {}
                _ => libc::_exit(0),
            }
            rustix::process::setsid()?;
            give(given)
        })
    };
    command.spawn()?.wait().map(drop)
}

/// Starts `program` as a child with only `given` of the caller's descriptors; its end raises SIGCHLD.
pub fn start_child(
    program: &Path,
    args: &[&OsStr],
    log: BorrowedFd<'_>,
    given: BorrowedFd<'_>,
) -> io::Result<ProcessId> {
    let mut command = command(program, args, log)?;
    let given = given.as_raw_fd();
    // SAFETY: `give` makes only async-signal-safe calls.
    unsafe { command.pre_exec(move || give(given)) };
    Ok(command.spawn()?.id() as ProcessId)
}

fn command(program: &Path, args: &[&OsStr], log: BorrowedFd<'_>) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.arg0("depsfs").args(args).current_dir("/").stdin(Stdio::null());
    command.stdout(log.try_clone_to_owned()?).stderr(log.try_clone_to_owned()?);
    Ok(command)
}

/// What a program writes to stdout; an error when it fails, or takes longer than `limit` and was killed for it.
pub fn output(program: &Path, args: &[&str], limit: Duration) -> io::Result<String> {
    let said = run(program, args, limit)?;
    match said.status.success() {
        true => Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned()),
        false => Err(io::Error::other(String::from_utf8_lossy(&said.stderr).trim().to_owned())),
    }
}

/// As [`output`], whatever its exit code is.
pub fn answer(program: &Path, args: &[&str], limit: Duration) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&run(program, args, limit)?.stdout).trim().to_owned())
}

fn run(program: &Path, args: &[&str], limit: Duration) -> io::Result<std::process::Output> {
    let mut command = Command::new(program);
    command.args(args).current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let end = watch(child.id() as ProcessId)?;
    if let Some(end) = end
        && !wait_any(&[end.as_fd()], Some(limit))?[0]
    {
        let _ = child.kill();
        let _ = child.wait();
        return Err(io::ErrorKind::TimedOut.into());
    }
    // What it said fits into a pipe, or it wouldn't have ended.
    child.wait_with_output()
}

/// Puts `fd` at [`GIVEN`] and closes everything above it when exec succeeds.
fn give(fd: i32) -> io::Result<()> {
    // SAFETY: plain system calls on numbers; close_range with CLOEXEC closes nothing yet, so the pipe on which
    // the standard library reports a failing exec stays.
    unsafe {
        let moved = if fd == GIVEN { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, GIVEN) };
        if moved < 0 || libc::syscall(libc::SYS_close_range, GIVEN + 1, i32::MAX, libc::CLOSE_RANGE_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The descriptor this process was started with by [`start_apart`] or [`start_child`]; to be taken once.
pub fn given() -> io::Result<OwnedFd> {
    // SAFETY: checked to be open; whoever started this process put it there for us, and nothing else owns it.
    unsafe {
        if libc::fcntl(GIVEN, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(GIVEN))
    }
}

/// Lets `fd` stay open in the program that `command` starts, under the same number.
pub(super) fn keep_open(command: &mut Command, fd: BorrowedFd<'_>) {
    let fd = fd.as_raw_fd();
    // SAFETY: one fcntl in the forked child.
    unsafe {
        command.pre_exec(move || match libc::fcntl(fd, libc::F_SETFD, 0) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        })
    };
}

/// The children that have ended since the last call, with what is to be said of it ("signal 9", "exit code 1").
pub fn reap() -> Vec<(ProcessId, String)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let how = match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => continue,
        };
        ended.push((pid.as_raw_nonzero().get(), how));
    }
    ended
}

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

/// Sends a signal; `false` when there is no such process.
pub fn ask(pid: ProcessId, what: Ask) -> io::Result<bool> {
    let signal = match what {
        Ask::Reconcile => Signal::HUP,
        Ask::End => Signal::TERM,
        Ask::Kill => Signal::KILL,
        Ask::GoOn => Signal::CONT,
    };
    let Some(pid) = Pid::from_raw(pid) else { return Ok(false) };
    match rustix::process::kill_process(pid, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// As [`ask`] to compare, naming a file that this process has open: it has to stay so until the other has done it.
pub fn ask_with_file(pid: ProcessId, file: BorrowedFd<'_>) -> io::Result<bool> {
    let value = libc::sigval { sival_ptr: file.as_raw_fd() as usize as *mut libc::c_void };
    // SAFETY: a plain system call; the value is a number, which the receiver takes for nothing else.
    match unsafe { libc::sigqueue(pid, libc::SIGHUP, value) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            e => Err(e),
        },
    }
}

/// A descriptor that becomes readable when the process ends; `None` when it is gone already.
pub fn watch(pid: ProcessId) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Waits until one of `fds` is readable or closed at its other end; says which are. All `false`: time is up. A signal
/// doesn't end the waiting.
pub fn wait_any(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polls: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let until = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|d| Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos().into() });
        match poll(&mut polls, left.as_ref()) {
            Ok(_) => return Ok(polls.iter().map(|p| !p.revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// A pipe, closed on exec: the reading end, the writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Raises the number of descriptors this process may have open to what it is allowed at most.
pub fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // Being refused leaves the lower limit, with which everything works, only for fewer files at once.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// From now on this thread, and those it starts, are held to quotas (`CAP_SYS_RESOURCE`, capabilities(7)): what root
/// does for others must be refused as it would be to them. Nothing for an ordinary user, who is held to them anyway.
pub fn respect_quotas() {
    const VERSION_3: u32 = 0x2008_0522;
    const SYS_RESOURCE: u32 = 1 << 24;
    let header = [VERSION_3, 0];
    // Effective, permitted, inheritable; twice, for 64 bits.
    let mut sets = [0_u32; 6];
    // SAFETY: both arrays have the layout and length that version 3 of capget(2) asks for, and outlive the calls.
    unsafe {
        if libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) == 0 {
            sets[0] &= !SYS_RESOURCE;
            libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr());
        }
    }
}

/// From now on a big allocation is fresh pages of the kernel, whose zeros cost nothing until they are touched. By
/// itself, glibc puts the next one into its heap once one has been freed, and then writes the zeros (mallopt(3),
/// "dynamic mmap threshold"): 16 MiB for the buffer of each FUSE connection, twice.
pub fn allocate_big_from_kernel() {
    // SAFETY: mallopt only sets a parameter of the allocator; 1 MiB is within what the threshold may be.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20)
    };
}

/// From now on new files get exactly the mode they are asked for.
pub fn clear_umask() {
    rustix::process::umask(rustix::fs::Mode::empty());
}

/// This process.
pub fn id() -> ProcessId {
    std::process::id() as ProcessId
}

/// Where this process writes its log.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: the standard library sees to it that number 2 is open, and nothing here closes it.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// The effective user of this process.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Signals as something to wait for: a descriptor in place of handlers.
pub struct Signals(nix::sys::signalfd::SignalFd);

/// What came.
#[derive(Debug)]
pub enum Signalled {
    /// With the file that the sender has named, if it has and if it may be looked at.
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
    pub fn drain(&self) -> io::Result<Vec<Signalled>> {
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

/// What another process of this user has open under a number.
fn file_of(pid: u32, number: u32) -> Option<OwnedFd> {
    let path = format!("/proc/{pid}/fd/{number}");
    rustix::fs::open(path, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty()).ok()
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
