//! Dry runs: they say what the command then does, and change nothing anywhere.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::bench::{Bench, json};

/// A whole directory: each name with its inode, mode, size, mtime and content.
fn all_of(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let m = std::fs::symlink_metadata(&path).unwrap();
            let content = if m.is_file() {
                blake3::hash(&std::fs::read(&path).unwrap()).to_hex().to_string()
            } else {
                String::new()
            };
            // A look into a view that is not mounted stamps its journal, and changes no byte of it.
            let times = if path.ends_with("journal") { (0, 0) } else { (m.mtime(), m.mtime_nsec()) };
            found.insert(path.clone(), format!("{} {:o} {} {times:?} {content}", m.ino(), m.mode(), m.size()));
            if m.is_dir() {
                todo.push(path);
            }
        }
    }
    found
}

/// The output of a dry run, which has to be what the command then says and does; the dry run itself changes nothing.
#[track_caller]
fn foretold(bench: &Bench) -> serde_json::Value {
    let before = all_of(&bench.path(""));
    let dry = json(&bench.ok("fix", ["sync", "--dry-run", "--json"]));
    let words = bench.ok("fix", ["sync", "--dry-run"]);
    let after = all_of(&bench.path(""));
    let is_changed = |at: &&PathBuf| before.get(*at) != after.get(*at);
    let changed = before.keys().chain(after.keys()).filter(is_changed);
    let changed: Vec<_> = changed.map(|at| (at, before.get(at), after.get(at))).collect();
    assert!(changed.is_empty(), "the dry run changed {changed:?}");
    let done = json(&bench.ok("fix", ["sync", "--json"]));
    for field in ["views", "added", "unfit", "hidden"] {
        assert_eq!(dry[field], done[field], "{field}: {words}");
    }
    assert_eq!(bench.ok("fix", ["sync", "--dry-run"]), bench.ok("fix", ["sync"]), "afterwards");
    done
}

#[test]
fn a_relocation_that_is_wanted_since_is_foretold() {
    for mounted in [true, false] {
        let bench = Bench::new();
        let root = bench.path("repo").display().to_string();
        bench.write("repo/build/CMakeCache.txt", &format!("HOME={root}\n"));
        bench.git("repo", ["config", "depsfs.absolutePaths", "leave"]);
        bench.ok("repo", ["create", "fix"]);
        bench.git("repo", ["config", "depsfs.absolutePaths", "relocate"]);
        if !mounted {
            bench.ok("fix", ["unmount"]);
        }
        let done = foretold(&bench);
        assert_eq!(done["views"], serde_json::json!(["build"]), "mounted: {mounted}");
        assert_eq!(bench.read("fix/build/CMakeCache.txt"), format!("HOME={}\n", bench.path("fix").display()));
    }
}

#[test]
fn what_the_source_has_anew_is_foretold_and_nothing_of_it_is_stored() {
    let bench = Bench::new();
    let big = "big ".repeat(500_000);
    bench.write("repo/build/same", "old\n");
    bench.write("repo/build/mine", "old\n");
    bench.ok("repo", ["create", "fix"]);
    // A copy of the old, and a change of the worktree's own.
    bench.write("fix/build/same", "x");
    bench.write("fix/build/same", "old\n");
    bench.write("fix/build/mine", "mine\n");
    for at in ["repo/build/same", "repo/build/mine", "repo/build/new"] {
        bench.write(at, "new\n");
    }
    bench.write("repo/build/big", &big);
    bench.write("repo/build2/out", "another directory\n");
    let done = foretold(&bench);
    assert_eq!(done["views"], serde_json::json!(["build"]));
    assert_eq!(done["added"], serde_json::json!(["build2"]));
    assert_eq!(done["hidden"], serde_json::json!(["build/mine"]));
    assert!(bench.read("fix/build/same") == "new\n" && bench.read("fix/build/big") == big);
    bench.assert_sound();
}

#[test]
fn single_files_of_a_component_are_foretold_and_not_even_copied_for_a_moment() {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "made.json\nenv/.gitignore\nnode_modules/\n");
    let toml = "[[component]]\nname = \"web\"\npaths = [\"node_modules\", \"made.json\", \"env\"]\nkey = { files = [\"lock\"] }\n";
    bench.write("repo/depsfs.toml", toml);
    bench.write("repo/lock", "one\n");
    bench.commit("repo", "one");
    bench.write("repo/node_modules/x", "one\n");
    bench.ok("repo", ["create", "fix"]);
    bench.write("repo/lock", "two\n");
    bench.commit("repo", "two");
    bench.write("repo/made.json", "{}\n");
    bench.write("repo/env/.gitignore", "*\n");
    bench.write("repo/env/tool", "tool\n");
    bench.git("fix", ["rebase", "-q", "main"]);
    let done = foretold(&bench);
    let added: Vec<&str> = done["added"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(added.contains(&"made.json"), "{done}");
    assert_eq!(bench.read("fix/made.json"), "{}\n");
}

/// A dry run says the command's own words, and changes nothing.
#[track_caller]
fn foretells(bench: &Bench, at: &str, dry: &[&str], then: &[&str]) {
    let before = all_of(&bench.path(""));
    let mounts = bench.mounts();
    let said = bench.ok(at, dry);
    assert!(before == all_of(&bench.path("")) && mounts == bench.mounts(), "{dry:?} changed something");
    assert_eq!(said, format!("Dry run (no changes made):\n{}", bench.ok(at, then)), "{dry:?}");
}

#[test]
fn what_a_reset_a_thaw_an_unmount_and_a_remove_do_is_foretold() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.write("fix/node_modules/a/index.js", "mine\n");
    bench.write("fix/build/new", "new\n");
    foretells(&bench, "fix", &["reset", "--dry-run", "build"], &["reset", "--yes", "build"]);
    foretells(&bench, "fix", &["thaw", "--dry-run", "node_modules/a"], &["thaw", "node_modules/a"]);
    foretells(&bench, "fix", &["thaw", "--dry-run", "build"], &["thaw", "build"]);
    foretells(&bench, "fix", &["unmount", "--dry-run"], &["unmount"]);
    bench.ok("fix", ["mount"]);
    let remove = ["remove", "fix", "--delete-branch"];
    foretells(&bench, "repo", &["remove", "fix", "--delete-branch", "--dry-run"], &remove);
    assert!(!bench.is_there("fix") && bench.mounts().is_empty());
}

#[test]
fn a_dry_run_refuses_what_the_command_refuses() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.write("fix/notes", "mine\n");
    let table: [(&str, &[&str]); 3] = [
        ("repo", &["remove", "fix", "--dry-run"]),
        ("repo", &["remove", "nothing", "--dry-run"]),
        ("fix", &["thaw", "build/nothing", "--dry-run"]),
    ];
    for (at, dry) in table {
        let then: Vec<&str> = dry.iter().copied().filter(|word| *word != "--dry-run").collect();
        let before = all_of(&bench.path(""));
        let said = bench.depsfs(at, dry);
        assert!(said.code == 3 && before == all_of(&bench.path("")), "{said:?}");
        let done = bench.depsfs(at, then);
        assert_eq!((said.code, said.err), (done.code, done.err), "{dry:?}");
    }
    if crate::bench::is_root() {
        let _held = std::fs::File::open(bench.path("fix/build/out.o")).unwrap();
        // One of several views of a mount is thawed without unmounting it.
        let thaws = (bench.mounts_of(2) == 2).then_some(&["thaw", "build", "--dry-run"][..]);
        for dry in [&["unmount", "--dry-run"][..]].into_iter().chain(thaws) {
            let said = bench.depsfs("fix", dry);
            assert!(said.code == 3 && said.err.contains("in use"), "{said:?}");
        }
    } else {
        println!("skipped: views in use, because only root is told by the kernel");
    }
}
