//! The journal of a view: the state that a plain directory can't hold, appended as it changes.
//!
//! `journal` in the view's state directory is a header of 16 bytes (`depsfsJ\n`, version u32, zero u32) and then frames
//! (`framing.rs`, `bytes.rs`). Appending is one `write(2)`; the file is never changed in place. It holds no user's
//! bytes. A change that also needs a step in the upper is *prepared* first:
//!
//! | step                      | a crash right after it leaves                                    |
//! |---------------------------|------------------------------------------------------------------|
//! | 1. prepared frame         | a frame without an end: its check finds the upper unchanged, it is void |
//! | 2. the call on the upper  | a frame without an end: its check finds the change, it holds       |
//! | 3. done frame             | the change, whole                                                |
//!
//! If the third step fails, the frame is *owed*: until it is appended, nothing else is, and nothing changes in the
//! upper.
//!
//! A power cut may keep a change of names or metadata in the upper and lose the records before it: those are only bytes
//! of a file, which a file system writes when it likes. So before names or metadata of the upper change, such records
//! are written ([`Journal::precede`]); a flush of the disk's cache is not needed. The other way round nothing is
//! needed: on ext4 and xfs the journal's new size is committed with or after the names that were changed before. If
//! that write fails, the contents of the disk are unknown, and the kernel won't try again (fsync(2)): the journal must
//! be written anew before anything else changes ([`Journal::is_lost`]).
//!
//! So that names can be deleted on a full disk, the file has room beyond its end ([`RESERVE`]).
//!
//! Compaction writes the state to a new file, syncs it and renames it over the old one. Of a damaged journal a copy is
//! kept first ([`DAMAGED`]), in the view's state directory, until its user deletes that.

mod bytes;
mod file;
mod format;
mod framing;
mod record;
mod sync;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::fs::{self, FallocateFlags, OpenFlags};
use crate::sys::log::OrWarn;
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, fs_type};

pub(crate) use file::{DAMAGED, ELSEWHERE};
use file::{check_header, contents, header_of, put};
pub use file::{copy, elsewhere, version};
pub use format::JournalError;
use format::{HEADER, NEWER, VERSION};
pub use framing::Frames;
pub(crate) use framing::JournalPiece;
use framing::framed;

pub use record::{Check, Frame, MetaChange, Record};
pub(crate) use sync::Unsynced;

/// Bytes beyond the end of the file that its disk keeps for it; enough to delete thousands of names. It is made full
/// again when half of it is used, as long as the disk has room.
const RESERVE: u64 = 128 << 10;

/// An open journal; the position is the end of its last whole frame.
#[derive(Debug)]
pub struct Journal {
    dir: OwnedFd,
    path: PathBuf,
    file: Arc<OwnedFd>,
    version: u32,
    len: u64,
    /// The counter of appends, to find which of them a sync covers.
    appended: u64,
    unsynced: bool,
    /// It was renamed over the one before, and its name may not be on disk.
    is_renamed: bool,
    /// Something that is ordered, or the end of it, may not be written to disk yet.
    is_pending: bool,
    /// The last prepared frame has records that are ordered.
    prepared_ordered: bool,
    /// Half a frame may be behind the end.
    is_torn: bool,
    /// The end of the last prepared frame, while it could not be appended.
    owed: Option<Frame>,
    /// Appended frames may never reach the disk.
    is_lost: bool,
    /// Up to here the disk has room for it.
    reserved: u64,
    /// When it was last changed before it was opened, in nanoseconds.
    pub written: i128,
}

impl Journal {
    /// Opens `dir/journal`, or makes an empty one, and gives what it holds. A torn end is cut off; of a damaged journal
    /// a copy is kept in `dir` first.
    ///
    /// # Errors
    /// A file that isn't a journal, or of another version, is refused and left alone.
    pub fn open(dir: &Path) -> Result<(Journal, Frames), JournalError> {
        let fd = fs::open_path(dir, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0).map_err(IoError::of("open", dir))?;
        Journal::open_in(fd, dir, dir)
    }

    /// As [`Journal::open`], in a directory that is open; `path` names it in errors. The copy goes to `state_dir`.
    pub(crate) fn open_in(dir: OwnedFd, path: &Path, state_dir: &Path) -> Result<(Journal, Frames), JournalError> {
        let path = path.join("journal");
        let file = Arc::new(file::open(&dir, &path)?);
        let mut bytes = contents(&file, &path)?;
        let mtime = fs::stat(&*file).map_err(IoError::of("look at", &path))?.mtime;
        let mut journal = Journal {
            dir,
            path,
            file,
            version: VERSION,
            len: HEADER as u64,
            appended: 0,
            unsynced: false,
            is_renamed: false,
            is_pending: true,
            prepared_ordered: true,
            is_torn: false,
            owed: None,
            is_lost: false,
            reserved: 0,
            written: i128::from(mtime.sec) * 1_000_000_000 + i128::from(mtime.nsec),
        };
        let mut frames = Frames::default();
        if bytes.len() < HEADER && header_of(VERSION).starts_with(&bytes) {
            journal.write_at(&header_of(VERSION), 0)?;
        } else {
            journal.version = check_header(&bytes, &journal.path)?;
            let rest = bytes.split_off(HEADER);
            frames = Frames::of(rest);
            journal.adopt(&frames, state_dir)?;
        }
        journal.reserve();
        Ok((journal, frames))
    }

    /// Sets the end behind the last frame, and reports damage.
    fn adopt(&mut self, frames: &Frames, state_dir: &Path) -> Result<(), JournalError> {
        self.len = (HEADER + frames.used()) as u64;
        if let Some(lost) = frames.damage() {
            let copy = file::keep_damaged(state_dir, &contents(&self.file, &self.path)?)?;
            let what = if lost == 0 { "nothing of it is lost".into() } else { format!("{lost} bytes of it are lost") };
            tracing::error!("the journal {} was damaged: {what}; a copy is {}", self.path.shown(), copy.shown());
        }
        if frames.torn() > 0 {
            tracing::warn!("the journal {} ended in {} bytes of a change", self.path.shown(), frames.torn());
            fs::truncate(&*self.file, self.len).map_err(IoError::of("truncate", &self.path))?;
        }
        Ok(())
    }

    /// Appends one frame. On an error nothing is appended: the written part of the frame is cut off.
    ///
    /// # Errors
    /// [`JournalError::TooLong`] for a frame that could not be read back. Also the error of completing an earlier
    /// append, if that fails again.
    pub fn append(&mut self, frame: &Frame) -> Result<(), JournalError> {
        self.make_good()?;
        self.append_alone(frame)
    }

    /// Appends the end of a prepared change: [`Frame::Done`] or [`Frame::Undone`]. If that fails, the end is owed.
    pub fn finish(&mut self, end: Frame) {
        if let Err(e) = self.append(&end) {
            tracing::warn!("the end of a change is not in the journal yet: {e}");
            self.owed = Some(end);
        }
    }

    /// Does what failed before.
    pub(crate) fn make_good(&mut self) -> Result<(), JournalError> {
        if self.is_lost {
            let lost = io::Error::from_raw_os_error(libc::EIO);
            return Err(IoError::of("write", &self.path)(lost).into());
        }
        if self.is_torn {
            self.cut_off()?;
        }
        match self.owed.take() {
            Some(end) => self.append_alone(&end).inspect_err(|_| self.owed = Some(end)),
            None => Ok(()),
        }
    }

    fn append_alone(&mut self, frame: &Frame) -> Result<(), JournalError> {
        let (bytes, is_newer) = framed(frame)?;
        if is_newer && self.version != NEWER {
            self.upgrade()?;
        }
        if let Err(e) = self.write_at(&bytes, self.len) {
            self.is_torn = true;
            // As long as that fails nothing is appended.
            self.cut_off().or_warn("half a change stays at the end of the journal for now");
            return Err(e);
        }
        self.len += bytes.len() as u64;
        self.appended += 1;
        self.unsynced = true;
        self.is_pending |= match frame {
            Frame::Plain(records) | Frame::Part(records) => records.iter().any(Record::is_ordered),
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

    /// Takes back what was written of a frame.
    fn cut_off(&mut self) -> Result<(), JournalError> {
        let size = fs::stat(&*self.file).map_err(IoError::of("look at", &self.path))?.size;
        // ftruncate(2) gives the room beyond the end back, even if the length stays.
        if size != self.len {
            fs::truncate(&*self.file, self.len).map_err(IoError::of("truncate", &self.path))?;
            self.reserved = 0;
            self.reserve();
        }
        self.is_torn = false;
        Ok(())
    }

    /// Reserves room behind the end. If the disk is full, the rest of the last reserve is used up.
    fn reserve(&mut self) {
        let flags = FallocateFlags::KEEP_SIZE;
        if fs::fallocate(&*self.file, flags, self.len, RESERVE).is_ok() {
            self.reserved = self.len + RESERVE;
        }
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), JournalError> {
        Ok(fs::write_all_at(&*self.file, bytes, at).map_err(IoError::of("write", &self.path))?)
    }

    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No frame is in the file.
    pub fn is_empty(&self) -> bool {
        self.len == HEADER as u64
    }

    /// Keeps a copy of the file in `state_dir`, as of a damaged journal, and gives its path.
    pub(crate) fn keep_copy(&self, state_dir: &Path) -> Result<PathBuf, JournalError> {
        file::keep_damaged(state_dir, &contents(&self.file, &self.path)?)
    }

    /// Continues in another directory, with a journal of `records`.
    pub(crate) fn move_to(&mut self, dir: &Path, records: Vec<Record>) -> Result<(), JournalError> {
        let fd = fs::open_path(dir, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0).map_err(IoError::of("open", dir))?;
        let before = (std::mem::replace(&mut self.dir, fd), std::mem::replace(&mut self.path, dir.join("journal")));
        self.rewrite(records).inspect_err(|_| (self.dir, self.path) = before)
    }

    /// An earlier program made the file, and it can't be appended to on a full disk as one of ours can.
    pub fn is_dated(&self) -> bool {
        fs_type::is_written_elsewhere(&*self.file)
    }

    /// Replaces the whole journal by one of `records`.
    ///
    /// # Errors
    /// The new file cannot be written; the former one stays.
    pub fn rewrite(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        let version = if records.iter().any(Record::is_newer) { NEWER } else { VERSION };
        let mut bytes = header_of(version).to_vec();
        for record in records {
            bytes.extend(framed(&Frame::Plain(vec![record]))?.0);
        }
        self.replace(version, &bytes)
    }

    /// The same journal, in the newer format.
    fn upgrade(&mut self) -> Result<(), JournalError> {
        let mut bytes = contents(&self.file, &self.path)?;
        bytes.truncate(self.len as usize);
        bytes[..HEADER].copy_from_slice(&header_of(NEWER));
        self.replace(NEWER, &bytes)
    }

    fn replace(&mut self, version: u32, bytes: &[u8]) -> Result<(), JournalError> {
        self.file = Arc::new(put(&self.dir, &self.path, bytes)?);
        (self.version, self.len) = (version, bytes.len() as u64);
        self.appended += 1;
        (self.unsynced, self.is_renamed, self.is_pending) = (false, true, false);
        (self.is_torn, self.is_lost, self.owed) = (false, false, None);
        self.reserve();
        Ok(())
    }
}
