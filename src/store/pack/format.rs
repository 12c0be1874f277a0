//! The bytes of a pack, version 1: where everything lies, and how a record is read and written.
//!
//! All numbers are little-endian; reserved bytes are zero; the sections follow each other without gaps and end with
//! the file. A pack is named by the BLAKE3 hash of its index: fan-out and records.
//!
//! | section | offset          | size        | what it is                                                         |
//! |---------|-----------------|-------------|--------------------------------------------------------------------|
//! | header  | 0               | 64          | below                                                              |
//! | bytes   | 64              | as they are | the objects, back to back, in the order in which they came         |
//! | fan-out | where it says   | 256 × 4     | for each first byte of an id: how many objects have it or a lower one |
//! | records | after fan-out   | 44 each     | one object, sorted by id                                           |
//!
//! | header | size | field                      | record | size | field                                    |
//! |--------|------|----------------------------|--------|------|------------------------------------------|
//! | 0      | 8    | magic `depsfs P`           | 0      | 32   | object id: the BLAKE3 hash of its bytes  |
//! | 8      | 4    | version, 1                 | 32     | 8    | offset of its bytes in the file          |
//! | 12     | 4    | number of objects          | 40     | 4    | how many bytes                           |
//! | 16     | 8    | offset of the fan-out      |        |      |                                          |
//! | 24     | 40   | reserved                   |        |      |                                          |

use crate::store::tree::{u32_at, u64_at};
use crate::store::{ObjectId, PackId};

/// The first eight bytes of a pack.
pub(super) const MAGIC: [u8; 8] = *b"depsfs P";
/// The only version that is read and written. Other bytes get another version.
pub(super) const VERSION: u32 = 1;
/// The length of the header in bytes: the offset of the first object.
pub(super) const HEADER: usize = 64;
/// The length of the fan-out in bytes: for each first byte of an id, a `u32` with the number of ids that begin so or lower.
pub(super) const FAN_OUT: usize = 256 * 4;
/// The length of an index record in bytes.
pub(super) const RECORD: usize = 44;

/// Why bytes are not a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("not a pack: the first bytes are wrong")]
    Magic,
    #[error("it has version {0}, this depsfs knows {VERSION}")]
    Version(u32),
    #[error("the pack's length differs from the one in its header")]
    Length,
}

/// The fields of a header, checked against the length of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackLayout {
    pub objects: u32,
    /// The offset at which the objects' bytes end and the index begins.
    pub index: u64,
}

impl PackLayout {
    /// Of the first [`HEADER`] bytes of a file of `len` bytes. The index must end where the file ends, and reserved
    /// bytes must be zero.
    pub fn read(header: &[u8], len: u64) -> Result<PackLayout, PackError> {
        if header.get(..8) != Some(&MAGIC[..]) {
            return Err(PackError::Magic);
        }
        if u32_at(header, 8) != VERSION {
            return Err(PackError::Version(u32_at(header, 8)));
        }
        let layout = PackLayout { objects: u32_at(header, 12), index: u64_at(header, 16) };
        let reserved = header.get(24..HEADER).ok_or(PackError::Length)?;
        let fits = layout.index >= HEADER as u64 && layout.index.checked_add(layout.index_len() as u64) == Some(len);
        if fits && reserved.iter().all(|b| *b == 0) { Ok(layout) } else { Err(PackError::Length) }
    }

    /// The length of fan-out and records in bytes.
    pub fn index_len(&self) -> usize {
        FAN_OUT + self.objects as usize * RECORD
    }

    /// The header of a pack with these fields.
    pub fn header(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.objects.to_le_bytes());
        out[16..24].copy_from_slice(&self.index.to_le_bytes());
        out
    }
}

/// One object of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackRecord {
    pub id: ObjectId,
    pub offset: u64,
    pub len: u32,
}

/// The record at a place of the index's bytes; zeros past their end.
pub(super) fn record(index: &[u8], n: u32) -> PackRecord {
    let at = FAN_OUT + n as usize * RECORD;
    let id = index.get(at..at + 32).and_then(|id| id.try_into().ok()).unwrap_or([0; 32]);
    PackRecord { id: ObjectId(id), offset: u64_at(index, at + 32), len: u32_at(index, at + 40) }
}

/// The index of these records, which it sorts, and the name of a pack that has it.
pub(super) fn index(records: &mut [PackRecord]) -> (Vec<u8>, PackId) {
    records.sort_unstable();
    let mut out = vec![0; FAN_OUT];
    out.reserve(records.len() * RECORD);
    let mut counts = [0u32; 256];
    for record in &*records {
        counts[usize::from(record.id.0[0])] += 1;
        out.extend_from_slice(&record.id.0);
        out.extend_from_slice(&record.offset.to_le_bytes());
        out.extend_from_slice(&record.len.to_le_bytes());
    }
    let mut sum = 0;
    for (count, place) in counts.iter().zip(out.chunks_exact_mut(4)) {
        sum += count;
        place.copy_from_slice(&sum.to_le_bytes());
    }
    let id = PackId::of(&out);
    (out, id)
}
