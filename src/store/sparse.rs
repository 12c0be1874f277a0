//! Sparse packs: packs of a remote whose objects arrive one after the other, while views show them.
//!
//! | step of [`Store::add_sparse_pack`]      | a crash right after it leaves                                      |
//! |-----------------------------------------|--------------------------------------------------------------------|
//! | 1. the bitmap: no object is here        | a bitmap without a pack, which gc removes                          |
//! | 2. header and index, in `tmp`, synced   | the same, and a file in `tmp` that gc removes                      |
//! | 3. renamed into `packs`                 | a pack without objects                                             |
//!
//! | step of [`Store::fill`]                 | a crash right after it leaves                                      |
//! |-----------------------------------------|--------------------------------------------------------------------|
//! | 1. each object compared with its name   | nothing                                                            |
//! | 2. their bytes written in place, synced | bytes that no reader looks at                                      |
//! | 3. their bits set                       | objects that are here; a power cut may take bits back, never bytes, until [`Store::drop_source`] |
//! | 4. all here: read-only, bitmap removed  | a whole pack; its bitmap is ignored, and gc removes it             |

use std::io;
use std::os::fd::AsFd;

use super::pack::{Pack, PackError, PackHead, PresentBits, checked_head};
use super::{OTHER_BYTES, ObjectId, PackId, Store, StoreError, aside_name};
use crate::sys::fs::{self, OpenFlags, RenameFlags};
use crate::sys::temporary::{Leftover, TemporaryFile};
use crate::sys::{IoError, path as paths};

/// The permissions of a sparse pack, and those of one that is whole.
const SPARSE: u32 = 0o644;
const WHOLE: u32 = 0o444;

impl Store {
    /// Adds a pack none of whose objects is here, by its header and its index. A pack that is here stays as it is.
    ///
    /// # Errors
    /// [`StoreError::BadPack`] if the header or the index is not that of this pack. The store cannot be written.
    pub fn add_sparse_pack(&self, id: &PackId, header: &[u8], index: &[u8]) -> Result<(), StoreError> {
        let records = checked_head(id, header, index).map_err(|source| StoreError::BadPack { id: *id, source })?;
        let objects =
            u32::try_from(records.len()).map_err(|_| StoreError::BadPack { id: *id, source: PackError::Length })?;
        let _share = self.share()?;
        self.allow_absent()?;
        let _turn = self.single_flight(&blake3::hash(&id.0), || Ok::<_, StoreError>(()))?;
        let path = self.objects().packs().path_of(id);
        if paths::is_there(&path) {
            return Ok(());
        }
        let end = super::tree::u64_at(header, 16);
        self.put_file("packs", &PresentBits::name_of(id), &PresentBits::none_of(objects), SPARSE)?;
        let write = || -> io::Result<()> {
            let aside = format!("tmp/{}", aside_name());
            let new = TemporaryFile::make(self.dir.as_fd(), aside.as_bytes(), SPARSE, Leftover::Refuse)?;
            fs::chmod(new.file(), SPARSE)?;
            fs::write_all_at(new.file(), header, 0)?;
            fs::write_all_at(new.file(), index, end)?;
            fs::fsync(new.file())?;
            let to = fs::open_dir_at(&*self.dir, b"packs")?;
            match new.rename(&to, id.hex().as_bytes(), RenameFlags::NOREPLACE) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                named => named.and_then(|_| fs::fsync(&to)),
            }
        };
        Ok(write().map_err(IoError::of("write", &path))?)
    }

    /// Adds bytes of objects that a sparse pack lists. To a pack that is whole or gone nothing is added: its objects come
    /// into the store as those of an import.
    ///
    /// # Errors
    /// [`StoreError::BadObject`] if the bytes are not those of the name, or the pack has another place for them: then none
    /// of them is added. The store cannot be written.
    pub fn fill(&self, pack: &PackId, objects: &[(ObjectId, &[u8])]) -> Result<(), StoreError> {
        if let Some((id, _)) = objects.iter().find(|(id, bytes)| ObjectId::of(bytes) != *id) {
            return Err(StoreError::BadObject { id: *id, why: OTHER_BYTES });
        }
        let _share = self.share()?;
        let path = self.objects().packs().path_of(pack);
        let sparse = match Pack::open(*pack, &path) {
            Ok((opened, _)) if opened.sparse().is_some() => opened,
            Ok(_) => return self.import_absent(objects),
            Err(StoreError::Io(e)) if e.source.kind() == io::ErrorKind::NotFound => return self.import_absent(objects),
            Err(e) => return Err(e),
        };
        let present = sparse.sparse().expect("asked for above");
        let mut new = Vec::new();
        for (id, bytes) in objects {
            let listed = sparse.listed(id).filter(|(_, record)| record.len as usize == bytes.len());
            let (n, record) = listed.ok_or(StoreError::BadObject { id: *id, why: "its pack has no place for it" })?;
            if !present.has(n) {
                new.push((n, record.offset, *bytes));
            }
        }
        let write = || -> io::Result<()> {
            let file = fs::open_path(&path, OpenFlags::RDWR | OpenFlags::NOFOLLOW, 0)?;
            new.iter().try_for_each(|(_, offset, bytes)| fs::write_all_at(&file, bytes, *offset))?;
            fs::fdatasync(&file)?;
            let numbers: Vec<u32> = new.iter().map(|(n, ..)| *n).collect();
            present.set(&numbers, true)?;
            if !present.has_all() {
                return Ok(());
            }
            fs::chmod(&file, WHOLE)?;
            fs::fsync(&file)?;
            paths::remove_file(present.path()).map_err(|e| e.source)
        };
        match write() {
            // Another process has completed the pack meanwhile: it is read-only, or has no bitmap any more.
            Err(_) if Pack::open(*pack, &path).is_ok_and(|(pack, _)| pack.is_whole()) => {}
            written => written.map_err(IoError::of("write", &path))?,
        }
        self.objects().packs().look_again_soon();
        Ok(())
    }

    fn import_absent(&self, objects: &[(ObjectId, &[u8])]) -> Result<(), StoreError> {
        let stage = self.stage()?;
        objects.iter().try_for_each(|(_, bytes)| stage.add_bytes(bytes).map(drop))?;
        stage.publish().map(drop)
    }

    /// The header of a pack with so many objects whose bytes end at this offset.
    pub fn pack_header(objects: u32, end: u64) -> Vec<u8> {
        PackHead::header_of(objects, end)
    }

    /// Takes objects of a sparse pack whose bytes are wrong for absent again; whether the pack is a sparse one.
    pub(super) fn forget_damaged(&self, id: &PackId) -> Result<bool, StoreError> {
        let path = self.objects().packs().path_of(id);
        let Ok((pack, file)) = Pack::open(*id, &path) else { return Ok(false) };
        let Some(present) = pack.sparse() else { return Ok(false) };
        let is_right = |record: &super::pack::PackRecord| {
            let mut bytes = vec![0; record.len as usize];
            fs::read_at(&file, &mut bytes, record.offset).is_ok() && ObjectId::of(&bytes) == record.id
        };
        let here = pack.records().filter_map(|record| pack.listed(&record.id)).filter(|(n, _)| present.has(*n));
        let wrong: Vec<u32> = here.filter(|(_, record)| !is_right(record)).map(|(n, _)| n).collect();
        if !wrong.is_empty() {
            present.set(&wrong, false).map_err(IoError::of("write", present.path()))?;
        }
        self.objects().packs().look_again()?;
        Ok(true)
    }
}
