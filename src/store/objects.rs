//! The bytes of files, each once: the small ones in packs, the others in loose files named by their hash.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::arrival::ArrivalWait;
use super::damage::OTHER_BYTES;
use super::lost::Lost;
use super::pack::Packs;
use super::sources::SourcedObjects;
use super::{Node, ObjectId, StoreError, Tree};
use crate::sys::extent::{Extent, is_path_in_memory};
use crate::sys::fs::{self, OpenFlags, RenameFlags};
use crate::sys::{IoError, interrupt, path as paths};

/// The objects of a store.
pub struct Objects {
    path: PathBuf,
    dir: OwnedFd,
    packs: Packs,
    lost: Lost,
    sourced: SourcedObjects,
    arrivals: ArrivalWait,
}

impl Objects {
    /// The objects of the store at this absolute path. Packs are read when they are needed.
    pub(super) fn open_dir(store: &Path) -> Result<Objects, StoreError> {
        let path = store.join("objects");
        let (packs, lost, sourced) = (Packs::of(store), Lost::of(store), SourcedObjects::of(store));
        Ok(Objects { dir: paths::open_dir(&path)?, path, packs, lost, sourced, arrivals: ArrivalWait::of(store) })
    }

    /// An object's bytes, to be read. One that is not here is [`StoreError::Absent`] if a source names it; else it is lost:
    /// [`StoreError::NoObject`], which is damage.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::NoObject`]. It cannot be opened.
    pub fn content(&self, id: &ObjectId) -> Result<Extent, StoreError> {
        if let Some(packed) = self.packs.content(id)? {
            return Ok(packed);
        }
        match fs::open_at(&self.dir, id.place().as_bytes(), OpenFlags::RDONLY, 0) {
            Ok(file) => Ok(Extent::whole(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => match self.sourced.name(id)? {
                true => Err(StoreError::Absent { id: *id }),
                false => Err(StoreError::NoObject(*id)),
            },
            Err(e) => Err(IoError::of("open", &self.path_of(id))(e).into()),
        }
    }

    /// Whether the object is not here, and a source names it; false also if a look-up fails.
    pub fn is_absent(&self, id: &ObjectId) -> bool {
        !self.contains(id) && self.sourced.name(id).unwrap_or(false)
    }

    /// As [`Objects::content`], of as many bytes as the object should have: fewer are those of a broken disk.
    pub(crate) fn content_of(&self, id: &ObjectId, size: u64) -> Result<Extent, StoreError> {
        let bytes = self.content(id)?;
        let len = bytes.size().map_err(IoError::of("stat", &self.path_of(id)))?;
        if len != size {
            return Err(StoreError::BadObject { id: *id, why: "it has not as many bytes as it should" });
        }
        match bytes.as_file() {
            Some(file) if self.lost.is_known_bad(id, file) => Err(StoreError::BadObject { id: *id, why: OTHER_BYTES }),
            _ => Ok(bytes),
        }
    }

    /// Whether [`Objects::content`] of this object needs nothing that is on the disk alone.
    pub(crate) fn is_at_hand(&self, id: &ObjectId) -> bool {
        let is_packed = self.packs.size_of(id).is_ok_and(|size| size.is_some());
        is_packed || is_path_in_memory(&self.dir, id.place().as_bytes())
    }

    /// As [`Objects::content`], all of which was read, and has the hash in its name.
    pub(crate) fn sound_content(&self, id: &ObjectId) -> Result<Extent, StoreError> {
        let bytes = self.content(id)?;
        match ObjectId::of_extent(&bytes).map_err(IoError::of("read", &self.path_of(id)))? == *id {
            true => Ok(bytes),
            false => Err(StoreError::BadObject { id: *id, why: OTHER_BYTES }),
        }
    }

    /// Notes that an object is damaged or missing; at the next question it is looked for anew.
    pub fn report_lost(&self, id: &ObjectId, why: &StoreError) {
        self.packs.look_again_soon();
        // One that can be had is not lost.
        if !matches!(why, StoreError::Absent { .. } | StoreError::NotFetched { .. }) {
            self.lost.report(id, why);
        }
    }

    /// The damaged objects that this process has met.
    pub fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Whether a file or a pack has the object; false also if the look-up fails. Its bytes are not checked.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.size_of(id).is_some()
    }

    /// Whether the object is there with as many bytes as it should have; fewer are those of a broken disk.
    pub fn contains_whole(&self, id: &ObjectId, size: u64) -> bool {
        self.size_of(id) == Some(size)
    }

    /// The length of the object; `None` if it isn't there, or can't be looked up.
    pub fn size_of(&self, id: &ObjectId) -> Option<u64> {
        let packed = self.packs.size_of(id).ok().flatten();
        packed.or_else(|| self.loose_size(id))
    }

    /// The files of a tree whose object isn't there, or not with as many bytes as it should have. One look at each pack;
    /// a system call for each object that is in none, which are the large ones.
    pub(crate) fn missing_of(&self, tree: &Tree) -> Result<HashSet<Node>, StoreError> {
        let nodes = || (0..tree.node_count()).map(Node).filter_map(|n| Some((n, tree.object(n)?)));
        let mut files = nodes();
        let mut loose = Vec::new();
        self.packs.sizes_of(nodes().map(|(_, id)| id), |id, len| {
            if let Some((node, _)) = files.next()
                && len != Some(tree.stat(node).size)
            {
                loose.push((node, id));
            }
        })?;
        loose.retain(|(node, id)| self.loose_size(id) != Some(tree.stat(*node).size));
        Ok(loose.into_iter().map(|(node, _)| node).collect())
    }

    fn loose_size(&self, id: &ObjectId) -> Option<u64> {
        fs::stat_at(&self.dir, id.place().as_bytes()).ok().filter(|s| s.is_file()).map(|s| s.size)
    }

    /// Waits until an absent object is here.
    ///
    /// # Errors
    /// [`StoreError::NotFetched`]: it did not come in time, or cannot be had, or `is_interrupted` ended the waiting.
    pub(crate) fn await_arrival(&self, id: &ObjectId, is_interrupted: &dyn Fn() -> bool) -> Result<(), StoreError> {
        let answer = self.arrivals.wait(id, is_interrupted);
        self.packs.look_again_soon();
        answer.map_err(|source| StoreError::NotFetched { id: *id, source })
    }

    /// As [`Objects::content_of`]; one that is absent is waited for.
    ///
    /// # Errors
    /// As [`Objects::content_of`] and [`Objects::await_arrival`].
    pub(crate) fn awaited_content_of(&self, id: &ObjectId, size: u64) -> Result<Extent, StoreError> {
        self.awaited(id, || self.content_of(id, size))
    }

    /// As [`Objects::sound_content`]; one that is absent is waited for.
    ///
    /// # Errors
    /// As [`Objects::sound_content`] and [`Objects::await_arrival`].
    pub(crate) fn awaited_sound_content(&self, id: &ObjectId) -> Result<Extent, StoreError> {
        self.awaited(id, || self.sound_content(id))
    }

    fn awaited(&self, id: &ObjectId, content: impl Fn() -> Result<Extent, StoreError>) -> Result<Extent, StoreError> {
        match content() {
            Err(StoreError::Absent { .. }) => {
                self.await_arrival(id, &|| interrupt::raised().is_some())?;
                content()
            }
            content => content,
        }
    }

    /// The packs that this process has found so far; [`Packs::look_again`] finds those of a later gc or import.
    pub(super) fn packs(&self) -> &Packs {
        &self.packs
    }

    /// The path that a loose object has or would have, for messages.
    pub fn path_of(&self, id: &ObjectId) -> PathBuf {
        self.path.join(id.place())
    }

    /// The directory of all objects, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the names of these objects on disk, as their bytes are.
    pub(super) fn sync_names(&self, ids: impl Iterator<Item = ObjectId>) -> io::Result<()> {
        let buckets: BTreeSet<String> = ids.map(|id| id.split().0).collect();
        for bucket in buckets {
            fs::fsync(fs::open_dir_at(&self.dir, bucket.as_bytes())?)?;
        }
        fs::fsync(&self.dir)
    }

    /// Gives a finished file its name. An object that is there already and whole stays: views may have it mapped.
    pub(super) fn take(&self, from: impl AsFd, name: &[u8], id: &ObjectId, size: u64) -> io::Result<()> {
        let place = id.place();
        loop {
            match fs::rename_at(&from, name, &self.dir, place.as_bytes(), RenameFlags::NOREPLACE) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => drop(super::make_dir(&self.dir, &place[..2])?),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && self.loose_size(id) == Some(size) => {
                    return fs::unlink_at(from, name);
                }
                // A damaged one, or a file system without RENAME_NOREPLACE.
                Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidInput) => {
                    return fs::rename_at(from, name, &self.dir, place.as_bytes(), RenameFlags::empty());
                }
                result => return result,
            }
        }
    }
}
