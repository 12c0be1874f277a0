//! A file as it was at a time, and the note of it that the store keeps: another look that finds the same has the same bytes.
//!
//! A note is the content of a file in `checked` or `damaged`, which has the name of the object. One that is of another
//! version, or damaged, counts for nothing. Version 1, little-endian:
//!
//! | offset | size | field                   | offset | size | field                                          |
//! |--------|------|-------------------------|--------|------|------------------------------------------------|
//! | 0      | 8    | magic `depsfs N`        | 32     | 8    | mtime, seconds, signed                         |
//! | 8      | 4    | version, 1              | 40     | 8    | ctime, seconds, signed                         |
//! | 12     | 4    | reserved, 0             | 48     | 4    | mtime, nanoseconds                             |
//! | 16     | 8    | inode                   | 52     | 4    | ctime, nanoseconds                             |
//! | 24     | 8    | size                    | 56     | 8    | the beginning of the BLAKE3 hash of the object's id and all before |
//!
//! The device is not in it: its number may be another one after the next boot.

use super::ObjectId;
use super::tree::{u32_at, u64_at};
use crate::sys::fs::{Stat, Timespec};

const MAGIC: [u8; 8] = *b"depsfs N";
const VERSION: u32 = 1;
const LENGTH: usize = 64;
/// The offset of the hash.
const HASH: usize = 56;

/// Inode, size, mtime and ctime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTimes(u64, u64, Timespec, Timespec);

impl FileTimes {
    /// Of metadata that was read from an open file of the store, or from its name.
    pub fn of(stat: &Stat) -> FileTimes {
        FileTimes(stat.ino, stat.size, stat.mtime, stat.ctime)
    }

    /// The note about the file of an object.
    pub fn note(&self, id: &ObjectId) -> Vec<u8> {
        let FileTimes(ino, size, mtime, ctime) = self;
        let mut out = Vec::with_capacity(LENGTH);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for number in [*ino, *size, mtime.sec.cast_unsigned(), ctime.sec.cast_unsigned()] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&mtime.nsec.to_le_bytes());
        out.extend_from_slice(&ctime.nsec.to_le_bytes());
        out.extend_from_slice(&hash(id, &out));
        out
    }

    /// Decodes a note about the file of this object; nothing if it is damaged, or of another version.
    pub fn of_note(id: &ObjectId, note: &[u8]) -> Option<FileTimes> {
        let is_sound = note.len() == LENGTH
            && note[..8] == MAGIC
            && u32_at(note, 8) == VERSION
            && u32_at(note, 12) == 0
            && note[HASH..] == hash(id, &note[..HASH]);
        let time = |sec, nsec| Timespec { sec: u64_at(note, sec).cast_signed(), nsec: u32_at(note, nsec) };
        is_sound.then(|| FileTimes(u64_at(note, 16), u64_at(note, 24), time(32, 48), time(40, 52)))
    }
}

fn hash(id: &ObjectId, note: &[u8]) -> [u8; LENGTH - HASH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&id.0).update(note);
    hasher.finalize().as_bytes()[..LENGTH - HASH].try_into().expect("a hash is longer")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of version 1.
    const NOTE: &[u8] = include_bytes!("../../tests/formats/note-1");

    #[test]
    fn a_note_has_these_bytes_and_none_with_a_wrong_bit_says_anything() {
        let time = |sec, nsec| Timespec { sec, nsec };
        let (id, times) = (ObjectId([0xab; 32]), FileTimes(77, 5 << 30, time(-2, 5), time(1 << 33, 999_999_999)));
        assert_eq!(times.note(&id), NOTE);
        assert_eq!(FileTimes::of_note(&id, NOTE), Some(times));
        assert_eq!(FileTimes::of_note(&ObjectId([0xac; 32]), NOTE), None);
        for bit in 0..NOTE.len() * 8 {
            let mut note = NOTE.to_vec();
            note[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileTimes::of_note(&id, &note), None, "bit {bit}");
        }
        assert_eq!((FileTimes::of_note(&id, &NOTE[1..]), FileTimes::of_note(&id, &[])), (None, None));
    }
}
