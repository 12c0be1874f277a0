//! Commands of the user's own, run in a shell: with a bound, ended as a whole, their output where the person sees it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::invocation::{Invocation, Sink, Stop};

pub(crate) use super::invocation::Ended;

/// No answer that is waited for is longer.
const LONGEST_ANSWER: usize = 1 << 20;

/// A command for a shell, with its directory and environment.
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

/// Runs it to its end; all it prints goes to stderr.
pub fn run(shell: &Shell<'_>) -> io::Result<Ended> {
    let mut it = prepare(shell);
    it.stdout(Sink::Stderr).own_group();
    Ok(it.run()?.ended)
}

/// Runs it to its end; what it prints on stdout is the answer. The begin of what it prints on stderr is added to
/// `messages`.
///
/// # Errors
/// It cannot be started, or its answer is longer than 1 MiB ([`io::ErrorKind::FileTooLarge`]).
pub fn ask(shell: &Shell<'_>, messages: &mut Vec<u8>) -> io::Result<(Ended, Vec<u8>)> {
    let mut answer = Vec::new();
    let mut take = |piece: &[u8]| {
        if answer.len() + piece.len() > LONGEST_ANSWER {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        answer.extend_from_slice(piece);
        Ok(())
    };
    let mut it = prepare(shell);
    let mut note = |piece: &[u8]| {
        messages.extend_from_slice(&piece[..piece.len().min(LONGEST_ANSWER.saturating_sub(messages.len()))]);
        Ok(())
    };
    it.stdout(Sink::Pieces(&mut take)).stderr(Sink::Pieces(&mut note)).group_that_ends();
    let ended = it.run()?.ended;
    Ok((ended, answer))
}

/// A process group of its own: it ends as a whole, and a terminal's Ctrl-C reaches it through here only.
fn prepare<'a>(shell: &Shell<'_>) -> Invocation<'a> {
    let (program, args) = shell.shell.split_first().expect("a configuration without a shell was refused");
    let mut it = Invocation::new(program);
    it.args(args).arg(shell.command).dir(shell.dir).stderr(Sink::Stderr);
    it.limit(shell.limit).interruptible().stop(Stop::Group);
    for name in shell.unset {
        it.env_remove(name);
    }
    for (name, value) in shell.set {
        it.env(name, value);
    }
    it
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
        let (ended, answer) = ask(&shell(&sh, &set, "echo $DEPSFS_A$HOME; pwd", None), &mut Vec::new()).unwrap();
        assert_eq!((ended, answer.as_slice()), (Ended::Code(0), &b"b\n/\n"[..]));
        assert_eq!(ask(&shell(&sh, &set, "exit 3", None), &mut Vec::new()).unwrap().0, Ended::Code(3));
        assert_eq!(run(&shell(&sh, &set, "kill -9 $$", None)).unwrap(), Ended::Killed(9));
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
        let (sh, set) = (sh(), set());
        let (limit, begun) = (Duration::from_millis(200), Instant::now());
        let (ended, _) = ask(&shell(&sh, &set, "sleep 100 & sleep 100", Some(limit)), &mut Vec::new()).unwrap();
        assert_eq!(ended, Ended::TookTooLong(limit));
        // The answer ends with the last one that could write it.
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(ask(&shell(&sh, &set, "sleep 100 & echo x", None), &mut Vec::new()).unwrap().1, b"x\n");
    }
    #[test]
    fn an_answer_without_end_is_an_error_and_not_a_part_of_it() {
        let (sh, set) = (sh(), set());
        let failed = ask(&shell(&sh, &set, "while :; do echo more; done", None), &mut Vec::new()).expect_err("refused");
        assert_eq!(failed.kind(), io::ErrorKind::FileTooLarge);
    }
}
