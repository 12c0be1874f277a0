//! Frames in the bytes of a file: each has a length, a checksum and a payload, and bytes that are no frame are
//! recognised.
//!
//! | offset | size | what                                        |
//! |--------|------|---------------------------------------------|
//! | 0      | 4    | length of the payload, in bytes             |
//! | 4      | 4    | the low half of the payload's XXH3-64       |
//! | 8      | …    | the payload (`bytes.rs`)                    |
//!
//! | bytes that are no frame                     | are                                                       |
//! |---------------------------------------------|-----------------------------------------------------------|
//! | the last, shorter than they say, or zeros   | a torn append: cut off                                    |
//! | the last, as long as they say               | damage                                                    |
//! | any with a sound frame behind them          | damage; the frame behind is found by their length, or by trying every place |
//!
//! Of a damaged frame in which one bit is wrong, or only the length, every byte is known: it is read all the same.

use std::ops::Range;

use super::format::{FRAME_MAX, HEADER, JournalError};
use super::record::{Frame, Record};

const HEAD: usize = 8;
/// Records that belong together are split into frames of about this many bytes.
const BATCH: usize = 1 << 20;
/// Up to this length a payload is searched for its one wrong bit, in less than a millisecond.
const MENDABLE: usize = 512;
/// The most bytes that may be hashed in a search for a sound frame, beside some for each byte there is.
const SEARCHED: usize = 64 << 20;
/// The unit, in bytes, that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A part of a journal, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalPiece {
    Frame(Frame),
    /// Here were frames, and can't be read.
    Hole,
}

/// The bytes of a journal, taken apart. Each frame is decoded when it is read.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    parts: Vec<FramePart>,
    /// The last part ends here.
    used: usize,
    /// Something was damaged: how many bytes of it could not be mended.
    damage: Option<usize>,
}

#[derive(Debug)]
enum FramePart {
    Sound(Range<usize>),
    Mended(Frame),
    Hole,
}

impl Frames {
    /// Takes `bytes`, all that comes after the header, apart.
    pub fn of(bytes: Vec<u8>) -> Frames {
        let mut frames = Frames { bytes, ..Frames::default() };
        let mut budget = SEARCHED + 64 * frames.bytes.len();
        while frames.used < frames.bytes.len() {
            let at = frames.used;
            if let Some(end) = sound(&frames.bytes, at) {
                frames.parts.push(FramePart::Sound(at..end));
                frames.used = end;
                continue;
            }
            let next = next_sound(&frames.bytes, at, &mut budget);
            if next.is_none() && is_torn(&frames.bytes, at) {
                break;
            }
            frames.damaged(at..next.unwrap_or(frames.bytes.len()));
        }
        frames
    }

    fn damaged(&mut self, at: Range<usize>) {
        let lost = self.damage.get_or_insert(0);
        self.used = at.end;
        self.parts.push(match mended(&self.bytes[at.clone()]) {
            Some(frame) => FramePart::Mended(frame),
            None => {
                *lost += at.len();
                FramePart::Hole
            }
        });
    }

    /// The frames and the unreadable pieces between them, in the order of the file. A torn end is not among them.
    pub fn pieces(&self) -> impl Iterator<Item = JournalPiece> {
        self.parts.iter().map(|part| match part {
            FramePart::Sound(at) => {
                decoded(&self.bytes[at.start + HEAD..at.end]).map_or(JournalPiece::Hole, JournalPiece::Frame)
            }
            FramePart::Mended(frame) => JournalPiece::Frame(frame.clone()),
            FramePart::Hole => JournalPiece::Hole,
        })
    }

    /// The frames alone.
    pub fn all(&self) -> Vec<Frame> {
        self.pieces()
            .filter_map(|piece| if let JournalPiece::Frame(frame) = piece { Some(frame) } else { None })
            .collect()
    }

    /// How many bytes are frames or damaged; what comes after them is a torn append.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Some was damaged: how many bytes of it can't be read.
    pub fn damage(&self) -> Option<usize> {
        self.damage
    }

    /// The length of a torn append at the end, in bytes.
    pub fn torn(&self) -> usize {
        self.bytes.len() - self.used
    }
}

/// The end of the sound frame that begins at `at`.
fn sound(bytes: &[u8], at: usize) -> Option<usize> {
    let end = end(bytes, at)?;
    let payload = &bytes[at + HEAD..end];
    (checksum(payload) == number(bytes, at + 4) && decoded(payload).is_some()).then_some(end)
}

/// The end of the frame at `at`, by its length field, if that is possible.
fn end(bytes: &[u8], at: usize) -> Option<usize> {
    let len = number(bytes.get(..bytes.len().min(at + HEAD))?, at) as usize;
    let end = at + HEAD + len;
    (at + HEAD <= bytes.len() && (1..=FRAME_MAX).contains(&len) && end <= bytes.len()).then_some(end)
}

/// The number at `at`, or 0 where there are too few bytes.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn decoded(payload: &[u8]) -> Option<Frame> {
    Frame::decode(payload).ok()
}

/// The beginning of the next sound frame behind the damaged one at `at`.
fn next_sound(bytes: &[u8], at: usize, budget: &mut usize) -> Option<usize> {
    let by_length = end(bytes, at).filter(|end| sound(bytes, *end).is_some());
    if by_length.is_some_and(|end| mended(&bytes[at..end]).is_some()) {
        return by_length;
    }
    let mut only = by_length;
    for next in at + 1..by_length.unwrap_or(bytes.len()) {
        let Some(end) = end(bytes, next).filter(|_| Frame::may_begin_with(&bytes[next + HEAD..])) else { continue };
        // The budget bounds the search: damaged or crafted contents must not keep the server here.
        let Some(left) = budget.checked_sub(end - next) else { break };
        *budget = left;
        if sound(bytes, next).is_none() {
            continue;
        }
        // By itself it may be bytes of an attribute that look like a frame.
        if end == bytes.len() || by_length == Some(end) || sound(bytes, end).is_some() {
            return Some(next);
        }
        only = only.or(Some(next));
    }
    only
}

/// Whether the bytes from `at` to the end are the beginning of an append.
fn is_torn(bytes: &[u8], at: usize) -> bool {
    let tail = &bytes[at..];
    if tail.len() < HEAD || tail.iter().all(|b| *b == 0) {
        return true;
    }
    let len = number(tail, 0) as usize;
    if len > FRAME_MAX || mended(tail).is_some() {
        return false;
    }
    // If the disk had the file's new size before all its bytes, there are zeros in their place.
    let zeros = tail.iter().rev().take_while(|b| **b == 0).count();
    let sector = (HEADER + bytes.len() - zeros).next_multiple_of(SECTOR);
    HEAD + len > tail.len() || (HEAD + len == tail.len() && zeros > 0 && sector < HEADER + bytes.len())
}

/// The frame that these bytes were, if little enough is wrong with them.
fn mended(bytes: &[u8]) -> Option<Frame> {
    let payload = bytes.get(HEAD..)?;
    let sum = number(bytes, 4);
    if (checksum(payload) ^ sum).count_ones() <= 1 {
        return decoded(payload);
    }
    if number(bytes, 0) as usize != payload.len() || payload.len() > MENDABLE {
        return None;
    }
    let mut payload = payload.to_vec();
    for bit in 0..payload.len() * 8 {
        payload[bit / 8] ^= 1 << (bit % 8);
        if checksum(&payload) == sum {
            return decoded(&payload);
        }
        payload[bit / 8] ^= 1 << (bit % 8);
    }
    None
}

fn checksum(payload: &[u8]) -> u32 {
    xxhash_rust::xxh3::xxh3_64(payload) as u32
}

/// The bytes of `frame`, and whether only a newer format has such; many records become several frames, which hold
/// together.
///
/// # Errors
/// [`JournalError::TooLong`] for a frame that [`Frames`] would not read back.
pub(super) fn framed(frame: &Frame) -> Result<(Vec<u8>, bool), JournalError> {
    let payload = frame.encode();
    let records = frame.records();
    let mut out = Vec::with_capacity(payload.len() + HEAD);
    if payload.len() <= BATCH || records.len() == 1 {
        put(&mut out, &payload)?;
        return Ok((out, matches!(frame, Frame::Part(_)) || records.iter().any(Record::is_newer)));
    }
    let (mut part, mut size) = (Vec::new(), 0);
    for record in records {
        let len = record.encoded_len();
        if size > 0 && size + len > BATCH {
            put(&mut out, &Frame::Part(std::mem::take(&mut part)).encode())?;
            size = 0;
        }
        part.push(record.clone());
        size += len;
    }
    let last = match frame {
        Frame::Prepared(check, _) => Frame::Prepared(check.clone(), part),
        _ => Frame::Plain(part),
    };
    put(&mut out, &last.encode())?;
    Ok((out, true))
}

fn put(out: &mut Vec<u8>, payload: &[u8]) -> Result<(), JournalError> {
    if payload.len() > FRAME_MAX {
        return Err(JournalError::TooLong);
    }
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(checksum(payload).to_le_bytes());
    out.extend(payload);
    Ok(())
}
