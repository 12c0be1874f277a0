//! Parts that several answers have.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use crate::views::json_path;
use crate::worktree::artifacts::materialize::Brought;
use crate::worktree::artifacts::resolve::Decision;

/// A path as text that holds every byte: `%`, control characters and bytes that are not UTF-8 are `%XX`, so that
/// percent-decoding gives the path back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct JsonPath(String);

impl From<&Path> for JsonPath {
    fn from(path: &Path) -> JsonPath {
        JsonPath(json_path::text(path))
    }
}

impl JsonPath {
    /// Those of a list of paths.
    pub fn list<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<JsonPath> {
        paths.into_iter().map(|path| JsonPath::from(path.as_path())).collect()
    }
}

/// A path, and the reason for its fate.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReasonAnswer {
    pub path: JsonPath,
    pub reason: String,
}

impl ReasonAnswer {
    /// The reason is for people.
    pub fn new(path: &Path, reason: &str) -> ReasonAnswer {
        ReasonAnswer { path: path.into(), reason: reason.into() }
    }
}

/// How a component comes to its artifacts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ComponentAnswer {
    pub name: String,
    /// Its key now; null when it has none, or the key cannot be computed.
    pub key: Option<String>,
    /// Its key before, as far as one is recorded.
    pub before: Option<String>,
    /// The way to its artifacts, for people.
    pub words: String,
    /// Whether its artifacts are in place.
    pub done: bool,
}

impl From<&Brought> for ComponentAnswer {
    fn from(brought: &Brought) -> ComponentAnswer {
        ComponentAnswer {
            before: brought.before.clone(),
            done: brought.done,
            ..ComponentAnswer::from(&brought.decision)
        }
    }
}

impl From<&Decision> for ComponentAnswer {
    fn from(decision: &Decision) -> ComponentAnswer {
        ComponentAnswer {
            name: decision.component.clone(),
            key: decision.key.key().map(Into::into),
            before: None,
            words: decision.words(),
            done: false,
        }
    }
}
