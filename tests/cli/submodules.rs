//! Submodules of the source are initialised in the new worktree, offline, with their own artifacts.

use crate::bench::Bench;

/// `repo` with submodules `sub` (which holds `inner`) and `lazy`; the last isn't initialised in the source.
fn bench() -> Bench {
    let bench = Bench::new();
    for name in ["inner", "sub", "lazy"] {
        bench.git("", ["init", "-q", "-b", "main", &format!("up-{name}")]);
        bench.write(&format!("up-{name}/file"), name);
        bench.write(&format!("up-{name}/.gitignore"), "target/\n");
        if name == "sub" {
            let url = bench.path("up-inner");
            bench.git("up-sub", ["submodule", "-q", "add", url.to_str().unwrap(), "inner"]);
        }
        bench.commit(&format!("up-{name}"), "one");
    }
    for name in ["sub", "lazy"] {
        let url = bench.path(&format!("up-{name}"));
        bench.git("repo", ["submodule", "-q", "add", url.to_str().unwrap(), &format!("libs/{name}")]);
    }
    bench.commit("repo", "submodules");
    bench.git("repo", ["submodule", "-q", "update", "--init", "--recursive"]);
    bench.git("repo", ["submodule", "-q", "deinit", "-f", "libs/lazy"]);
    bench.write("repo/libs/sub/target/out", "of the submodule\n");
    bench.write("repo/libs/sub/inner/target/out", "of the inner one\n");
    bench
}

#[test]
fn initialised_submodules_come_along_offline_and_others_stay_as_they_are() {
    let bench = bench();
    for name in ["inner", "sub", "lazy"] {
        std::fs::rename(bench.path(&format!("up-{name}")), bench.path(&format!("gone-{name}"))).unwrap();
    }
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.read("fix/libs/sub/file"), "sub");
    assert_eq!(bench.read("fix/libs/sub/inner/file"), "inner");
    assert!(!bench.is_there("fix/libs/lazy/file"));
    assert_eq!(bench.read("fix/libs/sub/target/out"), "of the submodule\n");
    assert_eq!(bench.read("fix/libs/sub/inner/target/out"), "of the inner one\n");
    bench.assert_clean("fix");
    bench.assert_clean("fix/libs/sub");
    for (at, name) in [("fix/libs/sub", "sub"), ("fix/libs/sub/inner", "inner")] {
        let url = bench.git(at, ["config", "remote.origin.url"]);
        assert_eq!(url, bench.path(&format!("up-{name}")).to_str().unwrap());
        assert_eq!(bench.git(at, ["rev-parse", "origin/main"]), bench.git(at, ["rev-parse", "HEAD"]));
    }
    bench.git("repo", ["fsck"]);
    // From inside a submodule, the worktree and the project around it are meant.
    bench.write("fix/libs/sub/target/out", "mine\n");
    assert_eq!(bench.ok("fix/libs/sub", ["diff"]), "M libs/sub/target/out\n");
    assert!(
        bench
            .ok("fix/libs/sub/inner", ["create", "--dry-run", "x"])
            .contains(&format!("source:   {}\n", bench.path("fix").display()))
    );
    let old = bench.path("repo/libs/sub/file").metadata().unwrap().modified().unwrap();
    assert_eq!(bench.path("fix/libs/sub/file").metadata().unwrap().modified().unwrap(), old);
    bench.ok("repo", ["remove", "fix"]);
    assert_eq!(bench.read("repo/libs/sub/inner/file"), "inner");
    bench.git("repo/libs/sub", ["fsck"]);
}

#[test]
fn a_commit_that_only_the_submodule_of_the_worktree_has_is_not_lost() {
    let bench = bench();
    bench.ok("repo", ["create", "fix"]);
    bench.git("fix/libs/sub", ["checkout", "-q", "-b", "work"]);
    bench.write("fix/libs/sub/file", "work");
    bench.commit("fix/libs/sub", "work");
    bench.git("fix", ["add", "libs/sub"]);
    bench.git("fix", ["commit", "-q", "-m", "bump"]);
    let said = bench.depsfs("repo", ["remove", "fix"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("submodule libs/sub") && said.err.contains("--discard-commits"), "{said:?}");
    bench.git("fix/libs/sub", ["push", "-q", "origin", "work"]);
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn adopt_initialises_submodules_that_are_not_and_leaves_alone_those_that_are() {
    let bench = bench();
    bench.git("repo", ["worktree", "add", "-q", "-b", "new", "../new"]);
    bench.ok("new", ["adopt"]);
    assert_eq!(bench.read("new/libs/sub/inner/target/out"), "of the inner one\n");
    assert_eq!(bench.read("new/libs/sub/target/out"), "of the submodule\n");
    assert!(!bench.is_there("new/libs/lazy/file"));
    bench.assert_clean("new");

    bench.git("repo", ["worktree", "add", "-q", "-b", "old", "../old"]);
    bench.git("old", ["submodule", "-q", "update", "--init", "libs/sub"]);
    bench.write("old/libs/sub/file", "my work\n");
    bench.commit("old/libs/sub", "work");
    bench.write("old/libs/sub/target/mine", "mine\n");
    bench.write("old/libs/lazy/mine", "in a submodule that is not initialised\n");
    let (head, status) =
        (bench.git("old/libs/sub", ["rev-parse", "HEAD"]), bench.git("old", ["status", "--porcelain"]));
    bench.ok("old", ["adopt"]);
    assert_eq!(bench.git("old/libs/sub", ["rev-parse", "HEAD"]), head);
    assert_eq!(bench.git("old", ["status", "--porcelain"]), status);
    assert_eq!(bench.read("old/libs/sub/file"), "my work\n");
    let both = ["old/libs/sub/target/mine", "old/libs/sub/target/out"].map(|at| bench.read(at));
    assert_eq!(both, ["mine\n", "of the submodule\n"]);
    assert_eq!(bench.read("old/libs/sub/inner/target/out"), "of the inner one\n");
    assert_eq!(bench.read("old/libs/lazy/mine"), "in a submodule that is not initialised\n");
}
