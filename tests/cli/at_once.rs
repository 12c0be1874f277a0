//! Two that want the same at once: one wins, the other is told, and nothing breaks.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, PROGRAM, Said, json, run, soon};

/// Starts depsfs; [`ended`] waits for it.
fn start(bench: &Bench, at: &str, args: &[&str]) -> Child {
    let mut command = bench.command(PROGRAM, at);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ended(child: Child) -> Said {
    let said = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: said.status.code().unwrap_or(-1), out: text(said.stdout), err: text(said.stderr) }
}

fn signal(pid: &serde_json::Value, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn ten_mounts_of_one_worktree_at_once_make_one_daemon() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    let all: Vec<Child> = (0..10).map(|_| start(&bench, "fix", &["mount"])).collect();
    let said: Vec<Said> = all.into_iter().map(ended).collect();
    assert!(said.iter().all(|s| s.code == 0), "{said:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2), "{:?}", bench.mounts());
    // A keeper that is started by hand finds the other one.
    let state = bench.path("repo/.git/worktrees/fix/depsfs");
    let before = json(&bench.status("fix", &["--json"]))["daemon"].clone();
    let mut second = bench.command("sh", "");
    second.args(["-c", "exec 3>&1; \"$0\" keeper \"$1\" 2>/dev/null; echo", PROGRAM]).arg(&state);
    let said = run(&mut second);
    assert!(said.out.contains("another daemon serves this worktree"), "{said:?}");
    assert_eq!(json(&bench.status("fix", &["--json"]))["daemon"], before);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
}

#[test]
fn a_mount_finds_the_keeper_that_a_killed_client_has_just_started() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    let state = bench.path("repo/.git/worktrees/fix/depsfs");
    for delay in 0..15 {
        let mut keeper = bench.command("sh", "");
        keeper.args(["-c", "exec 3>/dev/null; exec \"$0\" keeper \"$1\" 2>/dev/null", PROGRAM]).arg(&state);
        let mut keeper = keeper.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay % 5));
        bench.ok("fix", ["mount"]);
        assert_eq!(bench.mounts().len(), bench.mounts_of(2), "{:?}", bench.mounts());
        // One that began late has mounted the views anew.
        soon("that keeper has ended", || {
            bench.ok("fix", ["unmount"]);
            keeper.try_wait().unwrap().is_some()
        });
    }
}

#[test]
fn two_mounts_at_one_path_at_once_leave_one_view_of_one_of_them() {
    let bench = Bench::new();
    bench.write("one/name", "one\n");
    bench.write("two/name", "two\n");
    for entry in ["one", "two"] {
        bench.ok("", ["store", "add", entry]);
    }
    let both = ["one", "two"].map(|entry| start(&bench, "", &["mount", entry, "--at", "at"]));
    let said = both.map(ended);
    assert!(said.iter().any(|s| s.code == 0), "{said:?}");
    assert!(said.iter().all(|s| [0, 1, 3].contains(&s.code)), "{said:?}");
    assert_eq!(bench.mounts().len(), 1, "{:?}", bench.mounts());
    let is = bench.read("at/name");
    assert!(is == "one\n" || is == "two\n");
    bench.ok("", ["mount", "two", "--at", "at"]);
    assert_eq!(bench.read("at/name"), "two\n");
}

#[test]
fn one_upper_is_used_by_one_daemon() {
    let bench = Bench::new();
    bench.write("low/name", "low\n");
    let mount = |at: &str, work: &str| {
        bench.depsfs("", ["mount", "--at", at, "--lower", "low", "--upper", "up", "--workdir", work])
    };
    assert_eq!(mount("one", "w1").code, 0);
    let refused = mount("two", "w2");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("another daemon uses"), "{refused:?}");
    assert_eq!(bench.mounts().len(), 1);
    bench.write("one/mine", "mine\n");
    bench.ok("", ["unmount", "--at", "one"]);
    assert_eq!(mount("two", "w2").code, 0);
    assert_eq!(bench.read("two/mine"), "mine\n");
}

#[test]
fn of_two_creates_of_one_name_one_makes_it_and_the_other_is_told() {
    let bench = Bench::new();
    for round in 0..3 {
        let name = format!("fix{round}");
        let both = [0, 1].map(|_| start(&bench, "repo", &["create", &name]));
        let said = both.map(ended);
        let won = said.iter().filter(|s| s.code == 0).count();
        assert_eq!(won, 1, "{said:?}");
        let told = said.iter().find(|s| s.code != 0).unwrap();
        assert!(told.err.starts_with(&format!("depsfs: {name} was not created\n  because: ")), "{told:?}");
        assert!(!told.err.contains("left behind"), "{told:?}");
        assert_eq!(bench.read(&format!("{name}/build/out.o")), "object\n");
        bench.assert_clean(&name);
        assert_eq!(bench.mounts().len(), bench.mounts_of(2) * (round + 1));
    }
    assert_eq!(bench.git("repo", ["worktree", "list"]).lines().count(), 4);
}

#[test]
fn gc_beside_fifty_imports_of_one_artifact_and_twenty_creates_takes_nothing_that_is_needed() {
    let bench = Bench::new();
    for n in 0..200 {
        bench.write(&format!("artifact/f{n}"), &format!("{n}\n").repeat(n));
    }
    let tar = run(bench.command("tar", "").args(["-czf", "artifact.tar.gz", "-C", "artifact", "."]));
    assert_eq!(tar.code, 0, "{tar:?}");
    let imports: Vec<_> = (0..50).map(|_| start(&bench, "", &["store", "add", "artifact.tar.gz"])).collect();
    let names: Vec<String> = (0..20).map(|n| format!("w{n}")).collect();
    let creates: Vec<_> = names.iter().map(|n| start(&bench, "repo", &["create", n, "--no-mount"])).collect();
    let mut codes = BTreeSet::new();
    for _ in 0..10 {
        codes.insert(bench.depsfs("", ["gc", "--keep-days", "1"]).code);
    }
    for said in imports.into_iter().chain(creates).map(ended) {
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert!(codes.is_subset(&BTreeSet::from([0, 3])), "{codes:?}");
    bench.assert_sound();
    bench.ok("", ["gc"]);
    bench.assert_sound();
    assert_eq!(bench.ok("", ["store", "list"]).lines().count(), 1);
    bench.ok("", ["mount", "--all"]);
    for name in names {
        assert_eq!(bench.read(&format!("{name}/build/out.o")), "object\n");
        bench.assert_clean(&name);
    }
    bench.ok("", ["mount", "artifact", "--at", "at"]);
    assert_eq!(bench.read("at/f3"), "3\n3\n3\n");
    assert_eq!(std::fs::read_dir(bench.path("store/tmp")).unwrap().count(), 0);
}

#[test]
fn a_worktree_in_which_something_is_built_is_not_removed_until_that_is_done() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    let script = "n=0; until [ -e ../../stop ]; do n=$((n+1)); echo $n > new.$n && rm new.$n && cat out.o >/dev/null || exit 1; done";
    let mut build = bench.command("sh", "fix/build").args(["-c", script]).spawn().unwrap();
    for _ in 0..3 {
        let refused = bench.depsfs("repo", ["remove", "fix"]);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(refused.err.contains("in use"), "{refused:?}");
    }
    std::fs::File::create(bench.path("stop")).unwrap().write_all(b"").unwrap();
    soon("the build ends", || build.try_wait().unwrap().is_some());
    assert!(build.wait().unwrap().success(), "the build noticed");
    bench.ok("repo", ["remove", "fix"]);
    assert!(!bench.is_there("fix"));
}

/// A program that asks for a name that the kernel knows nothing of.
fn asks(path: &Path) -> Child {
    Command::new("stat").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether it has asked, and has no answer: the kernel has put it to sleep in that call (proc_pid_syscall(5)).
fn waits(asking: &Child) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{}/syscall", asking.id())).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    number.is_some_and(|number: i64| [libc::SYS_statx, libc::SYS_newfstatat].contains(&number))
}

/// Goes on when the test ends, however it does: what waits for a stopped process can't be killed.
struct Stopped(serde_json::Value);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

/// All of its threads are (proc_pid_stat(5)).
fn is_stopped(pid: &serde_json::Value) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|task| task.unwrap().path().join("stat")).all(|stat| {
        let stat = std::fs::read_to_string(stat).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

#[test]
fn a_stopped_server_blocks_its_views_only_and_they_can_be_unmounted() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "one"]);
    bench.ok("repo", ["create", "two"]);
    let daemon = json(&bench.status("one", &["--json"]))["daemon"].clone();
    let stopped = Stopped(daemon["server_pid"].clone());
    signal(&stopped.0, "-STOP");
    soon("the server stands still", || is_stopped(&stopped.0));
    let mut waiting = asks(&bench.path("one/build/absent"));
    soon("it waits for an answer", || waits(&waiting));
    for other in ["two/build/absent", "one/src/absent"] {
        let mut asking = asks(&bench.path(other));
        soon("it is answered", || asking.try_wait().unwrap().is_some());
    }
    assert!(waiting.try_wait().unwrap().is_none(), "nobody answers");
    assert!(bench.status("one", &[]).contains("[ok]      build\n"));
    let begun = Instant::now();
    let refused = bench.depsfs("one", ["unmount"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("is stopped") && refused.err.contains("--lazy"), "{refused:?}");
    bench.ok("one", ["unmount", "--lazy"]);
    assert!(begun.elapsed() < Duration::from_secs(25), "they waited for the server");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2), "{:?}", bench.mounts());
    waiting.kill().unwrap();
    soon("the waiting process has ended", || waiting.try_wait().unwrap().is_some());
    soon("the daemon ends", || json(&bench.status("", &["one", "--json"]))["daemon"].is_null());
    bench.ok("one", ["mount"]);
    assert_eq!(bench.read("one/build/out.o"), "object\n");
}
