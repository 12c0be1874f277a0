//! The store over its life: gc keeps what is used and sweeps the rest, verify names damage, crashes leave only garbage.

#[path = "store/case.rs"]
mod case;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use case::Case;
use depsfs::store::import::{ArchiveLimits, import_archive, import_dir};
use depsfs::store::manifest::{Graft, ViewSpec};
use depsfs::store::pack::Pack;
use depsfs::store::{DamageKind, GcOptions, GcReport, Manifest, Node, Provenance, Store, StoreError, TreeId};
use depsfs::sys::fs::Timespec;

impl Case {
    /// Imports a directory of its own with these files.
    fn tree(&self, name: &str, files: &[(&str, &str)]) -> TreeId {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        for (file, content) in files {
            fs::write(dir.join(file), content).unwrap();
        }
        import_dir(&self.store, &dir, &()).unwrap().tree
    }

    /// A worktree's manifest that uses `tree`, known to the store.
    fn root(&self, name: &str, tree: TreeId) -> PathBuf {
        let path = self.dir.path().join(name);
        let graft = Graft { at: "".into(), tree, entry: None, origin: String::new(), retired: false };
        let view =
            ViewSpec { id: "0".repeat(16), path: "node_modules".into(), grafts: vec![graft], ..ViewSpec::default() };
        let manifest = Manifest { views: vec![view], ..Manifest::new(Path::new("/w"), self.store.path()) };
        self.store.roots().add(&path, &manifest.trees()).unwrap();
        manifest.save(&path).unwrap();
        path
    }

    fn gc(&self, dry_run: bool, days_later: i64) -> Result<GcReport, StoreError> {
        let mut now = Timespec::now();
        now.sec += days_later * 86_400;
        self.store.gc(&GcOptions { dry_run, keep_days: 30, now }, &())
    }

    fn objects(&self) -> usize {
        files_below(&self.store.path().join("objects"))
            + self.packs().iter().map(|p| p.records().count()).sum::<usize>()
    }

    fn packs(&self) -> Vec<Pack> {
        let files = fs::read_dir(self.store.path().join("packs")).unwrap().map(|e| e.unwrap());
        let open = |e: fs::DirEntry| Pack::open(e.file_name().to_str().unwrap().parse().unwrap(), &e.path()).unwrap().0;
        files.map(open).collect()
    }

    fn is_whole(&self, tree: TreeId) -> bool {
        let Ok(tree) = self.store.tree(tree) else { return false };
        tree.objects().all(|o| self.store.objects().contains(&o))
    }
}

fn files_below(path: &Path) -> usize {
    let entries = fs::read_dir(path).unwrap().map(|e| e.unwrap());
    entries.map(|e| if e.file_type().unwrap().is_dir() { files_below(&e.path()) } else { 1 }).sum()
}

#[test]
fn gc_keeps_what_worktrees_and_young_entries_use_and_sweeps_the_rest() {
    let case = Case::new();
    let used = case.tree("used", &[("a", "a"), ("shared", "s")]);
    let named = case.tree("named", &[("b", "b"), ("shared", "s")]);
    let gone = case.tree("gone", &[("c", "c"), ("shared", "s")]);
    let manifest = case.root("used.json", used);
    let dead = case.root("dead.json", gone);
    fs::remove_file(&dead).unwrap();
    case.store.entries().put("named", named, Provenance::default()).unwrap();
    case.store.entries().put("also-used", used, Provenance::default()).unwrap();
    fs::write(case.store.path().join("tmp/left-by-a-crash"), "x").unwrap();
    fs::create_dir(case.store.path().join("tmp/stage")).unwrap();
    fs::write(case.store.path().join("tmp/stage/0"), "x").unwrap();

    let dry = case.gc(true, 0).unwrap();
    assert_eq!((dry.trees, dry.objects, dry.snapshots, dry.live_roots), (1, 1, 1, 1));
    assert!(dry.bytes > 0 && case.is_whole(gone));
    assert_eq!(dry.dead_roots, [dead]);

    let report = case.gc(false, 0).unwrap();
    assert_eq!((report.trees, report.objects, report.snapshots, report.temporaries), (1, 1, 1, 2));
    assert!(case.is_whole(used) && case.is_whole(named) && !case.store.has_tree(gone).unwrap());
    assert_eq!((case.objects(), files_below(&case.store.path().join("tmp"))), (3, 0));
    assert_eq!(case.store.roots().list().unwrap().len(), 1);

    let later = case.gc(false, 31).unwrap();
    assert_eq!((later.entries, later.trees, later.objects), (vec!["named".to_owned()], 1, 1));
    assert!(case.is_whole(used) && case.store.entries().get("also-used").unwrap().is_some());
    fs::remove_file(manifest).unwrap();
    case.gc(false, 31).unwrap();
    assert_eq!(case.objects(), 0);
    assert_eq!(case.gc(false, 31).unwrap(), GcReport::default());
    assert_eq!(case.store.verify(&()).unwrap(), []);
}

#[test]
fn what_gc_swept_is_read_again_by_the_next_import() {
    let case = Case::new();
    let tree = case.tree("d", &[("a", "a")]);
    std::thread::sleep(Duration::from_millis(60));
    case.tree("d", &[]);
    case.gc(false, 31).unwrap();
    assert_eq!(case.objects(), 0);
    assert_eq!(case.tree("d", &[]), tree);
    assert!(case.is_whole(tree));
}

#[test]
fn gc_stops_before_it_deletes_anything_when_it_can_not_know_what_is_used() {
    let case = Case::new();
    let used = case.tree("used", &[("a", "a")]);
    case.tree("gone", &[("c", "c")]);
    let manifest = case.root("used.json", used);
    let good = fs::read(&manifest).unwrap();
    fs::write(&manifest, &good[..good.len() / 2]).unwrap();
    assert!(matches!(case.gc(false, 0), Err(StoreError::BadFile { path, .. }) if path == manifest));
    fs::write(&manifest, &good).unwrap();
    let path = case.store.path().join("trees").join(used.place());
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    replace(&path, &bytes);
    assert!(matches!(case.gc(false, 0), Err(StoreError::BadTree { id, .. }) if id == used));
    assert_eq!(case.objects(), 2);
    let share = case.store.share().unwrap();
    assert!(matches!(case.gc(false, 0), Err(StoreError::Busy)));
    drop(share);
}

fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn verify_names_exactly_what_is_damaged() {
    let case = Case::new();
    let tree = case.tree("d", &[("changed", "1"), ("missing", "2"), ("short", "3"), ("fine", "4")]);
    case.store.entries().put("e", tree, Provenance::default()).unwrap();
    assert_eq!(case.store.verify(&()).unwrap(), []);
    let object = |content: &str| case.store.objects().path_of(&depsfs::store::ObjectId::of(content.as_bytes()));
    replace(&object("1"), b"x");
    fs::remove_file(object("2")).unwrap();
    replace(&object("3"), b"");
    let other = case.tree("other", &[("f", "4")]);
    let other_path = case.store.path().join("trees").join(other.place());
    let mut bytes = fs::read(&other_path).unwrap();
    bytes[70] ^= 1;
    replace(&other_path, &bytes);
    let stray = object("4").parent().unwrap().join("stray");
    fs::write(&stray, "").unwrap();
    let needed = DamageKind::Missing { needed_by: format!("tree {tree}") };
    let mut expected = vec![
        (object("1"), DamageKind::Bytes),
        (object("2"), needed),
        (object("3"), DamageKind::Bytes),
        (other_path, DamageKind::Bytes),
        (stray, DamageKind::Stray),
    ];
    expected.sort();
    let found: Vec<_> = case.store.verify(&()).unwrap().into_iter().map(|d| (d.path, d.kind)).collect();
    assert_eq!(found, expected);
    // A tree of the right name that no builder writes, and an entry whose tree is gone.
    fs::remove_file(case.store.path().join("trees").join(tree.place())).unwrap();
    let found = case.store.verify(&()).unwrap();
    assert!(found.iter().any(|d| d.kind == DamageKind::Missing { needed_by: "entry e".into() }), "{found:?}");
}

/// Imports, and gc again and again: no tree that an import gave back while it held its share lacks anything.
#[test]
fn gc_beside_imports_takes_nothing_they_need() {
    let case = Case::new();
    let sources: Vec<PathBuf> = (0..3)
        .map(|n| {
            let dir = case.dir.path().join(format!("src{n}"));
            fs::create_dir(&dir).unwrap();
            (0..60).for_each(|f| fs::write(dir.join(f.to_string()), format!("{}", f % (20 + n))).unwrap());
            dir
        })
        .collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    let swept = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let swept = &swept;
        let imports: Vec<_> = sources
            .iter()
            .map(|source| {
                let path = case.store.path();
                scope.spawn(move || {
                    // On a busy machine one or another import holds a share for long.
                    let has_swept = || swept.load(std::sync::atomic::Ordering::Relaxed) > 0;
                    for _ in (0..1000).take_while(|n| *n < 15 || !has_swept()) {
                        let store = Store::open(path).unwrap();
                        let share = store.share().unwrap();
                        let tree = store.tree(import_dir(&store, source, &()).unwrap().tree).unwrap();
                        assert!(tree.objects().all(|o| store.objects().contains(&o)));
                        drop(share);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                })
            })
            .collect();
        let sweeper = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                swept.fetch_add(usize::from(case.gc(false, 0).is_ok()), std::sync::atomic::Ordering::Relaxed);
            }
        });
        for import in imports {
            import.join().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        sweeper.join().unwrap();
    });
    assert!(swept.into_inner() > 0, "gc never had the store for itself");
    assert_eq!(case.store.verify(&()).unwrap(), []);
    assert_eq!(files_below(&case.store.path().join("tmp")), 0);
}

const DIRS: [&str; 3] = ["objects", "packs", "trees"];

/// Run as a process of its own by the test below: imports until it is killed. Without its variable it does nothing.
#[test]
fn import_until_killed() {
    let Some(dir) = std::env::var_os("DEPSFS_TEST_KILLED") else { return };
    let dir = Path::new(&dir);
    let store = Store::open(&dir.join("store")).unwrap();
    loop {
        import_dir(&store, &dir.join("src"), &()).unwrap();
        for dir in DIRS {
            fs::remove_dir_all(store.path().join(dir)).unwrap();
            fs::create_dir(store.path().join(dir)).unwrap();
        }
    }
}

#[test]
fn a_killed_import_leaves_nothing_that_gc_does_not_sweep_and_no_lock() {
    let case = Case::new();
    let src = case.dir.path().join("src");
    fs::create_dir(&src).unwrap();
    (0..400).for_each(|n| fs::write(src.join(n.to_string()), vec![b'x'; n * 200]).unwrap());
    let mut interrupted = 0;
    for round in 0..12u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "import_until_killed"])
            .env("DEPSFS_TEST_KILLED", case.dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 + round * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        DIRS.iter().for_each(|d| drop(fs::create_dir(case.store.path().join(d))));
        interrupted += usize::from(files_below(&case.store.path().join("tmp")) > 0);
        // Trees are named last: one that is there has all it needs, or the child was just deleting it.
        case.gc(false, 31).unwrap();
        assert_eq!(files_below(&case.store.path().join("tmp")), 0);
        assert_eq!(case.objects(), 0);
    }
    assert!(interrupted > 0, "no import was killed half-way");
    let store = Store::open(case.store.path()).unwrap();
    let tree = store.tree(import_dir(&store, &src, &()).unwrap().tree).unwrap();
    assert_eq!(tree.entry_count(Node::ROOT), 400);
    assert_eq!(store.verify(&()).unwrap(), []);
}

/// Several processes at once, as parallel bootstraps do it.
#[test]
fn processes_that_import_the_same_archive_make_one_tree() {
    if let Some(dir) = std::env::var_os("DEPSFS_TEST_IMPORT") {
        let store = Store::open(&Path::new(&dir).join("store")).unwrap();
        import_archive(&store, &Path::new(&dir).join("a.tar.gz"), &ArchiveLimits::default(), &()).unwrap();
        return;
    }
    let case = Case::new();
    let src = case.dir.path().join("src");
    fs::create_dir(&src).unwrap();
    (0..300).for_each(|n| fs::write(src.join(n.to_string()), format!("content {n}")).unwrap());
    let archive = case.dir.path().join("a.tar.gz");
    let tar = std::process::Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&src).arg(".").status();
    assert!(tar.unwrap().success());
    fs::remove_dir_all(case.store.path()).unwrap();
    let children: Vec<_> = (0..6)
        .map(|_| {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "processes_that_import_the_same_archive_make_one_tree"])
                .env("DEPSFS_TEST_IMPORT", case.dir.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::open(case.store.path()).unwrap();
    assert_eq!(files_below(&store.path().join("trees")), 1);
    assert_eq!((case.packs().len(), case.objects()), (1, 300), "the archive was unpacked more than once");
    assert_eq!(files_below(&store.path().join("objects")), 0);
    assert_eq!(files_below(&store.path().join("tmp")), 0);
    assert_eq!(store.verify(&()).unwrap(), []);
}
