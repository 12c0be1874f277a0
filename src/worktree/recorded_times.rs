//! The times of tracked files of another machine: recorded when artifacts are pushed, given to a worktree that gets them.
//!
//! A tracked file gets the recorded time if it is the same blob, unchanged, and younger. So build tools see that the
//! artifacts were made from it; a file with another blob stays younger than they are. A directory gets its time if all
//! tracked files below it are the same.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::mtime::{self, MtimeError};
use crate::git::checkout::Checkout;
use crate::git::index::{self, Index, NewStat, StatData, Tracked};
use crate::remote::{TrackedTime, TrackedTimes};
use crate::store::escape;
use crate::sys::fs::{self, SetTime, Stat, Timespec};
use crate::sys::log::OrWarn;
use crate::sys::path;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The times of the tracked files of a checkout that are unchanged, and of the directories without others.
///
/// # Errors
/// The checkout cannot be opened, or git fails.
pub fn record(of: &Checkout) -> Result<TrackedTimes, MtimeError> {
    let Some(index) = Index::read(of) else { return Ok(TrackedTimes::default()) };
    let top = path::open_dir(&of.root)?;
    let clean = clean_files(of, &top, &index)?;
    let changed: BTreeSet<&[u8]> = index
        .tracked()
        .filter(|tracked| tracked.mode() != 0o160000 && !clean.contains_key(tracked.path()))
        .flat_map(|tracked| mtime::parents(tracked.path()))
        .collect();
    let all: BTreeSet<&[u8]> = index.tracked().flat_map(|tracked| mtime::parents(tracked.path())).collect();
    let files = index.tracked().filter_map(|tracked| {
        let time = clean.get(tracked.path())?.mtime;
        Some(TrackedTime(escape::escape(tracked.path()), hex(tracked.id()), time.sec, time.nsec))
    });
    let directory = |at: &&[u8]| {
        let time = fs::stat_at(&top, at).ok()?.mtime;
        Some((escape::escape(at), time.sec, time.nsec))
    };
    let directories = all.difference(&changed).filter_map(directory).collect();
    Ok(TrackedTimes::of(files.collect(), directories))
}

/// Gives a worktree's tracked files recorded times. Returns how many got one.
///
/// # Errors
/// The worktree cannot be opened, or git fails.
pub fn apply(to: &Checkout, times: &TrackedTimes) -> Result<usize, MtimeError> {
    let Some(index) = Index::read(to) else { return Ok(0) };
    let top = path::open_dir(&to.root)?;
    let recorded: HashMap<Vec<u8>, &TrackedTime> =
        times.files.iter().filter_map(|file| Some((file.path()?, file))).collect();
    let clean = clean_files(to, &top, &index)?;
    let (mut stats, mut unequal) = (Vec::new(), BTreeSet::new());
    for tracked in index.tracked().filter(|tracked| tracked.mode() != 0o160000) {
        let known = recorded.get(tracked.path()).filter(|file| file.1 == hex(tracked.id()));
        let (Some(file), Some(stat)) = (known, clean.get(tracked.path())) else {
            unequal.extend(mtime::parents(tracked.path()));
            continue;
        };
        if file.mtime() < stat.mtime
            && let Some(stat) = set(&top, tracked.path(), file.mtime())
        {
            stats.push(NewStat { of: tracked, stat });
        }
    }
    set_directories(&top, times, &index, &unequal);
    if !stats.is_empty() && index::write_stats(to, &stats, true).is_err() {
        to.git().refresh_index()?;
    }
    Ok(stats.len())
}

/// Tracked files that are what their index entries name. Those whose stat data cannot tell are hashed.
fn clean_files<'i>(of: &Checkout, top: &OwnedFd, index: &'i Index) -> Result<HashMap<&'i [u8], Stat>, MtimeError> {
    let mut clean: HashMap<&[u8], Stat> = HashMap::new();
    let mut uncertain: Vec<(Tracked<'_>, Stat)> = Vec::new();
    for tracked in index.tracked().filter(|t| t.is_plain() && mtime::is_file(t.mode())) {
        let Ok(stat) = fs::stat_at(top, tracked.path()) else { continue };
        let is_equal = StatData::of(&stat) == tracked.stat_data();
        if is_equal && (!tracked.is_racy() || !stat.is_file()) {
            clean.insert(tracked.path(), stat);
        } else if stat.is_file() {
            // As after a touch: the content decides.
            uncertain.push((tracked, stat));
        }
    }
    let paths: Vec<&Path> = uncertain.iter().map(|(tracked, _)| Path::new(OsStr::from_bytes(tracked.path()))).collect();
    for ((tracked, stat), id) in uncertain.iter().zip(of.git().blob_ids(&paths)?) {
        if id == hex(tracked.id()) {
            clean.insert(tracked.path(), *stat);
        }
    }
    Ok(clean)
}

fn set(top: &OwnedFd, name: &[u8], time: Timespec) -> Option<Stat> {
    fs::utimens_at(top.as_fd(), name, SetTime::Keep, SetTime::At(time)).ok()?;
    fs::stat_at(top, name).ok()
}

fn set_directories(top: &OwnedFd, times: &TrackedTimes, index: &Index, unequal: &BTreeSet<&[u8]>) {
    let tracked: BTreeSet<&[u8]> = index.tracked().flat_map(|t| mtime::parents(t.path())).collect();
    for (at, sec, nsec) in times.directories.iter().rev() {
        let Some(at) = escape::unescape(at) else { continue };
        let time = Timespec { sec: *sec, nsec: *nsec };
        let is_younger = || fs::stat_at(top, &at).is_ok_and(|stat| stat.is_dir() && stat.mtime > time);
        // Only directories of tracked files: a path of another machine leads nowhere else.
        if tracked.contains(&at[..]) && !unequal.contains(&at[..]) && is_younger() {
            let set = fs::utimens_at(top.as_fd(), &at, SetTime::Keep, SetTime::At(time));
            set.or_debug("a directory keeps its own time");
        }
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
