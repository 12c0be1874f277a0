//! Importing directories: everything comes back, what didn't change isn't read, what changes is noticed.

#[path = "store/case.rs"]
mod case;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use case::Case;
use depsfs::store::import::{ImportError, Imported, SkipReason, import_dir, import_dir_watching};
use depsfs::store::{Name, Node, ObjectId, Progress, Store, Tree};
use depsfs::sys::fs::{FileType, Timespec};

impl Case {
    /// With an empty directory to import.
    fn with_source() -> Case {
        let case = Case::new();
        fs::create_dir(case.dir.path().join("src")).unwrap();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("src").join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn import(&self) -> Imported {
        import_dir(&self.store, &self.dir.path().join("src"), &()).unwrap()
    }

    /// Imports when nothing is "just changed" any more, so that the next import may trust this one.
    fn settled(&self) -> Imported {
        std::thread::sleep(std::time::Duration::from_millis(60));
        self.import()
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.store.path().join("tmp")).unwrap().count()
    }
}

fn find(tree: &Tree, path: &str) -> Option<Node> {
    path.split('/').try_fold(Node::ROOT, |dir, part| tree.lookup(dir, &Name::new(part.as_bytes()).unwrap()))
}

/// Compares a tree with the directory it was made of, and its objects with the files.
fn assert_same(store: &Store, tree: &Tree, dir: Node, path: &Path) {
    let stat = tree.stat(dir);
    let meta = fs::symlink_metadata(path).unwrap();
    let kept = if meta.is_dir() { 0o3777 } else { 0o1777 };
    assert_eq!(stat.perm, meta.mode() & kept, "{path:?}");
    assert_eq!(stat.mtime, Timespec { sec: meta.mtime(), nsec: meta.mtime_nsec() as u32 }, "{path:?}");
    match stat.kind {
        FileType::Directory => {
            let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap()).collect();
            names.retain(|e| !std::os::unix::fs::FileTypeExt::is_socket(&e.file_type().unwrap()));
            assert_eq!(tree.entry_count(dir) as usize, names.len(), "{path:?}");
            for entry in names {
                let name = Name::new(std::os::unix::ffi::OsStrExt::as_bytes(&*entry.file_name())).unwrap();
                let node = tree.lookup(dir, &name).unwrap_or_else(|| panic!("{entry:?} is missing"));
                assert_same(store, tree, node, &entry.path());
            }
        }
        FileType::Symlink => {
            let target = fs::read_link(path).unwrap();
            assert_eq!(tree.target(dir), std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str()));
        }
        FileType::RegularFile => {
            let content = fs::read(path).unwrap();
            assert_eq!((stat.size, stat.blocks), (meta.len(), meta.blocks()), "{path:?}");
            assert_eq!(tree.object(dir), Some(ObjectId::of(&content)), "{path:?}");
            assert_eq!(fs::read(store.objects().path_of(&ObjectId::of(&content))).unwrap(), content);
        }
        _ => assert!(std::os::unix::fs::FileTypeExt::is_fifo(&meta.file_type())),
    }
}

/// One of everything a directory can hold.
fn everything(case: &Case) {
    case.write("a/small", b"small");
    case.write("a/empty", b"");
    case.write("a/big", &(0..3_000_000u32).map(|n| (n / 7) as u8).collect::<Vec<_>>());
    case.write("a/tool", b"#!/bin/sh\n");
    fs::set_permissions(case.path("a/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::create_dir_all(case.path("empty/deep")).unwrap();
    fs::hard_link(case.path("a/small"), case.path("empty/linked")).unwrap();
    symlink("../a/small", case.path("empty/link")).unwrap();
    symlink("/nowhere/../x/", case.path("dangling")).unwrap();
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"n\xffn\nutf8");
    fs::write(case.dir.path().join("src").join(odd), b"odd").unwrap();
    let sparse = fs::File::create(case.path("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    sparse.write_at(b"middle", 4 << 20).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(case.path("a/tool")).unwrap().set_modified(old).unwrap();
    let fifo = case.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
}

#[test]
fn a_directory_comes_back_as_it_went_in() {
    let case = Case::with_source();
    everything(&case);
    let _socket = std::os::unix::net::UnixListener::bind(case.path("socket")).unwrap();
    let imported = case.settled();
    let tree = case.store.tree(imported.tree).unwrap();
    tree.check().unwrap();
    assert_same(&case.store, &tree, Node::ROOT, &case.dir.path().join("src"));
    let linked = find(&tree, "empty/linked").unwrap();
    assert_eq!(find(&tree, "a/small"), Some(linked));
    assert_eq!((tree.stat(linked).nlink, tree.places(linked).count()), (2, 2));
    assert_eq!(imported.skipped.len(), 1);
    assert_eq!(imported.skipped[0].why, SkipReason::Special(FileType::Socket));
    let stats = imported.stats;
    assert_eq!((stats.files, stats.dirs, stats.symlinks), (7, 4, 2));
    let sparse = case.store.objects().path_of(&tree.object(find(&tree, "sparse").unwrap()).unwrap());
    assert!(fs::metadata(sparse).unwrap().blocks() < 100);
    assert_eq!(case.leftovers(), 0);

    let again = case.import();
    assert_eq!((again.tree, again.stats.files_read, again.stats.files), (imported.tree, 0, 7));
}

#[test]
fn user_xattrs_come_along_but_not_those_of_depsfs() {
    let case = Case::with_source();
    case.write("f", b"x");
    let set = |name: &[u8], value: &[u8]| depsfs::sys::fs::set_xattr_of_path(&case.path("f"), name, value);
    if set(b"user.k", b"v").is_err() {
        eprintln!("skipped: the file system of {} has no user xattrs", case.dir.path().display());
        return;
    }
    // An attribute of views on a plain directory is not believed.
    let lie = case.import().tree;
    case.write("f", b"y");
    let object = ObjectId::of(b"x").hex();
    set(b"user.depsfs.object", object.as_bytes()).unwrap();
    depsfs::sys::fs::set_xattr_of_path(&case.dir.path().join("src"), b"user.depsfs.view", b"{}").unwrap();
    assert_ne!(case.import().tree, lie);
    let tree = case.store.tree(case.import().tree).unwrap();
    let f = find(&tree, "f").unwrap();
    assert_eq!(tree.xattrs(f).collect::<Vec<_>>(), [(&b"user.k"[..], &b"v"[..])]);
    assert_eq!(tree.object(f), Some(ObjectId::of(b"y")));
    assert_eq!(tree.xattrs(Node::ROOT).count(), 0);
}

#[test]
fn only_what_changed_is_read_again_and_the_tree_is_that_of_a_full_import() {
    type Change = fn(&Case);
    let changes: [(&str, Change, u64); 9] = [
        ("content", |c| c.write("a/small", b"SMALL"), 1),
        ("new file", |c| c.write("a/new", b"new"), 1),
        ("deleted", |c| fs::remove_file(c.path("a/big")).unwrap(), 0),
        ("renamed", |c| fs::rename(c.path("a/empty"), c.path("empty/moved")).unwrap(), 1),
        ("renamed directory", |c| fs::rename(c.path("a"), c.path("b")).unwrap(), 4),
        ("mode", |c| fs::set_permissions(c.path("a/tool"), fs::Permissions::from_mode(0o700)).unwrap(), 1),
        ("directory's mode", |c| fs::set_permissions(c.path("a"), fs::Permissions::from_mode(0o700)).unwrap(), 0),
        ("one more link", |c| fs::hard_link(c.path("a/tool"), c.path("tool")).unwrap(), 1),
        (
            "a file becomes a directory",
            |c| {
                fs::remove_file(c.path("a/tool")).unwrap();
                c.write("a/tool/x", b"x")
            },
            1,
        ),
    ];
    for (what, change, reads) in changes {
        let case = Case::with_source();
        everything(&case);
        let before = case.settled();
        change(&case);
        let after = case.import();
        assert_ne!(after.tree, before.tree, "{what}");
        assert_eq!(after.stats.files_read, reads, "{what}");
        let tree = case.store.tree(after.tree).unwrap();
        tree.check().unwrap();
        assert_same(&case.store, &tree, Node::ROOT, &case.dir.path().join("src"));
        fs::remove_dir_all(case.store.path().join("snapshots")).unwrap();
        fs::create_dir(case.store.path().join("snapshots")).unwrap();
        assert_eq!(case.import().tree, after.tree, "{what}");
    }
}

/// A change that leaves size and mtime as they were still has another ctime.
#[test]
fn a_change_that_hides_behind_its_mtime_is_seen() {
    let case = Case::with_source();
    case.write("f", b"one");
    let before = case.settled();
    let mtime = fs::metadata(case.path("f")).unwrap().modified().unwrap();
    case.write("f", b"two");
    fs::File::options().write(true).open(case.path("f")).unwrap().set_modified(mtime).unwrap();
    let after = case.import();
    assert_ne!(after.tree, before.tree);
    assert_eq!(after.stats.files_read, 1);
}

#[test]
fn what_changed_just_before_an_import_is_read_again_by_the_next() {
    let case = Case::with_source();
    case.settled();
    case.write("f", b"one");
    let first = case.import();
    let second = case.settled();
    assert_eq!((first.tree, second.stats.files_read), (second.tree, 1));
    assert_eq!(case.import().stats.files_read, 0);
}

#[test]
fn a_snapshot_whose_tree_is_gone_or_that_is_damaged_is_not_used() {
    let case = Case::with_source();
    case.write("f", b"one");
    let first = case.settled();
    assert_eq!(case.import().stats.files_read, 0);
    fs::remove_file(case.store.path().join("trees").join(first.tree.place())).unwrap();
    assert_eq!(case.import().stats.files_read, 1);
    let snapshot = fs::read_dir(case.store.path().join("snapshots")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&snapshot).unwrap();
    fs::write(&snapshot, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(case.import().stats.files_read, 1);
}

struct Stop;
impl Progress for Stop {
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_stopped_or_failed_import_leaves_nothing() {
    let case = Case::with_source();
    everything(&case);
    let src = case.dir.path().join("src");
    assert!(matches!(import_dir(&case.store, &src, &Stop), Err(ImportError::Cancelled)));
    assert!(import_dir(&case.store, &src.join("absent"), &()).is_err());
    assert_eq!(case.leftovers(), 0);
    for dir in ["objects", "trees", "snapshots"] {
        assert_eq!(fs::read_dir(case.store.path().join(dir)).unwrap().count(), 0, "{dir}");
    }
}

/// Somebody rewrites files all the time: every import is either refused or a true picture of single files.
#[test]
fn a_file_that_changes_while_it_is_read_is_never_stored_half() {
    let case = Case::with_source();
    let content = |n: u8| vec![n; 2 << 20];
    case.write("f", &content(0));
    let path = case.path("f");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::File::options().write(true).open(&path).unwrap();
            for n in (0..=255u8).cycle().take_while(|_| !stop.load(std::sync::atomic::Ordering::Relaxed)) {
                file.write_at(&content(n), 0).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(u64::from(n) % 8));
            }
        });
        for _ in 0..20 {
            match import_dir(&case.store, path.parent().unwrap(), &()) {
                Ok(imported) => {
                    let tree = case.store.tree(imported.tree).unwrap();
                    let object = tree.object(find(&tree, "f").unwrap()).unwrap();
                    assert_eq!(ObjectId::of(&fs::read(case.store.objects().path_of(&object)).unwrap()), object);
                }
                Err(e) => assert!(matches!(e, ImportError::Changed(_)), "{e}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Names come and go all the time: every import is either refused as changed or has each file whole.
#[test]
fn files_and_directories_that_vanish_while_they_are_imported_are_missed_or_named() {
    let case = Case::with_source();
    case.write("stays/f", b"stays");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for n in 0..8 {
                    case.write(&format!("goes{n}/deep/f"), b"goes");
                    case.write(&format!("stays/goes{n}"), b"goes");
                }
                for n in 0..8 {
                    fs::remove_dir_all(case.path(&format!("goes{n}"))).unwrap();
                    fs::remove_file(case.path(&format!("stays/goes{n}"))).unwrap();
                }
            }
        });
        let (mut refused, mut done) = (0, 0);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while (refused == 0 || done < 20) && std::time::Instant::now() < until {
            match import_dir(&case.store, &case.path("."), &()) {
                Ok(imported) => {
                    let tree = case.store.tree(imported.tree).unwrap();
                    assert!(find(&tree, "stays/f").is_some() && imported.skipped.is_empty());
                    assert!(tree.objects().all(|id| case.store.objects().contains(&id)));
                    done += 1;
                }
                Err(ImportError::Changed(at)) => {
                    assert!(at.starts_with(case.path("").canonicalize().unwrap()), "{at:?}");
                    refused += 1;
                }
                Err(e) => panic!("{e}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(case.leftovers(), 0);
}

#[test]
fn what_holds_the_watched_path_is_named_and_that_costs_no_reading_again() {
    let case = Case::with_source();
    let watching = |path: &str| {
        std::thread::sleep(std::time::Duration::from_millis(60));
        let done = import_dir_watching(&case.store, &case.path("").join("."), Path::new(path), &()).unwrap();
        let names = done.holding.iter().map(|h| format!("{} {:?}", h.path.display(), h.holds)).collect::<Vec<_>>();
        (names.join(", "), done.stats.files_read)
    };
    case.write("sub/CMakeCache.txt", b"CMAKE_HOME_DIRECTORY:INTERNAL=/home/ada/repo\n");
    case.write("sub/deep/prog", b"\x7fELF\0\0/home/ada/repo/src/main.c\0");
    case.write("other", b"/home/ada/repository /home/ada/rep");
    // Across the border of two pieces, and behind a hole.
    let mut long = vec![b'x'; (1 << 20) - 8];
    long.extend_from_slice(b" /home/ada/repo/y\n");
    long.resize(3 << 20, b'x');
    case.write("long", &long);
    case.write("sparse", b"");
    fs::File::options().write(true).open(case.path("sparse")).unwrap().write_at(b"/home/ada/repo", 8 << 20).unwrap();
    fs::hard_link(case.path("sub/CMakeCache.txt"), case.path("sub/twin")).unwrap();
    symlink("/home/ada/repo/src", case.path("link")).unwrap();
    symlink("/home/ada/repos", case.path("elsewhere")).unwrap();
    let all = "link Target, long Text, sparse Binary, sub/CMakeCache.txt Text, sub/deep/prog Binary, sub/twin Text";
    assert_eq!(watching("/home/ada/repo"), (all.into(), 5));
    assert_eq!(watching("/home/ada/repo"), (all.into(), 0));
    case.write("other", b"cd /home/ada/repo && make");
    let more = all.replace(", sparse", ", other Text, sparse");
    assert_eq!(watching("/home/ada/repo"), (more.clone(), 1));
    case.write("sub/new", b"/home/ada/repo");
    assert_eq!(case.settled().stats.files_read, 1);
    let most = more.replace(", sub/twin", ", sub/new Text, sub/twin");
    assert_eq!(watching("/home/ada/repo"), (most, 0), "an import that asked for nothing has not forgotten");
    assert_eq!(
        watching("/home/ada"),
        (
            String::from(
                "elsewhere Target, link Target, long Text, other Text, sparse Binary, sub/CMakeCache.txt Text, sub/deep/prog Binary, sub/new Text, sub/twin Text"
            ),
            6
        )
    );
}

#[test]
fn a_directory_that_lies_too_deep_ends_the_import_with_its_reason() {
    let case = Case::new();
    let source = case.dir.path().join("deep");
    fs::create_dir_all(source.join("d/".repeat(1000))).unwrap();
    // Few descriptors may be allowed here: then that is the reason.
    let as_deep_as_allowed = import_dir(&case.store, &source, &());
    if let Err(e) = &as_deep_as_allowed {
        assert!(e.to_string().contains("Too many open files"), "{e}");
    }
    fs::create_dir_all(source.join("d/".repeat(1002))).unwrap();
    let e = import_dir(&case.store, &source, &()).unwrap_err().to_string();
    assert!(e.contains("it lies more than 1000 directories deep") || e.contains("Too many open files"), "{e}");
}
