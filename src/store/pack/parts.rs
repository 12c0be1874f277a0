//! The header and the index of a pack whose bytes are elsewhere: in memory, or on their way to another machine.

use super::format::{self, FAN_OUT, HEADER, PackLayout, RECORD};
use super::{PackError, PackRecord};
use crate::store::PackId;

/// The beginning and the end of a pack's file.
pub struct PackHead {
    pub id: PackId,
    pub header: Vec<u8>,
    pub index: Vec<u8>,
}

/// The header and the index of a pack whose objects, these, end at the offset `end`. The first of them begins behind the
/// header, at [`PackHead::OBJECTS`]. Sorts the records.
pub fn pack_head(records: &mut [PackRecord], end: u64) -> PackHead {
    let layout = PackLayout { objects: records.len() as u32, index: end };
    let (index, id) = format::index(records);
    PackHead { id, header: layout.header().to_vec(), index }
}

impl PackHead {
    /// The offset of the first object.
    pub const OBJECTS: u64 = HEADER as u64;

    /// The header of a pack with so many objects, whose bytes end at this offset.
    pub fn header_of(objects: u32, end: u64) -> Vec<u8> {
        PackLayout { objects, index: end }.header().to_vec()
    }
}

/// The objects that an index lists, if it is the index of the pack `id`, and its objects end at the offset `end`.
///
/// # Errors
/// It is the index of another pack, or an object lies elsewhere than among the objects.
pub fn records_of(index: &[u8], id: &PackId, end: u64) -> Result<Vec<PackRecord>, PackError> {
    let records = index.len().checked_sub(FAN_OUT).ok_or(PackError::Length)?;
    if !records.is_multiple_of(RECORD) || PackId::of(index) != *id {
        return Err(PackError::Length);
    }
    let all: Vec<PackRecord> = (0..(records / RECORD) as u32).map(|n| format::record(index, n)).collect();
    let is_inside = |r: &PackRecord| {
        r.offset >= PackHead::OBJECTS && r.offset.checked_add(r.len.into()).is_some_and(|stop| stop <= end)
    };
    if all.iter().all(is_inside) { Ok(all) } else { Err(PackError::Length) }
}

/// The records of a pack whose header and index these are, if nothing in them contradicts each other: the index is that of
/// the name, sorted, with the fan-out that belongs to it, and no byte of the file is two objects'.
///
/// # Errors
/// They are of another pack, or of none.
pub fn checked_head(id: &PackId, header: &[u8], index: &[u8]) -> Result<Vec<PackRecord>, PackError> {
    let end = crate::store::tree::u64_at(header, 16);
    let layout = PackLayout::read(header, end.saturating_add(index.len() as u64))?;
    let mut records = records_of(index, id, end)?;
    if header.len() != HEADER || records.len() as u64 != u64::from(layout.objects) {
        return Err(PackError::Length);
    }
    let is_canonical = format::index(&mut records).0 == index && records.is_sorted_by(|a, b| a.id < b.id);
    let mut by_offset = records.clone();
    by_offset.sort_unstable_by_key(|r| (r.offset, r.len));
    let is_apart = by_offset.is_sorted_by(|a, b| a.offset + u64::from(a.len) <= b.offset);
    if is_canonical && is_apart { Ok(records) } else { Err(PackError::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectId;

    #[test]
    fn a_pack_of_parts_is_the_pack_that_a_store_reads() {
        let objects: [&[u8]; 3] = [b"one", b"", b"three"];
        let (mut bytes, mut records) = (vec![0; HEADER], Vec::new());
        for object in objects {
            let (offset, len) = (bytes.len() as u64, object.len() as u32);
            records.push(PackRecord { id: ObjectId::of(object), offset, len });
            bytes.extend_from_slice(object);
        }
        let end = bytes.len() as u64;
        let head = pack_head(&mut records, end);
        bytes[..HEADER].copy_from_slice(&head.header);
        bytes.extend_from_slice(&head.index);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack");
        crate::sys::path::replace(&path, &bytes).unwrap();
        let (pack, _) = super::super::Pack::open(head.id, &path).unwrap();
        assert!(pack.has_sound_index());
        assert_eq!(pack.records().collect::<Vec<_>>(), records_of(&head.index, &head.id, end).unwrap());
        assert!(records_of(&head.index, &head.id, end - 1).is_err());
        assert!(records_of(&head.index, &PackId([1; 32]), end).is_err());
        assert!(records_of(&head.index[..FAN_OUT - 1], &head.id, end).is_err());
    }
}
