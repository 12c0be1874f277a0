//! Sources: for each tree whose objects are not all here, where they can be had.
//!
//! `sources/<tree>` is opaque to the store: the remote's part writes and reads it. It gets its name before the tree
//! does, and is deleted with the tree, or when all objects are here. Objects of a tree with a source are *absent* when
//! they are not in the store; those of other trees are lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::pack::is_racy;
use super::{ObjectId, Store, StoreError, StoreExclusive, Tree, TreeId};
use crate::sys::fs::{self, OpenFlags, Timespec};
use crate::sys::{IoError, path as paths};

/// The directory, in a store.
pub(super) const SOURCES: &str = "sources";

impl Store {
    /// Notes where the objects of a tree can be had; replaces an earlier note. To be called before the tree is added, by a
    /// caller that keeps gc away meanwhile ([`Store::share`], or an import's stage). Older programs refuse the store from then on.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_source(&self, tree: &TreeId, source: &[u8]) -> Result<(), StoreError> {
        self.allow_absent()?;
        if paths::make_dir(&self.path().join(SOURCES))? {
            fs::fsync(&self.dir).map_err(IoError::of("sync", self.path()))?;
        }
        self.put_file(SOURCES, &tree.hex(), source, 0o644)
    }

    /// The note of [`Store::put_source`], if the tree has one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn source(&self, tree: &TreeId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(paths::read_if_there(&self.source_path(tree))?)
    }

    /// The trees that have a source, sorted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn sources(&self) -> Result<Vec<TreeId>, StoreError> {
        Ok(listed(&self.path().join(SOURCES))?)
    }

    /// Removes the note: all objects of the tree are here, also after a power cut.
    ///
    /// # Errors
    /// It cannot be removed, or a bitmap not be synced.
    pub fn drop_source(&self, tree: &TreeId) -> Result<(), StoreError> {
        self.sync_present()?;
        Ok(paths::remove_file(&self.source_path(tree))?)
    }

    /// Has on disk which objects of sparse packs are here: what needs them may then do without a source.
    ///
    /// # Errors
    /// A bitmap cannot be synced.
    pub fn sync_present(&self) -> Result<(), StoreError> {
        self.objects().packs().sync_bits()
    }

    /// Whether every object of a tree is here, or can be had from its source.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn is_usable(&self, tree: TreeId) -> Result<bool, StoreError> {
        match self.source(&tree)? {
            Some(_) => Ok(self.tree(tree).is_ok()),
            None => self.is_complete(tree),
        }
    }

    /// The sources of trees that gc does not keep.
    pub(super) fn dead_sources(&self, is_kept: impl Fn(&TreeId) -> bool) -> Result<Vec<PathBuf>, StoreError> {
        Ok(self.sources()?.iter().filter(|tree| !is_kept(tree)).map(|tree| self.source_path(tree)).collect())
    }

    /// Removes bitmaps that no pack has any more.
    pub(super) fn drop_bitmaps(&self, _lock: &StoreExclusive) -> Result<(), StoreError> {
        Ok(self.objects().packs().unused_bitmaps()?.iter().try_for_each(|path| paths::remove_file(path))?)
    }

    fn source_path(&self, tree: &TreeId) -> PathBuf {
        self.path().join(SOURCES).join(tree.hex())
    }
}

fn listed(dir: &Path) -> Result<Vec<TreeId>, IoError> {
    let names = paths::list(dir)?;
    let mut trees: Vec<TreeId> =
        names.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok()?.parse().ok()).collect();
    trees.sort();
    Ok(trees)
}

/// The objects that sources name, as they were read last.
pub(super) struct SourcedObjects {
    store: PathBuf,
    known: Mutex<KnownSources>,
}

#[derive(Default)]
struct KnownSources {
    listed: Option<(Timespec, Timespec)>,
    trees: Vec<SourcedTree>,
}

struct SourcedTree {
    id: TreeId,
    /// Sorted.
    objects: Arc<[ObjectId]>,
}

impl SourcedObjects {
    /// Nothing is read before it is needed.
    pub fn of(store: &Path) -> SourcedObjects {
        SourcedObjects { store: store.into(), known: Mutex::default() }
    }

    /// Whether a tree with a source has this object. One system call in a store without sources.
    pub fn name(&self, id: &ObjectId) -> Result<bool, StoreError> {
        let dir = self.store.join(SOURCES);
        let mut known = self.known.lock();
        let Some(now) = paths::stat(&dir)? else {
            *known = KnownSources::default();
            return Ok(false);
        };
        if known.listed != Some((now.mtime, now.ctime)) {
            let before = std::mem::take(&mut known.trees);
            for tree in listed(&dir)? {
                let kept = before.iter().find(|kept| kept.id == tree).map(|kept| kept.objects.clone());
                let objects = kept.or_else(|| self.objects_of(tree));
                known.trees.extend(objects.map(|objects| SourcedTree { id: tree, objects }));
            }
            known.listed = Some((now.mtime, now.ctime)).filter(|_| !is_racy(now.ctime));
        }
        Ok(known.trees.iter().any(|tree| tree.objects.binary_search(id).is_ok()))
    }

    /// Those of a tree; nothing if it is not there yet, or damaged.
    fn objects_of(&self, id: TreeId) -> Option<Arc<[ObjectId]>> {
        let path = self.store.join("trees").join(id.place());
        let file = fs::open_path(&path, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0).ok()?;
        let tree = Tree::read(id, &file).ok()?.ok()?;
        let mut objects: Vec<ObjectId> = tree.objects().collect();
        objects.sort_unstable();
        objects.dedup();
        Some(objects.into())
    }
}
