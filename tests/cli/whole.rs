//! One view of a whole worktree: no edge of a mount between sources and artifacts.

use std::fs;
use std::path::Path;

use crate::bench::{Bench, json, metadata, run};

const DEEP: &str = "node_modules/a/1/2/3/4/5/6/7/8/9/10/f";

/// A repository of two packages with artifacts in each, and a worktree of it.
fn created() -> Bench {
    let bench = Bench::new();
    bench.write("repo/packages/a/src/index.ts", "export {}\n");
    bench.commit("repo", "packages");
    bench.write("repo/packages/a/build/index.js", "built\n");
    bench.write(&format!("repo/packages/a/{DEEP}"), "deep\n");
    bench.ok("repo", ["create", "fix", "--view", "worktree"]);
    bench
}

#[test]
fn a_worktree_is_one_mount_with_its_artifacts_in_it_and_clean_for_git() {
    let bench = created();
    assert_eq!(bench.mounts(), [bench.path("fix")]);
    bench.assert_clean("fix");
    assert_eq!(bench.read("fix/packages/a/build/index.js"), "built\n");
    assert_eq!(bench.read("fix/node_modules/a/b/deep.js"), "module.exports = 2\n");
    assert_eq!(bench.ok("fix", ["diff"]), "");
    let status = bench.status("fix/packages/a/build", &[]);
    let artifacts = ["build", "node_modules", "packages/a/build", "packages/a/node_modules"];
    assert!(artifacts.iter().all(|at| status.contains(&format!("[ok]      {at}\n"))), "{status}");
    assert_eq!(json(&bench.status("fix", &["--json"]))["shape"], "worktree");
    assert_eq!(bench.git("fix/packages/a/build", ["rev-parse", "--show-prefix"]), "packages/a/build/");
    bench.ok("repo", ["remove", "fix"]);
    assert!(bench.mounts().is_empty() && !bench.is_there("fix"));
    bench.assert_sound();
}

#[test]
fn an_artifact_directory_can_be_removed_renamed_and_linked_as_any_other() {
    let bench = created();
    let fix = |at: &str| bench.path("fix").join(at);
    // As Node's `fs.rm` and rimraf begin.
    assert_eq!(fs::remove_dir(fix("build")).unwrap_err().raw_os_error(), Some(libc::ENOTEMPTY));
    fs::remove_dir_all(fix("build")).unwrap();
    assert_eq!(bench.ok("fix", ["diff"]), "D build\n");
    fs::rename(fix("packages/a/build"), fix("packages/a/old")).unwrap();
    fs::hard_link(fix("packages/a/old/index.js"), fix("src/linked.js")).unwrap();
    fs::rename(fix("node_modules/a/index.js"), fix("src/moved.js")).unwrap();
    fs::rename(fix("src/main.c"), fix("packages/a/old/main.c")).unwrap();
    assert!(bench.depsfs("fix", ["status"]).out.contains("[MISSING] build (deleted; depsfs reset brings it back)\n"));
    let same = |bench: &Bench| {
        assert_eq!(bench.read("fix/packages/a/old/index.js"), "built\n");
        assert_eq!(bench.read("fix/src/linked.js"), "built\n");
        assert_eq!(bench.read("fix/src/moved.js"), "module.exports = 1\n");
        assert!(!bench.is_there("fix/packages/a/build") && !bench.is_there("fix/build"));
        assert!(bench.read("fix/packages/a/old/main.c").starts_with("int main"));
    };
    same(&bench);
    bench.ok("", ["unmount", "fix"]);
    assert!(bench.mounts().is_empty());
    assert!(!bench.is_there("fix/node_modules/a/b"), "the plain checkout is there");
    bench.ok("", ["mount", "fix"]);
    same(&bench);
    bench.ok("fix", ["reset", "--yes", "build"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    bench.ok("repo", ["remove", "fix", "--discard-changes", "--discard-untracked"]);
    bench.assert_sound();
}

#[test]
fn rm_of_a_directory_with_deep_artifacts_and_of_the_worktree_leaves_nothing() {
    let bench = created();
    let rm = |at: &str| {
        let said = run(bench.command("rm", "").args(["-rf", at]));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{at}");
        assert!(!bench.is_there(at), "{at}");
    };
    rm("fix/packages/a");
    rm("fix/packages");
    bench.git("fix", ["checkout", "-q", "."]);
    bench.assert_clean("fix");
    assert!(!bench.is_there("fix/packages/a/build"));
    bench.ok("fix", ["reset", "--yes", "packages/a/build"]);
    assert_eq!(bench.read("fix/packages/a/build/index.js"), "built\n");
    assert!(bench.is_there("fix/packages/a/src/index.ts"), "a reset is of the artifact alone");
    rm("fix");
    assert!(bench.mounts().is_empty());
    bench.git("repo", ["worktree", "prune"]);
    assert!(!Path::new(&bench.path("repo/.git/worktrees/fix")).exists());
    bench.ok("repo", ["create", "fix", "--view", "worktree"]);
    assert_eq!(bench.read(&format!("fix/packages/a/{DEEP}")), "deep\n");
    bench.ok("repo", ["remove", "fix"]);
    bench.assert_sound();
}

#[test]
fn a_worktree_changes_its_shape_with_everything_in_it() {
    let bench = created();
    bench.ok("repo", ["remove", "fix"]);
    bench.ok("repo", ["create", "fix", "--view", "directories"]);
    let fix = |at: &str| bench.path("fix").join(at);
    bench.write("fix/node_modules/a/index.js", "mine\n");
    bench.write("fix/node_modules/new/deep/f", "new\n");
    fs::rename(fix("node_modules/a/b"), fix("node_modules/c")).unwrap();
    fs::set_permissions(fix("build/lib.a"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::remove_file(fix("build/out.o")).unwrap();
    fs::remove_dir_all(fix("packages/a/build")).unwrap();
    let seen = || {
        let all = ["node_modules", "build", "packages/a/node_modules"].map(|at| metadata(&fix(at)));
        (all, bench.ok("fix", ["diff"]))
    };
    let before = seen();
    for (view, mounts) in [("worktree", 1), ("directories", 3), ("worktree", 1)] {
        bench.ok("", ["mount", "fix", "--view", view]);
        assert_eq!(bench.mounts().len(), mounts, "{view}");
        assert_eq!(seen(), before, "{view}");
        bench.assert_clean("fix");
    }
    // Over what would be an edge in the other shape.
    fs::rename(fix("node_modules/c"), fix("src/c")).unwrap();
    fs::rename(fix("build"), fix("build-2")).unwrap();
    fs::create_dir(fix("build")).unwrap();
    bench.write("fix/build/own", "own\n");
    bench.ok("", ["mount", "fix", "--view", "directories"]);
    assert_eq!(bench.read("fix/src/c/deep.js"), "module.exports = 2\n");
    assert_eq!(bench.read("fix/build-2/lib.a"), "library\n");
    assert_eq!(fs::read_dir(fix("build")).unwrap().count(), 1);
    assert_eq!(bench.read("fix/build/own"), "own\n");
    assert!(!bench.is_there("fix/node_modules/c") && !bench.is_there("fix/node_modules/a/b"));
    bench.ok("repo", ["remove", "fix", "--discard-untracked"]);
    bench.assert_sound();
}

#[test]
fn a_worktree_with_many_artifact_directories_is_one_view_unless_another_shape_is_asked_for() {
    let bench = Bench::new().with_the_default_view();
    for n in 0..17 {
        bench.write(&format!("repo/p/{n}/build/o"), "x");
    }
    let said = bench.ok("repo", ["create", "one"]);
    assert!(
        said.contains("  view:     the whole worktree is one mount, as it has 19 artifact directories\n"),
        "{said}"
    );
    assert_eq!(bench.mounts(), [bench.path("one")]);
    bench.assert_clean("one");
    assert_eq!(bench.ok("one", ["diff"]), "");
    bench.write("one/p/3/build/own", "x");
    fs::remove_dir_all(bench.path("one/p/4/build")).unwrap();
    assert_eq!(bench.ok("one", ["diff"]), "A p/3/build/own\nD p/4/build\n");
    bench.ok("repo", ["remove", "one"]);
    bench.ok("repo", ["create", "two", "--view", "directories"]);
    assert_eq!(bench.mounts().len(), 19);
    bench.ok("repo", ["remove", "two"]);
    bench.git("repo", ["config", "depsfs.exclude", "p/"]);
    let said = bench.ok("repo", ["create", "three"]);
    assert!(bench.mounts().len() == 2 && !said.contains("view: "), "{said}");
    bench.ok("repo", ["remove", "three"]);
}

/// Ways to delete the directory `at` of the working directory, with everything in it.
fn deletions(at: &str) -> Vec<Vec<String>> {
    let python = format!("import shutil; shutil.rmtree('{at}')");
    let sync = format!("fs.rmSync('{at}', {{recursive: true}})");
    let promise =
        format!("fs.promises.rm('{at}', {{recursive: true}}).catch(e => {{ console.error(e); process.exit(1) }})");
    let ways: [&[&str]; 6] = [
        &["rm", "-rf", at],
        &["find", at, "-delete"],
        &["python3", "-c", &python],
        &["node", "-e", &sync],
        &["node", "-e", &promise],
        &["git", "clean", "-ffdxq", at],
    ];
    ways.iter().map(|way| way.iter().map(|word| word.to_string()).collect()).collect()
}

#[test]
fn every_way_to_delete_deep_artifacts_their_packages_and_the_worktree_leaves_nothing_of_them() {
    let bench = created();
    let delete = |way: &[String], place: &str| run(bench.command(&way[0], place).args(&way[1..]));
    let ways = deletions("packages/a").into_iter().zip(deletions("packages")).zip(deletions("fix"));
    for ((package, all), worktree) in ways {
        let program = package[0].as_str();
        if run(bench.command("sh", "").args(["-c", &format!("command -v {program}")])).code != 0 {
            println!("skipped: {program}, because it is not installed");
            continue;
        }
        for (way, at) in [(&package, "fix/packages/a"), (&all, "fix/packages")] {
            let said = delete(way, "fix");
            assert_eq!((said.code, said.err.as_str()), (0, ""), "{way:?}");
            // git leaves what it tracks.
            let left = if program == "git" { "fix/packages/a/build" } else { at };
            assert!(!bench.is_there(left), "{way:?}");
            assert_eq!(bench.ok("fix", ["diff"]), "D packages/a/build\nD packages/a/node_modules\n", "{way:?}");
            bench.git("fix", ["checkout", "-q", "."]);
            bench.ok("fix", ["reset", "--yes", "packages/a/build"]);
        }
        match program {
            "git" => drop(bench.ok("repo", ["remove", "fix"])),
            // Node begins with an rmdir(2) of the worktree, which is a mount point: the kernel returns EBUSY before it
            // sends a request (vfs_rmdir, is_local_mountpoint), and Node gives up.
            "node" => {
                assert!(delete(&worktree, "").err.contains("EBUSY"), "{worktree:?}");
                bench.ok("repo", ["remove", "fix"]);
            }
            _ => {
                let said = delete(&worktree, "");
                assert_eq!((said.code, said.err.as_str()), (0, ""), "{worktree:?}");
                bench.git("repo", ["worktree", "prune"]);
            }
        }
        assert!(!bench.is_there("fix") && bench.mounts().is_empty(), "{worktree:?}");
        bench.ok("repo", ["create", "fix", "--view", "worktree"]);
    }
    bench.write("fix/packages/a/build/own", "own\n");
    for at in ["fix/packages/a", "fix/packages", "fix"] {
        fs::remove_dir_all(bench.path(at)).unwrap();
        assert!(!bench.is_there(at), "{at}");
    }
    assert!(bench.mounts().is_empty());
    bench.git("repo", ["worktree", "prune"]);
    bench.assert_sound();
}
