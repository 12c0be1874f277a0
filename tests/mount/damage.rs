//! What is damaged in the store while views of it are mounted.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;

use depsfs::store::{Store, import};

use crate::bench::{bench, wait_until};

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
