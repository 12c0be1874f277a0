//! Paths in JSON for scripts: as text that holds every byte. UTF-8 stays as it is; a `%`, a control character and what isn't
//! UTF-8 are `%XX` ([`escape`]), so that percent-decoding gives the path back.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serializer;

use crate::store::escape::escape;

/// The text that stands for a path.
pub fn text(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

/// For `#[serde(serialize_with = …)]` of a path: as [`text`].
pub fn path<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&text(path))
}

/// The same for an optional path: `null` if there is none.
pub fn optional<S: Serializer>(path: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => s.serialize_some(&text(path)),
        None => s.serialize_none(),
    }
}

/// The same for several paths: an array of texts.
pub fn list<S: Serializer>(paths: &[PathBuf], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(paths.iter().map(|p| text(p)))
}
