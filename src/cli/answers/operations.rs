//! The answer of `depsfs log`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::{LoggedOperation, OperationOutcome};

/// `depsfs log`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogAnswer {
    /// The newest first.
    pub operations: Vec<OperationAnswer>,
    /// Lines of the log that are damaged, and left out.
    pub damaged_lines: u64,
}

/// One operation.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OperationAnswer {
    /// The end of it: RFC 3339, UTC.
    pub time: String,
    pub verb: String,
    /// Paths, percent-encoded, and names of entries.
    pub targets: Vec<String>,
    pub outcome: OperationOutcome,
    /// The result in a few words, or the cause of the failure.
    pub detail: Option<String>,
    pub exit_code: u8,
    pub milliseconds: u64,
    pub pid: u32,
}

impl From<&LoggedOperation> for OperationAnswer {
    fn from(operation: &LoggedOperation) -> OperationAnswer {
        OperationAnswer {
            time: operation.time.clone(),
            verb: operation.verb.clone(),
            targets: operation.targets.clone(),
            outcome: operation.outcome,
            detail: operation.detail.clone(),
            exit_code: operation.exit_code,
            milliseconds: operation.milliseconds,
            pid: operation.pid,
        }
    }
}
