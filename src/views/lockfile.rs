//! Lock files beside artifact directories: what the artifacts were made from, and whether that is still so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    let parent = artifact.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for name in NAMES {
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
