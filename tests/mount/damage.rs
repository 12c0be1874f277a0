//! Damage in the store while views of it are mounted.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use depsfs::store::{ObjectId, Store, TreeId, import};

use crate::bench::{Bench, bench, is_root, wait_until};

#[test]
fn a_tree_that_is_cut_while_it_is_mounted_ends_no_server_and_its_view_is_there_again_with_it() {
    let mut bench = bench!("v");
    for n in 0..1500 {
        fs::write(bench.dir.join(format!("source/lib/deep/{n}")), n.to_string()).unwrap();
    }
    let store = Store::open(&bench.manifest.store).unwrap();
    let tree = import::import_dir(&store, &bench.dir.join("source"), &()).unwrap().tree;
    bench.manifest.views[0].grafts[0].tree = tree;
    bench.save();
    let view = bench.view("v");
    let server = bench.mount().server_pid;
    let path = store.tree_path(tree);
    let good = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    for name in ["a.txt", "lib/b.js", "absent"] {
        let error = fs::read(view.join(name)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "{name}: {error}");
    }
    assert!(fs::read_dir(&view).and_then(|mut names| names.next().transpose()).is_err());
    assert!(fs::write(view.join("new"), "").is_err());
    assert_eq!(bench.state().unwrap().server_pid, server, "{}", bench.log());
    assert!(bench.log().contains("has lost bytes"), "{}", bench.log());
    fs::remove_file(&path).unwrap();
    fs::write(&path, &good).unwrap();
    wait_until("the tree is whole again", || fs::read(view.join("a.txt")).is_ok());
    assert_eq!(fs::read_to_string(view.join("lib/b.js")).unwrap(), "b\n".repeat(5000));
    assert!(fs::read(view.join("absent")).unwrap_err().kind() == std::io::ErrorKind::NotFound);
    assert_eq!(bench.state().unwrap().server_pid, server, "{}", bench.log());
}

#[test]
fn a_view_of_a_damaged_tree_is_not_mounted_and_the_error_names_the_tree() {
    let bench = bench!("v");
    let store = Store::open(&bench.manifest.store).unwrap();
    let tree = bench.manifest.views[0].grafts[0].tree;
    let mut bytes = fs::read(store.tree_path(tree)).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 4;
    fs::remove_file(store.tree_path(tree)).unwrap();
    fs::write(store.tree_path(tree), &bytes).unwrap();
    let why = match bench.try_mount() {
        Ok(state) => state.views[0].error.clone().expect("it is not mounted"),
        Err(e) => e.to_string(),
    };
    assert!(why.contains(&tree.hex()), "{why}");
    assert_eq!(bench.mounted(), Vec::<String>::new());
}

/// More than is hashed before it is served.
fn large() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n % 241 * (n % 13) + n / 4096) as u8).collect()
}

/// Has all views of the bench show a tree with that as `big`; the store's file of it.
fn with_large(bench: &mut Bench) -> (Store, PathBuf) {
    fs::write(bench.dir.join("source/big"), large()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let store = Store::open(&bench.manifest.store).unwrap();
    let tree: TreeId = import::import_dir(&store, &bench.dir.join("source"), &()).unwrap().tree;
    bench.manifest.views.iter_mut().for_each(|view| view.grafts[0].tree = tree);
    bench.save();
    let object = store.objects().path_of(&ObjectId::of(&large()));
    (store, object)
}

/// As a broken disk does it: the file's mtime is what it was.
fn flip(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    file.set_modified(before).unwrap();
}

fn is_lost(path: &Path) -> bool {
    fs::read(path).is_err_and(|e| e.raw_os_error() == Some(5))
}

#[test]
fn a_large_object_is_compared_with_its_name_after_the_mount_and_is_an_error_from_then_on_until_it_is_mended() {
    for wish in ["never", "1"] {
        if wish == "1" && !is_root() {
            println!("skipped: only root's views pass files through");
            continue;
        }
        let mut bench = bench!("v", "w");
        bench.start_with(&format!("DEPSFS_PASSTHROUGH={wish} DEPSFS_CHECK=200"));
        let (store, object) = with_large(&mut bench);
        flip(&object, 1_500_000);
        bench.mount();
        let (v, w) = (bench.view("v/big"), bench.view("w/big"));
        let open = File::open(&v);
        wait_until("it is found", || is_lost(&v) && is_lost(&w));
        assert!(bench.log().contains("its bytes are not those of its name"), "{}", bench.log());
        assert_eq!(store.lost_objects().unwrap(), [ObjectId::of(&large())]);
        // The kernel has no page of it any more; what is passed through is past the server.
        if let (Ok(open), "never") = (&open, wish) {
            assert!(open.read_exact_at(&mut [0; 10], 1_500_000).is_err());
        }
        drop(open);
        bench.unmount();
        bench.mount();
        assert!(is_lost(&v), "it is known at once to the next server");
        import::import_dir(&store, &bench.dir.join("source"), &()).unwrap();
        wait_until("it is whole", || [&v, &w].iter().all(|path| fs::read(path).is_ok_and(|bytes| bytes == large())));
        assert_eq!(store.lost_objects().unwrap(), []);
        bench.unmount();
    }
}

#[test]
fn what_is_found_out_later_about_any_object_reaches_views_that_are_mounted_and_have_its_pages() {
    for wish in ["never", "1"] {
        if wish == "1" && !is_root() {
            println!("skipped: only root's views pass files through");
            continue;
        }
        let mut bench = bench!("v");
        bench.start_with(&format!("DEPSFS_PASSTHROUGH={wish} DEPSFS_CHECK=100"));
        let (store, object) = with_large(&mut bench);
        bench.mount();
        let big = bench.view("v/big");
        wait_until("it is checked", || store.path().join("checked").join(ObjectId::of(&large()).hex()).exists());
        assert!(fs::read(&big).unwrap() == large());
        let small = ObjectId::of(b"from the store\n");
        let small = store.objects().path_of(&small);
        assert_eq!(fs::read_to_string(bench.view("v/a.txt")).unwrap(), "from the store\n");
        flip(&object, 10);
        flip(&small, 3);
        assert_eq!(store.verify(&()).unwrap().len(), 2);
        wait_until("the view has it, too", || is_lost(&big) && is_lost(&bench.view("v/a.txt")));
        import::import_dir(&store, &bench.dir.join("source"), &()).unwrap();
        wait_until("it is whole", || fs::read(&big).is_ok_and(|bytes| bytes == large()));
        wait_until("it is whole", || fs::read(bench.view("v/a.txt")).is_ok());
        bench.unmount();
    }
}

#[test]
fn a_view_is_unmounted_at_once_while_its_objects_are_checked() {
    let mut bench = bench!("v");
    bench.start_with("DEPSFS_CHECK=0");
    // Holes take no room, and time to hash.
    let huge = File::create(bench.dir.join("source/huge")).unwrap();
    huge.set_len(2 << 30).unwrap();
    with_large(&mut bench);
    bench.mount();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let begun = std::time::Instant::now();
    bench.unmount();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
