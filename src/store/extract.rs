//! Writes a tree as plain files, where no view shows it. What is there already stays as it is.
//!
//! Everything happens beneath one open directory, and no symlink is followed. A file gets its name when it is whole:
//! a crash leaves whole files, and in file systems without nameless ones (`O_TMPFILE`) perhaps one called `.depsfs-…`.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Node, ObjectId, Store, StoreError, Tree, TreeEntry, aside_name};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags, RenameFlags, SetTime, Stat};
use crate::sys::{IoError, interrupt};

/// What became of the members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files, symlinks and fifos that are new.
    pub written: u64,
    /// Members that something else is in the place of, relative to the directory; a directory stands for all below it.
    pub kept: Vec<PathBuf>,
}

/// Writes what `dir` of a tree holds into the open directory `into`, which `at` names in messages. Directories that
/// `skip` answers `true` for are left out; it gets their paths from `into` on.
pub fn extract(
    store: &Store,
    (tree, dir): (&Tree, Node),
    (into, at): (&OwnedFd, &Path),
    skip: &dyn Fn(&Path) -> bool,
) -> Result<Extracted, StoreError> {
    let mut work = Extraction { store, tree, into, at, skip, first: HashMap::new(), done: Extracted::default() };
    work.directory(dir, into, Path::new(""))?;
    Ok(work.done)
}

struct Extraction<'a> {
    store: &'a Store,
    tree: &'a Tree,
    into: &'a OwnedFd,
    at: &'a Path,
    skip: &'a dyn Fn(&Path) -> bool,
    /// Where the first name of a file with several was written.
    first: HashMap<Node, PathBuf>,
    done: Extracted,
}

impl Extraction<'_> {
    fn directory(&mut self, dir: Node, into: &OwnedFd, path: &Path) -> Result<(), StoreError> {
        let tree = self.tree;
        for entry in tree.entries(dir, 0) {
            let path = path.join(std::ffi::OsStr::from_bytes(entry.name));
            if tree.kind(entry.node) == Some(FileType::Directory) {
                self.below(&entry, into, &path)?;
            } else if self.file(&entry, into, &path).map_err(|e| self.failed("write", &path, e))? {
                self.done.written += 1;
            }
            if interrupt::raised().is_some() {
                return Err(StoreError::Cancelled);
            }
        }
        Ok(())
    }

    fn below(&mut self, entry: &TreeEntry<'_>, into: &OwnedFd, path: &Path) -> Result<(), StoreError> {
        if (self.skip)(path) {
            return Ok(());
        }
        let made = match fs::mkdir_at(into, entry.name, 0o700) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(self.failed("create", path, e)),
        };
        let dir = match fs::open_dir_at(into, entry.name) {
            Ok(dir) => dir,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory || fs::is_symlink_error(&e) => {
                self.done.kept.push(path.into());
                return Ok(());
            }
            Err(e) => return Err(self.failed("open", path, e)),
        };
        self.directory(entry.node, &dir, path)?;
        if made {
            let stat = self.tree.stat(entry.node);
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
            // Somebody was faster.
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
                let parent = first.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
                let from = fs::open_beneath(self.into, parent.as_os_str().as_bytes(), flags)?;
                return fs::link_at(from, first.file_name().unwrap_or_default().as_bytes(), into, entry.name);
            }
            self.first.insert(entry.node, path.into());
        }
        let object = self.tree.object(entry.node).ok_or(io::ErrorKind::InvalidData)?;
        let object = self.store.objects().sound_content(&object).map_err(io::Error::other)?;
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
            // What file systems without it answer (open(2)).
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
                // One that can't be read is somebody's own.
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
    let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL;
    let file = fs::open_at(into, aside.as_bytes(), flags, 0o600)?;
    let named = fill(&file)
        .and_then(|()| fs::rename_at(into.as_fd(), aside.as_bytes(), into.as_fd(), name, RenameFlags::NOREPLACE));
    named.inspect_err(|_| drop(fs::unlink_at(into, aside.as_bytes())))
}
