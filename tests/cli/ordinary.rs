//! The same life for an ordinary user, whose mounts go through fusermount3.

use crate::bench::{Bench, run};

/// Somebody who is not root.
pub fn ordinary() -> Bench {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    // Only root can become somebody else; others are ordinary already.
    Bench::of_user(is_root.then_some(65534))
}

#[test]
fn more_views_than_fusermount_mounts_are_refused_before_anything_is_made() {
    if std::fs::read_to_string("/etc/fuse.conf").is_ok_and(|t| t.lines().any(|l| l.starts_with("mount_max"))) {
        println!("skipped: /etc/fuse.conf sets another limit than 1000");
        return;
    }
    let bench = ordinary().with_mounts_of_directories();
    for n in 0..1000 {
        bench.write(&format!("repo/p/{n}/build/o"), "x");
    }
    let refused = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("1002 views") && refused.err.contains("mount_max"), "{refused:?}");
    assert!(refused.err.contains("hint: depsfs doctor"), "{refused:?}");
    assert!(!bench.is_there("fix") && !bench.is_there("repo/.git/worktrees"));
    assert_eq!(bench.git("repo", ["branch", "--format=%(refname:short)"]), "main");
    bench.git("repo", ["config", "depsfs.exclude", "p/"]);
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn an_ordinary_user_creates_changes_and_removes_a_worktree() {
    let bench = ordinary();
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.assert_clean("fix");
    let status = bench.status("fix", &[]);
    assert!(status.starts_with("[ok]      build\n[ok]      node_modules\n"), "{status}");
    bench.ok("fix", ["thaw", "build"]);
    bench.ok("fix", ["unmount"]);
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.ok("fix", ["diff"]), "");
    bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    assert!(!bench.is_there("fix") && bench.mounts().is_empty());
    bench.assert_sound();
}

#[test]
fn a_view_that_is_in_use_for_a_moment_is_unmounted_and_one_that_stays_in_use_is_refused_with_the_program() {
    let Some(real) = ["/usr/bin/fusermount3", "/bin/fusermount3"].iter().find(|p| std::path::Path::new(p).exists())
    else {
        return println!("skipped: because fusermount3 is not installed");
    };
    let bench = ordinary();
    bench.ok("repo", ["create", "fix"]);
    // The first tries meet a program that is just ending.
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" != -u ] || [ \"$(wc -l <\"$TRIES\")\" -ge 3 ] || {{\n\
         echo >>\"$TRIES\"; echo 'fusermount3: failed to unmount x: Device or resource busy' >&2; exit 1; }}\n\
         exec {real} \"$@\"\n"
    );
    bench.write("bin/fusermount3", &script);
    bench.write("tries", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bench.path("bin/fusermount3"), mode).unwrap();
    let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
    let mut unmount = bench.command(crate::bench::PROGRAM, "fix");
    let said = run(unmount.arg("unmount").env("PATH", path).env("TRIES", bench.path("tries")));
    assert_eq!((said.code, bench.read("tries").as_str()), (0, "\n\n\n"), "{said:?}");
    assert!(bench.mounts().is_empty());
    bench.ok("fix", ["mount"]);
    let mut user = bench.command("sleep", "fix/build").arg("100").spawn().unwrap();
    let refused = bench.depsfs("fix", ["unmount"]);
    let (pid, name) = (user.id(), "(sleep)");
    user.kill().unwrap();
    user.wait().unwrap();
    assert_eq!(refused.code, 3, "{refused:?}");
    let place = bench.path(if bench.has_mounts_of_worktrees() { "fix" } else { "fix/build" });
    let used = format!("{} is in use by process {pid} {name}", place.display());
    assert!(refused.err.contains(&used), "{refused:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn a_directory_that_may_not_be_read_is_left_out_and_named() {
    use std::os::unix::fs::PermissionsExt;
    let bench = ordinary();
    let closed = |at: &str, mode| {
        std::fs::set_permissions(bench.path(at), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    bench.write("repo/build-db/data", "1\n");
    bench.write("repo/secret.log", "1\n");
    closed("repo/secret.log", 0);
    for mode in [0o000, 0o444, 0o311] {
        closed("repo/build-db", mode);
        let said = bench.ok("repo", ["create", "fix"]);
        assert!(said.contains("left out: build-db: you may not read it"), "{mode:o}: {said}");
        assert!(said.contains("left out: secret.log: you may not read it"), "{said}");
        let shown = run(bench.command("cat", "fix").arg("build/out.o"));
        assert_eq!(shown.out, "object\n", "{shown:?}");
        assert!(!bench.is_there("fix/build-db") && !bench.is_there("fix/secret.log"));
        bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    }
    bench.git("repo", ["config", "--add", "depsfs.exclude", "build-db/"]);
    bench.git("repo", ["config", "--add", "depsfs.exclude", "*.log"]);
    closed("repo/build-db", 0);
    let said = bench.ok("repo", ["create", "fix"]);
    assert!(said.contains("left out: build-db: depsfs.exclude names it") && !said.contains("secret"), "{said}");
    bench.ok("repo", ["remove", "fix"]);
    closed("repo/build-db", 0o700);
    // A directory inside of one is left out each time, and comes when it may be read.
    bench.git("repo", ["config", "--unset-all", "depsfs.exclude"]);
    bench.write("repo/build/deep/db/data", "1\n");
    bench.write("repo/build/deep/beside", "1\n");
    std::fs::remove_file(bench.path("repo/secret.log")).unwrap();
    for (mode, name) in [(0o000, "one"), (0o000, "two"), (0o444, "three"), (0o311, "four")] {
        closed("repo/build/deep/db", mode);
        let said = bench.ok("repo", ["create", name]);
        assert!(said.contains("left out: build/deep/db: you may not read it"), "{mode:o}: {said}");
        let listed = run(bench.command("ls", name).arg("build/deep"));
        assert_eq!(listed.out, "beside\n", "{listed:?}");
        assert!(bench.ok(name, ["sync"]).contains("unfit:    build/deep/db: you may not read it"));
    }
    bench.write(
        "repo/depsfs.toml",
        "[[component]]\nname = \"b\"\npaths = [\"build\"]\nkey = { files = [\".gitignore\"] }\n",
    );
    let refused = bench.depsfs("repo", ["publish"]);
    assert!(refused.code == 1 && refused.err.contains("build/deep/db"), "{refused:?}");
    std::fs::remove_file(bench.path("repo/depsfs.toml")).unwrap();
    bench.git("repo", ["config", "--add", "depsfs.exclude", "build/deep/db/"]);
    assert!(!bench.ok("repo", ["create", "five"]).contains("deep/db"));
    bench.git("repo", ["config", "--unset-all", "depsfs.exclude"]);
    closed("repo/build/deep/db", 0o700);
    assert!(!bench.ok("repo", ["create", "six"]).contains("left out"));
    assert_eq!(run(bench.command("cat", "six").arg("build/deep/db/data")).out, "1\n");
}

#[test]
fn a_file_of_an_artifact_that_may_not_be_read_is_left_out_each_time_and_named() {
    use std::os::unix::fs::PermissionsExt;
    let bench = ordinary();
    let closed = |at: &str, mode| {
        std::fs::set_permissions(bench.path(at), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let of = |at: &str| run(bench.command("cat", at).arg("build/out.o"));
    assert_eq!((bench.ok("repo", ["create", "whole"]).contains("left out"), &*of("whole").out), (false, "object\n"));
    bench.write("repo/build/beside", "1\n");
    std::fs::hard_link(bench.path("repo/build/out.o"), bench.path("repo/build/twin.o")).unwrap();
    closed("repo/build/out.o", 0);
    for name in ["one", "two"] {
        let said = bench.ok("repo", ["create", name]);
        assert!(said.contains("left out: build/out.o: you may not read it"), "{said}");
        assert_eq!(run(bench.command("ls", name).arg("build")).out, "beside\nlib.a\n");
        assert!(bench.ok(name, ["sync"]).contains("unfit:    build/out.o: you may not read it"));
    }
    let refused = bench.depsfs("repo", ["publish", "build", "--name", "all"]);
    assert!(refused.code == 1 && refused.err.contains("build/out.o"), "{refused:?}");
    assert!(refused.err.contains("have its owner make it readable"), "{refused:?}");
    bench.git("repo", ["config", "--add", "depsfs.exclude", "*.o"]);
    assert!(!bench.ok("repo", ["create", "quiet"]).contains("left out"));
    bench.git("repo", ["config", "--unset-all", "depsfs.exclude"]);
    // It comes when it may be read.
    closed("repo/build/out.o", 0o644);
    assert!(!bench.ok("repo", ["create", "three"]).contains("left out"));
    assert_eq!(
        (of("three").out, run(bench.command("ls", "three").arg("build")).out),
        (of("whole").out, "beside\nlib.a\nout.o\ntwin.o\n".into())
    );
}
