//! `depsfs list`, and `depsfs status` in a main checkout: all worktrees in one table.

use crate::bench::{Bench, json};

/// A table without the last two words of its lines: an age grows between two commands.
pub fn without_age(table: &str) -> Vec<String> {
    let line = |line: &str| line.rsplitn(3, ' ').last().unwrap_or_default().trim_end().to_owned();
    table.lines().map(line).collect()
}

#[test]
fn status_and_list_in_the_main_checkout_show_all_worktrees_with_branch_views_private_bytes_drift_and_age() {
    let bench = Bench::new();
    assert_eq!(bench.ok("repo", ["status"]).lines().count(), 2, "the headings, and the main checkout");
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["create", "second", "--no-mount"]);
    bench.git("repo", ["worktree", "add", "-q", "-b", "plain", "../plain"]);
    bench.write("fix/build/mine.o", &"m".repeat(300_000));
    bench.write("fix/package-lock.json", "{\"version\": 2}\n");
    bench.write("second/build/own.o", &"o".repeat(5_000));
    let status = bench.depsfs("repo/src", ["status"]);
    assert_eq!((status.code, status.err.as_str()), (1, ""), "the views of second are missing");
    for same in [&["status", "main"][..], &["list"], &["ls"], &["-C", "../repo", "list"]] {
        assert_eq!(without_age(&bench.depsfs("fix", same).out), without_age(&status.out));
    }
    let rows: Vec<Vec<&str>> = status.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["worktree", "branch", "views", "private", "drift", "age"]);
    let find = |at: &str| rows.iter().find(|row| row[0] == bench.path(at).to_str().unwrap()).unwrap();
    assert_eq!(find("repo")[1..], ["main", "-", "-", "-", "-"]);
    assert_eq!(find("plain")[1..], ["plain", "-", "-", "-", "-"]);
    let fix = find("fix");
    assert_eq!((fix[1], fix[2], fix[4], &fix[5..7]), ("al/fix", "2/2", "kB", &["1", "file"][..]));
    assert!(fix[3].parse::<f64>().is_ok_and(|kb| (300.0..340.0).contains(&kb)), "{fix:?}");
    assert!(["second", "seconds", "minute", "minutes"].contains(&fix[8]), "{fix:?}");
    let second = find("second");
    assert_eq!(second[1..3], ["al/second", "0/2"]);
    let listed = json(&bench.ok("repo", ["list", "--json"]));
    let fields = |n: usize| listed["worktrees"][n].clone();
    assert_eq!(fields(0)["is_main"], true);
    assert!(fields(1)["private_bytes"].as_u64().unwrap() >= 300_000 && fields(1)["drift"][0] == "package-lock.json");
    bench.ok("second", ["mount"]);
    bench.ok("repo", ["status"]);
}

#[test]
fn bytes_are_private_only_where_a_file_was_written() {
    let bench = Bench::new();
    bench.write("repo/build/big.o", &"b".repeat(1_000_000));
    bench.ok("repo", ["create", "fix"]);
    let bytes = || json(&bench.ok("fix", ["list", "--json"]))["worktrees"][1]["private_bytes"].as_u64().unwrap();
    let file = std::fs::File::open(bench.path("fix/build/big.o")).unwrap();
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    drop(file);
    assert!(bytes() < 100_000, "another mode takes no space: {}", bytes());
    bench.write("fix/build/big.o", &"c".repeat(1_000_000));
    assert!(bytes() >= 1_000_000);
}

#[test]
fn a_worktree_that_is_broken_or_unreadable_does_not_hide_the_others() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["create", "gone"]);
    bench.ok("gone", ["unmount"]);
    std::fs::remove_dir_all(bench.path("gone")).unwrap();
    std::fs::write(bench.path("repo/.git/worktrees/fix/depsfs/manifest.json"), "{").unwrap();
    let table = bench.ok("repo", ["list"]);
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains("(its directory is gone)") && table.contains("manifest.json"), "{table}");
}

#[test]
fn a_name_or_branch_that_would_control_the_terminal_is_printed_in_quotes() {
    let bench = Bench::new();
    bench.git("repo", ["worktree", "add", "-q", "-b", "\u{202e}x", "../e\x1b[2Kvil"]);
    let table = bench.ok("repo", ["list"]);
    assert!(table.contains("e\\033[2Kvil") && table.contains("\\342\\200\\256x"), "{table}");
    assert!(!table.contains('\x1b') && !table.contains('\u{202e}'), "{table}");
}

#[test]
fn a_directory_that_entries_are_mounted_at_is_listed_itself_and_not_the_one_above() {
    let bench = Bench::new();
    bench.ok("repo", ["store", "add", "build", "--name", "built"]);
    bench.ok("", ["mount", "built", "--at", "at"]);
    let at = bench.path("at");
    let listed = json(&bench.ok("repo", ["list", "--all", "--json"]));
    assert_eq!(listed["worktrees"][0]["path"], at.to_str().unwrap(), "{listed}");
    let counted = json(&bench.ok("repo", ["du", "--all", "--json"]));
    assert!(counted.to_string().contains(&format!("\"{}\"", at.display())), "{counted}");
    bench.ok("", ["unmount", "--at", "at"]);
}
