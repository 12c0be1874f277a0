//! One view without a kernel: an upper directory, a journal and grafts become one directory tree.
//!
//! | layer   | what it holds                                                               | where |
//! |---------|-----------------------------------------------------------------------------|-------|
//! | upper   | this worktree's own files, as plain files                                    | the worktree's own directory |
//! | journal | what a plain directory can't say: whiteouts, moved lower names, metadata of uncopied files | the worktree's git directory |
//! | lower   | trees of the store, grafted                                                  | the store |
//!
//! A name resolves in that order. Every method takes and gives what the kernel's FUSE protocol needs, but
//! nothing here knows of FUSE: the tests drive it directly.

mod atime;
mod attr;
mod cache;
mod changes;
mod changing;
mod compare;
mod copy_up;
mod counters;
mod create;
mod emptied;
mod error;
mod files;
mod give_up;
mod graft;
mod home;
mod intact;
pub mod journal;
mod lacking;
mod loosened;
mod lost;
mod lower;
mod names;
mod numbers;
mod open;
mod orphan;
mod position;
mod read;
mod readdir;
mod remove;
mod rename;
mod renumber;
mod resolve;
mod restore;
mod sound;
mod state;
mod stored;
mod sync;
#[cfg(test)]
mod tests;
mod unchanged;
mod uncover;
mod unsettled;
mod upper;
mod write;
mod xattr;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::Name;
use crate::sys::fs::{self, SetTime, StatVfs, Timespec};

pub use counters::Counts;
pub use error::{Error, Result};
pub use graft::{GraftSpec, Stale};
pub use home::IN_UPPER;
pub use numbers::{LOWER_END, OTHER};
pub use open::OverlayConfig;
use resolve::View;
pub use stored::Stored;
pub use sync::Sync;
pub use unchanged::{Laid, Unchanged};
pub use uncover::Covered;
pub use write::Wrote;

/// An inode number of a view. It never changes while the file exists, not by a copy-up, not by a remount. The ranges
/// are in `numbers.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    pub const ROOT: Ino = Ino(1);
}

/// What `stat(2)` says of a file in a view. `mode` holds type and permissions, `blocks` counts 512 bytes.
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

/// Who asks: new files belong to them.
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

/// One name of a directory listing. `attr` is filled when the caller asked for it, and then the caller
/// holds one more reference to the inode (see [`Overlay::forget`]).
pub struct Listed<'a> {
    pub ino: Ino,
    /// The position after this name (`position.rs`).
    pub cookie: u64,
    pub mode: u32,
    pub name: &'a [u8],
    pub attr: Option<Attr>,
    /// What [`Overlay::stored`] would say.
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

/// One difference between a directory of a view and what the store says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: Name,
    pub kind: ChangeKind,
    pub is_dir: bool,
    /// The position after it, from which the directory's other changes are asked for.
    pub cookie: u64,
}

/// One view. All methods may be called from several threads at once.
pub struct Overlay {
    view: Arc<Mutex<View>>,
    counters: Arc<counters::Counters>,
}

impl Overlay {
    /// What shows at a name. Counts one reference, until [`Overlay::forget`].
    pub fn lookup(&self, parent: Ino, name: &Name) -> Result<Attr> {
        let mut view = self.view.lock();
        let found = view.resolve(parent, name)?;
        view.referenced(&found)
    }

    /// What has this number, when it shows anywhere; its number may have been kept outside, as a file handle. Counts one
    /// reference.
    pub fn lookup_number(&self, ino: Ino) -> Result<Attr> {
        let mut view = self.view.lock();
        let found = view.find(ino)?;
        view.referenced(&found)
    }

    /// The directory that this directory is in; the root is in itself. Counts one reference.
    pub fn lookup_parent(&self, dir: Ino) -> Result<Attr> {
        let mut view = self.view.lock();
        let parent = if dir == Ino::ROOT { dir } else { view.dir_place(dir)?.0 };
        let found = view.find(parent)?;
        view.referenced(&found)
    }

    /// The kernel gives back `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.view.lock().forget(ino, count);
    }

    pub fn getattr(&self, ino: Ino) -> Result<Attr> {
        self.view.lock().attr(ino)
    }

    /// Changes metadata and size; returns what then holds.
    pub fn setattr(&self, ino: Ino, caller: Caller, set: SetAttr) -> Result<Attr> {
        self.view.lock().set_attr(ino, caller, set)
    }

    /// The figures of the file system that holds the upper: that is where writes go.
    pub fn statfs(&self) -> Result<StatVfs> {
        let view = self.view.lock();
        fs::statfs(&*view.upper.root).map_err(error::upper("ask for free space"))
    }

    /// No name is left in the view's root.
    pub fn root_is_empty(&self) -> bool {
        self.view.lock().is_empty_dir(Ino::ROOT).unwrap_or(false)
    }
}
