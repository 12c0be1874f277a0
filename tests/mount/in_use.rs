//! Files in use by several programs at once: locks, shared mappings, watchers, databases, direct and sparse access. On
//! views of both shapes and on a plain directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use depsfs::sys::fs as calls;
use depsfs::sys::fs::FallocateFlags;
use memmap2::MmapOptions;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use rustix::fs::{FlockOperation, fcntl_lock, flock, inotify};

use crate::bench::{bench, wait_until};
use crate::seen::in_both_shapes;

fn open_rw(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Runs `child` in a process of its own; its answer is what this process gets.
fn in_another_process(child: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the child makes system calls and writes to memory that is its own or mapped, then ends at once.
    match unsafe { fork() }? {
        // SAFETY: ends the child without running anything of this program.
        ForkResult::Child => unsafe { libc::_exit(child()) },
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, code) => Ok(code),
            other => Err(io::Error::other(format!("{other:?}"))),
        },
    }
}

fn errno(result: rustix::io::Result<()>) -> i32 {
    result.map_or_else(rustix::io::Errno::raw_os_error, |()| 0)
}

#[test]
fn a_lock_of_one_process_holds_in_another_and_ends_with_its_file() {
    let fill = |root: &Path| ["store", "written"].iter().for_each(|f| fs::write(root.join(f), "lock me").unwrap());
    in_both_shapes(fill, |root, seen| {
        OpenOptions::new().append(true).open(root.join("written")).unwrap().write_all(b"!").unwrap();
        for name in ["store", "written"] {
            let path = root.join(name);
            let (mine, theirs) = (open_rw(&path), open_rw(&path));
            let try_all = |what: &str, seen: &mut crate::seen::Seen| {
                for how in [FlockOperation::NonBlockingLockShared, FlockOperation::NonBlockingLockExclusive] {
                    seen.note(what, in_another_process(|| errno(flock(&theirs, how))));
                    seen.note(what, in_another_process(|| errno(flock(&theirs, FlockOperation::Unlock))));
                    seen.note(what, in_another_process(|| errno(fcntl_lock(&theirs, how))));
                }
            };
            try_all("free", seen);
            for how in [FlockOperation::LockShared, FlockOperation::LockExclusive] {
                seen.note("flock", flock(&mine, how).map_err(Into::into));
                try_all("flocked", seen);
                // A copy-up, a chmod and a rename later it is still the same file.
                seen.note("write", mine.write_all_at(b"x", 0));
                try_all("and written", seen);
                seen.note("unlock", flock(&mine, FlockOperation::Unlock).map_err(Into::into));
                seen.note("posix", fcntl_lock(&mine, how).map_err(Into::into));
                try_all("posix", seen);
                seen.note("unlock", fcntl_lock(&mine, FlockOperation::Unlock).map_err(Into::into));
            }
            seen.note("both", flock(&mine, FlockOperation::LockExclusive).map_err(Into::into));
            drop(mine);
            // Programs that other tests start may have the descriptor for a moment.
            wait_until("the lock went with its file", || {
                in_another_process(|| errno(flock(&theirs, FlockOperation::NonBlockingLockExclusive))).unwrap() == 0
            });
            in_another_process(|| errno(flock(&theirs, FlockOperation::Unlock))).unwrap();
            try_all("closed", seen);
        }
    });
}

#[test]
fn what_two_processes_write_to_a_shared_mapping_both_see() {
    let fill = |root: &Path| fs::write(root.join("f"), vec![b'.'; 3 * 4096]).unwrap();
    in_both_shapes(fill, |root, seen| {
        let file = open_rw(&root.join("f"));
        // SAFETY: nobody cuts the file.
        let mut map = unsafe { MmapOptions::new().map_mut(&file).unwrap() };
        map[0] = b'1';
        let answer = in_another_process(|| {
            let Ok(own) = OpenOptions::new().read(true).write(true).open(root.join("f")) else { return 90 };
            // SAFETY: as above.
            let Ok(mut theirs) = (unsafe { MmapOptions::new().map_mut(&own) }) else { return 91 };
            theirs[1] = b'2';
            theirs[8192] = b'3';
            i32::from(theirs[0])
        });
        seen.note("the bytes that the other saw", answer);
        seen.note("the bytes that it wrote", Ok((map[0], map[1], map[8192])));
        let mut bytes = [0; 2];
        seen.note("read", file.read_exact_at(&mut bytes, 0).map(|()| bytes));
        seen.note("written with a call", file.write_all_at(b"4", 4096).map(|()| map[4096]));
        seen.note("sync", map.flush());
        seen.note("content", fs::read(root.join("f")).map(|b| (b[0], b[1], b[4096], b[8192], b.len())));
    });
}

#[test]
fn inotify_tells_of_every_change_that_is_made_through_the_view() {
    let fill = |root: &Path| {
        fs::create_dir_all(root.join("d/sub")).unwrap();
        ["d/a", "d/b", "d/c"].iter().for_each(|f| fs::write(root.join(f), f).unwrap());
    };
    in_both_shapes(fill, |root, seen| {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let wanted = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVE
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::DELETE_SELF;
        for path in ["d", "d/a", "d/sub"] {
            inotify::add_watch(&watch, root.join(path), wanted).unwrap();
        }
        for script in [
            "printf x >> d/a",
            "chmod 600 d/a",
            "touch -d @5 d/b",
            ": > d/new",
            "mv d/b d/moved",
            "mv d/c d/sub/c",
            "ln d/a d/hard",
            "rm d/a d/hard",
            "mkdir d/dir; rmdir d/dir",
            "mv d/sub d/sub2; rm -r d/sub2",
        ] {
            let done = Command::new("sh").args(["-ec", script]).current_dir(root).status();
            seen.note(script, done.map(|s| s.code()));
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&watch, &mut buffer);
            let mut told = Vec::new();
            while let Ok(event) = reader.next() {
                told.push(format!("{} {:?} {:?}", event.wd(), event.events(), event.file_name()));
            }
            seen.note("told", Ok(told));
        }
    });
}

#[repr(align(4096))]
struct Aligned([u8; 8192]);

#[test]
fn direct_reads_and_writes_go_past_the_cache_and_agree_with_it() {
    let fill = |root: &Path| fs::write(root.join("f"), vec![b'o'; 20_000]).unwrap();
    in_both_shapes(fill, |root, seen| {
        let direct =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(root.join("f")).unwrap();
        let cached = open_rw(&root.join("f"));
        let mut block = Box::new(Aligned([0; 8192]));
        seen.note("read", direct.read_at(&mut block.0, 4096).map(|n| (n, block.0[0])));
        block.0.fill(b'd');
        seen.note("write", direct.write_at(&block.0, 4096));
        let mut bytes = [0; 8];
        seen.note("cached", cached.read_at(&mut bytes, 8188).map(|n| (n, bytes)));
        seen.note("write cached", cached.write_all_at(b"cached", 4096));
        seen.note("read again", direct.read_at(&mut block.0, 4096).map(|n| (n, block.0[5], block.0[6])));
        seen.note("at the end", direct.read_at(&mut block.0, 16384).map(|n| (n, block.0[0])));
        block.0.fill(b'e');
        seen.note("longer", direct.write_at(&block.0, 40960).and_then(|_| cached.metadata()).map(|m| m.size()));
        seen.note("past the end", direct.read_at(&mut block.0, 1 << 20));
    });
}

#[test]
fn ranges_are_copied_punched_and_found_as_in_a_plain_file() {
    let fill = |root: &Path| {
        let sparse = File::create(root.join("sparse")).unwrap();
        sparse.write_all_at(&[1; 4096], 1 << 20).unwrap();
        sparse.set_len(3 << 20).unwrap();
        fs::write(root.join("full"), vec![b'f'; 100_000]).unwrap();
    };
    in_both_shapes(fill, |root, seen| {
        let (sparse, full) = (open_rw(&root.join("sparse")), open_rw(&root.join("full")));
        let seek = |file: &File, at, hole| calls::seek_data(file.as_fd(), at, hole);
        let look = |file: &File| {
            let places =
                [(0, false), (0, true), (1 << 20, false), ((1 << 20) + 5, true), (2 << 20, false), (9 << 20, true)];
            places.map(|(at, hole)| seek(file, at, hole).map_err(|e| e.raw_os_error()))
        };
        seen.note("holes of the store's", Ok((look(&sparse), look(&full))));
        seen.note("blocks", sparse.metadata().map(|m| m.blocks() < 100));
        seen.note("write into one", sparse.write_all_at(b"x", 2 << 20));
        seen.note(
            "holes of the copy",
            Ok((look(&sparse), sparse.metadata().map(|m| (m.size(), m.blocks() < 100)).unwrap())),
        );
        let allocate = |file: &File, flags, at, len| calls::fallocate(file.as_fd(), flags, at, len);
        seen.note("punch", allocate(&full, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 8192, 8192));
        seen.note("a hole then", Ok(look(&full)));
        seen.note("zero", allocate(&full, FallocateFlags::ZERO_RANGE, 40_000, 10));
        seen.note("longer", allocate(&full, FallocateFlags::empty(), 0, 200_000));
        seen.note("kept", allocate(&full, FallocateFlags::KEEP_SIZE, 0, 400_000));
        seen.note("nothing", allocate(&full, FallocateFlags::empty(), 0, 0));
        seen.note("size", full.metadata().map(|m| m.size()));
        let copy = |a: &File, from, b: &File, to, len| calls::copy_range(a.as_fd(), from, b.as_fd(), to, len);
        seen.note("copy to the other", copy(&full, 0, &sparse, 10, 50_000));
        seen.note("copy within", copy(&full, 0, &full, 150_000, 1000));
        seen.note("overlapping", copy(&full, 0, &full, 500, 1000));
        seen.note("past the end", copy(&full, 10 << 20, &sparse, 0, 10));
        let reader = File::open(root.join("full")).unwrap();
        seen.note("from one open to read", copy(&reader, 5, &sparse, 0, 10));
        seen.note("to one open to read", copy(&sparse, 5, &reader, 0, 10));
    });
}

/// A writer in WAL mode that says each row it has committed, killed after some.
fn killed_writer(db: &Path) -> u32 {
    let mut script = String::from(
        ".bail on\nPRAGMA journal_mode=WAL;\nPRAGMA synchronous=NORMAL;\nCREATE TABLE IF NOT EXISTS t(n, s);\n",
    );
    for n in 0..20_000 {
        script += &format!("INSERT INTO t VALUES({n}, hex(randomblob(300))); SELECT 'row {n}';\n");
    }
    let mut writer =
        Command::new("sqlite3").arg(db).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sqlite3");
    let mut input = writer.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || drop(input.write_all(script.as_bytes())));
    let said = BufReader::new(writer.stdout.take().unwrap());
    let rows = said.lines().map_while(Result::ok).filter(|l| l.starts_with("row ")).take(40).count();
    writer.kill().and_then(|()| writer.wait()).unwrap();
    feeder.join().unwrap();
    rows as u32
}

#[test]
fn a_database_in_wal_mode_is_whole_after_its_writer_was_killed() {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        return eprintln!("skipped: sqlite3 is not installed");
    }
    let mut bench = bench!("v");
    let source = bench.dir.join("db");
    fs::create_dir(&source).unwrap();
    let sql = |db: &Path, sql: &str| -> String {
        let done = Command::new("sqlite3").arg(db).arg(sql).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_string()
    };
    sql(&source.join("x.db"), "CREATE TABLE t(n, s); INSERT INTO t VALUES(-1, 'of the store');");
    let store = depsfs::store::Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = depsfs::store::import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench.mount();
    let db = bench.view("v/x.db");
    let mut rows = 0;
    for round in 0..3 {
        rows += killed_writer(&db);
        if round == 1 {
            bench.unmount();
            bench.mount();
        }
        assert_eq!(sql(&db, "PRAGMA integrity_check"), "ok", "round {round}");
        assert!(sql(&db, "SELECT count(*) FROM t").parse::<u32>().unwrap() > rows, "round {round}");
        assert_eq!(sql(&db, "SELECT s FROM t WHERE n = -1"), "of the store");
    }
    assert_eq!(sql(&source.join("x.db"), "SELECT count(*) FROM t"), "1");
}

#[test]
fn two_sqlite_processes_wait_for_each_others_locks() {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        return eprintln!("skipped: sqlite3 is not installed");
    }
    in_both_shapes(
        |root| fs::write(root.join("unused"), "").unwrap(),
        |root, seen| {
            let script = "sqlite3 x.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(n)' >/dev/null
                w() { for i in 1 2 3 4 5 6 7 8; do sqlite3 -cmd '.timeout 20000' x.db 'INSERT INTO t VALUES(1)' || echo no; done; }
                w & w & w; wait; sqlite3 x.db 'SELECT sum(n) FROM t; PRAGMA integrity_check'; rm -f x.db*";
            let done = Command::new("sh").args(["-c", script]).current_dir(root).output();
            seen.note("both", done.map(|o| (o.status.code(), String::from_utf8_lossy(&o.stdout).into_owned())));
        },
    );
}

#[test]
fn a_blocked_lock_is_given_when_its_holder_is_killed() {
    let bench = bench!("v");
    bench.mount();
    let file = bench.view("v/a.txt");
    let mut holder = Command::new("flock").arg(&file).args(["sleep", "60"]).spawn().unwrap();
    let open = File::open(&file).unwrap();
    wait_until("it is locked", || {
        let is_free = flock(&open, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_free {
            flock(&open, FlockOperation::Unlock).unwrap();
        }
        !is_free
    });
    let waiter = std::thread::spawn(move || flock(&open, FlockOperation::LockExclusive));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiter.is_finished());
    // flock(1) holds it, and so does the sleep it started, which has the descriptor too.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).unwrap();
    for child in children.split_whitespace() {
        crate::bench::signal(child.parse().unwrap(), "-KILL");
    }
    holder.kill().and_then(|()| holder.wait()).unwrap();
    wait_until("the lock is given", || waiter.is_finished());
    waiter.join().unwrap().unwrap();
}
