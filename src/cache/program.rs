//! The programs that reach a remote (curl, ssh, aws): run to their end, their output taken piece by piece.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use crate::sys::invocation::{Ended, Invocation, Sink};

/// As many bytes of a program's stderr are kept.
const LONGEST_WORDS: usize = 16 * 1024;

/// The stdin of a program.
pub(super) enum Input {
    Empty,
    /// Unlike an argument, no other user sees it.
    Text(String),
    File(OwnedFd),
}

/// The end of a program that was neither stopped nor interrupted.
pub(super) struct ProgramEnd {
    /// `None`: by a signal.
    pub code: Option<i32>,
    stderr: String,
}

impl ProgramEnd {
    /// Its exit code is 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// The last line of its stderr, or its exit code.
    pub fn words(&self) -> String {
        let last = self.stderr.lines().rev().find(|l| !l.trim().is_empty());
        match (last, self.code) {
            (Some(line), _) => line.trim().into(),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "ended by a signal".into(),
        }
    }
}

/// Runs a program to its end; `take` gets each piece of its stdout.
///
/// # Errors
/// It cannot be started; `take` failed; [`io::ErrorKind::Interrupted`] after a signal to this process. In the last two
/// cases the program was stopped.
pub(super) fn run(
    program: &str,
    args: &[OsString],
    input: Input,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<ProgramEnd> {
    let mut it = Invocation::new(program);
    it.args(args).stdout(Sink::Pieces(take)).stderr(Sink::Keep(LONGEST_WORDS)).interruptible();
    match input {
        Input::Empty => {}
        Input::Text(text) => drop(it.input(text.into_bytes())),
        Input::File(file) => drop(it.input_file(file)),
    }
    let finished = it.run()?;
    match finished.ended {
        Ended::Interrupted(_) => Err(io::ErrorKind::Interrupted.into()),
        ended => {
            let stderr = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
            Ok(ProgramEnd { code: ended.code(), stderr })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_stderr_or_the_exit_code_says_why_a_program_failed() {
        let words = |script: &str| {
            let args = ["-c".into(), script.into()];
            run("sh", &args, Input::Empty, &mut |_| Ok(())).expect("ran").words()
        };
        assert_eq!(words("printf 'first\\nlast\\n' >&2; exit 3"), "last");
        assert_eq!(words("exit 4"), "exit code 4");
        assert_eq!(words("kill -9 $$"), "ended by a signal");
    }
}
