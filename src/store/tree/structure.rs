//! Whether a tree's records fit together, found out in one pass: what a view needs before it shows one.
//!
//! [`Tree::check`] is stricter, and many times as slow.

use super::format::{HAS_LINKS, HAS_XATTRS, LINK, XATTR};
use super::{Cookie, Node, Tree, TreeError, kind_of};
use crate::store::LARGE;
use crate::sys::fs::FileType;

impl Tree {
    /// Whether each name has its own cookie and its place in the order, each number leads to what is there, and each
    /// node has the name in its record. Then the files of more than [`crate::store::id::LARGE`] bytes.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn check_structure(&self) -> Result<Vec<Node>, TreeError> {
        let (mut entries, mut large) = (0u64, Vec::new());
        for n in (0..self.node_count()).map(Node) {
            let size = self.check_node(n)?;
            large.extend((size > LARGE).then_some(n));
            entries += u64::from(self.check_names(n)?);
        }
        let all_used = entries == u64::from(self.layout.entries);
        damaged(all_used, "directories share names, or names belong to none")?;
        damaged(self.is_sorted(self.layout.links, self.layout.links_at, LINK), "its links are not in order")?;
        damaged(self.is_sorted(self.layout.xattrs, self.layout.xattrs_at, XATTR), "its xattrs are not in order")?;
        Ok(large)
    }

    /// Answers how many bytes the file has; of what is no file none.
    fn check_node(&self, n: Node) -> Result<u64, TreeError> {
        let raw = self.raw(n).unwrap_or_default();
        let has_data = match kind_of(raw.mode) {
            Some(FileType::RegularFile) => self.object(n).is_some(),
            Some(FileType::Symlink) => self.string(raw.data, raw.size).is_some(),
            Some(FileType::Directory) => raw.data.checked_add(raw.count).is_some_and(|end| end <= self.layout.entries),
            Some(_) => true,
            None => false,
        };
        damaged(has_data, "a node is of no type, or what it holds lies outside")?;
        damaged(raw.flags & !(HAS_LINKS | HAS_XATTRS) == 0, "a node has flags that are not known")?;
        damaged(n == Node::ROOT || self.place(n).is_some(), "a node has no name")?;
        Ok(if kind_of(raw.mode) == Some(FileType::RegularFile) { raw.size } else { 0 })
    }

    /// How many names `dir` has, which are in order; none for what is no directory.
    fn check_names(&self, dir: Node) -> Result<u32, TreeError> {
        let (first, end) = self.range(dir);
        let mut last: Option<(Cookie, &[u8])> = None;
        for number in first..end {
            let entry = self.entry(dir, number).ok_or(TreeError::Damaged("a name is damaged"))?;
            damaged(last < Some((entry.cookie, entry.name)), "the names of a directory are not in order")?;
            last = Some((entry.cookie, entry.name));
        }
        Ok(end - first)
    }

    /// Whether records that begin with the number of a node are sorted by it.
    fn is_sorted(&self, records: u32, at: usize, size: usize) -> bool {
        let node = |i: u32| self.u32(at + i as usize * size);
        (1..records).all(|i| node(i - 1) <= node(i))
    }
}

fn damaged(is_sound: bool, why: &'static str) -> Result<(), TreeError> {
    if is_sound { Ok(()) } else { Err(TreeError::Damaged(why)) }
}
