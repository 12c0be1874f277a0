//! Commands of the user's own, run in a shell: with a bound, ended as a whole, their output where the person sees it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{interrupt, process};

/// How long a command that was asked to end may take to do so.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// How often a signal is looked for.
const TICK: Duration = Duration::from_millis(50);
/// No answer that is waited for is longer.
const LONGEST_ANSWER: u64 = 1 << 20;

/// What to run, and how.
pub struct Shell<'a> {
    /// The shell and its arguments; `command` is the last.
    pub shell: &'a [String],
    pub command: &'a str,
    pub dir: &'a Path,
    pub set: &'a [(&'static str, OsString)],
    /// Variables of the caller that it doesn't get.
    pub unset: &'a [&'static str],
    pub limit: Option<Duration>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Killed(i32),
    /// It took longer than it may, and was ended.
    TookTooLong(Duration),
    /// A signal came for this program, and the command was ended.
    Interrupted(i32),
}

impl Ended {
    pub fn words(self) -> String {
        match self {
            Ended::Code(code) => format!("it ended with exit code {code}"),
            Ended::Killed(signal) => format!("it was ended by signal {signal}"),
            Ended::TookTooLong(limit) => format!("it took longer than {} s", limit.as_secs()),
            Ended::Interrupted(signal) => format!("it was interrupted by signal {signal}"),
        }
    }
}

/// Runs it to its end; all it prints goes to stderr.
pub fn run(shell: &Shell<'_>) -> io::Result<Ended> {
    let stdout = process::stderr().try_clone_to_owned()?;
    let mut child = prepare(shell).stdout(Stdio::from(stdout)).spawn()?;
    wait(&mut child, shell.limit)
}

/// Runs it to its end; what it prints on stdout is the answer.
pub fn ask(shell: &Shell<'_>) -> io::Result<(Ended, Vec<u8>)> {
    let mut child = prepare(shell).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().expect("stdout was piped");
    let read = move || {
        let mut answer = Vec::new();
        out.take(LONGEST_ANSWER).read_to_end(&mut answer).map(|_| answer)
    };
    let reader = std::thread::Builder::new().spawn(read).inspect_err(|_| end_group(&mut child))?;
    let ended = wait(&mut child, shell.limit)?;
    // What it left running in the background may hold the pipe open.
    interrupt::kill_group(child.id());
    let answer = reader.join().unwrap_or_else(|_| Ok(Vec::new()))?;
    Ok((ended, answer))
}

/// A process group of its own: it ends as a whole, and a terminal's Ctrl-C reaches it through here only.
fn prepare(shell: &Shell<'_>) -> Command {
    let (program, args) = shell.shell.split_first().expect("a configuration without a shell was refused");
    let mut command = Command::new(program);
    command.args(args).arg(shell.command).current_dir(shell.dir).stdin(Stdio::null()).process_group(0);
    for name in shell.unset {
        command.env_remove(name);
    }
    command.envs(shell.set.iter().map(|(name, value)| (name, value)));
    command
}

fn wait(child: &mut Child, limit: Option<Duration>) -> io::Result<Ended> {
    let until = limit.map(|limit| Instant::now() + limit);
    let end = process::watch(child.id() as process::ProcessId)?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code().map_or_else(|| Ended::Killed(status.signal().unwrap_or_default()), Ended::Code));
        }
        if let Some(signal) = interrupt::raised() {
            end_group(child);
            return Ok(Ended::Interrupted(signal));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            end_group(child);
            return Ok(Ended::TookTooLong(limit.unwrap_or_default()));
        }
        match &end {
            Some(end) => drop(process::wait_any(&[end.as_fd()], Some(TICK))?),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn end_group(child: &mut Child) {
    interrupt::terminate_group(child.id());
    let until = Instant::now() + END_PATIENCE;
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt::kill_group(child.id());
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh() -> Vec<String> {
        ["sh", "-c"].map(str::to_owned).to_vec()
    }

    fn shell<'a>(sh: &'a [String], set: &'a Set, command: &'a str, limit: Option<Duration>) -> Shell<'a> {
        Shell { shell: sh, command, dir: Path::new("/"), set, unset: &["HOME"], limit }
    }

    type Set = [(&'static str, OsString); 1];

    fn set() -> Set {
        [("DEPSFS_A", "b".into())]
    }

    #[test]
    fn a_command_answers_on_stdout_and_its_end_is_told() {
        let (sh, set) = (sh(), set());
        let (ended, answer) = ask(&shell(&sh, &set, "echo $DEPSFS_A$HOME; pwd", None)).unwrap();
        assert_eq!((ended, answer.as_slice()), (Ended::Code(0), &b"b\n/\n"[..]));
        assert_eq!(ask(&shell(&sh, &set, "exit 3", None)).unwrap().0, Ended::Code(3));
        assert_eq!(run(&shell(&sh, &set, "kill -9 $$", None)).unwrap(), Ended::Killed(9));
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
        let (sh, set) = (sh(), set());
        let (limit, begun) = (Duration::from_millis(200), Instant::now());
        let (ended, _) = ask(&shell(&sh, &set, "sleep 100 & sleep 100", Some(limit))).unwrap();
        assert_eq!(ended, Ended::TookTooLong(limit));
        // The answer ends with the last one that could write it.
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(ask(&shell(&sh, &set, "sleep 100 & echo x", None)).unwrap().1, b"x\n");
    }
}
