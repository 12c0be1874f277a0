//! The traces of one worktree, remembered beside its manifest: for `depsfs status`, and for the worktrees made from it.
//!
//! JSON, version 1. It is only for reports: an unreadable one counts as empty.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ViewsError;
use super::set::ManifestLock;
use crate::store::escape;
use crate::sys::{IoError, path};

const VERSION: u32 = 1;
const FILE: &str = "traces.json";

/// One file that holds the absolute path of a checkout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Relative to its artifact.
    #[serde(with = "escape::path")]
    pub path: PathBuf,
    /// The path that it holds.
    #[serde(with = "escape::path")]
    pub root: PathBuf,
    pub kind: OccurrenceKind,
    /// The worktree has a file of its own in its place, with its own path.
    pub relocated: bool,
}

/// How it holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OccurrenceKind {
    Text,
    Binary,
    /// A symlink that leads there.
    Link,
}

/// The traces in one artifact directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// Relative to the worktree.
    #[serde(with = "escape::path")]
    pub path: PathBuf,
    pub traces: Vec<Trace>,
}

/// All of a worktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddedPaths {
    version: u32,
    pub artifacts: Vec<Traced>,
}

impl Default for EmbeddedPaths {
    fn default() -> EmbeddedPaths {
        EmbeddedPaths { version: VERSION, artifacts: Vec::new() }
    }
}

impl EmbeddedPaths {
    pub fn load(state_dir: &Path) -> Result<EmbeddedPaths, IoError> {
        let bytes = path::read_if_there(&state_dir.join(FILE))?;
        let record: Option<EmbeddedPaths> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(record.filter(|r| r.version == VERSION).unwrap_or_default())
    }

    /// Replaces the file; without traces there is none.
    pub fn save(&self, state_dir: &Path) -> Result<(), IoError> {
        let file = state_dir.join(FILE);
        if self.artifacts.is_empty() {
            return path::remove_file(&file);
        }
        path::replace(&file, &serde_json::to_vec(self).expect("paths and words are JSON"))
    }

    /// Remembers these instead of what was known of the same artifacts. Others may remember something meanwhile.
    pub fn note(state_dir: &Path, all: Vec<Traced>) -> Result<(), ViewsError> {
        let _lock = ManifestLock::wait(state_dir)?;
        let mut record = EmbeddedPaths::load(state_dir)?;
        let before = record.clone();
        for traced in all {
            match record.artifacts.iter_mut().find(|known| known.path == traced.path) {
                Some(known) => *known = traced,
                None => record.artifacts.push(traced),
            }
        }
        record.artifacts.retain(|traced| !traced.traces.is_empty());
        if record != before {
            record.save(state_dir)?;
        }
        Ok(())
    }

    /// The traces of one artifact.
    pub fn of(&self, artifact: &Path) -> Option<&Traced> {
        self.artifacts.iter().find(|traced| traced.path == artifact)
    }
}

impl Traced {
    /// Those that still hold a path that is not the worktree's.
    pub fn left(&self) -> impl Iterator<Item = &Trace> {
        self.traces.iter().filter(|t| !t.relocated)
    }

    /// The paths of the others.
    pub fn done(&self) -> impl Iterator<Item = &Path> {
        self.traces.iter().filter(|t| t.relocated).map(|t| &*t.path)
    }

    pub fn relocated(&self) -> usize {
        self.done().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    const GOLDEN: &[u8] = include_bytes!("../../tests/formats/traces-1.json");

    #[test]
    fn version_1_says_what_it_said_and_another_version_nothing() {
        let odd = std::ffi::OsStr::from_bytes(b"sub/odd\xff");
        let trace =
            |path: &Path, kind, relocated| Trace { path: path.into(), root: "/src/repo".into(), kind, relocated };
        let traces = vec![
            trace(Path::new("CMakeCache.txt"), OccurrenceKind::Text, true),
            trace(odd.as_ref(), OccurrenceKind::Binary, false),
            trace(Path::new("link"), OccurrenceKind::Link, false),
        ];
        let record = EmbeddedPaths { version: 1, artifacts: vec![Traced { path: "build".into(), traces }] };
        let dir = tempfile::tempdir().expect("a directory");
        record.save(dir.path()).expect("saved");
        assert_eq!(path::read(&dir.path().join(FILE)).expect("there"), GOLDEN.trim_ascii_end());
        assert_eq!(EmbeddedPaths::load(dir.path()).expect("read"), record);
        assert_eq!(record.artifacts[0].relocated(), 1);
        for bad in [&b"{\"version\":2,\"artifacts\":[]}"[..], b"", b"[]", &GOLDEN[..40]] {
            path::replace(&dir.path().join(FILE), bad).expect("written");
            assert_eq!(EmbeddedPaths::load(dir.path()).expect("read"), EmbeddedPaths::default());
        }
        EmbeddedPaths::default().save(dir.path()).expect("saved");
        assert!(!path::is_there(&dir.path().join(FILE)));
    }
}
