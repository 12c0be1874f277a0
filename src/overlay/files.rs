//! Open files behind inodes: the store's objects to read, the upper's files to read and write.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::store::{FileTimes, LARGE, Node, OTHER_BYTES, ObjectId, Objects, StoreError, Tree};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, OpenFlags};

use super::counters::Counters;
use super::error::{OverlayError, Result, upper};
use super::loosened::{despite_mode, open_against_mode};
use super::open_file::OpenFile;
use super::types::Ino;
use super::types::Stale;
use super::view::{OrphanBacking, View};

/// An object whose bytes were not compared with its name yet.
pub(super) struct Unchecked {
    tree: Arc<Tree>,
    node: Node,
    id: ObjectId,
    pub size: usize,
    objects: Arc<Objects>,
    counters: Arc<Counters>,
}

impl Unchecked {
    /// Compares all of it: `bytes` are what was read.
    ///
    /// # Errors
    /// [`OverlayError::LostObject`]; the next read checks again, for the object may be whole by then.
    pub fn is_in(&self, bytes: &[u8]) -> Result<()> {
        self.end(bytes.len() == self.size && ObjectId::of(bytes) == self.id)
    }

    /// Reads it to compare it.
    pub fn check(&self, bytes: &Extent) -> Result<()> {
        self.end(ObjectId::of_extent(bytes).map_err(upper("read an object"))? == self.id)
    }

    fn end(&self, is_sound: bool) -> Result<()> {
        self.counters.hashed();
        self.tree.note_checked(self.node, is_sound);
        if is_sound {
            self.objects.lost().is_sound(&self.id);
            return Ok(());
        }
        Err(lost(&self.objects, self.id, StoreError::BadObject { id: self.id, why: OTHER_BYTES }))
    }
}

fn lost(objects: &Objects, id: ObjectId, source: StoreError) -> OverlayError {
    objects.report_lost(&id, &source);
    OverlayError::LostObject { id, source: Box::new(source) }
}

impl View {
    /// The file's bytes, to read: the object's until the first write. A small object has been compared with its name.
    pub(super) fn open_to_read(&mut self, ino: Ino) -> Result<Extent> {
        self.has_all(ino, None)?;
        self.open_bytes(ino)
    }

    /// As [`View::open_to_read`], of a file that may lack bytes, elsewhere.
    pub(super) fn open_bytes(&mut self, ino: Ino) -> Result<Extent> {
        let (bytes, unchecked) = self.open_unchecked(ino)?;
        match unchecked {
            Some(object) => object.check(&bytes).inspect_err(|_| self.files.forget(ino)).map(|()| bytes),
            None => Ok(bytes),
        }
    }

    /// As [`View::open_to_read`]; a small object whose bytes were not compared with its name comes with what that
    /// takes.
    pub(super) fn open_unchecked(&mut self, ino: Ino) -> Result<(Extent, Option<Unchecked>)> {
        let Some(file) = self.files.find(ino) else { return self.open_afresh(ino) };
        // A file of the upper may be open to read only, too: it is no object, though it was one.
        if file.writable || self.has_upper_bytes(ino) {
            return Ok((Extent::whole(file.fd.clone()), None));
        }
        if self.is_outdated(ino, &file)? {
            return self.open_again(ino, &file);
        }
        Ok((Extent::whole(file.fd.clone()), self.unchecked(ino)))
    }

    fn open_afresh(&mut self, ino: Ino) -> Result<(Extent, Option<Unchecked>)> {
        let is_own = self.has_upper_bytes(ino);
        let bytes =
            if is_own { Extent::whole(self.open_upper(ino, OpenFlags::RDONLY)?) } else { self.open_object(ino)? };
        // A part of a pack has no descriptor of its own, and is found again without a system call.
        if let Some(fd) = bytes.as_file() {
            if !is_own && !self.relocated.differs(ino) {
                self.lower.watch(ino, FileTimes::of(&fs::stat(fd).map_err(upper("look at an object"))?));
            }
            self.files.keep(ino, Arc::new(OpenFile { fd: fd.clone(), writable: false, truncated: None }));
        }
        let unchecked = if is_own { None } else { self.unchecked(ino) };
        Ok((bytes, unchecked))
    }

    /// Whether the file of an object was changed, replaced or deleted since it was opened. It is looked at now and then.
    fn is_outdated(&mut self, ino: Ino, file: &OpenFile) -> Result<bool> {
        let Some(known) = self.lower.watched(ino) else { return Ok(false) };
        let stat = fs::stat(&file.fd).map_err(upper("look at an object"))?;
        Ok(stat.nlink == 0 || FileTimes::of(&stat) != known)
    }

    /// Opens the object again. If the store no longer has it (because its tree is no longer mounted, for instance), the
    /// open file stays in use, if all its bytes are intact.
    fn open_again(&mut self, ino: Ino, before: &OpenFile) -> Result<(Extent, Option<Unchecked>)> {
        self.files.forget(ino);
        if let Some((tree, node)) = self.lower.source(ino) {
            tree.note_checked(node, false);
        }
        // The kernel may have cached other bytes that were there meanwhile.
        self.on_stale.iter().for_each(|tell| tell(Stale::Object(ino)));
        let lost = match self.open_afresh(ino) {
            Err(e @ (OverlayError::LostObject { .. } | OverlayError::AbsentObject(_)))
                if !self.has_upper_bytes(ino) =>
            {
                e
            }
            opened => return opened,
        };
        let bytes = Extent::whole(before.fd.clone());
        let id = self.lower_object(ino).ok_or(OverlayError::UnknownInode(ino.0))?;
        if ObjectId::of_extent(&bytes).map_err(upper("read an object"))? != id {
            return Err(lost);
        }
        self.lower.watch(ino, FileTimes::of(&fs::stat(&before.fd).map_err(upper("look at an object"))?));
        self.files.keep(ino, Arc::new(OpenFile { fd: before.fd.clone(), writable: false, truncated: None }));
        Ok((bytes, None))
    }

    /// The data for the check of the small object that holds this file's bytes; `None` if no check is due.
    pub(super) fn unchecked(&self, ino: Ino) -> Option<Unchecked> {
        // A relocated file is made of an object that was checked.
        if self.relocated.differs(ino) { None } else { self.unchecked_object(ino) }
    }

    /// As [`View::unchecked`], of the object that a relocated file is made of, too.
    pub(super) fn unchecked_object(&self, ino: Ino) -> Option<Unchecked> {
        let (tree, node) = self.lower.shared_source(ino)?;
        let size = tree.stat(node).size;
        if size == 0 || size > LARGE || tree.is_checked(node) {
            return None;
        }
        let (id, objects, counters) = (tree.object(node)?, self.objects.clone(), self.counters.clone());
        Some(Unchecked { tree: tree.clone(), node, id, size: size as usize, objects, counters })
    }

    /// As [`View::open_unchecked`], to read without moving the file's access time.
    pub(super) fn open_unnoticed(&mut self, ino: Ino) -> Result<(Extent, Option<Unchecked>)> {
        if !self.has_upper_bytes(ino) {
            return self.open_unchecked(ino);
        }
        // Refused for files of other users (open(2)): theirs move.
        match self.open_upper(ino, OpenFlags::RDONLY | OpenFlags::NOATIME) {
            Ok(file) => Ok((Extent::whole(file), None)),
            Err(_) => self.open_unchecked(ino),
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
        let file = Arc::new(OpenFile { fd: Arc::new(fd), writable: true, truncated: None });
        self.files.keep(ino, file.clone());
        Ok(file)
    }

    /// Whether writes may go to the upper without a copy-up.
    pub(super) fn has_upper_bytes(&self, ino: Ino) -> bool {
        match self.orphans.get(&ino) {
            Some(orphan) => !matches!(orphan.kept, OrphanBacking::Store),
            None => self.is_in_upper(ino),
        }
    }

    /// The bytes of a lower file, from its object: not those of its copy if it has one. The bytes of a small object are
    /// checked. If descriptors run out, those of the caches are closed, and it is tried once more.
    pub(super) fn open_object(&mut self, ino: Ino) -> Result<Extent> {
        let object = self.open_stored(ino)?;
        if self.relocated.differs(ino) { self.relocated_bytes(ino, object) } else { Ok(object) }
    }

    fn open_stored(&mut self, ino: Ino) -> Result<Extent> {
        let (tree, node) = self.lower.source(ino).ok_or(OverlayError::UnknownInode(ino.0))?;
        let (id, size) = (tree.object(node).ok_or(OverlayError::Invalid), tree.stat(node).size);
        self.lower.must_be_sound()?;
        let id = id?;
        let objects = self.objects.clone();
        // A missing or damaged object is lost; a call that fails, for want of descriptors say, is another error.
        let lost = |source| match source {
            StoreError::Io(e) => upper("open an object")(e.source),
            StoreError::Absent { id } => OverlayError::AbsentObject(id),
            source => lost(&objects, id, source),
        };
        match objects.content_of(&id, size) {
            Err(StoreError::Io(_)) => {
                // It may be our own descriptors that ran out: give back what is kept, once.
                self.upper.close_kept();
                self.files.clear();
                objects.content_of(&id, size).map_err(lost)
            }
            opened => opened.map_err(lost),
        }
    }

    /// An own descriptor of an upper file, also of one without a name that is open still. The user's own modes do not
    /// hinder: a file without the permission is opened all the same. No copy-up happens.
    pub(super) fn open_upper(&mut self, ino: Ino, flags: OpenFlags) -> Result<OwnedFd> {
        if self.is_gone(ino) {
            let file = self.orphan_fd(ino)?.ok_or(OverlayError::UnknownInode(ino.0))?;
            return self.open_kept(|| fs::reopen(&file, flags)).map_err(upper("open a file"));
        }
        let (dir, name, stat) = self.locate(ino)?;
        match self.open_kept(|| fs::open_at(&dir, name.bytes(), flags | OpenFlags::NONBLOCK, 0)) {
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
                let aside = self.upper.aside.as_deref();
                let open = || open_against_mode(aside, (&dir, &name, &stat), flags);
                despite_mode(aside, &dir, open).map_err(upper("open a file"))
            }
            other => other.map_err(upper("open a file")),
        }
    }
}
