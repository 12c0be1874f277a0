//! New objects, collected unseen: they get their names when the import that brings them has succeeded.
//!
//! Small ones are appended to a pack, in the order in which they come: that of a walk, so that what is read together
//! lies together. The others are files. They are published by [`super::publish`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::pack::PackWriter;
use super::{ObjectId, Objects, PackId, Store, StoreError, StoreShare};
use crate::sys::fs::{self, OpenFlags};
use crate::sys::log::OrWarn;
use crate::sys::{IoError, copy, path as paths, reason};

/// Up to this size a file's bytes are held in memory until its hash shows whether the store has them.
pub(super) const IN_MEMORY: usize = 1 << 20;
/// Up to this size an object goes into a pack.
const PACKED: usize = 64 * 1024;
/// A pack with as many bytes is full: the most that a gc may have to rewrite at once.
pub(super) const FULL: u64 = 256 << 20;

/// The object of one added file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The hash of the bytes.
    pub id: ObjectId,
    /// In bytes, holes included.
    pub size: u64,
    /// Units of 512 bytes, holes not counted.
    pub blocks: u64,
}

/// An import's objects before they are published. Dropping it removes them.
pub struct Stage {
    pub(super) store: Store,
    pub(super) objects: Arc<Objects>,
    path: PathBuf,
    /// Made with the first file in it: an import that finds nothing new makes none.
    dir: Mutex<Option<Arc<OwnedFd>>>,
    next: AtomicU32,
    /// Shared by the workers of an import, each of which holds it for one look-up.
    pub(super) staged: Mutex<HashMap<ObjectId, Staged>>,
    pub(super) packing: Mutex<Packing>,
    _share: StoreShare,
}

/// The place of an object that this stage holds already.
#[derive(Clone, Copy)]
pub(super) enum Staged {
    Loose(Loose),
    Packed,
}

/// A file of the stage that is an object.
#[derive(Clone, Copy)]
pub(super) struct Loose {
    pub file: u32,
    pub size: u64,
}

/// The packs of a stage, each with its file.
#[derive(Default)]
pub(super) struct Packing {
    pub open: Option<(u32, PackWriter)>,
    pub full: Vec<(u32, PackId)>,
}

impl Stage {
    /// An empty stage, in a directory of its own in `tmp` as soon as it has a file. It holds the store's lock shared until it is dropped. A dry
    /// store's stage writes nothing.
    pub(super) fn new(store: &Store) -> Result<Stage, StoreError> {
        let share = store.share()?;
        // From here on gc takes nothing away; what it took before must not count as there.
        store.objects().packs().look_again()?;
        let path = match store.is_dry() {
            true => store.path().to_path_buf(),
            false => store.path().join("tmp").join(super::aside_name()),
        };
        Ok(Stage {
            store: store.clone(),
            objects: store.objects().clone(),
            path,
            dir: Mutex::default(),
            next: AtomicU32::new(0),
            staged: Mutex::default(),
            packing: Mutex::default(),
            _share: share,
        })
    }

    /// The stage's directory, made if this is the first use.
    pub(super) fn dir(&self) -> io::Result<Arc<OwnedFd>> {
        let mut made = self.dir.lock();
        if let Some(dir) = &*made {
            return Ok(dir.clone());
        }
        if !self.is_dry() {
            paths::make_dir(&self.path).map_err(|e| e.source)?;
        }
        let dir = Arc::new(paths::open_dir(&self.path).map_err(|e| e.source)?);
        *made = Some(dir.clone());
        Ok(dir)
    }

    /// Adds content that is in memory; nothing is written when the store or this stage has it.
    pub fn add_bytes(&self, bytes: &[u8]) -> Result<ObjectId, StoreError> {
        let id = ObjectId::of(bytes);
        let size = bytes.len() as u64;
        if self.is_dry() || self.has_staged(&id) || self.objects.contains_whole(&id, size) {
            return Ok(id);
        }
        let file = self.next_file();
        let is_small = bytes.len() <= PACKED;
        let staged = if is_small { Staged::Packed } else { Staged::Loose(Loose { file, size }) };
        if !self.is_first(id, staged) {
            return Ok(id);
        }
        if is_small {
            self.pack(id, bytes, file)?
        } else {
            self.write_loose(file, bytes)?
        }
        Ok(id)
    }

    /// Writes a file of its own.
    pub(super) fn write_loose(&self, file: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let write = || {
            let fd = self.create(file)?;
            fs::write_all_at(&fd, bytes, 0)?;
            copy::begin_write_back(&fd, 0, bytes.len() as u64);
            Ok(())
        };
        write().map_err(|e| self.failed(file, e))
    }

    /// Appends to the pack, a new one in the file `file` if there is none or it is full.
    fn pack(&self, id: ObjectId, bytes: &[u8], file: u32) -> Result<(), StoreError> {
        let mut packing = self.packing.lock();
        if let Some((file, full)) = packing.open.take_if(|(_, pack)| pack.bytes() >= FULL) {
            packing.full.push((file, full.finish().map_err(|e| self.failed(file, e))?));
        }
        if packing.open.is_none() {
            packing.open = Some((file, PackWriter::new(self.create(file).map_err(|e| self.failed(file, e))?)));
        }
        let (file, pack) = packing.open.as_mut().expect("there is one now");
        pack.add(id, bytes).map_err(|e| self.failed(*file, e))
    }

    /// Whether it only hashes ([`Store::dry`]).
    pub(super) fn is_dry(&self) -> bool {
        self.store.is_dry()
    }

    /// The stage's directory, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a finished file as the object `id`, or removes it when that is there already.
    pub(super) fn take(&self, file: u32, id: ObjectId, size: u64) -> io::Result<()> {
        // Another worker's copy first: the store is searched only for one that this stage does not have.
        let is_new = !self.has_staged(&id) && !self.objects.contains_whole(&id, size);
        match is_new && self.is_first(id, Staged::Loose(Loose { file, size })) {
            true => Ok(()),
            false => fs::unlink_at(&*self.dir()?, name_of(file).as_bytes()),
        }
    }

    fn has_staged(&self, id: &ObjectId) -> bool {
        self.staged.lock().contains_key(id)
    }

    /// Notes an object, unless another worker has meanwhile; whether it did.
    fn is_first(&self, id: ObjectId, staged: Staged) -> bool {
        match self.staged.lock().entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(new) => {
                new.insert(staged);
                true
            }
        }
    }

    /// The number of the next file.
    pub(super) fn next_file(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new file of the stage, and its number.
    pub(super) fn new_file(&self) -> Result<(u32, OwnedFd), StoreError> {
        let file = self.next_file();
        Ok((file, self.create(file).map_err(|e| self.failed(file, e))?))
    }

    fn create(&self, file: u32) -> io::Result<OwnedFd> {
        let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL;
        let fd = fs::open_at(&*self.dir()?, name_of(file).as_bytes(), flags, 0o444)?;
        // Independent of the umask: the mode of the store's directory decides which users may read.
        fs::chmod(&fd, 0o444)?;
        Ok(fd)
    }

    /// The error of a write to the stage's file of this number.
    pub(super) fn failed(&self, file: u32, e: io::Error) -> StoreError {
        IoError::of("write", &self.path.join(name_of(file)))(e).into()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_dry() && self.dir.lock().is_some() {
            // Files that can't be removed now are in `tmp`, where gc sweeps.
            paths::remove_tree(&self.path).or_warn("the staged files stay for gc");
        }
    }
}

/// The name of a file of a stage.
pub(super) fn name_of(file: u32) -> String {
    format!("{file:x}")
}

/// Which side of a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("cannot read: {}", reason(.0))]
    Source(io::Error),
    #[error(transparent)]
    Store(StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 MiB, in pieces of 64 KiB.
    fn add_big(stage: &Stage) -> Added {
        let mut writer = stage.writer();
        (0..48).for_each(|_| writer.write(&[7; 64 << 10]).unwrap());
        writer.finish().unwrap()
    }

    fn names(store: &Store, dir: &str) -> usize {
        paths::list(&store.path().join(dir)).unwrap().len()
    }

    #[test]
    fn nothing_is_an_object_before_it_is_published_and_nothing_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let stage = store.stage().unwrap();
        assert_eq!(names(&store, "tmp"), 0, "no file, no directory");
        let small = stage.add_bytes(b"small").unwrap();
        let big = add_big(&stage);
        assert_eq!((big.size, big.blocks), (3 << 20, 3 << 11));
        assert!(!store.objects().contains(&small));
        drop(stage);
        assert_eq!((names(&store, "tmp"), names(&store, "objects")), (0, 0));

        let stage = store.stage().unwrap();
        for _ in 0..2 {
            stage.add_bytes(b"small").unwrap();
            add_big(&stage);
        }
        assert_eq!(stage.publish().unwrap(), 2);
        drop(stage);
        assert_eq!((names(&store, "tmp"), names(&store, "objects")), (0, 2));
        let object = store.objects().content(&big.id).unwrap();
        assert_eq!(fs::stat(object.as_file().unwrap()).unwrap().mode & 0o7777, 0o444);
        assert!(store.objects().contains_whole(&small, 5));
    }

    #[test]
    fn holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let stage = store.stage().unwrap();
        let file = fs::open_path(&dir.path().join("f"), OpenFlags::RDWR | OpenFlags::CREATE, 0o600).unwrap();
        fs::write_all_at(&file, b"data", 4 << 20).unwrap();
        fs::truncate(&file, 9 << 20).unwrap();
        let mut content = vec![0; 9 << 20];
        content[4 << 20..(4 << 20) + 4].copy_from_slice(b"data");
        let added = stage.add_file(&file, 9 << 20, &mut Vec::new(), &mut |_| {}).unwrap();
        assert_eq!((added.id, added.size), (ObjectId::of(&content), 9 << 20));
        stage.publish().unwrap();
        let object = fs::stat(store.objects().content(&added.id).unwrap().as_file().unwrap()).unwrap();
        assert_eq!(object.size, 9 << 20);
        assert!(object.blocks < 100, "{} blocks", object.blocks);
    }

    #[test]
    fn an_object_that_lost_bytes_is_replaced_by_the_next_import() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let stage = store.stage().unwrap();
        let id = stage.add_bytes(b"whole").unwrap();
        stage.publish().unwrap();
        let path = store.objects().path_of(&id);
        paths::remove_file(&path).unwrap();
        paths::replace(&path, b"who").unwrap();
        stage.add_bytes(b"whole").unwrap();
        stage.publish().unwrap();
        assert_eq!(paths::read(&path).unwrap(), b"whole");
    }
}
