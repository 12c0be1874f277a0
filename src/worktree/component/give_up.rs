//! Before other artifacts come: copies that a worktree has of what it got or published, unchanged, are given up, so that
//! they don't hide what is newer. What differs by a byte stays.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::store::{Node, ObjectId, Tree};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags};
use crate::sys::{IoError, path};
use crate::worktree::Error;
use crate::worktree::access::Access;
use crate::worktree::views::Views;

/// Gives up copies, below `dir` of the worktree, of files of `old` that `new` has otherwise or not at all.
pub fn give_up(root: &Path, views: Option<&Views>, dir: &Path, old: &Tree, new: &Tree) -> Result<(), Error> {
    let mut todo = vec![(Node::ROOT, PathBuf::new(), Some(Node::ROOT))];
    while let Some((node, at, there)) = todo.pop() {
        for entry in old.entries(node, 0) {
            let at = at.join(OsStr::from_bytes(entry.name));
            let name = crate::store::Name::new(entry.name).ok();
            let other = there.zip(name).and_then(|(there, name)| new.lookup(there, &name));
            match old.kind(entry.node) {
                Some(FileType::Directory) => todo.push((entry.node, at, other)),
                Some(FileType::RegularFile) if !same(old, entry.node, new, other) => {
                    if let Some(object) = old.object(entry.node) {
                        one(root, views, &dir.join(at), object, old.stat(entry.node).size)?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn same(old: &Tree, node: Node, new: &Tree, other: Option<Node>) -> bool {
    other.is_some_and(|other| new.object(other).is_some() && new.object(other) == old.object(node))
}

/// One file: given up when it is the worktree's own, and holds just what that object does.
fn one(root: &Path, views: Option<&Views>, at: &Path, object: ObjectId, size: u64) -> Result<(), Error> {
    let whole = root.join(at);
    let is_copy = path::stat(&whole)?.is_some_and(|s| s.is_file() && s.size == size);
    if !is_copy || fs::xattr_of_path(&whole, b"user.depsfs.object").is_ok() {
        return Ok(());
    }
    let file =
        fs::open_path(&whole, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0).map_err(IoError::of("open", &whole))?;
    if ObjectId::of_extent(&Extent::whole(file)).map_err(IoError::of("read", &whole))? != object {
        return Ok(());
    }
    let located = views.and_then(|views| Some((views, views.locate(&whole).ok()?)));
    match located.filter(|(views, (view, _))| views.is_mounted(view)) {
        Some((views, (view, inside))) => Access::open(views, view)?.reset(&inside),
        None => Ok(path::remove_file(&whole)?),
    }
}
