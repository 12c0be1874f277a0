//! A disk that is full, for real: a small file system on a loop device, with no block or no inode left.

#[path = "full/small.rs"]
mod small;

use std::sync::Arc;

use depsfs::overlay::{Caller, GraftSpec, Ino, Overlay, OverlayConfig, OverlayError};
use depsfs::store::{Name, Store, Tree, import};

use small::{Small, fill, small};

const ME: Caller = Caller { uid: 0, gid: 0 };

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// A view of a directory `d` with many files, whose own files are on the small disk.
struct Bench {
    disk: Small,
    tree: Arc<Tree>,
    store: Store,
    _dir: tempfile::TempDir,
}

const FILES: usize = 600;

impl Bench {
    fn new(disk: Small) -> Bench {
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir.path().join("source");
        std::fs::create_dir_all(source.join("d")).expect("made");
        for n in 0..FILES {
            std::fs::write(source.join(format!("d/file {n}")), format!("{n} ").repeat(3000)).expect("written");
        }
        for part in ["upper", "state"] {
            std::fs::create_dir(disk.at.join(part)).expect("made");
        }
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let tree = store.tree(import::import_dir(&store, &source, &()).expect("imported").tree).expect("there");
        Bench { disk, tree, store, _dir: dir }
    }

    fn open(&self) -> Overlay {
        let upper = depsfs::sys::path::open_dir(&self.disk.at.join("upper")).expect("opened");
        let grafts = vec![GraftSpec { at: "".into(), tree: self.tree.clone(), retired: false }];
        let config = OverlayConfig {
            state_dir: self.disk.at.join("state"),
            grafts,
            objects: self.store.objects().clone(),
            takeover: false,
        };
        Overlay::open(upper, config).expect("a view")
    }
}

fn errno(error: &OverlayError) -> Option<i32> {
    match error {
        OverlayError::Upper { source, .. } => source.raw_os_error(),
        OverlayError::Journal(depsfs::overlay::journal::JournalError::Io(e)) => Some(e.errno()),
        _ => None,
    }
}

fn names(view: &Overlay, dir: Ino) -> usize {
    let mut count = 0;
    let sink = &mut |listed: depsfs::overlay::DirListing<'_>| {
        count += usize::from(!matches!(listed.name, b"." | b".."));
        true
    };
    view.readdir(dir, 0, false, sink).expect("listed");
    count
}

#[test]
fn a_directory_that_is_full_to_the_last_block_can_be_deleted_from_and_what_is_freed_is_used() {
    let Some(disk) = small(&[]) else { return };
    let bench = Bench::new(disk);
    let view = bench.open();
    let dir = view.lookup(Ino::ROOT, &name("d")).expect("there").ino;
    let file = |n: usize| view.lookup(dir, &name(&format!("file {n}"))).expect("there").ino;
    for n in 0..10 {
        view.write(file(n), 0, b"mine", None).expect("written");
    }
    fill(&bench.disk.at);

    // No copy is made, and the file stays as it was.
    let failed = view.write(file(20), 0, b"mine", None).expect_err("no room");
    assert_eq!(errno(&failed), Some(libc::ENOSPC), "{failed}");
    let start = view.read(file(20), 0, 6, <[u8]>::to_vec).expect("read");
    assert_eq!(start, b"20 20 ");

    // Files of the store and copies go, all of them.
    for n in (0..FILES).rev() {
        view.unlink(dir, &name(&format!("file {n}"))).unwrap_or_else(|e| panic!("file {n}: {e}"));
    }
    view.rmdir(Ino::ROOT, &name("d")).expect("removed");
    assert_eq!(names(&view, Ino::ROOT), 0);
    // The kernel lets go of what it had looked up: the copies' blocks are free, and used again.
    for n in 0..FILES as u64 {
        view.forget(Ino(n + 256), 100);
    }
    drop(view);

    let view = bench.open();
    assert_eq!(names(&view, Ino::ROOT), 0, "a deleted name stays deleted");
    std::fs::remove_file(bench.disk.at.join("filler")).expect("removed");
    let made = view.create(Ino::ROOT, &name("new"), 0o644, ME, true).expect("created").ino;
    assert_eq!(view.write(made, 0, &[7; 100_000], None).expect("written").bytes, 100_000);
    assert_eq!(names(&view, Ino::ROOT), 1);
}

#[test]
fn on_a_full_btrfs_files_of_the_store_can_be_deleted_and_change_their_modes() {
    let Some(disk) = small::btrfs() else { return };
    let bench = Bench::new(disk);
    let view = bench.open();
    let dir = view.lookup(Ino::ROOT, &name("d")).expect("there").ino;
    view.unlink(dir, &name("file 0")).expect("unlinked");
    view.flush().expect("on disk");
    fill(&bench.disk.at);
    for n in 1..300 {
        view.unlink(dir, &name(&format!("file {n}"))).unwrap_or_else(|e| panic!("file {n}: {e}"));
    }
    let set = depsfs::overlay::SetAttr {
        mode: Some(0o600),
        uid: None,
        gid: None,
        size: None,
        atime: depsfs::sys::fs::SetTime::Keep,
        mtime: depsfs::sys::fs::SetTime::Keep,
    };
    for n in 300..400 {
        let ino = view.lookup(dir, &name(&format!("file {n}"))).expect("there").ino;
        view.setattr(ino, ME, set).unwrap_or_else(|e| panic!("file {n}: {e}"));
    }
    drop(view);
    std::fs::remove_file(bench.disk.at.join("filler")).expect("removed");
    let view = bench.open();
    let dir = view.lookup(Ino::ROOT, &name("d")).expect("there").ino;
    assert_eq!(names(&view, dir), FILES - 300);
}

#[test]
fn without_an_inode_left_nothing_is_made_and_files_can_be_deleted() {
    let Some(disk) = small(&["-N", "64"]) else { return };
    let bench = Bench::new(disk);
    let view = bench.open();
    let dir = view.lookup(Ino::ROOT, &name("d")).expect("there").ino;
    let file = |n: usize| view.lookup(dir, &name(&format!("file {n}"))).expect("there").ino;
    view.write(file(1), 0, b"mine", None).expect("written");
    let fillers = (0..).take_while(|n| std::fs::write(bench.disk.at.join(format!("f{n}")), "").is_ok()).count();
    assert!(fillers > 0, "there were inodes");

    let failed = [
        view.write(file(2), 0, b"mine", None).map(drop),
        view.create(dir, &name("new"), 0o644, ME, true).map(drop),
        view.mkdir(dir, &name("new"), 0o755, ME).map(drop),
        view.symlink(dir, &name("new"), b"x", ME).map(drop),
    ];
    for result in failed {
        let e = result.expect_err("no inode");
        assert_eq!(errno(&e), Some(libc::ENOSPC), "{e}");
    }
    assert_eq!(names(&view, dir), FILES);
    view.unlink(dir, &name("file 2")).expect("unlinked");
    view.unlink(dir, &name("file 1")).expect("unlinked");
    assert_eq!(names(&view, dir), FILES - 2);
    view.rename(dir, &name("file 3"), dir, &name("moved"), depsfs::sys::fs::RenameFlags::empty()).expect("renamed");
    drop(view);
    let view = bench.open();
    let dir = view.lookup(Ino::ROOT, &name("d")).expect("there").ino;
    assert_eq!(names(&view, dir), FILES - 2);
    view.create(dir, &name("new"), 0o644, ME, true).expect("an inode was freed");
}
