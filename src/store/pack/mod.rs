//! A pack: many small objects in one file, found by their id without a scan, read without a descriptor of their own.
//!
//! The index is mapped; the objects' bytes are read from the file (`pread`), not from a map: a bad sector is then EIO
//! for one reader instead of SIGBUS for the whole daemon, what was read once is not counted as the daemon's memory,
//! and what is not in memory is noticed and read with its neighbours ([`Extent`]).
//!
//! The index may list objects whose bytes are absent, and no look-up finds them: those in a hole of the file
//! ([`holes`]), and those of a sparse pack that were not fetched yet ([`present`]).
//!
//! Every accessor is total: whatever bytes the file holds, it returns (perhaps nothing) and never panics.

mod format;
mod holes;
mod parts;
mod present;
mod set;
#[cfg(test)]
mod tests;
mod write;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

pub(crate) use format::{PackError, PackRecord};
pub(super) use parts::checked_head;
pub(crate) use parts::{PackHead, pack_head, records_of};
pub(super) use present::PresentBits;
pub(super) use set::{Packs, is_racy};
pub use write::PackWriter;

use super::{ObjectId, PackId, StoreError};
use crate::sys::IoError;
use crate::sys::extent::Extent;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::mmap::Map;
use format::{HEADER, PackLayout};

/// The permission that the file of a sparse pack has, and that of no other.
const OWNER_MAY_WRITE: u32 = 0o200;

/// The index of a pack. A reader opens the pack itself.
pub struct Pack {
    id: PackId,
    layout: PackLayout,
    index: Map,
    gaps: PackGaps,
}

/// The objects whose bytes are not in the file.
enum PackGaps {
    /// Those that lie in holes, mostly none.
    Holes(HashSet<ObjectId>),
    /// Those of a sparse pack whose bit is not set.
    Sparse(PresentBits),
}

impl Pack {
    /// Opens the pack `id` at `path`. Its index is trusted to be the one that the name stands for: `verify` checks it.
    ///
    /// # Errors
    /// The file cannot be read, or is no sound pack.
    pub fn open(id: PackId, path: &Path) -> Result<(Pack, OwnedFd), StoreError> {
        let file =
            fs::open_path(path, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0).map_err(IoError::of("open", path))?;
        let failed = IoError::of("read", path);
        let mut header = [0; HEADER];
        let read = fs::read_at(&file, &mut header, 0).and_then(|n| Ok((n, fs::stat(&file)?)));
        let (n, stat) = read.map_err(failed)?;
        let layout = PackLayout::read(&header[..n], stat.size).map_err(|source| StoreError::BadPack { id, source })?;
        let index = Map::part(&file, layout.index, layout.index_len()).map_err(IoError::of("map", path))?;
        let mut pack = Pack { id, layout, index, gaps: PackGaps::Holes(HashSet::new()) };
        let may_be_sparse = stat.mode & OWNER_MAY_WRITE != 0;
        let present = may_be_sparse.then(|| PresentBits::open(path, layout.objects)).transpose();
        pack.gaps = match present.map_err(IoError::of("read", path))?.flatten() {
            Some(present) => PackGaps::Sparse(present),
            None => PackGaps::Holes(holes::absent(&pack, &file).map_err(IoError::of("read", path))?),
        };
        Ok((pack, file))
    }

    /// The name of the file: the hash of its index, which holds the ids of its objects.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Whether the index is the one that the name stands for.
    pub fn has_sound_index(&self) -> bool {
        PackId::of(&self.index) == self.id
    }

    /// Whether the file had the bytes of every object when it was opened.
    pub fn is_whole(&self) -> bool {
        matches!(&self.gaps, PackGaps::Holes(absent) if absent.is_empty())
    }

    /// The bitmap of a sparse pack.
    pub(super) fn sparse(&self) -> Option<&PresentBits> {
        match &self.gaps {
            PackGaps::Sparse(present) => Some(present),
            PackGaps::Holes(_) => None,
        }
    }

    /// Whether this is a sparse pack that lists an object whose bytes are absent.
    pub fn may_get(&self, id: &ObjectId) -> bool {
        self.sparse().is_some() && self.is_absent(id)
    }

    /// Whether the index lists an object whose bytes are absent.
    pub fn is_absent(&self, id: &ObjectId) -> bool {
        match &self.gaps {
            PackGaps::Holes(absent) => absent.contains(id),
            PackGaps::Sparse(present) => self.number_of(id).is_some_and(|n| !present.has(n)),
        }
    }

    /// How many bytes its objects have, those not needed any more included.
    pub fn content_bytes(&self) -> u64 {
        self.layout.index - HEADER as u64
    }

    /// How long its file is.
    pub fn file_bytes(&self) -> u64 {
        self.layout.index + self.layout.index_len() as u64
    }

    /// How long the file of a pack is that has so many objects of so many bytes.
    pub fn size_with(objects: usize, bytes: u64) -> u64 {
        let records = objects as u64 * format::RECORD as u64;
        HEADER as u64 + bytes + format::FAN_OUT as u64 + records
    }

    /// All objects, by id.
    pub fn records(&self) -> impl Iterator<Item = PackRecord> + '_ {
        (0..self.layout.objects).map(|n| format::record(&self.index, n))
    }

    /// The location of an object's bytes, if this pack holds them, and they are not absent.
    pub fn find(&self, id: &ObjectId) -> Option<PackRecord> {
        let n = self.number_of(id)?;
        let record = format::record(&self.index, n);
        let is_here = match &self.gaps {
            PackGaps::Holes(absent) => !absent.contains(id),
            PackGaps::Sparse(present) => present.has(n),
        };
        Some(record).filter(|record| is_here && self.holds(record))
    }

    /// The record of an object, absent or not, and its number in the index.
    pub(super) fn listed(&self, id: &ObjectId) -> Option<(u32, PackRecord)> {
        let n = self.number_of(id)?;
        Some((n, format::record(&self.index, n))).filter(|(_, record)| self.holds(record))
    }

    fn number_of(&self, id: &ObjectId) -> Option<u32> {
        let count = |byte: usize| crate::store::tree::u32_at(&self.index, byte * 4).min(self.layout.objects);
        let first = usize::from(id.0[0]);
        let (mut low, mut high) = (if first == 0 { 0 } else { count(first - 1) }, count(first));
        while low < high {
            let middle = low + (high - low) / 2;
            match format::record(&self.index, middle).id.cmp(id) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// Whether the record's bytes lie among those of the objects.
    pub fn holds(&self, record: &PackRecord) -> bool {
        let end = record.offset.checked_add(record.len.into());
        record.offset >= HEADER as u64 && end.is_some_and(|end| end <= self.layout.index)
    }
}

impl PackRecord {
    /// The bytes in an open pack that holds them.
    pub fn in_pack(&self, file: Arc<OwnedFd>) -> Extent {
        Extent::part(file, self.offset..self.offset + u64::from(self.len))
    }
}
