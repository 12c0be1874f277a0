//! The small types of a view: inode numbers, attributes, names of a listing, and changes.

use crate::store::Name;
use crate::sys::fs::{SetTime, Timespec};

/// An inode number of a view. It never changes while the file exists, not by a copy-up, not by a remount. The ranges
/// are in `numbers.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The view's root directory: 1, as the kernel requires of FUSE.
    pub const ROOT: Ino = Ino(1);
}

/// The attributes of a file in a view, as `stat(2)` reports them. `mode` holds type and permissions, `blocks` counts
/// 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    pub ino: Ino,
    /// Tells a file of the upper from a later one with the same number; for others 0.
    pub generation: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
}

/// The user and group of a request: new files belong to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

/// The changes of one `setattr`; what is `None` or `Keep` stays.
#[derive(Clone, Copy, Debug)]
pub struct SetAttr {
    /// Permission bits (07777).
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: SetTime,
    pub mtime: SetTime,
}

/// One name of a directory listing. `attr` is filled if the caller requested it, and then the caller holds one more
/// reference to the inode (see [`super::Overlay::forget`]).
pub struct DirListing<'a> {
    pub ino: Ino,
    /// The position after this name (`position.rs`).
    pub cookie: u64,
    pub mode: u32,
    pub name: &'a [u8],
    pub attr: Option<Attr>,
    /// Returns the result of [`super::Overlay::stored`].
    pub stored: &'a dyn Fn() -> Option<Stored>,
}

/// How a name differs from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
    /// Nothing of its own, but something below it differs.
    Below,
}

/// One difference between a directory of a view and the store's version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: Name,
    pub kind: ChangeKind,
    pub is_dir: bool,
    /// The position after it, from which the directory's other changes are listed.
    pub cookie: u64,
}

/// A regular file of the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// In the store, in bytes.
    pub size: u64,
    /// The bytes shown are the worktree's own.
    pub copied: bool,
}

/// An entry or inode in the kernel's caches that it must drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    Entry {
        parent: Ino,
        name: Name,
    },
    Inode(Ino),
    /// Something was found out about the object that holds the bytes of this file.
    Object(Ino),
}
