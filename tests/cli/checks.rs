//! The script that runs all checks, `scripts/test.sh`: a test that passes when it runs again is named, nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::bench::{Said, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test.sh");

/// Lines that a test prints before it fails: more than a pipe holds.
const LINES: usize = 20_000;

fn program(at: &Path, script: &str) {
    fs::write(at, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(at, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The script with a `cargo` whose only test fails, and then, run alone, says `again` and ends with `code`.
fn one_failure(again: &str, code: u8) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let tests = dir.path().join("tests");
    program(&tests, &format!("echo '{again}'\nexit {code}\n"));
    let log = format!(
        "     Running tests/a.rs ({})\ntest a ... FAILED\n\n---- a stdout ----\n{}\nfailures:\n\n\
         test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n",
        tests.display(),
        "a line of the test\n".repeat(LINES)
    );
    fs::write(dir.path().join("log"), log).unwrap();
    program(
        &dir.path().join("cargo"),
        &format!("case \"$*\" in *--no-run*) exit 0 ;; esac\ncat {}\nexit 101\n", dir.path().join("log").display()),
    );
    let mut path = std::ffi::OsString::from(dir.path());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new("bash");
    command.arg(SCRIPT).args(["--test", "a"]).env("PATH", path).env("TMPDIR", dir.path());
    run(&mut command)
}

/// Whether the script can be run here; says why not.
fn at_hand() -> bool {
    let readable = fs::read(SCRIPT).is_ok();
    if !readable {
        println!("skipped: the script of the checks, because this user may not read {SCRIPT}");
    }
    readable
}

#[test]
fn a_test_that_passes_when_it_runs_again_is_named_however_much_it_printed() {
    if !at_hand() {
        return;
    }
    let said = one_failure("test result: ok. 1 passed", 0);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    assert!(said.out.contains("flaky: a failed, and passed when it ran again, alone"), "{}", said.out);
    assert_eq!(said.out.matches("  | a line of the test").count(), 29, "after the name");
}

#[test]
fn a_test_that_fails_again_fails_the_run() {
    if !at_hand() {
        return;
    }
    let said = one_failure("test result: FAILED. 0 passed; 1 failed", 101);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("test.sh: FAILED: cargo test"), "{}", said.err);
}
