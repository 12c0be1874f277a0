//! One file, symlink or fifo of a copy.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{CopyMode, OpenDirectory, TreeCopy, WorkerResult};
use crate::store::tree::TreeError;
use crate::store::{LARGE, Node, NodeStat, OTHER_BYTES, ObjectId, StoreError};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags, SetTime, Stat};
use crate::sys::log::OrWarn;
use crate::sys::path as paths;

/// How much of two files is compared at once.
const CHUNK: usize = 1 << 20;

/// The result for one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileOutcome {
    Written,
    /// It is there already, as the tree has it.
    Same,
    Kept,
}

impl TreeCopy<'_> {
    /// Copies one name of a directory, and counts it.
    pub(super) fn file(
        &self,
        dir: &OpenDirectory,
        node: Node,
        name: &[u8],
        own: &mut WorkerResult,
    ) -> Result<(), StoreError> {
        let at = paths::child(&dir.path, name);
        let stat = self.tree.stat(node);
        if stat.nlink > 1 && stat.kind == FileType::RegularFile {
            let mut first = self.first_names.lock();
            if first.contains_key(&node) {
                own.links.push((node, at));
                return Ok(());
            }
            first.insert(node, at.clone());
        }
        let outcome = self.make(dir, node, &stat, name, &at)?;
        if outcome == FileOutcome::Kept && stat.nlink > 1 {
            // The next name is made as a file of its own.
            self.first_names.lock().remove(&node);
        }
        self.count(outcome, &stat, &at, own);
        Ok(())
    }

    /// A name at which nothing is, as a file of its own.
    pub(super) fn alone(&self, dir: &OpenDirectory, node: Node, name: &[u8]) -> Result<(), StoreError> {
        let at = paths::child(&dir.path, name);
        match self.make(dir, node, &self.tree.stat(node), name, &at)? {
            FileOutcome::Kept => Err(self.failed("create", &at, io::ErrorKind::AlreadyExists.into())),
            FileOutcome::Written | FileOutcome::Same => Ok(()),
        }
    }

    /// As [`Self::file`], of a file that has another name already.
    pub(super) fn further_name(
        &self,
        dir: &OpenDirectory,
        node: Node,
        name: &[u8],
        own: &mut WorkerResult,
    ) -> Result<(), StoreError> {
        let at = paths::child(&dir.path, name);
        let first = self.first_names.lock().get(&node).cloned();
        let Some(first) = first else { return self.file(dir, node, name, own) };
        let stat = self.tree.stat(node);
        let link = || {
            let from = self.open_dir(first.parent().unwrap_or(Path::new("")))?;
            let first = first.file_name().unwrap_or_default().as_bytes();
            match fs::link_at(&from, first, &dir.fd, name) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let (there, here) = (fs::stat_at(&from, first)?, fs::stat_at(&dir.fd, name)?);
                    let is_one = (there.dev, there.ino) == (here.dev, here.ino);
                    Ok(if is_one { FileOutcome::Same } else { FileOutcome::Kept })
                }
                done => done.map(|()| FileOutcome::Written),
            }
        };
        let outcome = link().map_err(|e| self.failed("link", &at, e))?;
        self.count(outcome, &NodeStat { size: 0, ..stat }, &at, own);
        Ok(())
    }

    fn count(&self, outcome: FileOutcome, stat: &NodeStat, at: &Path, own: &mut WorkerResult) {
        match outcome {
            FileOutcome::Written => own.result.written += 1,
            FileOutcome::Kept => own.result.kept.push(at.into()),
            FileOutcome::Same => {}
        }
        self.progress.advance_file(stat.size);
    }

    fn make(
        &self,
        dir: &OpenDirectory,
        node: Node,
        stat: &NodeStat,
        name: &[u8],
        at: &Path,
    ) -> Result<FileOutcome, StoreError> {
        let made = match stat.kind {
            FileType::Symlink => fs::symlink_at(self.tree.target(node), &dir.fd, name),
            FileType::Fifo => fs::mknod_at(&dir.fd, name, libc::S_IFIFO | stat.perm & 0o777, 0),
            _ => match fs::open_at(&dir.fd, name, OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::EXCL, 0o600) {
                Ok(file) => {
                    let filled = self.fill(&file, node, stat, at);
                    if filled.is_err() {
                        fs::unlink_at(&dir.fd, name).or_debug("a file that could not be written stays");
                    }
                    return filled.map(|()| FileOutcome::Written);
                }
                Err(e) => Err(e),
            },
        };
        match made {
            Ok(()) => {
                let times = fs::utimens_at(&dir.fd, name, SetTime::Keep, SetTime::At(stat.mtime));
                times.map_err(|e| self.failed("set the time of", at, e)).map(|()| FileOutcome::Written)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.existing(dir, node, stat, name, at),
            Err(e) => Err(self.failed("create", at, e)),
        }
    }

    /// The bytes, attributes, mode and time of a new file.
    fn fill(&self, file: &OwnedFd, node: Node, stat: &NodeStat, at: &Path) -> Result<(), StoreError> {
        if stat.size > 0 {
            let source = TreeError::Damaged("a file has no object");
            let id = self.tree.object(node).ok_or(StoreError::BadTree { id: self.tree.id(), source })?;
            let object = self.store.objects().awaited_content_of(&id, stat.size)?;
            if stat.size > LARGE || object.as_file().is_some() {
                object.copy_contents(file, stat.size).map_err(|e| self.failed("write", at, e))?;
            } else {
                let bytes = self.read(&object, stat.size, at)?;
                if !self.tree.is_checked(node) && ObjectId::of(&bytes) != id {
                    return Err(StoreError::BadObject { id, why: OTHER_BYTES });
                }
                fs::write_all(file, &bytes).map_err(|e| self.failed("write", at, e))?;
            }
        }
        let dress = || {
            for (name, value) in self.tree.xattrs(node) {
                fs::set_xattr(file, name, value, fs::XattrFlags::empty())?;
            }
            fs::chmod(file, stat.perm & 0o777)?;
            fs::utimens(file, SetTime::Keep, SetTime::At(stat.mtime))
        };
        dress().map_err(|e| self.failed("finish", at, e))
    }

    fn read(&self, object: &Extent, size: u64, at: &Path) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; size as usize];
        let read = object.read_at(&mut bytes, 0).map_err(|e| self.failed("read the object of", at, e))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// An entry that is there already.
    fn existing(
        &self,
        dir: &OpenDirectory,
        node: Node,
        stat: &NodeStat,
        name: &[u8],
        at: &Path,
    ) -> Result<FileOutcome, StoreError> {
        let failed = |e| self.failed("compare", at, e);
        let there = fs::stat_at(&dir.fd, name).map_err(failed)?;
        if there.kind() != stat.kind {
            return Ok(FileOutcome::Kept);
        }
        match stat.kind {
            FileType::Symlink => {
                let target = fs::readlink_at(&dir.fd, name).map_err(failed)?;
                Ok(if target == self.tree.target(node) { FileOutcome::Same } else { FileOutcome::Kept })
            }
            FileType::RegularFile if self.mode == CopyMode::Complete => {
                self.complete(dir, node, stat, name, (at, &there))
            }
            FileType::RegularFile => Ok(FileOutcome::Kept),
            _ => Ok(FileOutcome::Same),
        }
    }

    /// Makes a file whole if an earlier copy wrote it, whole or in part.
    fn complete(
        &self,
        dir: &OpenDirectory,
        node: Node,
        stat: &NodeStat,
        name: &[u8],
        (at, there): (&Path, &Stat),
    ) -> Result<FileOutcome, StoreError> {
        if there.size > stat.size || there.nlink > stat.nlink {
            return Ok(FileOutcome::Kept);
        }
        // A file that its owner can't read is none that was written in part.
        let Ok(file) = fs::open_at(&dir.fd, name, OpenFlags::RDWR, 0) else { return Ok(FileOutcome::Kept) };
        let same_file = fs::duplicate(file.as_fd()).map_err(|e| self.failed("open", at, e))?;
        if there.size > 0 && !self.is_beginning(&Extent::whole(same_file), node, there.size, at)? {
            return Ok(FileOutcome::Kept);
        }
        let is_whole = there.size == stat.size && there.mtime == stat.mtime && there.mode & 0o777 == stat.perm & 0o777;
        if is_whole {
            return Ok(FileOutcome::Same);
        }
        fs::truncate(&file, 0).map_err(|e| self.failed("write", at, e))?;
        self.fill(&file, node, stat, at)?;
        Ok(FileOutcome::Written)
    }

    /// Whether a file of so many bytes holds the beginning of an object.
    fn is_beginning(&self, file: &Extent, node: Node, size: u64, at: &Path) -> Result<bool, StoreError> {
        let Some(id) = self.tree.object(node) else { return Ok(false) };
        let object = self.store.objects().awaited_content_of(&id, self.tree.stat(node).size)?;
        begins_with(&object, file, size).map_err(|e| self.failed("compare", at, e))
    }
}

/// Whether an object begins with the bytes of a file that has so many.
///
/// # Errors
/// One of the two can't be read.
pub fn begins_with(object: &Extent, file: &Extent, size: u64) -> io::Result<bool> {
    let (mut ours, mut theirs, mut done) = (vec![0; CHUNK], vec![0; CHUNK], 0);
    while done < size {
        let want = CHUNK.min((size - done) as usize);
        let read = file.read_at(&mut ours[..want], done)?;
        let other = object.read_at(&mut theirs[..want], done)?;
        if read != want || other != want || ours[..want] != theirs[..want] {
            return Ok(false);
        }
        done += want as u64;
    }
    Ok(true)
}
