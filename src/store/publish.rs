//! The end of an import: what it staged gets its names.
//!
//! | step                                      | a crash right after it leaves                           |
//! |-------------------------------------------|---------------------------------------------------------|
//! | 1. written to `tmp/<stage>/`              | a directory in `tmp` that gc removes                    |
//! | 2. the bytes are on disk                  | the same                                                |
//! | 3. renamed into `objects` and `packs`     | whole objects that nothing names, which gc removes      |
//! | 4. synced again, so the names are on disk | the same; only then may a tree name them                |
//!
//! If the file system has one journal (ext4, xfs), it is enough that the bytes are written back, and that one directory
//! is synced which was changed after all else: the journal commits earlier changes no later. On other file systems each
//! file and directory is synced, or with thousands of files the whole file system.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::stage::{Loose, Stage, Staged, name_of};
use super::{ObjectId, PackId, StoreError};
use crate::sys::fs::{self, OpenFlags};
use crate::sys::{IoError, copy, fs_type, spawn};

/// As many objects are synced one by one if there are several journals; more, all at once.
const SYNC_EACH: usize = 64;
/// Fewer small objects than this become files: each pack is one more to look into.
const WORTH_A_PACK: usize = 64;

impl Stage {
    /// Syncs what was added and gives it its names; returns how many objects are new.
    pub fn publish(&self) -> Result<usize, StoreError> {
        let mut loose: Vec<(ObjectId, Loose)> = Vec::new();
        let staged = std::mem::take(&mut *self.staged.lock());
        let all = staged.len();
        for (id, staged) in staged {
            if let Staged::Loose(file) = staged {
                loose.push((id, file));
            }
        }
        // A tree that is named after this may be made of what a sparse pack has.
        self.objects.packs().sync_known_bits()?;
        if all == 0 {
            return Ok(0);
        }
        let packs = self.finish_packs(&mut loose)?;
        self.sync_bytes(&loose)?;
        let half = loose.len().div_ceil(2).max(1);
        let halves: Vec<_> = loose.chunks(half).collect();
        spawn::try_map(&halves, 2, |part| self.name_all(part))?;
        self.name_packs(&packs)?;
        self.sync_names(&loose, !packs.is_empty())?;
        Ok(all)
    }

    /// Ends the packs. The objects of one that isn't worth it become files, and join `loose`.
    fn finish_packs(&self, loose: &mut Vec<(ObjectId, Loose)>) -> Result<Vec<(u32, PackId)>, StoreError> {
        let packing = std::mem::take(&mut *self.packing.lock());
        let mut packs = packing.full;
        let Some((file, mut pack)) = packing.open else { return Ok(packs) };
        let failed = |e| self.failed(file, e);
        if pack.records().len() >= WORTH_A_PACK {
            packs.push((file, pack.finish().map_err(failed)?));
            return Ok(packs);
        }
        pack.flush().map_err(failed)?;
        let open = Arc::new(fs::duplicate(pack.file().as_fd()).map_err(failed)?);
        for record in pack.records() {
            let mut bytes = vec![0; record.len as usize];
            record.in_pack(open.clone()).read_at(&mut bytes, 0).map_err(failed)?;
            let file = self.next_file();
            self.write_loose(file, &bytes)?;
            loose.push((record.id, Loose { file, size: record.len.into() }));
        }
        fs::unlink_at(&*self.dir().map_err(failed)?, name_of(file).as_bytes()).map_err(failed)?;
        Ok(packs)
    }

    fn sync_bytes(&self, loose: &[(ObjectId, Loose)]) -> Result<(), StoreError> {
        let dir = &*self.dir().map_err(IoError::of("open", self.path()))?;
        let one_journal = fs_type::commits_names_in_order(dir);
        if loose.len() > SYNC_EACH && !one_journal {
            return Ok(fs::syncfs(dir).map_err(IoError::of("sync", self.path()))?);
        }
        for (_, Loose { file, .. }) in loose {
            let open = || fs::open_at(dir, name_of(*file).as_bytes(), OpenFlags::RDONLY, 0);
            let sync = |fd| if one_journal { copy::write_back(fd) } else { fs::fdatasync(fd) };
            open().and_then(sync).map_err(IoError::of("sync", self.path()))?;
        }
        Ok(())
    }

    fn name_all(&self, part: &[(ObjectId, Loose)]) -> Result<(), StoreError> {
        let dir = &*self.dir().map_err(IoError::of("open", self.path()))?;
        for (id, Loose { file, size }) in part {
            let taken = self.objects.take(dir, name_of(*file).as_bytes(), id, *size);
            taken.map_err(IoError::of("name", &self.objects.path_of(id)))?;
        }
        Ok(())
    }

    fn name_packs(&self, packs: &[(u32, PackId)]) -> Result<(), StoreError> {
        if packs.is_empty() {
            return Ok(());
        }
        self.store.allow_packs()?;
        let dir = &*self.dir().map_err(IoError::of("open", self.path()))?;
        for (file, id) in packs {
            self.objects.packs().take(dir, name_of(*file).as_bytes(), id)?;
        }
        Ok(())
    }

    fn sync_names(&self, loose: &[(ObjectId, Loose)], has_packs: bool) -> Result<(), StoreError> {
        let sync = || -> io::Result<()> {
            let dir = &*self.dir()?;
            if !fs_type::commits_names_in_order(dir) {
                return match loose.len() <= SYNC_EACH {
                    true => self.objects.sync_names(loose.iter().map(|s| s.0)),
                    false => fs::syncfs(dir),
                };
            }
            // The last change of all.
            let flags = OpenFlags::WRONLY | OpenFlags::CREATE;
            fs::open_at(dir, b"last", flags, 0o600)?;
            fs::fsync(dir)
        };
        sync().map_err(IoError::of("sync", self.objects.path()))?;
        if has_packs { self.objects.packs().sync_names() } else { Ok(()) }
    }
}
