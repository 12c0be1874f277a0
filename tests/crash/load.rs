//! The processes that use the views, each in its own way, each comparing what it gets with what it knows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use depsfs::sys::fs::{RenameFlags, rename_at};
use depsfs::sys::path::open_dir;
use rustix::fs::{Advice, FlockOperation, fadvise, flock};

use crate::work::Work;

pub const KINDS: [&str; 9] = ["reads", "maps", "writes", "creates", "renames", "unlinks", "walks", "holds", "metadata"];
/// In the bench's directory: all shall end.
pub const STOP: &str = "stop";
pub const LOWER_FILES: u64 = 600;

pub fn lower_name(n: u64) -> String {
    format!("lower/{}/{}/{n}", n % 7, n % 3)
}

pub fn lower_len(n: u64) -> usize {
    [0, 1, 100, 4096, 5000, 40_000, 300_000][n as usize % 7]
}

/// Files whose contents one process changes (the others read the rest), and whose directory one moves about.
fn is_written(n: u64) -> bool {
    n.is_multiple_of(5)
}

fn is_moved(n: u64) -> bool {
    n % 7 == 6
}

/// One that nobody changes.
fn unchanged(work: &mut Work) -> u64 {
    loop {
        let n = work.random.below(LOWER_FILES);
        if !is_written(n) && !is_moved(n) {
            return n;
        }
    }
}

/// Bytes that differ between numbers and everywhere.
pub fn content(n: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (n.wrapping_mul(31).wrapping_add(i * 7).wrapping_add(i >> 8)) as u8).collect()
}

pub fn run(kind: &str, view: &Path, seed: u64) {
    let stop = view.ancestors().nth(2).expect("view, worktree, bench").join(STOP);
    let mut work = Work::new(kind, view, seed, stop);
    match kind {
        "reads" => reads(&mut work),
        "maps" => maps(&mut work),
        "writes" => writes(&mut work),
        "creates" => creates(&mut work),
        "renames" => renames(&mut work),
        "unlinks" => unlinks(&mut work),
        "walks" => walks(&mut work),
        "holds" => holds(&mut work),
        "metadata" => metadata(&mut work),
        other => panic!("{other} is no kind"),
    }
}

/// Has the kernel read it again from the server.
fn forget(file: &File) -> io::Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

fn reads(work: &mut Work) {
    while work.goes_on() {
        let n = unchanged(work);
        let path = work.view.join(lower_name(n));
        let mut file = work.op("open", || File::open(&path));
        work.op("forget", || forget(&file));
        let mut is = Vec::new();
        work.op("read", || file.read_to_end(&mut is));
        assert!(is == content(n, lower_len(n)), "{n} differs");
    }
}

fn maps(work: &mut Work) {
    let mine = work.own.join("mapped");
    let len = 1 << 20;
    work.op("write", || fs::write(&mine, vec![0; len]));
    let file = work.op("open", || File::options().read(true).write(true).open(&mine));
    // SAFETY: nobody else changes this file.
    let mut map = work.op("map", || unsafe { memmap2::MmapMut::map_mut(&file) });
    let mut model = vec![0; len];
    while work.goes_on() {
        let n = unchanged(work);
        if lower_len(n) > 0 {
            let path = work.view.join(lower_name(n));
            let lower = work.op("open", || File::open(&path));
            work.op("forget", || forget(&lower));
            // SAFETY: files of the store never change.
            let seen = work.op("map", || unsafe { memmap2::Mmap::map(&lower) });
            let same = work.op("read a map", || Ok(seen[..] == content(n, lower_len(n))));
            assert!(same, "{n} differs");
        }
        let (at, value) = (work.random.below(len as u64 - 8) as usize, work.random.next());
        model[at..at + 8].copy_from_slice(&value.to_le_bytes());
        work.op("write a map", || {
            map[at..at + 8].copy_from_slice(&value.to_le_bytes());
            map.flush_range(at, 8)
        });
        let back = work.op("read what was mapped", || {
            let mut back = [0; 8];
            file.read_exact_at(&mut back, at as u64).map(|()| back)
        });
        assert_eq!(back, value.to_le_bytes());
    }
    assert!(map[..] == model);
    work.op("flush", || map.flush());
    work.leave(&mine, &model);
}

fn writes(work: &mut Work) {
    let log = work.own.join("log");
    let mut append = work.op("open", || File::options().create_new(true).append(true).open(&log));
    let (mut logged, mut files) = (Vec::new(), BTreeMap::<PathBuf, Vec<u8>>::new());
    while work.goes_on() {
        let n = work.random.below(LOWER_FILES);
        let lower = is_written(n) && !is_moved(n);
        let path = if lower { work.view.join(lower_name(n)) } else { work.own.join(format!("f{}", n % 40)) };
        let known = files.entry(path.clone()).or_insert_with(|| if lower { content(n, lower_len(n)) } else { vec![] });
        let at = work.random.below(known.len() as u64 + 1) as usize;
        let bytes = content(work.random.next(), work.random.below(70_000) as usize);
        let mut file = work.op("open to write", || {
            File::options().create(true).append(false).write(true).read(true).truncate(false).open(&path)
        });
        match work.random.below(5) {
            0 => {
                work.op("truncate", || file.set_len(at as u64));
                known.truncate(at);
            }
            1 => {
                work.op("write whole", || fs::write(&path, &bytes));
                *known = bytes;
            }
            _ => {
                work.op("write at", || file.write_all_at(&bytes, at as u64));
                known.resize(known.len().max(at + bytes.len()), 0);
                known[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        if work.random.below(4) == 0 {
            work.op("fsync", || file.sync_all());
            work.op("forget", || forget(&file));
        }
        let mut is = Vec::new();
        work.op("read", || file.read_to_end(&mut is));
        assert!(is == *known, "{} has {} bytes, not {}", path.display(), is.len(), known.len());
        let line = format!("{n} ");
        work.op("append", || append.write_all(line.as_bytes()));
        logged.extend(line.as_bytes());
    }
    let is = work.op("read", || fs::read(&log));
    assert!(is == logged, "an append was done twice, or not at all");
    work.leave(&log, &logged);
    files.iter().for_each(|(path, bytes)| work.leave(path, bytes));
}

fn creates(work: &mut Work) {
    for round in 0u64.. {
        if !work.goes_on() {
            break;
        }
        let dir = work.own.join(format!("d{round}"));
        work.op("mkdir", || fs::create_dir(&dir));
        for n in 0..5 {
            let file = work.op("create", || File::create_new(dir.join(format!("f{n}"))));
            work.op("write", || (&file).write_all(&content(n, 100)));
        }
        work.op("symlink", || symlink("f0", dir.join("symlink")));
        work.op("link", || fs::hard_link(dir.join("f1"), dir.join("link")));
        let links = work.op("stat", || fs::metadata(dir.join("f1"))).nlink();
        assert_eq!(links, 2);
        assert_eq!(work.op("read", || fs::read(dir.join("symlink"))), content(0, 100));
        let again = File::create_new(dir.join("f0")).expect_err("it is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let names =
            work.op("list", || fs::read_dir(&dir)?.map(|e| e.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>());
        assert_eq!(names.len(), 7, "{names:?}");
        for name in names {
            work.op("unlink", || fs::remove_file(dir.join(&name)));
        }
        assert_eq!(fs::metadata(dir.join("f0")).expect_err("gone").kind(), io::ErrorKind::NotFound);
        work.op("rmdir", || fs::remove_dir(&dir));
    }
}

fn renames(work: &mut Work) {
    let (one, two) = (work.own.join("one"), work.own.join("two"));
    work.op("mkdir", || fs::create_dir(&one));
    work.op("mkdir", || fs::create_dir(&two));
    let (from, to) = (
        work.op("open", || open_dir(&one).map_err(|e| e.source)),
        work.op("open", || open_dir(&two).map_err(|e| e.source)),
    );
    work.op("write", || fs::write(one.join("left"), "left"));
    work.op("write", || fs::write(two.join("right"), "right"));
    let mut swapped = false;
    for round in 0u64.. {
        if !work.goes_on() {
            break;
        }
        let (a, b) = (one.join("a"), two.join("b"));
        work.op("write", || fs::write(&a, round.to_le_bytes()));
        work.op("rename", || fs::rename(&a, &b));
        assert!(!a.exists());
        work.op("write", || fs::write(&a, "over"));
        work.op("rename over", || fs::rename(&a, &b));
        assert_eq!(work.op("read", || fs::read(&b)), b"over");
        work.op("rename new", || rename_at(&to, b"b", &from, b"c", RenameFlags::NOREPLACE));
        work.op("unlink", || fs::remove_file(one.join("c")));
        work.op("exchange", || rename_at(&from, b"left", &to, b"right", RenameFlags::EXCHANGE));
        swapped = !swapped;
        let want: &[u8] = if swapped { b"right" } else { b"left" };
        assert_eq!(work.op("read", || fs::read(one.join("left"))), want);
        // A directory of the lower, with all that is in it, there and back.
        let (dir, moved) = (work.view.join("lower/6"), work.own.join("moved"));
        work.op("rename a directory", || fs::rename(&dir, &moved));
        let n = 6 + 21 * work.random.below(20);
        let file = moved.join(format!("{}/{n}", n % 3));
        assert!(work.op("read", || fs::read(&file)) == content(n, lower_len(n)), "{n} differs");
        work.op("rename it back", || fs::rename(&moved, &dir));
        assert!(dir.is_dir() && !moved.exists());
    }
}

fn unlinks(work: &mut Work) {
    let mut open: Vec<(File, Vec<u8>)> = Vec::new();
    for round in 0u64.. {
        if !work.goes_on() {
            break;
        }
        let path = work.own.join(format!("u{round}"));
        let bytes = content(round, 3000);
        let file = work.op("create", || File::options().create_new(true).read(true).write(true).open(&path));
        work.op("write", || file.write_all_at(&bytes, 0));
        work.op("unlink", || fs::remove_file(&path));
        assert!(!path.exists());
        open.push((file, bytes));
        let at = work.random.below(open.len() as u64) as usize;
        let (file, bytes) = &mut open[at];
        let more = content(round + 1, 500);
        work.op("write what is unlinked", || file.write_all_at(&more, bytes.len() as u64));
        bytes.extend(&more);
        work.op("forget", || file.sync_all().and_then(|()| forget(file)));
        let mut is = vec![0; bytes.len()];
        work.op("read what is unlinked", || file.read_exact_at(&mut is, 0));
        assert!(is == *bytes, "an unlinked file differs");
        assert_eq!(work.op("stat what is unlinked", || file.metadata()).nlink(), 0);
        if open.len() > 30 {
            open.swap_remove(at);
        }
    }
}

fn walks(work: &mut Work) {
    let mut numbers = BTreeMap::new();
    for round in 0u64.. {
        if !work.goes_on() {
            break;
        }
        let mut found = 0;
        for n in 0..6 {
            let mut dirs = vec![work.view.join(format!("lower/{n}"))];
            while let Some(dir) = dirs.pop() {
                let entries = work.op("list", || fs::read_dir(&dir)?.collect::<io::Result<Vec<_>>>());
                for entry in entries {
                    let stat = work.op("stat", || entry.metadata());
                    let before = *numbers.entry(entry.path()).or_insert(stat.ino());
                    assert_eq!(before, stat.ino(), "{} has another number", entry.path().display());
                    if stat.is_dir() {
                        dirs.push(entry.path());
                    } else {
                        found += 1;
                    }
                }
            }
        }
        assert_eq!(found, (0..LOWER_FILES).filter(|n| n % 7 < 6).count());
        for n in 0..20 {
            let absent = fs::metadata(work.own.join(format!("absent {round} {n}"))).expect_err("not there");
            assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        }
    }
}

/// A lock, a working directory and an open directory that are kept all the time.
fn holds(work: &mut Work) {
    let (lock, own) = (work.own.join("lock"), work.own.clone());
    let held = work.op("create", || File::create_new(&lock));
    work.op("lock", || Ok(flock(&held, FlockOperation::NonBlockingLockExclusive)?));
    let sub = work.own.join("cwd");
    work.op("mkdir", || fs::create_dir(&sub));
    work.op("chdir", || std::env::set_current_dir(&sub));
    for round in 0u64.. {
        if !work.goes_on() {
            break;
        }
        let other = work.op("open", || File::open(&lock));
        let refused = flock(&other, FlockOperation::NonBlockingLockExclusive).expect_err("it is locked");
        assert_eq!(refused, rustix::io::Errno::WOULDBLOCK);
        let name = PathBuf::from(format!("relative {round}"));
        work.op("write", || fs::write(&name, round.to_string()));
        assert_eq!(work.op("getcwd", std::env::current_dir), sub);
        assert_eq!(work.op("read", || fs::read_to_string(sub.join(&name))), round.to_string());
        work.op("unlink", || fs::remove_file(&name));
        assert_eq!(work.op("list", || fs::read_dir("..")).count(), 2);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    work.op("chdir", || std::env::set_current_dir("/"));
    work.op("rmdir", || fs::remove_dir(own.join("cwd")));
}

fn metadata(work: &mut Work) {
    let (file, dir) = (work.own.join("file"), work.own.join("dir"));
    work.op("write", || fs::write(&file, "x"));
    work.op("mkdir", || fs::create_dir(&dir));
    for round in 0u64.. {
        if !work.goes_on() {
            break;
        }
        let n = unchanged(work);
        for path in [&file, &dir, &work.view.join(lower_name(n))] {
            let mode = 0o600 | (round as u32 & 0o77);
            work.op("chmod", || fs::set_permissions(path, fs::Permissions::from_mode(mode)));
            assert_eq!(work.op("stat", || fs::metadata(path)).mode() & 0o777, mode);
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(round * 1_000_000_007);
            let open = work.op("open", || File::open(path));
            work.op("utimens", || open.set_modified(time));
            assert_eq!(work.op("stat", || open.metadata()).modified().expect("it has one"), time);
        }
        let value = round.to_le_bytes();
        let flags = rustix::fs::XattrFlags::CREATE;
        work.op("setxattr", || Ok(rustix::fs::setxattr(&file, "user.round", &value, flags)?));
        let mut is = [0; 8];
        work.op("getxattr", || Ok(rustix::fs::getxattr(&file, "user.round", &mut is)?));
        assert_eq!(is, value);
        work.op("removexattr", || Ok(rustix::fs::removexattr(&file, "user.round")?));
    }
}
