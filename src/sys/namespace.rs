//! A program in a mount namespace of its own, in which directories and files lie at further paths.
//!
//! The steps are prepared before the fork, and the child only makes system calls: `unshare(2)`, `mount(2)`,
//! `open_tree(2)` and `move_mount(2)` (Linux 5.2). Without `CAP_SYS_ADMIN` a user namespace allows them
//! (user_namespaces(7)), in which the user keeps the own uid and gid. The capabilities of that namespace are gone after
//! the exec, as the uid is not 0. Mounts and unmounts of the outer namespace propagate into it.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::invocation::is_absent;
use super::{interrupt, process};

/// One system call, or a few of them, with their arguments.
enum NamespaceStep {
    Unshare,
    /// A file of /proc or of the tmpfs gets these bytes.
    Write(CString, Vec<u8>),
    Slave,
    Tmpfs(CString),
    Directory(CString),
    /// Keeps a copy of the mounts at a path, for a later [`NamespaceStep::Attach`].
    Keep(CString),
    /// Mounts the kept copy.
    Attach(CString),
    /// Both, for a file or directory that is there until then.
    Bind(CString, CString),
    Enter(CString),
}

/// The steps that make a namespace, in their order.
pub struct Namespace {
    steps: Vec<NamespaceStep>,
    is_of_user: bool,
}

/// A step that failed, or the program that could not be started.
#[derive(Debug)]
pub struct NamespaceError {
    /// Words with a verb: `mount /a at /b`.
    pub step: String,
    /// The errno of the step.
    pub source: io::Error,
    /// It is the user namespace that is refused, and the setting that allows it, as far as one is known.
    pub forbidden: Option<&'static str>,
}

impl Namespace {
    /// An empty one: of root directly, of another user in a user namespace. `in_user_namespace` selects the latter.
    pub fn new(in_user_namespace: bool) -> Namespace {
        let is_of_user = in_user_namespace || !rustix::process::geteuid().is_root();
        let mut steps = vec![NamespaceStep::Unshare];
        if is_of_user {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let map = |file: &str, text: String| NamespaceStep::Write(c_path(Path::new(file)), text.into_bytes());
            // A user without privileges may map the own gid only where setgroups(2) is denied (user_namespaces(7)).
            steps.push(map("/proc/self/setgroups", "deny".into()));
            steps.push(map("/proc/self/uid_map", format!("{uid} {uid} 1")));
            steps.push(map("/proc/self/gid_map", format!("{gid} {gid} 1")));
        }
        steps.push(NamespaceStep::Slave);
        Namespace { steps, is_of_user }
    }

    /// An empty file system in memory.
    pub fn tmpfs(&mut self, at: &Path) {
        self.steps.push(NamespaceStep::Tmpfs(c_path(at)));
    }

    /// A directory of that file system.
    pub fn make_dir(&mut self, at: &Path) {
        self.steps.push(NamespaceStep::Directory(c_path(at)));
    }

    /// A file of that file system.
    pub fn make_file(&mut self, at: &Path, content: Vec<u8>) {
        self.steps.push(NamespaceStep::Write(c_path(at), content));
    }

    /// Keeps what is at a path, with all mounts below, until [`Namespace::attach`]: steps between may cover it.
    pub fn keep(&mut self, from: &Path) {
        self.steps.push(NamespaceStep::Keep(c_path(from)));
    }

    /// Mounts the kept tree.
    pub fn attach(&mut self, at: &Path) {
        self.steps.push(NamespaceStep::Attach(c_path(at)));
    }

    /// Mounts `from` at `to` as well, with all mounts below.
    pub fn bind(&mut self, from: &Path, to: &Path) {
        self.steps.push(NamespaceStep::Bind(c_path(from), c_path(to)));
    }

    /// The working directory.
    pub fn enter(&mut self, dir: &Path) {
        self.steps.push(NamespaceStep::Enter(c_path(dir)));
    }

    /// Starts a program in it, with this process's descriptors 0 to 2, terminal and process group.
    ///
    /// # Errors
    /// The step that failed, or the exec: nothing runs.
    pub fn start(
        self,
        command: &[OsString],
        set: &[(&str, &OsStr)],
        unset: &[&str],
    ) -> Result<Started, NamespaceError> {
        let (program, args) = command.split_first().expect("a command has a program");
        let mut it = Command::new(program);
        it.args(args).envs(set.iter().copied());
        for name in unset {
            it.env_remove(name);
        }
        let none = |source| NamespaceError { step: "make a pipe".into(), source, forbidden: None };
        let (report, reporter) = process::pipe().map_err(none)?;
        let is_of_user = self.is_of_user;
        let steps = self.steps;
        let described: Vec<String> = steps.iter().map(NamespaceStep::words).collect();
        // SAFETY: the closure only makes system calls with arguments that are there already, and allocates nothing.
        unsafe { it.pre_exec(move || run(&steps, is_of_user, reporter.as_fd())) };
        match it.spawn() {
            Ok(child) => Ok(Started(child)),
            Err(source) => {
                let is_absent = source.kind() == io::ErrorKind::PermissionDenied && is_absent(&it);
                // The closure holds the writing end.
                drop(it);
                let mut number = [0; 4];
                let failed = std::fs::File::from(report).read_exact(&mut number).ok();
                let failed = failed.and_then(|()| described.get(u32::from_le_bytes(number) as usize));
                // The error of the exec, where a directory of PATH is closed to this user.
                let source = match failed {
                    None if is_absent => io::Error::from_raw_os_error(libc::ENOENT),
                    _ => source,
                };
                let step = failed.cloned().unwrap_or_else(|| format!("start {}", program.to_string_lossy()));
                let is_refused = is_of_user && failed.is_some() && is_refusal(&source);
                Err(NamespaceError { step, source, forbidden: is_refused.then(setting) })
            }
        }
    }
}

/// A program in a namespace.
pub struct Started(Child);

/// The end of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It ended by itself, with this exit code.
    Code(u8),
    /// This signal ended it.
    Signal(i32),
}

impl Started {
    /// Waits for its end. Signals that are caught meanwhile ([`interrupt::catch`]) are sent on, except those that the
    /// terminal has sent to both.
    ///
    /// # Errors
    /// waitpid(2), poll(2) or pidfd_open(2) failed.
    pub fn wait(&mut self) -> io::Result<CommandEnd> {
        ignore_quit()?;
        let ended = process::ProcessIdentity { pid: self.0.id() as process::ProcessId, started: None }.watch()?;
        if let (Some(ended), Some(wake)) = (ended, interrupt::wake()) {
            while !process::wait_any(&[ended.as_fd(), wake], None)?.first().is_some_and(|is_ready| *is_ready) {
                let _ = rustix::io::read(wake, &mut [0; 64]);
                if let Some(signal) = interrupt::raised().filter(|s| *s != libc::SIGINT || !has_terminal()) {
                    send(self.0.id(), signal);
                }
            }
        }
        let status = self.0.wait()?;
        Ok(match status.signal() {
            Some(signal) => CommandEnd::Signal(signal),
            None => CommandEnd::Code(status.code().unwrap_or(1) as u8),
        })
    }
}

impl NamespaceStep {
    fn words(&self) -> String {
        let text = |path: &CString| path.to_string_lossy().into_owned();
        match self {
            NamespaceStep::Unshare => "make a mount namespace".into(),
            NamespaceStep::Write(at, _) => format!("write {}", text(at)),
            NamespaceStep::Slave => "take the mounts over".into(),
            NamespaceStep::Tmpfs(at) => format!("mount a tmpfs at {}", text(at)),
            NamespaceStep::Directory(at) => format!("make {}", text(at)),
            NamespaceStep::Keep(at) => format!("open the mounts of {}", text(at)),
            NamespaceStep::Attach(at) => format!("mount the repository at {}", text(at)),
            NamespaceStep::Bind(from, to) => format!("mount {} at {}", text(from), text(to)),
            NamespaceStep::Enter(at) => format!("change to {}", text(at)),
        }
    }
}

/// Between fork and exec: no allocation.
fn run(steps: &[NamespaceStep], is_of_user: bool, reporter: BorrowedFd<'_>) -> io::Result<()> {
    let mut kept = None;
    for (n, step) in steps.iter().enumerate() {
        if let Err(e) = one(step, is_of_user, &mut kept) {
            // Four bytes fit into an empty pipe.
            let _ = rustix::io::write(reporter, &(n as u32).to_le_bytes());
            return Err(e);
        }
    }
    Ok(())
}

fn one(step: &NamespaceStep, is_of_user: bool, kept: &mut Option<OwnedFd>) -> io::Result<()> {
    match step {
        NamespaceStep::Unshare => {
            let flags = libc::CLONE_NEWNS | if is_of_user { libc::CLONE_NEWUSER } else { 0 };
            // SAFETY: numbers only; the process has one thread.
            if unsafe { libc::unshare(flags) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        NamespaceStep::Write(at, bytes) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            let file = rustix::fs::open(at.as_c_str(), flags, Mode::from_raw_mode(0o644))?;
            if rustix::io::write(&file, bytes)? != bytes.len() {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        NamespaceStep::Slave => {
            let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            rustix::mount::mount_change(c"/", flags)?;
        }
        NamespaceStep::Tmpfs(at) => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            rustix::mount::mount(c"depsfs", at.as_c_str(), c"tmpfs", flags, Some(c"mode=0755,size=16m"))?;
        }
        NamespaceStep::Directory(at) => rustix::fs::mkdir(at.as_c_str(), Mode::from_raw_mode(0o755))?,
        NamespaceStep::Keep(from) => *kept = Some(tree(from)?),
        NamespaceStep::Attach(to) => attach(kept.as_ref().ok_or(io::ErrorKind::NotFound)?, to)?,
        NamespaceStep::Bind(from, to) => attach(&tree(from)?, to)?,
        NamespaceStep::Enter(dir) => rustix::process::chdir(dir.as_c_str())?,
    }
    Ok(())
}

/// A copy of the mounts at a path.
fn tree(from: &CString) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    Ok(rustix::mount::open_tree(CWD, from.as_c_str(), flags)?)
}

fn attach(tree: &OwnedFd, to: &CString) -> io::Result<()> {
    Ok(rustix::mount::move_mount(tree, c"", CWD, to.as_c_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn is_refusal(e: &io::Error) -> bool {
    let refusals = [libc::EPERM, libc::EACCES, libc::ENOSPC, libc::EUSERS, libc::EINVAL, libc::ENOSYS];
    e.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}

/// The remedy: the setting that forbids user namespaces here.
fn setting() -> &'static str {
    let holds = |file: &str, value: &str| std::fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    if holds("/proc/sys/user/max_user_namespaces", "0") {
        "sudo sysctl user.max_user_namespaces=15000 allows them"
    } else if holds("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sudo sysctl kernel.unprivileged_userns_clone=1 allows them"
    } else if holds("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0 allows them, or an AppArmor profile with userns for depsfs"
    } else {
        "a sandbox or container forbids them: its seccomp profile has to allow unshare and mount"
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// Ends this process by the signal that has ended its child, so that a shell sees the same. Returns if it cannot.
pub fn end_by(signal: i32) {
    let Ok(signal) = nix::sys::signal::Signal::try_from(signal) else { return };
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // The core file of the child is enough.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // SAFETY: the default action needs no handler.
    let _ = unsafe { sigaction(signal, &default) };
    let _ = nix::sys::signal::raise(signal);
}

/// Ctrl-\ is the child's, which the terminal sends it to as well. Called after the start: the child does not inherit it.
fn ignore_quit() -> io::Result<()> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: there is no handler.
    unsafe { sigaction(Signal::SIGQUIT, &ignore) }?;
    Ok(())
}

/// Whether the terminal sends its signals to this process's group, and with that to the child.
fn has_terminal() -> bool {
    // SAFETY: numbers only; a descriptor that is no terminal is an error.
    unsafe { libc::tcgetpgrp(libc::STDIN_FILENO) == libc::getpgrp() }
}

/// Sends a signal to a process that is this one's child and not reaped yet.
fn send(pid: u32, signal: i32) {
    // SAFETY: numbers only.
    unsafe { libc::kill(pid as i32, signal) };
}
