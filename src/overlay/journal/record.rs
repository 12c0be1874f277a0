//! The records of a journal, in frames that hold whole or not at all.

use std::collections::BTreeMap;

use crate::store::{Name, TreeId};
use crate::sys::fs::Timespec;

use super::super::types::Ino;

/// Metadata of a file whose bytes are still the store's. A `None` means the tree's value.
#[allow(missing_docs, reason = "the fields are those of stat(2)")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaChange {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<Timespec>,
    pub mtime: Option<Timespec>,
    pub ctime: Option<Timespec>,
    /// All of the file's extended attributes, when they were changed.
    pub xattrs: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MetaChange {
    /// Whether it holds more than times.
    pub fn is_dressed(&self) -> bool {
        self.mode.is_some() || self.uid.is_some() || self.gid.is_some() || self.xattrs.is_some()
    }

    /// The same, but as if the extended attributes were the tree's.
    pub fn without_xattrs(&self) -> MetaChange {
        let MetaChange { mode, uid, gid, atime, mtime, ctime, xattrs: _ } = *self;
        MetaChange { mode, uid, gid, atime, mtime, ctime, xattrs: None }
    }
}

/// One part of the state that a plain directory can't hold. `dir` and `name` are a location; `ino` is an inode number of
/// the view, `real` one of the upper's file system, and `born` the birth of that inode in nanoseconds since 1970.
/// `time` becomes mtime and ctime of `dir` (of `Xattr`: ctime of the file); `None` leaves them.
#[allow(missing_docs, reason = "the comment of the type has the fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The upper that the journal belongs to: the inode number and birth of its root directory.
    Root { real: u64, born: u64 },
    /// A tree shows at the path `at`, above those that the journal named before it. Its `nodes` have the inode numbers
    /// from `base` on. With no `nodes`, as no tree is: it is retired, and what was moved out of it is kept. A program
    /// that doesn't know the second passes it over.
    Graft { base: u64, nodes: u32, tree: TreeId, at: Vec<u8> },
    /// The lower's entry at this name is hidden.
    Whiteout { dir: Ino, name: Name, time: Option<Timespec> },
    /// At this name is the store's file or directory `ino`, wherever it was before.
    Moved { dir: Ino, name: Name, ino: Ino, time: Option<Timespec> },
    /// The name is again what lies below.
    Unset { dir: Ino, name: Name, time: Option<Timespec> },
    /// Nothing of what lies below shows in this directory.
    Opaque { dir: Ino },
    /// All records about names in this directory are void (it was removed, or starts anew).
    Cleared { dir: Ino },
    /// All metadata of a lower file that differs from its tree's; the default: none does.
    Meta { ino: Ino, meta: MetaChange },
    /// The upper's inode `real` holds this file now.
    Copied { ino: Ino, real: u64, born: u64 },
    /// The file has no copy any more: its tree's bytes show.
    Uncopied { ino: Ino },
    /// The location of a directory that is only in the upper; kept for those that other records name.
    Place { ino: Ino, dir: Ino, name: Name },
    /// One extended attribute of an uncopied file has this value, or is gone; the others stay. Of a newer format.
    Xattr { ino: Ino, name: Vec<u8>, value: Option<Vec<u8>>, time: Timespec },
    /// As [`Record::Meta`], but the extended attributes stay as they are. Of a newer format.
    Dress { ino: Ino, meta: MetaChange },
}

impl Record {
    /// Whether it changes names or metadata. A plain file system has those on its disk in the order in which they were
    /// made, so nothing later may be there without it.
    pub fn is_ordered(&self) -> bool {
        match self {
            Record::Meta { meta, .. } => *meta != MetaChange::default(),
            Record::Xattr { .. } | Record::Dress { .. } => true,
            Record::Whiteout { .. }
            | Record::Moved { .. }
            | Record::Unset { .. }
            | Record::Opaque { .. }
            | Record::Cleared { .. }
            | Record::Place { .. } => true,
            Record::Root { .. } | Record::Graft { .. } | Record::Copied { .. } | Record::Uncopied { .. } => false,
        }
    }
}

impl Record {
    /// Whether it retires a graft.
    pub fn is_retirement(&self) -> bool {
        matches!(self, Record::Graft { nodes: 0, .. })
    }

    /// Whether something shows that a tree has, and that tree may not show it without this record.
    pub fn needs_its_tree(&self) -> bool {
        match self {
            Record::Meta { meta: m, .. } | Record::Dress { meta: m, .. } => m.is_dressed(),
            Record::Moved { .. } | Record::Xattr { .. } => true,
            _ => false,
        }
    }

    /// The last records of each graft, in the order in which they were written.
    pub fn last_of_grafts(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
        let mut last: Vec<Record> = Vec::new();
        for record in records {
            let Record::Graft { base, nodes, .. } = record else { continue };
            let is_its = |r: &Record| matches!(r, Record::Graft { base: b, nodes: n, .. } if *b == base && (nodes > 0 || *n == 0));
            last.retain(|r| !is_its(r));
            last.push(record);
        }
        last
    }

    /// Whether format 1 has no such record.
    pub fn is_newer(&self) -> bool {
        matches!(self, Record::Xattr { .. } | Record::Dress { .. })
    }
}

/// The check, after a crash, whether the change of a prepared frame took place in the upper.
#[allow(missing_docs, reason = "the comment of the type has the fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It did if `name` in `dir` is the upper's inode `real`.
    Present { dir: Ino, name: Name, real: u64 },
    /// It did if `name` in `dir` isn't the upper's inode `real`.
    Absent { dir: Ino, name: Name, real: u64 },
}

/// The contents of one append to the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The records hold.
    Plain(Vec<Record>),
    /// The records hold if the change of the upper took place, which the next frame or the check decides.
    Prepared(Check, Vec<Record>),
    /// These hold with the next plain or prepared frame, or not at all. Of a newer format.
    Part(Vec<Record>),
    /// The prepared frame before it holds.
    Done,
    /// The prepared frame before it is void.
    Undone,
}

impl Frame {
    /// The records of this frame.
    pub fn records(&self) -> &[Record] {
        match self {
            Frame::Plain(records) | Frame::Prepared(_, records) | Frame::Part(records) => records,
            Frame::Done | Frame::Undone => &[],
        }
    }
}

/// The bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;
