//! A tree: the immutable index of one directory, mapped and searched where it lies, never parsed.
//!
//! Every accessor is total: whatever bytes the file holds, it returns (perhaps nothing), never panics,
//! and no walk runs in a circle. Nothing of a tree of the store is shown before its bytes were found to be those of its
//! name, and its records to fit together (`structure`); [`Tree::check`] is stricter.

mod build;
mod checked;
mod compose;
mod file;
mod format;
mod item;
mod sections;
mod structure;
#[cfg(test)]
mod tests;

pub use build::TreeBuilder;
pub(in crate::store) use build::{item_of, meta_of};
pub(crate) use format::TreeError;
use format::{ENTRY, HAS_LINKS, HAS_XATTRS, HEADER, LINK, NO_ENTRY, NODE, OBJECT, RawNode, TreeLayout, XATTR};
pub(in crate::store) use format::{u32_at, u64_at};
pub(crate) use item::BuildError;
pub use item::{Item, NodeMeta, Slot, Xattr};

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use crate::store::{Cookie, Name, ObjectId, TreeId};
use crate::sys::fs::{FileType, Stat, Timespec};
use crate::sys::mmap::Map;

/// The number of a node in its tree. The root directory is [`Node::ROOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u32);

impl Node {
    /// The root directory of every tree.
    pub const ROOT: Node = Node(0);
}

/// The attributes of a node in a tree. `perm` holds the bits of 07777, `blocks` counts 512 bytes; a directory's
/// `nlink` is 2 plus its subdirectories, a file's the number of its names in this tree.
#[allow(missing_docs, reason = "the fields are those of stat(2)")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStat {
    pub kind: FileType,
    pub perm: u32,
    pub size: u64,
    pub blocks: u64,
    pub mtime: Timespec,
    pub nlink: u32,
}

/// One name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// Its position: entries are in the order of their cookies, then of their names.
    pub cookie: Cookie,
    /// As [`crate::store::Name::bytes`].
    pub name: &'a [u8],
    /// Several entries of files may have the same one: hard links.
    pub node: Node,
}

enum Bytes {
    /// And the path of the file.
    Mapped(Map, PathBuf),
    Owned(Vec<u8>),
}

/// A tree in memory or mapped from the store.
pub struct Tree {
    id: TreeId,
    bytes: Bytes,
    layout: TreeLayout,
    /// Its file when it was read.
    times: Option<Stat>,
    /// A bit for each object: its bytes were found to be those of its name.
    checked: OnceLock<Box<[AtomicU64]>>,
    /// The files of more than [`crate::store::id::LARGE`] bytes, as far as the tree was verified.
    large: Box<[Node]>,
}

impl Tree {
    /// A tree that is not (yet) in a store.
    ///
    /// # Errors
    /// The bytes are no sound tree of a known version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Tree, TreeError> {
        Tree::new(TreeId::of(&bytes), Bytes::Owned(bytes))
    }

    fn new(id: TreeId, bytes: Bytes) -> Result<Tree, TreeError> {
        let all: &[u8] = match &bytes {
            Bytes::Mapped(m, _) => m,
            Bytes::Owned(v) => v,
        };
        let layout = TreeLayout::read(all, all.len() as u64)?;
        let tree = Tree { id, bytes, layout, times: None, checked: OnceLock::new(), large: Box::default() };
        if tree.kind(Node::ROOT) != Some(FileType::Directory) {
            return Err(TreeError::Damaged("the root is not a directory"));
        }
        Ok(tree)
    }

    /// The name of the tree's file in the store; it is not computed again from the bytes.
    pub fn id(&self) -> TreeId {
        self.id
    }

    /// The tree's bytes; its id is their BLAKE3 hash.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(m, _) => m,
            Bytes::Owned(v) => v,
        }
    }

    /// The number of nodes, root included: nodes are numbered from 0 to one less. A file of several names is one.
    pub fn node_count(&self) -> u32 {
        self.layout.nodes
    }

    /// The bytes of all files, hard-linked ones counted once.
    pub fn content_bytes(&self) -> u64 {
        self.layout.content_bytes
    }

    /// The files of more than [`crate::store::id::LARGE`] bytes, of a tree of a store.
    pub fn large(&self) -> impl Iterator<Item = Node> + '_ {
        self.large.iter().copied()
    }

    /// The ids of all objects the tree needs, each once.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> + '_ {
        (0..self.layout.objects).filter_map(|n| self.object_at(n))
    }

    /// The attributes of `n`; those of an empty file without permissions for a number that is no node.
    pub fn stat(&self, n: Node) -> NodeStat {
        let raw = self.raw(n).unwrap_or_default();
        NodeStat {
            kind: kind_of(raw.mode).unwrap_or(FileType::RegularFile),
            perm: u32::from(raw.mode) & 0o7777,
            size: raw.size.min(i64::MAX as u64),
            blocks: raw.blocks.into(),
            mtime: Timespec { sec: raw.mtime_sec, nsec: raw.mtime_nsec.min(999_999_999) },
            nlink: raw.nlink,
        }
    }

    /// The type of `n`: a file, directory, symlink or fifo.
    pub fn kind(&self, n: Node) -> Option<FileType> {
        kind_of(self.raw(n)?.mode)
    }

    /// The node that `name` names in `dir`: a binary search, no scan.
    pub fn lookup(&self, dir: Node, name: &Name) -> Option<Node> {
        let (first, end) = self.range(dir);
        let at = partition(first, end, |e| self.is_before(e, name));
        let found = (at < end).then(|| self.entry(dir, at)).flatten();
        found.filter(|e| e.cookie == name.cookie() && e.name == name.bytes()).map(|e| e.node)
    }

    /// The names of `dir` whose cookie is greater than `after`, in order of (cookie, bytes).
    pub fn entries(&self, dir: Node, after: u64) -> impl Iterator<Item = TreeEntry<'_>> + '_ {
        let (first, end) = self.range(dir);
        let at = self.search(first, end, |cookie| cookie <= after);
        let mut last = Cookie(after);
        (at..end)
            .map_while(move |e| {
                let sorted = self.cookie(e) >= last;
                last = self.cookie(e);
                sorted.then_some(e)
            })
            .filter_map(move |e| self.entry(dir, e))
    }

    /// The names of `dir` after one, in order of (cookie, bytes).
    pub fn entries_after(&self, dir: Node, after: &Name) -> impl Iterator<Item = TreeEntry<'_>> + '_ {
        let (first, end) = self.range(dir);
        let at = partition(first, end, |e| self.is_before(e, after));
        let is_it = at < end && self.cookie(at) == after.cookie() && self.entry_name(at) == after.bytes();
        let mut last = after.cookie();
        (at + u32::from(is_it)..end)
            .map_while(move |e| {
                let sorted = self.cookie(e) >= last;
                last = self.cookie(e);
                sorted.then_some(e)
            })
            .filter_map(move |e| self.entry(dir, e))
    }

    /// How many names `dir` has.
    pub fn entry_count(&self, dir: Node) -> u32 {
        let (first, end) = self.range(dir);
        end - first
    }

    /// Directory and first name of `n`; nothing for the root.
    pub fn place(&self, n: Node) -> Option<(Node, &[u8])> {
        let raw = self.raw(n)?;
        if raw.entry == NO_ENTRY || raw.parent >= n.0 {
            return None;
        }
        self.placed(n, raw.parent, raw.entry)
    }

    /// All names of `n`: one, or for a hard-linked file as many as it has links in this tree.
    pub fn places(&self, n: Node) -> impl Iterator<Item = (Node, &[u8])> + '_ {
        let raw = self.raw(n).unwrap_or_default();
        let links = if raw.flags & HAS_LINKS != 0 { self.layout.links } else { 0 };
        let at = |i: u32| self.layout.links_at + i as usize * LINK;
        let first = partition(0, links, |i| self.u32(at(i)) < n.0);
        let more = (first..links)
            .take_while(move |i| self.u32(at(*i)) == n.0)
            .filter_map(move |i| self.placed(n, self.u32(at(i) + 4), self.u32(at(i) + 8)));
        self.place(n).into_iter().chain(more)
    }

    /// The object that holds the bytes of a regular file; nothing for other types.
    pub fn object(&self, n: Node) -> Option<ObjectId> {
        let raw = self.raw(n)?;
        if kind_of(raw.mode) != Some(FileType::RegularFile) {
            return None;
        }
        self.object_at(raw.data)
    }

    /// The target of a symlink; empty for other types.
    pub fn target(&self, n: Node) -> &[u8] {
        match self.raw(n) {
            Some(raw) if kind_of(raw.mode) == Some(FileType::Symlink) => {
                self.string(raw.data, raw.size).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// The extended attributes of `n`: (name, value), sorted by name.
    pub fn xattrs(&self, n: Node) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        let raw = self.raw(n).unwrap_or_default();
        let count = if raw.flags & HAS_XATTRS != 0 { self.layout.xattrs } else { 0 };
        let at = |i: u32| self.layout.xattrs_at + i as usize * XATTR;
        let first = partition(0, count, |i| self.u32(at(i)) < n.0);
        (first..count).take_while(move |i| self.u32(at(*i)) == n.0).filter_map(move |i| {
            let value = self.string(self.u32(at(i) + 8), self.u32(at(i) + 12).into())?;
            Some((self.short(self.u32(at(i) + 4))?, value))
        })
    }

    /// Whether these are exactly the bytes that [`TreeBuilder`] writes for the tree's content: a tree is sound
    /// when building it again gives it back.
    ///
    /// # Errors
    /// The first damage that is found.
    pub fn check(&self) -> Result<(), TreeError> {
        let counts = (0..self.node_count()).map(|n| u64::from(self.entry_count(Node(n))));
        if counts.sum::<u64>() != u64::from(self.layout.entries) {
            return Err(TreeError::Damaged("directories share names, or names belong to none"));
        }
        match TreeBuilder::from_tree(self).finish() {
            Ok(bytes) if bytes == self.bytes() => Ok(()),
            _ => Err(TreeError::Damaged("its records contradict each other")),
        }
    }

    fn u32(&self, at: usize) -> u32 {
        format::u32_at(self.bytes(), at)
    }

    fn raw(&self, n: Node) -> Option<RawNode> {
        (n.0 < self.layout.nodes).then(|| RawNode::read(self.bytes(), HEADER + n.0 as usize * NODE))
    }

    /// The entries of `dir`, as numbers; none when the record is no directory or points outside.
    fn range(&self, dir: Node) -> (u32, u32) {
        let Some(raw) = self.raw(dir) else { return (0, 0) };
        match raw.data.checked_add(raw.count) {
            Some(end) if end <= self.layout.entries && kind_of(raw.mode) == Some(FileType::Directory) => {
                (raw.data, end)
            }
            _ => (0, 0),
        }
    }

    fn search(&self, first: u32, end: u32, before: impl Fn(u64) -> bool) -> u32 {
        partition(first, end, |e| before(self.cookie(e).0))
    }

    /// Whether an entry sorts before a name. Names are read where cookies are equal: any number of them may be.
    fn is_before(&self, entry: u32, name: &Name) -> bool {
        match self.cookie(entry).cmp(&name.cookie()) {
            Ordering::Equal => self.entry_name(entry) < name.bytes(),
            unequal => unequal == Ordering::Less,
        }
    }

    fn entry_name(&self, entry: u32) -> &[u8] {
        self.short(self.u32(self.layout.entries_at + entry as usize * ENTRY + 8)).unwrap_or_default()
    }

    fn cookie(&self, entry: u32) -> Cookie {
        Cookie(format::u64_at(self.bytes(), self.layout.entries_at + entry as usize * ENTRY))
    }

    /// Entry number `entry` as a name in `dir`; nothing when it is damaged or would lead back up.
    fn entry(&self, dir: Node, entry: u32) -> Option<TreeEntry<'_>> {
        let at = self.layout.entries_at + entry as usize * ENTRY;
        let node = Node(self.u32(at + 12));
        let raw = self.raw(node)?;
        // A directory has one name, the one in its record: nothing is reached twice or from below.
        let own = raw.parent == dir.0 && raw.entry == entry && node > dir;
        if kind_of(raw.mode)? == FileType::Directory && !own {
            return None;
        }
        let (cookie, name) = (self.cookie(entry), self.name(self.u32(at + 8))?);
        // Listings go on after the cookie that a name has: under another one they would never end.
        (cookie == Cookie::of(name)).then_some(TreeEntry { cookie, name, node })
    }

    fn placed(&self, n: Node, parent: u32, entry: u32) -> Option<(Node, &[u8])> {
        let (first, end) = self.range(Node(parent));
        if !(first..end).contains(&entry) {
            return None;
        }
        let found = self.entry(Node(parent), entry)?;
        (found.node == n).then_some((Node(parent), found.name))
    }

    fn object_at(&self, number: u32) -> Option<ObjectId> {
        if number >= self.layout.objects {
            return None;
        }
        let at = self.layout.objects_at + number as usize * OBJECT;
        self.bytes().get(at..at + OBJECT)?.try_into().ok().map(ObjectId)
    }

    fn strings(&self) -> &[u8] {
        &self.bytes()[self.layout.strings_at..self.layout.links_at]
    }

    fn string(&self, at: u32, len: u64) -> Option<&[u8]> {
        let at = at as usize;
        self.strings().get(at..at.checked_add(usize::try_from(len).ok()?)?)
    }

    /// A string of up to 255 bytes that follows its length byte.
    fn short(&self, at: u32) -> Option<&[u8]> {
        let len = *self.strings().get(at as usize)?;
        self.string(at.checked_add(1)?, len.into())
    }

    /// A string that is fit to be a file's name.
    fn name(&self, at: u32) -> Option<&[u8]> {
        let name = self.short(at)?;
        let bad = matches!(name, b"" | b"." | b"..") || name.iter().any(|b| matches!(b, b'/' | 0));
        (!bad).then_some(name)
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("id", &self.id).field("nodes", &self.layout.nodes).finish()
    }
}

/// The types a tree can hold.
fn kind_of(mode: u16) -> Option<FileType> {
    let kind = FileType::from_raw_mode(mode.into());
    use FileType::{Directory, Fifo, RegularFile, Symlink};
    matches!(kind, RegularFile | Directory | Symlink | Fifo).then_some(kind)
}

/// The first number in `from..to` for which `before` is false, if it is true for all below that.
fn partition(from: u32, to: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
