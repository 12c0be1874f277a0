//! A worktree made by depsfs as the source of the next, and sources git lays out unusually.

use super::overview::without_age;
use crate::bench::{Bench, json};

fn files_below(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    entries.map(|e| if e.file_type().unwrap().is_dir() { files_below(&e.path()) } else { 1 }).sum()
}

#[test]
fn a_clean_worktree_shares_its_trees_and_a_changed_one_its_changes() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one"]);
    let stored = || (files_below(&bench.path("store/objects")), files_below(&bench.path("store/trees")));
    let first = stored();
    bench.ok("one", ["create", "two"]);
    assert_eq!(stored(), first, "a clean worktree brings nothing new");
    assert_eq!(bench.read("two/node_modules/a/index.js"), "module.exports = 1\n");
    assert_eq!(bench.read("two/.env"), "SECRET=1\n");
    bench.write("two/build/out.o", "rebuilt\n");
    std::fs::remove_file(bench.path("two/node_modules/a/index.js")).unwrap();
    bench.ok("two", ["create", "three"]);
    assert_eq!(stored(), (first.0 + 1, first.1 + 2), "one file was written, two views differ");
    assert_eq!(bench.read("three/build/out.o"), "rebuilt\n");
    assert!(!bench.is_there("three/node_modules/a/index.js"));
    assert_eq!(bench.ok("three", ["diff"]), "");
    assert_eq!(bench.read("one/build/out.o"), "object\n");
    bench.ok("two", ["unmount"]);
    let again = bench.depsfs("two", ["create", "four"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.err.contains("mounted the views of the source"), "{again:?}");
    assert_eq!(bench.read("four/build/out.o"), "rebuilt\n");
    bench.assert_sound();
}

#[test]
fn a_worktree_of_a_bare_repository_is_a_source_as_any() {
    let bench = Bench::new();
    bench.git("", ["clone", "-q", "--bare", "repo", "bare.git"]);
    bench.git("bare.git", ["worktree", "add", "-q", "../main", "main"]);
    bench.write("main/build/out.o", "object\n");
    let dry = bench.ok("main", ["create", "fix", "--dry-run"]);
    assert!(dry.contains(&format!("  path:     {}\n", bench.path("fix").display())), "{dry}");
    bench.ok("main", ["create", "fix"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    bench.assert_clean("fix");
    bench.ok("fix/build", ["create", "second"]);
    assert_eq!(bench.ok("main", ["list"]).lines().count(), 5, "the headings, main, fix, second, saved");
    assert_eq!(without_age(&bench.status("bare.git", &[])), without_age(&bench.ok("main", ["list"])));
    assert_eq!(bench.read("second/build/out.o"), "object\n");
    let refused = bench.depsfs("bare.git", ["create", "third"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    bench.ok("main", ["remove", "second", "--delete-branch"]);
    bench.ok("main", ["remove", "../fix", "--delete-branch"]);
    assert_eq!(bench.git("bare.git", ["branch", "--format=%(refname:short)"]), "main");
    assert_eq!(bench.git("bare.git", ["worktree", "list"]).lines().count(), 2);
    assert!(bench.mounts().is_empty());
}

#[test]
fn a_worktree_inside_an_ignored_directory_is_not_shared() {
    let bench = Bench::new();
    bench.git("repo", ["worktree", "add", "-q", "-b", "inner", "build-trees/inner"]);
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    assert!(!bench.is_there("fix/build-trees"));
}

#[test]
fn repositories_that_libraries_cannot_read_work_too() {
    for args in [&["--object-format=sha256"][..], &["--ref-format=reftable"]] {
        let bench = Bench::empty(None);
        std::fs::remove_dir_all(bench.path("repo")).unwrap();
        let init = ["init", "-q", "-b", "main", "repo"].iter().chain(args);
        let made = crate::bench::run(bench.command("git", "").args(init));
        if made.code != 0 {
            println!("skipped: this git does not know {args:?}");
            continue;
        }
        bench.git("repo", ["config", "worktree.useRelativePaths", "true"]);
        bench.write("repo/.gitignore", "build/\n");
        bench.write("repo/file", "text\n");
        bench.commit("repo", "one");
        bench.write("repo/build/out.o", "object\n");
        bench.ok("repo", ["create", "fix"]);
        assert_eq!(bench.read("fix/build/out.o"), "object\n");
        bench.assert_clean("fix");
        let modified = |at: &str| bench.path(at).metadata().unwrap().modified().unwrap();
        assert_eq!(modified("fix/file"), modified("repo/file"));
        assert!(bench.ok("repo", ["list"]).contains("al/fix"));
        bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    }
}

#[test]
fn variables_of_another_repository_do_not_lead_astray() {
    let bench = Bench::new();
    bench.git("", ["init", "-q", "elsewhere"]);
    let mut command = bench.command(crate::bench::PROGRAM, "repo");
    command.env("GIT_DIR", bench.path("elsewhere/.git")).env("GIT_WORK_TREE", bench.path("elsewhere"));
    let said = crate::bench::run(command.env("GIT_INDEX_FILE", "/nowhere").args(["create", "fix"]));
    assert_eq!(said.code, 0, "{said:?}");
    bench.assert_clean("fix");
    assert!(!bench.is_there("elsewhere/.git/worktrees"));
}

#[test]
fn of_a_changed_view_a_create_asks_for_what_was_changed_and_not_for_each_file() {
    let bench = Bench::new();
    for n in 0..600 {
        bench.write(&format!("repo/node_modules/p{}/src/{n}.js", n % 30), &format!("module.exports = {n}\n"));
    }
    bench.ok("repo", ["create", "one"]);
    let server = json(&bench.status("one", &["--json"]))["daemon"]["server_pid"].clone();
    // Each request is one read of the server's (proc_pid_io(5)).
    let requests = || -> u64 {
        let said = std::fs::read_to_string(format!("/proc/{server}/io")).unwrap();
        said.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap().parse().unwrap()
    };
    let asked_for = |name: &str| {
        let before = requests();
        bench.ok("one", ["create", name]);
        requests() - before
    };
    // Requests that the kernel has to send once.
    asked_for("first");
    let clean = asked_for("of-clean");
    bench.write("one/node_modules/p7/src/7.js", "module.exports = 'mine'\n");
    bench.write("one/node_modules/x", "mine\n");
    std::fs::remove_file(bench.path("one/node_modules/p8/src/8.js")).unwrap();
    std::fs::rename(bench.path("one/node_modules/p9"), bench.path("one/node_modules/moved")).unwrap();
    let changed = asked_for("of-changed");
    assert!(changed < clean + 150, "{changed} requests, and {clean} while nothing was changed");
    assert_eq!(bench.read("of-changed/node_modules/p7/src/7.js"), "module.exports = 'mine'\n");
    assert_eq!(bench.read("of-changed/node_modules/x"), "mine\n");
    assert!(!bench.is_there("of-changed/node_modules/p8/src/8.js") && !bench.is_there("of-changed/node_modules/p9"));
    assert_eq!(bench.read("of-changed/node_modules/moved/src/9.js"), "module.exports = 9\n");
    assert_eq!(files_below(&bench.path("of-changed/node_modules")), 602);
    assert_eq!(bench.ok("of-changed", ["diff"]), "");
    bench.assert_sound();
}
