//! The bytes of files, each once, in loose files named by their hash.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{ObjectId, StoreError};
use crate::sys::fs::{self, OpenFlags, RenameFlags};
use crate::sys::{IoError, path as paths};

/// The objects of a store.
pub struct Objects {
    path: PathBuf,
    dir: OwnedFd,
}

impl Objects {
    pub(super) fn open_dir(store: &Path) -> Result<Objects, StoreError> {
        let path = store.join("objects");
        Ok(Objects { dir: paths::open_dir(&path)?, path })
    }

    /// Opens an object for reading. One that is missing is [`StoreError::NoObject`], which is damage.
    pub fn open(&self, id: &ObjectId) -> Result<OwnedFd, StoreError> {
        match fs::open_at(&self.dir, id.place().as_bytes(), OpenFlags::RDONLY, 0) {
            Ok(file) => Ok(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StoreError::NoObject(*id)),
            Err(e) => Err(IoError::of("open", &self.path_of(id))(e).into()),
        }
    }

    pub fn contains(&self, id: &ObjectId) -> bool {
        fs::stat_at(&self.dir, id.place().as_bytes()).is_ok_and(|s| s.is_file())
    }

    /// Whether the object is there with as many bytes as it should have; fewer are those of a broken disk.
    pub fn contains_whole(&self, id: &ObjectId, size: u64) -> bool {
        fs::stat_at(&self.dir, id.place().as_bytes()).is_ok_and(|s| s.is_file() && s.size == size)
    }

    /// Where an object is or would be, for messages.
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
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && self.contains_whole(id, size) => {
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
