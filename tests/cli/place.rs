//! `depsfs cache get` in a worktree: members show in views where git ignores them, and are plain files elsewhere.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::process::{Command, Stdio};

use crate::bench::{Bench, PROGRAM, Said, run, soon};

/// A repository without views, and a directory of tarballs.
fn bench() -> Bench {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "build*/\ntarget/\ndest/\n/out/\n");
    bench.write("repo/c/main.c", "int main() { return 0; }\n");
    bench.commit("repo", "one");
    fs::create_dir(bench.path("local")).unwrap();
    bench
}

/// Makes `local/<name>` of files and their contents; names that end with a slash are directory members.
fn artifact(bench: &Bench, name: &str, files: &[(&str, &str)]) {
    let from = format!("made/{name}");
    fs::create_dir_all(bench.path(&from)).unwrap();
    files.iter().filter(|(at, _)| !at.ends_with('/')).for_each(|(at, text)| bench.write(&format!("{from}/{at}"), text));
    let members = files.iter().map(|(at, _)| *at);
    let how = if name.ends_with(".zst") { "--zstd" } else { "-z" };
    let mut tar = bench.command("tar", &from);
    tar.args(["-c", how, "--no-recursion", "-f"]).arg(bench.path("local").join(name)).args(members);
    assert_eq!(run(&mut tar).err, "");
}

fn command(bench: &Bench, at: &str, args: &[&str]) -> Command {
    let mut command = bench.command(PROGRAM, at);
    command.arg("cache").args(args).env("CACHE_LOCAL_DIR", bench.path("local"));
    command
}

#[track_caller]
fn get(bench: &Bench, at: &str, name: &str) -> Said {
    let said = run(&mut command(bench, at, &["get", name]));
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    said
}

fn names(bench: &Bench, at: &str) -> Vec<String> {
    let all = fs::read_dir(bench.path(at)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<String> = all.collect();
    all.sort();
    all
}

#[test]
fn members_in_ignored_directories_show_in_views_and_others_are_plain() {
    let bench = bench();
    let files = [("dest/a.js", "a\n"), ("build-x/deep/b", "b\n"), ("plain/c", "c\n"), ("./d", "d\n")];
    artifact(&bench, "x-01.tar.gz", &files);
    get(&bench, "repo/c", "x-01.tar.gz");
    files.iter().for_each(|(at, text)| assert_eq!(bench.read(&format!("repo/c/{at}")), *text));
    let root = bench.path("repo/c");
    assert_eq!(bench.mounts(), [format!("{}/build-x", root.display()), format!("{}/dest", root.display())]);
    assert_eq!(bench.git("repo", ["status", "--porcelain"]), "?? c/d\n?? c/plain/");
    bench.ok("repo", ["unmount"]);
    assert!(!bench.is_there("repo/c/dest/a.js") && bench.is_there("repo/c/d"));
    bench.ok("repo", ["mount"]);
    assert_eq!(bench.read("repo/c/dest/a.js"), "a\n");
    bench.assert_sound();
}

#[test]
fn the_four_shapes_of_members_are_placed_alike() {
    let bench = bench();
    let shapes: [(&str, &[(&str, &str)]); 4] = [
        ("dirs-01.tar.gz", &[("target/", ""), ("target/a.json", "1\n")]),
        ("dots-01.tar.gz", &[("./target/b.json", "2\n")]),
        ("list-01.zst", &[("target/c.json", "3\n"), ("target/d.json", "4\n")]),
        ("here-01.tar.gz", &[("./", ""), ("./target/e.json", "5\n")]),
    ];
    for (name, files) in shapes {
        bench.write(&format!("made/{name}/target/x"), "");
        artifact(&bench, name, files);
        get(&bench, "repo/c", name);
    }
    assert_eq!(names(&bench, "repo/c/target"), ["a.json", "b.json", "c.json", "d.json", "e.json"]);
    assert_eq!(bench.mounts().len(), 1);
    bench.assert_clean("repo");
}

#[test]
fn an_out_dir_in_an_ignored_directory_is_a_place_in_its_view() {
    let bench = bench();
    artifact(&bench, "x-01.tar.gz", &[("f", "f\n"), ("g/h", "h\n")]);
    let said = run(&mut command(&bench, "repo", &["get", "x-01.tar.gz", "c/target/deep/er"]));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(bench.read("repo/c/target/deep/er/g/h"), "h\n");
    assert_eq!(bench.mounts(), [bench.path("repo/c/target").to_str().unwrap()]);
    bench.assert_clean("repo");
    let said = run(&mut command(&bench, "repo/c", &["get", "x-01.tar.gz", "target"]));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!((bench.read("repo/c/target/f"), bench.read("repo/c/target/deep/er/f")), ("f\n".into(), "f\n".into()));
}

#[test]
fn a_view_that_is_there_gains_layers_and_the_same_one_only_once() {
    let bench = bench();
    artifact(&bench, "src-01.tar.gz", &[("out/a", "a\n"), ("out/both", "first\n"), ("cache/x", "x\n")]);
    artifact(&bench, "verifier-01.tar.gz", &[("out/b", "b\n"), ("out/both", "second\n")]);
    get(&bench, "repo", "src-01.tar.gz");
    let open = fs::File::open(bench.path("repo/out/both")).unwrap();
    get(&bench, "repo", "verifier-01.tar.gz");
    assert_eq!(names(&bench, "repo/out"), ["a", "b", "both"]);
    assert_eq!(bench.read("repo/out/both"), "second\n");
    assert_eq!(std::io::read_to_string(open).unwrap(), "first\n");
    let manifest = bench.read("repo/.git/depsfs/manifest.json");
    for _ in 0..2 {
        get(&bench, "repo", "verifier-01.tar.gz");
        get(&bench, "repo", "src-01.tar.gz");
    }
    assert_eq!(bench.read("repo/.git/depsfs/manifest.json"), manifest);
    assert_eq!(bench.read("repo/out/both"), "second\n");
}

#[test]
fn what_is_in_a_directory_already_stays_on_top_and_is_told_of() {
    let bench = bench();
    bench.write("repo/c/dest/a", "mine\n");
    bench.write("repo/c/dest/same", "same\n");
    bench.write("repo/c/dest/own", "own\n");
    bench.write("repo/c/dest/dir", "a file\n");
    artifact(
        &bench,
        "x-01.tar.gz",
        &[("dest/a", "a\n"), ("dest/b", "b\n"), ("dest/same", "same\n"), ("dest/dir/f", "")],
    );
    let said = get(&bench, "repo/c", "x-01.tar.gz");
    assert!(said.err.contains("dest/a stays") && said.err.contains("dest/dir stays"), "{said:?}");
    assert!(!said.err.contains("same") && !said.err.contains("own"), "{said:?}");
    assert_eq!(names(&bench, "repo/c/dest"), ["a", "b", "dir", "own", "same"]);
    assert_eq!((bench.read("repo/c/dest/a"), bench.read("repo/c/dest/b")), ("mine\n".into(), "b\n".into()));
    bench.write("repo/c/dest/b", "changed\n");
    let said = get(&bench, "repo/c", "x-01.tar.gz");
    assert!(said.err.contains("dest/b stays"), "{said:?}");
    bench.ok("repo", ["unmount"]);
    assert_eq!(names(&bench, "repo/c/dest"), ["a", "b", "dir", "own", "same"]);
}

#[test]
fn an_artifact_is_in_place_again_after_its_directory_was_deleted() {
    let bench = bench();
    artifact(&bench, "old-01.tar.gz", &[("target/a", "old\n"), ("target/keys/k", "k\n"), ("target/gone", "")]);
    artifact(&bench, "new-01.tar.gz", &[("target/a", "new\n"), ("target/keys/l", "l\n")]);
    let ways: [(&str, bool); 5] = [
        ("rm -rf target", false),
        ("rm -rf target; mkdir -p target", false),
        ("rm -rf target; mkdir -p target; echo mine > target/mine", true),
        ("rm -rf target/*; mkdir target/keys", false),
        ("git clean -ffdxq", false),
    ];
    for (script, own) in ways {
        get(&bench, "repo/c", "old-01.tar.gz");
        let said = run(bench.command("sh", "repo/c").args(["-ec", script]));
        assert_eq!(said.code, 0, "{script}: {said:?}");
        get(&bench, "repo/c", "new-01.tar.gz");
        let mut expected = vec!["a", "keys"];
        expected.extend(own.then_some("mine"));
        assert_eq!(names(&bench, "repo/c/target"), expected, "{script}");
        assert_eq!(names(&bench, "repo/c/target/keys"), ["l"], "{script}");
        assert_eq!(bench.read("repo/c/target/a"), "new\n", "{script}");
        bench.assert_clean("repo");
        bench.ok("repo", ["unmount"]);
        bench.ok("repo", ["mount"]);
        assert_eq!(names(&bench, "repo/c/target"), expected, "{script}, mounted again");
        assert_eq!(names(&bench, "repo/c/target/keys"), ["l"], "{script}, mounted again");
        get(&bench, "repo/c", "old-01.tar.gz");
        assert_eq!(names(&bench, "repo/c/target/keys"), ["k", "l"], "{script}");
        assert_eq!(run(bench.command("sh", "repo/c").args(["-ec", "rm -rf target"])).code, 0);
    }
    bench.assert_sound();
}

#[test]
fn deleted_members_of_a_used_view_come_back_and_others_stay_deleted() {
    let bench = bench();
    let one = [("dest/a", "a\n"), ("dest/d/x", "x\n"), ("dest/d/e/y", "y\n"), ("dest/m", "m\n"), ("dest/z", "z\n")];
    artifact(&bench, "one-01.tar.gz", &one);
    artifact(&bench, "two-01.tar.gz", &[("dest/d/e/y", "two\n"), ("dest/q", "q\n")]);
    get(&bench, "repo/c", "one-01.tar.gz");
    get(&bench, "repo/c", "two-01.tar.gz");
    let script = "cd dest; rm a q; rm -rf d; mkdir -p d; echo mine > d/mine; mv m moved; echo m2 > m";
    assert_eq!(run(bench.command("sh", "repo/c").args(["-ec", script])).code, 0);
    let said = get(&bench, "repo/c", "two-01.tar.gz");
    assert!(!said.err.contains("override"), "{said:?}");
    assert_eq!(names(&bench, "repo/c/dest"), ["d", "m", "moved", "q", "z"]);
    assert_eq!(
        (names(&bench, "repo/c/dest/d"), names(&bench, "repo/c/dest/d/e")),
        (vec!["e".into(), "mine".into()], vec!["y".to_owned()])
    );
    let said = get(&bench, "repo/c", "one-01.tar.gz");
    assert!(said.err.contains("dest/m stays") && !said.err.contains("dest/a"), "{said:?}");
    assert_eq!(names(&bench, "repo/c/dest"), ["a", "d", "m", "moved", "q", "z"]);
    assert_eq!(names(&bench, "repo/c/dest/d"), ["e", "mine", "x"]);
    assert_eq!((bench.read("repo/c/dest/d/e/y"), bench.read("repo/c/dest/m")), ("two\n".into(), "m2\n".into()));
    bench.ok("repo", ["unmount"]);
    bench.ok("repo", ["mount"]);
    assert_eq!(names(&bench, "repo/c/dest/d"), ["e", "mine", "x"]);
    assert_eq!(bench.read("repo/c/dest/moved"), "m\n");
}

#[test]
fn a_member_that_was_moved_away_or_lies_in_a_thawed_directory_is_written_again() {
    let bench = bench();
    artifact(&bench, "x-01.tar.gz", &[("dest/d/x", "x\n"), ("dest/e/y", "y\n"), ("dest/f", "f\n")]);
    get(&bench, "repo/c", "x-01.tar.gz");
    bench.ok("repo/c", ["thaw", "dest/e"]);
    let script = "cd dest; mv d elsewhere; rm e/y; mv f g";
    assert_eq!(run(bench.command("sh", "repo/c").args(["-ec", script])).code, 0);
    get(&bench, "repo/c", "x-01.tar.gz");
    assert_eq!(names(&bench, "repo/c/dest"), ["d", "e", "elsewhere", "f", "g"]);
    for (at, text) in [("d/x", "x\n"), ("elsewhere/x", "x\n"), ("e/y", "y\n"), ("f", "f\n"), ("g", "f\n")] {
        assert_eq!(bench.read(&format!("repo/c/dest/{at}")), text, "{at}");
    }
    bench.ok("repo", ["unmount"]);
    bench.ok("repo", ["mount"]);
    assert_eq!(names(&bench, "repo/c/dest"), ["d", "e", "elsewhere", "f", "g"]);
}

#[test]
fn sixteen_at_once_lose_no_layer_of_one_directory() {
    let bench = bench();
    let count = 48;
    for n in 0..count {
        let file = format!("target/contract-{n}.json");
        artifact(&bench, &format!("contract-{n:02}.tar.gz"), &[(&file, &format!("{n}\n"))]);
    }
    let names: Vec<String> = (0..count).map(|n| format!("contract-{n:02}.tar.gz")).collect();
    for round in 0..2 {
        let script = format!("printf '%s\\n' {} | xargs -P16 -n1 {PROGRAM} cache get", names.join(" "));
        let mut xargs = bench.command("sh", "repo/c");
        let said = run(xargs.args(["-ec", &script]).env("CACHE_LOCAL_DIR", bench.path("local")));
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
        for n in 0..count {
            assert_eq!(bench.read(&format!("repo/c/target/contract-{n}.json")), format!("{n}\n"), "round {round}");
        }
        assert_eq!(fs::read_dir(bench.path("repo/c/target")).unwrap().count(), count);
        assert_eq!(run(bench.command("sh", "repo/c").args(["-ec", "rm -rf target; mkdir -p target"])).code, 0);
    }
    let left = |at: &str| fs::read_dir(bench.path(at)).unwrap().count();
    assert_eq!((left("store/tmp"), left("local")), (0, count));
    bench.assert_sound();
}

#[test]
fn ci_no_git_and_no_fuse_mean_plain_files() {
    let bench = bench();
    artifact(&bench, "x-01.tar.gz", &[("dest/a", "a\n")]);
    let said = run(command(&bench, "repo/c", &["get", "x-01.tar.gz"]).env("CI", "1"));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!((bench.read("repo/c/dest/a").as_str(), bench.mounts().len()), ("a\n", 0));
    assert!(!bench.is_there("repo/.git/depsfs"));
    fs::create_dir(bench.path("nogit")).unwrap();
    get(&bench, "nogit", "x-01.tar.gz");
    assert_eq!((bench.read("nogit/dest/a").as_str(), bench.mounts().len()), ("a\n", 0));
}

#[test]
fn where_no_view_can_be_mounted_all_members_are_plain_files() {
    let bench = bench();
    artifact(&bench, "x-01.tar.gz", &[("dest/a", "a\n"), ("b", "b\n")]);
    // A device that isn't FUSE, seen by this command alone.
    let script = format!("mount --bind /dev/null /dev/fuse && exec {PROGRAM} cache get x-01.tar.gz");
    let mut apart = bench.command("unshare", "repo/c");
    let said = run(apart.args(["-m", "sh", "-c", &script]).env("CACHE_LOCAL_DIR", bench.path("local")));
    if said.err.contains("Operation not permitted") {
        return println!("skipped: only root may take /dev/fuse away");
    }
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert!(said.err.contains("Plain files instead of a view"), "{said:?}");
    assert_eq!((bench.read("repo/c/dest/a"), bench.read("repo/c/b")), ("a\n".into(), "b\n".into()));
    assert!(!bench.is_there("repo/.git/depsfs/manifest.json"), "it was known before anything was made");
    // Later, where there is FUSE, it gets its view, and what is there is the same.
    let said = get(&bench, "repo/c", "x-01.tar.gz");
    assert!(!said.err.contains("override"), "{said:?}");
    assert_eq!(bench.mounts(), [bench.path("repo/c/dest").to_str().unwrap()]);
}

#[test]
fn the_directory_that_one_is_in_is_not_mounted_over() {
    let bench = bench();
    artifact(&bench, "x-01.tar.gz", &[("a", "a\n"), ("sub/b", "b\n")]);
    fs::create_dir_all(bench.path("repo/c/target")).unwrap();
    // As a shell that goes on in the directory sees it.
    let script = format!("cd target; {PROGRAM} cache get x-01.tar.gz; cat a sub/b");
    let said = run(bench.command("sh", "repo/c").args(["-ec", &script]).env("CACHE_LOCAL_DIR", bench.path("local")));
    assert_eq!((said.code, said.out.as_str()), (0, "a\nb\n"), "{said:?}");
    assert_eq!(bench.mounts(), [bench.path("repo/c/target/sub").to_str().unwrap()]);
}

#[test]
fn tracked_files_stay_in_a_view_and_links_keep_a_directory_from_becoming_one() {
    let bench = bench();
    bench.write("repo/c/dest/tracked", "tracked\n");
    bench.git("repo", ["add", "-f", "c/dest/tracked"]);
    bench.git("repo", ["commit", "-q", "-m", "two"]);
    bench.write("elsewhere/x", "far\n");
    std::os::unix::fs::symlink("../../elsewhere", bench.path("repo/c/build-l")).unwrap();
    let files = [("dest/tracked", "no\n"), ("dest/sub/a", "a\n"), ("dest/b", "b\n"), ("build-l/x", "no\n")];
    artifact(&bench, "x-01.tar.gz", &files);
    let said = get(&bench, "repo/c", "x-01.tar.gz");
    assert!(said.err.contains("dest/tracked stays") && said.err.contains("build-l stays"), "{said:?}");
    assert_eq!((bench.read("repo/c/dest/tracked"), bench.read("elsewhere/x")), ("tracked\n".into(), "far\n".into()));
    assert_eq!((bench.read("repo/c/dest/sub/a"), bench.read("repo/c/dest/b")), ("a\n".into(), "b\n".into()));
    assert_eq!(bench.mounts(), [bench.path("repo/c/dest").to_str().unwrap()]);
    assert_eq!(bench.git("repo", ["status", "--porcelain"]), "?? c/build-l");
}

#[test]
fn members_in_a_submodule_go_by_its_own_rules() {
    let bench = bench();
    bench.git("", ["init", "-q", "-b", "main", "module"]);
    bench.write("module/.gitignore", "/target\n");
    bench.commit("module", "one");
    bench.git("repo", ["submodule", "add", "-q", bench.path("module").to_str().unwrap(), "noir/noir-repo"]);
    bench.commit("repo", "module");
    artifact(&bench, "noir-01.tar.gz", &[("noir-repo/target/release/nargo", "elf\n")]);
    get(&bench, "repo/noir", "noir-01.tar.gz");
    assert_eq!(bench.read("repo/noir/noir-repo/target/release/nargo"), "elf\n");
    assert_eq!(bench.mounts(), [bench.path("repo/noir/noir-repo/target").to_str().unwrap()]);
    bench.assert_clean("repo");
    artifact(&bench, "more-01.tar.gz", &[("target/more", "more\n")]);
    get(&bench, "repo/noir/noir-repo", "more-01.tar.gz");
    assert_eq!((bench.read("repo/noir/noir-repo/target/more").as_str(), bench.mounts().len()), ("more\n", 1));
}

#[test]
fn a_worktree_of_a_source_with_artifacts_has_them_and_gets_them_without_a_second_copy() {
    let bench = bench();
    artifact(&bench, "x-01.tar.gz", &[("dest/a", "a\n"), ("dest/run", "#!/bin/sh\n")]);
    fs::set_permissions(bench.path("made/x-01.tar.gz/dest/run"), fs::Permissions::from_mode(0o755)).unwrap();
    artifact(&bench, "x-01.tar.gz", &[("dest/a", "a\n"), ("dest/run", "#!/bin/sh\n")]);
    get(&bench, "repo/c", "x-01.tar.gz");
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.read("fix/c/dest/a"), "a\n");
    let manifest = bench.read("repo/.git/worktrees/fix/depsfs/manifest.json");
    let objects = run(bench.command("find", "store/objects").arg("-type").arg("f")).out;
    get(&bench, "fix/c", "x-01.tar.gz");
    assert_eq!(bench.read("repo/.git/worktrees/fix/depsfs/manifest.json"), manifest);
    assert_eq!(run(bench.command("find", "store/objects").arg("-type").arg("f")).out, objects);
    // A write in one worktree shows in no other.
    bench.write("fix/c/dest/a", "fix\n");
    assert_eq!(bench.read("repo/c/dest/a"), "a\n");
    assert_eq!(run(&mut bench.command("./c/dest/run", "fix")).code, 0);
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn six_repositories_at_once_make_one_entry_and_leave_no_lock_or_temporary() {
    let bench = bench();
    artifact(&bench, "x-01.tar.gz", &[("dest/a", "a\n"), ("b", "b\n")]);
    let repos: Vec<String> = (0..6).map(|n| format!("clone-{n}")).collect();
    repos.iter().for_each(|at| drop(bench.git("", ["clone", "-q", "repo", at])));
    let bench = &bench;
    std::thread::scope(|scope| {
        for at in &repos {
            scope.spawn(move || drop(get(bench, &format!("{at}/c"), "x-01.tar.gz")));
        }
    });
    for at in &repos {
        assert_eq!(
            (bench.read(&format!("{at}/c/dest/a")), bench.read(&format!("{at}/c/b"))),
            ("a\n".into(), "b\n".into())
        );
    }
    assert_eq!(bench.ok("", ["store", "list"]).lines().count(), 1);
    assert_eq!((names(bench, "store/tmp"), names(bench, "local")), (vec![], vec!["x-01.tar.gz".to_owned()]));
    assert_eq!(bench.mounts().len(), 6);
}

#[test]
fn relative_links_of_an_artifact_are_kept_to_the_letter() {
    let bench = bench();
    let from = bench.path("made/x/target/@scope");
    fs::create_dir_all(&from).unwrap();
    bench.write("made/x/target/real/index.js", "module.exports = 1\n");
    for (target, name) in [("../real", "link"), ("/absolute/elsewhere", "far"), ("../../../c/main.c", "out")] {
        std::os::unix::fs::symlink(target, from.join(name)).unwrap();
    }
    let tar = bench.path("local/x-01.tar.gz");
    assert_eq!(run(bench.command("tar", "made/x").arg("-czf").arg(&tar).arg("target")).code, 0);
    get(&bench, "repo/c", "x-01.tar.gz");
    let at = bench.path("repo/c/target/@scope");
    let targets = ["link", "far", "out"].map(|name| fs::read_link(at.join(name)).unwrap().display().to_string());
    assert_eq!(targets, ["../real", "/absolute/elsewhere", "../../../c/main.c"]);
    assert_eq!(bench.read("repo/c/target/@scope/link/index.js"), "module.exports = 1\n");
    assert_eq!(fs::canonicalize(at.join("link")).unwrap(), bench.path("repo/c/target/real"));
}

#[test]
fn what_comes_while_a_sync_looks_at_the_source_stays() {
    let bench = bench();
    bench.write("repo/build/out.o", "object\n");
    bench.write("repo/build-b/x", "x\n");
    bench.ok("repo", ["create", "fix"]);
    bench.write("repo/build/out.o", "newer\n");
    bench.write("repo/build-b/x", "newer\n");
    artifact(&bench, "x-01.tar.gz", &[("build/a.js", "a\n")]);
    // The sync has read the manifest, and waits for the end of this file of the source.
    let list = bench.path("repo/.worktreeinclude");
    assert!(Command::new("mkfifo").arg(&list).status().unwrap().success());
    let mut sync = bench.command(PROGRAM, "fix");
    let sync = sync.arg("sync").stdout(Stdio::piped()).spawn().unwrap();
    let end = || fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&list);
    let mut writer = None;
    soon("the sync reads it", || {
        writer = end().ok();
        writer.is_some()
    });
    get(&bench, "fix", "x-01.tar.gz");
    drop(writer);
    let said = sync.wait_with_output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{out}");
    assert_eq!((bench.read("fix/build/a.js"), bench.read("fix/build/out.o")), ("a\n".into(), "object\n".into()));
    assert_eq!(bench.read("fix/build-b/x"), "newer\n");
    assert!(out.contains("  unfit:    build: something else came there meanwhile\n"), "{out}");
    assert!(out.contains("  changed:  build-b,") && !out.contains("changed:  build,"), "{out}");
    bench.assert_clean("fix");
    bench.assert_sound();
}
