//! `git worktree add`, with the tracked files taken from the source checkout where that gives the same bytes.
//!
//! git checks 5,000 files out one after the other, each unpacked. Here several threads copy them instead from the
//! source's files, which are in memory more often than not, and give each its source's time at once. Every copy is hashed:
//! it stays if it equals the blob. Then the copies' stat data are written to the index, and git makes the other files.
//!
//! | who                              | does |
//! |----------------------------------|------|
//! | `git worktree add --no-checkout` | registration, `HEAD`, settings of the new worktree |
//! | `git read-tree HEAD`             | an index without stat data |
//! | this                             | files whose blob the source has checked out; their stat data in the index |
//! | `git read-tree --reset -u HEAD`  | every other file, and a second look at these, as `git worktree add` ends        |
//!
//! If a checkout converts files (filters, line ends) or a hook waits for it, `git worktree add` checks out all files,
//! with several processes (`checkout.workers`).

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use sha1::{Digest, Sha1};

use super::error::WorktreeError;
use super::mtime::{SameBlob, pair_up, parents};
use crate::git::checkout::Checkout;
use crate::git::checkout_filters;
use crate::git::command::{Git, GitError, NewHead};
use crate::git::index::{self, Index, NewStat, StatData, Tracked};
use crate::git::settings::Settings;
use crate::sys::fs::{self, OpenFlags, SetTime, Stat};
use crate::sys::log::OrWarn;
use crate::sys::{interrupt, path, spawn};

/// Threads that write, or processes of git's: some wait for the disk while others write.
const FEWEST: usize = 4;
const MOST: usize = 8;
const CHUNK: usize = 256 << 10;

/// Makes the worktree at `at`, an empty directory, with this `HEAD`, and with all tracked files in it. Without `with_times` these
/// have the time of their checkout.
pub fn add_worktree(
    source: &Checkout,
    settings: &Settings,
    at: &Path,
    head: NewHead<'_>,
    with_times: bool,
) -> Result<(), GitError> {
    let git = source.git();
    // Unless the user has configured a number.
    let parallel = |git: Git| match settings.value("checkout.workers") {
        Some(_) => git,
        None => git.with("checkout.workers", at_once().to_string()),
    };
    if !with_times || !checkout_filters::settings_allow(source, settings) {
        return register(&parallel(git), at, head, true);
    }
    register(&git, at, head, false)?;
    let Some(new) = Checkout::at(at)? else {
        return Err(GitError::Unreadable { what: "worktree add" });
    };
    new.git().read_head_into_index()?;
    fill(source, &new);
    match interrupt::raised() {
        Some(signal) => Err(GitError::Interrupted(signal)),
        None => parallel(new.git()).check_out_head(),
    }
}

/// Retries: git fails at a registration that another `git worktree add` has not completed yet ("failed to read
/// .git/worktrees/x/commondir"), and has made nothing then. A moment later the registration is complete.
fn register(git: &Git, at: &Path, head: NewHead<'_>, checkout: bool) -> Result<(), GitError> {
    let mut tries = 0..20;
    loop {
        match git.add_worktree(at, head, checkout) {
            Err(GitError::Failed { stderr, .. })
                if stderr.contains("failed to read") && stderr.contains("worktrees/") && tries.next().is_some() =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

fn at_once() -> usize {
    std::thread::available_parallelism().map_or(FEWEST, |n| n.get().clamp(FEWEST, MOST))
}

/// Copies unchanged files of the source. If a copy fails, git checks the file out afterwards.
fn fill(source: &Checkout, new: &Checkout) {
    let (Some(old), Some(fresh)) = (Index::read(source), Index::read(new)) else { return };
    let (Ok(from), Ok(to)) = (path::open_dir(&source.root), path::open_dir(&new.root)) else { return };
    if !checkout_filters::attributes_allow(new, &fresh) {
        return;
    }
    let (pairs, _) = pair_up(&old, &fresh);
    make_directories(&to, &pairs);
    let portion = pairs.len().div_ceil(at_once()).max(1);
    let portions: Vec<_> = pairs.chunks(portion).collect();
    let made = spawn::map(&portions, at_once(), |portion| copy_all(&from, &to, portion));
    let made: Vec<NewStat<'_>> = made.into_iter().flatten().collect();
    if !made.is_empty() {
        // Without stat data git can't recognise the files, and writes them again.
        index::write_stats(new, &made, false).or_warn("git does not know the copied files, and writes them again");
    }
}

/// The directories of all pairs, those above first.
fn make_directories(to: &OwnedFd, pairs: &[SameBlob<'_>]) {
    let all: BTreeSet<&[u8]> = pairs.iter().flat_map(|p| parents(p.new.path())).collect();
    for dir in all {
        // One that can't be made is git's to complain of.
        fs::mkdir_at(to, dir, 0o777).or_debug("git makes the directory");
    }
}

fn copy_all<'a>(from: &OwnedFd, to: &OwnedFd, pairs: &[SameBlob<'a>]) -> Vec<NewStat<'a>> {
    let mut buffer = vec![0; CHUNK];
    let go_on = pairs.iter().take_while(|_| interrupt::raised().is_none());
    let copied = go_on.filter_map(|pair| {
        let stat = copy(from.as_fd(), to.as_fd(), pair, &mut buffer)?;
        Some(NewStat { of: pair.new, stat })
    });
    copied.collect()
}

/// Makes one file or link, with the source's time; `None`, and nothing there, when it isn't the blob.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, pair: &SameBlob<'_>, buffer: &mut [u8]) -> Option<Stat> {
    let name = pair.new.path();
    let made = if is_link(pair.new) {
        copy_link(from, to, pair)
    } else {
        let file = fs::open_at(from, name, OpenFlags::RDONLY | OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK, 0).ok()?;
        let old = fs::stat(&file).ok().filter(|old| old.is_file() && is_known(old, pair.source))?;
        let flags = OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::EXCL | OpenFlags::NOFOLLOW;
        let mode = if pair.new.mode() & 0o100 == 0 { 0o666 } else { 0o777 };
        let copy = fs::open_at(to, name, flags, mode).ok()?;
        copy_bytes(&file, &copy, &old, pair.new.id(), buffer)
    };
    if made.is_none() {
        fs::unlink_at(to, name).or_debug("git writes it again");
    }
    made
}

fn is_link(of: Tracked<'_>) -> bool {
    of.mode() & 0o170000 == 0o120000
}

/// Whether the file looks as the source's index has it. Only a hint, which spares reading what has changed.
fn is_known(old: &Stat, source: Tracked<'_>) -> bool {
    StatData::of(old) == source.stat_data()
}

fn copy_bytes(from: &OwnedFd, to: &OwnedFd, old: &Stat, id: &[u8], buffer: &mut [u8]) -> Option<Stat> {
    let mut hash = blob(old.size);
    let mut at = 0;
    while at < old.size {
        let n = fs::read_at(from, buffer, at).ok()?;
        if n == 0 || fs::write_at(to, &buffer[..n], at).ok()? != n {
            return None;
        }
        hash.update(&buffer[..n]);
        at += n as u64;
    }
    if hash.finalize()[..] != *id {
        return None;
    }
    fs::utimens(to, SetTime::Keep, SetTime::At(old.mtime)).ok()?;
    fs::stat(to).ok()
}

fn copy_link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, pair: &SameBlob<'_>) -> Option<Stat> {
    let name = pair.new.path();
    let old = fs::stat_at(from, name).ok().filter(|old| is_known(old, pair.source))?;
    let target = fs::readlink_at(from, name).ok()?;
    let mut hash = blob(target.len() as u64);
    hash.update(&target);
    if hash.finalize()[..] != *pair.new.id() {
        return None;
    }
    fs::symlink_at(&target, to, name).ok()?;
    fs::utimens_at(to, name, SetTime::Keep, SetTime::At(old.mtime)).ok()?;
    fs::stat_at(to, name).ok()
}

/// Whether a file is the beginning of what its commit holds: it was being written when a create was killed.
///
/// # Errors
/// git fails, or the file can't be read.
pub(super) fn is_part(worktree: &Checkout, at: &Path) -> Result<bool, WorktreeError> {
    let name = [b"HEAD:", at.as_os_str().as_bytes()].concat();
    let Ok(name) = String::from_utf8(name) else { return Ok(false) };
    let whole = worktree.git().blob(&name)?.unwrap_or_default();
    let part = path::read_if_there(&worktree.root.join(at))?.unwrap_or_default();
    Ok(part.len() < whole.len() && whole.starts_with(&part))
}

/// The hash that names a blob, begun.
fn blob(size: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("blob {size}\0"))
}

#[cfg(test)]
mod tests {
    use sha1::Digest;

    #[test]
    fn the_hash_of_a_blob_is_the_name_that_git_gives_it() {
        let mut hash = super::blob(6);
        hash.update(b"hello\n");
        let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
