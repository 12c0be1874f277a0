//! A pack on its way to or from a remote: the bytes of a pack's file in frames that end where objects end.
//!
//! | frame       | content                                       |
//! |-------------|-----------------------------------------------|
//! | the first   | the pack's header                             |
//! | the next    | objects, about [`FRAME`] bytes                |
//! | the last    | the pack's index; the seek table follows it   |

use std::ops::Range;

use super::frames::{self, ZstdFrame};
use crate::store::pack::{PackHead, PackRecord, pack_head, records_of};
use crate::store::{ObjectId, PackId};

/// A frame ends behind the object that makes it as long.
const FRAME: usize = 1 << 20;
/// Up to this size an object is in a pack.
pub const LARGEST_OBJECT: u64 = 8 << 20;
/// A pack with as many compressed bytes is full: with one more object it stays below 32 MiB.
const FULL: usize = 22 << 20;
/// The largest content of a frame of objects that a reader accepts.
const LARGEST_FRAME: u32 = (LARGEST_OBJECT as u32) + FRAME as u32;
/// The largest index that a reader accepts.
const LARGEST_INDEX: u32 = 256 << 20;
/// The most that compressed bytes are longer than their content; and the most of a seek table.
pub const SLACK: u64 = 1 << 20;
/// The longest end of a pack that a reader accepts, from its index on.
pub const LONGEST_TAIL: u64 = LARGEST_INDEX as u64 + SLACK;
/// The largest pack that is read whole.
pub const LARGEST_PACK: u64 = FULL as u64 + LARGEST_OBJECT + LONGEST_TAIL;

/// Frames with so few bytes between them are requested together.
const GAP: u64 = 256 << 10;

/// A pack that grows in memory.
#[derive(Default)]
pub struct PackBuilder {
    open: Vec<u8>,
    done: Vec<u8>,
    sizes: Vec<(u32, u32)>,
    records: Vec<PackRecord>,
    content: u64,
}

/// A pack, ready to be sent.
pub struct BuiltPack {
    pub id: PackId,
    pub bytes: Vec<u8>,
    /// The offset of the frame of the index.
    pub index: u64,
    pub records: Vec<PackRecord>,
}

impl PackBuilder {
    /// Appends an object.
    pub fn add(&mut self, id: ObjectId, bytes: &[u8]) {
        let offset = PackHead::OBJECTS + self.content;
        self.records.push(PackRecord { id, offset, len: bytes.len() as u32 });
        self.content += bytes.len() as u64;
        self.open.extend_from_slice(bytes);
        if self.open.len() >= FRAME {
            self.end_frame();
        }
    }

    /// Whether no further object should be added.
    pub fn is_full(&self) -> bool {
        self.done.len() + self.open.len() >= FULL
    }

    /// Whether it has no object.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn end_frame(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let frame = frames::compress(&self.open);
        self.sizes.push((frame.len() as u32, self.open.len() as u32));
        self.done.extend_from_slice(&frame);
        self.open.clear();
    }

    /// The whole pack.
    pub fn finish(mut self) -> BuiltPack {
        self.end_frame();
        let head = pack_head(&mut self.records, PackHead::OBJECTS + self.content);
        let (first, last) = (frames::compress(&head.header), frames::compress(&head.index));
        let mut sizes = vec![(first.len() as u32, head.header.len() as u32)];
        sizes.append(&mut self.sizes);
        sizes.push((last.len() as u32, head.index.len() as u32));
        let index = (first.len() + self.done.len()) as u64;
        let bytes = [first, self.done, last, frames::table(&sizes)].concat();
        BuiltPack { id: head.id, bytes, index, records: self.records }
    }
}

/// The end of a remote pack: its objects, and its frames.
pub struct PackTail {
    frames: Vec<ZstdFrame>,
    records: Vec<PackRecord>,
    /// The offset at which the objects end in the pack.
    end: u64,
}

impl PackTail {
    /// Of frames and objects that were read before; `None` if no frame follows the objects.
    pub fn of(sizes: &[(u32, u32)], mut records: Vec<PackRecord>) -> Option<PackTail> {
        let all = frames::in_a_row(sizes);
        let (index, frames) = all.split_last()?;
        records.sort_unstable_by_key(|record| record.offset);
        Some(PackTail { frames: frames.to_vec(), records, end: index.content })
    }

    /// The sizes of its frames, compressed and not, for [`PackTail::of`].
    pub fn sizes(&self) -> Vec<(u32, u32)> {
        // Of the last one, the index, nobody asks for the size.
        self.frames.iter().map(|frame| (frame.len, frame.content_len)).chain([(0, 0)]).collect()
    }

    /// The header and the index of the pack.
    pub fn head(&self) -> PackHead {
        pack_head(&mut self.records.clone(), self.end)
    }

    /// Reads the end of a pack's file of `size` bytes, from its index on.
    ///
    /// # Errors
    /// The part that is damaged, in words.
    pub fn read(id: &PackId, tail: &[u8], size: u64) -> Result<PackTail, &'static str> {
        let all = frames::read_table(tail, size).ok_or("its seek table is damaged")?;
        let (index, frames) = all.split_last().ok_or("it has no frame")?;
        let begin = size.checked_sub(tail.len() as u64).and_then(|before| index.at.checked_sub(before));
        let compressed = begin.and_then(|begin| tail.get(begin as usize..begin as usize + index.len as usize));
        let compressed = compressed.ok_or("its index lies elsewhere than its entry names")?;
        let is_sound =
            |f: &ZstdFrame| f.content_len <= LARGEST_FRAME && u64::from(f.len) <= u64::from(LARGEST_FRAME) + SLACK;
        if index.content_len > LARGEST_INDEX || !frames.iter().all(is_sound) {
            return Err("a frame is longer than frames are");
        }
        let content = frames::decompress(compressed, index.content_len as usize).ok_or("its index is damaged")?;
        let mut records = records_of(&content, id, index.content).map_err(|_| "its index is that of another pack")?;
        records.sort_unstable_by_key(|record| record.offset);
        Ok(PackTail { frames: frames.to_vec(), records, end: index.content })
    }

    /// All objects, in the order of their bytes.
    pub fn records(&self) -> &[PackRecord] {
        &self.records
    }

    /// The frames with objects that `wanted` selects, and these objects. One that no frame holds whole is left out.
    pub fn frames_with(&self, mut wanted: impl FnMut(&ObjectId) -> bool) -> Vec<FrameObjects> {
        let mut found: Vec<FrameObjects> = Vec::new();
        for record in self.records.iter().filter(|record| wanted(&record.id)) {
            let at = self.frames.partition_point(|frame| frame.content <= record.offset);
            // Frames without content begin where the next one does.
            let Some(frame) = at.checked_sub(1).map(|at| self.frames[at]) else { continue };
            let from = record.offset - frame.content;
            if from + u64::from(record.len) > u64::from(frame.content_len) {
                continue;
            }
            let place = from as usize..(from + u64::from(record.len)) as usize;
            match found.last_mut().filter(|last| last.frame == frame) {
                Some(last) => last.objects.push((record.id, place)),
                None => found.push(FrameObjects { frame, objects: vec![(record.id, place)] }),
            }
        }
        found
    }
}

/// A frame, and where objects lie in its content.
pub struct FrameObjects {
    pub frame: ZstdFrame,
    pub objects: Vec<(ObjectId, Range<usize>)>,
}

impl FrameObjects {
    /// Its place among the compressed bytes of the pack.
    pub fn place(&self) -> Range<u64> {
        self.frame.at..self.frame.at + u64::from(self.frame.len)
    }

    /// Its content, from the bytes of `run`, which holds it. Each of its objects has the hash in its name.
    ///
    /// # Errors
    /// The part that is damaged, in words.
    pub fn content(&self, bytes: &[u8], run: &Range<u64>) -> Result<Vec<u8>, String> {
        let from = self.frame.at.checked_sub(run.start).map(|from| from as usize);
        let compressed = from.and_then(|from| bytes.get(from..from + self.frame.len as usize));
        let compressed = compressed.ok_or("a frame was cut")?;
        let content = frames::decompress(compressed, self.frame.content_len as usize);
        let content = content.ok_or("a frame is no zstd frame of its size")?;
        for (id, place) in &self.objects {
            let object = content.get(place.clone()).ok_or("an object lies outside its frame")?;
            if ObjectId::of(object) != *id {
                return Err(format!("the bytes of the object {id} are not those of its name"));
            }
        }
        Ok(content)
    }
}

/// Whether a frame at this place of a pack is requested with the run before it, which grows to `most` bytes.
pub fn joins(run: &Range<u64>, frame: &Range<u64>, most: u64) -> bool {
    run.end <= frame.start && frame.start <= run.end + GAP && frame.end - run.start <= most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> (BuiltPack, Vec<Vec<u8>>) {
        let mut objects: Vec<Vec<u8>> =
            (0..40u32).map(|n| format!("{n}").repeat(n as usize * 3000).into_bytes()).collect();
        objects.push(Vec::new());
        let mut builder = PackBuilder::default();
        objects.iter().for_each(|bytes| builder.add(ObjectId::of(bytes), bytes));
        (builder.finish(), objects)
    }

    #[test]
    fn the_frames_of_a_pack_are_its_file_and_each_object_is_whole_in_one_frame() {
        let (pack, objects) = built();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack");
        crate::sys::path::replace(&path, &zstd::stream::decode_all(&pack.bytes[..]).unwrap()).unwrap();
        let (opened, _) = crate::store::pack::Pack::open(pack.id, &path).unwrap();
        assert!(opened.has_sound_index());
        let tail = PackTail::read(&pack.id, &pack.bytes[pack.index as usize..], pack.bytes.len() as u64).unwrap();
        assert!(tail.frames.len() > 2);
        let frames = tail.frames_with(|_| true);
        let mut seen = 0;
        for FrameObjects { frame, objects } in &frames {
            let bytes = &pack.bytes[frame.at as usize..][..frame.len as usize];
            let content = frames::decompress(bytes, frame.content_len as usize).unwrap();
            for (id, place) in objects {
                assert_eq!(ObjectId::of(&content[place.clone()]), *id);
                seen += 1;
            }
        }
        assert_eq!(seen, objects.len());
        let one = ObjectId::of(&objects[7]);
        assert_eq!(tail.frames_with(|id| *id == one).len(), 1);
    }

    #[test]
    fn a_changed_byte_at_the_end_of_a_pack_is_noticed() {
        let (pack, _) = built();
        let good = pack.bytes[pack.index as usize..].to_vec();
        for at in (0..good.len()).step_by(7).chain(good.len() - 9..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            if let Ok(tail) = PackTail::read(&pack.id, &bad, pack.bytes.len() as u64) {
                // A frame that the table describes wrongly is noticed when it is read.
                assert_eq!(tail.records, PackTail::read(&pack.id, &good, pack.bytes.len() as u64).unwrap().records);
            }
        }
    }
}
