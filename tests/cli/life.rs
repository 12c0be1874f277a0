//! A worktree between create and remove: status, list, diff, thaw, reset, mount, unmount.

use crate::bench::{Bench, json, metadata, run};

fn created() -> Bench {
    created_in(Bench::new())
}

fn created_in(bench: Bench) -> Bench {
    bench.ok("repo", ["create", "fix"]);
    bench
}

/// One path of each kind of change.
fn change(bench: &Bench) {
    bench.write("fix/node_modules/a/index.js", "mine\n");
    bench.write("fix/node_modules/new/deep/f", "new\n");
    std::fs::remove_file(bench.path("fix/build/out.o")).unwrap();
}

const CHANGED: &str = "D build/out.o\nM node_modules/a/index.js\nA node_modules/new\nA node_modules/new/deep\nA node_modules/new/deep/f\n";

#[test]
fn status_has_a_line_for_each_view_and_tells_from_inside_a_view_too() {
    let bench = created();
    let said = bench.status("fix/node_modules/a", &[]);
    assert!(said.starts_with("[ok]      build\n[ok]      node_modules\n"), "{said}");
    for line in ["worktree: ", "source:   ", "commit:   ", "created:  2", "daemon:   running"] {
        assert!(said.contains(&format!("\n{line}")), "{line}: {said}");
    }
    bench.ok("fix", ["unmount"]);
    let status = bench.depsfs("", ["status", "fix"]);
    assert!(status.out.starts_with("[MISSING] build (not mounted)\n"), "{status:?}");
    assert_eq!((status.code, status.err.as_str()), (1, ""));
    let status = json(&bench.status("", &["fix", "--json"]));
    assert_eq!(status["worktree"], bench.path("fix").to_str().unwrap());
    assert_eq!(status["views"][0]["path"], "build");
    assert_eq!(status["views"][0]["mounted"], false);
    assert!(status["daemon"].is_null());
    assert_eq!(status["drift"].as_array().unwrap().len(), 0);
}

#[test]
fn status_names_each_lock_file_that_changed_since() {
    let bench = Bench::new();
    bench.write("repo/.gitignore", "node_modules/\nbuild*/\n.env\ntarget/\n");
    bench.write("repo/crate/Cargo.lock", "version = 4\n");
    bench.commit("repo", "a crate");
    bench.write("repo/crate/target/debug/app", "binary\n");
    bench.ok("repo", ["create", "fix"]);
    assert!(!bench.status("fix", &[]).contains("drift"));
    bench.write("fix/crate/Cargo.lock", "version = 5\n");
    let said = bench.status("fix", &[]);
    assert!(said.ends_with("drift:    crate/Cargo.lock has changed since\n"), "{said}");
    bench.write("fix/package-lock.json", "{\"version\": 2}\n");
    let status = json(&bench.status("fix", &["--json"]));
    assert_eq!(status["drift"], serde_json::json!(["crate/Cargo.lock", "package-lock.json"]));
    assert_eq!(status["source"], bench.path("repo").to_str().unwrap());
    assert_eq!(status["commit"], bench.git("repo", ["rev-parse", "HEAD"]).trim());
    bench.write("fix/package-lock.json", "{\"version\": 1}\n");
    std::fs::remove_file(bench.path("fix/crate/Cargo.lock")).unwrap();
    let status = json(&bench.status("fix", &["--json"]));
    assert_eq!(status["drift"], serde_json::json!(["crate/Cargo.lock"]));
    std::fs::remove_dir_all(bench.path("fix/crate/target")).unwrap();
    let said = bench.depsfs("fix", ["status"]).out;
    assert!(said.contains("[MISSING] crate/target (deleted; depsfs reset brings it back)\n"), "{said}");
    assert!(said.contains("[ok]      build\n"), "{said}");
}

#[test]
fn list_names_every_worktree_and_with_all_those_with_views() {
    let bench = created();
    bench.ok("repo", ["create", "second", "--no-mount"]);
    let listed = json(&bench.ok("repo", ["list", "--json"]));
    let brief: Vec<_> =
        listed["worktrees"].as_array().unwrap().iter().map(|l| (l["path"].as_str().unwrap(), &l["mounted"])).collect();
    let [main, fix, second] = ["repo", "fix", "second"].map(|at| bench.path(at).to_str().unwrap().to_owned());
    assert_eq!(brief, [(main.as_str(), &0.into()), (fix.as_str(), &2.into()), (second.as_str(), &0.into())]);
    assert_eq!(listed["worktrees"][1]["branch"], "al/fix");
    let lines = |at: &str, args: &[&str]| bench.ok(at, args).lines().count();
    // Above them are the headings, below them the space that they save.
    assert_eq!((lines("", &["list", "--all"]), lines("fix", &["list"]), lines("repo", &["ls"])), (4, 5, 5));
    let all = json(&bench.ok("", ["list", "--all", "--json"]));
    let paths: Vec<_> = all["worktrees"].as_array().unwrap().iter().map(|l| l["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [&fix, &second]);
}

#[test]
fn diff_says_the_same_mounted_and_unmounted() {
    let bench = created();
    assert_eq!(bench.ok("fix", ["diff"]), "");
    change(&bench);
    assert_eq!(bench.ok("fix", ["diff"]), CHANGED);
    assert_eq!(bench.ok("fix", ["diff", "build"]), "D build/out.o\n");
    assert_eq!(bench.ok("fix/node_modules", ["diff", "a/index.js"]), "M node_modules/a/index.js\n");
    let found = json(&bench.ok("fix", ["diff", "build", "--json"]));
    assert_eq!(found["changes"], serde_json::json!([{"kind": "deleted", "path": "build/out.o"}]));
    bench.ok("fix", ["unmount"]);
    assert_eq!(bench.ok("fix", ["diff"]), CHANGED);
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.ok("fix", ["diff"]), CHANGED);
}

#[test]
fn a_thawed_directory_is_plain_and_looks_as_before() {
    let bench = created_in(Bench::new().with_mounts_of_directories());
    change(&bench);
    let before = metadata(&bench.path("fix/node_modules"));
    bench.ok("fix", ["thaw", "node_modules"]);
    assert_eq!(metadata(&bench.path("fix/node_modules")), before);
    assert_eq!(bench.mounts(), [bench.path("fix/build").to_str().unwrap()]);
    assert!(bench.ok("repo", ["list"]).contains("  1/1  "), "a directory that is plain files is no view");
    bench.ok("fix", ["unmount"]);
    assert_eq!(metadata(&bench.path("fix/node_modules")), before);
    bench.ok("fix", ["thaw", "build"]);
    assert!(!bench.is_there("fix/build/out.o") && bench.is_there("fix/build"));
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.mounts(), Vec::<String>::new());
    bench.assert_clean("fix");
    bench.assert_sound();
}

#[test]
fn a_directory_with_symlinks_and_a_symlink_itself_are_thawed() {
    let bench = Bench::new().with_mounts_of_directories();
    for (target, at) in [("a", "to dir"), ("a/index.js", "to file"), ("absent", "to nothing"), ("deep.js", "a/b/low")] {
        std::os::unix::fs::symlink(target, bench.path("repo/node_modules").join(at)).unwrap();
    }
    bench.ok("repo", ["create", "fix"]);
    let before = metadata(&bench.path("fix/node_modules"));
    bench.ok("fix", ["thaw", "node_modules/to nothing"]);
    bench.ok("fix", ["thaw", "node_modules"]);
    assert_eq!(bench.mounts().len(), 1);
    assert_eq!(metadata(&bench.path("fix/node_modules")), before);
    bench.assert_clean("fix");
}

#[test]
fn a_thawed_path_is_a_plain_file_when_unmounted() {
    let bench = created();
    bench.ok("fix", ["thaw", "node_modules/a/b"]);
    assert_eq!(bench.read("fix/node_modules/a/b/deep.js"), "module.exports = 2\n");
    bench.ok("fix", ["unmount"]);
    assert_eq!(bench.read("fix/node_modules/a/b/deep.js"), "module.exports = 2\n");
    assert!(!bench.is_there("fix/node_modules/a/index.js"));
    bench.ok("fix", ["thaw", "node_modules/a/index.js"]);
    assert_eq!(bench.read("fix/node_modules/a/index.js"), "module.exports = 1\n");
}

#[test]
fn thawing_a_view_in_use_is_refused_and_loses_nothing() {
    let bench = created_in(Bench::new().with_mounts_of_directories());
    let user = std::fs::File::open(bench.path("fix/build/out.o")).unwrap();
    let refused = bench.depsfs("fix", ["thaw", "build"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    assert_eq!(bench.ok("fix", ["diff"]), "");
    drop(user);
    bench.ok("fix", ["thaw", "build"]);
}

#[test]
fn reset_asks_says_what_it_drops_and_brings_back_what_the_store_says() {
    let bench = created();
    change(&bench);
    let refused = bench.depsfs("fix", ["reset", "node_modules"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert_eq!(bench.ok("fix", ["diff"]), CHANGED);
    assert_eq!(bench.ok("fix", ["reset", "--yes", "build/out.o"]), "D build/out.o\ndropped 1 change\n");
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    let said = bench.ok("fix", ["reset", "--yes", "node_modules"]);
    assert!(said.ends_with("dropped 4 changes\n"), "{said}");
    assert_eq!(bench.ok("fix", ["diff"]), "");
    assert_eq!(metadata(&bench.path("fix/node_modules")), metadata(&bench.path("repo/node_modules")));
    change(&bench);
    bench.ok("fix", ["unmount"]);
    bench.ok("fix", ["reset", "--yes", "node_modules", "build"]);
    assert_eq!(bench.ok("fix", ["diff"]), "");
    assert_eq!(bench.mounts(), Vec::<String>::new());
}

#[test]
fn unmount_is_refused_while_in_use_unless_lazy_and_keeps_what_was_written() {
    let bench = created();
    change(&bench);
    let user = std::fs::File::open(bench.path("fix/node_modules/a/b/deep.js")).unwrap();
    let refused = bench.depsfs("fix", ["unmount"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.ok("fix", ["unmount", "--lazy"]);
    assert_eq!(bench.mounts(), Vec::<String>::new());
    drop(user);
    bench.ok("fix", ["unmount"]);
    assert_eq!(bench.read("fix/node_modules/new/deep/f"), "new\n");
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.ok("fix", ["diff"]), CHANGED);
}

#[test]
fn a_moved_worktree_is_mounted_where_it_is_now() {
    let bench = created();
    change(&bench);
    bench.ok("fix", ["unmount"]);
    bench.git("repo", ["worktree", "move", "../fix", "../moved"]);
    bench.ok("moved", ["mount"]);
    assert_eq!(bench.read("moved/node_modules/a/index.js"), "mine\n");
    assert_eq!(bench.ok("moved", ["diff"]), CHANGED);
}

#[test]
fn entries_are_mounted_at_a_directory_without_git() {
    let bench = Bench::new();
    bench.write("one/x", "one\n");
    bench.write("one/shared", "one\n");
    bench.write("two/shared", "two\n");
    assert_eq!(bench.ok("", ["store", "add", "one"]), "added one: 2 files, 8 B\n");
    bench.ok("", ["store", "add", "two", "--name", "zwei"]);
    assert_eq!(bench.ok("", ["store", "list"]).lines().count(), 2);
    bench.ok("", ["mount", "one", "zwei", "--at", "at/dir"]);
    bench.ok("", ["mount", "one", "zwei", "--at", "at/dir"]);
    assert_eq!((bench.read("at/dir/x"), bench.read("at/dir/shared")), ("one\n".into(), "two\n".into()));
    bench.write("at/dir/x", "mine\n");
    assert!(bench.ok("at/dir", ["diff"]).contains("M dir/x"));
    bench.ok("", ["unmount", "--at", "at/dir"]);
    assert_eq!(bench.read("at/dir/x"), "mine\n");
    assert!(!bench.is_there("at/dir/shared"));
    assert_eq!(bench.depsfs("", ["mount", "none", "--at", "at/other"]).code, 3);
    assert!(!bench.is_there("at/other"));
    assert_eq!(bench.depsfs("", ["mount", "one", "--at", "two"]).code, 3);
}

#[test]
fn entries_whose_directory_was_deleted_are_mounted_there_again_over_what_was_made_since() {
    let bench = Bench::new();
    bench.write("one/x", "one\n");
    bench.write("one/y", "one\n");
    bench.ok("", ["store", "add", "one"]);
    bench.ok("", ["mount", "one", "--at", "at"]);
    bench.write("at/x", "changed\n");
    std::fs::remove_dir_all(bench.path("at")).unwrap();
    assert!(!bench.is_there("at"));
    bench.write("at/y", "mine\n");
    bench.ok("", ["mount", "one", "--at", "at"]);
    assert_eq!((bench.read("at/x"), bench.read("at/y")), ("one\n".into(), "mine\n".into()));
    assert_eq!(bench.mounts().len(), 1);
}

#[test]
fn names_that_are_not_utf_8_are_shared_listed_and_reset() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let odd = std::ffi::OsStr::from_bytes(b"build-\xff");
    let dir = bench.path("repo").join(odd);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join(odd), "odd\n").unwrap();
    std::fs::write(dir.join("even"), "even\n").unwrap();
    bench.ok("repo", ["create", "fix"]);
    let file = bench.path("fix").join(odd).join(odd);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "odd\n");
    bench.assert_clean("fix");
    std::fs::write(&file, "mine\n").unwrap();
    assert_eq!(json(&bench.status("fix", &["--json"]))["views"][1]["path"], "build-%FF");
    assert_eq!(json(&bench.ok("fix", ["diff", "--json"]))["changes"][0]["path"], "build-%FF/build-%FF");
    let reset = bench.depsfs("fix", [std::ffi::OsStr::new("reset"), "--yes".as_ref(), file.as_os_str()]);
    assert_eq!(reset.code, 0, "{reset:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "odd\n");
}

#[test]
fn a_name_that_is_not_utf_8_can_be_had_back_from_json() {
    use std::os::unix::ffi::OsStrExt;
    let bench = created();
    let name = std::ffi::OsStr::from_bytes(b"50%\xff\n");
    std::fs::write(bench.path("fix/build").join(name), "mine").unwrap();
    let changes = json(&bench.ok("fix", ["diff", "--json"]))["changes"].clone();
    assert_eq!(changes, serde_json::json!([{ "kind": "added", "path": "build/50%25%FF%0A" }]));
    let path = depsfs::store::escape::unescape(changes[0]["path"].as_str().unwrap()).unwrap();
    assert_eq!(path, b"build/50%\xff\n");
}

#[test]
fn mount_counts_the_views_that_it_mounts_and_not_one_that_is_a_plain_directory_now() {
    let bench = created_in(Bench::new().with_mounts_of_directories());
    let deleted = run(bench.command("rm", "fix").args(["-rf", "build"]));
    assert_eq!(deleted.code, 0, "{deleted:?}");
    bench.write("fix/build/new", "new\n");
    bench.ok("fix", ["unmount"]);
    let said = bench.ok("fix", ["mount"]);
    assert_eq!(said, format!("mounted 1 view in {}\n", bench.path("fix").display()));
    assert_eq!(bench.mounts(), [bench.path("fix/node_modules").to_str().unwrap()]);
}

#[test]
fn after_the_directory_above_was_renamed_status_unmount_and_mount_go_on_as_before() {
    for bench in Bench::in_both_shapes() {
        std::fs::create_dir(bench.path("one")).unwrap();
        std::fs::rename(bench.path("repo"), bench.path("one/repo")).unwrap();
        bench.ok("one/repo", ["create", "fix"]);
        bench.write("one/fix/build/mine", "mine\n");
        std::fs::rename(bench.path("one"), bench.path("two")).unwrap();
        bench.git("two/repo", ["worktree", "repair", "../fix"]);
        let assert_shown = || {
            assert_eq!(
                (bench.read("two/fix/build/out.o"), bench.read("two/fix/build/mine")),
                ("object\n".into(), "mine\n".into())
            );
            bench.assert_clean("two/fix");
            let said = bench.status("two/fix", &[]);
            assert!(said.starts_with("[ok]      build\n[ok]      node_modules\n"), "{said}");
        };
        assert_shown();
        bench.ok("two/fix", ["unmount"]);
        assert_eq!(bench.mounts(), Vec::<String>::new());
        bench.ok("two/fix", ["mount"]);
        assert_shown();
        bench.ok("two/repo", ["remove", "fix"]);
    }
}
