//! Expectations of the worktrees of a monorepo, where no other file of these tests says it already: naming and dry
//! runs are in `create`, submodules in `submodules`, artifacts of a build cache in `place` and `cache`, gc in `gc`.

use std::fs;
use std::os::unix::fs::symlink;

use crate::bench::{Bench, run};

/// A repository of two packages, one linked into the other's `node_modules`.
fn workspace() -> Bench {
    let bench = Bench::new();
    bench.write("repo/packages/lib/index.js", "module.exports = 'lib'\n");
    bench.commit("repo", "a package");
    fs::create_dir_all(bench.path("repo/node_modules/@scope")).unwrap();
    symlink("../../packages/lib", bench.path("repo/node_modules/@scope/lib")).unwrap();
    bench
}

#[test]
fn relative_links_of_a_workspace_stay_as_they_are_and_lead_to_the_new_worktrees_own_package() {
    let bench = workspace();
    bench.ok("repo", ["create", "fix"]);
    let link = bench.path("fix/node_modules/@scope/lib");
    assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("../../packages/lib"));
    assert_eq!(fs::canonicalize(&link).unwrap(), bench.path("fix/packages/lib"));
    bench.write("fix/packages/lib/index.js", "module.exports = 'mine'\n");
    assert_eq!(bench.read("fix/node_modules/@scope/lib/index.js"), "module.exports = 'mine'\n");
    assert_eq!(bench.read("repo/node_modules/@scope/lib/index.js"), "module.exports = 'lib'\n");
}

#[test]
fn no_link_stands_for_an_artifact_and_every_real_path_lies_in_the_worktree() {
    let bench = workspace();
    bench.ok("repo", ["create", "fix"]);
    let links = run(bench.command("find", "fix").args([".", "-type", "l"])).out;
    assert_eq!(links, "./node_modules/@scope/lib\n", "those that the artifact has, and no other");
    for at in ["node_modules", "node_modules/a/b/deep.js", "build/out.o"] {
        assert_eq!(fs::canonicalize(bench.path("fix").join(at)).unwrap(), bench.path("fix").join(at));
    }
}

#[test]
fn thawed_files_are_private_and_the_store_and_other_worktrees_are_untouched() {
    let bench = workspace();
    for name in ["one", "two"] {
        bench.ok("repo", ["create", name]);
    }
    let objects =
        |bench: &Bench| run(bench.command("sh", "store").args(["-c", "find objects packs -type f | sort"])).out;
    let before = objects(&bench);
    bench.ok("one", ["thaw", "node_modules/a"]);
    bench.ok("one", ["thaw", "build"]);
    bench.write("one/node_modules/a/index.js", "mine\n");
    bench.write("one/build/out.o", "mine\n");
    for other in ["two", "repo"] {
        assert_eq!(bench.read(&format!("{other}/node_modules/a/index.js")), "module.exports = 1\n");
        assert_eq!(bench.read(&format!("{other}/build/out.o")), "object\n");
    }
    assert_eq!(objects(&bench), before);
    bench.assert_sound();
    bench.assert_clean("one");
}

#[test]
fn a_second_worktree_reads_nothing_again_and_stores_nothing_twice() {
    let bench = workspace();
    bench.ok("repo", ["create", "one"]);
    let kept = |bench: &Bench| {
        let list = "find objects packs trees -type f -printf '%i %T@ %p\\n' | sort";
        run(bench.command("sh", "store").args(["-c", list])).out
    };
    let before = kept(&bench);
    bench.ok("repo", ["create", "two"]);
    bench.ok("one", ["create", "three"]);
    assert_eq!(kept(&bench), before);
    for name in ["two", "three"] {
        assert_eq!(bench.read(&format!("{name}/node_modules/a/b/deep.js")), "module.exports = 2\n");
    }
}

#[test]
fn what_is_frozen_is_so_for_root_too() {
    let bench = workspace();
    for name in ["one", "two"] {
        bench.ok("repo", ["create", name]);
    }
    for script in ["echo mine >build/out.o", "chmod 777 build/lib.a", "rm build/lib.a", "truncate -s 1 build/out.o"] {
        assert_eq!(run(bench.command("sh", "one").args(["-c", script])).code, 0, "{script}");
    }
    assert_eq!((bench.read("two/build/out.o"), bench.read("two/build/lib.a")), ("object\n".into(), "library\n".into()));
    bench.assert_sound();
}
