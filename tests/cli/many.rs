//! Many views in one worktree: what each of them costs, and that the daemon is waited for while it works.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::bench::{Bench, PROGRAM, run};
use crate::ordinary::ordinary;

/// A repository with so many more artifact directories.
fn with_views(bench: &Bench, views: usize) {
    for n in 0..views {
        bench.write(&format!("repo/p/{n}/build/o"), "x");
    }
}

#[test]
fn how_often_a_command_opens_the_mount_table_or_the_daemons_files_does_not_grow_with_the_views() {
    if Command::new("strace").arg("-V").output().is_err() {
        return println!("skipped: strace is not installed");
    }
    let opened = |views: usize, command: &[&str]| {
        let bench = Bench::new().with_mounts_of_directories();
        with_views(&bench, views);
        bench.ok("repo", ["create", "fix"]);
        let trace = bench.path("trace");
        let mut strace = bench.command("strace", "fix");
        strace.args(["-f", "-qq", "-e", "trace=open,openat", "-o"]).arg(&trace).arg(PROGRAM).args(command);
        let said = run(&mut strace);
        if said.code != 0 && said.err.contains("ptrace") {
            return None;
        }
        assert_eq!(said.code, 0, "{said:?}");
        let lines = std::fs::read_to_string(&trace).unwrap();
        bench.ok("repo", ["remove", "fix"]);
        let mut files = vec!["mountinfo", "daemon.json"];
        // The others look once for each view whether the daemon lives.
        if command == ["list"] || command == ["diff"] {
            files.push("daemon.lock");
        }
        Some(lines.lines().filter(|line| files.iter().any(|file| line.contains(file))).count())
    };
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    // `--no-mount`: the trace would wait for the daemon.
    let create = &["create", "from-fix", "--no-mount"][..];
    let commands = [&["diff"], &["status"], &["list"], create, &["unmount"], &["mount"]];
    // A program that is traced gains no privileges: of an ordinary user, fusermount3 mounts nothing.
    for command in if is_root { &commands[..] } else { &commands[..4] } {
        let (Some(few), Some(many)) = (opened(2, command), opened(30, command)) else {
            return println!("skipped: programs may not be traced here");
        };
        // A process that waits for the daemon reads its state a few times more or less.
        assert!(many <= few + 12, "{command:?}: {few} and {many} times");
    }
}

#[test]
fn twenty_worktrees_of_many_packages_are_an_ordinary_users_in_one_view_each() {
    let bench = ordinary().with_mounts_of_worktrees();
    for n in 0..20 {
        bench.write(&format!("repo/packages/{n}/node_modules/index.js"), &format!("{n}\n"));
        bench.write(&format!("repo/packages/{n}/build/x"), "x\n");
    }
    let worktrees: Vec<String> = (0..20).map(|n| format!("w{n}")).collect();
    for name in &worktrees {
        bench.ok("repo", ["create", name]);
    }
    assert_eq!(bench.mounts().len(), 20);
    for (n, name) in worktrees.iter().enumerate() {
        // As that user: root may not look into these views.
        let script = format!("cat packages/{n}/node_modules/index.js && echo mine > packages/{n}/build/mine");
        let read = run(bench.command("sh", name).args(["-c", &script]));
        assert_eq!((read.code, read.out), (0, format!("{n}\n")), "{name}");
    }
    for (n, name) in worktrees.iter().enumerate() {
        assert_eq!(bench.status(name, &[]).matches("[ok] ").count(), 42, "{name}");
        assert_eq!(bench.ok(name, ["diff"]), format!("A packages/{n}/build/mine\n"));
        bench.assert_clean(name);
    }
    for name in &worktrees {
        bench.ok("repo", ["remove", name, "--discard-changes"]);
    }
    assert!(bench.mounts().is_empty());
    bench.assert_sound();
}

#[test]
fn a_daemon_is_waited_for_as_long_as_it_mounts_one_view_after_another() {
    let Some(real) = ["/usr/bin/fusermount3", "/bin/fusermount3"].iter().find(|p| std::path::Path::new(p).exists())
    else {
        return println!("skipped: fusermount3 is not installed");
    };
    let bench = ordinary().with_mounts_of_directories();
    with_views(&bench, 10);
    // Each mount takes its time; all of them take longer than a daemon may be silent.
    let slow = format!("#!/bin/sh\n[ \"$1\" = -u ] || sleep 0.4\nexec {real} \"$@\"\n");
    bench.write("bin/fusermount3", &slow);
    let write = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.path("bin/fusermount3"), write).unwrap();
    let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
    let patiently = |at: &str, args: &[&str]| {
        let mut command = bench.command(PROGRAM, at);
        run(command.args(args).env("PATH", &path).env("DEPSFS_SILENCE_MS", "3500"))
    };
    let begun = std::time::Instant::now();
    let made = patiently("repo", &["create", "fix"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(begun.elapsed().as_millis() > 3500, "it was not slow");
    assert_eq!(bench.mounts().len(), 12);
    bench.ok("fix", ["unmount"]);
    // A daemon that lives reports in its state file.
    bench.ok("fix", ["mount"]);
    for at in bench.mounts().iter().skip(1) {
        let gone = run(bench.command("fusermount3", "").args(["-u", "-z", at]));
        assert_eq!(gone.code, 0, "{gone:?}");
    }
    let mounted = patiently("fix", &["mount"]);
    assert_eq!(mounted.code, 0, "{mounted:?}");
    assert_eq!(bench.mounts().len(), 12);
    bench.ok("repo", ["remove", "fix"]);
}
