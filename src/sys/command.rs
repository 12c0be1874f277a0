//! Programs of the user that do a part of the work (curl, ssh, aws): found in PATH, listened to, ended with the work.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use super::interrupt;

/// A pipe holds as much (pipe(7)): it can be written before anybody reads.
const LONGEST_INPUT: usize = 16 * 1024;
/// So much of what a program says on stderr is kept.
const LONGEST_WORDS: usize = 16 * 1024;

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `None`: by a signal.
    pub code: Option<i32>,
    pub stderr: String,
}

impl Ended {
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// What the program said last, or how it ended.
    pub fn words(&self) -> String {
        let last = self.stderr.lines().rev().find(|l| !l.trim().is_empty());
        match (last, self.code) {
            (Some(line), _) => line.trim().into(),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "ended by a signal".into(),
        }
    }
}

/// A short text as what a program reads from stdin: unlike an argument, no other user sees it.
pub fn input(text: &str) -> io::Result<OwnedFd> {
    if text.len() > LONGEST_INPUT {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (read, mut write) = io::pipe()?;
    write.write_all(text.as_bytes())?;
    Ok(read.into())
}

/// Runs a program to its end, with `input` (or nothing) on stdin; `take` gets what it writes to stdout, piece by piece.
/// When `take` fails, or a signal was noted (see [`interrupt`]), the program is ended and that is the error.
pub fn run(
    program: &str,
    args: &[OsString],
    input: Option<OwnedFd>,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Ended> {
    let mut command = Command::new(program);
    command.args(args).stdin(input.map_or_else(Stdio::null, Stdio::from));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let heard = listen(&mut child, take);
    if heard.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    let stderr = String::from_utf8_lossy(&heard?).trim().to_owned();
    Ok(Ended { code: status.code(), stderr })
}

/// Both outputs to their ends; what came on stderr.
fn listen(child: &mut Child, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut out = child.stdout.take();
    let mut err = child.stderr.take();
    let (mut said, mut buffer) = (Vec::new(), vec![0; 128 * 1024]);
    while out.is_some() || err.is_some() {
        let fds: Vec<_> = out.iter().map(|o| o.as_fd()).chain(err.iter().map(|e| e.as_fd())).collect();
        let mut ready = vec![false; fds.len()];
        if interrupt::wait_readable(&fds, &mut ready)? {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (out_ready, err_ready) = (out.is_some() && ready[0], err.is_some() && ready[ready.len() - 1]);
        if let Some(pipe) = out.as_mut().filter(|_| out_ready) {
            match pipe.read(&mut buffer)? {
                0 => out = None,
                n => take(&buffer[..n])?,
            }
        }
        if let Some(pipe) = err.as_mut().filter(|_| err_ready) {
            match pipe.read(&mut buffer)? {
                0 => err = None,
                n => said.extend_from_slice(&buffer[..n.min(LONGEST_WORDS.saturating_sub(said.len()))]),
            }
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<Ended> {
        run("sh", &["-c".into(), script.into()], None, take)
    }

    #[test]
    fn output_arrives_in_pieces_and_words_and_code_at_the_end() {
        let mut got = Vec::new();
        let mut take = |piece: &[u8]| {
            got.extend_from_slice(piece);
            Ok(())
        };
        let ended = sh("printf one; printf 'first\\nlast\\n' >&2; printf two; exit 3", &mut take).expect("ran");
        assert_eq!((got.as_slice(), ended.code, ended.words().as_str()), (&b"onetwo"[..], Some(3), "last"));
        assert_eq!(sh("exit 4", &mut |_| Ok(())).expect("ran").words(), "exit code 4");
        assert!(run("no-such-program-anywhere", &[], None, &mut |_| Ok(())).is_err());
    }

    #[test]
    fn a_program_whose_output_is_refused_is_ended() {
        let refuse = &mut |_: &[u8]| Err(io::ErrorKind::StorageFull.into());
        let failed = sh("while :; do echo more; done", refuse).expect_err("refused");
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    }
}
