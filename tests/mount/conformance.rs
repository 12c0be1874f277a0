//! The file system test suites that are to be had as crates: pjdfstest (POSIX, 398 tests) and fsx (data integrity).
//!
//! `.ci/run` installs them to `target/test-tools`; where they are missing the tests say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::bench::{Bench, bench, is_root};

fn tool(name: &str, version: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin").join(name);
    if !path.exists() {
        eprintln!("skipped: cargo install --root target/test-tools {name}@{version}");
    }
    path.exists().then_some(path)
}

/// Runs a suite, ended after `seconds`.
fn run(seconds: u32, tool: &Path, args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=10").arg(seconds.to_string()).arg(tool).args(args).current_dir(dir);
    command.output().expect("timeout is there")
}

/// A mounted view where `lib` has names of two trees and of the upper, open to other users.
fn merged() -> Option<Bench> {
    if let Some(why) = crate::bench::cannot_mount() {
        eprintln!("skipped: {why}");
        return None;
    }
    // A short path: the address of a socket may have 107 bytes.
    let mut bench = Bench::below(Path::new("/tmp"), &["b"]);
    let again = bench.manifest.views[0].grafts[0].clone();
    bench.manifest.views[0].grafts.push(again);
    // Only root may let others in without a line in /etc/fuse.conf.
    bench.manifest.allow_other = is_root();
    bench.save();
    bench.mount();
    Some(bench)
}

#[test]
fn pjdfstest_finds_no_difference_to_posix() {
    let (Some(tool), Some(bench)) = (tool("pjdfstest", "0.2.2"), merged()) else { return };
    let config = bench.dir.join("pjdfstest.toml");
    let features = "[features]\nposix_fallocate = {}\nrename_ctime = {}\nutimensat = {}\nutime_now = {}\n";
    let users = "[dummy_auth]\nentries = [[\"nobody\",\"nogroup\"],[\"daemon\",\"daemon\"],[\"bin\",\"bin\"]]\n";
    fs::write(&config, format!("{features}[settings]\nnaptime = 0.01\n{users}")).expect("written");
    let lib = bench.view("b/lib");
    fs::write(lib.join("own"), "the worktree's").expect("written");
    let args = ["-c", config.to_str().expect("UTF-8"), "-p", lib.to_str().expect("UTF-8")];
    let output = run(300, &tool, &args, &bench.dir);
    let said = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = said.lines().filter(|l| l.contains("FAILED")).collect();
    let summary = said.lines().rfind(|l| l.starts_with("Summary")).unwrap_or("no summary");
    eprintln!("{summary}");
    assert!(failed.is_empty() && summary.contains(" 0 failed"), "{failed:#?}\n{summary}");
    assert!(summary.contains("398 total"), "{summary}");
}

#[test]
fn fsx_reads_back_what_it_wrote_to_a_new_file_and_to_a_copy_of_the_stores() {
    let Some(tool) = tool("fsx", "0.3.2") else { return };
    let bench = bench!("build");
    bench.mount();
    for (file, seed) in [("new", "1"), ("lib/b.js", "2")] {
        let path = bench.view("build").join(file);
        let args = ["-S", seed, "-N", "4000", "-P", bench.dir.to_str().expect("UTF-8"), path.to_str().expect("UTF-8")];
        let output = run(120, &tool, &args, &bench.dir);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("A-OK"), "{file}: {said}");
    }
    assert_eq!(fs::read_to_string(bench.dir.join("source/lib/b.js")).expect("there"), "b\n".repeat(5000));
}
