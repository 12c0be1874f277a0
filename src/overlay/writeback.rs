//! Copies whose bytes are not on disk yet: no request waits for them, and a power cut can't tear them.
//!
//! A copy gets its name at once; its bytes follow when the kernel writes them, or a moment later when they are
//! flushed here. Until then an empty file in the work directory, the intent, names the copy and its object:
//! `copy.<boot id>.<inode number>.<birth>.<object id>`. ext4 and xfs commit changes of names in their order, so on
//! disk no copy is ever found without its bytes or its intent.
//!
//! | step                              | a power cut right after it leaves                              |
//! |-----------------------------------|----------------------------------------------------------------|
//! | 1. an intent in `aside`           | an intent without a copy: the next open deletes it             |
//! | 2. the copy gets its name         | a copy with holes: the next open fills them from the object    |
//! | 3. its bytes are written          | the same, nothing to fill                                      |
//! | 4. the intent is deleted          | the whole copy                                                 |
//!
//! Bytes that a program wrote to the copy and that are on disk stay; the rest is as in a file that was never copied. So
//! that a hole means "not written yet", a copy is flushed before it is truncated or punched.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::store::ObjectId;
use crate::sys::copy::write_back;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::fs_type;
use crate::sys::log::OrWarn;

use super::error::{OverlayError, Result, upper};
use super::intents::{Intent, is_intent};
use super::open_file::OpenFile;
use super::types::Ino;
use super::view::Overlay;
use super::view::View;

/// The delay before a copy is flushed: other writes of that time go to the disk together with it.
const DELAY: Duration = Duration::from_secs(1);

impl Overlay {
    /// Everything that was written so far, and the journal, is left so that a power cut takes nothing back that
    /// the file system itself would keep.
    ///
    /// # Errors
    /// A file or the journal cannot be synced.
    pub fn flush(&self) -> Result<()> {
        let mut view = self.view.lock();
        view.flush_all()?;
        Ok(view.journal.sync()?)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // A copy that cannot be flushed keeps its intent, for the next open.
        self.view.lock().flush_all().or_warn("not all that was copied is on the disk");
    }
}

impl View {
    /// Writes the intent that the copy `real` of `object`, which has no name yet, gets its bytes; false if an intent
    /// would not hold, so that they have to be written first.
    pub(super) fn intent(&mut self, real: u64, born: u64, object: &ObjectId) -> Result<bool> {
        let Some(aside) = &self.upper.aside else { return Ok(false) };
        if !fs_type::commits_names_in_order(aside) {
            return Ok(false);
        }
        let Some(boot) = self.writeback.boot() else { return Ok(false) };
        let intent = Intent { boot, real, born, object: *object };
        let flags = OpenFlags::WRONLY | OpenFlags::CREATE;
        fs::open_at(aside, intent.name().as_bytes(), flags, 0o600).map_err(upper("create a file"))?;
        self.writeback.intents.insert(real, intent);
        self.start_flusher();
        Ok(true)
    }

    /// The intent of this very copy is completed. Another file may have its inode number by now.
    fn completed(&mut self, intent: &Intent) {
        if self.writeback.intents.get(&intent.real) == Some(intent) {
            self.flushed(intent.real);
        }
    }

    /// The copy `real` has its bytes on disk, or is gone.
    pub(super) fn flushed(&mut self, real: u64) {
        if let (Some(intent), Some(aside)) = (self.writeback.intents.remove(&real), &self.upper.aside) {
            // One that stays is looked at by the next opening, which finds nothing missing.
            fs::unlink_at(aside, intent.name().as_bytes()).or_warn("the note of a copy that is on the disk stays");
        }
    }

    /// The copy behind this inode, while it has an intent.
    pub(super) fn copy_in_flight(&self, ino: Ino) -> Option<u64> {
        let real = self.delta.copied(ino).or(ino.plain_upper())?;
        self.writeback.intents.contains_key(&real).then_some(real)
    }

    /// Before a change that makes holes.
    pub(super) fn flush(&mut self, ino: Ino) -> Result<()> {
        self.has_all(ino, None)?;
        let Some(real) = self.copy_in_flight(ino) else { return Ok(()) };
        let file = self.open_to_read(ino)?;
        file.as_file().map_or(Ok(()), write_back).map_err(upper("write a file"))?;
        self.flushed(real);
        Ok(())
    }

    /// Flushes every copy that has an intent, and waits for the disk. At an error the rest keep their intents.
    pub(super) fn flush_all(&mut self) -> Result<()> {
        while let Some(intent) = self.writeback.intents.values().next().cloned() {
            if let Some(file) = self.copy_of(&intent)? {
                write_back(&*file).map_err(upper("write a file"))?;
            }
            self.flushed(intent.real);
        }
        Ok(())
    }

    /// The copy of an intent, open to read; `None` if it is gone.
    pub(super) fn copy_of(&mut self, intent: &Intent) -> Result<Option<Arc<OwnedFd>>> {
        let ino = self.inode_of_intent(intent);
        if !self.is_gone(ino) {
            // Its number may be another file's by now, also that of a symlink, which cannot be opened.
            match self.locate(ino) {
                Ok((_, _, stat)) if stat.is_file() && stat.born == intent.born => {}
                Ok(_) | Err(OverlayError::NotFound | OverlayError::UnknownInode(_)) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        let bytes = match self.open_bytes(ino) {
            Err(OverlayError::NotFound | OverlayError::UnknownInode(_)) => return Ok(None),
            bytes => bytes?,
        };
        let Some(file) = bytes.as_file() else { return Ok(None) };
        let stat = fs::stat(file).map_err(upper("look at a file"))?;
        Ok((stat.ino == intent.real && stat.born == intent.born).then(|| file.clone()))
    }

    /// The inode number that the copy has in the view: that of the lower file that it is of, else the upper's.
    pub(super) fn inode_of_intent(&self, intent: &Intent) -> Ino {
        self.delta.origin(intent.real).unwrap_or(Ino::of_upper(intent.real))
    }

    /// At an open: intents from before a power cut are completed. The bytes of a server that has ended by
    /// itself are in the kernel's memory, and this server flushes them. An intent that can't be completed stays.
    pub(super) fn complete_intents(&mut self) -> Result<()> {
        let Some(aside) = self.upper.aside.clone() else { return Ok(()) };
        let names = fs::list(&*aside).map_err(upper("list a directory"))?;
        for entry in names.iter().filter(|e| is_intent(&e.name)) {
            let intent = Intent::of_name(&entry.name);
            let Some(intent) = intent else {
                fs::unlink_at(&*aside, &entry.name).map_err(upper("delete a file"))?;
                continue;
            };
            // Of a recent one nothing is missing, but where the disk alone was taken away and brought back.
            let is_recent = Some(&intent.boot) == self.writeback.boot().as_ref();
            match (self.complete(&intent)?, is_recent) {
                (false, _) => drop(self.writeback.lacking.insert(intent.real, intent)),
                (true, true) => drop(self.writeback.intents.insert(intent.real, intent)),
                (true, false) => fs::unlink_at(&*aside, &entry.name).map_err(upper("delete a file"))?,
            }
        }
        if !self.writeback.intents.is_empty() {
            self.start_flusher();
        }
        Ok(())
    }
}

impl View {
    /// Starts the flusher thread for this view, unless it runs.
    pub(super) fn start_flusher(&mut self) {
        if !self.writeback.is_running {
            // Without a thread the intents stay until the view is closed.
            self.writeback.is_running = FLUSHER.add(self.this.clone());
        }
    }

    /// After a write to a truncated file: the flusher starts the write-back of its bytes within a moment, and does not
    /// keep it open for that.
    pub(super) fn write_back_later(&mut self, file: &Arc<OpenFile>) {
        self.writeback.truncated.0.push(Arc::downgrade(file));
        self.start_flusher();
    }
}

/// The views of this process with something to flush. They have one thread, as long as there are any.
static FLUSHER: Flusher = Flusher(Mutex::new((Vec::new(), false)));

/// The views, and whether the thread runs.
struct Flusher(Mutex<(Vec<Weak<Mutex<View>>>, bool)>);

impl Flusher {
    /// `false`: there is no thread to be had.
    fn add(&'static self, view: Weak<Mutex<View>>) -> bool {
        let mut state = self.0.lock();
        if !state.1 {
            state.1 = thread::Builder::new().name("settle".into()).spawn(|| self.run()).is_ok();
        }
        if state.1 {
            state.0.push(view);
        }
        state.1
    }

    /// Settles what is left of all views, now and again, until there is nothing.
    fn run(&self) {
        loop {
            thread::sleep(DELAY);
            let mut views = std::mem::take(&mut self.0.lock().0);
            views.retain(|view| view.upgrade().is_some_and(|view| !flush(&view)));
            let mut state = self.0.lock();
            state.0.append(&mut views);
            if state.0.is_empty() {
                return state.1 = false;
            }
        }
    }
}

/// Settles one copy after the other, without holding the view up; whether there is none left.
fn flush(shared: &Mutex<View>) -> bool {
    let truncated = std::mem::take(&mut shared.lock().writeback.truncated);
    truncated.write_back();
    let due: Vec<Intent> = shared.lock().writeback.intents.values().cloned().collect();
    for intent in due {
        // After an error the copy is looked up again in the next round.
        let Ok(copy) = shared.lock().copy_of(&intent) else { continue };
        if copy.is_none_or(|copy| write_back(&*copy).is_ok()) {
            shared.lock().completed(&intent);
        }
    }
    let mut view = shared.lock();
    let is_done = view.writeback.intents.is_empty() && view.writeback.truncated.is_empty();
    view.writeback.is_running = !is_done;
    is_done
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::super::{GraftSpec, OverlayConfig};
    use crate::store::{Name, Store, import};
    use crate::sys::process;

    const MIB: usize = 1 << 20;

    /// A store with one file of 8 MiB, and a view of it.
    struct Bench {
        dir: tempfile::TempDir,
        graft: GraftSpec,
        store: Store,
    }

    impl Bench {
        fn new() -> Bench {
            let dir = tempfile::tempdir().expect("a directory");
            for sub in ["source", "upper", "state"] {
                std::fs::create_dir(dir.path().join(sub)).expect("made");
            }
            std::fs::write(dir.path().join("source/big"), vec![b'o'; 8 * MIB]).expect("written");
            let store = Store::open(&dir.path().join("store")).expect("a store");
            let tree = import::import_dir(&store, &dir.path().join("source"), &()).expect("imported").tree;
            let graft = GraftSpec { at: "".into(), tree: store.tree(tree).expect("there"), retired: false };
            Bench { dir, graft, store }
        }

        fn open(&self) -> Overlay {
            let upper = crate::sys::path::open_dir(&self.dir.path().join("upper")).expect("opened");
            let state_dir = self.dir.path().join("state");
            let (grafts, objects) = (vec![self.graft.clone()], self.store.objects().clone());
            Overlay::open(upper, OverlayConfig { state_dir, grafts, objects, takeover: false }).expect("a view")
        }

        fn intents(&self) -> Vec<String> {
            let aside = std::fs::read_dir(self.dir.path().join("state/aside")).expect("there");
            let names = aside.map(|e| e.expect("listed").file_name().into_string().expect("ours"));
            names.filter(|n| is_intent(n.as_bytes())).collect()
        }
    }

    fn big(view: &Overlay) -> Ino {
        view.lookup(Ino::ROOT, &Name::new(b"big").expect("a name")).expect("there").ino
    }

    #[test]
    fn a_long_copy_is_promised_until_it_is_synced_or_the_view_is_closed() {
        let bench = Bench::new();
        let view = bench.open();
        let ino = big(&view);
        view.copy_ahead(ino).expect("copied");
        view.write(ino, 10, b"new", None).expect("written");
        let aside = std::fs::File::open(bench.dir.path().join("state/aside")).expect("there");
        if !fs_type::commits_names_in_order(&aside) {
            return eprintln!("skipped: the temporary directory is on neither ext4 nor xfs");
        }
        view.fsync(ino, false).expect("synced");
        assert_eq!(bench.intents(), [""; 0], "a power cut after the sync takes nothing back");
        drop(view);
        std::fs::remove_file(bench.dir.path().join("upper/big")).expect("deleted");
        std::fs::remove_file(bench.dir.path().join("state/journal")).expect("deleted");

        let view = bench.open();
        view.write(big(&view), 10, b"new", None).expect("written");
        assert_eq!(bench.intents().len(), 1);
        drop(view);
        assert_eq!(bench.intents(), [""; 0]);
    }

    #[test]
    fn what_a_power_cut_took_of_a_copy_is_as_it_was_and_what_was_written_stays() {
        let bench = Bench::new();
        let view = bench.open();
        let ino = big(&view);
        view.write(ino, 0, b"first", None).expect("written");
        view.write(ino, 4 << 20, b"middle", None).expect("written");
        let object = bench.graft.tree.object(crate::store::Node(1)).expect("one file");
        drop(view);
        // The state on disk if blocks in the middle and the end were never written.
        let path = bench.dir.path().join("upper/big");
        let copy = std::fs::File::options().write(true).read(true).open(&path).expect("a plain file");
        copy.set_len(6 << 20).expect("cut");
        let punch = crate::sys::fs::FallocateFlags::PUNCH_HOLE | crate::sys::fs::FallocateFlags::KEEP_SIZE;
        fs::fallocate(&copy, punch, 2 << 20, 1 << 20).expect("punched");
        let (real, time) = (copy.metadata().expect("there").ino(), copy.metadata().expect("there").modified());
        let born = fs::birth(&copy, b"").expect("known");
        let intent = Intent { boot: "before".into(), real, born, object };
        std::fs::write(bench.dir.path().join("state/aside").join(intent.name()), "").expect("made");

        drop(bench.open());
        let mut want = vec![b'o'; 8 * MIB];
        want[..5].copy_from_slice(b"first");
        want[4 << 20..][..6].copy_from_slice(b"middle");
        let mut have = vec![0; 9 * MIB];
        let len = copy.read_at(&mut have, 0).expect("read");
        assert_eq!(len, want.len());
        assert!(have[..len] == want[..], "the copy is not whole");
        assert_eq!(copy.metadata().expect("there").modified().expect("known"), time.expect("known"));
        assert_eq!(bench.intents(), [""; 0]);
    }

    #[test]
    fn a_short_copy_from_a_pack_is_made_whole_by_a_server_that_takes_over() {
        let bench = Bench::new();
        // So many small files lie in a pack.
        let source = bench.dir.path().join("small");
        std::fs::create_dir(&source).expect("made");
        for n in 0..100 {
            std::fs::write(source.join(format!("f{n}")), format!("{n}\n").repeat(2000)).expect("written");
        }
        let tree = import::import_dir(&bench.store, &source, &()).expect("imported").tree;
        let graft = GraftSpec { at: "".into(), tree: bench.store.tree(tree).expect("there"), retired: false };
        let bench = Bench { graft, ..bench };
        let view = bench.open();
        let f7 = |view: &Overlay| view.lookup(Ino::ROOT, &Name::new(b"f7").expect("a name")).expect("there").ino;
        let ino = f7(&view);
        let object = view.object(ino).expect("the store's");
        view.write(ino, 0, b"7!", None).expect("written");
        drop(view);
        let path = bench.dir.path().join("upper/f7");
        let copy = std::fs::File::options().write(true).open(&path).expect("a plain file");
        copy.set_len(1000).expect("cut");
        let (real, born) = (copy.metadata().expect("there").ino(), fs::birth(&copy, b"").expect("known"));
        for boot in ["before".into(), process::boot_id().expect("on Linux")] {
            let intent = Intent { boot, real, born, object };
            std::fs::write(bench.dir.path().join("state/aside").join(intent.name()), "").expect("made");
            drop(bench.open());
            assert_eq!(std::fs::read_to_string(&path).expect("text"), format!("7!{}", "7\n".repeat(1999)));
            copy.set_len(3000).expect("cut");
        }
    }

    #[test]
    fn a_copy_is_settled_before_anything_can_make_a_hole_in_it() {
        type Change = (&'static str, fn(&Overlay, Ino));
        let changes: [Change; 4] = [
            ("copied from a hole", |view, ino| {
                // The part of the file that is far behind its end.
                view.write(ino, 64 << 20, b"end", None).expect("written");
                view.copy_range((ino, 32 << 20), (ino, 4096), 4096, None).expect("copied");
            }),
            ("punched", |view, ino| {
                let punch = fs::FallocateFlags::PUNCH_HOLE | fs::FallocateFlags::KEEP_SIZE;
                view.fallocate(ino, punch.bits().cast_signed(), 4096, 4096, None).expect("punched");
            }),
            ("zeroed", |view, ino| {
                let zero = fs::FallocateFlags::ZERO_RANGE;
                view.fallocate(ino, zero.bits().cast_signed(), 4096, 4096, None).expect("zeroed");
            }),
            ("cut", |view, ino| {
                let mut view = view.view.lock();
                view.truncate(ino, 4096).expect("cut");
            }),
        ];
        for (what, change) in changes {
            let bench = Bench::new();
            let view = bench.open();
            let ino = big(&view);
            view.write(ino, 10, b"new", None).expect("written");
            let aside = std::fs::File::open(bench.dir.path().join("state/aside")).expect("there");
            if !fs_type::commits_names_in_order(&aside) {
                return println!("skipped: the temporary directory is on neither ext4 nor xfs");
            }
            assert_eq!(bench.intents().len(), 1, "{what}");
            change(&view, ino);
            assert_eq!(bench.intents(), [""; 0], "{what}");
        }
    }

    #[test]
    fn a_copy_that_lacks_bytes_of_a_lost_object_says_so_until_the_object_is_back() {
        let bench = Bench::new();
        let view = bench.open();
        let ino = big(&view);
        view.write(ino, 0, b"first", None).expect("written");
        let object = bench.graft.tree.object(crate::store::Node(1)).expect("one file");
        drop(view);
        let path = bench.dir.path().join("upper/big");
        let copy = std::fs::File::options().write(true).read(true).open(&path).expect("a plain file");
        copy.set_len(6 << 20).expect("cut");
        let (real, born) = (copy.metadata().expect("there").ino(), fs::birth(&copy, b"").expect("known"));
        let intent = Intent { boot: "before".into(), real, born, object };
        std::fs::write(bench.dir.path().join("state/aside").join(intent.name()), "").expect("made");
        let there = bench.dir.path().join("store/objects").join(object.place());
        let away = bench.dir.path().join("away");
        let read = |view: &Overlay, at| view.read(ino, at, 4096, |bytes| bytes.len());
        let is_lost = |done: Result<usize>| matches!(done, Err(OverlayError::LostObject { .. }));

        std::fs::rename(&there, &away).expect("moved");
        for _ in 0..2 {
            let view = bench.open();
            assert_eq!(bench.intents().len(), 1);
            assert_eq!(view.getattr(ino).expect("there").size, 8 << 20);
            assert_eq!(read(&view, 0).expect("on disk"), 4096);
            assert!(is_lost(read(&view, 6 << 20)) && is_lost(read(&view, (6 << 20) - 2048)));
            assert!(is_lost(view.write(ino, 7 << 20, b"x", None).map(|_| 0)));
            assert!(view.copy_range((ino, 0), (ino, 7 << 20), 10, None).is_err());
        }
        let view = bench.open();
        std::fs::write(&there, vec![b'x'; 8 * MIB]).expect("other bytes");
        assert!(is_lost(read(&view, 7 << 20)), "other bytes than the object's fill nothing");
        std::fs::remove_file(&there).expect("deleted");
        std::fs::copy(&away, &there).expect("healed");
        assert_eq!(read(&view, 7 << 20).expect("filled"), 4096);
        assert_eq!(bench.intents(), [""; 0]);
        let bytes = std::fs::read(&path).expect("there");
        assert!(bytes.len() == 8 * MIB && bytes.starts_with(b"firsto") && bytes.ends_with(b"oooo"));
        drop(view);

        copy.set_len(6 << 20).expect("cut");
        std::fs::write(bench.dir.path().join("state/aside").join(intent.name()), "").expect("made");
        std::fs::remove_file(&there).expect("deleted");
        let view = bench.open();
        assert!(is_lost(read(&view, 7 << 20)));
        view.view.lock().truncate(ino, 0).expect("emptied");
        view.write(ino, 0, b"anew", None).expect("written");
        assert_eq!((read(&view, 0).expect("read"), bench.intents().len()), (4, 0));
    }

    #[test]
    fn a_promise_of_another_file_changes_nothing() {
        // Its number may be that of a symlink by now, or of another file that cannot be opened.
        type Make = fn(&std::path::Path) -> std::io::Result<()>;
        let kinds: [Make; 4] = [
            |at| std::fs::write(at, "short"),
            |at| std::os::unix::fs::symlink("nowhere", at),
            |at| std::os::unix::net::UnixListener::bind(at).map(drop),
            |at| std::fs::create_dir(at),
        ];
        for (kind, make) in kinds.iter().enumerate() {
            let bench = Bench::new();
            drop(bench.open());
            let mine = bench.dir.path().join("upper/mine");
            make(&mine).expect("made");
            let real = std::fs::symlink_metadata(&mine).expect("there").ino();
            let object = bench.graft.tree.object(crate::store::Node(1)).expect("one file");
            let intent = Intent { boot: "before".into(), real, born: 1, object };
            std::fs::write(bench.dir.path().join("state/aside").join(intent.name()), "").expect("made");
            drop(bench.open());
            assert_eq!(std::fs::symlink_metadata(&mine).expect("there").ino(), real);
            assert!(kind > 0 || std::fs::read(&mine).expect("there") == b"short");
            assert_eq!(bench.intents(), [""; 0], "kind {kind}");
        }
    }

    #[test]
    fn a_promise_is_read_back_from_its_name() {
        let intent = Intent { boot: "b007".into(), real: 77, born: u64::MAX, object: ObjectId([0xab; 32]) };
        assert_eq!(Intent::of_name(intent.name().as_bytes()), Some(intent.clone()));
        assert!(is_intent(intent.name().as_bytes()) && intent.name().len() < 255);
        for wrong in ["copy.", "copy.b.1.2", "copy.b.x.2.3", "0123456789abcdef"] {
            assert_eq!(Intent::of_name(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
