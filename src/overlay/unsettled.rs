//! Copies whose bytes are not on disk yet: nobody waits for them, and a power cut can't tear them.
//!
//! A copy gets its name at once; its bytes follow when the kernel writes them, or a moment later when they are
//! *settled* here. Until then an empty file in `aside`, the promise, names the copy and the object it was made of:
//! `copy.<boot id>.<inode number>.<birth>.<object id>`. ext4 and xfs commit changes of names in their order, so on
//! disk no copy is ever found without its bytes or its promise.
//!
//! | step                              | a power cut right after it leaves                              |
//! |-----------------------------------|----------------------------------------------------------------|
//! | 1. promise in `aside`             | a promise without a copy: the next open deletes it             |
//! | 2. the copy gets its name         | a copy with holes: the next open fills them from the object    |
//! | 3. its bytes are written          | the same, nothing to fill                                      |
//! | 4. the promise is deleted         | the whole copy                                                 |
//!
//! What a program wrote to the copy and was written to disk stays, the rest is as it was: what a file that was
//! never copied would hold. So that a hole means "not written yet", a copy is settled before it is cut or punched.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::store::ObjectId;
use crate::sys::copy::write_back;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::log::OrWarn;
use crate::sys::{fs_type, process};

use super::emptied::Later;
use super::error::{Error, Result, upper};
use super::resolve::View;
use super::{Ino, Overlay};

const PREFIX: &str = "copy.";
/// How long a copy stays unsettled: what is written next to it goes to the disk with it.
const DELAY: Duration = Duration::from_secs(1);

/// The copies of a view whose bytes are not on disk for sure.
#[derive(Default)]
pub(super) struct Unsettled {
    /// By the copy's inode number in the upper.
    promises: HashMap<u64, Promise>,
    /// Those whose object can't be read, and that lack bytes of it (`lacking.rs`).
    pub lacking: HashMap<u64, Promise>,
    /// The view itself, for the thread that settles ([`SETTLING`]).
    pub view: Weak<Mutex<View>>,
    /// What that thread does beside.
    pub emptied: Later,
    is_running: bool,
    /// What to compare a promise's with, once asked.
    boot: Option<String>,
}

/// What stands for a copy until its bytes are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    boot: String,
    /// The copy, in the upper's file system, and when it was made.
    pub real: u64,
    born: u64,
    pub object: ObjectId,
}

impl Promise {
    pub fn name(&self) -> String {
        format!("{PREFIX}{}.{:016x}.{:016x}.{}", self.boot, self.real, self.born, self.object)
    }

    fn of_name(name: &[u8]) -> Option<Promise> {
        let mut fields = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.split('.');
        let mut next = || fields.next();
        let boot = next()?.to_owned();
        let (real, born) = (u64::from_str_radix(next()?, 16).ok()?, u64::from_str_radix(next()?, 16).ok()?);
        Some(Promise { boot, real, born, object: next()?.parse().ok()? })
    }
}

/// Whether this name in `aside` is a promise: it outlives whoever made it.
pub(super) fn is_promise(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

impl Overlay {
    /// Everything that was written so far, and the journal, is left so that a power cut takes nothing back that
    /// the file system itself would keep.
    pub fn settle(&self) -> Result<()> {
        let mut view = self.view.lock();
        view.settle_all()?;
        Ok(view.journal.sync()?)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // What stays for an error keeps its promise, for the next opening.
        self.view.lock().settle_all().or_warn("not all that was copied is on the disk");
    }
}

impl View {
    /// Promises that the copy `real` of `object`, which has no name yet, will have its bytes; false where a promise
    /// would not hold, so that they have to be written first.
    pub(super) fn promise(&mut self, real: u64, born: u64, object: &ObjectId) -> Result<bool> {
        let Some(aside) = &self.upper.aside else { return Ok(false) };
        if !fs_type::commits_names_in_order(aside) {
            return Ok(false);
        }
        let Some(boot) = self.unsettled.boot() else { return Ok(false) };
        let promise = Promise { boot, real, born, object: *object };
        let flags = OpenFlags::WRONLY | OpenFlags::CREATE;
        fs::open_at(aside, promise.name().as_bytes(), flags, 0o600).map_err(upper("create a file"))?;
        self.unsettled.promises.insert(real, promise);
        self.unsettled.start();
        Ok(true)
    }

    /// What was promised of this very copy has come true. Its number may be another file's by now.
    fn fulfilled(&mut self, promise: &Promise) {
        if self.unsettled.promises.get(&promise.real) == Some(promise) {
            self.settled(promise.real);
        }
    }

    /// The copy `real` has its bytes on disk, or is gone.
    pub(super) fn settled(&mut self, real: u64) {
        if let (Some(promise), Some(aside)) = (self.unsettled.promises.remove(&real), &self.upper.aside) {
            // One that stays is looked at by the next opening, which finds nothing missing.
            fs::unlink_at(aside, promise.name().as_bytes()).or_warn("the note of a copy that is on the disk stays");
        }
    }

    /// The copy behind this inode, while its bytes are promised.
    pub(super) fn unsettled_copy(&self, ino: Ino) -> Option<u64> {
        let real = self.delta.copied(ino).or(ino.plain_upper())?;
        self.unsettled.promises.contains_key(&real).then_some(real)
    }

    /// Before a change that makes holes.
    pub(super) fn settle(&mut self, ino: Ino) -> Result<()> {
        self.has_all(ino, None)?;
        let Some(real) = self.unsettled_copy(ino) else { return Ok(()) };
        let file = self.open_to_read(ino)?;
        file.as_file().map_or(Ok(()), write_back).map_err(upper("write a file"))?;
        self.settled(real);
        Ok(())
    }

    pub(super) fn settle_all(&mut self) -> Result<()> {
        while let Some(promise) = self.unsettled.promises.values().next().cloned() {
            if let Some(file) = self.copy_of(&promise)? {
                write_back(&*file).map_err(upper("write a file"))?;
            }
            self.settled(promise.real);
        }
        Ok(())
    }

    /// The copy that was promised, open to read; nothing when it is gone.
    pub(super) fn copy_of(&mut self, promise: &Promise) -> Result<Option<Arc<OwnedFd>>> {
        let bytes = match self.open_bytes(self.promised_to(promise)) {
            Err(Error::NotFound | Error::UnknownInode(_)) => return Ok(None),
            bytes => bytes?,
        };
        let Some(file) = bytes.as_file() else { return Ok(None) };
        let stat = fs::stat(file).map_err(upper("look at a file"))?;
        Ok((stat.ino == promise.real && stat.born == promise.born).then(|| file.clone()))
    }

    pub(super) fn promised_to(&self, promise: &Promise) -> Ino {
        self.delta.origin(promise.real).unwrap_or(Ino::of_upper(promise.real))
    }

    /// At an opening: what was promised before a power cut is made true; what a server promised that is gone by
    /// itself is in the kernel's memory, and this one settles it. A promise that can't be kept stays.
    pub(super) fn keep_promises(&mut self) -> Result<()> {
        let Some(aside) = self.upper.aside.clone() else { return Ok(()) };
        let names = fs::list(&*aside).map_err(upper("list a directory"))?;
        for entry in names.iter().filter(|e| is_promise(&e.name)) {
            let promise = Promise::of_name(&entry.name);
            let Some(promise) = promise else {
                fs::unlink_at(&*aside, &entry.name).map_err(upper("delete a file"))?;
                continue;
            };
            // Of a recent one nothing is missing, but where the disk alone was taken away and brought back.
            let is_recent = Some(&promise.boot) == self.unsettled.boot().as_ref();
            match (self.fulfil(&promise)?, is_recent) {
                (false, _) => drop(self.unsettled.lacking.insert(promise.real, promise)),
                (true, true) => drop(self.unsettled.promises.insert(promise.real, promise)),
                (true, false) => fs::unlink_at(&*aside, &entry.name).map_err(upper("delete a file"))?,
            }
        }
        if !self.unsettled.promises.is_empty() {
            self.unsettled.start();
        }
        Ok(())
    }
}

impl Unsettled {
    /// Which boot of the machine this is; without an answer nothing is promised.
    fn boot(&mut self) -> Option<String> {
        if self.boot.is_none() {
            self.boot = process::boot_id();
        }
        self.boot.clone()
    }

    /// Has the thread settle what is promised, unless it will.
    pub fn start(&mut self) {
        if !self.is_running {
            // Without a thread the promises hold until the view is closed.
            self.is_running = SETTLING.add(self.view.clone());
        }
    }
}

/// The views of this process with something to settle. They have one thread, as long as there are any.
static SETTLING: Settling = Settling(Mutex::new((Vec::new(), false)));

/// The views, and whether the thread runs.
struct Settling(Mutex<(Vec<Weak<Mutex<View>>>, bool)>);

impl Settling {
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
            views.retain(|view| view.upgrade().is_some_and(|view| !settle(&view)));
            let mut state = self.0.lock();
            state.0.append(&mut views);
            if state.0.is_empty() {
                return state.1 = false;
            }
        }
    }
}

/// Settles one copy after the other, without holding the view up; whether there is none left.
fn settle(shared: &Mutex<View>) -> bool {
    let emptied = std::mem::take(&mut shared.lock().unsettled.emptied);
    emptied.write_back();
    let due: Vec<Promise> = shared.lock().unsettled.promises.values().cloned().collect();
    for promise in due {
        // What can't be looked at now is looked at again.
        let Ok(copy) = shared.lock().copy_of(&promise) else { continue };
        if copy.is_none_or(|copy| write_back(&*copy).is_ok()) {
            shared.lock().fulfilled(&promise);
        }
    }
    let mut view = shared.lock();
    let is_done = view.unsettled.promises.is_empty() && view.unsettled.emptied.is_empty();
    view.unsettled.is_running = !is_done;
    is_done
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::super::{GraftSpec, OverlayConfig};
    use crate::store::{Name, Store, import};

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

        fn promises(&self) -> Vec<String> {
            let aside = std::fs::read_dir(self.dir.path().join("state/aside")).expect("there");
            let names = aside.map(|e| e.expect("listed").file_name().into_string().expect("ours"));
            names.filter(|n| is_promise(n.as_bytes())).collect()
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
        assert_eq!(bench.promises(), [""; 0], "a power cut after the sync takes nothing back");
        drop(view);
        std::fs::remove_file(bench.dir.path().join("upper/big")).expect("deleted");
        std::fs::remove_file(bench.dir.path().join("state/journal")).expect("deleted");

        let view = bench.open();
        view.write(big(&view), 10, b"new", None).expect("written");
        assert_eq!(bench.promises().len(), 1);
        drop(view);
        assert_eq!(bench.promises(), [""; 0]);
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
        // What the disk has when blocks in the middle and the end were never written.
        let path = bench.dir.path().join("upper/big");
        let copy = std::fs::File::options().write(true).read(true).open(&path).expect("a plain file");
        copy.set_len(6 << 20).expect("cut");
        let punch = crate::sys::fs::FallocateFlags::PUNCH_HOLE | crate::sys::fs::FallocateFlags::KEEP_SIZE;
        fs::fallocate(&copy, punch, 2 << 20, 1 << 20).expect("punched");
        let (real, time) = (copy.metadata().expect("there").ino(), copy.metadata().expect("there").modified());
        let born = fs::birth(&copy, b"").expect("known");
        let promise = Promise { boot: "before".into(), real, born, object };
        std::fs::write(bench.dir.path().join("state/aside").join(promise.name()), "").expect("made");

        drop(bench.open());
        let mut want = vec![b'o'; 8 * MIB];
        want[..5].copy_from_slice(b"first");
        want[4 << 20..][..6].copy_from_slice(b"middle");
        let mut have = vec![0; 9 * MIB];
        let len = copy.read_at(&mut have, 0).expect("read");
        assert_eq!(len, want.len());
        assert!(have[..len] == want[..], "the copy is not whole");
        assert_eq!(copy.metadata().expect("there").modified().expect("known"), time.expect("known"));
        assert_eq!(bench.promises(), [""; 0]);
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
            let promise = Promise { boot, real, born, object };
            std::fs::write(bench.dir.path().join("state/aside").join(promise.name()), "").expect("made");
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
            assert_eq!(bench.promises().len(), 1, "{what}");
            change(&view, ino);
            assert_eq!(bench.promises(), [""; 0], "{what}");
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
        let promise = Promise { boot: "before".into(), real, born, object };
        std::fs::write(bench.dir.path().join("state/aside").join(promise.name()), "").expect("made");
        let there = bench.dir.path().join("store/objects").join(object.place());
        let away = bench.dir.path().join("away");
        let read = |view: &Overlay, at| view.read(ino, at, 4096, |bytes| bytes.len());
        let is_lost = |done: Result<usize>| matches!(done, Err(Error::LostObject { .. }));

        std::fs::rename(&there, &away).expect("moved");
        for _ in 0..2 {
            let view = bench.open();
            assert_eq!(bench.promises().len(), 1);
            assert_eq!(view.getattr(ino).expect("there").size, 8 << 20);
            assert_eq!(read(&view, 0).expect("on disk"), 4096);
            assert!(is_lost(read(&view, 6 << 20)) && is_lost(read(&view, (6 << 20) - 2048)));
            assert!(is_lost(view.write(ino, 7 << 20, b"x", None).map(|_| 0)));
            assert!(view.copy_range((ino, 0), (ino, 7 << 20), 10, None).is_err());
        }
        let view = bench.open();
        std::fs::write(&there, vec![b'x'; 8 * MIB]).expect("other bytes");
        assert!(is_lost(read(&view, 7 << 20)), "what is not the object fills nothing");
        std::fs::remove_file(&there).expect("deleted");
        std::fs::copy(&away, &there).expect("healed");
        assert_eq!(read(&view, 7 << 20).expect("filled"), 4096);
        assert_eq!(bench.promises(), [""; 0]);
        let bytes = std::fs::read(&path).expect("there");
        assert!(bytes.len() == 8 * MIB && bytes.starts_with(b"firsto") && bytes.ends_with(b"oooo"));
        drop(view);

        copy.set_len(6 << 20).expect("cut");
        std::fs::write(bench.dir.path().join("state/aside").join(promise.name()), "").expect("made");
        std::fs::remove_file(&there).expect("deleted");
        let view = bench.open();
        assert!(is_lost(read(&view, 7 << 20)));
        view.view.lock().truncate(ino, 0).expect("emptied");
        view.write(ino, 0, b"anew", None).expect("written");
        assert_eq!((read(&view, 0).expect("read"), bench.promises().len()), (4, 0));
    }

    #[test]
    fn a_promise_of_another_file_changes_nothing() {
        let bench = Bench::new();
        drop(bench.open());
        let mine = bench.dir.path().join("upper/mine");
        std::fs::write(&mine, "short").expect("written");
        let real = std::fs::metadata(&mine).expect("there").ino();
        let object = bench.graft.tree.object(crate::store::Node(1)).expect("one file");
        let promise = Promise { boot: "before".into(), real, born: 1, object };
        std::fs::write(bench.dir.path().join("state/aside").join(promise.name()), "").expect("made");
        drop(bench.open());
        assert_eq!(std::fs::read(&mine).expect("there"), b"short");
        assert_eq!(bench.promises(), [""; 0]);
    }

    #[test]
    fn a_promise_is_read_back_from_its_name() {
        let promise = Promise { boot: "b007".into(), real: 77, born: u64::MAX, object: ObjectId([0xab; 32]) };
        assert_eq!(Promise::of_name(promise.name().as_bytes()), Some(promise.clone()));
        assert!(is_promise(promise.name().as_bytes()) && promise.name().len() < 255);
        for wrong in ["copy.", "copy.b.1.2", "copy.b.x.2.3", "0123456789abcdef"] {
            assert_eq!(Promise::of_name(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
