//! The trees of a store, opened: what one shows was compared with its name.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Store, StoreError, Tree, TreeId};
use crate::sys::IoError;
use crate::sys::fs::{self, OpenFlags};

impl Store {
    /// Reads a tree into memory. Its bytes are those of its name, and sound.
    ///
    /// # Errors
    /// [`StoreError::NoTree`] when it isn't there, [`StoreError::BadTree`] when it is damaged.
    pub fn tree(&self, id: TreeId) -> Result<Arc<Tree>, StoreError> {
        if let Some(tree) = self.dry.as_ref().and_then(|trees| trees.lock().get(&id).cloned()) {
            return Ok(tree);
        }
        self.read_tree(id).map(|(tree, _)| Arc::new(tree))
    }

    /// As [`Store::tree`], mapped: for processes that live long, which then have its memory in common.
    ///
    /// # Errors
    /// [`StoreError::NoTree`] if the store does not have it. It is damaged, or cannot be mapped.
    pub fn mapped_tree(&self, id: TreeId) -> Result<Arc<Tree>, StoreError> {
        let (tree, file) = self.read_tree(id)?;
        let path = self.tree_path(id);
        Ok(Arc::new(tree.mapped(file, path.clone()).map_err(IoError::of("map", &path))?))
    }

    fn read_tree(&self, id: TreeId) -> Result<(Tree, OwnedFd), StoreError> {
        let file = match fs::open_at(&self.dir, format!("trees/{}", id.place()).as_bytes(), OpenFlags::RDONLY, 0) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(StoreError::NoTree(id)),
            Err(e) => return Err(IoError::of("open", &self.tree_path(id))(e).into()),
        };
        let read = Tree::read(id, &file).map_err(IoError::of("read", &self.tree_path(id)))?;
        Ok((read.map_err(|source| StoreError::BadTree { id, source })?, file))
    }

    /// The path that a tree has or would have, for messages.
    pub fn tree_path(&self, id: TreeId) -> PathBuf {
        self.path.join("trees").join(id.place())
    }
}
