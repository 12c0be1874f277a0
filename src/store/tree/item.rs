//! The nodes of a tree before it is written.

use std::collections::BTreeMap;

use crate::store::{Name, ObjectId};
use crate::sys::fs::Timespec;

/// An extended attribute: name and value.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

/// A node while its tree is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) u32);

impl Slot {
    /// The root directory, which every builder has from the start.
    pub const ROOT: Slot = Slot(0);

    /// Slots are numbered from 0 as they are added.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The metadata of every type of node. `perm` is cut to 07777; xattrs are sorted by name when they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMeta {
    /// Permission bits, with set-id and sticky bits.
    pub perm: u32,
    /// The time of the last change; other times are not kept.
    pub mtime: Timespec,
    /// Each name once.
    pub xattrs: Vec<Xattr>,
}

/// The type of a node, with its content: of a file the object of its bytes, their number, and the disk space in units of
/// 512 bytes; of a symlink the target, to the letter.
#[allow(missing_docs, reason = "the comment of the type has the fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Dir,
    File { object: ObjectId, size: u64, blocks: u64 },
    Symlink(Box<[u8]>),
    Fifo,
}

/// Why a tree cannot be built.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("a name below something that is not a directory")]
    NotADirectory,
    #[error("a directory cannot have a second name")]
    LinkToDirectory,
    #[error("more than a tree can hold: 2³² nodes, names or bytes of names")]
    TooLarge,
}

/// A node of a tree that is being built, at the index of its slot.
pub(super) struct BuiltNode {
    pub meta: NodeMeta,
    pub item: Item,
    pub children: BTreeMap<Name, Slot>,
}
