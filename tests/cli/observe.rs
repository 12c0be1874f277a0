//! The counters and the log of a daemon: `depsfs status --stats` and `DEPSFS_LOG`.

use std::fs;
use std::path::PathBuf;

use crate::bench::{Bench, PROGRAM, json, run, soon};

fn stats(bench: &Bench, at: &str) -> serde_json::Value {
    json(&bench.status(at, &["--stats", "--json"]))["stats"].clone()
}

fn log(bench: &Bench, worktree: &str) -> String {
    let git_dir = PathBuf::from(bench.git(worktree, ["rev-parse", "--absolute-git-dir"]));
    fs::read_to_string(git_dir.join("depsfs/daemon.log")).unwrap()
}

#[test]
fn requests_bytes_copy_ups_and_restarts_are_counted_and_printed() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    let before = stats(&bench, "fix");
    assert_eq!(
        (before["restarts"].as_u64(), before["views"].as_array().map(Vec::len)),
        (Some(0), Some(bench.mounts_of(2)))
    );
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    fs::metadata(bench.path("fix/build/absent")).expect_err("it is absent");
    fs::OpenOptions::new().append(true).open(bench.path("fix/build/lib.a")).unwrap();
    bench.write("fix/build/lib.a", "mine, which is longer\n");

    let total = stats(&bench, "fix")["total"].clone();
    let grew = |what: &str| total[what].as_u64().unwrap() - before["total"][what].as_u64().unwrap();
    assert_eq!((grew("bytes_read"), grew("bytes_written"), grew("copy_ups")), (7, 22, 1), "{total}");
    assert!(grew("failed") >= 1 && grew("objects_hashed") >= 1, "{total}");
    assert!(total["requests"]["lookup"].as_u64() >= Some(3) && total["requests"]["write"] == 1, "{total}");
    assert!(total["slowest"]["microseconds"].as_u64() >= Some(1), "{total}");

    let text = bench.status("fix", &["--stats"]);
    for part in
        ["\nrequests: ", " lookup", "\nslowest:  ", "\nbytes:    ", "\ncopy-ups: 1, ", "\nserver:   0 restarts "]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!bench.status("fix", &[]).contains("requests:"));
    bench.ok("fix", ["unmount"]);
    assert_eq!(stats(&bench, "fix")["views"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_server_that_was_replaced_is_a_restart() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    let server = json(&bench.status("fix", &["--json"]))["daemon"]["server_pid"].to_string();
    assert_eq!(run(bench.command("kill", "fix").args(["-9", &server])).code, 0);
    soon("another server", || stats(&bench, "fix")["restarts"] == 1);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    assert!(bench.status("fix", &["--stats"]).contains("\nserver:   1 restart since the daemon began\n"));
}

#[test]
fn at_debug_the_log_has_each_request_with_its_name_escaped_its_outcome_and_its_time() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    fs::metadata(bench.path("fix/build/not-yet-logged")).expect_err("it is absent");
    bench.ok("fix", ["unmount"]);
    let mounted = run(bench.command(PROGRAM, "fix").arg("mount").env("DEPSFS_LOG", "debug"));
    assert_eq!(mounted.code, 0, "{mounted:?}");
    fs::metadata(bench.path("fix/build/ab\u{1b}[2Jsent")).expect_err("it is absent");
    fs::write(bench.path("fix/build/new"), "new").unwrap();
    fs::File::open(bench.path("fix/build/new")).unwrap().sync_all().unwrap();
    bench.ok("fix", ["unmount"]);

    let log = log(&bench, "fix");
    let line = |operation: &str, name: &str| {
        let of = format!("operation=\"{operation}\" inode=");
        let found = log.lines().find(|line| line.contains(&of) && line.contains(name) && line.contains("outcome="));
        found.unwrap_or_else(|| panic!("no {operation} {name} in {log}"))
    };
    let absent = line("lookup", r#"name="ab\033[2Jsent""#);
    assert!(absent.contains("outcome=\"ENOENT\" microseconds="), "{absent}");
    assert!(line("mknod", "name=new").contains("outcome=\"OK\""));
    assert!(line("fsync", "").contains("outcome=\"OK\" microseconds="));
    assert!(!log.contains('\u{1b}') && !log.contains("not-yet-logged"), "{log}");
}

#[test]
fn a_command_logs_on_stderr_what_it_was_asked_for_and_nothing_otherwise() {
    let bench = Bench::new();
    let list = |filter: &str| run(bench.command(PROGRAM, "repo").arg("list").env("DEPSFS_LOG", filter));
    let silent = bench.depsfs("repo", ["list"]);
    assert_eq!((silent.code, silent.err.as_str()), (0, ""));
    for filter in ["debug", "error", "info,depsfs::fuse=debug", ""] {
        let said = list(filter);
        assert_eq!((said.code, &said.out), (0, &silent.out));
        assert!(!said.err.contains("no filter"), "{}", said.err);
    }
    let wrong = list("depsfs=loud");
    assert_eq!((wrong.code, &wrong.out), (0, &silent.out));
    assert!(wrong.err.contains("WARN") && wrong.err.contains("DEPSFS_LOG is no filter"), "{}", wrong.err);
}
