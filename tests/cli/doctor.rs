//! `depsfs doctor`: each fault it knows, made for real, is seen, and repaired where it says so.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, PROGRAM, Said, json, run, soon};

const CHECKS: [&str; 18] = [
    "daemons",
    "device",
    "fusermount3",
    "user_allow_other",
    "mount_max",
    "apparmor",
    "kernel",
    "fast_paths",
    "kernel_features",
    "dead_mounts",
    "hung_mounts",
    "worktrees",
    "roots",
    "store",
    "log",
    "temporaries",
    "inotify",
    "git",
];

fn doctor(bench: &Bench, args: &[&str]) -> (i32, Vec<Value>) {
    let begun = Instant::now();
    let said = bench.depsfs("", ["doctor", "--json"].iter().chain(args));
    assert!(begun.elapsed() < Duration::from_secs(150), "it hung");
    rows(&said)
}

fn rows(said: &Said) -> (i32, Vec<Value>) {
    assert!(!said.out.is_empty(), "{said:?}");
    (said.code, json(&said.out)["checks"].as_array().unwrap_or_else(|| panic!("{said:?}")).clone())
}

/// The rows of a check that tell of something below the bench, or of the only thing there is.
#[track_caller]
fn row<'a>(rows: &'a [Value], check: &str, of: &str) -> &'a Value {
    let is_it = |r: &&Value| r["check"] == check && r["reason"].as_str().unwrap().contains(of);
    rows.iter().find(is_it).unwrap_or_else(|| panic!("no {check} of {of}: {rows:#?}"))
}

#[track_caller]
fn assert_state(row: &Value, state: &str, fixable: bool) {
    assert_eq!((&row["state"], &row["fixable"]), (&state.into(), &fixable.into()), "{row:#}");
    assert_eq!(row["remedy"].is_null(), state == "ok" && row["fixed"] == false, "{row:#}");
}

fn signal(pid: &Value, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn daemon(bench: &Bench, worktree: &str) -> Value {
    json(&bench.status(worktree, &["--json"]))["daemon"].clone()
}

/// Goes on when the test ends, however it does: what waits for a stopped process can't be killed.
struct Stopped(Value);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_healthy_worktree_has_a_row_for_each_check_and_none_fails() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    let (code, rows) = doctor(&bench, &[]);
    assert_eq!(code, 0, "{rows:#?}");
    for check in CHECKS.iter().chain(&["hashes", "space"]) {
        assert!(rows.iter().any(|r| r["check"] == *check), "{check}: {rows:#?}");
    }
    for check in ["device", "kernel", "worktrees", "roots", "temporaries", "hashes", "git"] {
        assert_eq!(row(&rows, check, "")["state"], "ok", "{check}: {rows:#?}");
    }
    assert!(row(&rows, "fast_paths", "")["reason"].as_str().unwrap().contains("opens without a message on"));
    let said = bench.ok("fix/build", ["doctor"]);
    assert!(said.contains("[ok]    worktrees: 1 known, none is gone\n"), "{said}");
}

#[test]
fn without_a_store_or_a_home_doctor_says_so_and_makes_nothing() {
    let bench = Bench::new();
    let (code, found) = doctor(&bench, &["--fix"]);
    assert_eq!((code, &row(&found, "store", "yet")["state"]), (0, &"ok".into()));
    assert!(!bench.is_there("store"));
    let mut command = bench.command(PROGRAM, "");
    command.args(["doctor", "--json"]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let (code, found) = rows(&run(&mut command));
    assert_eq!(code, 1);
    assert_state(row(&found, "store", "HOME"), "fail", false);
}

/// The mount that shows `fix/build`.
fn view(bench: &Bench) -> &'static str {
    if bench.mounts_of(2) == 1 { "fix" } else { "fix/build" }
}

#[test]
fn dead_views_are_seen_without_touching_them_and_mounted_again_with_all_that_was_written() {
    for bench in Bench::in_both_shapes() {
        bench.ok("repo", ["create", "fix"]);
        bench.write("fix/build/mine", "mine\n");
        std::fs::remove_file(bench.path("fix/node_modules/a/index.js")).unwrap();
        let before = daemon(&bench, "fix");
        signal(&before["pid"], "-KILL");
        signal(&before["server_pid"], "-KILL");
        soon("the daemon is gone", || daemon(&bench, "repo/../fix").is_null());
        let (code, found) = doctor(&bench, &[]);
        let dead = row(&found, "dead_mounts", bench.path(view(&bench)).to_str().unwrap());
        assert_eq!(code, 1);
        assert_state(dead, "fail", true);
        assert!(dead["remedy"].as_str().unwrap().starts_with("depsfs mount "), "{dead}");
        let (code, found) = doctor(&bench, &["--fix"]);
        assert_eq!(code, 0, "{found:#?}");
        assert_eq!(row(&found, "dead_mounts", view(&bench))["fixed"], true);
        assert_eq!(bench.mounts().len(), bench.mounts_of(2));
        assert_eq!(bench.read("fix/build/mine"), "mine\n");
        assert_eq!(bench.read("fix/build/lib.a"), "library\n");
        assert!(!bench.is_there("fix/node_modules/a/index.js"));
        bench.assert_clean("fix");
    }
}

#[test]
fn a_dead_view_whose_parent_was_renamed_is_found_and_detached() {
    let bench = Bench::new();
    bench.write("content/file", "text\n");
    std::fs::create_dir(bench.path("one")).unwrap();
    bench.ok("", ["mount", "--at", "one/view", "--lower", "content", "--upper", "own"]);
    let state: Value = serde_json::from_str(&bench.read(".own.depsfs/daemon.json")).unwrap();
    std::fs::rename(bench.path("one"), bench.path("two")).unwrap();
    assert_eq!(bench.read("two/view/file"), "text\n");
    signal(&state["pid"], "-KILL");
    signal(&state["server_pid"], "-KILL");
    let asked = || std::fs::metadata(bench.path("two/view/absent")).unwrap_err().raw_os_error();
    soon("it is dead", || asked() == Some(107));
    let (_, found) = doctor(&bench, &[]);
    assert_state(row(&found, "dead_mounts", "two/view"), "fail", true);
    let (_, found) = doctor(&bench, &["--fix"]);
    assert_eq!(row(&found, "dead_mounts", "two/view")["fixed"], true, "{found:#?}");
    assert_eq!(bench.mounts(), Vec::<String>::new());
}

#[test]
fn a_hung_view_is_told_from_a_dead_one_and_woken() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    for which in ["server_pid", "pid"] {
        let before = daemon(&bench, "fix");
        signal(&before[which], "-STOP");
        let _stopped = Stopped(before[which].clone());
        let absent = bench.path("fix/build/").join(format!("absent {which}"));
        let mut waiting = Command::new("stat").arg(absent).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let (code, found) = doctor(&bench, &[]);
        let hung = row(&found, "hung_mounts", view(&bench));
        assert_eq!(code, 1, "{found:#?}");
        assert_state(hung, "fail", true);
        assert!(
            hung["reason"].as_str().unwrap().ends_with(&format!("process {} of its daemon is stopped", before[which]))
        );
        let begun = Instant::now();
        let refused = bench.depsfs("fix", ["mount"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("is stopped") && refused.err.contains("kill -CONT"), "{refused:?}");
        assert!(begun.elapsed() < Duration::from_secs(25), "it waited for the daemon");
        let (code, found) = doctor(&bench, &["--fix"]);
        assert_eq!((code, &row(&found, "hung_mounts", view(&bench))["fixed"]), (0, &true.into()), "{found:#?}");
        soon("the program goes on", || waiting.try_wait().unwrap().is_some());
        assert_eq!(bench.read("fix/build/out.o"), "object\n");
        assert_eq!(daemon(&bench, "fix"), before);
    }
}

#[test]
fn a_view_whose_server_waits_for_ever_is_seen_as_hung_though_nobody_stopped_it() {
    let bench = Bench::new();
    bench.write("content/file", "text\n");
    bench.ok("", ["mount", "--at", "outer", "--lower", "content", "--upper", "outer.own"]);
    // A store in a view: what the inner one shows comes through the outer one's server.
    let inner =
        |args: &[&str]| run(bench.command(PROGRAM, "").args(args).env("DEPSFS_STORE", bench.path("outer/store")));
    bench.write("big/file", &"text\n".repeat(100_000));
    let mounted = inner(&["mount", "--at", "inner", "--lower", "big", "--upper", "inner.own"]);
    assert_eq!(mounted.code, 0, "{mounted:?}");
    let states = std::fs::read_to_string(bench.path(".outer.own.depsfs/daemon.json")).unwrap();
    let outer: Value = serde_json::from_str(&states).unwrap();
    signal(&outer["server_pid"], "-STOP");
    let _stopped = Stopped(outer["server_pid"].clone());
    let mut waiting = Command::new("cat").arg(bench.path("inner/file")).stdout(Stdio::null()).spawn().unwrap();
    soon("it waits", || {
        let (_, found) = doctor(&bench, &[]);
        assert!(waiting.try_wait().unwrap().is_none(), "it has read what nobody could give");
        found.iter().any(|row| {
            let of = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            of("check") == "hung_mounts" && of("reason").contains("/inner: mounted, but requests wait")
        })
    });
    signal(&outer["server_pid"], "-CONT");
    soon("the program goes on", || waiting.try_wait().unwrap().is_some());
    bench.unmount_everywhere("inner", ".inner.own.depsfs/daemon.json");
    bench.ok("", ["unmount", "--at", "outer"]);
}

/// Processes that are ended when it goes.
struct Busy(Vec<std::process::Child>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.kill().and_then(|()| child.wait())));
    }
}

#[test]
fn a_busy_server_that_hardly_gets_a_processor_is_not_called_hung() {
    let bench = Bench::new();
    bench.write("content/file", "text\n");
    let mount = ["-n", "19", PROGRAM, "mount", "--at", "m", "--lower", "content", "--upper", "m.own"];
    let mounted = run(bench.command("nice", "").args(mount));
    assert_eq!(mounted.code, 0, "{mounted:?}");
    let start = |script: &str| bench.command("sh", "").args(["-c", script]).spawn().unwrap();
    // Each look-up is of another name: the server is asked.
    let asks = (0..3).map(|n| format!("i=0; while :; do [ -e m/{n}.$i ]; i=$((i + 1)); done"));
    let spins = (0..6).map(|_| "while :; do :; done".to_owned());
    let busy = Busy(asks.chain(spins).map(|script| start(&script)).collect());
    for _ in 0..3 {
        let (_, found) = doctor(&bench, &[]);
        let is_called_hung = |row: &&Value| row["check"] == "hung_mounts" && row["reason"].to_string().contains("/m: ");
        let of_ours = |row: &&Value| row["reason"].to_string().contains(&*bench.path("").to_string_lossy());
        assert!(!found.iter().any(|row| is_called_hung(&row) && of_ours(&row)), "{found:#?}");
    }
    drop(busy);
    bench.ok("", ["unmount", "--at", "m", "--lazy"]);
}

#[test]
fn a_daemon_that_has_given_up_is_seen_and_tries_again() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    // Without a program for each look and each signal: a server that has served for a while does not count.
    let server = || {
        let state = std::fs::read_to_string(bench.path("repo/.git/worktrees/fix/depsfs/daemon.json")).ok()?;
        serde_json::from_str::<Value>(&state).ok()?["server_pid"].as_i64()
    };
    for _ in 0..60 {
        let before = server().expect("one runs");
        let process = nix::unistd::Pid::from_raw(before.try_into().unwrap());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
        soon("another server runs", || server().is_some_and(|pid| pid != before));
    }
    let status = bench.status("fix", &[]);
    assert!(
        status.contains("[MISSING] build (answers EIO)\n") && status.contains("\ntrouble:  the server died "),
        "{status}"
    );
    assert!(std::fs::metadata(bench.path("fix/build/absent")).is_err_and(|e| e.raw_os_error() == Some(5)));
    assert!(std::fs::metadata(bench.path("fix/node_modules/b")).is_err_and(|e| e.raw_os_error() == Some(5)));
    // Refusing takes no thread of its own, for none of the views.
    let server = daemon(&bench, "fix")["server_pid"].to_string();
    assert_eq!(std::fs::read_dir(format!("/proc/{server}/task")).unwrap().count(), 1);
    let (code, found) = doctor(&bench, &[]);
    assert_eq!(code, 1);
    assert_state(row(&found, "daemons", "/fix answer EIO: the server died "), "fail", true);
    let (code, found) = doctor(&bench, &["--fix"]);
    assert_eq!((code, &row(&found, "daemons", "/fix")["fixed"]), (0, &true.into()), "{found:#?}");
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    assert!(!bench.is_there("fix/build/absent"));
}

#[test]
fn a_worktree_that_was_deleted_by_hand_is_forgotten_by_git_and_by_the_store() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["create", "kept"]);
    std::fs::remove_dir_all(bench.path("fix")).unwrap();
    let (code, found) = doctor(&bench, &[]);
    assert_eq!(code, 0, "{found:#?}");
    let gone = row(&found, "worktrees", "/fix is gone");
    assert_state(gone, "warn", true);
    assert!(gone["remedy"].as_str().unwrap().starts_with("depsfs remove "), "{gone}");
    let (_, found) = doctor(&bench, &["--fix"]);
    assert_eq!(row(&found, "worktrees", "/fix is gone")["fixed"], true);
    assert!(!bench.git("repo", ["worktree", "list"]).contains("/fix"));
    assert_eq!(std::fs::read_dir(bench.path("store/roots")).unwrap().count(), 1);
    let (_, found) = doctor(&bench, &[]);
    assert_eq!(row(&found, "worktrees", "1 known, none is gone")["state"], "ok");
    assert_eq!(bench.read("kept/build/out.o"), "object\n");
}

#[test]
fn a_remedy_names_a_path_of_any_bytes_as_a_word_of_a_shell() {
    let bench = Bench::new();
    let place = bench.path("").join(OsStr::from_bytes(b"f\xff x"));
    let made = run(bench.command(PROGRAM, "repo").args(["create", "fix", "--no-mount", "--path"]).arg(&place));
    assert_eq!(made.code, 0, "{made:?}");
    std::fs::remove_dir_all(&place).unwrap();
    let (_, found) = doctor(&bench, &[]);
    let remedy = row(&found, "worktrees", "is gone")["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("depsfs remove $'") && remedy.ends_with(r"f\377 x'"), "{remedy}");
    let dir = Path::new(PROGRAM).parent().unwrap().to_path_buf();
    let path = std::env::join_paths([dir].into_iter().chain(std::env::split_paths(&std::env::var("PATH").unwrap())));
    let removed = run(bench.command("bash", "repo").env("PATH", path.unwrap()).args(["-c", remedy]));
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_state(row(&doctor(&bench, &[]).1, "worktrees", "none"), "ok", false);
}

#[test]
fn a_worktree_on_a_disk_that_is_not_there_is_not_forgotten() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("disk")).unwrap();
    let place = bench.path("disk/fix");
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    bench.git("repo", ["worktree", "move", bench.path("fix").to_str().unwrap(), place.to_str().unwrap()]);
    bench.status("", &["disk/fix"]);
    std::fs::rename(bench.path("disk"), bench.path("elsewhere")).unwrap();
    let (_, found) = doctor(&bench, &["--fix"]);
    assert_state(row(&found, "worktrees", "disk/fix is gone"), "warn", false);
    std::fs::rename(bench.path("elsewhere"), bench.path("disk")).unwrap();
    bench.ok("disk/fix", ["mount"]);
    assert_eq!(bench.read("disk/fix/build/out.o"), "object\n");
}

#[test]
fn a_worktree_that_was_moved_is_not_forgotten_with_the_only_copy_of_its_work() {
    type Work<'a> = &'a dyn Fn(&Bench);
    let only: [(&str, Work<'_>); 4] = [
        ("1 commit that only its HEAD has", &|bench| {
            bench.git("fix", ["checkout", "-q", "--detach"]);
            bench.write("fix/README.md", "work\n");
            bench.commit("fix", "nobody else has this");
        }),
        ("uncommitted changes (README.md)", &|bench| {
            bench.write("fix/README.md", "staged\n");
            bench.git("fix", ["add", "README.md"]);
        }),
        ("on a stick", &|bench| {
            bench.git("repo", ["worktree", "lock", "--reason", "on a stick", "../fix"]);
        }),
        ("deletions and moves in 1 of its views", &|bench| {
            bench.ok("fix", ["mount"]);
            std::fs::remove_file(bench.path("fix/build/out.o")).unwrap();
            bench.ok("fix", ["unmount"]);
        }),
    ];
    for (words, work) in only {
        let bench = Bench::new();
        bench.ok("repo", ["create", "fix", "--no-mount"]);
        work(&bench);
        std::fs::rename(bench.path("fix"), bench.path("moved")).unwrap();
        let (_, found) = doctor(&bench, &["--fix"]);
        let gone = row(&found, "worktrees", words);
        assert_state(gone, "warn", false);
        assert!(gone["remedy"].as_str().unwrap().contains("worktree repair"), "{gone}");
        let status = || bench.git("moved", ["status", "--short", "--branch"]);
        bench.git("repo", ["worktree", "repair", "../moved"]);
        status();
        bench.ok("moved", ["mount"]);
        assert_eq!(bench.is_there("moved/build/out.o"), !words.contains("deletions"));
    }
}

#[test]
fn a_worktree_that_was_used_unmounted_and_deleted_is_forgotten() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("fix", ["unmount"]);
    std::fs::remove_dir_all(bench.path("fix")).unwrap();
    let (_, found) = doctor(&bench, &["--fix"]);
    assert_eq!(row(&found, "worktrees", "/fix is gone")["fixed"], true, "{found:#?}");
    assert!(!bench.git("repo", ["worktree", "list"]).contains("/fix"));
}

#[test]
fn a_worktree_whose_git_file_is_gone_or_empty_is_named_and_gets_it_again() {
    for bench in Bench::in_both_shapes() {
        bench.ok("repo", ["create", "fix"]);
        let file = bench.path("fix/.git");
        let before = std::fs::read(&file).unwrap();
        let faults: [(&str, &dyn Fn()); 3] = [
            ("is empty", &|| std::fs::write(&file, "").unwrap()),
            ("is gone", &|| std::fs::remove_file(&file).unwrap()),
            ("is empty", &|| {
                std::fs::remove_file(&file).unwrap();
                std::fs::create_dir(&file).unwrap();
            }),
        ];
        for (words, fault) in faults {
            fault();
            let (_, found) = doctor(&bench, &[]);
            assert_state(row(&found, "worktrees", words), "warn", true);
            assert!(bench.ok("repo", ["list"]).contains(words));
            let (_, found) = doctor(&bench, &["--fix"]);
            assert_eq!(row(&found, "worktrees", words)["fixed"], true, "{found:#?}");
            assert_eq!(std::fs::read(&file).unwrap(), before);
            bench.assert_clean("fix");
            assert_eq!(bench.read("fix/build/out.o"), "object\n");
        }
    }
}

#[test]
fn views_that_are_missing_beside_others_are_seen_and_mounted() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    let view = bench.path("fix/build");
    let unmount = ["fusermount3", "-u", view.to_str().unwrap()];
    assert!(Command::new(unmount[0]).args(&unmount[1..]).status().unwrap().success());
    let (_, found) = doctor(&bench, &[]);
    assert_state(row(&found, "views", "1 of 2 views"), "warn", true);
    let (_, found) = doctor(&bench, &["--fix"]);
    assert_eq!(row(&found, "views", "1 of 2 views")["fixed"], true, "{found:#?}");
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
}

#[test]
fn roots_of_nothing_and_what_a_killed_import_left_are_removed() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    bench.git("repo", ["worktree", "remove", "-f", "-f", bench.path("fix").to_str().unwrap()]);
    bench.write("store/tmp/4000000-0-left/obj", "half");
    let (code, found) = doctor(&bench, &[]);
    assert_eq!(code, 0, "{found:#?}");
    assert_state(row(&found, "roots", "1 of worktrees that are gone"), "warn", true);
    assert_state(row(&found, "temporaries", "1 left by programs"), "warn", true);
    doctor(&bench, &["--fix"]);
    let (_, found) = doctor(&bench, &[]);
    assert_state(row(&found, "roots", "0 in the store"), "ok", false);
    assert_state(row(&found, "temporaries", "none"), "ok", false);
    assert_eq!(std::fs::read_dir(bench.path("store/tmp")).unwrap().count(), 0);
}

#[test]
fn a_damaged_object_and_a_damaged_root_are_named() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    let hash = depsfs::store::ObjectId::of(b"object\n").hex();
    let object = format!("store/objects/{}/{}", &hash[..2], &hash[2..]);
    if !bench.is_there(&object) {
        println!("skipped: objects have no files of their own");
        return;
    }
    std::fs::set_permissions(bench.path(&object), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(bench.path(&object), "0bject\n").unwrap();
    bench.write("store/roots/0000", "{");
    let (code, found) = doctor(&bench, &[]);
    assert_eq!(code, 1);
    assert_state(row(&found, "hashes", &hash[2..]), "fail", true);
    assert_state(row(&found, "roots", "roots/0000"), "fail", false);
    std::fs::remove_file(bench.path("store/roots/0000")).unwrap();
    // The source still has the file as it was.
    let (code, found) = doctor(&bench, &["--fix"]);
    assert_eq!(code, 0, "{found:#?}");
    assert_eq!(row(&found, "hashes", &hash[2..])["fixed"], true);
    bench.assert_sound();
    // And when it has not, a file that is absent is told rather than one that is wrong.
    std::fs::set_permissions(bench.path(&object), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(bench.path(&object), "0bject\n").unwrap();
    std::fs::remove_dir_all(bench.path("repo/build")).unwrap();
    let (code, found) = doctor(&bench, &["--fix"]);
    assert_eq!(code, 1, "{found:#?}");
    assert_state(row(&found, "hashes", "missing"), "fail", true);
    assert!(!bench.is_there(&object));
}

/// Runs doctor in a mount namespace of its own in which `faults`, a script, was run before.
fn in_namespace(bench: &Bench, faults: &str, prefix: &str) -> Option<(i32, Vec<Value>)> {
    if !crate::bench::is_root() {
        println!("skipped: only root makes this fault in a mount namespace");
        return None;
    }
    let script = format!("set -e; cd /; exec 3>&1 >&2; {faults}\nexec {prefix} \"$DEPSFS\" doctor --json $FIX >&3");
    let mut command = bench.command("unshare", "");
    command.args(["-m", "--propagation", "private", "sh", "-c", &script]).env("DEPSFS", PROGRAM);
    command.env("BENCH", bench.path("")).uid(0).gid(0);
    Some(rows(&run(&mut command)))
}

const USER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";
const OWN_DEVICE: &str = "mount -t tmpfs none /dev; touch /dev/null";

#[test]
fn a_missing_and_a_closed_device_are_seen_and_stay_as_they_are() {
    let bench = Bench::new();
    let Some((code, found)) = in_namespace(&bench, "mount -t tmpfs none /dev", "") else { return };
    assert_eq!(code, 1);
    assert_state(row(&found, "device", "there is no /dev/fuse"), "fail", false);
    let closed = format!("{OWN_DEVICE}; mknod -m 600 /dev/fuse c 10 229");
    let (_, found) = in_namespace(&bench, &closed, "").unwrap();
    assert_state(row(&found, "device", "only root can mount"), "warn", false);
    let group = format!("{OWN_DEVICE}; mknod -m 660 /dev/fuse c 10 229; chgrp 77 /dev/fuse; FIX=--fix");
    let (_, found) = in_namespace(&bench, &group, "").unwrap();
    assert_state(row(&found, "device", "mode 660: only root and group 77 can mount"), "warn", false);
    let (code, found) = in_namespace(&bench, &closed, USER).unwrap();
    assert_eq!(code, 1);
    assert_state(row(&found, "device", "Permission denied"), "fail", false);
    let (_, found) = in_namespace(&bench, &format!("{OWN_DEVICE}; echo > /dev/fuse"), "").unwrap();
    assert_state(row(&found, "device", "is no device"), "fail", false);
}

#[test]
fn what_keeps_fusermount3_from_mounting_is_seen() {
    let bench = Bench::new();
    let Some((_, found)) = in_namespace(&bench, "mount --bind /dev/null \"$(command -v fusermount3)\"", USER) else {
        return;
    };
    assert_state(row(&found, "fusermount3", "is not installed"), "fail", false);
    let plain = "f=$(command -v fusermount3); cp \"$f\" $BENCH/plain; chmod 755 $BENCH $BENCH/plain; \
                 mount --bind $BENCH/plain \"$f\"";
    let (code, found) = in_namespace(&bench, plain, USER).unwrap();
    assert_eq!(code, 1);
    assert_state(row(&found, "fusermount3", "is not set-user-id root"), "fail", false);
    assert_state(row(&in_namespace(&bench, plain, "").unwrap().1, "fusermount3", "ordinary users"), "warn", false);
    let (_, found) = in_namespace(&bench, "", &format!("{USER} --no-new-privs")).unwrap();
    assert_state(row(&found, "fusermount3", "no_new_privs"), "fail", false);
}

#[test]
fn what_fuse_conf_forbids_is_seen_when_somebody_wants_it() {
    if !crate::bench::is_root() {
        println!("skipped: only root makes this fault in a mount namespace");
        return;
    }
    let bench = Bench::of_user(Some(65534)).with_mounts_of_directories();
    bench.write("repo/.gitignore", "build/\n");
    bench.commit("repo", "one");
    bench.write("repo/build/o", "object\n");
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    let conf = |text: &str| format!("printf '{text}' > $BENCH/conf; mount --bind $BENCH/conf /etc/fuse.conf");
    let (_, found) = in_namespace(&bench, &conf("mount_max = 1\\n"), USER).unwrap();
    assert_eq!(row(&found, "user_allow_other", "no worktree asks for it")["state"], "ok");
    // One is in use, at least that of this very namespace.
    let one = format!("{}; mkdir $BENCH/m; mount -t tmpfs none $BENCH/m", conf("mount_max = 0\\n"));
    let (code, found) = in_namespace(&bench, &one, USER).unwrap();
    assert_eq!(code, 1);
    assert_state(row(&found, "mount_max", "of 0 FUSE mounts"), "fail", false);
    let manifest = bench.path("repo/.git/worktrees/fix/depsfs/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"allow_other\": false", "\"allow_other\": true")).unwrap();
    let (code, found) = in_namespace(&bench, &conf("mount_max = 5000\\n"), USER).unwrap();
    assert_eq!(code, 1);
    let wanted = row(&found, "user_allow_other", "/fix");
    assert_state(wanted, "fail", false);
    let (_, found) = in_namespace(&bench, &conf("user_allow_other\\n"), USER).unwrap();
    assert_state(row(&found, "user_allow_other", "set in"), "ok", false);
}

#[test]
fn an_old_kernel_and_what_apparmor_denied_are_seen() {
    let bench = Bench::new();
    let denied = "mount -t tmpfs none /sys/module; mkdir -p /sys/module/apparmor/parameters; \
                  echo Y > /sys/module/apparmor/parameters/enabled; mount -t tmpfs none /var/log; \
                  echo 'audit: apparmor=\"DENIED\" operation=\"mount\" profile=\"fusermount3\" name=\"/srv/w/\" \
                  comm=\"fusermount3\"' > /var/log/kern.log";
    let Some((_, found)) = in_namespace(&bench, denied, "") else { return };
    assert_state(row(&found, "apparmor", "mount /srv/w/ to fusermount3"), "warn", false);
    let (code, found) = in_namespace(&bench, "", "setarch --uname-2.6").unwrap();
    assert_eq!(code, 1);
    assert_state(row(&found, "kernel", "Linux 2.6"), "fail", false);
}

#[test]
fn a_full_disk_is_seen() {
    let bench = Bench::new();
    let small = "mkdir $BENCH/small; mount -t tmpfs -o size=20m none $BENCH/small; export DEPSFS_STORE=$BENCH/small/s; \
                 \"$DEPSFS\" store list";
    let Some((code, found)) = in_namespace(&bench, small, "") else { return };
    assert_eq!(code, 1);
    assert_state(row(&found, "space", "small/s"), "fail", false);
}

#[test]
fn watches_that_are_used_up_are_seen() {
    let bench = Bench::new();
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$DEPSFS\" doctor --json";
    let mut command = bench.command("unshare", "");
    command.args(["-U", "-r", "sh", "-c", script]).env("DEPSFS", PROGRAM);
    let said = run(&mut command);
    if said.out.is_empty() {
        return println!("skipped: no user namespace with limits of its own: {}", said.err.trim());
    }
    let (code, found) = rows(&said);
    assert_eq!(code, 1);
    assert_state(row(&found, "inotify", "nothing can be watched"), "fail", false);
}

#[test]
fn an_old_git_is_seen_and_so_is_none() {
    let bench = Bench::new();
    bench.write("bin/git", "#!/bin/sh\necho git version 2.20.1\n");
    std::fs::set_permissions(bench.path("bin/git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let with_path = |path: &Path| {
        let mut command = bench.command(PROGRAM, "");
        rows(&run(command.args(["doctor", "--json"]).env("PATH", path)))
    };
    let (code, found) = with_path(&bench.path("bin"));
    assert_eq!(code, 1, "{found:#?}");
    assert_state(row(&found, "git", "git version 2.20.1"), "fail", false);
    let (code, found) = with_path(&bench.path("repo"));
    assert_eq!(code, 1);
    assert_state(row(&found, "git", "not in PATH"), "fail", false);
}
