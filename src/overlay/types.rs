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
#[allow(missing_docs, reason = "the fields are those of stat(2)")]
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
    /// The file system user id (setfsuid(2)) of the program.
    pub uid: u32,
    /// Its file system group id; its other groups are not sent.
    pub gid: u32,
}

/// The changes of one `setattr`; what is `None` or `Keep` stays.
#[derive(Clone, Copy, Debug)]
pub struct SetAttr {
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// The new owner.
    pub uid: Option<u32>,
    /// The new group.
    pub gid: Option<u32>,
    /// In bytes: the file is cut there, or a hole is added.
    pub size: Option<u64>,
    /// The last access.
    pub atime: SetTime,
    /// The last change of the content; ctime follows by itself.
    pub mtime: SetTime,
}

/// One name of a directory listing. `attr` is filled if the caller requested it, and then the caller holds one more
/// reference to the inode (see [`super::Overlay::forget`]).
pub struct DirListing<'a> {
    /// Of `..` in the view's root, the root itself.
    pub ino: Ino,
    /// The position after this name (`position.rs`).
    pub cookie: u64,
    /// The type bits, and permission bits if `attr` is filled.
    pub mode: u32,
    /// As [`Name::bytes`]; also `.` and `..`.
    pub name: &'a [u8],
    /// `None` for a caller that did not request it.
    pub attr: Option<Attr>,
    /// Returns the result of [`super::Overlay::stored`].
    pub stored: &'a dyn Fn() -> Option<Stored>,
}

/// How a name differs from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The trees have no such name.
    Added,
    /// Both have it, with other content, metadata or type.
    Modified,
    /// The view has no such name.
    Deleted,
    /// Nothing of its own, but something below it differs.
    Below,
}

/// One difference between a directory of a view and the store's version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// One name in the directory, not a path.
    pub name: Name,
    /// See [`ChangeKind`].
    pub kind: ChangeKind,
    /// In the view; of a deleted name, in the trees.
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

/// An entry or inode in the kernel's caches that it must drop. An entry is a `name` in the directory `parent`.
#[allow(missing_docs, reason = "the comment of the type has the fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// A name in a directory: the next lookup reaches the server.
    Entry { parent: Ino, name: Name },
    /// Attributes and pages of a file, or the listing of a directory.
    Inode(Ino),
    /// Something was found out about the object that holds the bytes of this file.
    Object(Ino),
}
