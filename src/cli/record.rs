//! The record of a command in the operation log, which `depsfs log` prints.
//!
//! A verb calls [`begin`] when it has looked at everything and starts to change something: a dry run, and a command that
//! is refused before that, leave no record. A verb with several targets calls [`changed`] after each of them: a refusal of
//! a later one is a failure then. The record is written when the command has ended.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parking_lot::Mutex;

use crate::git::checkout;
use crate::store::{LoggedOperation, OperationLog, OperationOutcome, escape};
use crate::sys::log::OrWarn;
use crate::sys::path;
use crate::views::set;

/// An operation that has begun.
struct BegunOperation {
    store: PathBuf,
    verb: &'static str,
    targets: Vec<String>,
    detail: Option<String>,
    begun: Instant,
    /// Whether something was changed already.
    has_changed: bool,
}

static CURRENT: Mutex<Option<BegunOperation>> = Mutex::new(None);

/// The verb begins to change something that belongs to a store.
pub fn begin(verb: &'static str, store: &Path) {
    let mut current = CURRENT.lock();
    if current.is_none() {
        let (store, begun) = (store.into(), Instant::now());
        *current = Some(BegunOperation { store, verb, targets: Vec::new(), detail: None, begun, has_changed: false });
    }
}

/// The operation concerns this path.
pub fn concerns(path: &Path) {
    let whole = path::absolute(path).unwrap_or_else(|_| path.into());
    concerns_bytes(checkout::plain(&whole).as_os_str().as_bytes());
}

/// The operation concerns this name, which is no path.
pub fn concerns_name(name: &str) {
    concerns_bytes(name.as_bytes());
}

/// The log has names escaped: its readers give the bytes back.
fn concerns_bytes(name: &[u8]) {
    let name = escape::escape(name);
    if let Some(current) = CURRENT.lock().as_mut()
        && !current.targets.contains(&name)
    {
        current.targets.push(name);
    }
}

/// The result in a few words.
pub fn detail(words: String) {
    if let Some(current) = CURRENT.lock().as_mut() {
        current.detail = Some(words);
    }
}

/// A part of the operation is done.
pub fn changed() {
    if let Some(current) = CURRENT.lock().as_mut() {
        current.has_changed = true;
    }
}

/// Whether a part of the operation is done: what ends it now is no refusal.
pub fn has_changed() -> bool {
    CURRENT.lock().as_ref().is_some_and(|current| current.has_changed)
}

/// The operation changes nothing after all.
pub fn forget() {
    *CURRENT.lock() = None;
}

/// The operation has ended, with an exit code and the cause of a failure: its record is written, unless it was refused. A
/// failure to write it is none of the command.
pub fn end(exit_code: u8, because: Option<String>) {
    let Some(ended) = CURRENT.lock().take() else { return };
    // Usage and refusal: nothing was changed. A question that was answered with no is no failure, and changes nothing.
    if matches!(exit_code, 2 | 3) || (exit_code == 0 && because.is_some()) {
        return;
    }
    let mut operation = LoggedOperation::new(ended.verb, set::now(), std::process::id());
    operation.targets = ended.targets;
    operation.milliseconds = ended.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    operation.exit_code = exit_code;
    if exit_code != 0 {
        operation.outcome = OperationOutcome::Failed;
    }
    let words: Vec<String> = ended.detail.into_iter().chain(because).collect();
    operation.detail = (!words.is_empty()).then(|| words.join("; "));
    OperationLog::of(&ended.store).append(&operation).or_warn("the operation is not in the log");
}
