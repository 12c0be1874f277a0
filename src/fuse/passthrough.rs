//! Big files of the store that are read without the server: the kernel is given the store's file when one is opened, and
//! all worktrees share its pages. This needs root, and the support of the kernel and of the store's file system.
//!
//! While a file is open so, the kernel refuses to open it in any other way (`fs/fuse/iomode.c`), and would have a writer
//! or a shared mapping reach the store's file. So such a file has two numbers for the kernel, as if it were two files:
//!
//! | number              | behind it                       | how it is opened                                      |
//! |---------------------|---------------------------------|-------------------------------------------------------|
//! | its inode number    | the object, which never changes | to read only, passed through, always to the same file |
//! | that plus [`OTHER`] | what the view shows             | in any way, through the kernel's cache and the server |
//!
//! It begins with the first. At the first open for writing it *moves* to the second and stays there as long as the
//! connection lives. So no open file of the first kind can write, and none of the second leads to the store. A reader
//! that had it open goes on reading the old bytes, as in the kernel's overlayfs.
//!
//! | request with the first number    | answer                                                                     |
//! |----------------------------------|----------------------------------------------------------------------------|
//! | open to read                     | the store's file, unless it has moved                                      |
//! | open to write, set the size      | ESTALE, once the move is noted: the kernel then looks the name up again and sends the second (`do_filp_open`, `retry_estale`) |
//! | mode, owner, times, attributes   | done: they are the inode's                                                 |
//!
//! Of a file that has moved neither names nor attributes are cached, so that every path leads to its second number and
//! shows changes made under either. Before the second number is reported for the first time, the attributes under the
//! first are invalidated in the kernel. Programs see one inode number: that of the attributes. All other files of such
//! a view are opened by a message, and cached as ever.
//!
//! A file whose object is found to be damaged moves, too: a reader that has it open goes on reading the bytes on disk,
//! every later open is refused, and one after the object was mended is served.
//!
//! The state that a later server needs is sent to the keeper before the kernel is answered ([`Passed`]): the kernel's
//! backing of a file, and the files that have moved. Without it a file that is still open would make every other open
//! of its name fail (EIO).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use fuser::{BackingId, Errno, FileAttr, FileHandle, FopenFlags, INodeNo, OpenAccMode, OpenFlags, ReplyOpen};
use serde::{Deserialize, Serialize};

use super::attr::{file_attr, ino};
use super::errno::RequestOutcome;
use super::{FOREVER, backing};
use crate::overlay::{Attr, Ino, OTHER, Overlay, OverlayError, Stored};
use crate::sys::fuse_dev;
use crate::sys::log::OrWarn;

/// Passed through is nothing.
const OFF: u64 = u64::MAX;
/// The most files that the kernel holds open for a connection; what is opened beyond is cached.
const MOST: usize = 1024;

/// How a file is opened from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    pub ino: u64,
    /// The kernel's number of the store's file; `None`: it has moved.
    pub backing: Option<u32>,
}

/// The files that a connection passes through.
pub struct Passthrough {
    /// Files of the store of at least so many bytes.
    least: AtomicU64,
    known: Mutex<HashMap<Ino, KnownFile>>,
    tell: Box<dyn Fn(Passed) + Send + Sync>,
    device: OnceLock<Arc<OwnedFd>>,
}

enum KnownFile {
    /// Its attributes were invalidated in the kernel.
    Moved,
    /// An earlier server reported the move; it may have died before the invalidation.
    HasMoved,
    /// By this number, which this server or one before got for it.
    Backed(u32),
}

impl Passthrough {
    /// `least`: files of at least so many bytes, or nothing at all; `before`: the reports of earlier servers.
    pub fn new(least: Option<u64>, before: &[Passed], tell: Box<dyn Fn(Passed) + Send + Sync>) -> Arc<Passthrough> {
        let known = |passed: &Passed| (Ino(passed.ino), passed.backing.map_or(KnownFile::HasMoved, KnownFile::Backed));
        let known = before.iter().map(known).collect();
        let least = AtomicU64::new(least.unwrap_or(OFF));
        Arc::new(Passthrough { least, known: Mutex::new(known), tell, device: OnceLock::new() })
    }

    /// To be called before anything is answered.
    pub fn begin(&self, device: Arc<OwnedFd>) {
        if self.device.set(device).is_err() {
            tracing::error!("a session begins twice");
        }
    }

    /// From which size on files are passed through; `None`: none are, and files are opened without a message.
    pub fn least(&self) -> Option<u64> {
        Some(self.least.load(Ordering::Relaxed)).filter(|least| *least != OFF)
    }

    /// To be called before anything was opened only: the kernel never goes back.
    pub fn turn_off(&self) {
        self.least.store(OFF, Ordering::Relaxed);
    }

    /// The answer to a lookup: the attributes with the file's number for the kernel, and the time that both stay valid.
    pub fn named(&self, overlay: &Overlay, attr: &Attr) -> (FileAttr, Duration) {
        let mut named = file_attr(attr);
        match self.place(attr.ino, || overlay.stored(attr.ino)) {
            Place::Ordinary | Place::First => (named, FOREVER),
            Place::Moved => {
                self.move_on(attr.ino);
                named.ino = INodeNo(attr.ino.0 + OTHER);
                (named, Duration::ZERO)
            }
        }
    }

    /// How long the kernel may keep the attributes of a file under its inode number, of which the store has this.
    pub fn lasts(&self, ino: Ino, stored: impl Fn() -> Option<Stored>) -> Duration {
        match self.place(ino, stored) {
            Place::Ordinary | Place::First => FOREVER,
            Place::Moved => Duration::ZERO,
        }
    }

    /// Whether a program with a file open under this number sees the store's bytes while the view shows others.
    pub fn is_outdated(&self, overlay: &Overlay, number: INodeNo) -> bool {
        let stored = || overlay.stored(ino(number));
        ino(number).0 == number.0 && self.is_passed(stored) && stored().is_some_and(|s| s.copied)
    }

    /// Before the size is set under this number: whether the request has to be sent again.
    pub fn moves(&self, overlay: &Overlay, number: INodeNo) -> bool {
        let moves = ino(number).0 == number.0 && self.is_passed(|| overlay.stored(ino(number)));
        if moves {
            self.move_on(ino(number));
        }
        moves
    }

    /// Answers an `open`.
    pub fn open(
        &self,
        (overlay, on): (&Overlay, &impl RequestOutcome),
        number: INodeNo,
        flags: OpenFlags,
        reply: ReplyOpen,
    ) {
        if self.least().is_none() {
            return reply.error(on.refused(Errno::ENOSYS));
        }
        let ino = ino(number);
        if flags.acc_mode() != OpenAccMode::O_WRONLY
            && let Err(e) = overlay.refuse_lost(ino)
        {
            return reply.error(on.failed(&e));
        }
        match self.place(ino, || overlay.stored(ino)) {
            _ if number.0 != ino.0 => {}
            Place::Ordinary => {}
            Place::First if flags.acc_mode() == OpenAccMode::O_RDONLY => return self.pass((overlay, on), ino, reply),
            Place::First | Place::Moved => {
                self.move_on(ino);
                return reply.error(on.refused(Errno::ESTALE));
            }
        }
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    /// Gives the kernel the store's file. If it can't be passed through, the file moves.
    fn pass(&self, (overlay, on): (&Overlay, &impl RequestOutcome), ino: Ino, reply: ReplyOpen) {
        let known = self.known().remove(&ino);
        let backing = match known {
            Some(KnownFile::Backed(id)) => Some(backing::named(&reply, id)),
            Some(KnownFile::Moved | KnownFile::HasMoved) | None => match self.back(overlay, ino, &reply) {
                Ok(backing) => backing,
                // The server reads it, and waits for it.
                Err(OverlayError::AbsentObject(_)) => None,
                Err(e) => return reply.error(on.failed(&e)),
            },
        };
        match backing {
            Some(backing) => {
                reply.opened_passthrough(FileHandle(0), FopenFlags::empty(), &backing);
                // As a number: fuser would close it by way of this worker, which may have another connection then.
                self.keep(ino, backing.into_raw());
            }
            None => {
                self.move_on(ino);
                reply.error(on.refused(Errno::ESTALE));
            }
        }
    }

    /// The kernel's backing of a file serves its next open, too, unless the file has moved meanwhile.
    fn keep(&self, ino: Ino, id: u32) {
        match self.known().entry(ino) {
            Entry::Vacant(free) => drop(free.insert(KnownFile::Backed(id))),
            Entry::Occupied(_) => self.close(id),
        }
    }

    fn close(&self, id: u32) {
        let Some(device) = self.device.get() else { return };
        if let Err(e) = fuse_dev::close_backing(device.as_fd(), id) {
            tracing::warn!("a file that was passed through stays open: {e}");
        }
    }

    /// The object of a file was found to be damaged, or is another file by now: from now on the server reads it.
    pub fn give_up(&self, ino: Ino) {
        if self.least().is_some() {
            self.move_on(ino);
        }
    }

    /// Has the kernel open the store's file; `None` when it doesn't, or there is none for these bytes alone.
    fn back(&self, overlay: &Overlay, ino: Ino, reply: &ReplyOpen) -> Result<Option<BackingId>, OverlayError> {
        let Some(file) = overlay.stored_file(ino)? else { return Ok(None) };
        if !self.has_room() {
            return Ok(None);
        }
        match reply.open_backing(&*file) {
            Ok(made) => {
                let id = made.into_raw();
                (self.tell)(Passed { ino: ino.0, backing: Some(id) });
                Ok(Some(backing::named(reply, id)))
            }
            Err(e) => {
                tracing::warn!("the kernel does not pass a file through: {e}");
                Ok(None)
            }
        }
    }

    fn move_on(&self, ino: Ino) {
        let mut known = self.known();
        if matches!(known.get(&ino), Some(KnownFile::Moved)) {
            return;
        }
        (self.tell)(Passed { ino: ino.0, backing: None });
        let before = known.insert(ino, KnownFile::Moved);
        let Some(device) = self.device.get() else { return };
        // Attributes, no pages. An error means that the kernel has nothing of the file.
        fuse_dev::forget_inode(device.as_fd(), ino.0, -1).or_debug("the kernel knows no such file");
        if let Some(KnownFile::Backed(id)) = before {
            self.close(id);
        }
    }

    /// Whether the kernel may hold one more file open.
    fn has_room(&self) -> bool {
        let is_held = |known: &&KnownFile| matches!(known, KnownFile::Backed(_));
        self.known().values().filter(is_held).count() < MOST
    }

    fn place(&self, ino: Ino, stored: impl Fn() -> Option<Stored>) -> Place {
        let Some(least) = self.least() else { return Place::Ordinary };
        match stored().filter(|stored| stored.size >= least) {
            None => Place::Ordinary,
            Some(stored) if stored.copied => Place::Moved,
            Some(_) if matches!(self.known().get(&ino), Some(KnownFile::Moved | KnownFile::HasMoved)) => Place::Moved,
            Some(_) => Place::First,
        }
    }

    /// Whether this file has two numbers, which depends on nothing that changes.
    fn is_passed(&self, stored: impl Fn() -> Option<Stored>) -> bool {
        let Some(least) = self.least() else { return false };
        stored().is_some_and(|stored| stored.size >= least)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Ino, KnownFile>> {
        self.known.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Under which number a file is shown.
enum Place {
    /// The only one it has.
    Ordinary,
    First,
    Moved,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passthrough(least: Option<u64>) -> Arc<Passthrough> {
        Passthrough::new(least, &[], Box::new(|_| ()))
    }

    #[test]
    fn files_that_have_moved_take_no_room_from_those_that_are_passed_through() {
        let with = |moved: u64, held: u64| {
            let passed = |ino| Passed { ino, backing: (ino >= moved).then_some(1) };
            let before: Vec<_> = (0..moved + held).map(passed).collect();
            Passthrough::new(Some(1), &before, Box::new(|_| ())).has_room()
        };
        assert!(with(MOST as u64 * 2, MOST as u64 - 1));
        assert!(!with(0, MOST as u64));
    }

    #[test]
    fn where_nothing_is_passed_through_nobody_asks_what_the_store_has() {
        let stored = || panic!("the view is asked");
        assert_eq!(passthrough(None).lasts(Ino(7), stored), FOREVER);
        assert_eq!(passthrough(Some(1)).lasts(Ino(7), || Some(Stored { size: 1, copied: true })), Duration::ZERO);
    }
}
