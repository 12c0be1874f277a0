//! Another verb of this program, in a process of its own: a hook's stdout is for the answer to its caller.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::cli::report::Failure;
use crate::sys::invocation::{Ended, Invocation, Sink};

/// The output of another verb.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum VerbOutput {
    /// On stderr: stdout is for the caller's answer.
    Shown,
    Hidden,
}

/// Runs another verb of this program.
///
/// # Errors
/// It cannot be started, or fails: then with its exit code.
pub fn depsfs(args: &[&OsStr], dir: &Path, output: VerbOutput) -> Result<(), Failure> {
    let program: OsString = std::env::current_exe().map_err(Failure::os("find the path of this program"))?.into();
    let mut verb = Invocation::new(program);
    verb.args(args).dir(dir);
    if output == VerbOutput::Shown {
        verb.stdout(Sink::Stderr).stderr(Sink::Stderr);
    }
    match verb.run().map_err(Failure::os("start this program again"))?.ended {
        Ended::Code(0) => Ok(()),
        Ended::Code(code) => Err(Failure::Exited(u8::try_from(code).unwrap_or(1))),
        Ended::Killed(signal) | Ended::Interrupted(signal) => {
            Err(Failure::Exited(128 + u8::try_from(signal).unwrap_or(1)))
        }
        Ended::TookTooLong(_) => Err(Failure::Exited(1)),
    }
}
