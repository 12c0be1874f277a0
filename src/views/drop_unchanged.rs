//! Drops a worktree's unchanged copies of artifacts that it received or published, so that they don't hide newer ones.
//! A copy that differs by a byte, or is open for writing, stays.
//!
//! The overlay drops copies in views. These are the steps for a plain file outside views:
//!
//! | step                                    | a crash right after it leaves                         |
//! |-----------------------------------------|-------------------------------------------------------|
//! | 1. a lease proves that the file has no writer | nothing                                         |
//! | 2. compared, renamed into the state directory | an unused copy; the next one takes its place    |
//! | 3. if no writer has opened it, deleted; else renamed back | done                                |

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ViewsError;
use super::access::Access;
use super::lower;
use super::set::Views;
use crate::git::checkout::Checkout;
use crate::store::{Name, Node, ObjectId, Tree};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags};
use crate::sys::lease::ReadLease;
use crate::sys::{IoError, path};

/// In the state directory: a plain file on its way out.
const ASIDE: &str = "given-up";

/// A worktree whose unchanged copies are dropped.
struct DropContext<'a> {
    root: &'a Path,
    state_dir: PathBuf,
    views: Option<&'a Views>,
    /// By view.
    open: HashMap<String, Access>,
}

/// A file's content, size and permissions in the old tree.
struct OldFile {
    object: ObjectId,
    size: u64,
    perm: u32,
}

/// Drops copies, below `dir` of the worktree, of files of `old` that differ in `new` or are absent from it.
pub fn give_up(
    checkout: &Checkout,
    views: Option<&Views>,
    dir: &Path,
    old: &Tree,
    new: &Tree,
) -> Result<(), ViewsError> {
    let mut ground = DropContext { root: &checkout.root, state_dir: checkout.state_dir(), views, open: HashMap::new() };
    let mut todo = vec![(Node::ROOT, PathBuf::new(), Some(Node::ROOT))];
    while let Some((node, at, there)) = todo.pop() {
        for entry in old.entries(node, 0) {
            let at = at.join(OsStr::from_bytes(entry.name));
            let other = there.zip(Name::new(entry.name).ok()).and_then(|(there, name)| new.lookup(there, &name));
            match old.kind(entry.node) {
                Some(FileType::Directory) => todo.push((entry.node, at, other)),
                Some(FileType::RegularFile) if !same(old, entry.node, new, other) => {
                    let stat = old.stat(entry.node);
                    if let Some(object) = old.object(entry.node) {
                        ground.one(&dir.join(at), &OldFile { object, size: stat.size, perm: stat.perm })?;
                    }
                }
                _ => {}
            }
        }
    }
    ground.open.values().try_for_each(Access::told)
}

/// Whether two trees have the same file, in content and mode, or the same symlink at a path.
pub fn is_same_file(old: &Tree, new: &Tree, at: &Path) -> bool {
    let (Some(was), Some(is)) = (lower::node(old, at), lower::node(new, at)) else { return false };
    match old.kind(was) {
        Some(FileType::Symlink) => new.kind(is) == Some(FileType::Symlink) && old.target(was) == new.target(is),
        _ => same(old, was, new, Some(is)) && old.stat(was).perm == new.stat(is).perm,
    }
}

fn same(old: &Tree, node: Node, new: &Tree, other: Option<Node>) -> bool {
    other.is_some_and(|other| new.object(other).is_some() && new.object(other) == old.object(node))
}

impl DropContext<'_> {
    /// One file: dropped if it is the worktree's own, and equals `held`.
    fn one(&mut self, at: &Path, held: &OldFile) -> Result<(), ViewsError> {
        let whole = self.root.join(at);
        let is_copy =
            path::stat(&whole)?.is_some_and(|s| s.is_file() && s.size == held.size && s.mode & 0o7777 == held.perm);
        if !is_copy || fs::xattr_of_path(&whole, b"user.depsfs.object").is_ok() {
            return Ok(());
        }
        let Some(views) = self.views else { return plain(&whole, held, &self.state_dir) };
        let located = views.locate(&whole).ok().filter(|(view, _)| views.is_mounted(view));
        let Some((view, inside)) = located else { return plain(&whole, held, &self.state_dir) };
        if content(&whole, &open(&whole)?)? != held.object {
            return Ok(());
        }
        if !self.open.contains_key(&view.id) {
            self.open.insert(view.id.clone(), Access::open(views, view)?);
        }
        self.open[&view.id].give_up(&inside, &held.object, held.perm).map(drop)
    }
}

fn open(whole: &Path) -> Result<Extent, ViewsError> {
    let file = fs::open_path(whole, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0);
    Ok(Extent::whole(file.map_err(IoError::of("open", whole))?))
}

/// The object that a file's content is.
pub fn content_of(file: &Path) -> Result<ObjectId, ViewsError> {
    content(file, &open(file)?)
}

fn content(whole: &Path, bytes: &Extent) -> Result<ObjectId, ViewsError> {
    Ok(ObjectId::of_extent(bytes).map_err(IoError::of("read", whole))?)
}

fn plain(whole: &Path, held: &OldFile, state_dir: &Path) -> Result<(), ViewsError> {
    let bytes = open(whole)?;
    let Some(file) = bytes.as_file() else { return Ok(()) };
    // If the file system has no leases, a writer can't be ruled out: the copy stays.
    let Ok(Some(lease)) = ReadLease::take(file.clone()) else { return Ok(()) };
    if content(whole, &bytes)? != held.object {
        return Ok(());
    }
    path::make_private_dirs(state_dir)?;
    let aside = state_dir.join(ASIDE);
    if path::rename(whole, &aside).is_err() {
        // On another file system.
        return Ok(());
    }
    if !lease.stands() {
        return Ok(path::rename_new(&aside, whole)?);
    }
    Ok(path::remove_file(&aside)?)
}
