//! Names for trees, such as a build cache's `noir-0123456789abcdef`, and where they came from.
//!
//! One JSON file per entry, version 1. Its mtime is when the entry was last used, so that using one writes nothing.

use serde::{Deserialize, Serialize};

use super::{FileKind, Name, Store, StoreError, TreeId, versioned};
use crate::sys::fs::Timespec;
use crate::sys::path as paths;

const VERSION: u32 = 1;

/// The origin of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The file or directory, escaped as in [`super::escape`].
    pub source: String,
    /// The command, as it was typed.
    pub command: String,
    /// RFC 3339, UTC.
    pub created: String,
    /// Regular files, by name.
    pub files: u64,
    /// The bytes of the tree's files, hard-linked ones once.
    pub bytes: u64,
}

/// A named tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's name in `entries`: see [`StoreError::EntryName`] for the rules.
    pub name: String,
    /// It is in the store, unless it was deleted by hand.
    pub tree: TreeId,
    /// As it was when the name was given to this tree.
    pub provenance: Provenance,
    /// The last use: the mtime of the entry's file, from which gc counts days.
    pub used: Timespec,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    version: u32,
    tree: TreeId,
    provenance: Provenance,
}

/// The entries of a store.
pub struct Entries<'s> {
    store: &'s Store,
}

impl<'s> Entries<'s> {
    /// The entries of this store; nothing is read yet.
    pub(super) fn of(store: &'s Store) -> Entries<'s> {
        Entries { store }
    }

    /// The entry of that name; nothing when there is none.
    pub fn get(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        let path = self.path(name)?;
        let (Some(bytes), Some(stat)) = (paths::read_if_there(&path)?, paths::stat(&path)?) else { return Ok(None) };
        let found: EntryFile = versioned::parse(&bytes, VERSION..=VERSION).map_err(|why| StoreError::BadFile {
            kind: FileKind::Entry,
            path,
            why,
        })?;
        Ok(Some(Entry { name: name.into(), tree: found.tree, provenance: found.provenance, used: stat.mtime }))
    }

    /// Names `tree`, which must be in the store; replaces what had the name.
    pub fn put(&self, name: &str, tree: TreeId, provenance: Provenance) -> Result<(), StoreError> {
        self.path(name)?;
        self.store.must_have_tree(tree)?;
        let entry = EntryFile { version: VERSION, tree, provenance };
        let bytes = serde_json::to_vec_pretty(&entry).expect("strings and numbers are always JSON");
        self.store.put_file("entries", name, &bytes, 0o644)
    }

    /// The names of all entries, sorted; none is read.
    ///
    /// # Errors
    /// The directory can't be listed.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<String> = paths::list(&self.store.path().join("entries"))?
            .into_iter()
            .filter_map(|e| String::from_utf8(e.name).ok())
            .filter(|n| self.path(n).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// All entries, sorted by name. A damaged one is an error that names it.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let names = self.names()?;
        names.iter().filter_map(|n| self.get(n).transpose()).collect()
    }

    /// Takes the name away; `false` when there was none. The tree stays until gc.
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.path(name)?;
        let was_there = paths::stat(&path)?.is_some();
        paths::remove_file(&path)?;
        Ok(was_there)
    }

    /// Notes that the entry was used now.
    pub fn touch(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        if paths::stat(&path)?.is_none() {
            return Err(StoreError::NoEntry(name.into()));
        }
        Ok(paths::set_mtime(&path, Timespec::now())?)
    }

    fn path(&self, name: &str) -> Result<std::path::PathBuf, StoreError> {
        let fit = Name::new(name.as_bytes()).is_ok() && !name.starts_with('.') && !name.chars().any(char::is_control);
        if !fit {
            return Err(StoreError::EntryName(name.into()));
        }
        Ok(self.store.path().join("entries").join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TreeBuilder;
    use crate::store::tree::NodeMeta;

    #[test]
    fn an_entry_names_a_tree_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let entries = store.entries();
        let absent = TreeId([1; 32]);
        assert!(matches!(entries.put("x", absent, Provenance::default()), Err(StoreError::NoTree(_))));
        let tree = store.put_tree(&TreeBuilder::new(NodeMeta::default())).unwrap();
        entries.put("noir-0123.tar", tree, Provenance::default()).unwrap();
        entries.put("a", tree, Provenance { files: 3, ..Provenance::default() }).unwrap();
        let names: Vec<_> = entries.list().unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["a", "noir-0123.tar"]);
        assert_eq!(entries.get("a").unwrap().unwrap().provenance.files, 3);
        let before = entries.get("a").unwrap().unwrap().used;
        entries.touch("a").unwrap();
        assert!(entries.get("a").unwrap().unwrap().used >= before);
        assert!(entries.remove("a").unwrap() && !entries.remove("a").unwrap());
        assert!(matches!(entries.touch("a"), Err(StoreError::NoEntry(_))));
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for bad in ["", ".", "..", ".hidden", "a/b", "a\nb", &"x".repeat(256)] {
            assert!(matches!(store.entries().get(bad), Err(StoreError::EntryName(_))), "{bad}");
        }
    }
}
