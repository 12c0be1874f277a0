//! Errors and notes as JSON on stderr, one object on each line.

use schemars::JsonSchema;
use serde::Serialize;

/// A verb's failure. The three first fields are what a person reads on three lines.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorAnswer {
    /// The work that was not done.
    pub what: String,
    pub because: String,
    /// A remedy; never a command that costs data.
    pub hint: String,
    pub exit_code: u8,
    /// The last lines of the log of a build or of a daemon that did not start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Parts of a failed create that could not be taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
}

/// A remark that is no failure.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NoteAnswer {
    pub note: String,
}
