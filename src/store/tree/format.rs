//! The bytes of a tree, version 1: where everything lies, and how a record is read and written.
//!
//! All numbers are little-endian; reserved bytes are zero; the sections follow each other without gaps and
//! end with the file. Nothing is aligned by more than 4 bytes and nothing is read as a struct.
//!
//! | section | offset                 | record | what a record is                                  |
//! |---------|------------------------|--------|---------------------------------------------------|
//! | header  | 0                      | 64     | below                                             |
//! | nodes   | 64                     | 48     | one file, directory, symlink or fifo; 0 is the root |
//! | entries | after nodes            | 16     | one name; a directory's names lie together, sorted by (cookie, name) |
//! | strings | after entries          | 1      | names (a length byte, then the bytes), symlink targets and xattr values (bytes) |
//! | links   | after strings          | 12     | one more name of a hard-linked file, sorted by node |
//! | xattrs  | after links            | 16     | one extended attribute, sorted by (node, name)    |
//! | objects | after xattrs           | 32     | one object id; each once                          |
//!
//! A walk with `stat` touches nodes, entries and strings; the other sections lie behind them.
//!
//! | header | size | field                      | node | size | field                                      |
//! |--------|------|----------------------------|------|------|--------------------------------------------|
//! | 0      | 8    | magic `depsfs T`           | 0    | 8    | size in bytes                              |
//! | 8      | 4    | version, 1                 | 8    | 8    | mtime, seconds since 1970, signed          |
//! | 12     | 4    | number of nodes            | 16   | 4    | mtime, nanoseconds                         |
//! | 16     | 4    | number of entries          | 20   | 4    | blocks of 512 bytes (2³²−1: that or more)  |
//! | 20     | 4    | number of links            | 24   | 2    | mode: type and permission bits             |
//! | 24     | 4    | number of xattrs           | 26   | 2    | flags: 1 has xattrs, 2 has links           |
//! | 28     | 4    | number of objects          | 28   | 4    | file: object · dir: first entry · symlink: string |
//! | 32     | 8    | bytes of strings           | 32   | 4    | dir: number of entries; else 0             |
//! | 40     | 8    | bytes of all files, each once | 36 | 4   | nlink                                      |
//! | 48     | 16   | reserved                   | 40   | 4    | parent directory; the root: 0              |
//! |        |      |                            | 44   | 4    | entry of its first name; the root: 2³²−1   |
//!
//! | entry | size | field  | link | size | field            | xattr | size | field              |
//! |-------|------|--------|------|------|------------------|-------|------|--------------------|
//! | 0     | 8    | cookie | 0    | 4    | node             | 0     | 4    | node               |
//! | 8     | 4    | string | 4    | 4    | parent directory | 4     | 4    | name: string       |
//! | 12    | 4    | node   | 8    | 4    | entry            | 8     | 4    | value: string      |
//! |       |      |        |      |      |                  | 12    | 4    | bytes of the value |
//!
//! A directory's number is greater than its parent's, and a file's is greater than that of the directory
//! of its first name: so no walk, up or down, can go in a circle, whatever the bytes say.

/// The first eight bytes of a tree.
pub(super) const MAGIC: [u8; 8] = *b"depsfs T";
/// The only version that is read and written. Other bytes get another version.
pub(super) const VERSION: u32 = 1;
/// The length of the header in bytes.
pub(super) const HEADER: usize = 64;
/// The length of a node's record in bytes.
pub(super) const NODE: usize = 48;
/// The length of a directory entry's record in bytes.
pub(super) const ENTRY: usize = 16;
/// The length of the record of a further name of a file, in bytes.
pub(super) const LINK: usize = 12;
/// The length of an extended attribute's record in bytes.
pub(super) const XATTR: usize = 16;
/// The length of an object id in bytes.
pub(super) const OBJECT: usize = 32;

/// Node flag: the xattr section has records of this node.
pub(super) const HAS_XATTRS: u16 = 1;
/// Node flag: the link section has records of this node.
pub(super) const HAS_LINKS: u16 = 2;
/// The entry number that the root has in place of a first name.
pub(super) const NO_ENTRY: u32 = u32::MAX;

/// Why bytes are not a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("not a tree: the first bytes are wrong")]
    Magic,
    #[error("it has version {0}, this depsfs knows {VERSION}")]
    Version(u32),
    #[error("the tree's length differs from the one in its header")]
    Length,
    #[error("its bytes are not those of its name")]
    OtherBytes,
    #[error("the tree is damaged: {0}")]
    Damaged(&'static str),
}

/// Reads `N` bytes at `at`; zeros past the end, so that no bytes can make a reader panic.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N).and_then(|end| bytes.get(at..end)).and_then(|s| s.try_into().ok()).unwrap_or([0; N])
}

/// A little-endian number; 0 if it does not lie inside `bytes`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(take(bytes, at))
}

pub(in crate::store) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(take(bytes, at))
}

pub(in crate::store) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(take(bytes, at))
}

/// The sections of one tree: how many records they have, and their offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeLayout {
    pub nodes: u32,
    pub entries: u32,
    pub links: u32,
    pub xattrs: u32,
    pub objects: u32,
    pub content_bytes: u64,
    pub entries_at: usize,
    pub strings_at: usize,
    pub links_at: usize,
    pub xattrs_at: usize,
    pub objects_at: usize,
}

impl TreeLayout {
    /// Reads the header, the first of these bytes, of a tree of `len` bytes, and checks it.
    pub fn read(bytes: &[u8], len: u64) -> Result<TreeLayout, TreeError> {
        if bytes.len() < HEADER || bytes[..8] != MAGIC {
            return Err(TreeError::Magic);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(TreeError::Version(version));
        }
        if bytes[48..HEADER] != [0; 16] {
            return Err(TreeError::Damaged("reserved bytes are set"));
        }
        let count = |at| u32_at(bytes, at);
        let (nodes, entries, links, xattrs, objects) = (count(12), count(16), count(20), count(24), count(28));
        let strings = usize::try_from(u64_at(bytes, 32)).map_err(|_| TreeError::Length)?;
        let after = |at: usize, number: u32, size: usize| {
            (number as usize).checked_mul(size).and_then(|n| at.checked_add(n)).ok_or(TreeError::Length)
        };
        let entries_at = after(HEADER, nodes, NODE)?;
        let strings_at = after(entries_at, entries, ENTRY)?;
        let links_at = strings_at.checked_add(strings).ok_or(TreeError::Length)?;
        let xattrs_at = after(links_at, links, LINK)?;
        let objects_at = after(xattrs_at, xattrs, XATTR)?;
        if after(objects_at, objects, OBJECT)? as u64 != len {
            return Err(TreeError::Length);
        }
        let content_bytes = u64_at(bytes, 40);
        let counts = TreeLayout {
            nodes,
            entries,
            links,
            xattrs,
            objects,
            content_bytes,
            entries_at,
            strings_at,
            links_at,
            xattrs_at,
            objects_at,
        };
        Ok(counts)
    }
}

/// One node as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RawNode {
    pub size: u64,
    pub mtime_sec: i64,
    pub mtime_nsec: u32,
    pub blocks: u32,
    pub mode: u16,
    pub flags: u16,
    pub data: u32,
    pub count: u32,
    pub nlink: u32,
    pub parent: u32,
    pub entry: u32,
}

impl RawNode {
    /// The record that begins at offset `at`; zeros if it does not lie inside `bytes`. Its numbers are not checked.
    pub fn read(bytes: &[u8], at: usize) -> RawNode {
        let record: [u8; NODE] = take(bytes, at);
        RawNode {
            size: u64_at(&record, 0),
            mtime_sec: u64_at(&record, 8) as i64,
            mtime_nsec: u32_at(&record, 16),
            blocks: u32_at(&record, 20),
            mode: u16_at(&record, 24),
            flags: u16_at(&record, 26),
            data: u32_at(&record, 28),
            count: u32_at(&record, 32),
            nlink: u32_at(&record, 36),
            parent: u32_at(&record, 40),
            entry: u32_at(&record, 44),
        }
    }

    /// Adds the [`NODE`] bytes of the record to `out`, little-endian.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.mtime_sec.to_le_bytes());
        out.extend_from_slice(&self.mtime_nsec.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&self.mode.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        for word in [self.data, self.count, self.nlink, self.parent, self.entry] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
}
