//! Files that are long to copy, to compare or to sync: who asks for that waits, and nobody else does.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use depsfs::store::{ObjectId, Store, import};
use depsfs::sys::extent::Extent;

use crate::bench::{Bench, Stop, bench, wait_until};

const MIB: usize = 1 << 20;

/// A view whose only file has 24 MiB.
fn long_file(bench: &mut Bench) {
    let source = bench.dir.join("long");
    fs::create_dir(&source).unwrap();
    let content: Vec<u8> = (0..24 * MIB).map(|i| (i / 4096) as u8).collect();
    fs::write(source.join("file"), content).unwrap();
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
}

#[test]
fn several_that_begin_to_write_a_long_file_at_once_share_one_copy() {
    several_begin_to_write("never");
}

#[test]
fn several_that_begin_to_write_a_long_file_that_is_passed_through_share_one_copy() {
    several_begin_to_write("1");
}

fn several_begin_to_write(wish: &str) {
    let mut bench = bench!("a");
    long_file(&mut bench);
    bench.wish_passthrough(wish);
    let passes = bench.mount().views[0].passes.is_some();
    let path = bench.view("a/file");
    let before = fs::metadata(&path).unwrap();
    let reader = File::open(&path).unwrap();
    let start = Barrier::new(9);
    std::thread::scope(|scope| {
        for i in 0..8u64 {
            let (path, start) = (&path, &start);
            scope.spawn(move || {
                let file = File::options().write(true).open(path).unwrap();
                start.wait();
                file.write_all_at(&[b'A' + i as u8; 100], i * 3 * MIB as u64 + 5).unwrap();
            });
        }
        start.wait();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(&path, bench.view("a/renamed")).unwrap();
    });
    let mut want: Vec<u8> = (0..24 * MIB).map(|i| (i / 4096) as u8).collect();
    for i in 0..8 {
        want[i * 3 * MIB + 5..][..100].fill(b'A' + i as u8);
    }
    assert!(fs::read(bench.view("a/renamed")).unwrap() == want, "bytes are lost");
    let after = fs::metadata(bench.view("a/renamed")).unwrap();
    assert_eq!((after.ino(), after.mode() & 0o777, after.len()), (before.ino(), 0o600, before.len()));
    let mut seen = vec![0; want.len()];
    reader.read_exact_at(&mut seen, 0).unwrap();
    let stored: Vec<u8> = (0..24 * MIB).map(|i| (i / 4096) as u8).collect();
    assert!(seen == if passes { stored } else { want.clone() }, "a reader that had it open before sees something else");
    drop(reader);

    bench.unmount();
    assert!(fs::read(bench.view("a/renamed")).unwrap() == want, "the upper has something else");
    assert!(fs::metadata(bench.view("a/file")).is_err());
    bench.mount();
    assert!(fs::read(bench.view("a/renamed")).unwrap() == want);
    assert!(fs::metadata(bench.view("a/file")).is_err());
}

#[test]
fn a_long_file_that_is_deleted_while_it_is_copied_goes_on_for_who_has_it_open() {
    let mut bench = bench!("a");
    long_file(&mut bench);
    bench.mount();
    let path = bench.view("a/file");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::thread::scope(|scope| {
        let write = scope.spawn(|| file.write_all_at(b"written", 20 * MIB as u64).unwrap());
        fs::remove_file(&path).unwrap();
        write.join().unwrap();
    });
    let mut seen = [0; 7];
    file.read_exact_at(&mut seen, 20 * MIB as u64).unwrap();
    assert_eq!(&seen, b"written");
    file.read_exact_at(&mut seen, 4096 * 3).unwrap();
    assert_eq!(seen, [3; 7]);
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    assert!(fs::metadata(&path).is_err());
}

#[test]
fn a_long_file_is_compared_to_be_given_up_while_the_view_answers_others() {
    let bench = bench!("a");
    bench.mount();
    let (root, dir) = (bench.view("a"), bench.view("a/private"));
    fs::create_dir(&dir).unwrap();
    let file = File::create(dir.join("long")).unwrap();
    file.set_len(256 * MIB as u64).unwrap();
    drop(file);
    let held = ObjectId::of_extent(&Extent::whole(std::os::fd::OwnedFd::from(File::open(dir.join("long")).unwrap())));
    let mode = fs::metadata(dir.join("long")).unwrap().mode() & 0o7777;
    let wish = format!("{} {mode:o} long", held.unwrap());
    let flags = rustix::fs::XattrFlags::empty();
    let give_up = || rustix::fs::setxattr(&dir, "user.depsfs.give-up", wish.as_bytes(), flags).unwrap();
    let answered = answers_while(&root, give_up);
    assert!(answered > 5, "{answered} answers meanwhile");
    // The kernel is told a moment later.
    wait_until("it is gone", || fs::metadata(dir.join("long")).is_err());
}

#[test]
fn names_are_looked_up_while_a_sync_waits_for_the_disk() {
    let bench = bench!("a");
    bench.mount();
    let root = bench.view("a");
    let file = File::create(root.join("written")).unwrap();
    let mut lasted = Duration::ZERO;
    for round in 0..20u64 {
        // Bytes that no disk and no file system can leave out.
        (0..64u64).for_each(|i| file.write_all_at(&vec![(i + round) as u8 | 1; MIB], i << 20).unwrap());
        let answered = answers_while(&root, || {
            let start = std::time::Instant::now();
            file.sync_all().unwrap();
            lasted = start.elapsed();
        });
        if lasted > Duration::from_millis(50) {
            return assert!(answered > 5, "{answered} answers in {lasted:?}");
        }
    }
    println!("skipped: the disk takes {lasted:?} for 64 MiB");
}

/// The page cache has nothing of the store's files, as far as the kernel takes advice.
fn forget_store(bench: &Bench) {
    let mut dirs = vec![bench.manifest.store.join("objects"), bench.manifest.store.join("packs")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                let file = File::open(entry.path()).unwrap();
                file.sync_all().unwrap();
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            }
        }
    }
}

/// A mounted view of 600 files, most of which are short, and none in memory.
fn many_files(bench: &mut Bench) -> Vec<(String, Vec<u8>)> {
    let source = bench.dir.join("many");
    fs::create_dir(&source).unwrap();
    let content = |i: usize| vec![i as u8; if i.is_multiple_of(100) { 3 * MIB } else { 100 + i * 17 }];
    let files: Vec<_> = (0..600).map(|i| (format!("f{i}"), content(i))).collect();
    files.iter().for_each(|(name, bytes)| fs::write(source.join(name), bytes).unwrap());
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench.wish_passthrough("never");
    bench.mount();
    forget_store(bench);
    files
}

#[test]
fn files_that_are_on_the_disk_alone_are_read_by_eight_at_once() {
    let mut bench = bench!("a");
    let files = many_files(&mut bench);
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let (bench, files) = (&bench, &files);
            scope.spawn(move || {
                for (name, bytes) in files.iter().skip(reader * 75).chain(&files[..reader * 75]) {
                    assert!(fs::read(bench.view("a").join(name)).unwrap() == *bytes, "{name}");
                }
            });
        }
    });
}

#[test]
fn files_that_are_on_the_disk_alone_are_changed_each_in_the_order_of_its_changes() {
    let mut bench = bench!("a");
    let files = many_files(&mut bench);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (bench, files) = (&bench, &files);
            scope.spawn(move || {
                for (name, bytes) in files.iter().skip(writer).step_by(8) {
                    let file = File::options().read(true).write(true).open(bench.view("a").join(name)).unwrap();
                    file.write_all_at(b"first", 0).unwrap();
                    file.write_all_at(b"second", 3).unwrap();
                    file.set_len(bytes.len() as u64 - 1).unwrap();
                    file.sync_all().unwrap();
                    let mut want = [b"firsecond", &bytes[9..]].concat();
                    want.pop();
                    let mut seen = vec![0; want.len() + 1];
                    let len = file.read_at(&mut seen, 0).unwrap();
                    assert!(seen[..len] == want[..], "{name}");
                    assert_eq!(file.metadata().unwrap().len(), want.len() as u64, "{name}");
                }
            });
        }
    });
    let before: Vec<_> = files.iter().map(|(name, _)| fs::read(bench.view("a").join(name)).unwrap()).collect();
    bench.unmount();
    bench.mount();
    for ((name, _), before) in files.iter().zip(before) {
        assert!(fs::read(bench.view("a").join(name)).unwrap() == before, "{name}");
    }
}

/// How many questions about names that the kernel doesn't know yet are answered while `work` is done.
fn answers_while(root: &std::path::Path, work: impl FnOnce()) -> usize {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let ask = |n: &u32| {
                assert!(fs::metadata(root.join(format!("no {n}"))).is_err());
                std::thread::sleep(Duration::from_millis(1));
                !is_done.load(Ordering::Relaxed)
            };
            (0..).take_while(ask).count()
        });
        let stop = Stop(&is_done);
        work();
        drop(stop);
        asks.join().unwrap()
    })
}
