//! The report of a failure, for people (what, because, hint) and for scripts (the exit code).
//!
//! | code | meaning |
//! |------|---------|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage |
//! | 3 | refused, and nothing was changed |
//! | 128 + n | a signal ended it, such as 2 (Ctrl-C) |

use super::answers::{self, ErrorAnswer};
pub use super::failure::Failure;
use super::output::{self, count};
use super::record;
use super::remedies::{self, judge};
use crate::component;
use crate::worktree::WorktreeError;

/// The exit code of a program that a signal has ended, as shells have it.
pub fn interrupted() -> Option<u8> {
    let signal = crate::sys::interrupt::raised()?;
    u8::try_from(signal).ok().map(|signal| signal.saturating_add(128))
}

/// Prints a failure on stderr; returns the exit code.
pub fn print(what: &str, failure: &Failure) -> u8 {
    let (code, hint) = judge(failure);
    // A refusal promises that nothing was changed.
    let code = if code == remedies::REFUSED && record::has_changed() { remedies::FAILED } else { code };
    let code = interrupted().unwrap_or(code);
    // A worktree was made, and stays.
    let kept = matches!(failure, Failure::Worktree(WorktreeError::Component(component::ComponentError::Build { .. })));
    let unreported;
    let what = match failure {
        _ if kept => "not everything was built; the worktree is kept",
        Failure::Unreported { done, .. } => {
            unreported = format!("{done}, but the report of it could not be written");
            &unreported
        }
        Failure::Output(_) => "the answer could not be written",
        Failure::Refused { what, .. } => what,
        Failure::Worktree(WorktreeError::Unpublished { left, all, .. }) => {
            unreported = format!(
                "{left} of {} not published",
                count(*all as u64, "component") + if *left == 1 { " was" } else { " were" }
            );
            &unreported
        }
        _ => what,
    };
    let (log, left): (&[String], &[String]) = match failure {
        Failure::Worktree(WorktreeError::Undone { left, log, .. }) => (log, left),
        _ => (&[], &[]),
    };
    if output::is_json() {
        output::stderr(&answers::line(&ErrorAnswer {
            what: what.into(),
            because: failure.to_string(),
            hint,
            exit_code: code,
            log: log.to_vec(),
            left_behind: left.to_vec(),
        }));
        return code;
    }
    output::error(&format!("depsfs: {what}"));
    output::error(&format!("  because: {failure}"));
    output::error(&format!("  hint: {hint}"));
    log.iter().for_each(|line| output::error(&format!("  its log: {line}")));
    left.iter().for_each(|words| output::error(&format!("  left behind: {words}")));
    code
}
