//! One view without a kernel: an upper directory, a journal and grafts become one directory tree.
//!
//! | layer   | what it holds                                                               | where |
//! |---------|-----------------------------------------------------------------------------|-------|
//! | upper   | this worktree's own files, as plain files                                    | the worktree's own directory |
//! | journal | what a plain directory can't say: whiteouts, moved lower names, metadata of uncopied files | the worktree's git directory |
//! | lower   | trees of the store, grafted                                                  | the store |
//!
//! A name resolves in that order. Every method takes and returns what the kernel's FUSE protocol needs, but nothing
//! here depends on FUSE: the tests drive it directly.
//!
//! | file | contents |
//! |------|----------|
//! | `view`, `types` | the state behind the view's one lock, and its small types |
//! | `open`, `state_dir`, `recheck`, `intact` | a view is opened; its journal and work directory; trees that change while it is open |
//! | `resolve`, `names`, `position`, `readdir`, `merged` | which file a name is, the names of a file, and listings in their order |
//! | `attr`, `xattr`, `atime` | metadata, extended attributes, access times |
//! | `read`, `at_hand`, `files`, `cache`, `dirs` | bytes to read, from memory or the disk; open files and directories |
//! | `create`, `remove`, `rename`, `write` | one file for each kind of change |
//! | `copy_up`, `changing` | the first write to a shared file; the order of a change's steps |
//! | `writeback`, `intents`, `lacking`, `open_file`, `sync` | bytes that are not on disk yet, and `fsync` |
//! | `orphan` | deleted files that are still open |
//! | `upper`, `loosened`, `restore_modes` | the worktree's own directory, and its files without permission for the server |
//! | `lower`, `stored`, `lost` | the grafts as one tree; the store's version of a file; results of checks |
//! | `relocated`, `relocations` | files that show the worktree's path in place of the source's |
//! | `journal/`, `state`, `sound` | the records on disk, in memory, and their repair |
//! | `numbers`, `renumber` | inode numbers, also of an upper that was copied |
//! | `graft`, `compare`, `going`, `reshape` | other trees, while the view is mounted or not |
//! | `changes`, `unchanged`, `counters` | what differs from the store, what does not, and how much was done |
//! | `restore`, `shadowed`, `drop_unchanged` | `thaw` and `reset`; deleted files of a graft show again; equal copies are dropped |
//! | `moved` | directories that were moved elsewhere: their places, and a reset that leaves them there |

mod at_hand;
mod atime;
mod attr;
mod cache;
mod changes;
mod changing;
mod compare;
mod copy_up;
mod counters;
mod create;
mod dirs;
mod drop_unchanged;
mod error;
mod files;
mod going;
mod graft;
mod intact;
mod intents;
pub mod journal;
mod lacking;
mod loosened;
mod lost;
mod lower;
mod merged;
mod moved;
mod names;
mod numbers;
mod open;
mod open_file;
mod orphan;
mod position;
mod read;
mod readdir;
mod recheck;
mod relocated;
mod relocations;
mod remove;
mod rename;
mod renumber;
mod reshape;
mod resolve;
mod restore;
mod restore_modes;
mod shadowed;
mod sound;
mod state;
mod state_dir;
mod stored;
mod sync;
#[cfg(test)]
mod tests;
mod types;
mod unchanged;
mod upper;
mod view;
mod write;
mod writeback;
mod xattr;

use crate::store::Name;
use crate::sys::fs::{self, StatVfs};

pub(crate) use self::at_hand::AwaitedObject;
pub(crate) use self::reshape::{JournalContent, JournalPart};
pub(crate) use self::shadowed::Covered;
pub(crate) use self::state_dir::IN_UPPER;
pub(crate) use counters::Counts;
pub use error::{OverlayError, Result};
pub use graft::GraftSpec;
pub use moved::MovedDirectory;
pub(crate) use numbers::{LOWER_END, OTHER};
pub use open::OverlayConfig;
pub(crate) use read::ReadRange;
pub use relocations::Relocations;
pub(crate) use types::Stored;
pub use types::{Attr, Caller, Change, ChangeKind, DirListing, Ino, SetAttr, Stale};
pub(crate) use unchanged::{Laid, Unchanged};
pub use view::Overlay;
pub(crate) use write::Wrote;

impl Overlay {
    /// The counters since the view was opened.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// The entry shown at a name. Counts one reference, until [`Overlay::forget`].
    ///
    /// # Errors
    /// The name does not exist, `parent` is no directory, or the upper cannot be read.
    pub fn lookup(&self, parent: Ino, name: &Name) -> Result<Attr> {
        let mut view = self.view.lock();
        let found = view.resolve(parent, name)?;
        view.referenced(&found)
    }

    /// The file or directory with this number, if it shows anywhere; the number may have been kept outside, as a file
    /// handle. Counts one reference.
    pub(crate) fn lookup_number(&self, ino: Ino) -> Result<Attr> {
        let mut view = self.view.lock();
        let found = view.find(ino)?;
        view.referenced(&found)
    }

    /// The directory that this directory is in; the root is in itself. Counts one reference.
    pub(crate) fn lookup_parent(&self, dir: Ino) -> Result<Attr> {
        let mut view = self.view.lock();
        let parent = if dir == Ino::ROOT { dir } else { view.dir_place(dir)?.0 };
        let found = view.find(parent)?;
        view.referenced(&found)
    }

    /// The kernel gives back `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.view.lock().forget(ino, count);
    }

    /// # Errors
    /// The inode is not known, or the upper cannot be read.
    pub fn getattr(&self, ino: Ino) -> Result<Attr> {
        self.view.lock().attr(ino)
    }

    /// Changes metadata and size; returns what then holds.
    ///
    /// # Errors
    /// As chmod(2), chown(2), truncate(2) and utimensat(2).
    pub fn setattr(&self, ino: Ino, caller: Caller, set: SetAttr) -> Result<Attr> {
        self.view.lock().set_attr(ino, caller, set)
    }

    /// The figures of the file system that holds the upper: that is where writes go.
    pub(crate) fn statfs(&self) -> Result<StatVfs> {
        let view = self.view.lock();
        fs::statfs(&*view.upper.root).map_err(error::upper("ask for free space"))
    }

    /// No name is left in the view's root.
    pub fn root_is_empty(&self) -> bool {
        self.view.lock().is_empty_dir(Ino::ROOT).unwrap_or(false)
    }
}
