//! `depsfs log`: what was done, when, to what, and with which outcome.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::bench::{self, Bench, PROGRAM, run};

/// The operations that the log has, the newest first.
fn logged(bench: &Bench, args: &[&str]) -> Vec<Value> {
    let said = bench.ok("", ["log", "--json"].iter().chain(args));
    bench::json(&said)["operations"].as_array().unwrap().clone()
}

fn verbs(operations: &[Value]) -> Vec<&str> {
    operations.iter().map(|operation| operation["verb"].as_str().unwrap()).collect()
}

#[test]
fn each_operation_that_changes_something_is_logged_with_its_target_and_no_other() {
    let bench = Bench::new();
    let fix = bench.path("fix").display().to_string();
    bench.ok("repo", ["create", "fix", "--dry-run"]);
    assert!(!bench.is_there("store"), "a dry run makes no store for its log");
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["list"]);
    bench.write("fix/build/mine", "mine\n");
    bench.ok("fix", ["reset", "--yes", "build"]);
    bench.ok("fix", ["reset", "--dry-run", "build"]);
    bench.ok("fix", ["sync"]);
    bench.ok("fix", ["thaw", "build/out.o"]);
    bench.ok("fix", ["publish", "--name", "built", "build"]);
    bench.ok("fix", ["adopt"]);
    let refused = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    bench.ok("repo", ["remove", "fix"]);
    bench.ok("repo", ["gc"]);
    let operations = logged(&bench, &[]);
    assert_eq!(verbs(&operations), ["gc", "remove", "publish", "thaw", "sync", "reset", "create"]);
    assert!(operations.iter().all(|operation| operation["outcome"] == "done"), "{operations:#?}");
    let create = &operations[6];
    assert_eq!((&create["targets"], &create["detail"]), (&json!([fix]), &json!(null)));
    assert_eq!(operations[5]["detail"], "dropped 1 change");
    assert!(operations[0]["detail"].as_str().unwrap().starts_with("freed "), "{operations:#?}");

    let text = bench.ok("repo", ["log"]);
    let line = text.lines().last().unwrap();
    assert!(line.contains("Z  done    create   ") && line.ends_with(&format!("s  {fix}")), "{text}");
    assert_eq!(text.lines().count(), 7, "{text}");
    // It is found by its name after it was removed.
    assert_eq!(verbs(&logged(&bench, &["fix", "-n", "2"])), ["remove", "publish"]);
    assert_eq!(verbs(&logged(&bench, &["--failed"])), [""; 0]);
}

#[test]
fn mounts_artifacts_remotes_and_hooks_are_in_the_log_and_what_changes_nothing_is_not() {
    let bench = Bench::new();
    let fix = bench.path("fix").display().to_string();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["mount", "fix"]);
    bench.ok("repo", ["mount", "--all"]);
    bench.ok("repo", ["unmount", "fix", "--dry-run"]);
    bench.ok("repo", ["unmount", "fix"]);
    bench.ok("repo", ["unmount", "fix"]);
    bench.ok("repo", ["mount", "fix"]);
    bench.ok("repo", ["unmount", "fix"]);
    bench.ok("repo", ["mount", "--all"]);
    bench.ok("repo", ["store", "add", "build", "--name", "noir-0123456789abcdef"]);
    bench.ok("", ["mount", "noir-0123456789abcdef", "--at", "at"]);
    let at = bench.path("at").display().to_string();
    bench.ok("", ["unmount", "--at", "at"]);
    bench.ok("repo", ["cache", "get", "noir-0123456789abcdef.tar.gz", "../out"]);
    assert_eq!(bench.depsfs("repo", ["cache", "get", "none-0123456789abcdef.tar.gz"]).code, 1);
    bench.ok("repo", ["cache", "put", "own-0123456789abcdef.tar.gz", "build"]);
    bench.ok("repo", ["hook", "status"]);
    bench.ok("repo", ["hook", "uninstall"]);
    bench.ok("repo", ["hook", "install"]);
    bench.ok("repo", ["hook", "uninstall"]);
    let operations = logged(&bench, &[]);
    let expected = [
        "hook uninstall",
        "hook install",
        "cache get",
        "unmount",
        "mount",
        "store add",
        "mount --all",
        "unmount",
        "mount",
        "unmount",
        "create",
    ];
    assert_eq!(verbs(&operations), expected);
    assert!(operations.iter().all(|operation| operation["outcome"] == "done"), "{operations:#?}");
    assert_eq!((&operations[3]["targets"], &operations[4]["targets"]), (&json!([at]), &json!([at])));
    assert_eq!(operations[2]["targets"], json!(["noir-0123456789abcdef.tar.gz", bench.path("out")]));
    assert_eq!(verbs(&logged(&bench, &["fix", "-n", "3"])), ["mount --all", "unmount", "mount"]);
    assert_eq!(operations[6]["targets"], json!([fix]));
    bench.ok("repo", ["unmount", "fix"]);
}

#[test]
fn a_command_that_is_refused_after_a_part_of_it_was_done_has_failed_and_is_logged() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    let mut user =
        std::process::Command::new("sleep").arg("60").current_dir(bench.path("fix/node_modules")).spawn().unwrap();
    let refused = bench.depsfs("fix", ["thaw", "node_modules"]);
    let partly = bench.depsfs("fix", ["thaw", "build", "node_modules", "--json"]);
    user.kill().unwrap();
    user.wait().unwrap();
    assert_eq!(refused.code, 3, "{refused:?}");
    assert_eq!(partly.code, 1, "{partly:?}");
    assert_eq!(bench::json(&partly.err)["exit_code"], 1, "{partly:?}");
    let operations = logged(&bench, &["--failed"]);
    assert_eq!(verbs(&operations), ["thaw"]);
    let targets = json!([bench.path("fix/build"), bench.path("fix/node_modules")]);
    assert_eq!((&operations[0]["targets"], &operations[0]["exit_code"]), (&targets, &json!(1)));
    assert!(operations[0]["detail"].as_str().unwrap().contains("is in use"), "{operations:#?}");
    bench.ok("repo", ["unmount", "fix"]);
}

#[test]
fn a_failure_is_logged_with_its_cause_and_doctor_reads_it() {
    let bench = Bench::new();
    bench.write("repo/.gitattributes", "*.c filter=broken\n");
    bench.commit("repo", "a filter that fails");
    bench.git("repo", ["config", "filter.broken.smudge", "false"]);
    bench.git("repo", ["config", "filter.broken.required", "true"]);
    let failed = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    let operations = logged(&bench, &["--failed"]);
    assert_eq!((verbs(&operations), &operations[0]["exit_code"]), (vec!["create"], &json!(1)));
    let detail = operations[0]["detail"].as_str().unwrap();
    assert!(failed.err.contains(detail.lines().next().unwrap()), "{detail} is not in {failed:?}");
    assert!(bench.ok("", ["log"]).contains("  failed  create  "));
    let checks = bench::json(&bench.depsfs("", ["doctor", "--json"]).out);
    let row = checks["checks"].as_array().unwrap().iter().find(|row| row["check"] == "log").unwrap();
    assert!(row["reason"].as_str().unwrap().contains("the last that failed: create at "), "{row}");
}

#[test]
fn a_record_that_cannot_be_written_fails_nothing() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one"]);
    std::fs::remove_dir_all(bench.path("store/log")).unwrap();
    bench.write("store/log", "a file in the place of the directory\n");
    let said = bench.depsfs("repo", ["create", "two"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    bench.ok("one", ["unmount"]);
    bench.ok("two", ["unmount"]);
}

#[test]
fn damaged_lines_are_skipped_and_counted_and_no_name_reaches_the_terminal_as_it_is() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one", "--no-mount"]);
    let hostile = std::ffi::OsStr::from_bytes(b"x\x1b[2J\n[ok] y\xff");
    let at = bench.path("").join(hostile);
    let made = run(bench.command(PROGRAM, "repo").args(["create", "two", "--no-mount", "--path"]).arg(&at));
    assert_eq!(made.code, 0, "{made:?}");
    let mut file = std::fs::OpenOptions::new().append(true).open(bench.path("store/log/operations.jsonl")).unwrap();
    file.write_all(b"{\"version\":1,\"verb\":\"cr\n\x1b[2J\n").unwrap();
    let said = bench.depsfs("", ["log"]);
    assert!(said.code == 0 && !said.out.contains('\u{1b}') && said.out.lines().count() == 2, "{said:?}");
    assert_eq!(said.err, "note: 2 lines of the log could not be read\n");
    let answer = bench::json(&bench.ok("", ["log", "--json", "-q"]));
    assert_eq!(answer["damaged_lines"], 2);
    let target = answer["operations"][0]["targets"][0].as_str().unwrap();
    assert_eq!(depsfs::store::escape::unescape(target).unwrap(), at.as_os_str().as_bytes());
}

#[test]
fn the_name_of_an_entry_is_in_the_log_as_it_was_given() {
    let bench = Bench::new();
    bench.ok("repo", ["store", "add", "build", "--name", "nightly%41"]);
    bench.ok("repo", ["store", "remove", "nightly%41"]);
    for operation in logged(&bench, &[]) {
        let target = operation["targets"][0].as_str().unwrap();
        assert_eq!(depsfs::store::escape::unescape(target).unwrap(), b"nightly%41", "{operation}");
    }
    let text = bench.ok("", ["log"]);
    assert!(text.lines().count() == 2 && text.lines().all(|line| line.ends_with("  nightly%41")), "{text}");
}

#[test]
fn commands_at_once_lose_no_record() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "first", "--no-mount"]);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let bench = &bench;
            scope.spawn(move || bench.ok("repo", ["store", "add", "build", "--name", &format!("built-{n}")]));
        }
    });
    let mut targets: Vec<_> = logged(&bench, &["-n", "6"]).iter().map(|o| o["targets"][0].clone()).collect();
    targets.sort_by_key(Value::to_string);
    assert_eq!(json!(targets), json!(["built-0", "built-1", "built-2", "built-3", "built-4", "built-5"]));
}
