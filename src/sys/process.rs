//! Processes: starting them apart from the caller's terminal and descriptors, waiting with a bound.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::feature::{KernelFeature, is_without};
use super::log::OrWarn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, WaitOptions};

pub(crate) use super::signal::{Ask, ProcessIdentity, Signalled, Signals};

/// The number under which a process that was started here finds the one descriptor it was given.
const GIVEN: i32 = 3;

/// A process id. One from a file is used as a [`ProcessIdentity`]: the process may be gone, and the number another's.
pub type ProcessId = i32;

/// A name for the time since the machine was started, a new one each time; nothing where the kernel doesn't say.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().replace('-', "")).filter(|id| !id.is_empty())
}

/// The name by which ps(1) and messages call this process, of at most 15 bytes: started by a link of /proc, it has that of
/// the link.
pub fn set_name(name: &CStr) {
    nix::sys::prctl::set_name(name).or_debug("the process keeps the name of its file");
}

/// Makes a directory the working directory.
///
/// # Errors
/// It is not there, or may not be entered.
pub fn enter(dir: &Path) -> Result<(), super::IoError> {
    std::env::set_current_dir(dir).map_err(super::IoError::of("go to", dir))
}

/// Starts `program` in a session of its own, with init as its parent: it outlives the caller and leaves no zombie.
/// Of the caller's descriptors it has only `given` (see [`given`]); stdin is empty, output goes to `log`.
pub(crate) fn start_apart(
    program: &Path,
    args: &[&OsStr],
    log: BorrowedFd<'_>,
    given: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut command = command(program, args, log)?;
    let (given, has_close_range) = (given.as_raw_fd(), !is_without(KernelFeature::CloseRange));
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
            give(given, has_close_range)
        })
    };
    command.spawn()?.wait().map(drop)
}

/// Starts `program` as a child with only `given` of the caller's descriptors; its end raises SIGCHLD.
pub(crate) fn start_child(
    program: &Path,
    args: &[&OsStr],
    log: BorrowedFd<'_>,
    given: BorrowedFd<'_>,
) -> io::Result<ProcessId> {
    let mut command = command(program, args, log)?;
    let (given, has_close_range) = (given.as_raw_fd(), !is_without(KernelFeature::CloseRange));
    // SAFETY: `give` makes only async-signal-safe calls.
    unsafe { command.pre_exec(move || give(given, has_close_range)) };
    Ok(command.spawn()?.id() as ProcessId)
}

fn command(program: &Path, args: &[&OsStr], log: BorrowedFd<'_>) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.arg0("depsfs").args(args).current_dir("/").stdin(Stdio::null());
    command.stdout(log.try_clone_to_owned()?).stderr(log.try_clone_to_owned()?);
    Ok(command)
}

/// Puts `fd` at [`GIVEN`] and closes everything above it when exec succeeds.
fn give(fd: i32, has_close_range: bool) -> io::Result<()> {
    // SAFETY: plain system calls on numbers; close_range with CLOEXEC closes nothing yet, so the pipe on which
    // the standard library reports a failing exec stays.
    unsafe {
        let moved = if fd == GIVEN { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, GIVEN) };
        if moved < 0 {
            return Err(io::Error::last_os_error());
        }
        let all = || libc::syscall(libc::SYS_close_range, GIVEN + 1, i32::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0;
        if !has_close_range || !all() {
            // Kernels before 5.11 don't know the flag.
            close_on_exec_above(GIVEN);
        }
    }
    Ok(())
}

/// Marks each descriptor above `last` to be closed by exec, by the list in `/proc/self/fd`; without `/proc`, by number.
/// Makes only async-signal-safe calls, and allocates nothing.
fn close_on_exec_above(last: i32) {
    // As of linux_dirent64: inode u64, offset i64, length u16, type u8, name.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let mark = |fd: i32| {
        if fd > last {
            // SAFETY: a plain system call on a number; that of a closed descriptor is an error, which changes nothing.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    };
    // SAFETY: plain system calls; the kernel writes at most the length of the buffer, and returns how much.
    let dir = unsafe { libc::open(c"/proc/self/fd".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    if dir < 0 {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel fills the structure.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        return (last + 1..limit.rlim_cur.min(1 << 20) as i32).for_each(mark);
    }
    let mut buf = [0_u8; 4096];
    loop {
        // SAFETY: as above.
        let n = unsafe { libc::syscall(libc::SYS_getdents64, dir, buf.as_mut_ptr(), buf.len()) };
        let Ok(n @ 1..) = usize::try_from(n) else { break };
        let mut at = 0;
        while at + NAME < n {
            let name = buf[at + NAME..n].iter().take_while(|byte| byte.is_ascii_digit());
            mark(name.fold(0_i32, |number, byte| number.saturating_mul(10).saturating_add(i32::from(byte - b'0'))));
            at += usize::from(u16::from_ne_bytes([buf[at + LENGTH], buf[at + LENGTH + 1]])).max(NAME);
        }
    }
    // SAFETY: opened above, and known to nobody else. Its number may lie below `last`.
    unsafe { libc::close(dir) };
}

/// The descriptor this process was started with by [`start_apart`] or [`start_child`]; to be taken once.
///
/// # Errors
/// EBADF: the process was started without one.
pub fn given() -> io::Result<OwnedFd> {
    // SAFETY: checked to be open; the process that started this one put it there for us, and nothing else owns it.
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

/// The children that have ended since the last call, with its end in words ("signal 9", "exit code 1").
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

/// Waits until one of `fds` is readable or closed at its other end; returns which are. All `false`: time is up. A
/// signal doesn't end the waiting.
pub(crate) fn wait_any(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
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
///
/// # Errors
/// As pipe2(2).
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
    // SAFETY: both arrays have the layout and length that version 3 of capget(2) requires, and outlive the calls.
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

/// From now on new files get exactly the requested mode.
pub fn clear_umask() {
    rustix::process::umask(rustix::fs::Mode::empty());
}

/// This process.
pub fn id() -> ProcessId {
    std::process::id() as ProcessId
}

/// The descriptor that this process writes its log to.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: the standard library sees to it that number 2 is open, and nothing here closes it.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// The effective user of this process.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_descriptor_above_the_last_is_closed_by_exec_and_no_other() {
        let files: Vec<_> = (0..300).map(|_| std::fs::File::open("/dev/null").expect("it is there")).collect();
        let last = files[100].as_raw_fd();
        let is_marked = |fd: i32| {
            // SAFETY: a plain system call on a number.
            unsafe { libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
        };
        let mut reads = Command::new("sh");
        reads.args(["-c", "ls /proc/self/fd | sort -n | tail -n 1"]);
        // SAFETY: makes only async-signal-safe calls.
        unsafe {
            reads.pre_exec(move || {
                (3..last + 300).for_each(|fd| _ = libc::fcntl(fd, libc::F_SETFD, 0));
                close_on_exec_above(last);
                let all = (3..=last).all(|fd| !is_marked(fd) || libc::fcntl(fd, libc::F_GETFD) < 0);
                let none = (last + 1..last + 150).all(|fd| libc::fcntl(fd, libc::F_GETFD) < 0 || is_marked(fd));
                if all && none { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
            });
        }
        // The list itself is open in `ls` while it is read.
        let output = reads.output().expect("it ran");
        assert!(output.status.success());
        drop(files);
    }
}
