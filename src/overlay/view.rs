//! The state of a view: everything that is behind its one lock.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::store::{Name, Objects};
use crate::sys::fs::{Stat, Timespec};

use super::cache::FdCache;
use super::counters::Counters;
use super::intents::Writeback;
use super::journal::Journal;
use super::lower::Lower;
use super::names::LocationSet;
use super::open_file::OpenFile;
use super::position::Order;
use super::relocations::RelocatedFiles;
use super::state::Delta;
use super::types::{Attr, Ino, Stale};
use super::upper::Upper;

/// One view. All methods may be called from several threads at once.
pub struct Overlay {
    pub(super) view: Arc<Mutex<View>>,
    pub(super) counters: Arc<Counters>,
}

/// The whole state of a view, behind the overlay's one lock.
pub(super) struct View {
    pub objects: Arc<Objects>,
    pub lower: Lower,
    pub relocated: RelocatedFiles,
    pub delta: Delta,
    pub journal: Journal,
    pub upper: Upper,
    pub files: FdCache<OpenFile>,
    /// The owner of the lower's files: the owner of the upper's root.
    pub owner: (u32, u32),
    /// Inodes with a file in the upper that the kernel holds.
    pub seen: HashMap<Ino, KernelInode>,
    /// The directories that the last search of the upper did not come to.
    pub unwalked: Vec<Ino>,
    /// Files without a name that the kernel still holds.
    pub orphans: HashMap<Ino, Orphan>,
    /// When what the store has was last read.
    pub read_at: HashMap<Ino, Timespec>,
    /// How many subdirectories a directory shows, once counted.
    pub subdirs: HashMap<Ino, u32>,
    /// Orphans that were given up, and the names they had.
    pub given_up: HashMap<Ino, (Ino, Name)>,
    /// The callbacks for the cached entries that the kernel must drop, beyond those that a call returns.
    pub on_stale: Vec<Box<dyn Fn(Stale) + Send + Sync>>,
    pub writeback: Writeback,
    /// The view itself, for the thread that flushes (`writeback.rs`).
    pub this: Weak<Mutex<View>>,
    /// How names that share a region of a listing are ordered.
    pub order: Order,
    /// The large ones that are being listed.
    pub regions: Vec<Region>,
    /// See [`super::xattr`].
    pub probes: FdCache<OwnedFd>,
    /// The upper's file system has extended attributes.
    pub takes_xattrs: bool,
    pub counters: Arc<Counters>,
    /// The journal is not written anew, as a matter of its length, before it has this one, in bytes.
    pub tidy_from: u64,
}

/// An inode whose file is in the upper.
#[derive(Default)]
pub(super) struct KernelInode {
    /// Its known names in the upper.
    pub names: LocationSet,
    /// References the kernel holds.
    pub lookups: u64,
    /// It was made by this view, and no extended attribute of it was set since. The kernel queries this one before the
    /// first write to each file.
    pub has_no_capability: bool,
}

/// A file or directory whose last name is gone while the kernel may have it open.
pub(super) struct Orphan {
    pub kept: OrphanBacking,
    /// Its metadata when the last name went; `nlink` is 0.
    pub attr: Attr,
}

/// How an orphan lives on.
#[derive(Clone)]
pub(super) enum OrphanBacking {
    /// The upper has nothing of it.
    Store,
    /// Under a name in `aside` that its inode number gives: a server that takes over finds it there.
    Aside,
    /// As a descriptor, where `aside` can't be used.
    Open(Arc<OwnedFd>),
}

/// The result of resolving a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundName {
    pub ino: Ino,
    /// The upper's own file or directory at this name.
    pub upper: Option<Stat>,
}

/// The names of one region of a directory in the order of their positions, as they were when a listing came there. One
/// that goes is found gone when it is its turn; one that comes later is in the listings that begin later.
pub(super) struct Region {
    pub dir: Ino,
    pub number: u64,
    pub names: Vec<(u64, Name)>,
}
