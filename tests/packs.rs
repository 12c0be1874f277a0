//! Small files lie together in packs: views read them there, gc keeps what is needed of them, verify reads them again.

#[path = "store/case.rs"]
mod case;

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use case::Case;
use depsfs::overlay::{Caller, GraftSpec, Ino, Overlay, OverlayConfig, OverlayError};
use depsfs::store::import::import_dir;
use depsfs::store::pack::Pack;
use depsfs::store::{DamageKind, GcOptions, GcReport, Name, Node, ObjectId, Provenance, Store, StoreError, TreeId};
use depsfs::sys::fs::{FallocateFlags, Timespec};

impl Case {
    /// Imports files named by these numbers, and gives the tree an entry of this name.
    fn add(&self, name: &str, files: impl Iterator<Item = u32>) -> TreeId {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        files.for_each(|n| fs::write(dir.join(n.to_string()), content(n)).unwrap());
        let tree = import_dir(&self.store, &dir, &()).unwrap().tree;
        self.store.entries().put(name, tree, Provenance::default()).unwrap();
        tree
    }

    fn packs(&self) -> Vec<(PathBuf, Pack)> {
        let files = fs::read_dir(self.store.path().join("packs")).unwrap().map(|e| e.unwrap());
        let open = |e: fs::DirEntry| Pack::open(e.file_name().to_str().unwrap().parse().unwrap(), &e.path()).unwrap().0;
        files.map(|e| (e.path(), open(e))).collect()
    }

    fn gc(&self, dry_run: bool) -> Result<GcReport, StoreError> {
        self.store.gc(&GcOptions { dry_run, keep_days: 30, now: Timespec::now() }, &())
    }

    /// The report of a dry run of gc, after it did just that.
    fn gc_as_announced(&self) -> GcReport {
        let announced = self.gc(true).unwrap();
        let done = self.gc(false).unwrap();
        assert_eq!(announced, done);
        assert_eq!(self.store.verify(&()).unwrap(), []);
        done
    }

    fn is_whole(&self, tree: TreeId) -> bool {
        let tree = self.store.tree(tree).unwrap();
        tree.objects().all(|o| self.store.objects().content(&o).is_ok_and(|c| ObjectId::of_extent(&c).unwrap() == o))
    }

    fn view(&self, name: &str, tree: TreeId) -> Overlay {
        let make = |what: &str| {
            let dir = self.dir.path().join(format!("{name} {what}"));
            fs::create_dir(&dir).unwrap();
            dir
        };
        let upper = depsfs::sys::path::open_dir(&make("upper")).unwrap();
        let grafts = vec![GraftSpec { at: PathBuf::new(), tree: self.store.tree(tree).unwrap(), retired: false }];
        let objects = self.store.objects().clone();
        Overlay::open(upper, OverlayConfig { state_dir: make("state"), grafts, objects, takeover: false }).unwrap()
    }
}

/// Different for each number, and of another length for many.
fn content(n: u32) -> Vec<u8> {
    format!("{n} ").repeat(1 + n as usize % 700).into_bytes()
}

fn find(view: &Overlay, name: impl ToString) -> Ino {
    view.lookup(Ino::ROOT, &Name::new(name.to_string().as_bytes()).unwrap()).unwrap().ino
}

fn read(view: &Overlay, ino: Ino) -> Result<Vec<u8>, OverlayError> {
    view.read(ino, 0, 1 << 20, |bytes| bytes.to_vec())
}

#[test]
fn a_view_reads_searches_and_copies_what_lies_in_a_pack() {
    let case = Case::new();
    let view = case.view("v", case.add("t", 0..300));
    assert_eq!(fs::read_dir(case.store.path().join("objects")).unwrap().count(), 0);
    for n in (0..300).rev() {
        assert_eq!(read(&view, find(&view, n)).unwrap(), content(n));
    }
    let (ino, all) = (find(&view, 123), content(123));
    let len = all.len() as u64;
    assert_eq!(view.read(ino, 7, 5, |b| b.to_vec()).unwrap(), all[7..12]);
    assert_eq!(view.read(ino, len - 2, 100, |b| b.to_vec()).unwrap(), all[all.len() - 2..]);
    assert_eq!(view.read(ino, len, 100, |b| b.len()).unwrap(), 0);
    assert_eq!((view.lseek(ino, 3, false).unwrap(), view.lseek(ino, 3, true).unwrap()), (3, len));
    assert!(matches!(view.lseek(ino, len, false), Err(OverlayError::NoData)));

    let root = view.getattr(Ino::ROOT).unwrap();
    let me = Caller { uid: root.uid, gid: root.gid };
    let new = view.create(Ino::ROOT, &Name::new(b"new").unwrap(), 0o644, me, true).unwrap().ino;
    assert_eq!(view.copy_range((ino, 2), (new, 0), 1 << 20, None).unwrap().bytes as u64, len - 2);
    assert_eq!(read(&view, new).unwrap(), all[2..]);
    view.write(ino, 1, b"XY", None).unwrap();
    let mut changed = all.clone();
    changed[1..3].copy_from_slice(b"XY");
    assert_eq!(read(&view, ino).unwrap(), changed);
    view.thaw(find(&view, 5)).unwrap();
    assert_eq!(fs::read(case.dir.path().join("v upper/5")).unwrap(), content(5));
    assert_eq!(case.store.verify(&()).unwrap(), []);
}

#[test]
fn a_pack_that_is_lost_or_cut_off_is_an_error_of_reading_and_another_import_mends_it() {
    let case = Case::new();
    let tree = case.add("t", 0..100);
    let (path, _) = case.packs().remove(0);
    let good = fs::read(&path).unwrap();
    let fresh = |name: &str| case.view(name, tree);
    let warm = fresh("warm");
    let ino = find(&warm, 50);
    assert_eq!(read(&warm, ino).unwrap(), content(50));
    fs::remove_file(&path).unwrap();
    let cold = Case { store: Store::open(case.store.path()).unwrap(), dir: tempfile::tempdir().unwrap() };
    let lost = cold.view("lost", tree);
    assert!(matches!(read(&lost, find(&lost, 50)), Err(OverlayError::LostObject { .. })));
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    let cut = Case { store: Store::open(case.store.path()).unwrap(), dir: tempfile::tempdir().unwrap() };
    let view = cut.view("cut", tree);
    assert!(matches!(read(&view, find(&view, 50)), Err(OverlayError::LostObject { .. })));
    let damage = cut.store.verify(&()).unwrap();
    assert!(damage.iter().any(|d| d.path == path && matches!(d.kind, DamageKind::Pack(_))), "{damage:?}");

    fs::rename(case.dir.path().join("t"), case.dir.path().join("again")).unwrap();
    assert_eq!(import_dir(&cut.store, &case.dir.path().join("again"), &()).unwrap().stats.new_objects, 100);
    assert_eq!(read(&view, find(&view, 50)).unwrap(), content(50));
    // The new pack has the name of the old one, and its place, when the objects came in the same order.
    let left = cut.store.verify(&()).unwrap();
    if !left.is_empty() {
        assert!(left.len() == 1 && left[0].path == path, "{left:?}");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(cut.store.verify(&()).unwrap(), []);
}

#[test]
fn verify_names_the_pack_in_which_an_object_is_damaged_and_gc_leaves_it_alone() {
    let case = Case::new();
    case.add("t", 0..100);
    let few = case.add("few", 77..79);
    let (path, pack) = case.packs().remove(0);
    let record = pack.find(&ObjectId::of(&content(77))).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[record.offset as usize + 3] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let said = |case: &Case| case.store.verify(&()).unwrap().into_iter().map(|d| (d.path, d.kind)).collect::<Vec<_>>();
    assert_eq!(said(&case), [(path.clone(), DamageKind::Packed { object: record.id, of: 1 })]);
    let stray = case.store.path().join("packs/stray");
    fs::write(&stray, "").unwrap();
    assert!(said(&case).contains(&(stray.clone(), DamageKind::Stray)));
    // Only what can be read as a whole is given a new pack.
    case.store.entries().remove("t").unwrap();
    let refused = case.gc(false);
    assert!(matches!(&refused, Err(StoreError::BadFile { path: named, .. }) if *named == path), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    // An import of the same bytes mends what is known to be damaged: then gc has nothing to refuse.
    fs::remove_file(&stray).unwrap();
    import_dir(&case.store, &case.dir.path().join("few"), &()).unwrap();
    assert!(case.is_whole(few));
    assert_eq!(case.gc(false).unwrap().objects, 98);
    assert!(case.is_whole(few));
    // The whole part of it can be kept.
    let copy = Case { store: Store::open(&case.dir.path().join("copy")).unwrap(), dir: tempfile::tempdir().unwrap() };
    let whole = copy.add("t", 0..100);
    let (at, _) = copy.packs().remove(0);
    let mut cut = fs::read(&at).unwrap();
    cut[70] ^= 1;
    fs::remove_file(&at).unwrap();
    fs::write(&at, &cut).unwrap();
    copy.store.salvage(at.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap();
    assert_eq!((copy.packs().len(), copy.packs()[0].1.records().count()), (1, 99));
    assert!(!copy.is_whole(whole));
    fs::rename(copy.dir.path().join("t"), copy.dir.path().join("again")).unwrap();
    assert_eq!(import_dir(&copy.store, &copy.dir.path().join("again"), &()).unwrap().stats.new_objects, 1);
    assert!(copy.is_whole(whole));
    assert_eq!(copy.store.verify(&()).unwrap(), []);

    // The index is checked as well.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(said(&case).contains(&(path, DamageKind::Bytes)));
}

/// A store whose pack has a hole, opened anew, with some files and one of zeros in it; none if the file system
/// makes no holes. `within` selects the part that becomes a hole.
fn with_hole(within: impl Fn(&Pack) -> Range<u64>) -> Option<(Case, TreeId)> {
    let case = Case::new();
    let dir = case.dir.path().join("t");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("zeros"), vec![0; ZEROS]).unwrap();
    FILES.for_each(|n| fs::write(dir.join(n.to_string()), content(n)).unwrap());
    let tree = import_dir(&case.store, &dir, &()).unwrap().tree;
    case.store.entries().put("t", tree, Provenance::default()).unwrap();
    let (path, pack) = case.packs().remove(0);
    let hole = within(&pack);
    // Of whole blocks: part of one is not a hole, but zeros.
    let (start, end) = (hole.start.next_multiple_of(4096), hole.end / 4096 * 4096);
    let good = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, good).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if let Err(e) = depsfs::sys::fs::fallocate(&file, flags, start, end - start) {
        println!("skipped: a hole in a pack, because the file system makes none: {e}");
        return None;
    }
    Some((Case { store: Store::open(case.store.path()).unwrap(), dir: case.dir }, tree))
}

/// Files of more than 2 KiB each.
const FILES: Range<u32> = 600..700;
/// The size of a file of zeros.
const ZEROS: usize = 60_000;

#[test]
fn bytes_in_a_hole_of_a_pack_are_absent_and_never_zeros_and_an_import_fills_them() {
    let Some((case, tree)) = with_hole(|pack| 64..pack.content_bytes()) else { return };
    let is_here = |n: u32| case.store.objects().contains_whole(&ObjectId::of(&content(n)), content(n).len() as u64);
    let absent: Vec<u32> = FILES.filter(|n| !is_here(*n)).collect();
    assert!(absent.len() > 80, "{absent:?}");
    let view = case.view("v", tree);
    for n in FILES {
        let answer = read(&view, find(&view, n));
        match absent.contains(&n) {
            true => assert!(matches!(answer, Err(OverlayError::LostObject { .. })), "{n}: {answer:?}"),
            false => assert_eq!(answer.unwrap(), content(n)),
        }
    }
    let first = find(&view, absent[0]);
    assert!(matches!(view.write(first, 1, b"x", None), Err(OverlayError::LostObject { .. })));
    assert!(matches!(view.thaw(first), Err(OverlayError::LostObject { .. })));
    assert!(!case.store.verify(&()).unwrap().is_empty());
    // As `store add` of the same files, which have not changed.
    let again = import_dir(&case.store, &case.dir.path().join("t"), &()).unwrap();
    assert_eq!((again.tree, again.stats.new_objects), (tree, absent.len() as u64));
    assert!(case.is_whole(tree));
    assert_eq!(read(&view, first).unwrap(), content(absent[0]));
    assert_eq!(case.store.verify(&()).unwrap(), []);
}

#[test]
fn an_import_fills_what_is_absent_before_anybody_has_missed_it_and_gc_tidies_up() {
    let Some((case, tree)) = with_hole(|pack| 64..pack.content_bytes()) else { return };
    let again = import_dir(&case.store, &case.dir.path().join("t"), &()).unwrap();
    assert!(again.tree == tree && again.stats.new_objects > 80);
    assert!(case.is_whole(tree));
    case.gc_as_announced();
    assert!(case.is_whole(tree) && case.packs().iter().all(|(_, pack)| pack.is_whole()));
}

#[test]
fn gc_keeps_the_rest_of_a_pack_with_a_hole() {
    let Some((case, tree)) = with_hole(|pack| {
        let record = pack.find(&ObjectId::of(&content(650))).unwrap();
        record.offset.saturating_sub(4096)..record.offset + 8192
    }) else {
        return;
    };
    let here =
        |case: &Case| case.store.tree(tree).unwrap().objects().filter(|o| case.store.objects().contains(o)).count();
    let before = here(&case);
    assert!((80..101).contains(&before), "{before}");
    case.gc(false).unwrap();
    assert_eq!((here(&case), case.packs()[0].1.records().count()), (before, before));
    assert_eq!(case.gc(true).unwrap(), GcReport::default());
}

#[test]
fn zeros_that_a_copy_made_a_hole_of_are_there() {
    let Some((case, tree)) = with_hole(|pack| {
        let record = pack.find(&ObjectId::of(&[0; ZEROS])).unwrap();
        record.offset..record.offset + u64::from(record.len)
    }) else {
        return;
    };
    assert!(case.is_whole(tree));
    assert_eq!(case.gc_as_announced(), GcReport::default());
}

#[test]
fn gc_deletes_packs_nobody_needs_and_writes_those_anew_that_are_mostly_waste() {
    let case = Case::new();
    let base = case.add("base", 0..400);
    let half = case.add("half", (0..330).chain(1000..1010));
    case.add("other", 2000..2100);
    assert_eq!(case.gc_as_announced(), GcReport::default());
    assert_eq!(case.packs().len(), 2);

    case.store.entries().remove("other").unwrap();
    let swept = case.gc_as_announced();
    assert_eq!((swept.trees, swept.objects, case.packs().len()), (1, 100, 1));
    assert!(swept.bytes > 0 && case.is_whole(base) && case.is_whole(half));

    // More than half is needed: it stays as it is.
    case.store.entries().remove("base").unwrap();
    let (path, pack) = case.packs().remove(0);
    assert_eq!((case.gc_as_announced().objects, pack.records().count()), (0, 400));
    assert!(path.exists() && case.is_whole(half));

    // Less than half: what is needed moves, and views go on.
    let few = case.add("few", 100..130);
    let (used, unused) = (case.view("used", few), case.view("unused", few));
    assert_eq!(read(&used, find(&used, 100)).unwrap(), content(100));
    case.store.entries().remove("half").unwrap();
    let before = fs::metadata(&path).unwrap().len();
    let swept = case.gc_as_announced();
    let (new, pack) = case.packs().remove(0);
    assert_eq!((swept.trees, swept.objects, pack.records().count()), (1, 380, 30));
    assert!(!path.exists() && fs::metadata(&new).unwrap().len() < before / 2 && case.is_whole(few));
    for n in 100..130 {
        assert_eq!(read(&used, find(&used, n)).unwrap(), content(n));
        assert_eq!(read(&unused, find(&unused, n)).unwrap(), content(n));
    }
    assert_eq!(case.gc_as_announced(), GcReport::default());
    case.store.entries().remove("few").unwrap();
    assert_eq!((case.gc_as_announced().objects, case.packs().len()), (30, 0));
}

#[test]
fn gc_puts_many_small_packs_together_and_keeps_one_of_what_two_have() {
    let case = Case::new();
    let trees: Vec<TreeId> = (0..10).map(|n| case.add(&n.to_string(), n * 100..n * 100 + 70)).collect();
    // Two imports side by side, neither of which saw the other's objects.
    let stages = [case.store.stage().unwrap(), case.store.stage().unwrap()];
    for (n, stage) in stages.iter().enumerate() {
        (0..70).for_each(|n| _ = stage.add_bytes(&content(9000 + n)).unwrap());
        stage.add_bytes(&content(n as u32 + 9500)).unwrap();
    }
    stages.iter().for_each(|stage| _ = stage.publish().unwrap());
    drop(stages);
    let twice = case.add("twice", (9000..9070).chain(9500..9502));
    assert_eq!(case.packs().len(), 12);
    assert_eq!(case.gc_as_announced().objects, 0);
    let packs = case.packs();
    assert_eq!((packs.len(), packs[0].1.records().count()), (1, 772));
    assert!(trees.into_iter().chain([twice]).all(|tree| case.is_whole(tree)));
    assert_eq!(case.gc_as_announced(), GcReport::default());
}

/// gc has to leave the bytes that a long-lived process still counts on, and such a process has to notice what gc took.
#[test]
fn an_import_after_gc_does_not_count_on_what_gc_took() {
    let case = Case::new();
    case.add("t", 0..100);
    case.store.entries().remove("t").unwrap();
    let elsewhere = Store::open(case.store.path()).unwrap();
    elsewhere.gc(&GcOptions { dry_run: false, keep_days: 30, now: Timespec::now() }, &()).unwrap();
    assert_eq!(case.packs().len(), 0);
    let again = case.add("again", 0..100);
    assert!(case.is_whole(again));
    let tree = case.store.tree(again).unwrap();
    assert_eq!(tree.entry_count(Node::ROOT), 100);
    assert_eq!(case.store.verify(&()).unwrap(), []);
}
