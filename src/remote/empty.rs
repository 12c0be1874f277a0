//! Commits whose entries name no directories: for a day they are not looked for again.
//!
//! `received/.empty` is JSON, version 1. An entry is never replaced, so that only a nearer commit's could bring
//! directories, and that has a name of its own.

use serde::{Deserialize, Serialize};

use super::{RemoteError, RemoteSpec};
use crate::store::Store;
use crate::sys::fs::Timespec;
use crate::sys::{path as paths, time};

const VERSION: u32 = 1;
const FILE: &str = ".empty";
/// The oldest of more are forgotten.
const MOST: usize = 256;
/// In seconds: one of the commits before may have been pushed since.
const FRESH: u64 = 86_400;

/// An entry without a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyEntry {
    /// The remote's public address.
    pub url: String,
    pub line: String,
    pub place: String,
    /// When it was seen, in RFC 3339.
    at: String,
}

#[derive(Default, Serialize, Deserialize)]
struct EmptyEntries {
    version: u32,
    entries: Vec<EmptyEntry>,
}

impl EmptyEntry {
    /// One that was seen now.
    pub fn new(spec: &RemoteSpec, line: &str, place: &str) -> EmptyEntry {
        let at = time::rfc3339(Timespec::now());
        EmptyEntry { url: spec.shown_url(), line: line.into(), place: place.into(), at }
    }

    fn is_of(&self, spec: &RemoteSpec, place: &str) -> bool {
        self.url == spec.shown_url() && spec.read.contains(&self.line) && self.place == place
    }
}

fn load(store: &Store, folder: &str, now: Timespec) -> Vec<EmptyEntry> {
    let bytes = paths::read_if_there(&store.path().join(folder).join(FILE)).ok().flatten().unwrap_or_default();
    let found: EmptyEntries = serde_json::from_slice(&bytes).unwrap_or_default();
    let is_fresh = |entry: &EmptyEntry| time::since(&entry.at, now).is_some_and(|age| age < FRESH);
    found.entries.into_iter().filter(|entry| found.version == VERSION && is_fresh(entry)).collect()
}

/// Whether each of these remotes has an entry of this place that names no directories.
pub fn are_empty(store: &Store, folder: &str, remotes: &[&RemoteSpec], place: &str) -> bool {
    let known = load(store, folder, Timespec::now());
    remotes.iter().all(|spec| known.iter().any(|entry| entry.is_of(spec, place)))
}

/// Notes some.
///
/// # Errors
/// The store cannot be written.
pub fn note(store: &Store, folder: &str, new: Vec<EmptyEntry>) -> Result<(), RemoteError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut entries = load(store, folder, Timespec::now());
    entries.retain(|old| !new.iter().any(|new| (&new.url, &new.line, &new.place) == (&old.url, &old.line, &old.place)));
    entries.extend(new);
    entries.drain(..entries.len().saturating_sub(MOST));
    let bytes = serde_json::to_vec(&EmptyEntries { version: VERSION, entries }).expect("strings are always JSON");
    paths::make_dir(&store.path().join(folder))?;
    Ok(store.put_file(folder, FILE, &bytes, 0o644)?)
}
