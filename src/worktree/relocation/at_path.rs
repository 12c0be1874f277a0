//! Relocated files that hold another path for a while: that of the source, while a command runs where the worktree lies
//! there, and then the worktree's again.
//!
//! | step                                        | a crash right after it leaves               |
//! |---------------------------------------------|---------------------------------------------|
//! | 1. the lock is taken, shared                | nothing                                     |
//! | 2. the record names the path of the source; the servers read it | the next `mount`, `sync` or `exec` does step 4 |
//! | 3. files of the worktree's own get that path; the command runs | the same |
//! | 4. the last one does both for the worktree's path | done                                  |
//!
//! Step 2 is all for the files that a view relocates by itself. Only those that differ from them afterwards are read in
//! step 3: the user's, and those that relocation wrote.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::relocate;
use super::{EmbeddedPaths, OccurrenceKind, Trace, Traced};
use crate::store::import::PathScan;
use crate::sys::fs::{self, FileType, OpenFlags, Stat, Timespec};
use crate::sys::lock::Lock;
use crate::sys::{IoError, path};
use crate::views::diff::{self, Difference, Differences};
use crate::views::embedded_paths;
use crate::views::set::Views;
use crate::worktree::error::WorktreeError;

/// In the state directory of the worktree: held while its files hold the path of the source.
const LOCK: &str = "exec.lock";
/// As many bytes at the beginning of a long file decide whether it is binary, as in git.
const HEAD: usize = 8000;

/// The relocated files of a worktree hold the source's path until [`AtPath::end`].
pub struct AtPath {
    views: Views,
    source: PathBuf,
    lock: Lock,
    begun: Timespec,
}

impl AtPath {
    /// Gives the files the source's path, if they do not have it already for another command.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn begin(views: Views, source: &Path) -> Result<AtPath, WorktreeError> {
        let file = lock_file(&views)?;
        let lock = Lock::shared(file).map_err(IoError::of("lock", &views.state_dir.join(LOCK)))?;
        let record = EmbeddedPaths::load(&views.state_dir)?;
        let holds = record.worktree.clone().unwrap_or_else(|| views.manifest.worktree.clone());
        if holds != source && !record.artifacts.is_empty() {
            rewrite(&views, &record, &holds, source)?;
        }
        // The kernel stamps files by a coarser clock.
        let now = Timespec::now();
        Ok(AtPath { views, source: source.into(), lock, begun: Timespec { sec: now.sec - 1, ..now } })
    }

    /// Gives them the worktree's path again, and those as well that the command has written with the source's: unless
    /// another command still runs.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn end(self) -> Result<(), WorktreeError> {
        find_new(&self.views, &self.source, self.begun)?;
        drop(self.lock);
        follow(&self.views).map(drop)
    }
}

/// After a command at the source's path, a crash of one, or `git worktree move`: relocated files get the worktree's path.
/// Returns how many were changed.
///
/// # Errors
/// A file cannot be read or written.
pub fn follow(views: &Views) -> Result<usize, WorktreeError> {
    let root = &views.manifest.worktree;
    let is_own = |record: &EmbeddedPaths| record.worktree.as_ref().is_none_or(|holds| holds == root);
    if is_own(&EmbeddedPaths::load(&views.state_dir)?) {
        return Ok(0);
    }
    let lock = Lock::try_exclusive(lock_file(views)?).map_err(IoError::of("lock", &views.state_dir.join(LOCK)))?;
    // A command runs that needs the other path: it ends with this step.
    let Some(_lock) = lock else { return Ok(0) };
    let record = EmbeddedPaths::load(&views.state_dir)?;
    let Some(holds) = record.worktree.clone().filter(|holds| holds != root) else { return Ok(0) };
    rewrite(views, &record, &holds, root)
}

fn lock_file(views: &Views) -> Result<std::os::fd::OwnedFd, IoError> {
    let at = views.state_dir.join(LOCK);
    fs::open_path(&at, OpenFlags::RDWR | OpenFlags::CREATE, 0o600).map_err(IoError::of("open", &at))
}

/// Steps 2 and 3, or 4. Returns how many files were written.
fn rewrite(views: &Views, record: &EmbeddedPaths, from: &Path, to: &Path) -> Result<usize, WorktreeError> {
    EmbeddedPaths::note(&views.state_dir, to, Vec::new())?;
    embedded_paths::tell(views)?;
    let Some(scan) = PathScan::new(from.as_os_str().as_bytes()) else { return Ok(0) };
    let differences = Differences::of(views);
    let mut done = 0;
    for traced in &record.artifacts {
        let own = own_files(&differences, traced)?;
        let is_shown = |at: &Path| own.as_ref().is_some_and(|own| !own.contains(at));
        let place = views.manifest.worktree.join(&traced.path);
        for trace in traced.traces.iter().filter(|t| t.relocated) {
            if trace.served.is_none() || !is_shown(&traced.path.join(&trace.path)) {
                done += usize::from(rewrite_one(&place.join(&trace.path), &scan, to)?);
            }
        }
    }
    Ok(done)
}

/// The paths at which a view that relocates files shows others, relative to the worktree; `None` where no view is: its
/// files became plain ones.
fn own_files(differences: &Differences<'_>, traced: &Traced) -> Result<Option<HashSet<PathBuf>>, WorktreeError> {
    if traced.traces.iter().all(|trace| trace.served.is_none()) {
        return Ok(None);
    }
    let views = differences.views;
    let view = views.manifest.views.iter().find(|view| view.path == traced.path);
    let Some(view) = view.filter(|view| !view.is_copy() && !views.is_dropped(view)) else { return Ok(None) };
    let differing = differences.of_view(view, Path::new(""))?;
    Ok(Some(differing.into_iter().map(|(_, at)| at).collect()))
}

/// Replaces the path in a text file or a symlink, and keeps mode and times.
fn rewrite_one(at: &Path, scan: &PathScan, to: &Path) -> Result<bool, IoError> {
    // The user may have deleted it, or a directory above it.
    let Some(stat) = path::stat(at).ok().flatten() else { return Ok(false) };
    let Some(content) = content_at(at, &stat, scan, to)? else { return Ok(false) };
    swap(at, &stat, content, scan, to)
}

/// Puts the content in the place of the file that it was made of, if that is as it was.
fn swap(at: &Path, stat: &Stat, content: Vec<u8>, scan: &PathScan, to: &Path) -> Result<bool, IoError> {
    let make = |aside: &Path| match stat.kind() {
        FileType::Symlink => relocate::write_link(aside, &content, stat.mtime),
        _ => relocate::write_file(aside, &content, stat.mode & 0o777, stat.mtime),
    };
    relocate::exchange(at, make, |old| {
        let now = path::stat(old).ok().flatten().and_then(|now| content_at(old, &now, scan, to).ok().flatten());
        now.as_ref() == Some(&content)
    })
}

fn content_at(at: &Path, stat: &Stat, scan: &PathScan, to: &Path) -> Result<Option<Vec<u8>>, IoError> {
    let to = to.as_os_str().as_bytes();
    Ok(match stat.kind() {
        FileType::Symlink => scan.relocated_target(&path::read_link(at)?, to),
        FileType::RegularFile if stat.size <= relocate::LONGEST => scan.relocated_text(&path::read(at)?, to),
        _ => None,
    })
}

/// Adds to the record the files of the views that were changed since `begun` and hold the source's path.
fn find_new(views: &Views, source: &Path, begun: Timespec) -> Result<(), WorktreeError> {
    let Some(scan) = PathScan::new(source.as_os_str().as_bytes()) else { return Ok(()) };
    let record = EmbeddedPaths::load(&views.state_dir)?;
    let mut all = Vec::new();
    for view in views.manifest.views.iter().filter(|v| v.upper.is_none() && !views.is_dropped(v)) {
        let mut traced =
            record.of(&view.path).cloned().unwrap_or_else(|| Traced { path: view.path.clone(), traces: Vec::new() });
        let known: HashSet<PathBuf> = traced.traces.iter().filter(|t| t.relocated).map(|t| t.path.clone()).collect();
        let mut found = Vec::new();
        for (kind, at) in diff::of_view(views, view, Path::new(""))? {
            let inside = at.strip_prefix(&view.path).unwrap_or(&at).to_path_buf();
            let whole = views.manifest.worktree.join(&at);
            if kind == Difference::Deleted || known.contains(&inside) {
                continue;
            }
            let Some(stat) = path::stat(&whole)?.filter(|stat| stat.ctime >= begun) else { continue };
            if holds(&whole, &stat, &scan)? {
                let kind = if stat.kind() == FileType::Symlink { OccurrenceKind::Link } else { OccurrenceKind::Text };
                found.push(Trace {
                    path: inside,
                    root: source.into(),
                    kind,
                    relocated: true,
                    served: None,
                    effect: None,
                });
            }
        }
        if !found.is_empty() {
            traced.traces.retain(|t| found.iter().all(|new| new.path != t.path));
            traced.traces.extend(found);
            all.push(traced);
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    Ok(EmbeddedPaths::note(&views.state_dir, source, all)?)
}

fn holds(at: &Path, stat: &Stat, scan: &PathScan) -> Result<bool, IoError> {
    match stat.kind() {
        FileType::Symlink => Ok(scan.is_target(&path::read_link(at)?)),
        FileType::RegularFile if stat.size <= relocate::LONGEST => {
            let file =
                fs::open_path(at, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0).map_err(IoError::of("open", at))?;
            let mut head = vec![0; HEAD];
            let n = fs::read_at(&file, &mut head, 0).map_err(IoError::of("read", at))?;
            if head[..n].contains(&0) {
                return Ok(false);
            }
            let text = path::read(at)?;
            Ok(!text.contains(&0) && scan.places(&text).next().is_some())
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_to_or_deleted_since_it_was_read_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().join("Makefile");
        let scan = PathScan::new(b"/w/repo").expect("a path");
        let to = Path::new("/w/fix");
        let read = || {
            path::replace(&at, b"ROOT=/w/repo\n").expect("written");
            let stat = path::stat(&at).expect("asked").expect("there");
            let content = content_at(&at, &stat, &scan, to).expect("read").expect("it holds the path");
            (stat, content)
        };
        let swap = |(stat, content): (Stat, Vec<u8>)| swap(&at, &stat, content, &scan, to).expect("no error");
        assert!(swap(read()));
        assert_eq!(path::read(&at).expect("there"), b"ROOT=/w/fix\n");
        let before = read();
        path::replace(&at, b"ROOT=/w/repo\nMINE=1\n").expect("written");
        assert!(!swap(before));
        assert_eq!(path::read(&at).expect("there"), b"ROOT=/w/repo\nMINE=1\n");
        let before = read();
        path::remove_file(&at).expect("deleted");
        assert!(!swap(before) && !path::is_there(&at));
        assert_eq!(path::list(dir.path()).expect("listed").len(), 0, "nothing is left under a temporary name");
    }
}
