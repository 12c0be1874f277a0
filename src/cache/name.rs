//! The name of an artifact of the build cache: `<component>-<16 hex>[-<platform>].tar.gz`, or `.zst`.
//!
//! The store's entry has the name without the suffix. Two artifacts that differ in the suffix alone are two: the second
//! one's entry keeps its whole name.

use super::CacheError;
use crate::store::{Entry, Name, Store};

/// Stands in the name of an artifact that must not be cached: its content hash could not be computed.
const DISABLED: &str = "disabled-cache";

/// An artifact's name, fit to be a file's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactName(String);

/// How an artifact is compressed; its suffix shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl ArtifactName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`CacheError::Name`]: it is not a file name, is hidden, or could be an option.
    pub fn new(name: &str) -> Result<ArtifactName, CacheError> {
        let fit = Name::new(name.as_bytes()).is_ok() && !name.starts_with(['.', '-']);
        if !fit || name.chars().any(char::is_control) || stem(name).is_empty() {
            return Err(CacheError::Name(name.into()));
        }
        Ok(ArtifactName(name.into()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It is never looked for and never saved.
    pub fn is_disabled(&self) -> bool {
        self.0.contains(DISABLED)
    }

    /// The name without `.tar.gz`, then `.zst`, then `.tar`.
    pub fn stem(&self) -> &str {
        stem(&self.0)
    }

    /// The rest of the name, after the stem: the importer chooses the format by it.
    pub fn suffix(&self) -> &str {
        &self.0[self.stem().len()..]
    }

    /// The compression that the suffix names.
    pub fn compression(&self) -> Compression {
        match self.suffix() {
            suffix if suffix.ends_with(".zst") => Compression::Zstd,
            ".tar" => Compression::None,
            _ => Compression::Gzip,
        }
    }

    /// The store's entry of this artifact, when it is there with its tree.
    pub fn find(&self, store: &Store) -> Result<Option<Entry>, CacheError> {
        for name in [self.stem(), self.as_str()] {
            let Some(entry) = store.entries().get(name)?.filter(|e| self.is_of(e)) else { continue };
            if store.has_tree(entry.tree)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The name that its entry gets.
    pub fn entry_name(&self, store: &Store) -> Result<&str, CacheError> {
        let there = store.entries().get(self.stem())?;
        Ok(if there.is_none_or(|e| self.is_of(&e)) { self.stem() } else { self.as_str() })
    }

    /// Whether an entry of a fitting name is this artifact, and not the one with the other suffix.
    fn is_of(&self, entry: &Entry) -> bool {
        let file = entry.provenance.source.rsplit('/').next().unwrap_or_default();
        file == self.0 || entry.name == self.0 || stem(file) != self.stem() || file == self.stem()
    }
}

impl std::fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file's name without the suffixes of archives.
pub fn stem(file: &str) -> &str {
    ["tar.gz", "zst", "tar"].iter().fold(file, |name, suffix| {
        let cut = name.strip_suffix(suffix).and_then(|n| n.strip_suffix('.'));
        cut.unwrap_or(name)
    })
}

/// Whether a file is called as artifacts are.
pub fn is_archive(file: &str) -> bool {
    [".tar.gz", ".zst", ".tar"].iter().any(|suffix| file.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_its_suffixes_is_that_of_the_entry() {
        let table = [
            ("noir-01.tar.gz", "noir-01", Compression::Gzip),
            ("bb-01-amd64-linux.zst", "bb-01-amd64-linux", Compression::Zstd),
            ("a.tar.zst", "a", Compression::Zstd),
            ("a.tar", "a", Compression::None),
            ("plain", "plain", Compression::Gzip),
        ];
        for (name, stem, compression) in table {
            let name = ArtifactName::new(name).expect("fit");
            assert_eq!((name.stem(), name.compression()), (stem, compression));
        }
    }

    #[test]
    fn names_that_are_no_files_or_look_like_options_are_refused() {
        for bad in ["", ".", "..", "a/b", "/a", ".hidden.tar.gz", "-o.tar.gz", "a\nb.zst", ".tar.gz"] {
            assert!(ArtifactName::new(bad).is_err(), "{bad:?}");
        }
    }
}
