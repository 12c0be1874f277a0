//! Views of which somebody has a copy: a mount namespace that was made while they were mounted. And systems that lack
//! something: `/etc/mtab`, system calls.

use std::io::BufRead;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, PROGRAM, json, run, soon};

/// A process in a mount namespace of its own, ended when it goes.
struct Copy(Child);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A copy of all mounts, or the reason why there can be none, said.
fn copy(bench: &Bench) -> Option<Copy> {
    let mut unshare = bench.command("unshare", "");
    if !crate::bench::is_root() {
        unshare.args(["-U", "-r"]);
    }
    unshare.args(["-m", "--propagation", "private", "sh", "-c", "echo there; exec sleep 300"]);
    let mut child = Copy(unshare.stdout(Stdio::piped()).spawn().ok()?);
    let mut line = String::new();
    std::io::BufReader::new(child.0.stdout.take()?).read_line(&mut line).ok()?;
    if line != "there\n" {
        println!("skipped: unshare: no mount namespace can be made here");
        return None;
    }
    Some(child)
}

/// Runs a program where the copy is.
fn there(bench: &Bench, copy: &Copy, args: &[&str]) -> crate::bench::Said {
    let mut enter = bench.command("nsenter", "");
    enter.args(["-t", &copy.0.id().to_string(), "-m"]);
    if !crate::bench::is_root() {
        enter.args(["-U", "--preserve-credentials"]);
    }
    run(enter.args(args))
}

fn daemon_json(bench: &Bench) -> serde_json::Value {
    json(&bench.read("repo/.git/worktrees/fix/depsfs/daemon.json"))
}

fn soon_done(bench: &Bench, args: &[&str]) -> crate::bench::Said {
    let begun = Instant::now();
    let said = bench.depsfs("fix", args);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited for the copy: {:?}", begun.elapsed());
    said
}

/// The note names one process that has a copy. Another test's namespace may have been made at the same moment, and hold
/// one as well; it may be gone by now.
fn assert_names_a_holder(said: &crate::bench::Said) {
    let note = said.err.lines().find(|line| line.contains(" has a copy of the mount in a mount namespace of its own"));
    let pid = note.and_then(|note| note.strip_prefix("note: process ")?.split(' ').next()?.parse::<u32>().ok());
    let pid = pid.unwrap_or_else(|| panic!("no process is named: {said:?}"));
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    assert_ne!(namespace(&pid.to_string()), namespace("self"), "{said:?}");
}

#[test]
fn a_view_with_a_copy_elsewhere_is_reset_and_the_copy_changes_nothing_in_the_new_one() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    bench.write("fix/build/own", "mine");
    let Some(copy) = copy(&bench) else { return };
    let said = soon_done(&bench, &["reset", "build", "-y"]);
    assert_names_a_holder(&said);
    assert!(!bench.is_there("fix/build/own"));
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    assert!(bench.status("fix", &[]).starts_with("[ok]      build\n[ok]      node_modules\n"));
    // A view that is left elsewhere answers errors; the other view goes on there.
    let written = there(&bench, &copy, &["touch", bench.path("fix/build/theirs").to_str().unwrap()]);
    assert_ne!(written.code, 0, "{written:?}");
    assert!(!bench.is_there("fix/build/theirs"));
    let read = there(&bench, &copy, &["cat", bench.path("fix/node_modules/a/index.js").to_str().unwrap()]);
    assert_eq!(read.out, "module.exports = 1\n", "{read:?}");
    bench.write("fix/build/own", "again");
    assert_eq!(bench.ok("fix", ["diff"]), "A build/own\n");
    assert_eq!(daemon_json(&bench)["held"], 1);
    drop(copy);
    soon("the old view is gone with its last copy", || daemon_json(&bench)["held"] == 0);
    assert_eq!(bench.read("fix/build/own"), "again");
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn a_view_with_a_copy_elsewhere_is_thawed_and_its_worktree_unmounted_and_removed() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    let Some(copy) = copy(&bench) else { return };
    let said = soon_done(&bench, &["thaw", "build"]);
    assert_names_a_holder(&said);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    assert!(bench.status("fix", &[]).starts_with("[ok]      node_modules\n"));
    let read = there(&bench, &copy, &["cat", bench.path("fix/build/out.o").to_str().unwrap()]);
    assert_eq!(read.out, "object\n", "{read:?}");
    let said = soon_done(&bench, &["unmount"]);
    assert_names_a_holder(&said);
    soon_done(&bench, &["mount"]);
    let begun = Instant::now();
    let said = bench.depsfs("repo", ["remove", "fix"]);
    assert!(said.code == 0 && begun.elapsed() < Duration::from_secs(15), "{said:?}");
    // The views that were mounted after the copy was made are in no other namespace.
    assert!(!bench.is_there("fix"));
}

#[test]
fn a_worktree_with_a_copy_elsewhere_is_removed_at_once_and_the_holder_is_named() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    let Some(_copy) = copy(&bench) else { return };
    let begun = Instant::now();
    let said = bench.depsfs("repo", ["remove", "fix"]);
    assert!(said.code == 0 && begun.elapsed() < Duration::from_secs(15), "{said:?}");
    assert_names_a_holder(&said);
    assert!(!bench.is_there("fix"));
}

#[test]
fn a_deleted_view_in_which_somebody_stands_is_reset_to_what_the_store_says() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    let mut inside = Command::new("sleep");
    let inside = Copy(inside.arg("300").current_dir(bench.path("fix/build")).spawn().unwrap());
    let removed = run(bench.command("rm", "fix").args(["-rf", "build"]));
    assert_eq!(removed.code, 0, "{removed:?}");
    soon_done(&bench, &["reset", "build", "-y"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    assert_eq!(bench.ok("fix", ["diff"]), "");
    drop(inside);
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn without_what_a_kernel_or_a_filter_may_lack_a_worktree_lives_as_with_it() {
    const WITHOUT: &str = "resend,passthrough,killpriv,pidfd,close_range,statx,openat2,cached,nowait,dontcache,clone,copy_file_range,tmpfile";
    let bench = Bench::new();
    let old = |at: &str, script: &str| {
        let mut sh = bench.command("sh", at);
        // As an old kernel, or a filter of system calls: `DEPSFS_WITHOUT` is for tests.
        sh.args(["-ec", script]).env("DEPSFS_WITHOUT", WITHOUT).env("DEPSFS", PROGRAM);
        let said = run(&mut sh);
        assert_eq!(said.code, 0, "{script}: {said:?}");
        said.out
    };
    // With a descriptor that the daemon must not have.
    old("repo", "exec 9<README.md; \"$DEPSFS\" create fix");
    let keeper = daemon_json(&bench)["pid"].clone();
    let server = daemon_json(&bench)["server_pid"].clone();
    for process in [&keeper, &server] {
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let targets = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        assert!(!targets.into_iter().any(|t| t.ends_with("README.md")), "process {process} has it");
    }
    old("fix", "echo >> build/out.o; \"$DEPSFS\" diff | grep out.o");
    old("fix", "\"$DEPSFS\" reset build -y; \"$DEPSFS\" thaw build; \"$DEPSFS\" unmount");
    assert!(bench.mounts().is_empty());
    old("fix", "\"$DEPSFS\" mount; \"$DEPSFS\" mount");
    let said = old("fix", "\"$DEPSFS\" doctor | grep kernel_features");
    assert!(said.contains("statx is missing") && said.contains("RWF_NOWAIT is missing"), "{said}");
    assert_eq!(bench.mounts().len(), 1);
    old("repo", "\"$DEPSFS\" remove fix");
}

#[test]
fn without_etc_mtab_an_ordinary_user_unmounts_and_doctor_says_that_it_is_missing() {
    if !crate::bench::is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return println!("skipped: only root hides /etc/mtab, in a mount namespace, and setpriv runs the rest");
    }
    let bench = Bench::of_user(Some(65534)).with_mounts_of_directories();
    let script = "set -e; cp -a /etc \"$BENCH/etc\"; rm -f \"$BENCH/etc/mtab\"; mount --bind \"$BENCH/etc\" /etc
        exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec '\"$DEPSFS\" create fix
        cd ../fix; cat build/out.o; \"$DEPSFS\" unmount; \"$DEPSFS\" mount; \"$DEPSFS\" unmount
        \"$DEPSFS\" doctor | grep mtab'";
    let mut unshare = bench.command("unshare", "repo");
    unshare.args(["-m", "--propagation", "private", "sh", "-c", script]);
    // Not another user's before it has made the namespace.
    unshare.env("DEPSFS", PROGRAM).env("BENCH", bench.path("")).uid(0).gid(0);
    let said = run(&mut unshare);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("object\n") && said.out.contains("there is no /etc/mtab"), "{said:?}");
}

#[test]
fn a_directory_is_unmounted_by_every_path_that_leads_to_it() {
    let bench = Bench::new();
    bench.write("low/file", "text\n");
    std::fs::create_dir_all(bench.path("x/y")).unwrap();
    std::os::unix::fs::symlink("m", bench.path("link")).unwrap();
    std::os::unix::fs::symlink("x/y", bench.path("to y")).unwrap();
    let absolute = bench.path("x/../m").into_os_string().into_string().unwrap();
    for (at, place) in
        [("x", "../m"), ("", "x/y/../../m"), ("", &absolute), ("", "link"), ("", "to y/../../m"), ("", "m")]
    {
        bench.ok("", ["mount", "--at", "m", "--lower", "low", "--upper", "m.own"]);
        assert_eq!(bench.read("m/file"), "text\n");
        bench.ok(at, ["unmount", "--at", place]);
        assert!(bench.mounts().is_empty(), "{place}");
    }
}

#[test]
fn when_unmount_returns_the_file_system_of_the_upper_is_free() {
    if !crate::bench::is_root() {
        return println!("skipped: only root mounts a file system for the upper");
    }
    let bench = Bench::new();
    let script = "set -e; mkdir fs low; echo text > low/file
        for i in 1 2 3 4 5 6 7 8 9 10; do
            mount -t tmpfs none fs; mkdir fs/up fs/work
            \"$DEPSFS\" mount --at m --lower low --upper fs/up --workdir fs/work >&2
            echo more >> m/file; \"$DEPSFS\" unmount --at m >&2; umount fs; echo $i
        done";
    let mut unshare = bench.command("unshare", "");
    unshare.args(["-m", "--propagation", "private", "sh", "-c", script]).env("DEPSFS", PROGRAM);
    let said = run(&mut unshare);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.ends_with("10\n"), "{said:?}");
}

#[test]
fn a_daemon_that_goes_on_for_a_copy_is_named_where_it_keeps_another_view_in_use() {
    let bench = Bench::new();
    bench.write("content/file", "text\n");
    bench.ok("", ["mount", "--at", "outer", "--lower", "content", "--upper", "outer.own"]);
    let mut inner = bench.command(PROGRAM, "");
    inner.args(["mount", "--at", "inner", "--lower", "content", "--upper", "inner.own"]);
    let mounted = run(inner.env("DEPSFS_STORE", bench.path("outer/store")));
    assert_eq!(mounted.code, 0, "{mounted:?}");
    let Some(copy) = copy(&bench) else { return };
    let said = bench.depsfs("", ["unmount", "--at", "inner"]);
    assert!(said.code == 0 && said.err.contains("has a copy of the mount"), "{said:?}");
    let said = bench.depsfs("", ["unmount", "--at", "outer"]);
    assert!(said.code == 3 && said.err.contains(" (depsfs-"), "{said:?}");
    drop(copy);
    soon("inner's daemon has ended", || !bench.is_there(".inner.own.depsfs/daemon.json"));
    bench.ok("", ["unmount", "--at", "outer"]);
}
