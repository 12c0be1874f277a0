//! One tree of several, each laid at a path.

use std::collections::HashMap;
use std::path::Path;

use super::build::{BuildError, Item, NodeMeta, Slot, TreeBuilder, item_of, meta_of};
use super::{Node, Tree};
use crate::store::Name;
use crate::sys::fs::FileType;

impl TreeBuilder {
    /// The directory at a path, made with `meta` where there is none.
    pub(crate) fn dir_at(&mut self, path: &Path, meta: &NodeMeta) -> Result<Slot, BuildError> {
        let mut at = Slot::ROOT;
        for part in path.components() {
            let name = Name::new(part.as_os_str().as_encoded_bytes()).map_err(|_| BuildError::NotADirectory)?;
            at = match self.find(at, &name) {
                Some(there) => there,
                None => self.add(at, name, meta.clone(), Item::Dir)?,
            };
        }
        Ok(at)
    }

    /// Removes an entry with all below it, and the directories above it that are empty then.
    pub(crate) fn remove(&mut self, path: &Path) {
        let names: Option<Vec<Name>> = path.iter().map(|part| Name::new(part.as_encoded_bytes()).ok()).collect();
        let mut dirs = vec![Slot::ROOT];
        let Some((last, above)) = names.as_deref().and_then(<[Name]>::split_last) else { return };
        for name in above {
            let Some(next) = dirs.last().and_then(|dir| self.find(*dir, name)) else { return };
            dirs.push(next);
        }
        let mut name = last;
        for (depth, dir) in dirs.into_iter().enumerate().rev() {
            let children = &mut self.nodes[dir.index()].children;
            if children.remove(name).is_none() || !children.is_empty() || depth == 0 {
                return;
            }
            name = &above[depth - 1];
        }
    }

    /// Lays all of `tree` at a directory: what has the same name there is replaced, directories merge.
    ///
    /// # Errors
    /// An entry of the tree cannot be added.
    pub fn lay(&mut self, at: Slot, tree: &Tree) -> Result<(), BuildError> {
        *self.meta_mut(at) = meta_of(tree, Node::ROOT);
        let mut linked: HashMap<Node, Slot> = HashMap::new();
        let mut todo = vec![(Node::ROOT, at)];
        while let Some((dir, slot)) = todo.pop() {
            for entry in tree.entries(dir, 0) {
                let Ok(name) = Name::new(entry.name) else { continue };
                if let Some(first) = linked.get(&entry.node) {
                    self.link(slot, name, *first)?;
                    continue;
                }
                let Some(item) = item_of(tree, entry.node) else { continue };
                let new = self.add(slot, name, meta_of(tree, entry.node), item)?;
                if tree.kind(entry.node) == Some(FileType::Directory) {
                    todo.push((entry.node, new));
                } else {
                    linked.insert(entry.node, new);
                }
            }
        }
        Ok(())
    }
}
