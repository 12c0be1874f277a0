//! Whether a request can be answered from memory, and how the disk is waited for without the view's lock.
//!
//! The thread that answers a view waits for no disk. A request that needs one is done by another thread, in two steps:
//! it *fetches*: opens, reads and writes back what the request will need, while the view is free for others; and then
//! does the request as ever, which finds everything in memory. The fetched bytes may be gone again by then (little memory),
//! or be another file's (this one was changed meanwhile): the request is right all the same, and only waits.

use std::sync::Arc;

use super::error::{Result, upper};
use super::types::Ino;
use super::view::{Overlay, View};
use crate::store::{Name, ObjectId, Objects, StoreError};
use crate::sys::log::OrWarn;
use crate::sys::{copy, interrupt};

/// The most bytes of an object that are read ahead of its copy-up, before the view is locked.
const FETCHED: usize = 4 << 20;

/// The copy of a longer range takes long, even within memory.
const MANY: u64 = 256 << 10;

impl Overlay {
    /// Whether the change of a file's bytes would have to wait, or takes long: for a copy, or for the disk.
    pub(crate) fn changes_slowly(&self, ino: Ino) -> bool {
        let mut view = self.view.lock();
        if view.has_upper_bytes(ino) {
            return false;
        }
        view.journal.to_write_back().is_some()
            || view.copies_long(ino)
            || !view.is_at_hand(ino)
            || view.open_object(ino).is_ok_and(|o| !o.is_in_memory())
    }

    /// As [`Overlay::changes_slowly`], of a change that makes holes: a copy has to be on the disk before.
    pub(crate) fn settles_slowly(&self, ino: Ino) -> bool {
        self.view.lock().copy_in_flight(ino).is_some() || self.changes_slowly(ino)
    }

    /// Whether so many bytes of a file, from an offset on, are many, or not in memory.
    pub(crate) fn copies_range_slowly(&self, (ino, offset): (Ino, u64), len: usize) -> bool {
        let mut view = self.view.lock();
        if !view.is_at_hand(ino) {
            return true;
        }
        let Ok((bytes, _)) = view.open_unchecked(ino) else { return false };
        drop(view);
        let left = bytes.size().unwrap_or(0).saturating_sub(offset);
        left.min(len as u64) > MANY || !matches!(bytes.read_now(&mut [0], offset), Ok(Some(_)))
    }

    /// Opens the object of a file once: a later open finds name and inode in the kernel's caches. Returns one that is absent:
    /// it has to arrive first.
    pub(crate) fn fetch_object(&self, ino: Ino) -> Option<AwaitedObject> {
        self.fetch_up_to(ino, 0)
    }

    /// Waits for the object of a file if it is absent, until the command is interrupted.
    pub(crate) fn await_object(&self, ino: Ino) {
        if let Some(absent) = self.fetch_object(ino) {
            absent.arrive(&|| interrupt::raised().is_some());
        }
    }

    /// Before a change of a file's bytes: what it needs is in memory and, of a copy, on the disk. Returns an object that is
    /// absent: it has to arrive first.
    pub(crate) fn fetch_to_change(&self, ino: Ino) -> Option<AwaitedObject> {
        self.write_back_records();
        let absent = self.fetch_up_to(ino, FETCHED);
        self.settle_ahead(ino).or_debug("it is settled while the view is locked");
        absent
    }

    /// An error is that of the request, which meets it again.
    fn fetch_up_to(&self, ino: Ino, most: usize) -> Option<AwaitedObject> {
        let wanted = {
            let view = self.view.lock();
            let size = view.lower.source(ino).map(|(tree, node)| tree.stat(node).size);
            let id = if view.has_upper_bytes(ino) { None } else { view.lower_object(ino) };
            id.zip(size).map(|(id, size)| (view.objects.clone(), id, size))
        };
        let (objects, id, size) = wanted?;
        match objects.content_of(&id, size) {
            Err(StoreError::Absent { .. }) => return Some(AwaitedObject { objects, id }),
            Ok(bytes) if most > 0 => drop(bytes.fetch(most).or_debug("an object is not read ahead")),
            _ => {}
        }
        None
    }

    /// Whether the object of a file may be absent: it is not at hand, and the file has no bytes of its own.
    pub(crate) fn lacks_object(&self, ino: Ino) -> bool {
        !self.view.lock().is_at_hand(ino)
    }

    /// Whether a change of names in the upper would wait until earlier records are on the disk.
    pub(crate) fn waits_for_records(&self) -> bool {
        self.view.lock().journal.to_write_back().is_some()
    }

    /// Before a change of names in the upper: the records so far are on the disk. After an error the change writes the
    /// journal anew.
    pub(crate) fn write_back_records(&self) {
        let unwritten = self.view.lock().journal.to_write_back();
        if let Some(records) = unwritten {
            let written = records.write_back();
            let noted = self.view.lock().journal.written_back(&records, written);
            noted.or_debug("the journal is written anew");
        }
    }

    /// Whether the lower has a file at a name, as far as it shows: an own file that takes it is written back first.
    pub(crate) fn hides_lower(&self, dir: Ino, name: &Name) -> bool {
        self.view.lock().lower_at(dir, name).is_some()
    }

    /// Before an own file at `name` is renamed over one of the lower: its bytes are on the disk.
    ///
    /// # Errors
    /// They can't be written.
    pub(crate) fn write_back_named(&self, dir: Ino, name: &Name) -> Result<()> {
        let own = {
            let mut view = self.view.lock();
            match view.resolve(dir, name) {
                Ok(found) => view.own_bytes(&found)?,
                // The rename answers with the error.
                Err(_) => None,
            }
        };
        own.map_or(Ok(()), |fd| copy::write_back(&*fd)).map_err(upper("write a file"))
    }

    fn settle_ahead(&self, ino: Ino) -> Result<()> {
        let file = {
            let mut view = self.view.lock();
            if view.copy_in_flight(ino).is_none() {
                return Ok(());
            }
            view.open_bytes(ino)?
        };
        file.as_file().map_or(Ok(()), copy::write_back).map_err(upper("write a file"))
    }
}

/// An absent object that a request needs.
pub(crate) struct AwaitedObject {
    objects: Arc<Objects>,
    id: ObjectId,
}

impl AwaitedObject {
    /// Waits until it is here, within the limit of its store. The view is not locked. If it did not come, the request fails
    /// when it looks for the object itself.
    pub(crate) fn arrive(&self, is_interrupted: &dyn Fn() -> bool) {
        self.objects.await_arrival(&self.id, is_interrupted).or_warn("files with it answer EIO");
    }
}

impl View {
    /// Whether this file can be opened without the disk. The kernel has looked at one of the upper before it reads it.
    pub(super) fn is_at_hand(&self, ino: Ino) -> bool {
        self.files.has(ino)
            || self.has_upper_bytes(ino)
            || self.lower_object(ino).is_none_or(|id| self.objects.is_at_hand(&id))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::super::{Caller, GraftSpec, OverlayConfig, OverlayError, ReadRange};
    use super::*;
    use crate::store::{Store, import};
    use crate::sys::fault::{self, Call, Stall};
    use crate::sys::{fs_type, path};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A view of one file of 300,000 bytes, which is an object by itself, and how it is read.
    fn view(dir: &Path) -> (Arc<Overlay>, ReadRange) {
        for sub in ["source", "upper", "state"] {
            path::make_dirs(&dir.join(sub)).expect("made");
        }
        path::replace(&dir.join("source/file"), &[7; 300_000]).expect("written");
        let store = Store::open(&dir.join("store")).expect("a store");
        let tree = import::import_dir(&store, &dir.join("source"), &()).expect("imported").tree;
        let grafts = vec![GraftSpec { at: "".into(), tree: store.tree(tree).expect("there"), retired: false }];
        let config =
            OverlayConfig { state_dir: dir.join("state"), grafts, objects: store.objects().clone(), takeover: false };
        let view = Overlay::open(path::open_dir(&dir.join("upper")).expect("opened"), config).expect("a view");
        let ino = view.lookup(Ino::ROOT, &Name::new(b"file").expect("a name")).expect("there").ino;
        (Arc::new(view), ReadRange { ino, offset: 100_000, len: 5000, unnoticed: false })
    }

    /// The user who runs the test.
    fn ours(view: &Overlay) -> Caller {
        let root = view.getattr(Ino::ROOT).expect("there");
        Caller { uid: root.uid, gid: root.gid }
    }

    /// Has `work` done by a thread that stalls in calls of this kind, and a name looked up meanwhile.
    fn looks_up_during(view: &Arc<Overlay>, call: Call, work: impl FnOnce(&Overlay) + Send + 'static) {
        let stall = Stall::lay(call);
        let (done, is_done) = channel();
        let worker = view.clone();
        let thread = std::thread::spawn(fault::inherit(move || {
            work(&worker);
            done.send(()).expect("waited for");
        }));
        stall.until_one_waits();
        let (answer, answered) = channel();
        let asked = view.clone();
        let other = Name::new(b"other").expect("a name");
        std::thread::spawn(move || answer.send(asked.lookup(Ino::ROOT, &other)));
        let found = answered.recv_timeout(PATIENCE);
        assert!(matches!(found, Ok(Err(OverlayError::NotFound))), "{found:?}");
        assert!(is_done.try_recv().is_err(), "nothing was waited for");
        drop(stall);
        is_done.recv_timeout(PATIENCE).expect("it ends");
        thread.join().expect("no panic");
    }

    #[test]
    fn a_read_of_bytes_that_are_on_the_disk_alone_is_not_answered_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, range) = view(dir.path());
        let object = view.stored_file(range.ino).expect("there").expect("an object by itself");
        crate::sys::fs::fsync(&*object).expect("synced");
        let forget = || rustix::fs::fadvise(&*object, 0, None, rustix::fs::Advice::DontNeed).expect("advised");
        // A query makes the kernel read ahead, and what is on its way can't be forgotten.
        let sees_the_disk = |query: &dyn Fn() -> bool| {
            let until = Instant::now() + PATIENCE;
            loop {
                forget();
                let answer = query();
                if answer || Instant::now() > until {
                    return answer;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        if !sees_the_disk(&|| view.read_now(range, |_| ()).expect("asked").is_none()) {
            return println!("skipped: a file system that keeps everything in memory");
        }
        assert!(sees_the_disk(&|| view.changes_slowly(range.ino)));
        assert!(sees_the_disk(&|| view.copies_range_slowly((range.ino, 0), 1)));
        assert_eq!(view.read_range(range, <[u8]>::to_vec).expect("read"), [7; 5000]);
        assert_eq!(view.read_now(range, <[u8]>::to_vec).expect("asked"), Some(vec![7; 5000]));
        forget();
        assert!(view.fetch_to_change(range.ino).is_none());
        assert!(!view.changes_slowly(range.ino) && !view.copies_range_slowly((range.ino, 0), 1));
        assert!(view.copies_range_slowly((range.ino, 0), 1 << 20), "so much takes long in any case");
    }

    #[test]
    fn a_lookup_elsewhere_is_answered_while_an_object_is_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, range) = view(dir.path());
        looks_up_during(&view, Call::Open, move |view| drop(view.fetch_object(range.ino)));
    }

    #[test]
    fn a_lookup_elsewhere_is_answered_while_an_object_is_read_to_be_copied() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, range) = view(dir.path());
        looks_up_during(&view, Call::Look, move |view| drop(view.fetch_to_change(range.ino)));
    }

    #[test]
    fn a_lookup_elsewhere_is_answered_while_records_are_written_to_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, _) = view(dir.path());
        let (file, by) = (Name::new(b"file").expect("a name"), ours(&view));
        view.write_back_records();
        assert!(!view.waits_for_records());
        view.unlink(Ino::ROOT, &file).expect("deleted");
        assert!(view.waits_for_records(), "the upper may not change before the whiteout is on the disk");
        looks_up_during(&view, Call::Sync, Overlay::write_back_records);
        assert!(!view.waits_for_records());
        view.create(Ino::ROOT, &file, 0o600, by, true).expect("made");
    }

    #[test]
    fn a_lookup_elsewhere_is_answered_while_a_file_that_takes_a_lower_name_is_written_to_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, _) = view(dir.path());
        let [file, new] = ["file", "new"].map(|name| Name::new(name.as_bytes()).expect("a name"));
        let made = view.create(Ino::ROOT, &new, 0o600, ours(&view), true).expect("made");
        view.write(made.ino, 0, b"new", None).expect("written");
        assert!(view.hides_lower(Ino::ROOT, &file) && !view.hides_lower(Ino::ROOT, &new));
        let own = new.clone();
        looks_up_during(&view, Call::Sync, move |view| view.write_back_named(Ino::ROOT, &own).expect("written"));
        view.rename(Ino::ROOT, &new, Ino::ROOT, &file, crate::sys::fs::RenameFlags::empty()).expect("renamed");
        view.write_back_named(Ino::ROOT, &new).expect("no file is there any more: the rename says so");
    }

    #[test]
    fn a_lookup_elsewhere_is_answered_while_a_copy_is_written_to_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, range) = view(dir.path());
        if !fs_type::commits_names_in_order(path::open_dir(dir.path()).expect("opened")) {
            return println!("skipped: the temporary directory is on neither ext4 nor xfs");
        }
        view.write(range.ino, 0, b"new", None).expect("written");
        if !view.settles_slowly(range.ino) {
            return println!("skipped: the file system shares the blocks of a copy");
        }
        looks_up_during(&view, Call::Sync, move |view| drop(view.fetch_to_change(range.ino)));
    }
}
