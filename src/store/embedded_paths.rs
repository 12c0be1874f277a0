//! The embedded paths of one worktree, recorded beside its manifest: for `depsfs status`, for the worktrees made from it,
//! and for its server, which relocates files as it reads them.
//!
//! JSON, version 3; versions 1 and 2 are read too. An unreadable one counts as empty: files then show the path that
//! they hold in the store.
//!
//! | field       | since | meaning |
//! |-------------|-------|---------|
//! | `worktree`  | 2     | the path that relocated files hold: that of the worktree, before it was moved |
//! | `artifacts` | 1     | the embedded paths of each artifact directory |
//! | `effect` of one path | 2 | how a tool obeys a path that stays |
//! | `served` of one path | 3 | the view relocates the store's file whenever it is read |

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::escape;
use crate::sys::{IoError, path};

const VERSION: u32 = 3;
const FILE: &str = "traces.json";

/// One file that holds the absolute path of a checkout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// Relative to its artifact.
    #[serde(with = "escape::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// The path that it holds.
    #[serde(with = "escape::path")]
    #[schemars(with = "String")]
    pub root: PathBuf,
    pub kind: OccurrenceKind,
    /// The worktree shows it with its own path.
    pub relocated: bool,
    /// Without a file of the worktree's own: the view puts the path in when it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<ServedPath>,
    /// How a tool obeys the path in a binary file; `None`: as far as is known, none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

/// A file of the store that a view relocates when it is read: the length of the result is known without that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServedPath {
    /// The object that was looked into; none for a symlink. Another one at the same path is shown as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// How often it holds the path.
    pub occurrences: u64,
}

/// The consequence of a path in a binary file, which is never rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// A program that names its interpreter there.
    Interpreter,
    /// A program or library that looks for libraries there (`DT_RUNPATH`, `DT_NEEDED`).
    Libraries,
    /// Ninja's log of header files.
    Headers,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Effect::Interpreter => "runs the interpreter there",
            Effect::Libraries => "loads libraries from there",
            Effect::Headers => "ninja compares the headers there",
        })
    }
}

/// How it holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OccurrenceKind {
    Text,
    Binary,
    /// A symlink that leads there.
    Link,
}

/// The traces in one artifact directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Traced {
    /// Relative to the worktree.
    #[serde(with = "escape::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    pub traces: Vec<Trace>,
}

/// All of a worktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddedPaths {
    version: u32,
    #[serde(default, with = "escape::optional_path", skip_serializing_if = "Option::is_none")]
    pub worktree: Option<PathBuf>,
    pub artifacts: Vec<Traced>,
}

impl Default for EmbeddedPaths {
    fn default() -> EmbeddedPaths {
        EmbeddedPaths { version: VERSION, worktree: None, artifacts: Vec::new() }
    }
}

impl EmbeddedPaths {
    /// Loads the record of a worktree; one that is absent, malformed or of a later version is empty.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn load(state_dir: &Path) -> Result<EmbeddedPaths, IoError> {
        let bytes = path::read_if_there(&state_dir.join(FILE))?;
        let record: Option<EmbeddedPaths> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known = record.filter(|r| (1..=VERSION).contains(&r.version));
        Ok(known.map(|r| EmbeddedPaths { version: VERSION, ..r }).unwrap_or_default())
    }

    /// Replaces the file; without traces there is none.
    ///
    /// # Errors
    /// The file can't be replaced or removed.
    pub fn save(&self, state_dir: &Path) -> Result<(), IoError> {
        let file = state_dir.join(FILE);
        if self.artifacts.is_empty() {
            return path::remove_file(&file);
        }
        path::replace(&file, &serde_json::to_vec(self).expect("paths and words are JSON"))
    }

    /// Adds the artifacts of an earlier record that this one has not.
    pub fn join(&mut self, earlier: EmbeddedPaths) {
        let is_new = |traced: &Traced| self.of(&traced.path).is_none();
        let more: Vec<Traced> = earlier.artifacts.into_iter().filter(is_new).collect();
        self.artifacts.extend(more);
    }

    /// The traces of one artifact.
    pub fn of(&self, artifact: &Path) -> Option<&Traced> {
        self.artifacts.iter().find(|traced| traced.path == artifact)
    }
}

impl Traced {
    /// Those that still hold a path that is not the worktree's, and that a tool obeys.
    pub fn obeyed(&self) -> impl Iterator<Item = &Trace> {
        self.left().filter(|t| t.kind != OccurrenceKind::Binary || t.effect.is_some())
    }

    /// Those that still hold a path that is not the worktree's.
    pub fn left(&self) -> impl Iterator<Item = &Trace> {
        self.traces.iter().filter(|t| !t.relocated)
    }

    /// The paths of the others.
    pub fn done(&self) -> impl Iterator<Item = &Path> {
        self.traces.iter().filter(|t| t.relocated).map(|t| &*t.path)
    }

    /// The number of files that hold the worktree's own path by now.
    pub fn relocated(&self) -> usize {
        self.done().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    const GOLDEN: &[u8] = include_bytes!("../../tests/formats/traces-3.json");
    const GOLDEN_2: &[u8] = include_bytes!("../../tests/formats/traces-2.json");
    const GOLDEN_1: &[u8] = include_bytes!("../../tests/formats/traces-1.json");

    #[test]
    fn versions_1_to_3_are_read_and_another_version_counts_as_empty() {
        let odd = std::ffi::OsStr::from_bytes(b"sub/odd\xff");
        let trace = |path: &Path, kind, relocated| {
            let effect = (kind == OccurrenceKind::Binary).then_some(Effect::Libraries);
            Trace { path: path.into(), root: "/src/repo".into(), kind, relocated, served: None, effect }
        };
        let traces = vec![
            trace(Path::new("CMakeCache.txt"), OccurrenceKind::Text, true),
            trace(odd.as_ref(), OccurrenceKind::Binary, false),
            trace(Path::new("link"), OccurrenceKind::Link, false),
        ];
        let artifacts = vec![Traced { path: "build".into(), traces }];
        let mut record = EmbeddedPaths { version: 3, worktree: Some("/src/fix".into()), artifacts };
        let served = |object: Option<&str>, occurrences| ServedPath { object: object.map(str::to_owned), occurrences };
        record.artifacts[0].traces[0].served = Some(served(Some(&"07".repeat(32)), 4));
        record.artifacts[0].traces[2].served = Some(served(None, 1));
        let dir = tempfile::tempdir().expect("a directory");
        record.save(dir.path()).expect("saved");
        assert_eq!(path::read(&dir.path().join(FILE)).expect("there"), GOLDEN.trim_ascii_end());
        assert_eq!(EmbeddedPaths::load(dir.path()).expect("read"), record);
        assert_eq!(record.artifacts[0].relocated(), 1);
        path::replace(&dir.path().join(FILE), GOLDEN_2).expect("written");
        record.artifacts[0].traces.iter_mut().for_each(|trace| trace.served = None);
        assert_eq!(EmbeddedPaths::load(dir.path()).expect("read"), record);
        path::replace(&dir.path().join(FILE), GOLDEN_1).expect("written");
        record.worktree = None;
        record.artifacts[0].traces.iter_mut().for_each(|trace| trace.effect = None);
        assert_eq!(EmbeddedPaths::load(dir.path()).expect("read"), record);
        for bad in [&b"{\"version\":4,\"artifacts\":[]}"[..], b"", b"[]", &GOLDEN[..40]] {
            path::replace(&dir.path().join(FILE), bad).expect("written");
            assert_eq!(EmbeddedPaths::load(dir.path()).expect("read"), EmbeddedPaths::default());
        }
        EmbeddedPaths::default().save(dir.path()).expect("saved");
        assert!(!path::is_there(&dir.path().join(FILE)));
    }
}
