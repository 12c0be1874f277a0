//! git's index, read as it lies on disk, and its stat data brought up to date in place.
//!
//! The format is git's (gitformat-index(5)), versions 2 to 4, all numbers big-endian:
//!
//! ```text
//! 0   4  "DIRC"
//! 4   4  version
//! 8   4  number of entries
//! 12     entries: 40 bytes of stat data, the object id (20 or 32), flags (2, or 4 when extended), the path
//! ..     extensions: 4 letters, length, bytes
//! end    hash of all before (or zeros: index.skipHash)
//! ```
//!
//! A split index ("link") holds its entries elsewhere and is declined: its owner is asked through git.

use std::ops::Range;
use std::path::Path;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::sys::fs::{Stat, Timespec};
use crate::sys::{IoError, path};

/// The hash a repository names its objects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFormat {
    Sha1,
    Sha256,
}

impl ObjectFormat {
    fn len(self) -> usize {
        match self {
            ObjectFormat::Sha1 => 20,
            ObjectFormat::Sha256 => 32,
        }
    }
}

/// An index in memory, with the time its file had: entries not older than it may have changed unseen.
pub struct Index {
    bytes: Vec<u8>,
    format: ObjectFormat,
    paths: Vec<u8>,
    entries: Vec<Entry>,
    written: Timespec,
}

struct Entry {
    /// Where its stat data begins.
    at: usize,
    mode: u32,
    path: Range<usize>,
    /// Stage 0, neither assume-valid nor skip-worktree nor intent-to-add.
    is_plain: bool,
}

/// One tracked path.
#[derive(Clone, Copy)]
pub struct Tracked<'a> {
    index: &'a Index,
    number: usize,
}

/// What git remembers of a file to know it unchanged: seconds, nanoseconds, the lower 32 bits of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatData {
    pub ctime: (u32, u32),
    pub mtime: (u32, u32),
    pub ino: u32,
    pub size: u32,
}

impl StatData {
    pub fn of(stat: &Stat) -> StatData {
        let time = |t: Timespec| (t.sec as u32, t.nsec);
        StatData { ctime: time(stat.ctime), mtime: time(stat.mtime), ino: stat.ino as u32, size: stat.size as u32 }
    }
}

impl Index {
    /// Reads an index file. `None` when there is none, or when it is of a kind this reader declines.
    pub fn read(file: &Path, format: ObjectFormat) -> Result<Option<Index>, IoError> {
        let Some(stat) = path::stat(file)? else { return Ok(None) };
        Ok(path::read_if_there(file)?.and_then(|bytes| Index::parse(bytes, format, stat.mtime)))
    }

    fn parse(bytes: Vec<u8>, format: ObjectFormat, written: Timespec) -> Option<Index> {
        let version = be32(&bytes, 4)?;
        if bytes.get(..4)? != b"DIRC" || !(2..=4).contains(&version) {
            return None;
        }
        let count = be32(&bytes, 8)? as usize;
        let mut index = Index { bytes, format, paths: Vec::new(), entries: Vec::new(), written };
        let mut at = 12;
        let mut previous = 0..0;
        for _ in 0..count {
            at = index.parse_entry(at, version, &mut previous)?;
        }
        let end = index.bytes.len().checked_sub(format.len())?;
        while at + 8 <= end {
            if index.bytes.get(at..at + 4)? == b"link" {
                return None;
            }
            at = at.checked_add(8)?.checked_add(be32(&index.bytes, at + 4)? as usize)?;
        }
        (at == end).then_some(index)
    }

    /// Takes the entry at `at` in; answers where the next one begins.
    fn parse_entry(&mut self, at: usize, version: u32, previous: &mut Range<usize>) -> Option<usize> {
        let bytes = &self.bytes;
        let mode = be32(bytes, at + 24)?;
        let flags_at = at + 40 + self.format.len();
        let flags = be16(bytes, flags_at)?;
        let extended = if flags & 0x4000 != 0 { be16(bytes, flags_at + 2)? } else { 0 };
        let mut name_at = flags_at + if flags & 0x4000 != 0 { 4 } else { 2 };
        let start = self.paths.len();
        if version == 4 {
            let (dropped, next) = varint(bytes, name_at)?;
            name_at = next;
            let keep = previous.len().checked_sub(dropped)?;
            self.paths.extend_from_within(previous.start..previous.start + keep);
        }
        let len = bytes.get(name_at..)?.iter().position(|b| *b == 0)?;
        self.paths.extend_from_slice(&bytes[name_at..name_at + len]);
        *previous = start..self.paths.len();
        // assume-valid, stage; skip-worktree, intent-to-add.
        let is_plain = flags & 0xb000 == 0 && extended & 0x6000 == 0;
        self.entries.push(Entry { at, mode, path: previous.clone(), is_plain });
        let end = name_at + len;
        // Versions 2 and 3 pad with 1 to 8 NULs to a multiple of eight, counted from the entry's start.
        Some(if version == 4 { end + 1 } else { at + ((end - at + 8) & !7) })
    }

    /// All tracked paths, in git's order (bytes of the path).
    pub fn tracked(&self) -> impl Iterator<Item = Tracked<'_>> {
        (0..self.entries.len()).map(|number| Tracked { index: self, number })
    }

    /// Submodules: paths of mode 160000.
    pub fn gitlinks(&self) -> impl Iterator<Item = Tracked<'_>> {
        self.tracked().filter(|t| t.mode() == 0o160000)
    }

    /// Whether a tracked path is `path` or lies below it.
    pub fn tracks_below(&self, path: &[u8]) -> bool {
        let from = self.entries.partition_point(|e| &self.paths[e.path.clone()] < path);
        let below = |e: &Entry| match self.paths[e.path.clone()].strip_prefix(path) {
            Some(rest) => rest.is_empty() || rest[0] == b'/',
            None => false,
        };
        // Names such as `path.c` and `path-x` may stand between `path` and `path/…`.
        let candidates = self.entries[from..].iter().take_while(|e| self.paths[e.path.clone()].starts_with(path));
        candidates.into_iter().any(below)
    }

    /// Writes the index again with new times for some entries, under git's lock. `false`: someone holds the
    /// lock, nothing was written. The file keeps its own time, so that an entry git has to look at again
    /// (changed in the very moment the index was written) stays such an entry.
    pub fn write_times(&mut self, file: &Path, times: &[(usize, Timespec, Timespec)]) -> Result<bool, IoError> {
        for (number, ctime, mtime) in times {
            let at = self.entries[*number].at;
            for (offset, value) in [ctime.sec as u32, ctime.nsec, mtime.sec as u32, mtime.nsec].into_iter().enumerate()
            {
                self.bytes[at + 4 * offset..at + 4 * offset + 4].copy_from_slice(&value.to_be_bytes());
            }
        }
        self.seal();
        let lock = file.with_extension("lock");
        if path::write_new(&lock, &self.bytes)?.is_none() {
            return Ok(false);
        }
        path::set_mtime(&lock, self.written).and_then(|()| path::rename(&lock, file)).map(|()| true).inspect_err(|_| {
            let _ = path::remove_file(&lock);
        })
    }

    /// Puts the hash at the end right again, unless it is switched off.
    fn seal(&mut self) {
        let end = self.bytes.len() - self.format.len();
        let (body, hash) = self.bytes.split_at_mut(end);
        if hash.iter().any(|b| *b != 0) {
            match self.format {
                ObjectFormat::Sha1 => hash.copy_from_slice(&Sha1::digest(body)),
                ObjectFormat::Sha256 => hash.copy_from_slice(&Sha256::digest(body)),
            }
        }
    }
}

impl<'a> Tracked<'a> {
    fn entry(&self) -> &'a Entry {
        &self.index.entries[self.number]
    }

    /// Its place in the index, for [`Index::write_times`].
    pub fn number(&self) -> usize {
        self.number
    }

    pub fn path(&self) -> &'a [u8] {
        &self.index.paths[self.entry().path.clone()]
    }

    /// Type and permission as git has them: 100644, 100755, 120000, 160000.
    pub fn mode(&self) -> u32 {
        self.entry().mode
    }

    pub fn id(&self) -> &'a [u8] {
        let at = self.entry().at + 40;
        &self.index.bytes[at..at + self.index.format.len()]
    }

    /// Whether the file on disk is what the entry speaks of: no conflict, no flag that hides it.
    pub fn is_plain(&self) -> bool {
        self.entry().is_plain
    }

    pub fn stat_data(&self) -> StatData {
        let at = self.entry().at;
        let field = |n: usize| be32(&self.index.bytes, at + 4 * n).expect("the entry was read from here");
        StatData { ctime: (field(0), field(1)), mtime: (field(2), field(3)), ino: field(5), size: field(9) }
    }

    /// Whether the file had its entry's time in the moment the index was written, so that a change right after
    /// it can't be seen in the stat data ("racily clean").
    pub fn is_racy(&self) -> bool {
        let written = self.index.written;
        self.stat_data().mtime >= (written.sec as u32, written.nsec)
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The offset encoding of pack files: seven bits a byte, most significant first, one added for each carry.
fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut byte = *bytes.get(at)?;
    let mut value = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        at += 1;
        byte = *bytes.get(at)?;
        value = value.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
    }
    Some((value, at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_bytes_are_declined_and_never_panic() {
        let entry = |name: &[u8]| {
            let mut e = vec![0; 62];
            e[27] = 1;
            e.extend_from_slice(name);
            e.resize((e.len() + 8) & !7, 0);
            e
        };
        let mut good = b"DIRC\0\0\0\x02\0\0\0\x02".to_vec();
        good.extend(entry(b"a"));
        good.extend(entry(b"dir/b"));
        good.extend([7; 20]);
        let index = Index::parse(good.clone(), ObjectFormat::Sha1, Timespec::default()).unwrap();
        assert_eq!(index.tracked().map(|t| t.path().to_vec()).collect::<Vec<_>>(), [&b"a"[..], b"dir/b"]);
        assert!(index.tracks_below(b"dir") && !index.tracks_below(b"di") && index.tracks_below(b"a"));
        for cut in 0..good.len() {
            assert!(Index::parse(good[..cut].to_vec(), ObjectFormat::Sha1, Timespec::default()).is_none(), "{cut}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xff;
            let _ = Index::parse(bad, ObjectFormat::Sha1, Timespec::default());
        }
    }
}
