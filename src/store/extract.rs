//! Writes a tree as plain files, where no view shows it. Existing files stay as they are.
//!
//! Everything happens beneath one open directory, and no symlink is followed. A file gets its name when it is whole:
//! a crash leaves whole files, and in file systems without nameless ones (`O_TMPFILE`) perhaps one called `.depsfs-…`.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Node, ObjectId, Store, StoreError, Tree, TreeEntry, aside_name};
use crate::sys::descent::Descent;
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags, SetTime, Stat};
use crate::sys::temporary::{Leftover, TemporaryFile};
use crate::sys::{IoError, interrupt};

/// The result of an extraction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files, symlinks and fifos that are new.
    pub written: u64,
    /// Members that something else is in the place of, relative to the directory; a directory stands for all below it.
    pub kept: Vec<PathBuf>,
}

/// Writes what `dir` of a tree holds into the open directory `into`, which `at` names in messages. Directories that
/// `skip` returns `true` for are left out; it gets their paths from `into` on.
///
/// # Errors
/// An object cannot be read, or a file cannot be written.
pub fn extract(
    store: &Store,
    (tree, dir): (&Tree, Node),
    (into, at): (&OwnedFd, &Path),
    skip: &dyn Fn(&Path) -> bool,
) -> Result<Extracted, StoreError> {
    let mut work = Extraction { store, tree, into, at, skip, first: HashMap::new(), done: Extracted::default() };
    work.all_below(dir)?;
    Ok(work.done)
}

struct Extraction<'a> {
    store: &'a Store,
    tree: &'a Tree,
    into: &'a OwnedFd,
    at: &'a Path,
    skip: &'a dyn Fn(&Path) -> bool,
    /// The path of the first name, for each file with several names.
    first: HashMap<Node, PathBuf>,
    done: Extracted,
}

/// A directory on the way to the one that is written, and what is left of its names.
struct ExtractLevel<'a> {
    node: Node,
    names: Box<dyn Iterator<Item = TreeEntry<'a>> + 'a>,
    /// It is new.
    is_made: bool,
}

impl<'a> Extraction<'a> {
    fn all_below(&mut self, dir: Node) -> Result<(), StoreError> {
        let tree = self.tree;
        let level = |node, is_made| ExtractLevel { node, names: Box::new(tree.entries(node, 0)), is_made };
        let (mut levels, mut path) = (vec![level(dir, false)], PathBuf::new());
        let top = fs::duplicate(self.into.as_fd()).and_then(Descent::new);
        let mut way = top.map_err(|e| self.failed("open", &path, e))?;
        while let Some(last) = levels.last_mut() {
            if interrupt::raised().is_some() {
                return Err(StoreError::Cancelled);
            }
            let Some(entry) = last.names.next() else {
                self.finish(levels.pop(), &mut way, &path)?;
                path.pop();
                continue;
            };
            path.push(std::ffi::OsStr::from_bytes(entry.name));
            if tree.kind(entry.node) == Some(FileType::Directory) {
                if let Some(is_made) = self.enter(&entry, &mut way, &path)? {
                    levels.push(level(entry.node, is_made));
                    continue;
                }
            } else if self.file(&entry, way.here(), &path).map_err(|e| self.failed("write", &path, e))? {
                self.done.written += 1;
            }
            path.pop();
        }
        Ok(())
    }

    /// Goes into a directory, and returns whether it was made; `None` if nothing is written into it.
    fn enter(&mut self, entry: &TreeEntry<'_>, way: &mut Descent, path: &Path) -> Result<Option<bool>, StoreError> {
        if (self.skip)(path) {
            return Ok(None);
        }
        let made = match fs::mkdir_at(way.here(), entry.name, 0o700) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(self.failed("create", path, e)),
        };
        match way.enter(entry.name) {
            Ok(()) => Ok(Some(made)),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory || fs::is_symlink_error(&e) => {
                self.done.kept.push(path.into());
                Ok(None)
            }
            Err(e) => Err(self.failed("open", path, e)),
        }
    }

    /// Leaves a directory of which all is written.
    fn finish(&self, level: Option<ExtractLevel<'_>>, way: &mut Descent, path: &Path) -> Result<(), StoreError> {
        let left = way.leave().map_err(|e| self.failed("finish", path, e))?;
        if let (Some(level), Some(dir)) = (level.filter(|level| level.is_made), left) {
            let stat = self.tree.stat(level.node);
            let times = || {
                fs::chmod(&dir, stat.perm)?;
                fs::utimens(&dir, SetTime::Keep, SetTime::At(stat.mtime))
            };
            times().map_err(|e| self.failed("finish", path, e))?;
        }
        Ok(())
    }

    /// Whether it was written; one that is kept is noted, unless it is the same.
    fn file(&mut self, entry: &TreeEntry<'_>, into: &OwnedFd, path: &Path) -> io::Result<bool> {
        match fs::stat_at(into, entry.name) {
            Ok(there) => {
                if !self.is_same(entry, into, &there)? {
                    self.done.kept.push(path.into());
                }
                return Ok(false);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let stat = self.tree.stat(entry.node);
        let made = match stat.kind {
            FileType::Symlink => fs::symlink_at(self.tree.target(entry.node), into, entry.name),
            FileType::Fifo => fs::mknod_at(into, entry.name, libc::S_IFIFO | stat.perm, 0),
            _ => self.regular(entry, into, path),
        };
        match made {
            // Another process was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.done.kept.push(path.into());
                return Ok(false);
            }
            made => made?,
        }
        if stat.kind != FileType::RegularFile {
            fs::utimens_at(into, entry.name, SetTime::Keep, SetTime::At(stat.mtime))?;
        }
        Ok(true)
    }

    fn regular(&mut self, entry: &TreeEntry<'_>, into: &OwnedFd, path: &Path) -> io::Result<()> {
        let stat = self.tree.stat(entry.node);
        if stat.nlink > 1 {
            if let Some(first) = self.first.get(&entry.node) {
                let above = first.parent().unwrap_or(Path::new("")).as_os_str().as_bytes();
                let from = fs::open_beneath(self.into, above, OpenFlags::PATH | OpenFlags::DIRECTORY)?;
                return fs::link_at(from, first.file_name().unwrap_or_default().as_bytes(), into, entry.name);
            }
            self.first.insert(entry.node, path.into());
        }
        let object = self.tree.object(entry.node).ok_or(io::ErrorKind::InvalidData)?;
        let object = self.store.objects().awaited_sound_content(&object).map_err(io::Error::other)?;
        let fill = |to: &OwnedFd| {
            object.copy_contents(to, stat.size)?;
            fs::chmod(to, stat.perm & 0o777)?;
            fs::utimens(to, SetTime::Keep, SetTime::At(stat.mtime))
        };
        match fs::open_tmpfile(into, 0o600) {
            Ok(file) => {
                fill(&file)?;
                fs::link_fd(&file, into, entry.name)
            }
            // The errors of file systems without `O_TMPFILE` (open(2)).
            Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) => {
                aside(into, entry.name, fill)
            }
            Err(e) => Err(e),
        }
    }

    /// Whether what is there is what would be written; a file's times don't count.
    fn is_same(&self, entry: &TreeEntry<'_>, into: &OwnedFd, there: &Stat) -> io::Result<bool> {
        let stat = self.tree.stat(entry.node);
        if there.kind() != stat.kind {
            return Ok(false);
        }
        match stat.kind {
            FileType::Symlink => Ok(fs::readlink_at(into, entry.name)? == self.tree.target(entry.node)),
            FileType::RegularFile if there.size != stat.size => Ok(false),
            FileType::RegularFile => {
                let file = fs::open_at(into, entry.name, OpenFlags::RDONLY, 0);
                // One that can't be read is not of this tree.
                let Ok(file) = file else { return Ok(false) };
                Ok(Some(ObjectId::of_extent(&Extent::whole(file))?) == self.tree.object(entry.node))
            }
            _ => Ok(true),
        }
    }

    fn failed(&self, verb: &'static str, path: &Path, e: io::Error) -> StoreError {
        IoError::of(verb, &self.at.join(path))(e).into()
    }
}

fn aside(into: &OwnedFd, name: &[u8], fill: impl FnOnce(&OwnedFd) -> io::Result<()>) -> io::Result<()> {
    let aside = format!(".depsfs-{}", aside_name());
    let new = TemporaryFile::make(into.as_fd(), aside.as_bytes(), 0o600, Leftover::Refuse)?;
    fill(new.file())?;
    new.rename(into, name, RenameFlags::NOREPLACE).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::store::tree::{Item, NodeMeta, Slot};
    use crate::store::{Name, TreeBuilder};
    use crate::sys::fs::Timespec;
    use crate::sys::path;

    #[test]
    fn a_tree_of_any_depth_is_written_with_little_stack_and_few_descriptors() {
        const DEEP: usize = 20_000;
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let store = Store::open(&temp.path().join("store")).expect("a store");
        let stage = store.stage().expect("a stage");
        let object = stage.add_bytes(b"x").expect("an object");
        stage.publish().expect("published");
        let time = Timespec { sec: 77, nsec: 0 };
        let meta = |perm| NodeMeta { perm, mtime: time, xattrs: vec![] };
        let name = |text: &str| Name::new(text.as_bytes()).expect("a name");
        let mut builder = TreeBuilder::new(meta(0o755));
        let (mut at, mut slots) = (Slot::ROOT, vec![]);
        for _ in 0..DEEP {
            at = builder.add(at, name("d"), meta(0o555), Item::Dir).expect("added");
            slots.push(at);
        }
        let file = Item::File { object, size: 1, blocks: 8 };
        let file = builder.add(slots[DEEP / 2], name("middle"), meta(0o644), file).expect("added");
        builder.link(at, name("deepest"), file).expect("linked");
        let tree = Tree::from_bytes(builder.finish().expect("built")).expect("a tree");
        let to = temp.path().join("to");
        path::make_dir(&to).expect("made");
        let work = move || {
            let into = path::open_dir(&to).expect("opened");
            let done = extract(&store, (&tree, Node::ROOT), (&into, &to), &|_| false).expect("written");
            assert_eq!(done, Extracted { written: 2, kept: vec![] });
            let mut way = Descent::new(into).expect("begun");
            (0..DEEP).for_each(|_| way.enter(b"d").expect("there"));
            assert_eq!(fs::stat_at(way.here(), b"deepest").expect("there").nlink, 2);
            while let Some(left) = way.leave().expect("left") {
                let stat = fs::stat(&left).expect("looked");
                assert_eq!((stat.mode & 0o777, stat.mtime), (0o555, time));
                fs::chmod(&left, 0o755).expect("set");
            }
            path::remove_tree(&to).expect("removed");
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread").join().expect("done");
        assert!(!path::is_there(&temp.path().join("to")));
    }
}
