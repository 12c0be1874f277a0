//! Lock files beside artifact directories: what the artifacts were made from, and whether that is still so.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::sys::{IoError, path};

/// The files in which package managers record the versions that they installed.
const NAMES: [&str; 16] = [
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "Cargo.lock",
    "go.sum",
    "uv.lock",
    "poetry.lock",
    "Pipfile.lock",
    "Gemfile.lock",
    "composer.lock",
    "mix.lock",
    "flake.lock",
    "deno.lock",
];

/// Lock files, relative to the top of a checkout, with the hash of their bytes.
pub type Beside = Vec<(PathBuf, String)>;

/// Those beside an artifact directory of a checkout.
pub fn beside(root: &Path, artifact: &Path) -> Result<Beside, IoError> {
    in_directory(root, artifact.parent().unwrap_or(Path::new("")))
}

/// Those beside the artifact directories of a checkout. A directory that holds several artifacts is listed once.
pub struct LockFiles<'a> {
    root: &'a Path,
    known: Mutex<HashMap<PathBuf, Beside>>,
}

impl<'a> LockFiles<'a> {
    /// Those of the checkout at `root`; nothing is read yet.
    pub fn of(root: &'a Path) -> LockFiles<'a> {
        LockFiles { root, known: Mutex::default() }
    }

    /// As [`beside`].
    ///
    /// # Errors
    /// The directory, or a lock file in it, can't be read.
    pub fn beside(&self, artifact: &Path) -> Result<Beside, IoError> {
        let parent = artifact.parent().unwrap_or(Path::new(""));
        if let Some(known) = self.known.lock().get(parent) {
            return Ok(known.clone());
        }
        let found = in_directory(self.root, parent)?;
        self.known.lock().insert(parent.into(), found.clone());
        Ok(found)
    }
}

/// One listing costs less than a question for each name. A directory that may be entered, but not listed, is asked.
fn in_directory(root: &Path, parent: &Path) -> Result<Beside, IoError> {
    let names = match path::list(&root.join(parent)) {
        Err(e) if e.source.kind() == std::io::ErrorKind::PermissionDenied => None,
        names => Some(names?),
    };
    let is_there = |name: &str| names.as_ref().is_none_or(|all| all.iter().any(|n| n.name == name.as_bytes()));
    let mut found = Vec::new();
    for name in NAMES.into_iter().filter(|name| is_there(name)) {
        let at = parent.join(name);
        if let Some(hash) = hash_of(&root.join(&at))? {
            found.push((at, hash));
        }
    }
    Ok(found)
}

/// BLAKE3 of a file, in hex; `None` when there is none.
pub fn hash_of(file: &Path) -> Result<Option<String>, IoError> {
    let is_file = matches!(path::stat(file)?, Some(s) if s.is_file());
    if !is_file {
        return Ok(None);
    }
    Ok(path::read_if_there(file)?.map(|bytes| blake3::hash(&bytes).to_hex().to_string()))
}

/// Those of the recorded lock files that are different in `root` now.
pub fn drifted<'a>(
    root: &Path,
    recorded: impl Iterator<Item = (&'a Path, &'a str)>,
) -> Result<BTreeSet<PathBuf>, IoError> {
    let mut differ = BTreeSet::new();
    for (at, hash) in recorded {
        if hash_of(&root.join(at))?.as_deref() != Some(hash) {
            differ.insert(at.to_path_buf());
        }
    }
    Ok(differ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_are_found_by_one_listing_of_their_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        path::make_dirs(&root.join("p/dist")).expect("made");
        path::make_dirs(&root.join("p/go.sum")).expect("made");
        std::os::unix::fs::symlink("yarn.lock", root.join("p/bun.lock")).expect("linked");
        path::replace(&root.join("p/yarn.lock"), b"a").expect("written");
        let names = |found: Beside| found.into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        let lock_files = LockFiles::of(root);
        assert_eq!(names(beside(root, Path::new("p/dist")).expect("read")), [Path::new("p/yarn.lock")]);
        assert_eq!(names(lock_files.beside(Path::new("p/dist")).expect("read")), [Path::new("p/yarn.lock")]);
        // That of another artifact beside it would show this one, if it listed the directory again.
        path::replace(&root.join("p/deno.lock"), b"b").expect("written");
        assert_eq!(names(lock_files.beside(Path::new("p/node_modules")).expect("read")), [Path::new("p/yarn.lock")]);
        assert_eq!(names(beside(root, Path::new("p/node_modules")).expect("read")).len(), 2);
        assert_eq!(names(lock_files.beside(Path::new("gone/dist")).expect("nothing")), [] as [PathBuf; 0]);
    }
}
