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
    // A worktree that is one mount has a tree of its directories, too.
    let freed = if bench.has_mounts_of_worktrees() { "1 object, 2 trees" } else { "1 object, 1 tree" };
    assert!(said.starts_with("freed ") && said.contains(freed) && said.contains("kept for 1 worktree"), "{said}");
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

/// A worktree beside its repository in `disk`, whose artifacts only the store has; unmounted.
fn on_a_disk() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("disk")).unwrap();
    std::fs::rename(bench.path("repo"), bench.path("disk/repo")).unwrap();
    bench.ok("disk/repo", ["create", "fix"]);
    std::fs::remove_dir_all(bench.path("disk/repo/build")).unwrap();
    bench.write("disk/fix/build/mine", "mine\n");
    bench.ok("disk/fix", ["unmount"]);
    bench
}

#[test]
fn what_a_worktree_on_a_disk_that_is_not_mounted_needs_is_kept_and_named() {
    let bench = on_a_disk();
    std::fs::rename(bench.path("disk"), bench.path("unplugged")).unwrap();
    for has_mount_point in [false, true] {
        if has_mount_point {
            std::fs::create_dir(bench.path("disk")).unwrap();
        }
        let report = json(&bench.ok("", ["gc", "--keep-days", "0", "--json"]));
        let away = bench.path("disk/repo/.git/worktrees/fix").display().to_string();
        assert_eq!(report["away"][0]["path"], away, "{report}");
        assert_eq!((&report["trees"], &report["dead_roots"]), (&0.into(), &serde_json::json!([])), "{report}");
        assert!(report["away"][0]["bytes"].as_u64().unwrap() > 0, "{report}");
        let said = bench.ok("", ["gc"]);
        assert!(said.contains(&away) && said.contains("gc --forget"), "{said}");
        let listed = bench.ok("", ["list", "--all"]);
        assert!(listed.contains(&away) && listed.contains("away"), "{listed}");
        let said = bench.ok("", ["mount", "--all"]);
        assert!(said.starts_with("away    "), "{said}");
        bench.ok("", ["doctor", "--fix"]);
    }
    std::fs::remove_dir(bench.path("disk")).unwrap();
    std::fs::rename(bench.path("unplugged"), bench.path("disk")).unwrap();
    bench.ok("", ["gc", "--keep-days", "0"]);
    bench.ok("disk/fix", ["mount"]);
    assert_eq!(
        (bench.read("disk/fix/build/out.o"), bench.read("disk/fix/build/mine")),
        ("object\n".into(), "mine\n".into())
    );
}

#[test]
fn what_a_worktree_of_a_repository_that_was_moved_needs_is_kept_until_it_is_repaired() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    std::fs::remove_dir_all(bench.path("repo/build")).unwrap();
    std::fs::rename(bench.path("repo"), bench.path("moved")).unwrap();
    bench.ok("", ["gc", "--keep-days", "0"]);
    bench.git("moved", ["worktree", "repair", "../fix"]);
    bench.ok("", ["gc", "--keep-days", "0"]);
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
}

#[test]
fn a_worktree_that_is_away_is_let_go_of_when_its_user_says_so_and_one_that_is_there_never() {
    let bench = on_a_disk();
    bench.ok("", ["gc", "--keep-days", "0", "--forget", "disk"]);
    bench.ok("disk/fix", ["mount"]);
    assert_eq!(bench.read("disk/fix/build/out.o"), "object\n");
    bench.ok("disk/fix", ["unmount"]);
    std::fs::remove_dir_all(bench.path("disk")).unwrap();
    let dry = json(&bench.ok("", ["gc", "--dry-run", "--forget", "disk/repo", "--json"]));
    assert_eq!((&dry["objects"], &dry["away"]), (&4.into(), &serde_json::json!([])), "{dry}");
    assert_eq!(json(&bench.ok("", ["gc", "--json"]))["objects"], 0);
    let report = json(&bench.ok("", ["gc", "--forget", "disk/repo", "--json"]));
    assert_eq!((&report["objects"], report["forgotten"].as_array().unwrap().len()), (&4.into(), 1), "{report}");
    assert!(!bench.ok("", ["gc"]).contains("away"));
}
