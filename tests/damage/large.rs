//! Large objects: nobody hashes one before it is served, so a check in the background does, once in a store; and the
//! notes of what any process finds out.

use std::collections::HashSet;
use std::sync::mpsc::channel;

use depsfs::overlay::{OverlayError, Stale};
use depsfs::store::{Checked, GcOptions, Notes, ObjectId};

use super::*;

const PIECES: usize = 3;
fn large() -> Vec<u8> {
    (0..PIECES * (1 << 20)).map(|n| (n % 241 * (n % 13) + n / 4096) as u8).collect()
}

/// A store with that one.
struct One {
    case: Case,
    source: PathBuf,
    tree: TreeId,
    id: ObjectId,
}

impl One {
    fn new() -> One {
        let case = Case::new();
        let source = case.source(&[&large(), b"small"]);
        std::thread::sleep(std::time::Duration::from_millis(50));
        let tree = case.import(&source);
        One { case, source, tree, id: ObjectId::of(&large()) }
    }

    fn store(&self) -> Store {
        Store::open(self.case.store.path()).unwrap()
    }

    /// The findings of another process, and how much it reads.
    fn check(&self) -> (Checked, usize) {
        let mut pieces = 0;
        let mut count = |_| {
            pieces += 1;
            true
        };
        let found = self.store().check_large(&self.id, large().len() as u64, &mut count).unwrap();
        (found, pieces)
    }

    fn path(&self) -> PathBuf {
        self.case.store.objects().path_of(&self.id)
    }

    fn notes(&self, dir: &str) -> Vec<String> {
        let names = fs::read_dir(self.case.store.path().join(dir)).into_iter().flatten();
        names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn read(view: &Overlay) -> Result<Vec<u8>, OverlayError> {
    let attr = view.lookup(Ino::ROOT, &name("0"))?;
    view.read(attr.ino, 0, 4 << 20, |bytes| bytes.to_vec())
}

#[test]
fn a_large_object_is_read_by_the_first_who_checks_it_and_again_when_its_file_is_another() {
    let one = One::new();
    let view = one.case.view(one.tree);
    assert_eq!(view.large_objects(), [(one.id, large().len() as u64)]);
    assert_eq!(one.check(), (Checked::Sound, PIECES));
    assert_eq!(one.check(), (Checked::Sound, 0));
    flip(&one.path(), 2_000_000, 3);
    assert_eq!(one.check(), (Checked::Damaged, PIECES));
    assert_eq!(one.check(), (Checked::Damaged, 0), "it is noted which file that was");
    assert_eq!(one.case.store.lost_objects().unwrap(), [one.id]);
    let fresh = one.case.view(one.tree);
    assert!(matches!(read(&fresh), Err(OverlayError::LostObject { id, .. }) if id == one.id));
    let ino = fresh.lookup(Ino::ROOT, &name("0")).unwrap().ino;
    assert!(fresh.refuse_lost(ino).is_err() && fresh.write(ino, 0, b"x", None).is_err());
    assert_eq!(one.case.import(&one.source), one.tree);
    assert!(fresh.refuse_lost(ino).is_ok() && read(&fresh).unwrap() == large());
    assert_eq!(one.case.store.lost_objects().unwrap(), []);
    assert_eq!(one.check(), (Checked::Sound, PIECES));
}

#[test]
fn a_missing_or_shorter_object_is_found_without_reading_any_of_it() {
    let one = One::new();
    to_damage(&one.path()).set_len(5).unwrap();
    assert_eq!(one.check(), (Checked::Damaged, 0));
    fs::remove_file(one.path()).unwrap();
    assert_eq!(one.check(), (Checked::Damaged, 0));
    assert_eq!(one.case.store.lost_objects().unwrap(), [one.id]);
}

#[test]
fn one_process_at_a_time_checks_and_one_that_is_ended_leaves_the_check_to_the_next() {
    let one = One::new();
    let mut others = Vec::new();
    let mut meanwhile = |_| {
        others.push(one.check());
        false
    };
    let size = large().len() as u64;
    assert_eq!(one.store().check_large(&one.id, size, &mut meanwhile).unwrap(), Checked::Stopped);
    assert_eq!(others, [(Checked::Busy, 0)]);
    assert_eq!(one.check(), (Checked::Sound, PIECES));
}

#[test]
fn an_open_view_that_is_told_of_a_note_reads_the_object_again_and_has_the_kernel_forget_its_pages() {
    let one = One::new();
    let view = one.case.view(one.tree);
    let (tell, told) = channel();
    let tell = std::sync::Mutex::new(tell);
    view.on_stale(move |stale| drop(tell.lock().unwrap().send(stale)));
    assert!(read(&view).unwrap() == large());
    let ino = view.lookup(Ino::ROOT, &name("0")).unwrap().ino;
    let mut notes = Notes::default();
    let mut look = || notes.look(one.case.store.path()).unwrap();
    assert_eq!(look(), []);
    // As a broken disk does it: the file's times are what they were.
    let before = fs::metadata(one.path()).unwrap().modified().unwrap();
    flip(&one.path(), 7, 0);
    to_damage(&one.path()).set_modified(before).unwrap();
    assert_eq!(one.store().verify(&()).unwrap().len(), 1);
    let news = look();
    assert_eq!(news.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [one.id]);
    view.look_again_at(&HashSet::from([ObjectId::of(b"small")]));
    view.look_again_at(&HashSet::from([one.id]));
    let told: Vec<Stale> = told.try_iter().collect();
    assert!(told.contains(&Stale::Object(ino)), "{told:?}");
    // Whole again before anybody has looked once more: that is told, too.
    assert_eq!(one.case.import(&one.source), one.tree);
    assert_eq!(one.store().verify(&()).unwrap(), []);
    assert!(look().contains(&(one.id, None)));
    let later = depsfs::sys::fs::Timespec { sec: i64::MAX, nsec: 0 };
    assert_eq!(
        Notes::since(later).look(one.case.store.path()).unwrap(),
        [],
        "nothing that one of then has kept is wrong"
    );
    assert!(read(&view).unwrap() == large());
}

#[test]
fn gc_takes_the_notes_of_objects_along_that_are_gone() {
    let one = One::new();
    one.check();
    flip(&one.path(), 7, 0);
    one.check();
    let lost = [one.notes("checked"), one.notes("damaged")];
    assert_eq!(lost, [vec![one.id.hex()], vec![one.id.hex()]]);
    let now = depsfs::sys::fs::Timespec::now();
    let gc = |dry_run| one.case.store.gc(&GcOptions { dry_run, keep_days: 0, now }, &()).unwrap().objects;
    assert_eq!((gc(true), one.notes("damaged").len()), (2, 1));
    assert_eq!(gc(false), 2);
    assert_eq!([one.notes("checked"), one.notes("damaged")], [const { Vec::<String>::new() }; 2]);
}

#[test]
fn a_full_verification_notes_what_is_damaged_and_drops_what_is_whole() {
    let one = One::new();
    flip(&one.path(), 7, 0);
    assert_eq!(one.store().verify(&()).unwrap().len(), 1);
    assert_eq!(one.case.store.lost_objects().unwrap(), [one.id]);
    flip(&one.path(), 7, 0);
    assert_eq!(one.store().verify(&()).unwrap(), []);
    assert_eq!(one.case.store.lost_objects().unwrap(), []);
}
