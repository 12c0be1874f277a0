//! The one runner of other programs (git, curl, fusermount3, a shell): arguments, environment, input, bounds.
//!
//! Programs that stay after their start (the keeper, the server) are started in [`super::process`] instead.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub use super::running::Stop;
pub(crate) use super::running::{Ended, Finished, Running, Sink};

use super::running::Rules;
use super::{path as paths, process};

/// The whole output is kept.
pub const ALL: usize = usize::MAX;

/// As much of an output is kept as an answer in words.
const LONGEST_ANSWER: usize = 1 << 20;

/// A program that is to be run. As long as nothing else is set: with this process's environment and directory, an empty
/// stdin, no outputs, no limit; signals to this process do not stop it.
pub struct Invocation<'a> {
    command: Command,
    input: Option<Vec<u8>>,
    stdout: Sink<'a>,
    stderr: Sink<'a>,
    rules: Rules,
}

impl<'a> Invocation<'a> {
    /// A name without a slash is looked for in PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Invocation<'a> {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        let rules =
            Rules { limit: None, is_interruptible: false, has_group: false, group_ends: false, stop: Stop::Kill };
        Invocation { command, input: None, stdout: Sink::Null, stderr: Sink::Null, rules }
    }

    /// One more argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.command.args(args);
        self
    }

    /// Its working directory.
    pub fn dir(&mut self, dir: &Path) -> &mut Self {
        self.command.current_dir(dir);
        self
    }

    /// A variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    /// A variable of this process that it does not get.
    pub fn env_remove(&mut self, name: &str) -> &mut Self {
        self.command.env_remove(name);
        self
    }

    /// The bytes that it reads from stdin: unlike an argument, no other user sees them.
    pub fn input(&mut self, bytes: Vec<u8>) -> &mut Self {
        self.command.stdin(Stdio::piped());
        self.input = Some(bytes);
        self
    }

    /// The file that it reads as stdin.
    pub fn input_file(&mut self, file: OwnedFd) -> &mut Self {
        self.command.stdin(file);
        self
    }

    /// The destination of its stdout.
    pub fn stdout(&mut self, sink: Sink<'a>) -> &mut Self {
        self.stdout = sink;
        self
    }

    /// The destination of its stderr.
    pub fn stderr(&mut self, sink: Sink<'a>) -> &mut Self {
        self.stderr = sink;
        self
    }

    /// It is stopped after this time.
    pub fn limit(&mut self, limit: Option<Duration>) -> &mut Self {
        self.rules.limit = limit;
        self
    }

    /// A signal to this process ([`super::interrupt::catch`]) stops it.
    pub fn interruptible(&mut self) -> &mut Self {
        self.rules.is_interruptible = true;
        self
    }

    /// It leads a process group of its own: a terminal's Ctrl-C does not reach it, and it cannot read from the terminal.
    pub fn own_group(&mut self) -> &mut Self {
        self.command.process_group(0);
        self.rules.has_group = true;
        self
    }

    /// As [`Self::own_group`], and what is left of the group is killed when the program has ended.
    pub fn group_that_ends(&mut self) -> &mut Self {
        self.rules.group_ends = true;
        self.own_group()
    }

    /// The way to stop it early, if that has to be.
    pub fn stop(&mut self, stop: Stop) -> &mut Self {
        self.rules.stop = stop;
        self
    }

    /// `fd` stays open in the program, under the same number.
    pub fn keep_open(&mut self, fd: BorrowedFd<'_>) -> &mut Self {
        process::keep_open(&mut self.command, fd);
        self
    }

    /// Starts it; [`Running::finish`] waits for its end.
    ///
    /// # Errors
    /// That of the start: it is not there, it cannot be executed, no process can be had.
    pub fn start(mut self) -> io::Result<Running<'a>> {
        self.command.stdout(stdio(&self.stdout)?).stderr(stdio(&self.stderr)?);
        let child = self.command.spawn().map_err(|e| match e.kind() {
            // execvp(3) has this errno for every absent program if this user may not search a directory of PATH.
            io::ErrorKind::PermissionDenied if is_absent(&self.command) => io::Error::from_raw_os_error(libc::ENOENT),
            _ => e,
        })?;
        Ok(Running::new(child, self.input.unwrap_or_default(), (self.stdout, self.stderr), self.rules))
    }

    /// Runs it to its end, and to that of its outputs.
    ///
    /// # Errors
    /// As of [`Self::start`] and [`Running::finish`].
    pub fn run(self) -> io::Result<Finished> {
        self.start()?.finish()
    }
}

/// Whether the program is a name that no directory of its PATH is seen to have.
pub(super) fn is_absent(command: &Command) -> bool {
    let name = command.get_program();
    let own = command.get_envs().find(|(variable, _)| *variable == "PATH");
    let path = own.map_or_else(|| std::env::var_os("PATH"), |(_, path)| path.map(OsStr::to_owned)).unwrap_or_default();
    !name.as_bytes().contains(&b'/')
        && !std::env::split_paths(&path).any(|dir| matches!(paths::stat(&dir.join(name)), Ok(Some(_))))
}

fn stdio(sink: &Sink<'_>) -> io::Result<Stdio> {
    Ok(match sink {
        Sink::Null => Stdio::null(),
        Sink::Stderr => process::stderr().as_fd().try_clone_to_owned()?.into(),
        Sink::Keep(_) | Sink::Pieces(_) => Stdio::piped(),
    })
}

/// The stdout of a program; an error if it fails, or if it took longer than `limit` and was killed for it.
pub fn output(program: &Path, args: &[&str], limit: Duration) -> io::Result<String> {
    let finished = run(program, args, limit)?;
    match finished.ended.is_success() {
        true => Ok(text(&finished.stdout)),
        false => Err(io::Error::other(text(&finished.stderr))),
    }
}

/// As [`output`], whatever its exit code is.
pub fn answer(program: &Path, args: &[&str], limit: Duration) -> io::Result<String> {
    Ok(text(&run(program, args, limit)?.stdout))
}

fn run(program: &Path, args: &[&str], limit: Duration) -> io::Result<Finished> {
    let mut it = Invocation::new(program);
    it.args(args)
        .dir(Path::new("/"))
        .stdout(Sink::Keep(LONGEST_ANSWER))
        .stderr(Sink::Keep(LONGEST_ANSWER))
        .limit(Some(limit));
    match it.run()? {
        Finished { ended: Ended::TookTooLong(_), .. } => Err(io::ErrorKind::TimedOut.into()),
        finished => Ok(finished),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sh<'a>(script: &str) -> Invocation<'a> {
        let mut sh = Invocation::new("sh");
        sh.args(["-c", script]).stderr(Sink::Keep(ALL));
        sh
    }

    #[test]
    fn output_arrives_in_pieces_and_errors_and_exit_code_at_the_end() {
        let mut got = Vec::new();
        let mut take = |piece: &[u8]| {
            got.extend_from_slice(piece);
            Ok(())
        };
        let mut both = sh("printf one; printf 'first\\nlast\\n' >&2; printf two; exit 3");
        both.stdout(Sink::Pieces(&mut take));
        let finished = both.run().expect("ran");
        assert_eq!((finished.ended, finished.stderr.as_slice()), (Ended::Code(3), &b"first\nlast\n"[..]));
        assert_eq!(got, b"onetwo");
        assert_eq!(sh("kill -9 $$").run().expect("ran").ended, Ended::Killed(9));
        let absent = Invocation::new("no-such-program-anywhere").run().expect_err("absent");
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_absent_program_is_absent_also_where_a_directory_of_path_is_closed_and_a_forbidden_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (closed, open) = (dir.path().join("closed"), dir.path().join("open"));
        let kind = |name: &str| {
            let mut program = Invocation::new(name);
            program.env("PATH", std::env::join_paths([&closed, &open]).expect("no colon"));
            program.run().expect_err("it does not start").kind()
        };
        paths::make_dirs(&closed).and_then(|()| paths::make_dirs(&open)).expect("made");
        std::fs::write(open.join("forbidden"), "").expect("written");
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("closed");
        assert_eq!(kind("no-such-program"), io::ErrorKind::NotFound);
        assert_eq!(kind("forbidden"), io::ErrorKind::PermissionDenied);
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("open again");
    }

    #[test]
    fn a_program_whose_output_is_refused_is_stopped() {
        let refuse = &mut |_: &[u8]| Err(io::ErrorKind::StorageFull.into());
        let mut endless = sh("while :; do echo more; done");
        endless.stdout(Sink::Pieces(refuse));
        assert_eq!(endless.run().expect_err("refused").kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_long_input_and_a_long_output_do_not_wait_for_each_other() {
        let bytes: Vec<u8> = (0..3_u32 << 20).map(|n| (n % 251) as u8).collect();
        let mut cat = Invocation::new("cat");
        cat.input(bytes.clone()).stdout(Sink::Keep(ALL));
        assert!(cat.run().expect("ran").stdout == bytes);
        let mut head = sh("head -c 5");
        head.input(bytes.clone()).stdout(Sink::Keep(ALL));
        assert_eq!(head.run().expect("ran").stdout, bytes[..5]);
        let mut kept = Invocation::new("cat");
        kept.input(bytes.clone()).stdout(Sink::Keep(7));
        assert_eq!(kept.run().expect("ran").stdout, bytes[..7]);
    }

    #[test]
    fn a_program_that_takes_too_long_is_stopped_with_its_group_and_every_process_of_it() {
        let limit = Duration::from_millis(200);
        for stop in [Stop::Kill, Stop::LeaderFirst, Stop::Group] {
            let begun = Instant::now();
            let mut long = sh("sleep 100 & sleep 100");
            long.stdout(Sink::Keep(ALL)).limit(Some(limit)).own_group().stop(stop);
            assert_eq!(long.run().expect("ran").ended, Ended::TookTooLong(limit), "{stop:?}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{stop:?}");
        }
        let mut closed = sh("exec >&- 2>&-; sleep 100");
        closed.stdout(Sink::Keep(ALL)).limit(Some(limit));
        assert_eq!(closed.run().expect("ran").ended, Ended::TookTooLong(limit));
    }

    #[test]
    fn a_process_left_in_the_background_ends_with_its_group_and_holds_no_output_open() {
        let mut left = sh("sleep 100 & echo x");
        left.stdout(Sink::Keep(ALL)).group_that_ends();
        assert_eq!(left.run().expect("ran").stdout, b"x\n");
    }
}
