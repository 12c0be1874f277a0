//! The ways a view goes: asked to, deleted, from outside, by a signal, in use.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use depsfs::daemon::{DaemonError, client};
use depsfs::sys::mount;

use crate::bench::{PROGRAM, bench, signal, wait_until};

#[test]
fn rm_rf_of_a_view_and_mkdir_succeed_and_it_stays_a_plain_directory() {
    let bench = bench!("target", "other");
    let target = bench.view("target");
    bench.mount();
    let script = r#"set -e; rm -rf "$1"; test ! -e "$1"; mkdir "$1"; echo new > "$1/file""#;
    let done = Command::new("sh").args(["-c", script, "sh"]).arg(&target).status().unwrap();
    assert!(done.success(), "{}", bench.log());
    assert_eq!(bench.mounted(), ["other"]);
    wait_until("the keeper knows", || bench.state().is_some_and(|s| !s.views[0].mounted));
    assert!(bench.state_dir().join("views/0000000000000000/dropped").exists());
    bench.try_mount().unwrap();
    assert_eq!(bench.mounted(), ["other"]);
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "new\n");
    bench.unmount();
    bench.try_mount().unwrap();
    assert_eq!(bench.mounted(), ["other"]);
}

#[test]
fn a_view_that_is_emptied_by_its_user_is_a_plain_directory_and_who_stands_in_it_goes_on() {
    let bench = bench!("target");
    bench.mount();
    let script = r#"set -e; cd "$1"; find . -mindepth 1 -delete; echo here > file; cat file"#;
    let done = Command::new("sh").args(["-c", script, "sh"]).arg(bench.view("target")).output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stderr), bench.log());
    assert_eq!(bench.mounted(), Vec::<String>::new());
    assert_eq!(fs::read_to_string(bench.view("target/file")).unwrap(), "here\n");
    wait_until("the daemon has ended", || bench.state().is_none());
}

#[test]
fn a_file_of_the_store_that_is_open_is_written_after_its_view_was_deleted() {
    let bench = bench!("target");
    bench.mount();
    let target = bench.view("target");
    let mut open = File::options().append(true).read(true).open(target.join("a.txt")).unwrap();
    let done = Command::new("rm").arg("-rf").arg(&target).status().unwrap();
    assert!(done.success() && !target.exists(), "{}", bench.log());
    writeln!(open, "and more").unwrap();
    let mut text = String::new();
    open.seek(SeekFrom::Start(0)).unwrap();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the store\nand more\n");
}

#[test]
fn a_view_in_use_is_not_unmounted_and_neither_are_the_others() {
    let bench = bench!("a", "b", "c");
    bench.mount();
    let open = File::open(bench.view("b/a.txt")).unwrap();
    for _ in 0..3 {
        match client::unmount(&bench.state_dir(), false) {
            Err(DaemonError::Busy { paths, .. }) => assert_eq!(paths, [bench.view("b")]),
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.mounted(), ["a", "b", "c"]);
    }
    for view in ["a", "b", "c"] {
        assert_eq!(fs::read_to_string(bench.view(view).join("a.txt")).unwrap(), "from the store\n");
    }
    drop(open);
    bench.unmount();
    assert_eq!(bench.mounted(), Vec::<String>::new());
}

#[test]
fn a_lazily_unmounted_view_lives_on_for_who_has_it_open_and_mounting_again_works_meanwhile() {
    let bench = bench!("a");
    bench.mount();
    let mut open = File::options().append(true).read(true).open(bench.view("a/a.txt")).unwrap();
    client::unmount(&bench.state_dir(), true).unwrap();
    assert_eq!(bench.mounted(), Vec::<String>::new());
    writeln!(open, "and more").unwrap();
    bench.mount();
    let want = "from the store\nand more\n";
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), want);
    fs::write(bench.view("a/new"), "new").unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), want);
    drop(open);
    bench.unmount();
    wait_until("the daemon has ended", || bench.state().is_none());
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), want);
    assert_eq!(fs::read_to_string(bench.view("a/new")).unwrap(), "new");
}

#[test]
fn a_view_unmounted_from_outside_is_noticed_and_mounted_again_on_request() {
    let bench = bench!("a", "b");
    bench.mount();
    mount::unmount(&bench.view("a"), false).unwrap();
    wait_until("the keeper knows", || bench.state().is_some_and(|s| !s.views[0].mounted && s.views[1].mounted));
    assert_eq!(bench.mounted(), ["b"]);
    bench.mount();
    assert_eq!(bench.mounted(), ["a", "b"]);
    mount::unmount(&bench.view("a"), false).unwrap();
    mount::unmount(&bench.view("b"), false).unwrap();
    wait_until("the daemon has ended", || bench.state().is_none());
}

#[test]
fn one_view_can_go_alone() {
    let bench = bench!("a", "b");
    bench.mount();
    let open = File::open(bench.view("b/a.txt")).unwrap();
    client::unmount_view(&bench.state_dir(), "0000000000000000", false).unwrap();
    assert_eq!(bench.mounted(), ["b"]);
    let refused = client::unmount_view(&bench.state_dir(), "0000000000000001", false);
    assert!(matches!(refused, Err(DaemonError::Busy { .. })), "{refused:?}");
    drop(open);
}

#[test]
fn views_follow_the_manifest() {
    let mut bench = bench!("a", "b");
    bench.mount();
    bench.manifest.views[0].path = "c".into();
    bench.manifest.generation += 1;
    bench.save();
    bench.mount();
    assert_eq!(bench.mounted(), ["b", "c"]);
    assert_eq!(fs::read_to_string(bench.view("c/a.txt")).unwrap(), "from the store\n");
}

#[test]
fn sigterm_unmounts_everything_and_ends_the_daemon() {
    let bench = bench!("a", "b");
    let state = bench.mount();
    signal(state.pid, "-TERM");
    wait_until("the daemon has ended", || bench.state().is_none());
    assert_eq!(bench.mounted(), Vec::<String>::new());
    bench.mount();
}

#[test]
fn a_second_daemon_for_one_worktree_is_refused() {
    let bench = bench!("a");
    bench.mount();
    let script = r#""$0" keeper "$1" 3>&1 2>/dev/null"#;
    let second = Command::new("sh").args(["-c", script, PROGRAM]).arg(bench.state_dir()).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stdout).contains("another daemon"), "{second:?}");
    assert_eq!(bench.mounted(), ["a"]);
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
}

#[test]
fn a_linked_worktree_is_locked_while_views_are_mounted() {
    let bench = bench!("a");
    let locked = bench.dir.join("gitdir/locked");
    fs::write(bench.dir.join("gitdir/gitdir"), "elsewhere\n").unwrap();
    bench.mount();
    assert!(fs::read_to_string(&locked).unwrap().contains("depsfs unmount"));
    bench.unmount();
    assert!(!locked.exists());
}

#[test]
fn what_cannot_be_mounted_is_told_and_the_rest_is_mounted() {
    let bench = bench!("a", "b");
    fs::write(bench.view("a"), "a file").unwrap();
    let state = bench.try_mount().unwrap();
    assert!(state.views[0].error.as_deref().is_some_and(|e| e.contains("Not a directory")), "{state:?}");
    assert!(state.views[1].mounted);
    assert_eq!(bench.mounted(), ["b"]);
}

#[test]
fn a_daemon_whose_server_is_stopped_answers_and_can_be_unmounted() {
    let bench = bench!("a", "b");
    let server = bench.mount().server_pid.unwrap();
    signal(server, "-STOP");
    let asked = Instant::now();
    assert!(bench.state().is_some_and(|s| s.views.iter().all(|v| v.mounted)));
    bench.unmount();
    assert_eq!(bench.mounted(), Vec::<String>::new());
    assert!(asked.elapsed() < Duration::from_secs(20));
    wait_until("the daemon has ended", || bench.state().is_none());
}
