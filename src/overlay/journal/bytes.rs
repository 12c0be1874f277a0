//! The bytes of the journal's records.
//!
//! A payload (`framing.rs`) is one byte of frame kind, then (for a prepared frame) a check, then
//! records. Integers are little-endian; a name is `length u8, bytes`; a time is `sec i64, nsec u32`.
//!
//! | frame | kind | payload after the kind            |
//! |-------|------|-----------------------------------|
//! | Plain | 1    | records                           |
//! | Prepared | 2 | check, records                    |
//! | Done  | 3    | nothing: the prepared frame before it holds |
//! | Undone | 4   | nothing: the prepared frame before it is void |
//! | Part  | 5    | records, of the next plain or prepared frame; version 4 |
//!
//! | check   | tag | fields                        |
//! |---------|-----|-------------------------------|
//! | Present | 1   | dir u64, name, real inode u64 |
//! | Absent  | 2   | dir u64, name, real inode u64 |
//!
//! | record   | tag | fields                                             |
//! |----------|-----|----------------------------------------------------|
//! | Root     | 1   | real inode of the upper's root u64, its birth u64  |
//! | Graft    | 2   | base u64, nodes u32, tree id 32 bytes, length u32, path |
//! | Whiteout | 3   | dir u64, name, time                                |
//! | Moved    | 4   | dir u64, name, inode u64, time                     |
//! | Unset    | 5   | dir u64, name, time                                |
//! | Opaque   | 6   | dir u64                                            |
//! | Emptied  | 7   | dir u64                                            |
//! | Meta     | 8   | inode u64, mask u8, fields, xattrs                 |
//! | Copied   | 9   | inode u64, real inode u64, its birth u64           |
//! | Uncopied | 10  | inode u64                                          |
//! | Place    | 11  | inode u64, dir u64, name                           |
//! | Xattr    | 12  | inode u64, time, length u32, name, is there u8, length u32, value; version 4 |
//! | Dress    | 13  | inode u64, mask u8, fields; version 4              |
//!
//! A birth is in nanoseconds since 1970, 0 if the file system has none: it shows that an inode number was given to
//! another file since. The time of 3, 4 and 5 is the directory's new mtime; `nsec` of 2³²−1 stands for none.

use crate::store::{Name, TreeId};
use crate::sys::fs::Timespec;

use super::super::types::Ino;
use super::record::{Check, Frame, Malformed, MetaChange, Record};

const NO_TIME: u32 = u32::MAX;
/// The highest tag that a record has.
const LAST_TAG: u8 = 13;

impl Frame {
    /// The payload, without length and checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Frame::Plain(records) => {
                out.push(1);
                records.iter().for_each(|r| r.encode(&mut out));
            }
            Frame::Prepared(check, records) => {
                out.push(2);
                check.encode(&mut out);
                records.iter().for_each(|r| r.encode(&mut out));
            }
            Frame::Done => out.push(3),
            Frame::Undone => out.push(4),
            Frame::Part(records) => {
                out.push(5);
                records.iter().for_each(|r| r.encode(&mut out));
            }
        }
        out
    }

    /// Reads a payload back.
    ///
    /// # Errors
    /// [`Malformed`] for anything that [`Frame::encode`] doesn't write.
    pub fn decode(payload: &[u8]) -> Result<Frame, Malformed> {
        let mut r = Reader(payload);
        let frame = match r.u8()? {
            1 => Frame::Plain(r.records()?),
            2 => Frame::Prepared(r.check()?, r.records()?),
            3 => Frame::Done,
            4 => Frame::Undone,
            5 => Frame::Part(r.records()?),
            _ => return Err(Malformed),
        };
        if r.0.is_empty() { Ok(frame) } else { Err(Malformed) }
    }
}

impl Frame {
    /// Whether a payload may begin with these bytes: a quick check of the first ones.
    pub(super) fn may_begin_with(payload: &[u8]) -> bool {
        match payload {
            [1 | 5, tag, ..] => (1..=LAST_TAG).contains(tag),
            [2, check, ..] => matches!(check, 1 | 2),
            [3 | 4, ..] => true,
            _ => false,
        }
    }
}

impl Check {
    fn encode(&self, out: &mut Vec<u8>) {
        let (tag, dir, name, real) = match self {
            Check::Present { dir, name, real } => (1, dir, name, real),
            Check::Absent { dir, name, real } => (2, dir, name, real),
        };
        out.push(tag);
        put_u64(out, dir.0);
        put_name(out, name);
        put_u64(out, *real);
    }
}

impl Record {
    /// The length in bytes that it takes in a frame, without the frame's head.
    pub(super) fn encoded_len(&self) -> usize {
        let mut out = Vec::new();
        self.encode(&mut out);
        out.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Root { real, born } => {
                put_tagged(out, 1, *real);
                put_u64(out, *born);
            }
            Record::Graft { base, nodes, tree, at } => {
                put_tagged(out, 2, *base);
                out.extend(nodes.to_le_bytes());
                out.extend(tree.0);
                put_long(out, at);
            }
            Record::Whiteout { dir, name, time } => {
                put_tagged(out, 3, dir.0);
                put_name(out, name);
                put_time(out, *time);
            }
            Record::Moved { dir, name, ino, time } => {
                put_tagged(out, 4, dir.0);
                put_name(out, name);
                put_u64(out, ino.0);
                put_time(out, *time);
            }
            Record::Unset { dir, name, time } => {
                put_tagged(out, 5, dir.0);
                put_name(out, name);
                put_time(out, *time);
            }
            Record::Opaque { dir } => put_tagged(out, 6, dir.0),
            Record::Cleared { dir } => put_tagged(out, 7, dir.0),
            Record::Meta { ino, meta } => {
                put_tagged(out, 8, ino.0);
                put_meta(out, meta);
            }
            Record::Copied { ino, real, born } => {
                put_tagged(out, 9, ino.0);
                put_u64(out, *real);
                put_u64(out, *born);
            }
            Record::Uncopied { ino } => put_tagged(out, 10, ino.0),
            Record::Place { ino, dir, name } => {
                put_tagged(out, 11, ino.0);
                put_u64(out, dir.0);
                put_name(out, name);
            }
            Record::Xattr { ino, name, value, time } => {
                put_tagged(out, 12, ino.0);
                put_time(out, Some(*time));
                put_long(out, name);
                out.push(value.is_some().into());
                put_long(out, value.as_deref().unwrap_or_default());
            }
            Record::Dress { ino, meta } => {
                put_tagged(out, 13, ino.0);
                put_meta(out, meta);
            }
        }
    }
}

fn put_tagged(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag);
    put_u64(out, value);
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_le_bytes());
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    out.push(name.bytes().len() as u8);
    out.extend(name.bytes());
}

/// A byte string of at most 65,535 bytes: what an xattr or a path may be.
fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

fn put_time(out: &mut Vec<u8>, time: Option<Timespec>) {
    let t = time.unwrap_or(Timespec { sec: 0, nsec: NO_TIME });
    put_u64(out, t.sec as u64);
    out.extend(t.nsec.to_le_bytes());
}

fn put_meta(out: &mut Vec<u8>, meta: &MetaChange) {
    let mask = [
        meta.mode.is_some(),
        meta.uid.is_some(),
        meta.gid.is_some(),
        meta.atime.is_some(),
        meta.mtime.is_some(),
        meta.ctime.is_some(),
        meta.xattrs.is_some(),
    ];
    out.push(mask.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum());
    for number in [meta.mode, meta.uid, meta.gid].into_iter().flatten() {
        out.extend(number.to_le_bytes());
    }
    for time in [meta.atime, meta.mtime, meta.ctime].into_iter().flatten() {
        put_time(out, Some(time));
    }
    if let Some(xattrs) = &meta.xattrs {
        out.extend((xattrs.len() as u32).to_le_bytes());
        for (name, value) in xattrs {
            put_long(out, name);
            put_long(out, value);
        }
    }
}

/// Takes values from the front of a byte slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn ino(&mut self) -> Result<Ino, Malformed> {
        self.u64().map(Ino::recorded)
    }

    fn name(&mut self) -> Result<Name, Malformed> {
        let len = self.u8()?;
        Name::new(self.take(len.into())?).map_err(|_| Malformed)
    }

    fn long(&mut self) -> Result<Vec<u8>, Malformed> {
        let len = self.u32()?;
        Ok(self.take(usize::try_from(len).map_err(|_| Malformed)?)?.to_vec())
    }

    fn time(&mut self) -> Result<Option<Timespec>, Malformed> {
        let (sec, nsec) = (self.u64()? as i64, self.u32()?);
        match nsec {
            NO_TIME if sec == 0 => Ok(None),
            0..1_000_000_000 => Ok(Some(Timespec { sec, nsec })),
            _ => Err(Malformed),
        }
    }

    fn meta(&mut self) -> Result<MetaChange, Malformed> {
        let mask = self.u8()?;
        if mask & 0x80 != 0 {
            return Err(Malformed);
        }
        let has = |bit: u8| mask >> bit & 1 == 1;
        let mut meta = MetaChange::default();
        for (bit, field) in [&mut meta.mode, &mut meta.uid, &mut meta.gid].into_iter().enumerate() {
            if has(bit as u8) {
                *field = Some(self.u32()?);
            }
        }
        for (bit, field) in [&mut meta.atime, &mut meta.mtime, &mut meta.ctime].into_iter().enumerate() {
            if has(bit as u8 + 3) {
                *field = Some(self.time()?.ok_or(Malformed)?);
            }
        }
        if has(6) {
            let count = self.u32()?;
            let pairs = (0..count).map(|_| Ok((self.long()?, self.long()?)));
            meta.xattrs = Some(pairs.collect::<Result<_, _>>()?);
        }
        Ok(meta)
    }

    fn check(&mut self) -> Result<Check, Malformed> {
        let tag = self.u8()?;
        let (dir, name, real) = (self.ino()?, self.name()?, self.u64()?);
        match tag {
            1 => Ok(Check::Present { dir, name, real }),
            2 => Ok(Check::Absent { dir, name, real }),
            _ => Err(Malformed),
        }
    }

    fn records(&mut self) -> Result<Vec<Record>, Malformed> {
        let mut out = Vec::new();
        while !self.0.is_empty() {
            out.push(self.record()?);
        }
        Ok(out)
    }

    fn record(&mut self) -> Result<Record, Malformed> {
        Ok(match self.u8()? {
            1 => Record::Root { real: self.u64()?, born: self.u64()? },
            2 => {
                let (base, nodes, tree) = (self.u64()?, self.u32()?, TreeId(self.array()?));
                Record::Graft { base, nodes, tree, at: self.long()? }
            }
            3 => Record::Whiteout { dir: self.ino()?, name: self.name()?, time: self.time()? },
            4 => Record::Moved { dir: self.ino()?, name: self.name()?, ino: self.ino()?, time: self.time()? },
            5 => Record::Unset { dir: self.ino()?, name: self.name()?, time: self.time()? },
            6 => Record::Opaque { dir: self.ino()? },
            7 => Record::Cleared { dir: self.ino()? },
            8 => Record::Meta { ino: self.ino()?, meta: self.meta()? },
            9 => Record::Copied { ino: self.ino()?, real: self.u64()?, born: self.u64()? },
            10 => Record::Uncopied { ino: self.ino()? },
            11 => Record::Place { ino: self.ino()?, dir: self.ino()?, name: self.name()? },
            12 => {
                let (ino, time, name) = (self.ino()?, self.time()?.ok_or(Malformed)?, self.long()?);
                let value = match (self.u8()?, self.long()?) {
                    (0, value) if value.is_empty() => None,
                    (1, value) => Some(value),
                    _ => return Err(Malformed),
                };
                Record::Xattr { ino, name, value, time }
            }
            13 => match (self.ino()?, self.meta()?) {
                (_, MetaChange { xattrs: Some(_), .. }) => return Err(Malformed),
                (ino, meta) => Record::Dress { ino, meta },
            },
            _ => return Err(Malformed),
        })
    }
}
