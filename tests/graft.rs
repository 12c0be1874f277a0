//! Layers that come, change and go under a view that is in use.

#[path = "graft/compare.rs"]
mod compare;
#[path = "graft/give_up.rs"]
mod give_up;
#[path = "graft/uncover.rs"]
mod uncover;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use depsfs::overlay::{Caller, GraftSpec, Ino, Overlay, OverlayConfig, OverlayError, SetAttr, Stale};
use depsfs::store::{Name, Store, Tree, import};
use depsfs::sys::fs::{RenameFlags, SetTime};

/// The user of the tests.
fn me() -> Caller {
    Caller { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
}

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for sub in ["upper", "state"] {
            std::fs::create_dir(dir.path().join(sub)).expect("a directory");
        }
        let store = Store::open(&dir.path().join("store")).expect("a store");
        Fixture { dir, store }
    }

    /// A tree of files, path and content; all of one time.
    fn tree(&self, files: &[(&str, &str)]) -> GraftSpec {
        let source = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        for (path, text) in files {
            let file = source.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            std::fs::write(&file, text).expect("a file");
            let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            std::fs::File::open(&file).and_then(|f| f.set_modified(time)).expect("a time");
        }
        let imported = import::import_dir(&self.store, source.path(), &()).expect("imported");
        let tree: Arc<Tree> = self.store.tree(imported.tree).expect("there");
        GraftSpec { at: PathBuf::new(), tree, retired: false }
    }

    fn open(&self, grafts: Vec<GraftSpec>) -> Overlay {
        let upper = depsfs::sys::path::open_dir(&self.dir.path().join("upper")).expect("the upper");
        let objects = self.store.objects().clone();
        let state_dir = self.dir.path().join("state");
        Overlay::open(upper, OverlayConfig { state_dir, grafts, objects, takeover: false }).expect("opens")
    }
}

fn retired(graft: &GraftSpec) -> GraftSpec {
    GraftSpec { retired: true, ..graft.clone() }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

fn find(view: &Overlay, path: &str) -> Result<Ino, OverlayError> {
    Path::new(path).iter().try_fold(Ino::ROOT, |at, part| {
        view.lookup(at, &Name::new(part.as_bytes()).expect("a name")).map(|attr| attr.ino)
    })
}

fn text(view: &Overlay, path: &str) -> Option<String> {
    let ino = find(view, path).ok()?;
    Some(view.read(ino, 0, 4096, |b| String::from_utf8_lossy(b).into_owned()).expect("readable"))
}

fn content(view: &Overlay, ino: Ino) -> String {
    view.read(ino, 0, 4096, |b| String::from_utf8_lossy(b).into_owned()).expect("readable")
}

#[test]
fn a_graft_that_is_added_shows_at_the_next_lookup_and_the_kernel_is_told_which_names() {
    let f = Fixture::new();
    let one = f.tree(&[("a/x", "x"), ("b", "b")]);
    let view = f.open(vec![one.clone()]);
    let (dir, before) = (find(&view, "a").expect("there"), find(&view, "b").expect("there"));
    assert!(matches!(find(&view, "a/y"), Err(OverlayError::NotFound)));
    let stale = view.regraft(vec![one, f.tree(&[("a/y", "y"), ("c", "c")])]).expect("grafted");
    assert_eq!(text(&view, "a/y").as_deref(), Some("y"));
    assert_eq!(text(&view, "a/x").as_deref(), Some("x"));
    assert_eq!((find(&view, "a").expect("there"), find(&view, "b").expect("there")), (dir, before));
    for wanted in [
        Stale::Entry { parent: dir, name: name("y") },
        Stale::Entry { parent: Ino::ROOT, name: name("c") },
        Stale::Inode(dir),
        Stale::Inode(Ino::ROOT),
    ] {
        assert!(stale.contains(&wanted), "{wanted:?} of {stale:?}");
    }
    assert!(!stale.contains(&Stale::Entry { parent: Ino::ROOT, name: name("b") }));
}

#[test]
fn a_replaced_graft_leaves_own_changes_on_top_and_open_files_what_they_have() {
    let f = Fixture::new();
    let old = f.tree(&[("same", "s"), ("d/changed", "old"), ("d/mine", "m"), ("d/gone", "g"), ("d/del", "x")]);
    let new = f.tree(&[("same", "s"), ("d/changed", "new"), ("d/mine", "m2"), ("d/added", "a"), ("d/del", "x2")]);
    let view = f.open(vec![old.clone()]);
    let dir = find(&view, "d").expect("there");
    let open = [find(&view, "d/changed").expect("there"), find(&view, "d/gone").expect("there")];
    let same = find(&view, "same").expect("there");
    view.write(find(&view, "d/mine").expect("there"), 0, b"MINE", None).expect("written");
    view.unlink(dir, &name("del")).expect("deleted");
    let touched =
        SetAttr { mode: Some(0o600), uid: None, gid: None, size: None, atime: SetTime::Keep, mtime: SetTime::Keep };
    view.setattr(dir, me(), SetAttr { mode: Some(0o711), ..touched }).expect("changed");
    view.regraft(vec![new.clone(), retired(&old)]).expect("grafted");

    let shows = |view: &Overlay| {
        assert_eq!(text(view, "d/changed").as_deref(), Some("new"));
        assert_eq!(text(view, "d/added").as_deref(), Some("a"));
        assert_eq!(text(view, "d/mine").as_deref(), Some("MINE"));
        assert_eq!((text(view, "d/gone"), text(view, "d/del")), (None, None));
        assert_eq!(view.getattr(find(view, "d").expect("there")).expect("there").mode & 0o7777, 0o711);
    };
    shows(&view);
    assert_eq!((content(&view, open[0]), content(&view, open[1])), ("old".into(), "g".into()));
    assert_eq!(find(&view, "d").expect("there"), dir, "a directory stays the same one");
    assert_eq!(find(&view, "same").expect("there"), same, "and so does a file that is the same");

    drop(view);
    shows(&f.open(vec![new.clone(), retired(&old)]));
    shows(&f.open(vec![new]));
}

#[test]
fn what_was_moved_out_of_a_graft_stays_when_the_graft_is_replaced() {
    let f = Fixture::new();
    let old = f.tree(&[("d/deep/a", "a"), ("f", "f")]);
    let new = f.tree(&[("f", "f2")]);
    let view = f.open(vec![old.clone()]);
    view.rename(Ino::ROOT, &name("d"), Ino::ROOT, &name("moved"), RenameFlags::empty()).expect("moved");
    view.rename(Ino::ROOT, &name("f"), Ino::ROOT, &name("g"), RenameFlags::empty()).expect("moved");
    view.regraft(vec![new.clone(), retired(&old)]).expect("grafted");
    let shows = |view: &Overlay| {
        assert_eq!(text(view, "moved/deep/a").as_deref(), Some("a"));
        assert_eq!(text(view, "g").as_deref(), Some("f"));
    };
    shows(&view);
    drop(view);
    shows(&f.open(vec![new.clone(), retired(&old)]));
    shows(&f.open(vec![new]));
}

#[test]
fn sixteen_that_add_one_file_each_to_one_directory_lose_none() {
    let f = Fixture::new();
    let mut grafts = vec![f.tree(&[("target/base", "b")])];
    let view = f.open(grafts.clone());
    for i in 0..16 {
        grafts.push(f.tree(&[(&format!("target/contract-{i}.json"), "{}")]));
        view.regraft(grafts.clone()).expect("grafted");
    }
    let mut names = 0;
    view.readdir(find(&view, "target").expect("there"), 2, false, &mut |_| {
        names += 1;
        true
    })
    .expect("listed");
    assert_eq!(names, 17);
    assert_eq!(text(&view, "target/base").as_deref(), Some("b"));
}

#[test]
fn deleting_a_directory_of_many_files_costs_one_record_in_the_end() {
    let f = Fixture::new();
    let names: Vec<String> = (0..30_000).map(|i| format!("d/file-with-a-name-{i}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "")).collect();
    let view = f.open(vec![f.tree(&files)]);
    let dir = find(&view, "d").expect("there");
    for n in &names {
        view.unlink(dir, &name(n.trim_start_matches("d/"))).expect("deleted");
    }
    view.rmdir(Ino::ROOT, &name("d")).expect("deleted");
    let journal = f.dir.path().join("state/journal");
    let len = std::fs::metadata(&journal).expect("there").len();
    assert!(len < 300, "{len} bytes for one whiteout");
    drop(view);
    let view = f.open(vec![f.tree(&files)]);
    assert!(matches!(find(&view, "d"), Err(OverlayError::NotFound)));
}

/// Every path on the way has an answer in time, and no thread's stack ends: 2 MB as the server's.
#[test]
fn a_tree_three_thousand_directories_deep_is_written_at_its_bottom() {
    let f = Fixture::new();
    let meta = depsfs::store::tree::NodeMeta { perm: 0o755, ..Default::default() };
    let mut builder = depsfs::store::TreeBuilder::new(meta.clone());
    let mut slot = depsfs::store::tree::Slot::ROOT;
    for _ in 0..3000 {
        slot = builder.add(slot, name("d"), meta.clone(), depsfs::store::tree::Item::Dir).expect("a directory");
    }
    let tree = f.store.tree(f.store.put_tree(&builder).expect("a tree")).expect("there");
    let view = f.open(vec![GraftSpec { at: PathBuf::new(), tree, retired: false }]);
    let work = move || {
        let bottom = (0..3000).fold(Ino::ROOT, |at, _| view.lookup(at, &name("d")).expect("there").ino);
        view.mkdir(bottom, &name("new"), 0o755, me()).expect("made");
        view.rename(bottom, &name("new"), bottom, &name("other"), RenameFlags::empty()).expect("renamed");
        view.rmdir(bottom, &name("other")).expect("removed");
        view.changes(Ino::ROOT, 0, 10).expect("compared").len()
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    assert_eq!(thread.join().expect("no overflow"), 1);
}
