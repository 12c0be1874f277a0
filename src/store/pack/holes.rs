//! The objects of a pack whose bytes are absent, as the pack's file has a hole in their place.
//!
//! A hole reads as zeros, without an error. A disk that lost blocks may leave one, or a restore that was cut off. A copy
//! that makes files sparse leaves one where an object consists of zeros: so the hash decides.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use super::{HEADER, Pack};
use crate::store::ObjectId;
use crate::sys::fs;

/// The absent objects of an open pack. One system call for a file without holes.
pub(super) fn absent(pack: &Pack, file: &OwnedFd) -> io::Result<HashSet<ObjectId>> {
    let holes = holes(file, HEADER as u64..pack.layout.index)?;
    let mut absent = HashSet::new();
    if holes.is_empty() {
        return Ok(absent);
    }
    for record in pack.records().filter(|record| pack.holds(record)) {
        let (start, end) = (record.offset, record.offset + u64::from(record.len));
        let next = holes.partition_point(|hole| hole.end <= start);
        let Some(hole) = holes.get(next).filter(|hole| hole.start < end) else { continue };
        let mut bytes = vec![0; record.len as usize];
        let is_all_hole = hole.start <= start && end <= hole.end;
        if !is_all_hole && fs::read_at(file, &mut bytes, start).is_err() {
            // A bad sector: the reader meets it.
            continue;
        }
        if ObjectId::of(&bytes) != record.id {
            absent.insert(record.id);
        }
    }
    Ok(absent)
}

/// The holes in a part of a file, by rising offset. A file system that cannot report holes has none.
fn holes(file: &OwnedFd, part: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let (mut holes, mut at) = (Vec::new(), part.start);
    while at < part.end {
        let start = match fs::seek_data(file, at, true) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENXIO)) => break,
            start => start?,
        };
        if start >= part.end {
            break;
        }
        at = match fs::seek_data(file, start, false) {
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => part.end,
            end => end?.clamp(start + 1, part.end),
        };
        holes.push(start..at);
    }
    Ok(holes)
}
