//! Makes the bytes of a tree from names added in any order. The same content always gives the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::format::NO_ENTRY;
pub(crate) use super::item::BuildError;
use super::item::BuiltNode;
pub use super::item::{Item, NodeMeta, Slot};
use super::sections::Sections;
use super::{Node, Tree};
use crate::store::{Name, ObjectId};
use crate::sys::fs::FileType;

/// A tree in the making.
pub struct TreeBuilder {
    pub(super) nodes: Vec<BuiltNode>,
}

impl TreeBuilder {
    /// An empty directory.
    pub fn new(root: NodeMeta) -> TreeBuilder {
        TreeBuilder { nodes: vec![BuiltNode { meta: root, item: Item::Dir, children: BTreeMap::new() }] }
    }

    /// Everything that can be reached in `tree`.
    pub fn from_tree(tree: &Tree) -> TreeBuilder {
        let mut builder = TreeBuilder::new(meta_of(tree, Node::ROOT));
        builder.copy(tree, Node::ROOT, Slot::ROOT);
        builder
    }

    /// The content of the directory `dir` of a tree, below directories of the names in `prefix`; those have its time.
    pub(crate) fn part_of(tree: &Tree, dir: Node, prefix: &Path) -> Result<TreeBuilder, BuildError> {
        let own = meta_of(tree, dir);
        let above = NodeMeta { perm: 0o755, mtime: own.mtime, xattrs: Vec::new() };
        let names: Vec<Name> = prefix.iter().filter_map(|n| Name::new(n.as_bytes()).ok()).collect();
        let mut builder = TreeBuilder::new(if names.is_empty() { own.clone() } else { above.clone() });
        let mut slot = Slot::ROOT;
        for (n, name) in names.iter().enumerate() {
            let meta = if n + 1 == names.len() { own.clone() } else { above.clone() };
            slot = builder.add(slot, name.clone(), meta, Item::Dir)?;
        }
        builder.copy(tree, dir, slot);
        Ok(builder)
    }

    /// Adds everything below `dir` to the empty directory `to`.
    fn copy(&mut self, tree: &Tree, dir: Node, to: Slot) {
        let mut slots = HashMap::new();
        let mut todo = vec![(dir, to)];
        while let Some((dir, parent)) = todo.pop() {
            for entry in tree.entries(dir, 0) {
                let Ok(name) = Name::new(entry.name) else { continue };
                if let Some(slot) = slots.get(&entry.node) {
                    self.nodes[parent.0 as usize].children.insert(name, *slot);
                    continue;
                }
                let Some(item) = item_of(tree, entry.node) else { continue };
                let slot = self.push(meta_of(tree, entry.node), item);
                self.nodes[parent.0 as usize].children.insert(name, slot);
                slots.insert(entry.node, slot);
                if tree.kind(entry.node) == Some(FileType::Directory) {
                    todo.push((entry.node, slot));
                }
            }
        }
    }

    /// Puts a node under a name. An earlier node of that name is replaced, except that a directory stays the
    /// same directory and only takes the new metadata.
    ///
    /// # Errors
    /// The parent is no directory, or has the name already.
    pub fn add(&mut self, parent: Slot, name: Name, meta: NodeMeta, item: Item) -> Result<Slot, BuildError> {
        if let (Item::Dir, Some(slot)) = (&item, self.find(parent, &name))
            && self.is_dir(slot)
        {
            self.nodes[slot.0 as usize].meta = meta;
            return Ok(slot);
        }
        if !self.is_dir(parent) {
            return Err(BuildError::NotADirectory);
        }
        if self.nodes.len() >= NO_ENTRY as usize {
            return Err(BuildError::TooLarge);
        }
        let slot = self.push(meta, item);
        self.nodes[parent.0 as usize].children.insert(name, slot);
        Ok(slot)
    }

    /// Gives a file, symlink or fifo one more name.
    ///
    /// # Errors
    /// The slot is no file, or the parent has the name already.
    pub fn link(&mut self, parent: Slot, name: Name, slot: Slot) -> Result<(), BuildError> {
        if self.is_dir(slot) {
            return Err(BuildError::LinkToDirectory);
        }
        if !self.is_dir(parent) {
            return Err(BuildError::NotADirectory);
        }
        self.nodes[parent.0 as usize].children.insert(name, slot);
        Ok(())
    }

    /// The slot of `name` in the directory `parent`; `None` also if `parent` is no directory, or a slot of another
    /// builder.
    pub fn find(&self, parent: Slot, name: &Name) -> Option<Slot> {
        self.nodes.get(parent.0 as usize)?.children.get(name).copied()
    }

    /// The item of a slot, and its metadata.
    pub fn item(&self, slot: Slot) -> Option<(&Item, &NodeMeta)> {
        self.nodes.get(slot.0 as usize).map(|n| (&n.item, &n.meta))
    }

    /// The metadata of a slot, to be changed; the root's for a slot of another builder.
    pub fn meta_mut(&mut self, slot: Slot) -> &mut NodeMeta {
        let at = if (slot.0 as usize) < self.nodes.len() { slot.0 as usize } else { 0 };
        &mut self.nodes[at].meta
    }

    /// False also for a slot of another builder.
    pub fn is_dir(&self, slot: Slot) -> bool {
        self.nodes.get(slot.0 as usize).is_some_and(|n| n.item == Item::Dir)
    }

    /// Whether the slot is a directory that is not empty.
    pub fn has_names(&self, slot: Slot) -> bool {
        self.nodes.get(slot.index()).is_some_and(|n| !n.children.is_empty())
    }

    /// Tells which object a file's bytes are; nothing happens for other types.
    pub fn set_object(&mut self, slot: Slot, id: ObjectId) {
        if let Some(BuiltNode { item: Item::File { object, .. }, .. }) = self.nodes.get_mut(slot.index()) {
            *object = id;
        }
    }

    fn push(&mut self, meta: NodeMeta, item: Item) -> Slot {
        self.nodes.push(BuiltNode { meta, item, children: BTreeMap::new() });
        Slot(self.nodes.len() as u32 - 1)
    }

    /// The tree's bytes.
    ///
    /// # Errors
    /// The tree is larger than its format allows.
    pub fn finish(&self) -> Result<Vec<u8>, BuildError> {
        self.finish_numbered().map(|(bytes, _)| bytes)
    }

    /// The tree's bytes, and the slot that each node number was built from.
    pub(crate) fn finish_numbered(&self) -> Result<(Vec<u8>, Vec<Slot>), BuildError> {
        let mut out = Sections::begin(&self.nodes)?;
        // Directories in depth-first order, the nodes of one directory one after the other: a listing and a
        // walk then touch neighbouring records.
        let mut todo = vec![Slot::ROOT];
        while let Some(dir) = todo.pop() {
            let from = todo.len();
            out.begin_dir(dir)?;
            for (name, slot) in &self.nodes[dir.index()].children {
                out.entry(&self.nodes, dir, name, *slot)?;
                if self.is_dir(*slot) {
                    todo.push(*slot);
                }
            }
            out.end_dir(dir, todo.len() - from);
            todo[from..].reverse();
        }
        out.bytes()
    }
}

/// The metadata of a node, to be built again.
pub(in crate::store) fn meta_of(tree: &Tree, n: Node) -> NodeMeta {
    let stat = tree.stat(n);
    let xattrs = tree.xattrs(n).map(|(name, value)| (name.into(), value.into())).collect();
    NodeMeta { perm: stat.perm, mtime: stat.mtime, xattrs }
}

/// The item of a node, to be built again; nothing for a damaged one.
pub(in crate::store) fn item_of(tree: &Tree, n: Node) -> Option<Item> {
    let stat = tree.stat(n);
    Some(match tree.kind(n)? {
        FileType::Directory => Item::Dir,
        FileType::Symlink => Item::Symlink(tree.target(n).into()),
        FileType::Fifo => Item::Fifo,
        _ => Item::File { object: tree.object(n)?, size: stat.size, blocks: stat.blocks },
    })
}
