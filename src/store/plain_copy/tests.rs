//! Copies of trees, compared with the directories that the trees were made of.

use super::*;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::store::import::import_dir;
use crate::sys::fs::Timespec;
use crate::sys::path as paths;

struct CopyCase {
    temp: tempfile::TempDir,
    store: Store,
    tree: Arc<Tree>,
}

/// A file, a large one, a directory, a symlink, two names of one file, an attribute, a time, modes.
fn case() -> CopyCase {
    let temp = tempfile::tempdir().expect("a directory");
    let from = temp.path().join("from");
    std::fs::create_dir_all(from.join("sub/deeper")).expect("made");
    std::fs::write(from.join("small"), "small").expect("written");
    std::fs::write(from.join("sub/large"), vec![7; 3 << 20]).expect("written");
    std::fs::write(from.join("sub/deeper/tool"), "#!/bin/sh\n").expect("written");
    std::fs::set_permissions(from.join("sub/deeper/tool"), PermissionsExt::from_mode(0o751)).expect("changed");
    std::fs::hard_link(from.join("small"), from.join("sub/again")).expect("linked");
    symlink("../small", from.join("sub/link")).expect("linked");
    for n in 0..600 {
        std::fs::write(from.join(format!("sub/deeper/{n}")), n.to_string()).expect("written");
    }
    let open = paths::open_dir(&from.join("small")).or_else(|_| {
        fs::open_path(&from.join("small"), OpenFlags::RDONLY, 0).map_err(IoError::of("open", &from.join("small")))
    });
    // Not every file system has such attributes.
    let _ = fs::set_xattr(open.expect("opened"), b"user.test", b"1", fs::XattrFlags::empty());
    for at in ["small", "sub/large", "sub/link", "sub/deeper", "sub", ""] {
        paths::set_mtime(&from.join(at), Timespec { sec: 1_000_000_000, nsec: 123 }).expect("changed");
    }
    let store = Store::open(&temp.path().join("store")).expect("a store");
    let tree = store.tree(import_dir(&store, &from, &()).expect("imported").tree).expect("a tree");
    CopyCase { temp, store, tree }
}

impl CopyCase {
    fn copy(&self, to: &str, mode: CopyMode) -> Result<PlainCopied, StoreError> {
        let at = self.temp.path().join(to);
        paths::make_dirs(&at).expect("made");
        let into = paths::open_dir(&at).expect("opened");
        copy_tree(&self.store, (&self.tree, Node::ROOT), (&into, &at), (mode, &|_: &Path| false), &())
    }

    fn is_equal(&self, to: &str) {
        let again = import_dir(&self.store, &self.temp.path().join(to), &()).expect("imported");
        assert_eq!(again.tree, self.tree.id(), "modes, times, links, attributes and bytes are those of the tree");
    }

    fn at(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }
}

#[test]
fn a_copy_has_all_that_its_tree_has() {
    let case = case();
    let copied = case.copy("to", CopyMode::New).expect("copied");
    assert_eq!((copied.written, copied.kept), (605, vec![]));
    case.is_equal("to");
    let links = |at: &str| std::fs::metadata(case.at(at)).map(|m| (m.ino(), m.nlink())).expect("there");
    assert_eq!(links("to/small"), links("to/sub/again"));
}

#[test]
fn entries_that_exist_stay_and_so_do_the_times_of_their_directories() {
    let case = case();
    std::fs::create_dir_all(case.at("to/sub")).expect("made");
    std::fs::write(case.at("to/small"), "mine").expect("written");
    std::fs::write(case.at("to/sub/deeper"), "no directory").expect("written");
    let before = std::fs::metadata(case.at("to/sub")).expect("there").mtime_nsec();
    let copied = case.copy("to", CopyMode::New).expect("copied");
    assert_eq!(copied.kept, [Path::new("small"), Path::new("sub/deeper")]);
    assert_eq!(std::fs::read(case.at("to/small")).expect("read"), b"mine");
    assert_eq!(std::fs::read(case.at("to/sub/again")).expect("read"), b"small", "no link to the worktree's own file");
    assert_eq!(std::fs::metadata(case.at("to/sub")).expect("there").mtime_nsec(), before);
}

#[test]
fn a_copy_that_was_killed_is_completed_and_own_files_stay() {
    let case = case();
    std::fs::create_dir_all(case.at("to/sub/deeper")).expect("made");
    std::fs::set_permissions(case.at("to/sub/deeper"), PermissionsExt::from_mode(0o700)).expect("changed");
    std::fs::write(case.at("to/sub/large"), vec![7; 1 << 20]).expect("written in part");
    std::fs::write(case.at("to/small"), "small").expect("written, but not dressed");
    std::fs::set_permissions(case.at("to/small"), PermissionsExt::from_mode(0o600)).expect("changed");
    std::fs::write(case.at("to/sub/deeper/7"), "").expect("made");
    assert_eq!(case.copy("to", CopyMode::Complete).expect("copied").kept, [] as [PathBuf; 0]);
    case.is_equal("to");
    std::fs::write(case.at("to/sub/deeper/9"), "other").expect("written");
    let copied = case.copy("to", CopyMode::Complete).expect("copied");
    assert_eq!((copied.written, copied.kept), (0, vec![PathBuf::from("sub/deeper/9")]));
}

#[test]
fn a_directory_without_permissions_is_filled_all_the_same() {
    let case = case();
    let from = case.at("from/sub/deeper");
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o400)).expect("changed");
    let is_closed = std::fs::symlink_metadata(from.join("1")).is_err();
    let imported = import_dir(&case.store, &case.at("from/sub"), &()).expect("imported");
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o755)).expect("changed");
    if is_closed {
        return println!("skipped: for an ordinary user it is left out of the import");
    }
    let tree = case.store.tree(imported.tree).expect("a tree");
    let case = CopyCase { tree, ..case };
    case.copy("to", CopyMode::New).expect("copied");
    let made = std::fs::metadata(case.at("to/deeper")).expect("there").mode();
    std::fs::set_permissions(case.at("to/deeper"), PermissionsExt::from_mode(0o755)).expect("changed");
    assert_eq!((made & 0o777, std::fs::read_dir(case.at("to/deeper")).expect("listed").count()), (0o400, 601));
}

#[test]
fn a_lost_object_is_an_error_and_no_file() {
    let case = case();
    let large = (0..case.tree.node_count()).map(Node).find(|n| case.tree.stat(*n).size == 3 << 20).expect("there");
    let object = case.store.objects().path_of(&case.tree.object(large).expect("an object"));
    std::fs::remove_file(object).expect("removed");
    let refused = case.copy("to", CopyMode::New).expect_err("it is lost");
    assert!(matches!(refused, StoreError::NoObject(_)), "{refused}");
    assert!(!case.at("to/sub/large").exists());
}
