//! Copies a tree into a plain directory of a worktree, by all cores: for worktrees without views.
//!
//! Large files are cloned if the file system can, small ones are written from their pack. Modes, times, symlinks, hard
//! links and extended attributes are those of the tree. Existing entries stay, so a copy that was interrupted is
//! completed by another one.
//!
//! | step                                      | a crash right after it leaves                              |
//! |-------------------------------------------|------------------------------------------------------------|
//! | 1. a directory is made, open to its owner | directories with another mode and time than the tree's     |
//! | 2. each file is made, written, dressed    | one file for each thread that is written in part           |
//! | 3. a directory gets its mode and time     | a part of the tree                                         |
//! | 4. further names of hard-linked files     | all but these, and modes without search permission         |
//!
//! [`CopyMode::Complete`] makes whole what steps 1 to 4 left.

mod file;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::pool::{self, JobQueue};
use super::{Node, Progress, Store, StoreError, Tree};
use crate::sys::fs::{self, FileType, OpenFlags, SetTime, Stat};
use crate::sys::{IoError, interrupt};

pub use file::begins_with;

/// How many names of one directory are one job.
const BATCH: usize = 256;
/// How many bytes of one directory's files are one job.
const BATCH_BYTES: u64 = 4 << 20;

/// How to treat entries that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// They stay as they are, with the times of their directories.
    New,
    /// As [`CopyMode::New`], but what an earlier copy wrote in part is made whole, and directories get the tree's mode and
    /// time.
    Complete,
}

/// The result of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainCopied {
    /// Files, symlinks and fifos that are new or were made whole.
    pub written: u64,
    /// Entries that stayed, relative to the directory; a file or symlink in the place of a directory stands for all below.
    pub kept: Vec<PathBuf>,
}

/// Copies a directory of a tree into the open directory `into`, which `at` names in messages. Paths that `skip` returns `true` for are
/// left out with all that is below them.
///
/// # Errors
/// An object cannot be read, or has other bytes than its name stands for; a file cannot be written.
pub fn copy_tree(
    store: &Store,
    (tree, top): (&Tree, Node),
    (into, at): (&OwnedFd, &Path),
    (mode, skip): (CopyMode, &(dyn Fn(&Path) -> bool + Sync)),
    progress: &dyn Progress,
) -> Result<PlainCopied, StoreError> {
    let copy = TreeCopy { store, tree, into, at, mode, skip, progress, first_names: Mutex::default() };
    let root = CopyJob::Directory { node: top, path: PathBuf::new(), is_new: false };
    let work = |job, own: &mut WorkerResult, queue: &JobQueue<CopyJob>| match job {
        CopyJob::Directory { node, path, is_new } => copy.directory(node, path, is_new, own, queue),
        CopyJob::Files { dir, nodes } => copy.files(&dir, &nodes, own).and_then(|()| copy.finish(dir, own)),
    };
    let all = pool::run(vec![root], WorkerResult::default, work)?;
    let mut done = WorkerResult::default();
    for own in all {
        done.result.written += own.result.written;
        done.result.kept.extend(own.result.kept);
        done.links.extend(own.links);
        done.closed.extend(own.closed);
    }
    copy.link_further_names(&mut done)?;
    copy.close_directories(&mut done)?;
    done.result.kept.sort();
    Ok(done.result)
}

/// Copies one file, symlink or fifo to a name in a directory at which nothing is. It has no other name, and is removed
/// again when it can't be made.
///
/// # Errors
/// As [`copy_tree`].
pub fn copy_file(
    store: &Store,
    (tree, node): (&Tree, Node),
    (into, at): (&OwnedFd, &Path),
    name: &[u8],
) -> Result<(), StoreError> {
    let skip = |_: &Path| false;
    let copy = TreeCopy {
        store,
        tree,
        into,
        at,
        mode: CopyMode::New,
        skip: &skip,
        progress: &(),
        first_names: Mutex::default(),
    };
    let dir = OpenDirectory {
        node,
        path: PathBuf::new(),
        fd: copy.open_dir(Path::new("")).map_err(|e| copy.failed("open", Path::new(""), e))?,
        kept: None,
    };
    copy.alone(&dir, node, name)
}

struct TreeCopy<'a> {
    store: &'a Store,
    tree: &'a Tree,
    into: &'a OwnedFd,
    at: &'a Path,
    mode: CopyMode,
    skip: &'a (dyn Fn(&Path) -> bool + Sync),
    progress: &'a dyn Progress,
    /// The path of the first name that was made, for each file with several names.
    first_names: Mutex<HashMap<Node, PathBuf>>,
}

enum CopyJob {
    Directory {
        node: Node,
        path: PathBuf,
        is_new: bool,
    },
    /// Some of the names of a directory that are no directories.
    Files {
        dir: Arc<OpenDirectory>,
        nodes: Vec<(Node, Vec<u8>)>,
    },
}

/// A directory of the copy while its files are made.
struct OpenDirectory {
    node: Node,
    path: PathBuf,
    fd: OwnedFd,
    /// The attributes that it had before, if it stays as it was.
    kept: Option<Stat>,
}

/// The results of one thread.
#[derive(Default)]
struct WorkerResult {
    result: PlainCopied,
    /// Further names of hard-linked files.
    links: Vec<(Node, PathBuf)>,
    /// Directories that their owner may not search: their mode comes last.
    closed: Vec<(Node, PathBuf)>,
}

impl TreeCopy<'_> {
    fn directory(
        &self,
        node: Node,
        path: PathBuf,
        is_new: bool,
        own: &mut WorkerResult,
        queue: &JobQueue<CopyJob>,
    ) -> Result<(), StoreError> {
        let fd = self.open_dir(&path).map_err(|e| self.failed("open", &path, e))?;
        let kept = if is_new || self.mode == CopyMode::Complete { None } else { self.attributes(&fd, &path)? };
        let dir = Arc::new(OpenDirectory { node, path, fd, kept });
        let (mut nodes, mut bytes) = (Vec::new(), 0);
        for entry in self.tree.entries(node, 0) {
            let at = dir.path.join(OsStr::from_bytes(entry.name));
            if (self.skip)(&at) {
                continue;
            }
            let stat = self.tree.stat(entry.node);
            if stat.kind == FileType::Directory {
                if let Some(is_new) = self.make_dir(&dir, entry.name, &at, own)? {
                    queue.push(CopyJob::Directory { node: entry.node, path: at, is_new });
                }
                continue;
            }
            nodes.push((entry.node, entry.name.to_vec()));
            bytes += stat.size;
            if nodes.len() >= BATCH || bytes >= BATCH_BYTES {
                queue.push(CopyJob::Files { dir: dir.clone(), nodes: std::mem::take(&mut nodes) });
                bytes = 0;
            }
        }
        self.files(&dir, &nodes, own)?;
        self.finish(dir, own)
    }

    /// The attributes of a directory that exists; `None` for an empty one, which becomes the tree's.
    fn attributes(&self, fd: &OwnedFd, path: &Path) -> Result<Option<Stat>, StoreError> {
        let is_empty = fs::list(fd).map_err(|e| self.failed("list", path, e))?.is_empty();
        if is_empty { Ok(None) } else { fs::stat(fd).map(Some).map_err(|e| self.failed("stat", path, e)) }
    }

    /// Whether a directory was made; `None` if something else is in its place.
    fn make_dir(
        &self,
        dir: &OpenDirectory,
        name: &[u8],
        at: &Path,
        own: &mut WorkerResult,
    ) -> Result<Option<bool>, StoreError> {
        match fs::mkdir_at(&dir.fd, name, 0o700) {
            Ok(()) => return Ok(Some(true)),
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(self.failed("create", at, e)),
            Err(_) => {}
        }
        match fs::stat_at(&dir.fd, name) {
            Ok(stat) if stat.is_dir() => Ok(Some(false)),
            Ok(_) => {
                own.result.kept.push(at.into());
                Ok(None)
            }
            Err(e) => Err(self.failed("stat", at, e)),
        }
    }

    fn files(&self, dir: &OpenDirectory, nodes: &[(Node, Vec<u8>)], own: &mut WorkerResult) -> Result<(), StoreError> {
        for (node, name) in nodes {
            if interrupt::raised().is_some() || self.progress.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            self.file(dir, *node, name, own)?;
        }
        Ok(())
    }

    /// Gives a directory its mode and time when the last of its jobs ends.
    fn finish(&self, dir: Arc<OpenDirectory>, own: &mut WorkerResult) -> Result<(), StoreError> {
        let Some(dir) = Arc::into_inner(dir) else { return Ok(()) };
        let stat = self.tree.stat(dir.node);
        let mut dress = || {
            if let Some(kept) = &dir.kept {
                return fs::utimens(&dir.fd, SetTime::Keep, SetTime::At(kept.mtime));
            }
            for (name, value) in self.tree.xattrs(dir.node) {
                fs::set_xattr(&dir.fd, name, value, fs::XattrFlags::empty())?;
            }
            if stat.perm & 0o100 == 0 {
                own.closed.push((dir.node, dir.path.clone()));
            } else {
                fs::chmod(&dir.fd, stat.perm & 0o1777)?;
            }
            fs::utimens(&dir.fd, SetTime::Keep, SetTime::At(stat.mtime))
        };
        dress().map_err(|e| self.failed("finish", &dir.path, e))
    }

    /// Makes the further names of hard-linked files; the times of their directories stay.
    fn link_further_names(&self, done: &mut WorkerResult) -> Result<(), StoreError> {
        for (node, path) in std::mem::take(&mut done.links) {
            let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
            let fd = self.open_dir(parent).map_err(|e| self.failed("open", parent, e))?;
            let kept = fs::stat(&fd).map_err(|e| self.failed("stat", parent, e))?;
            let dir = OpenDirectory { node, path: parent.into(), fd, kept: None };
            self.further_name(&dir, node, name.as_bytes(), done)?;
            fs::utimens(&dir.fd, SetTime::Keep, SetTime::At(kept.mtime))
                .map_err(|e| self.failed("finish", parent, e))?;
        }
        Ok(())
    }

    fn close_directories(&self, done: &mut WorkerResult) -> Result<(), StoreError> {
        // The deepest first: a path leads through those above it.
        done.closed.sort_by(|a, b| b.1.cmp(&a.1));
        for (node, path) in &done.closed {
            let dir = self.open_dir(path).and_then(|dir| fs::chmod(dir, self.tree.stat(*node).perm & 0o1777));
            dir.map_err(|e| self.failed("finish", path, e))?;
        }
        Ok(())
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        fs::open_beneath(self.into, path.as_os_str().as_bytes(), OpenFlags::RDONLY | OpenFlags::DIRECTORY)
    }

    fn failed(&self, verb: &'static str, path: &Path, e: io::Error) -> StoreError {
        IoError::of(verb, &self.at.join(path))(e).into()
    }
}

#[cfg(test)]
mod tests;
