//! git's index, as libgit2 reads it, and its stat data brought up to date.
//!
//! An index that libgit2 declines (sha256, a split or a sparse index, an unknown extension) is `None` here: callers
//! query git instead.

use git2::{IndexEntry, IndexTime};

use super::checkout::{self, Checkout};
use crate::sys::fs::{Stat, Timespec};
use crate::sys::log::OrWarn;
use crate::sys::path;

/// Of the flags of an entry: assume-valid and the stage; of the extended ones: skip-worktree and intent-to-add.
const HIDING: (u16, u16) = (0xb000, 0x6000);

/// An index in memory, with the time its file had: entries not older than it may have changed unseen.
pub struct Index {
    entries: Vec<IndexEntry>,
    written: (i32, u32),
}

/// One tracked path.
#[derive(Clone, Copy)]
pub struct Tracked<'a> {
    entry: &'a IndexEntry,
    written: (i32, u32),
}

/// Stat data of an index entry, by which git detects changes: seconds, nanoseconds, the lower 32 bits of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatData {
    pub ctime: (i32, u32),
    pub mtime: (i32, u32),
    pub ino: u32,
    pub size: u32,
}

/// The current attributes of a tracked path on disk.
pub struct NewStat<'a> {
    pub of: Tracked<'a>,
    pub stat: Stat,
}

impl StatData {
    /// Cut as git cuts it: the lower 32 bits of inode number and size. Device, user and group are not compared.
    pub fn of(stat: &Stat) -> StatData {
        let (ctime, mtime) = (time(stat.ctime), time(stat.mtime));
        StatData { ctime, mtime, ino: stat.ino as u32, size: stat.size as u32 }
    }
}

impl Index {
    /// The index of a checkout; `None` when there is none, or libgit2 declines it.
    pub fn read(of: &Checkout) -> Option<Index> {
        let written = path::stat(&of.git_dir.join("index")).ok()??.mtime;
        let index = checkout::repository(&of.root).ok()?.index().ok()?;
        Some(Index { entries: index.iter().collect(), written: time(written) })
    }

    /// All tracked paths, in git's order (bytes of the path).
    pub fn tracked(&self) -> impl Iterator<Item = Tracked<'_>> {
        self.entries.iter().map(|entry| Tracked { entry, written: self.written })
    }

    /// Submodules: paths of mode 160000.
    pub fn gitlinks(&self) -> impl Iterator<Item = Tracked<'_>> {
        self.tracked().filter(|t| t.mode() == 0o160000)
    }

    /// The contents of the tracked files with this name, in any directory; `None` if one can't be read.
    pub fn contents(&self, of: &Checkout, name: &str) -> Option<Vec<Vec<u8>>> {
        let is_named = |path: &[u8]| path.rsplit(|b| *b == b'/').next() == Some(name.as_bytes());
        let mut found = self.tracked().filter(|t| is_named(t.path())).peekable();
        if found.peek().is_none() {
            return Some(Vec::new());
        }
        let repository = checkout::repository(&of.root).ok()?;
        found.map(|t| repository.find_blob(t.entry.id).ok().map(|blob| blob.content().to_vec())).collect()
    }
}

/// Writes new stat data of some entries into the index of a checkout, under git's lock. libgit2 marks entries
/// that changed at the very moment of the previous write, so that git compares them again. `with_trees`: also rebuilds
/// the cache tree, by which `git status` skips whole directories, and which updating an entry invalidates.
pub fn write_stats(of: &Checkout, stats: &[NewStat<'_>], with_trees: bool) -> Result<(), git2::Error> {
    let repository = checkout::repository(&of.root)?;
    let mut index = repository.index()?;
    // Each object that is named here was named in this index before: looking for all of them took 80 ms for 5,000.
    git2::opts::strict_object_creation(false);
    for NewStat { of, stat } in stats {
        let mut entry = IndexEntry { path: of.path().to_vec(), ..*of.entry };
        (entry.ctime, entry.mtime) = (index_time(stat.ctime), index_time(stat.mtime));
        // As git has them: the lower 32 bits.
        (entry.dev, entry.ino, entry.file_size) = (stat.dev as u32, stat.ino as u32, stat.size as u32);
        (entry.uid, entry.gid) = (stat.uid, stat.gid);
        index.add(&entry)?;
    }
    if with_trees {
        index.write_tree().or_debug("git computes the tree at its next commit");
    }
    index.write()
}

impl<'a> Tracked<'a> {
    /// Relative to the checkout's top, with slashes, as bytes.
    pub fn path(&self) -> &'a [u8] {
        &self.entry.path
    }

    /// Type and permission as git has them: 100644, 100755, 120000, 160000.
    pub fn mode(&self) -> u32 {
        self.entry.mode
    }

    /// The blob's object id in binary: 20 bytes (SHA-1).
    pub fn id(&self) -> &'a [u8] {
        self.entry.id.as_bytes()
    }

    /// Whether the file on disk is what the entry speaks of: no conflict, no flag that hides it.
    pub fn is_plain(&self) -> bool {
        self.entry.flags & HIDING.0 == 0 && self.entry.flags_extended & HIDING.1 == 0
    }

    /// As git last wrote it; all zeros for an entry that git has never compared with the disk.
    pub fn stat_data(&self) -> StatData {
        let time = |t: IndexTime| (t.seconds(), t.nanoseconds());
        let entry = self.entry;
        StatData { ctime: time(entry.ctime), mtime: time(entry.mtime), ino: entry.ino, size: entry.file_size }
    }

    /// Whether the file had its entry's time in the moment the index was written, so that a change right after
    /// it can't be seen in the stat data ("racily clean").
    pub fn is_racy(&self) -> bool {
        self.stat_data().mtime >= self.written
    }
}

/// As the index keeps a time: the lower 32 bits of the seconds.
fn time(t: Timespec) -> (i32, u32) {
    (t.sec as i32, t.nsec)
}

fn index_time(t: Timespec) -> IndexTime {
    let (seconds, nanoseconds) = time(t);
    IndexTime::new(seconds, nanoseconds)
}
