//! Grafts change while a view is mounted.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use depsfs::store::manifest::Graft;
use depsfs::store::{Store, TreeId, import};
use depsfs::sys::fs as calls;

use crate::bench::{Bench, bench, signal, wait_until};

/// A tree with these files.
fn tree(bench: &Bench, files: &[(&str, &str)]) -> TreeId {
    let dir = tempfile::tempdir_in(&bench.dir).unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let store = Store::open(&bench.manifest.store).unwrap();
    import::import_dir(&store, dir.path(), &()).unwrap().tree
}

fn graft(at: impl Into<PathBuf>, tree: TreeId) -> Graft {
    Graft { at: at.into(), tree, entry: None, origin: "a test".into(), retired: false }
}

/// The manifest wants these grafts beside those there are, which are retired when `replace`.
fn want(bench: &mut Bench, grafts: Vec<Graft>, replace: bool) {
    let view = &mut bench.manifest.views[0];
    view.grafts.iter_mut().for_each(|g| g.retired |= replace);
    view.grafts.extend(grafts);
    bench.manifest.generation += 1;
    bench.save();
}

fn generation(view: &Path) -> u64 {
    let about = calls::xattr_of_path(view, b"user.depsfs.view").unwrap();
    serde_json::from_slice::<serde_json::Value>(&about).unwrap()["generation"].as_u64().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_added_graft_is_there_for_the_next_lookup_and_nothing_is_unmounted() {
    let mut bench = bench!("v");
    let view = bench.view("v");
    let device = bench.mount().views[0].device;
    assert!(!view.join("new").exists() && !view.join("lib/new").exists());
    assert_eq!(names(&view), ["a.txt", "lib", "link"]);
    assert_eq!(names(&view.join("lib")), ["b.js", "deep"]);
    let mut open = File::open(view.join("a.txt")).unwrap();
    fs::write(view.join("lib/mine"), "mine\n").unwrap();

    let added = tree(&bench, &[("new/file", "1\n"), ("lib/new", "2\n"), ("a.txt", "another\n"), ("lib/mine", "no\n")]);
    want(&mut bench, vec![graft("", added)], false);
    let state = bench.mount();
    assert_eq!((state.generation, state.views[0].device), (bench.manifest.generation, device));
    assert_eq!(generation(&view), bench.manifest.generation);
    assert_eq!(names(&view), ["a.txt", "lib", "link", "new"]);
    assert_eq!(names(&view.join("lib")), ["b.js", "deep", "mine", "new"]);
    assert_eq!(fs::read_to_string(view.join("new/file")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(view.join("lib/new")).unwrap(), "2\n");
    assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "another\n");
    assert_eq!(fs::read_to_string(view.join("lib/mine")).unwrap(), "mine\n");
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the store\n");
}

#[test]
fn a_replaced_graft_is_gone_for_all_but_who_has_it_open_also_after_a_remount() {
    let mut bench = bench!("v");
    let view = bench.view("v");
    bench.mount();
    let mut open = File::open(view.join("lib/b.js")).unwrap();
    fs::read_dir(view.join("lib/deep")).unwrap().count();
    fs::remove_file(view.join("link")).unwrap();
    fs::write(view.join("own"), "own\n").unwrap();
    let other = tree(&bench, &[("lib/c.js", "c\n"), ("link", "a file now\n")]);
    want(&mut bench, vec![graft("", other)], true);
    for mounted_again in [false, true] {
        if mounted_again {
            bench.unmount();
        }
        bench.mount();
        assert_eq!(names(&view), ["lib", "own"]);
        assert_eq!(names(&view.join("lib")), ["c.js"]);
        assert!(!view.join("a.txt").exists() && !view.join("lib/deep/c").exists());
        assert_eq!(fs::read_to_string(view.join("lib/c.js")).unwrap(), "c\n");
        if !mounted_again {
            let mut text = String::new();
            open.read_to_string(&mut text).unwrap();
            open.rewind().unwrap();
            assert_eq!(text, "b\n".repeat(5000));
            drop(std::mem::replace(&mut open, File::open("/dev/null").unwrap()));
        }
    }
    let settled = fs::read_to_string(bench.state_dir().join("views/0000000000000000/settled")).unwrap();
    assert_eq!(settled, bench.manifest.generation.to_string());
}

#[test]
fn of_a_file_that_is_copied_because_its_tree_goes_the_attributes_of_the_copy_show() {
    let mut bench = bench!("v");
    let view = bench.view("v");
    let store = Store::open(&bench.manifest.store).unwrap();
    let with_blocks = crate::model::fixture::lower(&store, 1)[0].id();
    want(&mut bench, vec![graft("", with_blocks)], false);
    bench.mount();
    fs::rename(view.join("c/c"), view.join("moved")).unwrap();
    assert_eq!(fs::metadata(view.join("moved")).unwrap().blocks(), 8, "as its tree says of an empty file");
    bench.manifest.views[0].grafts[1].retired = true;
    want(&mut bench, vec![], false);
    bench.mount();
    let copy = fs::metadata(view.join("moved")).unwrap();
    assert_eq!((copy.len(), copy.blocks()), (0, 0));
}

#[test]
fn what_is_in_a_directory_that_was_moved_can_be_read_when_its_tree_goes() {
    let mut bench = bench!("v");
    let view = bench.view("v");
    let store = Store::open(&bench.manifest.store).unwrap();
    let going = crate::model::fixture::lower(&store, 1)[0].id();
    want(&mut bench, vec![graft("", going)], false);
    bench.mount();
    fs::rename(view.join("c"), view.join("a/b/moved")).unwrap();
    bench.manifest.views[0].grafts[1].retired = true;
    want(&mut bench, vec![], false);
    for mounted_again in [false, true] {
        if mounted_again {
            bench.unmount();
        }
        bench.mount();
        assert_eq!(names(&view.join("a/b/moved")), ["a", "b", "c"]);
        assert_eq!(fs::read_link(view.join("a/b/moved/b")).unwrap(), Path::new("../b"));
        assert_eq!(fs::read(view.join("a/b/moved/c")).unwrap(), b"");
        assert_eq!(fs::metadata(view.join("a/b/moved/c")).unwrap().len(), 0);
    }
}

#[test]
fn grafts_change_while_servers_die_and_programs_read() {
    let mut bench = bench!("v");
    let view = bench.view("v");
    bench.mount();
    let stop = AtomicBool::new(false);
    /// Also when an assertion fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(fs::read_to_string(view.join("lib/b.js")).unwrap(), "b\n".repeat(5000));
                assert!(names(&view).contains(&"lib".to_owned()));
            }
        });
        for round in 0..12 {
            let name = format!("package-{round}");
            assert!(!view.join(&name).exists());
            let added = tree(&bench, &[(&format!("{name}/index.js"), "x\n")]);
            want(&mut bench, vec![graft("", added)], false);
            if round % 3 == 2 {
                signal(bench.state().and_then(|s| s.server_pid).unwrap(), "-KILL");
            }
            bench.mount();
            assert_eq!(fs::read_to_string(view.join(&name).join("index.js")).unwrap(), "x\n", "{}", bench.log());
            assert!(names(&view).contains(&name));
        }
        drop(stopper);
        reader.join().unwrap();
    });
    bench.unmount();
}

#[test]
fn a_graft_that_is_not_in_the_store_is_told_and_the_view_stays_as_it_was() {
    let mut bench = bench!("v");
    bench.mount();
    want(&mut bench, vec![graft("", TreeId([9; 32]))], false);
    let state = bench.try_mount().unwrap();
    assert!(state.views[0].error.as_deref().is_some_and(|e| e.contains("stay as they were")), "{state:?}");
    assert!(state.views[0].mounted);
    assert_eq!(fs::read_to_string(bench.view("v/a.txt")).unwrap(), "from the store\n");
    bench.manifest.views[0].grafts.pop();
    bench.manifest.generation += 1;
    bench.save();
    assert_eq!(bench.mount().views[0].error, None);
}

#[test]
fn a_view_of_two_thousand_grafts_is_mounted_changed_and_taken_over() {
    let mut bench = bench!("v");
    let view = bench.view("v");
    let small = tree(&bench, &[("package.json", "{}\n")]);
    let grafts = |n: std::ops::Range<usize>| n.map(|n| graft(format!("node_modules/number-{n:05}"), small)).collect();
    want(&mut bench, grafts(0..2000), false);
    assert!(fs::metadata(bench.state_dir().join("manifest.json")).unwrap().len() > 200_000);
    bench.mount();
    assert_eq!(names(&view.join("node_modules")).len(), 2000);
    want(&mut bench, grafts(2000..2001), false);
    bench.mount();
    assert_eq!(names(&view.join("node_modules")).len(), 2001);
    let before = bench.state().and_then(|s| s.server_pid).unwrap();
    signal(before, "-KILL");
    wait_until("another server runs", || bench.state().and_then(|s| s.server_pid).is_some_and(|pid| pid != before));
    assert_eq!(fs::read_to_string(view.join("node_modules/number-02000/package.json")).unwrap(), "{}\n");
}
