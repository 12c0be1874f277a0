//! Large objects are compared with their names in the background, each once in a store, as none is read to its end
//! before its first byte is served.
//!
//! For each sound one a file in `checked`, named by the object's id, records which file held its bytes ([`FileTimes`]):
//! as long as that one is there and unchanged, no process reads it for this again. Damaged objects are noted elsewhere
//! (`lost.rs`). One process at a time reads.

use std::time::Instant;

use super::damage::{CHECKED, DAMAGED};
use super::lost::write_note;
use super::{FileTimes, OTHER_BYTES, ObjectId, Store, StoreError};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::lock::Lock;
use crate::sys::{IoError, path as paths};

/// The number of the lock that a checking process has on the file `turns`.
const TURN: u64 = u64::MAX;
/// So much is read at a time.
const PIECE: usize = 1 << 20;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// All bytes were read, now or by an earlier check, and have the hash in the name.
    Sound,
    /// The damage is noted.
    Damaged,
    /// Another process checks something, or the file is being replaced: to be tried again.
    Busy,
    /// By `go_on`.
    Stopped,
}

impl Store {
    /// Compares a large object of `size` bytes with its name, unless that was done. Calls `go_on` after each piece, with when
    /// its reading began; `false` from it ends the check.
    ///
    /// # Errors
    /// The object could not be read for a reason that is not its own, such as too many open files.
    pub fn check_large(
        &self,
        id: &ObjectId,
        size: u64,
        go_on: &mut dyn FnMut(Instant) -> bool,
    ) -> Result<Checked, StoreError> {
        let bytes = match self.objects().content_of(id, size) {
            Ok(bytes) => bytes,
            Err(why @ (StoreError::NoObject(_) | StoreError::BadObject { .. })) => {
                self.objects().report_lost(id, &why);
                return Ok(Checked::Damaged);
            }
            Err(e) => return Err(e),
        };
        // Packs hold small objects only.
        let Some(file) = bytes.as_file() else { return Ok(Checked::Sound) };
        let failed = |e| IoError::of("read", &self.objects().path_of(id))(e);
        let stat = fs::stat(file).map_err(failed)?;
        if let Some(known) = self.was_checked(id, &FileTimes::of(&stat)) {
            return Ok(known);
        }
        let Some(_turn) = self.try_check() else { return Ok(Checked::Busy) };
        if let Some(known) = self.was_checked(id, &FileTimes::of(&stat)) {
            return Ok(known);
        }
        let found = match hash(&bytes, go_on) {
            Ok(None) => return Ok(Checked::Stopped),
            Ok(Some(found)) => Ok(found),
            // A bad sector. Another error may be this process's own.
            Err(e) if e.raw_os_error() == Some(libc::EIO) => Err(failed(e)),
            Err(e) => return Err(failed(e).into()),
        };
        if FileTimes::of(&fs::stat(file).map_err(failed)?) != FileTimes::of(&stat) {
            return Ok(Checked::Busy);
        }
        match found {
            Ok(found) if found == *id => self.note_checked(id, &FileTimes::of(&stat)),
            Ok(_) => {
                let why = StoreError::BadObject { id: *id, why: OTHER_BYTES };
                self.objects().lost().report_bad(id, &stat, &why);
                return Ok(Checked::Damaged);
            }
            Err(why) => {
                self.objects().report_lost(id, &why.into());
                return Ok(Checked::Damaged);
            }
        }
        self.objects().lost().is_sound(id);
        Ok(Checked::Sound)
    }

    /// The result of an earlier check of this file, by any process.
    fn was_checked(&self, id: &ObjectId, times: &FileTimes) -> Option<Checked> {
        let noted = |dir: &str| {
            let note = paths::read_if_there(&self.path().join(dir).join(id.hex())).ok()??;
            FileTimes::of_note(id, &note).filter(|noted| noted == times)
        };
        if noted(CHECKED).is_some() {
            return Some(Checked::Sound);
        }
        let bad = noted(DAMAGED)?;
        self.objects().lost().learn(&[(*id, Some(bad))]);
        Some(Checked::Damaged)
    }

    fn note_checked(&self, id: &ObjectId, times: &FileTimes) {
        let dir = self.path().join(CHECKED);
        let write =
            || paths::make_dir(&dir).and_then(|_| write_note(self.path(), &dir.join(id.hex()), &times.note(id)));
        if let Err(e) = write() {
            tracing::debug!("object {id} will be read again by the next who checks it: {e}");
        }
    }

    fn try_check(&self) -> Option<Lock> {
        let turns = self.path().join("turns");
        let file = fs::open_path(&turns, OpenFlags::RDWR | OpenFlags::CREATE, 0o666).ok()?;
        Lock::try_numbered(file, TURN).ok().flatten()
    }
}

/// The hash of all bytes; nothing when `go_on` ended it.
fn hash(bytes: &Extent, go_on: &mut dyn FnMut(Instant) -> bool) -> std::io::Result<Option<ObjectId>> {
    let (mut hasher, mut at, mut buf) = (blake3::Hasher::new(), 0, vec![0; PIECE]);
    loop {
        let begun = Instant::now();
        let n = bytes.read_once(&mut buf, at)?;
        if n == 0 {
            return Ok(Some(ObjectId(*hasher.finalize().as_bytes())));
        }
        hasher.update(&buf[..n]);
        at += n as u64;
        if !go_on(begun) {
            return Ok(None);
        }
    }
}
