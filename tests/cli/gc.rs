//! `depsfs gc` frees what no worktree of any clone needs, and nothing else.

use crate::bench::{Bench, PROGRAM, json, run};

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

#[test]
fn tarballs_that_were_not_used_lately_go_and_others_stay() {
    let bench = Bench::new();
    let local = bench.path("local");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(40 * 86_400);
    for name in ["old-0123456789abcdef.tar.gz", "old-0123456789abcdef.zst", "notes.txt", ".depsfs-put-1.zst", "new.zst"]
    {
        bench.write(&format!("local/{name}"), "bytes");
        if name != "new.zst" {
            std::fs::File::options().write(true).open(local.join(name)).unwrap().set_modified(old).unwrap();
        }
    }
    bench.write("local/.depsfs-put-2.zst", "being written");
    let gc = |args: &[&str]| {
        let said = run(bench.command(PROGRAM, "repo").arg("gc").args(args).env("CACHE_LOCAL_DIR", &local));
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    let doomed = [".depsfs-put-1.zst", "old-0123456789abcdef.tar.gz", "old-0123456789abcdef.zst"];
    assert_eq!(json(&gc(&["--dry-run", "--json"]))["tarballs"], serde_json::json!(doomed));
    bench.ok("repo", ["gc", "--keep-days", "0"]);
    assert_eq!(std::fs::read_dir(&local).unwrap().count(), 6);
    assert!(gc(&[]).contains("3 tarballs, 15 B"));
    assert_eq!(std::fs::read_dir(&local).unwrap().count(), 3);
    gc(&["--keep-days", "0"]);
    assert!(bench.is_there("local/.depsfs-put-2.zst") && !bench.is_there("local/new.zst"));
}
