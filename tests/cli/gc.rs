//! `depsfs gc` frees what no worktree of any clone needs, and nothing else.

use crate::bench::{Bench, json};

#[test]
fn gc_keeps_what_worktrees_of_two_clones_share_and_frees_the_rest() {
    let bench = Bench::new();
    bench.git("", ["clone", "-q", "repo", "clone"]);
    bench.write("clone/build/only-here.o", "second clone\n");
    bench.ok("repo", ["create", "fix"]);
    bench.ok("clone", ["create", "two"]);
    let before = json(&bench.ok("repo", ["gc", "--dry-run", "--keep-days", "0", "--json"]));
    assert_eq!((&before["objects"], &before["live_roots"], &before["dry_run"]), (&0.into(), &2.into(), &true.into()));
    bench.ok("clone", ["remove", "two"]);
    let dry = json(&bench.ok("repo", ["gc", "--dry-run", "--keep-days", "0", "--json"]));
    assert_eq!(dry["objects"], 1, "{dry}");
    let said = bench.ok("repo", ["gc", "--keep-days", "0"]);
    assert!(
        said.starts_with("freed ") && said.contains("1 object, 1 tree") && said.contains("kept for 1 worktree"),
        "{said}"
    );
    assert_eq!(bench.read("fix/node_modules/a/index.js"), "module.exports = 1\n");
    bench.assert_sound();
    std::fs::remove_dir_all(bench.path("fix/src")).unwrap();
    bench.git("fix", ["checkout", "-q", "."]);
    assert_eq!(json(&bench.ok("fix", ["gc", "--json"]))["objects"], 0);
}

#[test]
fn a_worktree_that_was_deleted_by_hand_keeps_nothing_alive() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    std::fs::remove_dir_all(bench.path("fix")).unwrap();
    bench.git("repo", ["worktree", "prune"]);
    let report = json(&bench.ok("repo", ["gc", "--json"]));
    assert_eq!(report["dead_roots"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["objects"], 4, "{report}");
}
