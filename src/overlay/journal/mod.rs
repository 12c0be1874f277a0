//! The journal of a view: what a plain directory can't say, appended as it happens.
//!
//! `journal` in the view's state directory is a header of 16 bytes (`depsfsJ\n`, version u32 = 1, zero u32)
//! and then frames (see `bytes.rs`). Appending is one `write(2)`; the file is never changed in place. It
//! holds no user's bytes. A change that also needs a step in the upper is *prepared* first:
//!
//! | step                      | a crash right after it leaves                                    |
//! |---------------------------|------------------------------------------------------------------|
//! | 1. prepared frame         | a frame without an end: its check finds the upper unchanged, it is void |
//! | 2. the call on the upper  | a frame without an end: its check finds the change, it holds       |
//! | 3. done frame             | the change, whole                                                |
//!
//! A power cut may keep a change of names or metadata in the upper and lose the records before it: those are only bytes
//! of a file, which a file system writes when it likes. So before names or metadata of the upper change, what was
//! appended of such is written ([`Journal::precede`]); the disk's cache needn't be waited for. The other way round nothing is needed: on ext4 and
//! xfs the journal's new size is committed with or after the names that were changed before.
//!
//! So that names can be deleted on a full disk, the file has room beyond its end ([`RESERVE`]).
//!
//! Compaction writes the state anew aside, syncs it and renames it over the old file.

mod bytes;
mod record;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::IoError;
use crate::sys::copy::write_back;
use crate::sys::fs::{self, FallocateFlags, OpenFlags, RenameFlags};
use crate::sys::terminal::Shown;

pub use record::{Check, Frame, Malformed, Meta, Record};

const MAGIC: &[u8; 8] = b"depsfsJ\n";
const VERSION: u32 = 1;
/// Of a file that only says that the journal is in the upper (`home.rs`).
pub const ELSEWHERE: u32 = 2;
const HEADER: usize = 16;
/// No frame is longer: the largest is one metadata record with all its xattrs.
const FRAME_MAX: usize = 16 << 20;
/// Bytes beyond the end of the file that its disk keeps for it; enough to delete thousands of names. It is made full
/// again when half of it is used, as long as the disk has room.
const RESERVE: u64 = 128 << 10;

/// An open journal; the position is the end of its last whole frame.
#[derive(Debug)]
pub struct Journal {
    dir: OwnedFd,
    path: PathBuf,
    file: Arc<OwnedFd>,
    len: u64,
    unsynced: bool,
    /// It was renamed over the one before, and its name may not be on disk.
    is_renamed: bool,
    /// Something that is ordered, or the end of it, may not be written to disk yet.
    is_pending: bool,
    /// What was prepared last is ordered.
    prepared_ordered: bool,
    /// Up to here the disk has room for it.
    reserved: u64,
}

/// The journal as it was at one moment.
#[derive(Debug)]
pub struct Unsynced {
    file: Arc<OwnedFd>,
    path: PathBuf,
    len: u64,
    is_renamed: bool,
}

impl Unsynced {
    /// Waits until it is on disk.
    pub fn sync(&self) -> Result<(), JournalError> {
        // With its name, which fdatasync(2) doesn't promise.
        let synced = if self.is_renamed { fs::fsync(&*self.file) } else { fs::fdatasync(&*self.file) };
        Ok(synced.map_err(IoError::of("sync", &self.path))?)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("{} is not a journal of depsfs", path.shown())]
    NotAJournal { path: PathBuf },
    #[error("{} has format {version}; this program knows format {VERSION}", path.shown())]
    Version { path: PathBuf, version: u32 },
}

/// Splits the bytes after the header into frames, and says how many bytes they fill: what comes after
/// that is a torn append.
pub fn parse(mut bytes: &[u8]) -> (Vec<Frame>, usize) {
    let (mut frames, mut used) = (Vec::new(), 0);
    while let Some((head, rest)) = bytes.split_at_checked(8) {
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if len > FRAME_MAX {
            break;
        }
        let Some((payload, rest)) = rest.split_at_checked(len) else { break };
        if checksum(payload) != sum {
            break;
        }
        let Ok(frame) = Frame::decode(payload) else { break };
        frames.push(frame);
        used += 8 + len;
        bytes = rest;
    }
    (frames, used)
}

fn checksum(payload: &[u8]) -> u32 {
    xxhash_rust::xxh3::xxh3_64(payload) as u32
}

fn header() -> [u8; HEADER] {
    header_of(VERSION)
}

/// The whole file that says that the journal is elsewhere.
pub fn elsewhere() -> [u8; HEADER] {
    header_of(ELSEWHERE)
}

fn header_of(version: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&version.to_le_bytes());
    out
}

/// The version that the journal in `dir` says it has; none when there is none. `path` names the directory in errors.
pub fn version(dir: &OwnedFd, path: &Path) -> Result<Option<u32>, JournalError> {
    let path = path.join("journal");
    let file = match fs::open_at(dir, b"journal", OpenFlags::RDONLY, 0) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(IoError::of("open", &path))?,
    };
    let mut bytes = [0; HEADER];
    let read = fs::read_at(&file, &mut bytes, 0).map_err(IoError::of("read", &path))?;
    // What else may be wrong with it is found when it is opened.
    let is_whole = read == HEADER && bytes.starts_with(MAGIC);
    Ok(Some(if is_whole { u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) } else { VERSION }))
}

/// Makes the journal of `from`, as it is, that of `to`, too; its bytes are on disk then.
pub fn copy(from: &OwnedFd, to: &OwnedFd, path: &Path) -> Result<(), JournalError> {
    let path = path.join("journal");
    let file = fs::open_at(from, b"journal", OpenFlags::RDONLY, 0).map_err(IoError::of("open", &path))?;
    let size = fs::stat(&file).map_err(IoError::of("read", &path))?.size;
    let mut bytes = vec![0; size as usize];
    let read = fs::read_at(&file, &mut bytes, 0).map_err(IoError::of("read", &path))?;
    put(to, &path, &bytes[..read]).map(drop)
}

/// Replaces the journal in `dir` by these bytes, which are on disk then.
fn put(dir: &OwnedFd, path: &Path, bytes: &[u8]) -> Result<OwnedFd, JournalError> {
    let aside = path.with_extension("new");
    let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::TRUNC;
    let file = fs::open_at(dir, b"journal.new", flags, 0o600).map_err(IoError::of("create", &aside))?;
    let wrote = fs::write_at(&file, bytes, 0).map_err(IoError::of("write", &aside))?;
    if wrote < bytes.len() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        return Err(IoError::of("write", &aside)(full).into());
    }
    fs::fdatasync(&file).map_err(IoError::of("sync", &aside))?;
    fs::rename_at(dir, b"journal.new", dir, b"journal", RenameFlags::empty()).map_err(IoError::of("replace", path))?;
    Ok(file)
}

fn framed(frame: &Frame) -> Vec<u8> {
    let payload = frame.encode();
    let mut out = Vec::with_capacity(payload.len() + 8);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(checksum(&payload).to_le_bytes());
    out.extend(payload);
    out
}

impl Journal {
    /// Opens `dir/journal`, or makes an empty one, and gives the frames it holds. A torn end is cut off.
    ///
    /// # Errors
    /// A file that isn't a journal, or of another version, is refused and left alone.
    pub fn open(dir: &Path) -> Result<(Journal, Vec<Frame>), JournalError> {
        let fd = fs::open_path(dir, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0).map_err(IoError::of("open", dir))?;
        Journal::open_in(fd, dir)
    }

    /// As [`Journal::open`], in a directory that is open; `path` names it in errors.
    pub fn open_in(dir: OwnedFd, path: &Path) -> Result<(Journal, Vec<Frame>), JournalError> {
        let path = path.join("journal");
        let flags = OpenFlags::RDWR | OpenFlags::CREATE;
        let file = fs::open_at(&dir, b"journal", flags, 0o600).map_err(IoError::of("open", &path))?;
        let size = fs::stat(&file).map_err(IoError::of("read", &path))?.size;
        let mut bytes = vec![0; size as usize];
        let read = fs::read_at(&file, &mut bytes, 0).map_err(IoError::of("read", &path))?;
        bytes.truncate(read);
        let mut journal = Journal {
            dir,
            path,
            file: Arc::new(file),
            len: 0,
            unsynced: false,
            is_renamed: false,
            is_pending: true,
            prepared_ordered: true,
            reserved: 0,
        };
        let frames = journal.adopt(&bytes)?;
        journal.reserve();
        Ok((journal, frames))
    }

    /// Reads the frames of `bytes`, the whole file, and sets the end behind the last whole one.
    fn adopt(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, JournalError> {
        if bytes.len() < HEADER && header().starts_with(bytes) {
            self.write_at(&header(), 0)?;
            self.len = HEADER as u64;
            return Ok(Vec::new());
        }
        if !bytes.starts_with(MAGIC) || bytes.len() < HEADER || bytes[12..HEADER] != [0; 4] {
            return Err(JournalError::NotAJournal { path: self.path.clone() });
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version != VERSION {
            return Err(JournalError::Version { path: self.path.clone(), version });
        }
        let (frames, used) = parse(&bytes[HEADER..]);
        self.len = (HEADER + used) as u64;
        if self.len < bytes.len() as u64 {
            fs::truncate(&*self.file, self.len).map_err(IoError::of("truncate", &self.path))?;
        }
        Ok(frames)
    }

    /// Appends one frame. On an error nothing is appended: what was written of it is cut off.
    pub fn append(&mut self, frame: &Frame) -> Result<(), JournalError> {
        let bytes = framed(frame);
        if let Err(e) = self.write_at(&bytes, self.len) {
            self.cut_off();
            return Err(e);
        }
        self.len += bytes.len() as u64;
        self.unsynced = true;
        self.is_pending |= match frame {
            Frame::Plain(records) => records.iter().any(Record::is_ordered),
            Frame::Prepared(_, records) => {
                self.prepared_ordered = records.iter().any(Record::is_ordered);
                self.prepared_ordered
            }
            Frame::Done | Frame::Undone => self.prepared_ordered,
        };
        if self.len + RESERVE / 2 > self.reserved {
            self.reserve();
        }
        Ok(())
    }

    /// Takes back what was written of a frame. A torn one is cut off at the next open too, so a second failure here
    /// changes nothing.
    fn cut_off(&mut self) {
        // ftruncate(2) gives the room beyond the end back, even if the length stays.
        if fs::stat(&*self.file).is_ok_and(|stat| stat.size == self.len) || fs::truncate(&*self.file, self.len).is_err()
        {
            return;
        }
        self.reserved = 0;
        self.reserve();
    }

    /// Where there is no room, what is left of the last reserve is used up.
    fn reserve(&mut self) {
        let flags = FallocateFlags::KEEP_SIZE;
        if fs::fallocate(&*self.file, flags, self.len, RESERVE).is_ok() {
            self.reserved = self.len + RESERVE;
        }
    }

    /// After a power cut, what was said so far of names and metadata is there if any change of such is that is made in
    /// the upper from now on.
    pub fn precede(&mut self) -> Result<(), JournalError> {
        if self.is_pending { self.write_back() } else { Ok(()) }
    }

    /// As [`Journal::precede`], for all that was said.
    pub fn write_back(&mut self) -> Result<(), JournalError> {
        write_back(&*self.file).map_err(IoError::of("write", &self.path))?;
        self.is_pending = false;
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), JournalError> {
        let wrote = fs::write_at(&*self.file, bytes, at).map_err(IoError::of("write", &self.path))?;
        if wrote < bytes.len() {
            let full = io::Error::from_raw_os_error(libc::ENOSPC);
            return Err(IoError::of("write", &self.path)(full).into());
        }
        Ok(())
    }

    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No frame is in the file.
    pub fn is_empty(&self) -> bool {
        self.len == HEADER as u64
    }

    /// What was appended so far is on disk when this returns.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        let Some(unsynced) = self.to_sync() else { return Ok(()) };
        unsynced.sync()?;
        self.synced(&unsynced);
        Ok(())
    }

    /// What has to be synced so that everything appended so far is on disk; `None`: it is. No lock has to be held for it.
    pub fn to_sync(&self) -> Option<Unsynced> {
        let is_due = self.unsynced || self.is_renamed;
        is_due.then(|| Unsynced {
            file: self.file.clone(),
            path: self.path.clone(),
            len: self.len,
            is_renamed: self.is_renamed,
        })
    }

    /// To be called after [`Unsynced::sync`], whatever was appended meanwhile.
    pub fn synced(&mut self, done: &Unsynced) {
        // Of one that was replaced meanwhile, the new file has its bytes on disk, and the old one stays at the name until
        // the new one is there.
        if !Arc::ptr_eq(&self.file, &done.file) {
            return;
        }
        self.is_renamed &= !done.is_renamed;
        if self.len == done.len {
            (self.unsynced, self.is_pending) = (false, false);
        }
    }

    /// Goes on in another directory, with a journal that says `records`.
    pub fn move_to(&mut self, dir: &Path, records: Vec<Record>) -> Result<(), JournalError> {
        let fd = fs::open_path(dir, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0).map_err(IoError::of("open", dir))?;
        let before = (std::mem::replace(&mut self.dir, fd), std::mem::replace(&mut self.path, dir.join("journal")));
        self.rewrite(records).inspect_err(|_| (self.dir, self.path) = before)
    }

    /// Replaces the whole journal by one that says `records`.
    pub fn rewrite(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        let mut bytes = header().to_vec();
        for record in records {
            bytes.extend(framed(&Frame::Plain(vec![record])));
        }
        self.file = Arc::new(put(&self.dir, &self.path, &bytes)?);
        self.len = bytes.len() as u64;
        (self.unsynced, self.is_renamed, self.is_pending) = (false, true, false);
        self.reserve();
        Ok(())
    }
}
