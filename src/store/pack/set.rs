//! The packs of a store: their directory is listed when an object is looked for in vain, or now and then.
//!
//! The pack that had the last object is searched first: objects that lie together are read together. The index of a
//! pack that gc has deleted is still good, and if the pack is open its bytes are too; else its objects are in a newer
//! pack.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::present::EXTENSION;
use super::{Pack, PackRecord};
use crate::store::{ObjectId, PackId, StoreError};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, Timespec};
use crate::sys::{IoError, path as paths};

/// As many packs are kept open; of the others only the index is mapped.
const KEPT_OPEN: usize = 8;
/// The time between two looks for packs that gc has deleted: open ones keep their space on the disk.
const PERIOD: Duration = Duration::from_secs(10);
/// A directory that changed this shortly before it was listed may have changed again without a new time.
const RACY_NS: i128 = 20_000_000;

/// The packs of a store.
pub(in crate::store) struct Packs {
    path: PathBuf,
    known: Mutex<KnownPack>,
}

#[derive(Default)]
struct KnownPack {
    /// Those that answered last come first.
    packs: Vec<KeptPack>,
    /// The directory's times when it was listed; nothing when it has to be listed again.
    listed: Option<(Timespec, Timespec)>,
    looked: Option<Instant>,
}

struct KeptPack {
    pack: Arc<Pack>,
    file: Option<Arc<OwnedFd>>,
}

impl Packs {
    /// The packs in `packs` of a store. Nothing is read before it is needed; the directory need not be there.
    pub fn of(store: &Path) -> Packs {
        Packs { path: store.join("packs"), known: Mutex::default() }
    }

    /// The absolute path of `packs`. The directory may be missing.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The absolute path that a pack has or would have: 64 hexadecimal digits in `packs`.
    pub fn path_of(&self, id: &PackId) -> PathBuf {
        self.path.join(id.hex())
    }

    /// The bytes of an object, if a pack has it.
    pub fn content(&self, id: &ObjectId) -> Result<Option<Extent>, StoreError> {
        let mut known = self.known.lock();
        loop {
            let Some((at, record)) = self.find(&mut known, id)? else { return Ok(None) };
            let packs = &mut known.packs;
            packs[..=at].rotate_right(1);
            if let Some(file) = &packs[0].file {
                return Ok(Some(record.in_pack(file.clone())));
            }
            packs.iter_mut().skip(KEPT_OPEN - 1).for_each(|kept| kept.file = None);
            match fs::open_path(&self.path_of(&packs[0].pack.id()), fs::OpenFlags::RDONLY, 0) {
                Ok(file) => packs[0].file = Some(Arc::new(file)),
                // Swept by gc: what was needed of it is in another.
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    packs.remove(0);
                    known.listed = None;
                }
                Err(e) => return Err(IoError::of("open", &self.path_of(&packs[0].pack.id()))(e).into()),
            }
        }
    }

    /// How many bytes an object has, if a pack has it.
    pub fn size_of(&self, id: &ObjectId) -> Result<Option<u64>, StoreError> {
        Ok(self.find(&mut self.known.lock(), id)?.map(|(_, record)| record.len.into()))
    }

    /// The pack from which an object is read.
    pub fn pack_of(&self, id: &ObjectId) -> Result<Option<PackId>, StoreError> {
        let mut known = self.known.lock();
        Ok(self.find(&mut known, id)?.map(|(at, _)| known.packs[at].pack.id()))
    }

    /// The pack that has a hole in the place of an object. No sparse pack: that gets its objects.
    pub fn pack_without(&self, id: &ObjectId) -> Result<Option<PackId>, StoreError> {
        let mut known = self.known.lock();
        self.refresh(&mut known)?;
        let has_hole = |kept: &&KeptPack| kept.pack.is_absent(id) && !kept.pack.may_get(id);
        Ok(known.packs.iter().find(has_hole).map(|kept| kept.pack.id()))
    }

    /// Calls `each` with how many bytes each object has, or nothing for one that no pack has. The directory is looked at
    /// once.
    pub fn sizes_of(
        &self,
        ids: impl Iterator<Item = ObjectId>,
        mut each: impl FnMut(ObjectId, Option<u64>),
    ) -> Result<(), StoreError> {
        let mut known = self.known.lock();
        self.refresh(&mut known)?;
        known.look_again(|_| true)?;
        ids.for_each(|id| each(id, known.find(&id).map(|(_, record)| record.len.into())));
        Ok(())
    }

    /// At the next question it is looked what has come or gone.
    pub fn look_again_soon(&self) {
        self.known.lock().looked = None;
    }

    /// Notices what has come or gone.
    pub fn look_again(&self) -> Result<(), StoreError> {
        let mut known = self.known.lock();
        self.refresh(&mut known)?;
        known.look_again(|_| true).map(drop)
    }

    /// All packs that are there and have a sound header.
    pub fn list(&self) -> Result<Vec<Arc<Pack>>, StoreError> {
        let mut known = self.known.lock();
        known.listed = None;
        self.refresh(&mut known)?;
        Ok(known.packs.iter().map(|kept| kept.pack.clone()).collect())
    }

    /// The ids of all files in the directory, readable or not, and the names that are no ids.
    pub fn names(&self) -> Result<(Vec<PackId>, Vec<Vec<u8>>), StoreError> {
        let (mut packs, mut strays) = (Vec::new(), Vec::new());
        for entry in paths::list(&self.path)? {
            let name = std::str::from_utf8(&entry.name).unwrap_or_default();
            match name.parse() {
                Ok(id) => packs.push(id),
                Err(_) if bitmap_of(name).is_some() => {}
                Err(_) => strays.push(entry.name),
            }
        }
        Ok((packs, strays))
    }

    /// Has on disk which objects of sparse packs are here.
    ///
    /// # Errors
    /// A bitmap cannot be synced.
    pub fn sync_bits(&self) -> Result<(), StoreError> {
        self.list()?;
        self.sync_known_bits()
    }

    /// As [`Packs::sync_bits`], of those packs in which this value has looked for objects until now.
    ///
    /// # Errors
    /// A bitmap cannot be synced.
    pub fn sync_known_bits(&self) -> Result<(), StoreError> {
        let known: Vec<_> = self.known.lock().packs.iter().map(|kept| kept.pack.clone()).collect();
        for present in known.iter().filter_map(|pack| pack.sparse()) {
            present.sync().map_err(IoError::of("sync", present.path()))?;
        }
        Ok(())
    }

    /// The files of bitmaps that no sparse pack has any more.
    pub fn unused_bitmaps(&self) -> Result<Vec<PathBuf>, StoreError> {
        let sparse: Vec<PackId> =
            self.list()?.iter().filter(|pack| pack.sparse().is_some()).map(|pack| pack.id()).collect();
        let mut unused = Vec::new();
        for entry in paths::list(&self.path)? {
            let name = std::str::from_utf8(&entry.name).unwrap_or_default();
            if bitmap_of(name).is_some_and(|id| !sparse.contains(&id)) {
                unused.push(self.path.join(name));
            }
        }
        Ok(unused)
    }

    fn find(&self, known: &mut KnownPack, id: &ObjectId) -> Result<Option<(usize, PackRecord)>, StoreError> {
        if known.looked.is_none_or(|at| at.elapsed() > PERIOD) {
            self.refresh(known)?;
            // An object that was found damaged is absent again.
            known.look_again(|_| true)?;
        }
        if let Some(found) = known.find(id) {
            return Ok(Some(found));
        }
        // Another process may have filled a sparse pack, or added a pack.
        let may_have_come = known.look_again(|pack| pack.may_get(id))?;
        let has_changed = self.refresh(known)?;
        Ok(if may_have_come || has_changed { known.find(id) } else { None })
    }

    /// Lists the directory again when it has changed; whether it had.
    fn refresh(&self, known: &mut KnownPack) -> Result<bool, StoreError> {
        let Some(now) = paths::stat(&self.path)? else {
            known.packs.clear();
            return Ok(false);
        };
        known.looked = Some(Instant::now());
        if known.listed == Some((now.mtime, now.ctime)) {
            return Ok(false);
        }
        let before = std::mem::take(&mut known.packs);
        let (mut there, mut new) = (Vec::new(), Vec::new());
        for id in self.names()?.0 {
            // One with holes may have been replaced.
            match before.iter().any(|kept| kept.pack.id() == id && kept.pack.is_whole()) {
                true => there.push(id),
                false => new.extend(self.open(id)?),
            }
        }
        known.packs.extend(before.into_iter().filter(|kept| there.contains(&kept.pack.id())));
        known.packs.splice(0..0, new);
        known.listed = Some((now.mtime, now.ctime)).filter(|_| !is_racy(now.ctime));
        Ok(true)
    }

    fn open(&self, id: PackId) -> Result<Option<KeptPack>, StoreError> {
        match Pack::open(id, &self.path_of(&id)) {
            Ok((pack, _)) => Ok(Some(KeptPack { pack: Arc::new(pack), file: None })),
            Err(StoreError::Io(e)) if e.source.kind() == ErrorKind::NotFound => Ok(None),
            // Its objects are as good as lost: `verify` reports it, and another import stores them again.
            Err(e @ StoreError::BadPack { .. }) => {
                tracing::warn!("{e}");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Gives a finished pack its name. One that is there has the same objects; a sparse one is replaced by a whole one,
    /// which is read-only, so that the bitmap means nothing any more.
    pub fn take(&self, from: impl AsFd, name: &[u8], id: &PackId) -> Result<(), StoreError> {
        let to = paths::open_dir(&self.path)?;
        let renamed = fs::rename_at(from, name, &to, id.hex().as_bytes(), fs::RenameFlags::empty());
        Ok(renamed.map_err(IoError::of("name", &self.path_of(id)))?)
    }

    /// Puts the names of packs on disk.
    pub fn sync_names(&self) -> Result<(), StoreError> {
        let sync = |dir: OwnedFd| fs::fsync(dir.as_fd());
        Ok(paths::open_dir(&self.path).and_then(|d| sync(d).map_err(IoError::of("sync", &self.path)))?)
    }
}

impl KnownPack {
    /// Reads the bitmaps of sparse packs again; whether there was one.
    fn look_again(&self, is_due: impl Fn(&Pack) -> bool) -> Result<bool, StoreError> {
        let mut has_read = false;
        for pack in self.packs.iter().map(|kept| &kept.pack).filter(|pack| is_due(pack)) {
            if let Some(present) = pack.sparse() {
                present.look_again().map_err(IoError::of("read", present.path()))?;
                has_read = true;
            }
        }
        Ok(has_read)
    }

    fn find(&self, id: &ObjectId) -> Option<(usize, PackRecord)> {
        self.packs.iter().enumerate().find_map(|(at, kept)| Some((at, kept.pack.find(id)?)))
    }
}

/// The pack to which a bitmap of this name belongs.
fn bitmap_of(name: &str) -> Option<PackId> {
    let (id, extension) = name.split_once('.')?;
    id.parse().ok().filter(|_| extension == EXTENSION)
}

/// Whether a directory of this ctime may change now without a new one.
pub(in crate::store) fn is_racy(ctime: Timespec) -> bool {
    let ns = |t: Timespec| i128::from(t.sec) * 1_000_000_000 + i128::from(t.nsec);
    ns(ctime) + RACY_NS >= ns(Timespec::now())
}
