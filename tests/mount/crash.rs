//! Processes of the daemon die, and programs that use the views go on.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Stop, bench, signal, slower, wait_until};

/// Kills the server and waits for the next one.
fn kill_server(bench: &Bench) -> Duration {
    let before = bench.state().and_then(|s| s.server_pid).expect("a server runs");
    let begun = Instant::now();
    signal(before, "-KILL");
    let view = bench.view(bench.manifest.views[0].path.to_str().unwrap());
    fs::read_dir(&view).unwrap().count();
    // A name nobody has asked for: the kernel can't answer it from what it has cached.
    assert!(fs::metadata(view.join(format!("absent {before}"))).is_err_and(|e| e.kind() == ErrorKind::NotFound));
    let pause = begun.elapsed();
    wait_until("another server runs", || bench.state().and_then(|s| s.server_pid).is_some_and(|pid| pid != before));
    pause
}

/// Makes names, moves them and takes them away again: none of it may happen twice, or fail for its own first half.
fn shuffle(dir: &Path, round: u64) {
    let (sub, moved) = (dir.join("sub"), dir.join(format!("moved {round}")));
    fs::create_dir(dir).unwrap();
    fs::create_dir(&sub).unwrap();
    File::create_new(sub.join("file")).unwrap().write_all_at(b"x", 0).unwrap();
    fs::hard_link(sub.join("file"), sub.join("link")).unwrap();
    symlink("file", sub.join("symlink")).unwrap();
    fs::rename(&sub, &moved).unwrap();
    let mut append = File::options().append(true).open(moved.join("link")).unwrap();
    append.write_all(b"y").unwrap();
    assert_eq!(fs::read(moved.join("symlink")).unwrap(), b"xy");
    assert_eq!(fs::read_dir(&moved).unwrap().count(), 3);
    for name in ["file", "link", "symlink"] {
        fs::remove_file(moved.join(name)).unwrap();
    }
    fs::remove_dir(&moved).unwrap();
    fs::remove_dir(dir).unwrap();
}

#[test]
fn a_server_that_is_killed_under_readers_and_writers_is_replaced_without_an_error() {
    is_killed_under_load(&bench!("a", "b"));
}

#[test]
fn a_server_that_is_killed_where_the_kernel_sends_nothing_again_is_replaced_without_an_error() {
    let mut bench = bench!("a", "b");
    // As kernels before 6.9: `DEPSFS_WITHOUT` is for tests.
    bench.start_with("DEPSFS_WITHOUT=resend");
    is_killed_under_load(&bench);
    assert!(bench.log().contains("does not send unanswered requests again"), "{}", bench.log());
}

fn is_killed_under_load(bench: &Bench) {
    bench.mount();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut pauses = Vec::new();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for (i, view) in ["a", "b", "a", "b"].iter().enumerate() {
            let (view, stop, done) = (bench.view(view), &stop, &done);
            scope.spawn(move || {
                let want = "b\n".repeat(5000);
                let mine = view.join(format!("log {i}"));
                let log = File::create(&mine).unwrap();
                for round in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    assert_eq!(fs::read_to_string(view.join("lib/b.js")).unwrap(), want);
                    log.write_all_at(&round.to_le_bytes(), round * 8).unwrap();
                    assert!(fs::metadata(view.join(format!("no {i} {round}"))).is_err());
                    let own = view.join(format!("own {i}"));
                    fs::write(&own, round.to_string()).unwrap();
                    assert_eq!(fs::read_to_string(&own).unwrap(), round.to_string());
                    shuffle(&view.join(format!("dir {i}")), round);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                let mut all = Vec::new();
                File::open(&mine).unwrap().read_to_end(&mut all).unwrap();
                let numbers = all.chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap()));
                assert!(numbers.enumerate().all(|(i, n)| i as u64 == n));
            });
        }
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(150));
            pauses.push(kill_server(bench));
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    pauses.sort();
    eprintln!("{} rounds, pauses {pauses:?}", done.load(Ordering::Relaxed));
    assert!(pauses[pauses.len() / 2] < Duration::from_secs(5) * slower(), "{pauses:?}");
    bench.unmount();
}

/// Kills servers until a program waits for an answer that none of them will give: nothing is resent, nothing retained.
fn hang(bench: &Bench, stop: &AtomicBool, done: &AtomicU64) {
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(100));
        if let Some(pid) = bench.state().and_then(|s| s.server_pid) {
            signal(pid, "-KILL");
            wait_until("another server runs", || bench.state().and_then(|s| s.server_pid).is_some_and(|p| p != pid));
        }
        let before = done.load(Ordering::Relaxed);
        // The keeper gives up when servers die too soon.
        std::thread::sleep(Duration::from_millis(700));
        if done.load(Ordering::Relaxed) == before {
            return stop.store(true, Ordering::Relaxed);
        }
    }
    panic!("nothing hangs");
}

#[test]
fn a_connection_that_can_never_be_answered_is_reported_and_mount_and_unmount_get_out_of_it() {
    if !Path::new("/sys/fs/fuse/connections").read_dir().is_ok_and(|mut all| all.next().is_some())
        && depsfs::sys::process::user() != 0
    {
        return println!("skipped: fusectl is not mounted, so an ordinary user cannot count waiting requests");
    }
    let mut bench = bench!("a");
    bench.start_with("DEPSFS_WITHOUT=resend,retained");
    for unmounts in [false, true] {
        let keeper = bench.mount().pid;
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            // One program, so that it is the one that hangs.
            scope.spawn(|| {
                for round in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // ENOTCONN in the end.
                    let _ = fs::metadata(bench.view("a").join(format!("no {round}")));
                    let _ = fs::write(bench.view("a").join("own"), round.to_string());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
            hang(&bench, &stop, &done);
            let hung = depsfs::daemon::hung(&bench.state_dir());
            assert_eq!(hung.len(), 1, "{hung:?}\n{}", bench.log());
            if unmounts {
                bench.unmount();
                assert_eq!(bench.mounted(), [""; 0]);
            } else {
                assert_ne!(bench.mount().pid, keeper);
                assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
            }
        });
        assert_eq!(depsfs::daemon::hung(&bench.state_dir()), []);
        if !unmounts {
            bench.unmount();
        }
    }
}

#[test]
fn after_keeper_and_server_are_killed_mount_detaches_the_dead_views_and_everything_is_there() {
    let bench = bench!("a", "b");
    let state = bench.mount();
    fs::write(bench.view("a/kept"), "kept").unwrap();
    fs::remove_file(bench.view("b/a.txt")).unwrap();
    signal(state.pid, "-KILL");
    // It may have ended with its keeper by now.
    let server = state.server_pid.unwrap().to_string();
    Command::new("kill").args(["-KILL", &server]).stderr(Stdio::null()).status().unwrap();
    wait_until("the daemon is gone", || bench.state().is_none());
    assert_eq!(bench.mounted(), ["a", "b"]);
    bench.mount();
    assert_eq!(bench.mounted(), ["a", "b"]);
    assert_eq!(fs::read_to_string(bench.view("a/kept")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
    assert!(!bench.view("b/a.txt").exists());
}

#[test]
fn when_only_the_keeper_is_killed_the_server_ends_too_and_mount_recovers() {
    let bench = bench!("a");
    let state = bench.mount();
    signal(state.pid, "-KILL");
    wait_until("the server has ended", || !fs::exists(format!("/proc/{}", state.server_pid.unwrap())).unwrap());
    bench.mount();
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
}

#[test]
fn a_server_that_dies_again_and_again_leaves_views_that_answer_eio_until_mount_is_asked_for() {
    dies_again_and_again(&bench!("a"));
}

#[test]
fn they_answer_eio_also_where_the_kernel_sends_nothing_again() {
    let mut bench = bench!("a");
    // As kernels before 6.9: `DEPSFS_WITHOUT` is for tests.
    bench.start_with("DEPSFS_WITHOUT=resend");
    dies_again_and_again(&bench);
    assert!(bench.log().contains("does not send unanswered requests again"), "{}", bench.log());
}

fn dies_again_and_again(bench: &Bench) {
    bench.mount();
    for _ in 0..20 {
        let pid = bench.state().and_then(|s| s.server_pid).expect("a server");
        signal(pid, "-KILL");
        wait_until("it is replaced", || bench.state().and_then(|s| s.server_pid).is_some_and(|p| p != pid));
    }
    let state = bench.state().expect("the keeper lives");
    assert!(state.trouble.as_deref().is_some_and(|t| t.contains("times in a row, last by signal 9")), "{state:?}");
    assert!(state.refusing);
    assert!(bench.log().contains("the views answer EIO from now on"));
    let error = fs::metadata(bench.view("a/never looked at")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    let state = bench.mount();
    assert_eq!(state.trouble, None);
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
    assert!(fs::metadata(bench.view("a/never looked at")).is_err_and(|e| e.kind() == ErrorKind::NotFound));
}

#[test]
fn a_directory_that_nobody_may_enter_keeps_nothing_else_from_another_server() {
    let bench = bench!("a");
    bench.mount();
    let (own, closed) = (bench.view("a/own"), bench.view("a/closed"));
    fs::create_dir_all(closed.join("in")).unwrap();
    fs::write(closed.join("in/file"), "inside").unwrap();
    fs::create_dir(&own).unwrap();
    fs::write(own.join("f"), "mine").unwrap();
    let file = File::options().read(true).write(true).open(own.join("f")).unwrap();
    let dir = File::open(&closed).unwrap();
    for mode in [0o000, 0o400, 0o600] {
        fs::set_permissions(&closed, PermissionsExt::from_mode(mode)).unwrap();
        kill_server(&bench);
        // By its inode: the new server has to look for its name.
        file.write_all_at(b"MINE", 0).unwrap();
        fs::rename(own.join("f"), own.join("g")).unwrap();
        fs::rename(own.join("g"), own.join("f")).unwrap();
        fs::create_dir(own.join("sub")).unwrap();
        fs::remove_dir(own.join("sub")).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1 << 20);
        dir.set_modified(time).unwrap();
        dir.sync_all().unwrap();
        assert_eq!(dir.metadata().unwrap().modified().unwrap(), time);
        assert_eq!(fs::symlink_metadata(&closed).unwrap().permissions().mode() & 0o7777, mode);
    }
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(fs::read_to_string(closed.join("in/file")).unwrap(), "inside");
    drop((file, dir));
    bench.unmount();
}
