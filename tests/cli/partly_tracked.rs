//! A directory is one artifact although git tracks a file or two in it.

use std::fs;

use crate::bench::{Bench, json};

/// `node_modules` is ignored with two tracked files in it, `logs` by patterns for all but one file.
fn built(bench: Bench) -> Bench {
    bench.write("repo/.gitignore", "node_modules/\n/logs/*\n!/logs/.gitkeep\n");
    bench.write("repo/node_modules/.gitkeep", "");
    bench.write("repo/node_modules/patches/a.patch", "one\n");
    bench.write("repo/logs/.gitkeep", "");
    bench.git("repo", ["add", "-f", "node_modules", "logs"]);
    bench.commit("repo", "one");
    for n in 0..20 {
        bench.write(&format!("repo/node_modules/p{n}/index.js"), &format!("{n}\n"));
    }
    bench.write("repo/logs/out.log", "built\n");
    bench
}

fn benches() -> [Bench; 2] {
    let empty = || Bench::empty(None);
    [built(empty().with_mounts_of_directories()), built(empty().with_mounts_of_worktrees())]
}

/// The paths of the worktree's views.
fn views(bench: &Bench, at: &str) -> Vec<String> {
    let status = json(&bench.ok(at, ["status", "--json"]));
    status["views"].as_array().unwrap().iter().map(|view| view["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_directory_is_one_view_although_git_tracks_a_file_or_two_in_it() {
    for bench in benches() {
        bench.ok("repo", ["create", "x/fix"]);
        assert_eq!(views(&bench, "fix"), ["logs", "node_modules"]);
        assert_eq!(bench.mounts().len(), bench.mounts_of(2));
        assert_eq!(bench.read("fix/node_modules/p7/index.js"), "7\n");
        assert_eq!(
            (bench.read("fix/node_modules/patches/a.patch"), bench.read("fix/logs/out.log")),
            ("one\n".into(), "built\n".into())
        );
        bench.assert_clean("fix");
        assert_eq!(bench.ok("fix", ["diff"]), "");
        // The store has nothing of the tracked files.
        bench.ok("", ["unmount", "fix"]);
        fs::remove_file(bench.path("fix/node_modules/.gitkeep")).unwrap();
        bench.ok("", ["mount", "fix"]);
        assert!(!bench.is_there("fix/node_modules/.gitkeep") && bench.is_there("fix/node_modules/p0"));
        assert_eq!(bench.git("fix", ["status", "--porcelain"]), " D node_modules/.gitkeep");
        bench.git("fix", ["checkout", "-q", "."]);
        bench.ok("repo", ["remove", "fix"]);
        bench.assert_sound();
    }
}

#[test]
fn a_reset_and_a_diff_pass_over_the_tracked_files_of_an_artifact() {
    for (bench, args) in benches()
        .into_iter()
        .zip([&["create", "x/fix"][..]; 2])
        .chain([(built(Bench::empty(None)), &["create", "x/fix", "--copy"][..])])
    {
        bench.ok("repo", args);
        bench.write("fix/node_modules/patches/a.patch", "mine\n");
        bench.write("fix/node_modules/p1/index.js", "mine\n");
        bench.write("fix/node_modules/new/x.js", "new\n");
        bench.write("fix/logs/seen.txt", "own\n");
        fs::remove_dir_all(bench.path("fix/node_modules/p2")).unwrap();
        let expected = "A logs/seen.txt\nA node_modules/new\nA node_modules/new/x.js\nM node_modules/p1/index.js\nD node_modules/p2\n";
        assert_eq!(bench.ok("fix", ["diff"]), expected, "{args:?}");
        let refused = bench.depsfs("fix", ["reset", "--yes", "node_modules/patches/a.patch"]);
        assert!(args.contains(&"--copy") || refused.err.contains("git restore"), "{refused:?}");
        bench.ok("fix", ["reset", "--yes", "node_modules"]);
        assert_eq!(bench.ok("fix", ["diff"]), "A logs/seen.txt\n", "{args:?}");
        assert_eq!(bench.read("fix/node_modules/patches/a.patch"), "mine\n");
        assert_eq!(bench.read("fix/node_modules/p2/index.js"), "2\n");
        assert_eq!(bench.git("fix", ["status", "--porcelain"]), " M node_modules/patches/a.patch");
        bench.git("fix", ["checkout", "-q", "."]);
        bench.ok("repo", ["remove", "fix"]);
        bench.assert_sound();
    }
}

#[test]
fn a_branch_that_changes_or_removes_the_tracked_files_is_checked_out_through_the_view() {
    for bench in benches() {
        bench.git("repo", ["checkout", "-q", "-b", "other"]);
        bench.git("repo", ["rm", "-q", "node_modules/.gitkeep", "logs/.gitkeep"]);
        bench.write("repo/node_modules/patches/a.patch", "two\n");
        bench.write("repo/node_modules/p3/index.js", "tracked\n");
        bench.git("repo", ["add", "-f", "node_modules/patches", "node_modules/p3"]);
        bench.commit("repo", "two");
        bench.git("repo", ["checkout", "-q", "main"]);
        bench.write("repo/node_modules/p3/index.js", "3\n");
        bench.ok("repo", ["create", "x/fix"]);
        fs::remove_file(bench.path("fix/node_modules/p3/index.js")).unwrap();
        bench.git("fix", ["checkout", "-q", "other"]);
        bench.assert_clean("fix");
        assert_eq!(bench.read("fix/node_modules/patches/a.patch"), "two\n");
        assert!(!bench.is_there("fix/node_modules/.gitkeep") && bench.is_there("fix/logs/out.log"));
        assert_eq!(
            (bench.read("fix/node_modules/p3/index.js"), bench.ok("fix", ["diff"])),
            ("tracked\n".into(), String::new())
        );
        bench.git("fix", ["checkout", "-q", "x/fix"]);
        bench.assert_clean("fix");
        assert_eq!(bench.read("fix/node_modules/patches/a.patch"), "one\n");
        // A worktree that starts there.
        bench.ok("repo", ["create", "x/two", "other"]);
        bench.assert_clean("two");
        assert_eq!(views(&bench, "two"), ["logs", "node_modules"]);
        assert_eq!(
            (bench.read("two/node_modules/p3/index.js"), bench.ok("two", ["diff"])),
            ("tracked\n".into(), String::new())
        );
        bench.git("fix", ["clean", "-fdxq"]);
        bench.assert_clean("fix");
        assert!(bench.is_there("fix/node_modules/patches/a.patch") && !bench.is_there("fix/node_modules/p1"));
        bench.ok("fix", ["reset", "--yes", "node_modules"]);
        assert_eq!(bench.read("fix/node_modules/p1/index.js"), "1\n");
        for name in ["fix", "two"] {
            bench.ok("repo", ["remove", name]);
        }
        bench.assert_sound();
    }
}

#[test]
fn sync_adopt_thaw_and_a_worktree_of_a_worktree_leave_the_tracked_files_to_the_checkout() {
    for bench in benches() {
        bench.git("repo", ["worktree", "add", "-q", "-b", "there", "../there"]);
        bench.ok("there", ["adopt"]);
        assert_eq!(views(&bench, "there"), ["logs", "node_modules"]);
        bench.write("repo/node_modules/p20/index.js", "20\n");
        bench.write("repo/node_modules/patches/a.patch", "the source's\n");
        bench.ok("there", ["sync"]);
        assert_eq!(bench.read("there/node_modules/p20/index.js"), "20\n");
        assert_eq!(bench.read("there/node_modules/patches/a.patch"), "one\n");
        bench.assert_clean("there");
        bench.ok("there", ["create", "x/second"]);
        assert_eq!(views(&bench, "second"), ["logs", "node_modules"]);
        bench.assert_clean("second");
        bench.ok("second", ["thaw", "node_modules"]);
        assert_eq!(views(&bench, "second"), ["logs"]);
        assert_eq!(bench.read("second/node_modules/p20/index.js"), "20\n");
        bench.assert_clean("second");
        for name in ["second", "there"] {
            bench.ok("repo", ["remove", name]);
        }
        bench.assert_sound();
    }
}

#[test]
fn a_directory_with_sources_an_exclusion_or_many_tracked_files_stays_in_its_parts() {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "dist/\n/many/\n/out/\n");
    bench.write("repo/app/main.c", "int main;\n");
    (0..20).for_each(|n| bench.write(&format!("repo/many/{n}.c"), "tracked\n"));
    bench.write("repo/out/.gitkeep", "");
    bench.git("repo", ["add", "-f", "many", "out"]);
    bench.commit("repo", "one");
    for at in ["app/dist/a", "many/dist/b", "out/kept/c", "out/large/d"] {
        bench.write(&format!("repo/{at}"), "built\n");
    }
    bench.git("repo", ["config", "depsfs.exclude", "out/large"]);
    bench.ok("repo", ["create", "x/fix"]);
    assert_eq!(views(&bench, "fix"), ["app/dist", "many/dist", "out/kept"]);
    bench.assert_clean("fix");
    bench.ok("repo", ["remove", "fix"]);
}

/// The members that `cache get` puts in place show in one view, too, in which the tracked files are the worktree's own.
#[test]
fn an_artifact_of_the_cache_is_one_view_although_git_tracks_a_file_or_two_in_its_place() {
    use crate::bench::{PROGRAM, run};
    const NAME: &str = "all-0123456789abcdef.tar.gz";
    let bench = built(Bench::empty(None).with_mounts_of_directories());
    let local = bench.path("local");
    fs::create_dir_all(&local).unwrap();
    let cache = |at: &str, args: &[&str]| {
        let said =
            run(bench.command(PROGRAM, at).arg("cache").args(args).env("CACHE_LOCAL_DIR", &local).env("CI", "0"));
        assert_eq!(said.code, 0, "{said:?}");
        said
    };
    std::os::unix::fs::symlink("a.patch", bench.path("repo/node_modules/patches/link")).unwrap();
    bench.git("repo", ["add", "-f", "node_modules/patches/link"]);
    bench.commit("repo", "a tracked symlink");
    bench.write("repo/node_modules/patches/a.patch", "of the archive\n");
    cache("repo", &["put", NAME, "node_modules", "logs"]);
    bench.git("repo", ["checkout", "-q", "."]);
    bench.ok("repo", ["publish", "node_modules", "logs", "--name", "published"]);
    for (name, artifact) in [("archive", NAME), ("entry", "published")] {
        bench.git("repo", ["worktree", "add", "-q", &format!("../{name}")]);
        let said = cache(name, &["get", artifact]);
        // A tracked file stays, and is named if the artifact has another.
        let is_other = said.err.contains("Local override: node_modules/patches/a.patch stays as it is.");
        assert_eq!(
            (is_other, said.err.matches("override").count()),
            (name == "archive", usize::from(is_other)),
            "{said:?}"
        );
        assert_eq!(views(&bench, name), ["logs", "node_modules"]);
        assert_eq!(bench.read(&format!("{name}/node_modules/patches/a.patch")), "one\n");
        assert_eq!(bench.read(&format!("{name}/node_modules/p7/index.js")), "7\n");
        assert_eq!(bench.read(&format!("{name}/logs/out.log")), "built\n");
        bench.assert_clean(name);
        assert_eq!(bench.ok(name, ["diff"]), "");
        // Members that git does not ignore stay outside of views.
        bench.ok(name, ["unmount"]);
        assert_eq!(bench.git(name, ["status", "--porcelain"]), "");
    }
    bench.write("repo/logs/kept/.gitkeep", "");
    bench.write("repo/.gitignore", "node_modules/\n/logs/*\n!/logs/.gitkeep\n!/logs/kept/\n");
    bench.write("repo/logs/kept/seen", "seen\n");
    cache("repo", &["put", "kept-0123456789abcdef.tar.gz", "logs"]);
    bench.git("repo", ["worktree", "add", "-q", "../kept"]);
    bench.write("kept/.gitignore", "node_modules/\n/logs/*\n!/logs/.gitkeep\n!/logs/kept/\n");
    cache("kept", &["get", "kept-0123456789abcdef.tar.gz"]);
    assert_eq!(bench.mounts(), Vec::<String>::new(), "a member that git does not ignore is the checkout's");
    assert_eq!(bench.read("kept/logs/kept/seen"), "seen\n");
    bench.assert_sound();
}
