//! Open files behind inodes: the store's objects to read, the upper's files to read and write.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::store::{Name, StoreError};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, OpenFlags};

use super::Ino;
use super::emptied::Emptied;
use super::error::{Error, Result, upper};
use super::resolve::{Kept, View};
use super::upper::against_mode;

/// A file of its own that is open, for as long as somebody holds it.
pub(super) struct OpenFile {
    pub fd: Arc<OwnedFd>,
    /// An object never is.
    pub writable: bool,
    /// A file of the lower was emptied to become it.
    pub emptied: Option<Emptied>,
}

impl View {
    /// The file's bytes, to read: the object's while nobody has written to it.
    pub(super) fn open_to_read(&mut self, ino: Ino) -> Result<Extent> {
        self.has_all(ino, None)?;
        self.open_bytes(ino)
    }

    /// As [`View::open_to_read`], of a file that may lack bytes, elsewhere.
    pub(super) fn open_bytes(&mut self, ino: Ino) -> Result<Extent> {
        if let Some(file) = self.files.find(ino) {
            return Ok(Extent::whole(file.fd.clone()));
        }
        let bytes = if self.has_upper_bytes(ino) {
            Extent::whole(self.open_upper(ino, OpenFlags::RDONLY)?)
        } else {
            self.open_object(ino)?
        };
        // A part of a pack has no descriptor of its own, and is found again without a system call.
        if let Some(fd) = bytes.as_file() {
            self.files.keep(ino, Arc::new(OpenFile { fd: fd.clone(), writable: false, emptied: None }));
        }
        Ok(bytes)
    }

    /// The file's bytes, to read without moving its access time.
    pub(super) fn open_unnoticed(&mut self, ino: Ino) -> Result<Extent> {
        if !self.has_upper_bytes(ino) {
            return self.open_bytes(ino);
        }
        // Refused for files of other users (open(2)): theirs move.
        match self.open_upper(ino, OpenFlags::RDONLY | OpenFlags::NOATIME) {
            Ok(file) => Ok(Extent::whole(file)),
            Err(_) => self.open_bytes(ino),
        }
    }

    /// The file's own bytes in the upper, to write. They must be there (see [`View::copy_up`]).
    pub(super) fn open_to_write(&mut self, ino: Ino) -> Result<Arc<OpenFile>> {
        self.has_all(ino, None)?;
        self.open_own(ino)
    }

    /// As [`View::open_to_write`], of a file that may lack bytes.
    pub(super) fn open_own(&mut self, ino: Ino) -> Result<Arc<OpenFile>> {
        if let Some(file) = self.files.find(ino)
            && file.writable
        {
            return Ok(file);
        }
        let fd = self.open_upper(ino, OpenFlags::RDWR)?;
        let file = Arc::new(OpenFile { fd: Arc::new(fd), writable: true, emptied: None });
        self.files.keep(ino, file.clone());
        Ok(file)
    }

    /// Whether writes may go to the upper without a copy-up.
    pub(super) fn has_upper_bytes(&self, ino: Ino) -> bool {
        match self.orphans.get(&ino) {
            Some(orphan) => !matches!(orphan.kept, Kept::Store),
            None => self.is_in_upper(ino),
        }
    }

    pub(super) fn open_object(&mut self, ino: Ino) -> Result<Extent> {
        let (tree, node) = self.lower.source(ino).ok_or(Error::UnknownInode(ino.0))?;
        let id = tree.object(node).ok_or(Error::Invalid);
        self.lower.must_be_sound()?;
        let id = id?;
        let objects = self.objects.clone();
        // Missing or damaged is one thing, a call that fails for want of descriptors, say, is another.
        let lost = |source| match source {
            StoreError::Io(e) => upper("open an object")(e.source),
            source => Error::LostObject { id, source: Box::new(source) },
        };
        match objects.content(&id) {
            Err(_) => {
                // It may be our own descriptors that ran out: give back what is kept, once.
                self.upper.close_kept();
                self.files.clear();
                objects.content(&id).map_err(lost)
            }
            Ok(bytes) => Ok(bytes),
        }
    }

    pub(super) fn open_upper(&mut self, ino: Ino, flags: OpenFlags) -> Result<OwnedFd> {
        if self.is_gone(ino) {
            let file = self.orphan_fd(ino)?.ok_or(Error::UnknownInode(ino.0))?;
            return self.open_kept(|| fs::reopen(&file, flags)).map_err(upper("open a file"));
        }
        let (dir, name, stat) = self.locate(ino)?;
        match self.open_kept(|| fs::open_at(&dir, name.bytes(), flags | OpenFlags::NONBLOCK, 0)) {
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
                against_mode(&dir, || open_against_mode(&dir, &name, flags, stat.mode)).map_err(upper("open a file"))
            }
            other => other.map_err(upper("open a file")),
        }
    }
}

/// Opens a file of ours whose mode keeps us out. The kernel checked the permission when the program
/// opened the file; the mode may have changed since, and what is open stays open.
fn open_against_mode(dir: &OwnedFd, name: &Name, flags: OpenFlags, mode: u32) -> std::io::Result<OwnedFd> {
    fs::chmod_at(dir, name.bytes(), (mode & 0o7777) | 0o600)?;
    let opened = fs::open_at(dir, name.bytes(), flags, 0);
    fs::chmod_at(dir, name.bytes(), mode & 0o7777)?;
    opened
}
