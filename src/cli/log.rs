//! `depsfs log`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::answers::{LogAnswer, OperationAnswer};
use super::output::{self, count};
use super::report::Failure;
use super::{named, places};
use crate::store::{LoggedOperation, OperationLog, OperationOutcome, escape};
use crate::sys::terminal::{self, DisplayName};
use crate::sys::{path, time};

const EXAMPLES: &str = "Examples:
  depsfs log                   # of all repositories, the newest first
  depsfs log fix-login -n 5    # what was done to one worktree, also after it was removed
  depsfs log --failed --json";

/// The names of targets in one line.
const NAMED: usize = 3;

/// Show what depsfs did: when, to what, and with which outcome
///
/// One line for each command that changed something or failed, the newest first: create, mount, sync, cache get, gc and
/// all others that change worktrees, the store, a remote or hooks. Dry runs, refused commands, and a mount of what is
/// mounted leave no record. The log is in the store, of bounded size.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct LogCommand {
    /// Only what concerned this worktree: its name, its branch, or any path [default: everything]
    worktree: Option<PathBuf>,
    /// Show at most N operations
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Only operations that failed
    #[arg(long)]
    failed: bool,
}

impl LogCommand {
    /// Prints the log.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn run(self) -> Result<(), Failure> {
        let read = OperationLog::of(&store()?).read()?;
        let wanted = self.worktree.as_deref().map(OperationFilter::of);
        let is_wanted = |operation: &&LoggedOperation| {
            (!self.failed || operation.outcome == OperationOutcome::Failed)
                && wanted.as_ref().is_none_or(|wanted| operation.targets.iter().any(|target| wanted.has(target)))
        };
        let shown: Vec<&LoggedOperation> =
            read.operations.iter().rev().filter(is_wanted).take(self.limit.unwrap_or(usize::MAX)).collect();
        let answer = LogAnswer {
            operations: shown.iter().copied().map(OperationAnswer::from).collect(),
            damaged_lines: read.damaged,
        };
        output::answer(&answer, || lines(&shown))?;
        if read.damaged > 0 {
            output::note(&format!("note: {} of the log could not be read", count(read.damaged, "line")));
        }
        Ok(())
    }
}

/// The store of the working directory's views, else the user's.
fn store() -> Result<PathBuf, Failure> {
    match places::views_at(Path::new(".")) {
        Ok(views) => Ok(views.manifest.store),
        Err(_) => places::store_path(),
    }
}

/// The worktree whose operations are wanted.
struct OperationFilter {
    root: PathBuf,
    /// The word, if it can be the name of a worktree that is removed.
    name: Option<PathBuf>,
}

impl OperationFilter {
    fn of(word: &Path) -> OperationFilter {
        let root = named::checkout(Some(word)).map(|checkout| checkout.root);
        let root = root.or_else(|_| path::absolute(word)).unwrap_or_else(|_| word.into());
        let is_name = word.components().count() == 1;
        OperationFilter { root, name: is_name.then(|| word.into()) }
    }

    fn has(&self, target: &str) -> bool {
        let bytes = escape::unescape(target).unwrap_or_default();
        let target = Path::new(OsStr::from_bytes(&bytes));
        target.starts_with(&self.root)
            || self.name.as_ref().is_some_and(|name| target.file_name() == Some(name.as_os_str()))
    }
}

/// One line for each operation, aligned.
fn lines(shown: &[&LoggedOperation]) -> String {
    let width = shown.iter().map(|operation| operation.verb.len()).max().unwrap_or(0);
    let line = |operation: &&LoggedOperation| {
        let outcome = match operation.outcome {
            OperationOutcome::Done => "done",
            OperationOutcome::Failed => "failed",
        };
        let took = time::seconds(Duration::from_millis(operation.milliseconds.div_ceil(100) * 100));
        let detail = operation.detail.as_deref().map(|detail| format!("  ({})", terminal::line(detail)));
        let (time, verb) = (terminal::line(&operation.time), terminal::line(&operation.verb));
        let text = format!("{time}  {outcome:6}  {verb:width$}  {took:>7}  {}", names(&operation.targets));
        format!("{}{}\n", text.trim_end(), detail.unwrap_or_default())
    };
    shown.iter().map(line).collect()
}

/// The first few targets.
fn names(targets: &[String]) -> String {
    let name = |target: &String| match escape::unescape(target) {
        Some(bytes) => OsStr::from_bytes(&bytes).shown().to_string(),
        None => terminal::line(target).into_owned(),
    };
    let mut names: Vec<String> = targets.iter().take(NAMED).map(name).collect();
    if targets.len() > NAMED {
        names.push(format!("{} more", targets.len() - NAMED));
    }
    names.join(", ")
}
