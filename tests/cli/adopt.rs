//! `depsfs adopt`: a worktree that plain git made, clean or worked in, gets its views; what was in it stays.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::bench::{Bench, PROGRAM, json, metadata, run};

/// A repository with a plain linked worktree `plain`.
fn added() -> Bench {
    let bench = Bench::new();
    bench.git("repo", ["worktree", "add", "-q", "-b", "work", "../plain"]);
    bench
}

fn mtime(bench: &Bench, at: &str) -> (i64, i64) {
    let m = bench.path(at).symlink_metadata().unwrap();
    (m.mtime(), m.mtime_nsec())
}

#[test]
fn a_worktree_that_git_made_has_what_create_gives() {
    let bench = added();
    bench.write("repo/src/deep/x.log", "log\n");
    let said = bench.ok("plain/src", ["adopt"]);
    assert!(said.starts_with(&format!("adopted {}\n  branch:   work at ", bench.path("plain").display())), "{said}");
    assert!(said.contains("2 views, 4 files") && said.contains("copied:   2 ignored files"), "{said}");
    for at in ["node_modules", "build"] {
        assert_eq!(metadata(&bench.path("plain").join(at)), metadata(&bench.path("repo").join(at)));
    }
    assert_eq!(bench.read("plain/.env"), "SECRET=1\n");
    assert_eq!(bench.read("plain/src/deep/x.log"), "log\n");
    assert_eq!(mtime(&bench, "plain/src/main.c"), mtime(&bench, "repo/src/main.c"));
    bench.assert_clean("plain");
    assert_eq!(bench.git("plain", ["diff-files", "--name-only"]), "");
    let status = json(&bench.status("plain", &["--json"]));
    assert_eq!(status["source"], bench.path("repo").to_str().unwrap());
    assert_eq!(status["commit"], bench.git("plain", ["rev-parse", "HEAD"]).as_str());
    let list = bench.ok("repo", ["list"]);
    assert!(list.lines().any(|line| line.contains("work") && line.contains("2/2")), "{list}");
    let locked = bench.command("git", "repo").args(["worktree", "remove", "../plain"]).output().unwrap();
    assert!(!locked.status.success(), "git's lock keeps it");
    bench.ok("", ["gc", "--keep-days", "0"]);
    bench.write("plain/build/out.o", "mine\n");
    assert_eq!(bench.read("repo/build/out.o"), "object\n");
    bench.ok("repo", ["remove", "plain"]);
    assert!(!bench.is_there("plain") && bench.mounts().is_empty());
    bench.assert_sound();
}

#[test]
fn what_the_worktree_has_stays_on_top_and_is_named() {
    let bench = added();
    bench.write("plain/build/out.o", "my object\n");
    bench.write("plain/build/sub/mine", "mine\n");
    bench.write("plain/.env", "MINE=1\n");
    bench.write("plain/README.md", "my words\n");
    bench.write("plain/untracked", "u\n");
    std::fs::create_dir(bench.path("plain/node_modules")).unwrap();
    let before = (bench.git("plain", ["status", "--porcelain"]), mtime(&bench, "plain/README.md"));
    let said = bench.ok("", ["adopt", "plain"]);
    assert!(said.contains("kept:     build: 2 files of its own on top"), "{said}");
    assert!(!said.contains("kept:     node_modules") && !said.contains("copied:"), "{said}");
    for (at, text) in [
        ("plain/build/out.o", "my object\n"),
        ("plain/build/sub/mine", "mine\n"),
        ("plain/build/lib.a", "library\n"),
        ("plain/.env", "MINE=1\n"),
        ("plain/README.md", "my words\n"),
        ("plain/node_modules/a/index.js", "module.exports = 1\n"),
    ] {
        assert_eq!(bench.read(at), text);
    }
    assert_eq!((bench.git("plain", ["status", "--porcelain"]), mtime(&bench, "plain/README.md")), before);
    assert_eq!(bench.ok("plain", ["diff"]), "M build/out.o\nA build/sub\nA build/sub/mine\n");
    bench.ok("plain", ["unmount"]);
    assert_eq!(bench.read("plain/build/out.o"), "my object\n");
}

#[test]
fn adopting_again_is_harmless_and_mounts_what_is_not() {
    let bench = added();
    bench.ok("plain", ["adopt"]);
    bench.write("plain/build/out.o", "mine\n");
    std::fs::remove_file(bench.path("plain/build/lib.a")).unwrap();
    for _ in 0..2 {
        assert!(bench.ok("", ["adopt", "plain"]).ends_with("has its views already\n"));
        assert_eq!(bench.mounts().len(), bench.mounts_of(2));
        assert_eq!(bench.ok("plain", ["diff"]), "D build/lib.a\nM build/out.o\n");
        bench.ok("plain", ["unmount"]);
    }
    let source = bench.path("repo");
    bench.ok("plain", ["adopt", "--source", source.to_str().unwrap()]);
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.ok("repo", ["create", "other"]);
    let refused = bench.depsfs("plain", ["adopt", "--source", "../other"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("has views already"), "{refused:?}");
    assert!(bench.ok("", ["adopt", "other"]).contains("already"), "create has given it its views");
}

#[test]
fn four_adopts_at_once_give_one_set_of_views() {
    let bench = added();
    let start = |_| {
        let mut command = bench.command(PROGRAM, "plain");
        command.arg("adopt").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let done: Vec<_> = (0..4).map(start).collect::<Vec<_>>();
    let done: Vec<_> = done.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(done.iter().all(|d| d.status.success()), "{done:?}");
    let new = done.iter().filter(|d| d.stdout.starts_with(b"adopted "));
    assert_eq!(new.count(), 1, "{done:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.assert_clean("plain");
}

#[test]
fn another_worktree_can_be_the_source_and_a_later_build_of_an_unbuilt_one_is_taken() {
    let bench = added();
    bench.ok("repo", ["create", "first"]);
    bench.write("first/build/out.o", "of the first\n");
    bench.ok("", ["adopt", "plain", "--source", "first"]);
    assert_eq!(bench.read("plain/build/out.o"), "of the first\n");
    assert_eq!(bench.read("plain/build/lib.a"), "library\n");

    let bench = added();
    for gone in ["node_modules", "build"] {
        std::fs::remove_dir_all(bench.path("repo").join(gone)).unwrap();
    }
    let refused = bench.depsfs("plain", ["adopt"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(!bench.is_there("plain/.env") && !bench.is_there("repo/.git/worktrees/plain/depsfs"));
    bench.ok("plain", ["adopt", "--allow-unbuilt"]);
    assert_eq!(bench.read("plain/.env"), "SECRET=1\n");
    bench.write("repo/build/out.o", "late\n");
    bench.ok("plain", ["adopt"]);
    assert_eq!(bench.read("plain/build/out.o"), "late\n");
}

#[test]
fn what_is_no_worktree_of_the_source_is_refused_and_nothing_changes() {
    let bench = added();
    bench.git("", ["clone", "-q", "repo", "clone"]);
    bench.git("", ["clone", "-q", "--bare", "repo", "bare.git"]);
    bench.git("bare.git", ["worktree", "add", "-q", "../of-bare", "main"]);
    std::fs::create_dir(bench.path("nowhere")).unwrap();
    let table: [(&[&str], &str); 7] = [
        (&["adopt", "repo"], "is the source itself"),
        (&["adopt", "plain", "--source", "plain"], "is the source itself"),
        (&["adopt", "repo", "--source", "plain"], "is the main checkout"),
        (&["adopt", "plain", "--source", "clone"], "are not of one repository"),
        (&["adopt", "nowhere"], "is in no git checkout"),
        (&["adopt", "plain", "--source", "nowhere"], "is in no git checkout"),
        (&["adopt", "of-bare"], "has no main worktree"),
    ];
    for (args, why) in table {
        let refused = bench.depsfs("", args);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(refused.err.contains(why) && refused.err.contains("was not adopted"), "{refused:?}");
    }
    assert!(bench.mounts().is_empty() && !bench.is_there("store") && !bench.is_there("plain/.env"));
}

#[test]
fn links_files_and_clones_in_the_place_of_an_artifact_are_left_alone() {
    let bench = added().with_mounts_of_directories();
    bench.write("repo/build-tool/x", "x\n");
    bench.write("repo/build-3/x", "x\n");
    bench.write("repo/away/build/x", "x\n");
    symlink(bench.path("repo/node_modules"), bench.path("plain/node_modules")).unwrap();
    bench.write("plain/build", "a file of this name\n");
    bench.git("", ["init", "-q", "plain/build-tool"]);
    std::fs::create_dir(bench.path("elsewhere")).unwrap();
    symlink(bench.path("elsewhere"), bench.path("plain/away")).unwrap();
    let said = bench.ok("plain", ["adopt"]);
    for line in [
        "left out: node_modules: a symlink is there",
        "left out: build: a file is there",
        "left out: build-tool: a repository of its own is there",
        "left out: away/build: a symlink is above it",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(bench.mounts(), [bench.path("plain/build-3").to_str().unwrap()]);
    assert_eq!(std::fs::read_dir(bench.path("elsewhere")).unwrap().count(), 0);
    assert_eq!(bench.read("plain/build"), "a file of this name\n");
}

/// Everything in the worktree and its git directory, but for times.
fn all_of(bench: &Bench) -> Vec<String> {
    let names = |at: &str| metadata(&bench.path(at)).into_iter().map(|l| l.split(' ').next().unwrap().to_owned());
    names("plain").chain(names("repo/.git/worktrees/plain")).collect()
}

#[test]
fn a_failed_adopt_takes_back_what_it_made_and_nothing_else() {
    // root writes everywhere, so an ordinary user it is.
    let bench = Bench::empty(Some(65534));
    if std::fs::metadata(bench.path("")).unwrap().uid() != 65534 {
        println!("skipped: not root, and not uid 65534");
        return;
    }
    bench.write("repo/.gitignore", "build*/\n*.log\n");
    bench.commit("repo", "one");
    bench.git("repo", ["worktree", "add", "-q", "-b", "work", "../plain"]);
    bench.write("repo/deep/er/build/out", "o\n");
    bench.write("repo/deep/er/x.log", "log\n");
    bench.write("repo/build/out", "o\n");
    bench.write("plain/build/mine", "mine\n");
    bench.write("other/f", "of the store\n");
    bench.ok("", ["store", "add", "other", "--name", "other"]);
    let mode = |mode| std::fs::set_permissions(bench.path("store/tmp"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    let before = all_of(&bench);
    let failed = bench.depsfs("plain", ["adopt"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("has been taken back"), "{failed:?}");
    assert_eq!(all_of(&bench), before);
    assert!(bench.mounts().is_empty());
    assert_eq!(std::fs::read_dir(bench.path("store/roots")).map_or(0, Iterator::count), 0);
    mode(0o755);
    bench.ok("plain", ["adopt"]);
    // Root can't read the mounts of an ordinary user.
    let read = run(bench.command("cat", "plain/build").args(["mine", "out"]));
    assert_eq!(read.out, "mine\no\n", "{read:?}");
}

#[test]
fn without_mounting_or_times_only_the_rest_is_done() {
    let bench = added();
    let old = mtime(&bench, "plain/README.md");
    let said = bench.ok("plain", ["adopt", "--no-mount", "--no-mtimes"]);
    assert!(said.contains("not mounted"), "{said}");
    assert_eq!(mtime(&bench, "plain/README.md"), old);
    assert!(bench.mounts().is_empty());
    bench.ok("plain", ["mount"]);
    assert_eq!(bench.read("plain/build/out.o"), "object\n");
}
