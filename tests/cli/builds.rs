//! Rows of `scripts/builds.sh` that need no network: builds in a worktree leave what they leave in a plain copy.

use std::path::Path;
use std::process::Command;

use crate::bench::PROGRAM;

/// Runs these rows, and says which were skipped.
fn rows(names: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/builds.sh");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "300"]).arg(script).env("DEPSFS", PROGRAM);
    for name in names {
        command.args(["--only", name]);
    }
    let done = command.output().expect("timeout is there");
    let said = String::from_utf8_lossy(&done.stdout);
    said.lines().filter(|l| l.starts_with("SKIP")).for_each(|l| eprintln!("skipped: {}", &l[4..]));
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let ended = said.lines().filter(|l| l.starts_with("PASS") || l.starts_with("SKIP")).count();
    assert_eq!(ended, names.len(), "{said}");
}

#[test]
fn what_bootstraps_do_to_artifacts_after_a_cache_hit_is_the_same_in_a_view() {
    rows(&["dd", "jq-cat", "jq-mv", "snapshots", "touch"]);
}

#[test]
fn cleaning_and_rewriting_artifacts_is_the_same_in_a_view() {
    rows(&["xargs-rm", "sed", "rm-mkdir", "git-clean"]);
}

#[test]
fn make_ninja_tar_and_rsync_leave_the_same_in_a_view() {
    rows(&["make", "ninja", "tar", "rsync"]);
}
