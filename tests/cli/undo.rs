//! A create that fails or is interrupted half-way leaves the repository as it was.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, PROGRAM, soon};

/// The repository and its neighbourhood are as before any create.
#[track_caller]
fn assert_nothing_left(bench: &Bench) {
    assert!(!bench.is_there("fix"));
    assert_eq!(bench.git("repo", ["branch", "--format=%(refname:short)"]), "main");
    let names = std::fs::read_dir(bench.path("repo/.git/worktrees")).map_or(0, Iterator::count);
    assert_eq!(names, 0, "a registration is left");
    assert_eq!(bench.mounts(), Vec::<String>::new());
    let roots = std::fs::read_dir(bench.path("store/roots")).map_or(0, Iterator::count);
    assert_eq!(roots, 0, "a root is left");
    let children = bench.git("repo", ["config", "--list", "--local"]);
    assert!(!children.contains("branch.al/fix"), "{children}");
}

fn hook(bench: &Bench, script: &str) {
    bench.write("repo/.git/hooks/post-checkout", &format!("#!/bin/sh\n{script}\n"));
    let path = bench.path("repo/.git/hooks/post-checkout");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_failing_hook_takes_everything_back() {
    let bench = Bench::new();
    hook(&bench, "echo 'fatal: no licence' >&2; exit 1");
    let failed = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("no licence") && failed.err.contains("has been taken back"), "{failed:?}");
    assert_nothing_left(&bench);
}

#[test]
fn a_store_that_cannot_be_written_takes_everything_back() {
    // root writes everywhere, so an ordinary user it is.
    let bench = Bench::empty(Some(65534));
    bench.write("repo/.gitignore", "build/\n");
    bench.commit("repo", "one");
    bench.write("other/f", "of the store\n");
    bench.ok("", ["store", "add", "other", "--name", "other"]);
    bench.write("repo/build/out", "x");
    std::fs::set_permissions(bench.path("store/tmp"), std::fs::Permissions::from_mode(0o500)).unwrap();
    let failed = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_nothing_left(&bench);
}

fn start(bench: &Bench) -> Child {
    // A step that could not be undone is reported on stderr, which a failing test shows.
    let mut command = bench.command(PROGRAM, "repo");
    command.args(["create", "fix"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

fn signal(child: &Child, signal: &str) {
    let done = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

#[track_caller]
fn ends(child: &mut Child) -> i32 {
    crate::bench::ends(child, Duration::from_secs(20)).expect("it ends by itself, not by the signal")
}

#[test]
fn a_signal_while_git_checks_out_takes_everything_back() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let bench = Bench::new();
        let mark = bench.path("started");
        hook(&bench, &format!("touch {}; sleep 30", mark.display()));
        let mut child = start(&bench);
        soon("the hook runs", || mark.exists());
        assert!(bench.is_there("fix"));
        signal(&child, name);
        assert_eq!(ends(&mut child), code);
        assert_nothing_left(&bench);
    }
}

#[test]
fn a_lock_that_an_ended_git_left_on_the_branch_does_not_keep_it() {
    let bench = Bench::new();
    hook(&bench, "touch \"$(git rev-parse --git-common-dir)/refs/heads/al/fix.lock\"; exit 1");
    let failed = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_nothing_left(&bench);
    assert!(!bench.path("repo/.git/refs/heads/al/fix.lock").exists());
    bench.git("repo", ["config", "core.hooksPath", "/dev/null"]);
    bench.ok("repo", ["create", "fix"]);
}

#[test]
fn a_signal_at_any_moment_leaves_all_or_nothing() {
    let bench = Bench::new();
    for n in 0..200 {
        bench.write(&format!("repo/node_modules/p{n}/index.js"), "x\n");
    }
    for delay in (0..60).step_by(4) {
        let mut child = start(&bench);
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, "-TERM");
        let until = Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(2));
        };
        if status.success() {
            assert_eq!(bench.read("fix/node_modules/p7/index.js"), "x\n");
            bench.ok("repo", ["remove", "fix", "--delete-branch"]);
        } else {
            assert_nothing_left(&bench);
        }
    }
}

#[test]
fn a_ctrl_c_in_a_long_first_import_leaves_nothing() {
    let bench = Bench::new();
    // A small directory beside it would be done, and stay in the store for the next try.
    std::fs::remove_dir_all(bench.path("repo/build")).unwrap();
    let text = "0123456789abcdef\n".repeat(4096);
    for n in 0..1500 {
        bench.write(&format!("repo/node_modules/p{}/f{n}", n / 100), &format!("{n}\n{text}"));
    }
    for pause in [0, 40, 120] {
        let mut child = start(&bench);
        let staged = || std::fs::read_dir(bench.path("store/tmp")).is_ok_and(|mut d| d.next().is_some());
        soon("the import writes", staged);
        std::thread::sleep(Duration::from_millis(pause));
        signal(&child, "-INT");
        assert_eq!(ends(&mut child), 130, "it was interrupted in time");
        assert_nothing_left(&bench);
        let left: Vec<_> = std::fs::read_dir(bench.path("store/tmp")).unwrap().map(|e| e.unwrap().path()).collect();
        let inside: usize = left.iter().filter_map(|d| std::fs::read_dir(d).ok()).map(Iterator::count).sum();
        assert!(left.is_empty(), "{left:?} with {inside} files stay in the store");
        let trees: Vec<_> = std::fs::read_dir(bench.path("store/trees")).unwrap().map(|e| e.unwrap().path()).collect();
        let trees = trees.iter().flat_map(|d| std::fs::read_dir(d).unwrap()).map(|e| e.unwrap().path());
        assert_eq!(trees.collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new(), "no tree of it is in the store");
    }
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.read("fix/node_modules/p7/f777"), format!("777\n{text}"));
    bench.assert_sound();
}

#[test]
fn of_two_creates_of_one_name_one_wins_and_the_other_does_not_undo_it() {
    let bench = Bench::new();
    for round in 0..5 {
        let mut two = [start(&bench), start(&bench)];
        let mut codes = two.each_mut().map(ends);
        codes.sort();
        assert_eq!(codes[0], 0, "round {round}");
        assert!(codes[1] == 3 || codes[1] == 1, "round {round}: {codes:?}");
        assert_eq!(bench.read("fix/build/out.o"), "object\n");
        bench.assert_clean("fix");
        assert_eq!(bench.git("fix", ["symbolic-ref", "--short", "HEAD"]), "al/fix");
        bench.ok("repo", ["remove", "fix", "--delete-branch"]);
        assert_nothing_left(&bench);
    }
}
