//! A program that was started (see [`super::invocation`]): fed, read and bounded by one thread, then reaped.
//!
//! poll(2) waits for its outputs, its stdin, its end and a signal to this process, whichever comes first.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::process::{ProcessId, ProcessIdentity};
use super::{interrupt, time};

/// How long a program may take to end after SIGTERM.
const END_TIMEOUT: Duration = Duration::from_secs(3);
/// How often its end is looked for where the kernel has no descriptors of processes.
const TICK: Duration = Duration::from_millis(5);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Killed(i32),
    /// It ran longer than its limit, and was stopped.
    TookTooLong(Duration),
    /// This process received a signal, and the program was stopped.
    Interrupted(i32),
}

impl Ended {
    /// Its exit code is 0.
    pub fn is_success(self) -> bool {
        self == Ended::Code(0)
    }

    /// Its exit code; `None`: it was stopped.
    pub fn code(self) -> Option<i32> {
        match self {
            Ended::Code(code) => Some(code),
            Ended::Killed(_) | Ended::TookTooLong(_) | Ended::Interrupted(_) => None,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "it ended with exit code {code}"),
            Ended::Killed(signal) => write!(f, "it was ended by signal {signal}"),
            Ended::TookTooLong(limit) => write!(f, "it took longer than {}", time::seconds(*limit)),
            Ended::Interrupted(signal) => write!(f, "it was interrupted by signal {signal}"),
        }
    }
}

/// The end of a program, and the part of its output that was to be kept.
#[derive(Debug)]
pub struct Finished {
    pub ended: Ended,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The destination of an output.
pub enum Sink<'a> {
    Null,
    /// The log or terminal of this process.
    Stderr,
    /// The first bytes are kept, the rest is read and dropped.
    Keep(usize),
    /// Each piece goes to a closure. Its error stops the program and is the outcome.
    Pieces(&'a mut dyn FnMut(&[u8]) -> io::Result<()>),
}

/// The way to stop a program that is to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGKILL at once.
    Kill,
    /// SIGTERM to the program, later to its group, then SIGKILL: for a program that ends its children in good order.
    LeaderFirst,
    /// SIGTERM to its group, then SIGKILL.
    Group,
}

/// The rules that a running program is held to.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub limit: Option<Duration>,
    /// A signal to this process stops the program.
    pub is_interruptible: bool,
    pub has_group: bool,
    /// The rest of the group ends with the program.
    pub group_ends: bool,
    pub stop: Stop,
}

/// A program between its start and its end. The program is stopped and reaped when this is dropped early.
pub struct Running<'a> {
    child: Child,
    /// Ready when the program has ended.
    end: Option<OwnedFd>,
    is_over: bool,
    stdin: Option<(ChildStdin, Vec<u8>)>,
    stdout: Output<'a>,
    stderr: Output<'a>,
    rules: Rules,
    until: Option<Instant>,
    is_reaped: bool,
}

struct Output<'a> {
    pipe: Option<Box<dyn ReadFd>>,
    sink: Sink<'a>,
    kept: Vec<u8>,
}

trait ReadFd: Read + AsFd {}
impl<T: Read + AsFd> ReadFd for T {}

/// The descriptors that poll(2) looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Input,
    Output,
    Errors,
    End,
    Signal,
}

impl<'a> Running<'a> {
    /// Takes over a child that was just started: its pipes, and the time limit of `rules`, which begins now. `input` is
    /// written to its standard input, which is then closed; `sinks` are those of its standard output and its standard
    /// error.
    pub(super) fn new(mut child: Child, input: Vec<u8>, sinks: (Sink<'a>, Sink<'a>), rules: Rules) -> Running<'a> {
        let stdin = child.stdin.take().map(|pipe| (pipe, input));
        if let Some((pipe, _)) = &stdin {
            // A pipe that stays blocking is written as well, in the worst case without looking at the outputs meanwhile.
            let _ = rustix::io::ioctl_fionbio(pipe, true);
        }
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn ReadFd>);
        let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn ReadFd>);
        Running {
            end: ProcessIdentity { pid: child.id() as ProcessId, started: None }.watch().ok().flatten(),
            is_over: false,
            stdin,
            stdout: Output { pipe: stdout, sink: sinks.0, kept: Vec::new() },
            stderr: Output { pipe: stderr, sink: sinks.1, kept: Vec::new() },
            until: rules.limit.map(|limit| Instant::now() + limit),
            rules,
            child,
            is_reaped: false,
        }
    }

    /// Waits for its end and for that of its outputs.
    ///
    /// # Errors
    /// A closure's error ([`Sink::Pieces`]), or that of a pipe. The program was stopped.
    pub fn finish(mut self) -> io::Result<Finished> {
        let ended = match self.attend()? {
            Some(stopped) => {
                self.stop();
                stopped
            }
            None => {
                self.is_reaped = true;
                let status = self.child.wait()?;
                status.code().map_or_else(|| Ended::Killed(status.signal().unwrap_or_default()), Ended::Code)
            }
        };
        let (stdout, stderr) = (std::mem::take(&mut self.stdout.kept), std::mem::take(&mut self.stderr.kept));
        Ok(Finished { ended, stdout, stderr })
    }

    /// `None`: it has ended by itself, and its outputs, too.
    fn attend(&mut self) -> io::Result<Option<Ended>> {
        let mut buffer = vec![0; 128 * 1024];
        while self.stdout.pipe.is_some() || self.stderr.pipe.is_some() || !self.is_over {
            let ready = self.wait()?;
            if let Some(signal) = interrupt::raised().filter(|_| self.rules.is_interruptible) {
                return Ok(Some(Ended::Interrupted(signal)));
            }
            for event in &ready {
                match event {
                    Event::Input => self.feed(),
                    Event::Output => self.stdout.read(&mut buffer)?,
                    Event::Errors => self.stderr.read(&mut buffer)?,
                    Event::End | Event::Signal => {}
                }
            }
            if !self.is_over && (ready.contains(&Event::End) || self.end.is_none()) && has_ended(&self.child) {
                self.is_over = true;
                if self.rules.group_ends {
                    // A process that it left in the background may hold the pipes open.
                    interrupt::kill_group(self.child.id());
                }
            }
            if let Some((until, limit)) = self.until.zip(self.rules.limit)
                && Instant::now() >= until
            {
                return Ok(Some(Ended::TookTooLong(limit)));
            }
        }
        Ok(None)
    }

    /// The descriptors that are ready, or none after a while.
    fn wait(&self) -> io::Result<Vec<Event>> {
        let mut fds: Vec<(Event, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(5);
        if let Some((pipe, _)) = &self.stdin {
            fds.push((Event::Input, pipe.as_fd(), PollFlags::OUT));
        }
        for (event, output) in [(Event::Output, &self.stdout), (Event::Errors, &self.stderr)] {
            fds.extend(output.pipe.as_ref().map(|pipe| (event, pipe.as_fd(), PollFlags::IN)));
        }
        fds.extend(self.end.iter().filter(|_| !self.is_over).map(|end| (Event::End, end.as_fd(), PollFlags::IN)));
        if self.rules.is_interruptible {
            fds.extend(interrupt::wake().map(|wake| (Event::Signal, wake, PollFlags::IN)));
        }
        let mut polls: Vec<_> = fds.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = if self.end.is_none() && !self.is_over { Some(left.map_or(TICK, |l| l.min(TICK))) } else { left };
        let left = left.map(|d| Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos().into() });
        match poll(&mut polls, left.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        }
        Ok(fds
            .iter()
            .zip(&polls)
            .filter(|(_, poll)| !poll.revents().is_empty())
            .map(|((event, ..), _)| *event)
            .collect())
    }

    /// Writes as much as the pipe takes. A program may end or close its stdin early: its exit code counts, not this write.
    fn feed(&mut self) {
        let Some((pipe, left)) = &mut self.stdin else { return };
        match pipe.write(left) {
            Ok(n) if n < left.len() => drop(left.drain(..n)),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => self.stdin = None,
        }
    }

    /// Ends the program, and its group if it has one, and reaps it.
    fn stop(&mut self) {
        let (leader, group) = (self.child.id(), self.rules.has_group);
        self.is_reaped = true;
        match self.rules.stop {
            Stop::Kill => {}
            Stop::LeaderFirst => {
                interrupt::terminate(leader);
                if self.ends_soon(group) {
                    return;
                }
                if group {
                    interrupt::terminate_group(leader);
                    if self.ends_soon(group) {
                        return;
                    }
                }
            }
            Stop::Group => {
                interrupt::terminate_group(leader);
                let until = Instant::now() + END_TIMEOUT;
                while Instant::now() < until && !has_ended(&self.child) {
                    std::thread::sleep(TICK);
                }
            }
        }
        if group {
            interrupt::kill_group(leader);
        }
        // It may have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if group && self.rules.stop == Stop::Kill {
            self.ends_soon(group);
        }
    }

    /// Waits for its end, and that of its group if `group`, for a while; `false`: it goes on.
    fn ends_soon(&mut self, group: bool) -> bool {
        let until = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) || (group && interrupt::group_lives(self.child.id())) {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(TICK);
        }
        true
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.stop();
        }
    }
}

impl Output<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let n = match pipe.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            read => read?,
        };
        if n == 0 {
            self.pipe = None;
            return Ok(());
        }
        match &mut self.sink {
            Sink::Null | Sink::Stderr => Ok(()),
            Sink::Keep(limit) => {
                self.kept.extend_from_slice(&buffer[..n.min(limit.saturating_sub(self.kept.len()))]);
                Ok(())
            }
            Sink::Pieces(take) => take(&buffer[..n]),
        }
    }
}

/// Whether a child has ended. It is not reaped, so its number stays its own, and its group's.
fn has_ended(child: &Child) -> bool {
    let Some(pid) = Pid::from_raw(child.id() as i32) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}
