//! Every call of every change of a store fails: the error is reported, nothing half done stays, and a retry succeeds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::import::{self, ImportError};
use super::manifest::Manifest;
use super::tree::NodeMeta;
use super::{GcOptions, Provenance, Store, StoreError, TreeBuilder, TreeId};
use crate::sys::fault::{Call, Plan};
use crate::sys::fs::Timespec;
use crate::sys::path as paths;

/// A store with an entry in it, and what comes into it.
struct Case {
    dir: tempfile::TempDir,
    store: Store,
}

/// The error, as a caller sees it: errno and text.
#[derive(Debug)]
struct Failed(Option<i32>, String);

impl From<StoreError> for Failed {
    fn from(e: StoreError) -> Failed {
        let errno = if let StoreError::Io(io) = &e { Some(io.errno()) } else { None };
        Failed(errno, format!("{e:?}"))
    }
}

impl From<ImportError> for Failed {
    fn from(e: ImportError) -> Failed {
        match e {
            ImportError::Store(e) => e.into(),
            ImportError::Io(io) => Failed(Some(io.errno()), format!("{io:?}")),
            other => Failed(None, format!("{other:?}")),
        }
    }
}

type Op = fn(&Case) -> Result<(), Failed>;

const OPS: &[(&str, Op)] = &[
    ("import a directory", |c| Ok(import::import_dir(&c.store, &c.path("source"), &()).map(drop)?)),
    ("import an archive", |c| {
        Ok(import::import_archive(&c.store, &c.path("source.tar"), &Default::default(), &()).map(drop)?)
    }),
    ("put an entry", |c| {
        let tree = c.store.put_tree(&TreeBuilder::new(NodeMeta { perm: 0o700, ..NodeMeta::default() }))?;
        Ok(c.store.entries().put("new", tree, Provenance::default())?)
    }),
    ("touch an entry", |c| Ok(c.store.entries().touch("old")?)),
    ("remove an entry", |c| Ok(c.store.entries().remove("old").map(drop)?)),
    ("add a root", |c| Ok(c.store.roots().add(&c.path("manifest"), &BTreeSet::new())?)),
    ("hold a root", |c| Ok(c.store.roots().hold(&c.path("manifest"), &BTreeSet::new()).map(drop)?)),
    ("save a manifest", |c| Ok(c.manifest().save(&c.path("manifest"))?)),
    ("gc", |c| {
        let far = Timespec { sec: Timespec::now().sec + 1_000_000_000, nsec: 0 };
        Ok(sweep(&c.store, &GcOptions { dry_run: false, keep_days: 1, now: far })?)
    }),
    ("make a store", |c| Ok(Store::open(&c.path("another")).map(drop)?)),
];

impl Case {
    fn new(base: &Path) -> Case {
        let dir = tempfile::tempdir_in(base).expect("a directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let case = Case { dir, store };
        let source = case.path("source");
        paths::make_dirs(&source.join("sub")).expect("made");
        for (name, len) in [("a", 10), ("sub/b", 5000), ("sub/big", 160_000)] {
            std::fs::write(source.join(name), name.repeat(len).as_bytes()).expect("written");
        }
        let mut tar = tar::Builder::new(std::fs::File::create(case.path("source.tar")).expect("a file"));
        tar.append_dir_all(".", &source).and_then(|()| tar.finish()).expect("an archive");
        let tree = case.store.put_tree(&TreeBuilder::new(NodeMeta::default())).expect("put");
        case.store.entries().put("old", tree, Provenance::default()).expect("put");
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn manifest(&self) -> Manifest {
        Manifest::new(Path::new("/w"), self.store.path())
    }

    fn is_sound(&self) -> Result<(), String> {
        match self.store.verify(&()) {
            Ok(damage) if damage.is_empty() => Ok(()),
            Ok(damage) => Err(format!("damaged: {damage:?}")),
            Err(e) => Err(format!("not verified: {e}")),
        }
    }

    /// The unfinished files in `tmp` and beside the store.
    fn leftovers(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for dir in [self.store.path().join("tmp"), self.dir.path().into()] {
            let list = paths::list(&dir).expect("listed");
            names.extend(list.into_iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()));
        }
        names.retain(|n| !["store", "source", "source.tar", "manifest", "another"].contains(&&n[..]));
        names
    }
}

fn sweep(store: &Store, options: &GcOptions) -> Result<(), StoreError> {
    for _ in 0..100 {
        match store.gc(options, &()) {
            // A program that another test is starting has the lock's descriptor for a moment.
            Err(StoreError::Busy) => std::thread::sleep(std::time::Duration::from_millis(50)),
            swept => return swept.map(drop),
        }
    }
    Err(StoreError::Busy)
}

fn judge(base: &Path, op: Op, plan: Plan) -> Result<bool, String> {
    let case = Case::new(base);
    let guard = plan.lay();
    let result = op(&case);
    let hits = guard.failed();
    drop(guard);
    if let Err(Failed(errno, why)) = &result
        && *errno != Some(plan.errno)
    {
        return Err(format!("the error is {why}"));
    }
    // Files that can't be deleted are left to gc.
    if !hits.iter().any(|h| matches!(h.0, Call::Remove | Call::Look | Call::Open)) && !case.leftovers().is_empty() {
        return Err(format!("{:?} is left", case.leftovers()));
    }
    case.is_sound()?;
    if result.is_err() {
        op(&case).map_err(|e| format!("not when tried again: {e:?}"))?;
        case.is_sound()?;
    }
    let options = GcOptions { dry_run: false, keep_days: 30, now: Timespec::now() };
    sweep(&case.store, &options).map_err(|e| format!("gc: {e}"))?;
    let left = paths::list(&case.store.path().join("tmp")).expect("listed");
    if left.is_empty() { Ok(!hits.is_empty()) } else { Err(format!("gc leaves {left:?}")) }
}

#[test]
fn a_call_that_fails_is_told_and_leaves_the_store_sound() {
    let in_memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let (mut wrong, mut runs) = (Vec::new(), 0);
    let plans = [
        Plan { calls: |_| true, from: 0, for_ever: false, errno: libc::EIO, torn: false },
        Plan { calls: |c| c == Call::Add, from: 0, for_ever: true, errno: libc::ENOSPC, torn: true },
        Plan { calls: |c| c == Call::Add, from: 0, for_ever: false, errno: libc::EDQUOT, torn: false },
        Plan {
            calls: |c| matches!(c, Call::Open | Call::Add),
            from: 0,
            for_ever: true,
            errno: libc::EMFILE,
            torn: false,
        },
    ];
    for (what, op) in OPS {
        for plan in plans {
            // Late calls are much alike: one of three, unless all are asked for.
            let every = std::env::var_os("DEPSFS_FAULT_ALL").is_some();
            for n in (0..).filter(|n| every || *n < 30 || n % 3 == 0) {
                runs += 1;
                match judge(in_memory.path(), *op, Plan { from: n, ..plan }) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(why) => wrong.push(format!("{what}, errno {}, call {n}: {why}", plan.errno)),
                }
                assert!(n < 5000, "{what} never ends");
            }
        }
    }
    println!("{runs} failures of {} changes of a store", OPS.len());
    assert!(wrong.is_empty(), "{} complaints\n{}", wrong.len(), wrong.join("\n"));
}

/// A store whose only pack is mostly waste: gc writes anew what the entry `live` needs of it.
fn with_waste(base: &Path) -> (Case, TreeId) {
    let case = Case::new(base);
    case.store.entries().remove("old").expect("removed");
    let import = |name: &str, count: usize| {
        let source = case.path(name);
        paths::make_dirs(&source).expect("made");
        for n in 0..count {
            std::fs::write(source.join(n.to_string()), n.to_string().repeat(500)).expect("written");
        }
        import::import_dir(&case.store, &source, &()).expect("imported").tree
    };
    import("source/many", 100);
    let live = import("source/few", 20);
    case.store.entries().put("live", live, Provenance::default()).expect("put");
    (case, live)
}

#[test]
fn a_gc_that_is_killed_while_it_writes_a_pack_anew_loses_nothing_that_is_needed() {
    let in_memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let options = GcOptions { dry_run: false, keep_days: 30, now: Timespec::now() };
    let (whole, _) = with_waste(in_memory.path());
    let packs = |case: &Case| case.store.objects().packs().list().expect("listed");
    let before = packs(&whole);
    sweep(&whole.store, &options).expect("swept");
    let after = packs(&whole);
    assert!(before.len() == 1 && after.len() == 1 && after[0].records().count() == 20);
    // Late calls are much alike.
    let every = std::env::var_os("DEPSFS_FAULT_ALL").is_some();
    let mut kills = 0;
    for n in (0..5000).filter(|n| every || *n < 40 || n % 5 == 0) {
        let (case, live) = with_waste(in_memory.path());
        // One that is killed makes no call any more.
        let guard = Plan { calls: |_| true, from: n, for_ever: true, errno: libc::EIO, torn: true }.lay();
        let swept = sweep(&case.store, &options);
        let was_killed = !guard.failed().is_empty();
        drop(guard);
        if !was_killed {
            swept.expect("nothing failed");
            break;
        }
        kills += 1;
        let store = Store::open(case.store.path()).expect("opened");
        for again in [false, true] {
            let tree = store.tree(live).unwrap_or_else(|e| panic!("killed at call {n}, again {again}: {e}"));
            for id in tree.objects() {
                let content = store.objects().content(&id);
                assert!(content.is_ok(), "killed at call {n}, again {again}: {:?}", content.err());
            }
            case.is_sound().unwrap_or_else(|why| panic!("killed at call {n}, again {again}: {why}"));
            sweep(&store, &options).expect("swept");
        }
        assert_eq!(packs(&case).iter().map(|pack| pack.records().count()).collect::<Vec<_>>(), [20], "call {n}");
        assert_eq!(case.leftovers(), [""; 0], "call {n}");
    }
    assert!(kills > 50, "{kills}");
    println!("killed at {kills} calls");
}
