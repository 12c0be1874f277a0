//! Tracked files with equal content in source and new worktree get the source's time, so that make, cargo and
//! `tsc -b` find their artifacts up to date; then the new index gets the stat data, so that `git status` hashes nothing
//! again.
//!
//! A file counts as equal if both indexes name the same blob and the source's file matches its index entry, by
//! stat data or, if that is not conclusive, by comparing the bytes with the new worktree's file. A directory whose
//! tracked files all got the source's times gets its time too: build scripts that watch directories look there.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::git::checkout::Checkout;
use crate::git::command::GitError;
use crate::git::index::{self, Index, NewStat, StatData, Tracked};
use crate::sys::fs::{self, OpenFlags, SetTime, Stat};
use crate::sys::log::OrWarn;
use crate::sys::{IoError, path, spawn};

/// The times of tracked files could not be set. The files and the index are whole, and only git's next `status` is
/// slower.
#[derive(Debug, thiserror::Error)]
pub enum MtimeError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// One tracked path of both checkouts with the same blob.
pub(super) struct SameBlob<'a> {
    pub source: Tracked<'a>,
    pub new: Tracked<'a>,
}

/// Gives `new`'s files their times. Answers how many files got one.
pub fn take_over(source: &Checkout, new: &Checkout) -> Result<usize, MtimeError> {
    let (Some(old), Some(fresh)) = (Index::read(source), Index::read(new)) else {
        return by_content(source, new);
    };
    let (from, to) = (path::open_dir(&source.root)?, path::open_dir(&new.root)?);
    let (pairs, unequal) = pair_up(&old, &fresh);
    let (first, second) = pairs.split_at(pairs.len() / 2);
    let mut done = Done::default();
    spawn::map(&[first, second], 2, |half| set_times(&from, &to, half)).into_iter().for_each(|half| done.add(half));
    done.unequal.extend(unequal);
    set_directory_times(&from, &to, &fresh, &done.unequal);
    if !done.stats.is_empty() && index::write_stats(new, &done.stats, true).is_err() {
        new.git().refresh_index()?;
    }
    Ok(done.had + done.stats.len())
}

/// The results of setting the times of the pairs.
#[derive(Default)]
struct Done<'a> {
    /// Those that got the source's time.
    stats: Vec<NewStat<'a>>,
    /// The number of those that already had it.
    had: usize,
    /// The paths of those that aren't equal.
    unequal: Vec<&'a [u8]>,
}

impl<'a> Done<'a> {
    fn add(&mut self, other: Done<'a>) {
        self.stats.extend(other.stats);
        self.had += other.had;
        self.unequal.extend(other.unequal);
    }
}

/// Paths that both indexes hold with the same blob and mode, and those of the new one that have no such partner.
pub(super) fn pair_up<'a>(old: &'a Index, new: &'a Index) -> (Vec<SameBlob<'a>>, Vec<&'a [u8]>) {
    let (mut pairs, mut unequal) = (Vec::new(), Vec::new());
    let mut olds = old.tracked().peekable();
    for entry in new.tracked() {
        while olds.next_if(|o| o.path() < entry.path()).is_some() {}
        let partner =
            olds.peek().filter(|o| o.path() == entry.path() && o.id() == entry.id() && o.mode() == entry.mode());
        match partner {
            Some(partner) if partner.is_plain() && entry.is_plain() && is_file(entry.mode()) => {
                pairs.push(SameBlob { source: *partner, new: entry });
            }
            // A submodule's files are its own matter.
            Some(_) if entry.mode() == 0o160000 => {}
            _ => unequal.push(entry.path()),
        }
    }
    (pairs, unequal)
}

/// Whether git's mode is that of a regular file or a symlink: not a directory, nor a submodule.
pub(super) fn is_file(mode: u32) -> bool {
    matches!(mode & 0o170000, 0o100000 | 0o120000)
}

/// Sets the times of each pair that is equal.
fn set_times<'a>(from: &OwnedFd, to: &OwnedFd, pairs: &[SameBlob<'a>]) -> Done<'a> {
    let mut done = Done::default();
    for pair in pairs {
        match set_time(from.as_fd(), to.as_fd(), pair) {
            Some(Some(stat)) => done.stats.push(NewStat { of: pair.new, stat }),
            Some(None) => done.had += 1,
            None => done.unequal.push(pair.new.path()),
        }
    }
    done
}

/// Sets one file's time, unless it has it, and returns its new attributes. `None`, and nothing done, for a file that
/// differs from its index entry, or can't be changed.
fn set_time(from: BorrowedFd<'_>, to: BorrowedFd<'_>, pair: &SameBlob<'_>) -> Option<Option<Stat>> {
    let name = pair.new.path();
    let old = fs::stat_at(from, name).ok()?;
    let new = fs::stat_at(to, name).ok()?;
    if StatData::of(&new) != pair.new.stat_data() || old.size != new.size || old.kind() != new.kind() {
        return None;
    }
    // A file of a worktree that was worked in may have changed right after its index was written.
    let is_clean = StatData::of(&old) == pair.source.stat_data() && !pair.source.is_racy() && !pair.new.is_racy();
    if !is_clean && !same_content(from, to, name, old.is_file())? {
        return None;
    }
    if new.mtime == old.mtime {
        return Some(None);
    }
    fs::utimens_at(to, name, SetTime::Keep, SetTime::At(old.mtime)).ok()?;
    fs::stat_at(to, name).ok().map(Some)
}

/// Whether both hold the same bytes; `None` when one can't be read.
fn same_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8], is_file: bool) -> Option<bool> {
    if !is_file {
        return Some(fs::readlink_at(from, name).ok()? == fs::readlink_at(to, name).ok()?);
    }
    let (a, b) =
        (fs::open_at(from, name, OpenFlags::RDONLY, 0).ok()?, fs::open_at(to, name, OpenFlags::RDONLY, 0).ok()?);
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut offset = 0;
    loop {
        let (n, m) = (fs::read_at(&a, &mut left, offset).ok()?, fs::read_at(&b, &mut right, offset).ok()?);
        if left[..n] != right[..m] {
            return Some(false);
        }
        if n == 0 {
            return Some(true);
        }
        offset += n as u64;
    }
}

/// Directories without an unequal file below them get the source's time, deepest first.
fn set_directory_times(from: &OwnedFd, to: &OwnedFd, new: &Index, unequal: &[&[u8]]) {
    let changed: BTreeSet<&[u8]> = unequal.iter().flat_map(|p| parents(p)).collect();
    let all: BTreeSet<&[u8]> = new.tracked().flat_map(|t| parents(t.path())).collect();
    for dir in all.difference(&changed).collect::<Vec<_>>().into_iter().rev() {
        if let Ok(stat) = fs::stat_at(from, dir) {
            // The time of a directory is a convenience: one that can't be set stays.
            fs::utimens_at(to, dir, SetTime::Keep, SetTime::At(stat.mtime)).or_debug("a directory keeps its own time");
        }
    }
}

/// Every directory above a path, from the nearest to the topmost; the root itself isn't one.
pub(super) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, b)| **b == b'/');
    slashes.map(|(at, _)| &path[..at])
}

/// The slow way, for an index that can't be read here: git lists what is tracked, bytes decide.
fn by_content(source: &Checkout, new: &Checkout) -> Result<usize, MtimeError> {
    let old: BTreeSet<(u32, String, PathBuf)> = source.git().staged()?.into_iter().collect();
    let (from, to) = (path::open_dir(&source.root)?, path::open_dir(&new.root)?);
    let mut done = 0;
    for entry in new.git().staged()?.iter().filter(|e| is_file(e.0) && old.contains(e)) {
        done += usize::from(set_equal(from.as_fd(), to.as_fd(), &entry.2).is_some());
    }
    new.git().refresh_index()?;
    Ok(done)
}

fn set_equal(from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &Path) -> Option<()> {
    let name = path.as_os_str().as_bytes();
    let (old, new) = (fs::stat_at(from, name).ok()?, fs::stat_at(to, name).ok()?);
    let equal = old.kind() == new.kind() && old.size == new.size && same_content(from, to, name, old.is_file())?;
    if equal { fs::utimens_at(to, name, SetTime::Keep, SetTime::At(old.mtime)).ok() } else { None }
}
