//! The packs in gc: one that nothing needs is deleted, one that is mostly waste is written anew.
//!
//! | step                                                 | a crash right after it leaves                        |
//! |------------------------------------------------------|------------------------------------------------------|
//! | 1. needed objects of some packs, in new ones in `tmp`| files in `tmp` that gc removes                       |
//! | 2. the new packs have their names, and are synced    | objects that are in two packs: the next gc tidies up |
//! | 3. the old ones deleted                              | the same                                             |
//!
//! A process that has an old pack open reads on in it; another finds the objects in the new one. An object that two
//! packs have, of imports that ran side by side, counts in the larger one only. A pack with holes is written anew without
//! the objects that were there. A sparse pack stays as it is while a needed object of it is absent everywhere: it is the
//! place for that object's bytes.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::pack::{Pack, PackError, PackRecord, PackWriter};
use super::stage::FULL;
use super::{FileKind, ObjectId, PackId, Progress, Store, StoreError, StoreExclusive};
use crate::sys::fs::{self, OpenFlags};
use crate::sys::{IoError, path as paths};

/// Packs smaller than this are put together when there are more than [`MANY`] of them.
const SMALL: u64 = 8 << 20;
const MANY: usize = 8;

/// A pack, and what is needed of it.
struct Worth {
    pack: Arc<Pack>,
    live: Vec<PackRecord>,
    dead: u64,
    /// Whether it is the place for a needed object that is not here yet.
    is_awaited: bool,
}

/// The plan for the packs.
pub(super) struct Repacking {
    /// Packs that go, those that are written anew among them.
    go: Vec<Arc<Pack>>,
    /// The needed objects of packs that go, by pack and in the order of the bytes.
    stay: Vec<(Arc<Pack>, Vec<PackRecord>)>,
    /// Objects that go.
    pub objects: u64,
    /// Disk space that becomes free.
    pub bytes: u64,
}

impl Store {
    /// Decides what to do with the packs; nothing is changed.
    pub(super) fn plan_repacking(&self, is_kept: impl Fn(&ObjectId) -> bool) -> Result<Repacking, StoreError> {
        let mut packs = self.objects().packs().list()?;
        packs.sort_by_key(|pack| (std::cmp::Reverse(pack.content_bytes()), pack.id()));
        let mut counted = HashSet::new();
        let mut all: Vec<Worth> = Vec::new();
        for pack in packs {
            let is_awaited = |record: &PackRecord| {
                pack.may_get(&record.id) && is_kept(&record.id) && !self.objects().contains(&record.id)
            };
            let is_awaited = pack.sparse().is_some() && pack.records().any(|record| is_awaited(&record));
            let mut worth = Worth { live: vec![], dead: 0, is_awaited, pack };
            for record in worth.pack.records().filter(|record| !worth.pack.is_absent(&record.id)) {
                match is_kept(&record.id) {
                    true if counted.insert(record.id) => worth.live.push(record),
                    true => {}
                    false => worth.dead += 1,
                }
            }
            // A damaged index is left to `verify`, which reports it: gc does not guess from it.
            if worth.pack.has_sound_index() {
                all.push(worth);
            }
        }
        let is_small = |w: &Worth| w.pack.content_bytes() < SMALL;
        let are_many = all.iter().filter(|w| is_small(w) && !w.live.is_empty() && !w.is_awaited).count() > MANY;
        let mut plan = Repacking { go: vec![], stay: vec![], objects: 0, bytes: 0 };
        for mut worth in all.into_iter().filter(|worth| !worth.is_awaited) {
            let live: u64 = worth.live.iter().map(|r| u64::from(r.len)).sum();
            let is_waste = worth.live.is_empty() || live * 2 < worth.pack.content_bytes();
            if is_waste || !worth.pack.is_whole() || (are_many && is_small(&worth)) {
                plan.objects += worth.dead;
                plan.bytes += disk_of(worth.pack.file_bytes());
                worth.live.sort_unstable_by_key(|r| r.offset);
                plan.go.push(worth.pack.clone());
                plan.stay.push((worth.pack, worth.live));
            }
        }
        let live = || plan.stay.iter().flat_map(|(_, live)| live);
        let bytes = live().map(|r| u64::from(r.len)).sum();
        let new = if live().count() == 0 { 0 } else { disk_of(Pack::size_with(live().count(), bytes)) };
        plan.bytes = plan.bytes.saturating_sub(new);
        Ok(plan)
    }

    /// Does what was planned: new packs, then the old ones are deleted.
    pub(super) fn repack(
        &self,
        _lock: &StoreExclusive,
        plan: Repacking,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        if plan.go.is_empty() {
            return Ok(());
        }
        let packs = self.objects().packs();
        let mut new = Vec::new();
        let mut open: Option<NewPack> = None;
        for (pack, live) in plan.stay.iter().filter(|(_, live)| !live.is_empty()) {
            let (_, file) = Pack::open(pack.id(), &packs.path_of(&pack.id()))?;
            let file = Arc::new(file);
            for record in live {
                if progress.is_cancelled() {
                    return Err(StoreError::Cancelled);
                }
                if let Some(full) = open.take_if(|aside| aside.pack.bytes() >= FULL) {
                    new.push(self.name_pack(full)?);
                }
                let bytes = self.sound_bytes(pack, &file, record)?;
                let aside = match &mut open {
                    Some(aside) => aside,
                    none => none.insert(self.pack_aside()?),
                };
                aside.pack.add(record.id, &bytes).map_err(IoError::of("write", packs.path()))?;
            }
        }
        if let Some(last) = open {
            new.push(self.name_pack(last)?);
        }
        if !new.is_empty() {
            packs.sync_names()?;
        }
        for pack in plan.go.iter().filter(|pack| !new.contains(&pack.id())) {
            progress.advance(pack.content_bytes());
            paths::remove_file(&packs.path_of(&pack.id()))?;
        }
        packs.look_again()
    }

    /// Puts the sound objects of a damaged pack into a new one, and deletes it; the lost objects can then be imported
    /// again. Those of a sparse pack count as absent again, and it stays. Nothing is done to a pack of a version that
    /// isn't known.
    ///
    /// # Errors
    /// The pack is of an unknown version or cannot be read, or the new pack cannot be written.
    pub fn salvage(&self, id: PackId) -> Result<(), StoreError> {
        let _share = self.share()?;
        if self.forget_damaged(&id)? {
            return Ok(());
        }
        let packs = self.objects().packs();
        let path = packs.path_of(&id);
        match Pack::open(id, &path) {
            Ok((pack, file)) => {
                let file = Arc::new(file);
                let mut open: Option<NewPack> = None;
                for record in pack.records() {
                    let Ok(bytes) = self.sound_bytes(&pack, &file, &record) else { continue };
                    let aside = match &mut open {
                        Some(aside) => aside,
                        none => none.insert(self.pack_aside()?),
                    };
                    aside.pack.add(record.id, &bytes).map_err(IoError::of("write", packs.path()))?;
                }
                let new = open.map(|aside| self.name_pack(aside)).transpose()?;
                packs.sync_names()?;
                if new == Some(id) {
                    return Ok(());
                }
            }
            Err(StoreError::BadPack { source: PackError::Magic | PackError::Length, .. }) => {}
            Err(e) => return Err(e),
        }
        paths::remove_file(&path)?;
        packs.look_again()
    }

    /// An object's bytes, which are those of its name: what is damaged is not given a new home, gc stops at it.
    fn sound_bytes(&self, pack: &Pack, file: &Arc<OwnedFd>, record: &PackRecord) -> Result<Vec<u8>, StoreError> {
        let path = self.objects().packs().path_of(&pack.id());
        let mut bytes = vec![0; record.len as usize];
        let read = match pack.holds(record) {
            true => record.in_pack(file.clone()).read_at(&mut bytes, 0).map(drop),
            false => Err(std::io::ErrorKind::InvalidData.into()),
        };
        read.map_err(IoError::of("read", &path))?;
        if ObjectId::of(&bytes) == record.id {
            return Ok(bytes);
        }
        let why = format!("the bytes of object {} are not its own", record.id);
        Err(StoreError::BadFile { kind: FileKind::Pack, path, why })
    }

    fn pack_aside(&self) -> Result<NewPack, StoreError> {
        let name = super::aside_name();
        let path = self.path().join("tmp").join(&name);
        let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL;
        let make = || {
            let file = fs::open_path(&path, flags, 0o444)?;
            fs::chmod(&file, 0o444).map(|()| file)
        };
        Ok(NewPack { pack: PackWriter::new(make().map_err(IoError::of("create", &path))?), name })
    }

    fn name_pack(&self, aside: NewPack) -> Result<PackId, StoreError> {
        let tmp = self.path().join("tmp");
        let id = aside.pack.finish().map_err(IoError::of("write", &tmp.join(&aside.name)))?;
        self.objects().packs().take(paths::open_dir(&tmp)?, aside.name.as_bytes(), &id)?;
        Ok(id)
    }
}

/// A new pack in `tmp`.
struct NewPack {
    name: String,
    pack: PackWriter,
}

/// Bytes as a file system of 4 KiB blocks stores them.
fn disk_of(bytes: u64) -> u64 {
    bytes.div_ceil(4096) * 4096
}
