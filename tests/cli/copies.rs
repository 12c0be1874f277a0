//! `--copy`: the artifacts of a worktree as plain files, without a mount and without a daemon.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::bench::{Bench, PROGRAM, Said, is_root, json, metadata, run};

/// A repository whose artifacts have two names of one file, a symlink, a program, an old time, and the source's path.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("repo/build/tool", "#!/bin/sh\necho built\n");
    fs::set_permissions(bench.path("repo/build/tool"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::hard_link(bench.path("repo/build/lib.a"), bench.path("repo/build/same.a")).unwrap();
    std::os::unix::fs::symlink("out.o", bench.path("repo/build/link")).unwrap();
    bench.write("repo/build/big", &"0123456789abcdef".repeat(200_000));
    let old = fs::File::open(bench.path("repo/build/out.o")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + Duration::from_nanos(1_500_000_000_123_456_789)).unwrap();
    bench
}

fn is_begun(bench: &Bench) -> bool {
    fs::read_to_string(bench.path("repo/.git/worktrees/fix/depsfs/manifest.json")).is_ok_and(|m| m.contains("begun"))
}

#[track_caller]
fn assert_plain(bench: &Bench, at: &str) {
    assert_eq!(bench.mounts(), Vec::<String>::new());
    for artifact in ["node_modules", "build"] {
        let (source, copy) = (bench.path(&format!("repo/{artifact}")), bench.path(&format!("{at}/{artifact}")));
        assert_eq!(metadata(&copy), metadata(&source), "{artifact}");
    }
    assert_eq!(bench.read(&format!("{at}/build/big")), bench.read("repo/build/big"));
    bench.assert_clean(at);
}

#[test]
fn a_copied_worktree_has_plain_files_as_the_source_has_them_and_no_mount() {
    let bench = bench();
    let said = bench.ok("repo", ["create", "fix", "--copy"]);
    assert!(said.contains("  plain:    2 directories, "), "{said}");
    assert_plain(&bench, "fix");
    let ino = |at: &str| fs::metadata(bench.path(at)).unwrap().ino();
    assert_eq!(ino("fix/build/lib.a"), ino("fix/build/same.a"));
    assert_ne!(ino("fix/build/lib.a"), ino("repo/build/lib.a"));
    let said = bench.ok("fix", ["status"]);
    assert!(said.starts_with("[ok]      build (plain files)\n[ok]      node_modules (plain files)\n"), "{said}");
    assert!(said.contains("daemon:   not running"), "{said}");
    let seen = json(&bench.ok("fix", ["status", "--json"]));
    assert_eq!((&seen["views"][0]["copy"], &seen["views"][0]["mounted"]), (&"complete".into(), &false.into()));
    assert!(bench.ok("repo", ["list"]).contains("  2 plain "));
    assert_eq!(bench.ok("fix", ["diff"]), "");
    bench.ok("", ["gc", "--keep-days", "0"]);
    bench.assert_sound();
    bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    assert!(!bench.is_there("fix"));
}

#[test]
fn diff_lists_the_changes_of_a_copy_and_reset_takes_them_back() {
    let bench = bench();
    bench.ok("repo", ["create", "fix", "--copy"]);
    // Of equal length, with the time that it had.
    let before = fs::metadata(bench.path("fix/build/out.o")).unwrap().modified().unwrap();
    bench.write("fix/build/out.o", "OBJECT\n");
    fs::File::open(bench.path("fix/build/out.o")).unwrap().set_modified(before).unwrap();
    bench.write("fix/build/new/file", "mine\n");
    fs::remove_file(bench.path("fix/build/link")).unwrap();
    fs::set_permissions(bench.path("fix/build/tool"), PermissionsExt::from_mode(0o700)).unwrap();
    fs::remove_dir_all(bench.path("fix/node_modules/a")).unwrap();
    fs::write(bench.path("fix/node_modules/a"), "no directory").unwrap();
    let changes = "D build/link\nA build/new\nA build/new/file\nM build/out.o\nM build/tool\nM node_modules/a\n";
    assert_eq!(bench.ok("fix", ["diff"]), changes);
    bench.ok("fix", ["reset", "build/out.o", "-y"]);
    assert_eq!(bench.ok("fix", ["diff", "build/out.o"]), "");
    assert_eq!(bench.ok("fix", ["diff", "build/tool"]), "M build/tool\n");
    bench.ok("fix", ["reset", "build", "node_modules", "-y"]);
    assert_plain(&bench, "fix");
    fs::remove_dir_all(bench.path("fix/build")).unwrap();
    let said = bench.depsfs("fix", ["status"]).out;
    assert!(said.starts_with("[MISSING] build (plain files, deleted; depsfs reset copies them anew)\n"), "{said}");
    bench.ok("fix", ["reset", "build", "-y"]);
    assert_plain(&bench, "fix");
    assert!(bench.ok("fix", ["status"]).starts_with("[ok]      build (plain files)\n"));
}

#[test]
fn nothing_is_written_or_removed_through_a_symlink_that_took_the_place_of_a_directory() {
    let bench = bench();
    bench.write("repo/sub/node_modules/x", "x\n");
    bench.write("repo/sub/tracked", "t\n");
    bench.commit("repo", "two");
    bench.ok("repo", ["create", "fix", "--copy"]);
    bench.write("outside/index.js", "precious\n");
    bench.write("outside/node_modules/x", "precious\n");
    fs::rename(bench.path("fix/node_modules/a"), bench.path("away")).unwrap();
    std::os::unix::fs::symlink(bench.path("outside"), bench.path("fix/node_modules/a")).unwrap();
    let said = bench.depsfs("fix", ["reset", "node_modules/a/index.js", "-y"]);
    assert_ne!(said.code, 0, "{said:?}");
    fs::rename(bench.path("fix/sub"), bench.path("away/sub")).unwrap();
    std::os::unix::fs::symlink(bench.path("outside"), bench.path("fix/sub")).unwrap();
    let said = bench.depsfs("fix", ["reset", "sub/node_modules", "-y"]);
    assert_ne!(said.code, 0, "{said:?}");
    for args in [["diff"], ["mount"]] {
        let said = bench.depsfs("fix", args);
        assert!(said.code != 0 && said.err.contains("sub is in its way"), "{args:?}: {said:?}");
    }
    assert_eq!(bench.read("outside/index.js") + &bench.read("outside/node_modules/x"), "precious\nprecious\n");
    fs::remove_file(bench.path("fix/sub")).unwrap();
    bench.ok("fix", ["reset", "sub/node_modules", "node_modules", "-y"]);
    assert_eq!(bench.ok("fix", ["diff"]), "");
    assert_eq!(bench.read("outside/index.js"), "precious\n");
}

#[test]
fn mount_makes_views_of_a_copy_and_keeps_what_the_user_changed() {
    let bench = bench();
    bench.ok("repo", ["create", "fix", "--copy"]);
    bench.write("fix/build/out.o", "OBJECT\n");
    bench.write("fix/build/new/file", "mine\n");
    fs::remove_file(bench.path("fix/build/link")).unwrap();
    fs::remove_dir_all(bench.path("fix/node_modules/a/b")).unwrap();
    let (build, modules) = (metadata(&bench.path("fix/build")), metadata(&bench.path("fix/node_modules")));
    let changes = bench.ok("fix", ["diff"]);
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.mounts().len(), 2);
    assert_eq!(bench.ok("fix", ["diff"]), changes);
    assert_eq!(metadata(&bench.path("fix/build")), build);
    assert_eq!(metadata(&bench.path("fix/node_modules")), modules);
    assert_eq!(bench.read("fix/build/out.o"), "OBJECT\n");
    bench.assert_clean("fix");
    bench.ok("fix", ["unmount"]);
    assert!(!bench.is_there("fix/build/big"), "a file that equals the store's needs no space");
    assert_eq!(
        (bench.read("fix/build/out.o").as_str(), bench.read("fix/build/new/file").as_str()),
        ("OBJECT\n", "mine\n")
    );
    bench.ok("fix", ["mount"]);
    bench.ok("fix", ["thaw", "."]);
    assert_eq!(bench.mounts(), Vec::<String>::new());
    assert_eq!(metadata(&bench.path("fix/build")), build);
    assert_eq!(metadata(&bench.path("fix/node_modules")), modules);
}

#[test]
fn files_with_the_path_of_the_source_have_that_of_the_copy_also_after_a_reset() {
    let bench = bench();
    let text = |at: &str| format!("prefix={}\n", bench.path(at).display());
    bench.write("repo/build/config", &text("repo"));
    bench.ok("repo", ["create", "fix", "--copy"]);
    assert_eq!(bench.read("fix/build/config"), text("fix"));
    assert_eq!(bench.ok("fix", ["diff"]), "");
    bench.write("fix/build/config", "mine\n");
    assert_eq!(bench.ok("fix", ["diff"]), "M build/config\n");
    bench.ok("fix", ["reset", "build", "-y"]);
    assert_eq!(bench.read("fix/build/config"), text("fix"));
    bench.ok("fix", ["mount"]);
    assert_eq!((bench.read("fix/build/config"), bench.ok("fix", ["diff"])), (text("fix"), String::new()));
    bench.ok("fix", ["unmount"]);
}

#[test]
fn adopt_copies_around_the_files_of_the_worktree_and_takes_back_what_it_could_not_finish() {
    let bench = bench();
    bench.git("repo", ["worktree", "add", "-q", "../fix"]);
    bench.write("fix/build/out.o", "mine\n");
    bench.write("fix/build/lib.a", "library\n");
    let before = metadata(&bench.path("fix/build"));
    bench.ok("repo", ["create", "other", "--copy"]);
    // Of a large file alone the object is a file of its own.
    let large = format!("find {} -size +2000k", bench.path("store/objects").display());
    let large = run(bench.command("sh", "").args(["-c", &large])).out;
    fs::rename(large.trim(), bench.path("away")).unwrap();
    fs::remove_file(bench.path("repo/build/big")).unwrap();
    fs::copy(bench.path("other/build/big"), bench.path("repo/build/big")).unwrap();
    fs::create_dir(large.trim()).unwrap();
    let said = bench.depsfs("fix", ["adopt", "--copy"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert_eq!(metadata(&bench.path("fix/build")), before, "{said:?}");
    assert!(!bench.is_there("fix/node_modules"));
    fs::remove_dir(large.trim()).unwrap();
    fs::rename(bench.path("away"), large.trim()).unwrap();
    let said = bench.ok("fix", ["adopt", "--copy"]);
    assert!(said.contains("  kept:     build: 2 files of its own on top\n"), "{said}");
    assert_eq!((bench.read("fix/build/out.o"), bench.ok("fix", ["diff"])), ("mine\n".into(), "M build/out.o\n".into()));
    assert_eq!(bench.read("fix/node_modules/a/b/deep.js"), "module.exports = 2\n");
    assert!(bench.ok("fix", ["adopt", "--copy"]).contains("has its views already"));
}

#[test]
fn the_configuration_chooses_copies() {
    let bench = bench();
    bench.git("repo", ["config", "depsfs.mode", "copy"]);
    bench.ok("repo", ["create", "fix"]);
    assert_plain(&bench, "fix");
    bench.git("repo", ["config", "depsfs.mode", "copies"]);
    let said = bench.depsfs("repo", ["create", "other"]);
    assert!(said.err.contains("depsfs.mode is copies, and not one of views, copy, auto"), "{said:?}");
    bench.git("repo", ["config", "depsfs.mode", "auto"]);
    bench.ok("repo", ["create", "other"]);
    assert_eq!(bench.mounts().len(), bench.mounts_of(2), "here views can be mounted");
    bench.ok("repo", ["remove", "other"]);
}

#[test]
fn doctor_completes_a_copy_that_an_adopt_had_begun_when_it_was_killed() {
    let bench = bench();
    bench.ok("repo", ["create", "fix", "--copy"]);
    let manifest = "repo/.git/worktrees/fix/depsfs/manifest.json";
    let mut value: serde_json::Value = serde_json::from_str(&bench.read(manifest)).unwrap();
    value["views"].as_array_mut().unwrap().iter_mut().for_each(|view| view["copy"] = "begun".into());
    bench.write(manifest, &value.to_string());
    fs::write(bench.path("fix/build/big"), "0123456789abcdef").unwrap();
    fs::remove_dir_all(bench.path("fix/node_modules/a")).unwrap();
    let said = bench.status("fix", &[]);
    assert!(said.starts_with("[MISSING] build (copied in part; depsfs adopt completes it)\n"), "{said}");
    assert_eq!(bench.ok("fix", ["diff"]), "", "a copy that is not complete has changed nothing");
    let found = bench.depsfs("", ["doctor"]).out;
    assert!(found.contains("copies: 2 of 2 artifacts of ") && found.contains("depsfs adopt "), "{found}");
    bench.depsfs("", ["doctor", "--fix"]);
    assert_plain(&bench, "fix");
    assert!(bench.status("fix", &[]).starts_with("[ok]      build (plain files)\n"));
}

/// Runs a command where `/dev/fuse` is no device; `None`: an ordinary user can't hide it.
fn without_fuse(bench: &Bench, at: &str, args: &str) -> Option<Said> {
    let script = format!("mount --bind /dev/null /dev/fuse && exec {PROGRAM} {args}");
    let said = run(bench.command("unshare", at).args(["-m", "--propagation", "private", "sh", "-c", &script]));
    is_root().then_some(said)
}

#[test]
fn without_fuse_create_offers_the_copy_and_all_but_mounting_works() {
    let bench = bench();
    let Some(said) = without_fuse(&bench, "repo", "create fix") else {
        return println!("skipped: only root may take /dev/fuse away");
    };
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("hint: depsfs create --copy and adopt --copy make plain files"), "{said:?}");
    assert!(!bench.is_there("fix"));
    let ok = |at: &str, args: &str| {
        let said = without_fuse(&bench, at, args).unwrap();
        assert_eq!(said.code, 0, "{args}: {said:?}");
        said.out
    };
    ok("repo", "create fix --copy");
    bench.git("repo", ["config", "depsfs.mode", "auto"]);
    ok("repo", "create auto");
    assert_plain(&bench, "auto");
    bench.write("fix/build/out.o", "mine\n");
    assert_eq!(ok("fix", "diff"), "M build/out.o\n");
    ok("fix", "reset -y build");
    ok("fix", "status");
    ok("fix", "sync");
    assert!(ok("fix", "unmount").contains("its artifacts are plain files"));
    assert_eq!(ok("repo", "mount --all"), "");
    let refused = without_fuse(&bench, "fix", "mount").unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_plain(&bench, "fix");
    ok("repo", "gc --keep-days 0");
    ok("repo", "remove fix --delete-branch");
    // A copy is a source, too.
    ok("auto", "create next --copy");
    assert_plain(&bench, "next");
}

#[test]
fn a_copy_that_is_killed_is_taken_back_or_completed() {
    let bench = bench();
    for n in 0..1500 {
        bench.write(&format!("repo/node_modules/p{}/f{n}", n % 40), &n.to_string());
    }
    let (mut met, mut n) = (0, 0);
    // A machine may be too fast or too slow for the first delays.
    while n < 8 || (met == 0 && n < 40) {
        let mut command = bench.command(PROGRAM, "repo");
        command.args(["create", "fix", "--copy"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !is_begun(&bench) && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it neither copies nor ends");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(2 * (n % 8)));
        child.kill().unwrap();
        child.wait().unwrap();
        met += u32::from(is_begun(&bench));
        match n % 3 {
            0 => {
                let again = bench.depsfs("repo", ["create", "fix", "--copy"]);
                assert!(again.code == 0 || again.err.contains("exists already"), "{again:?}");
            }
            1 => {
                bench.ok("fix", ["adopt"]);
            }
            _ => {
                let again = bench.depsfs("repo", ["doctor", "--fix"]);
                if !bench.is_there("fix") {
                    assert!(again.out.contains("fix"), "{again:?}");
                    bench.ok("repo", ["create", "fix", "--copy"]);
                }
            }
        }
        assert_plain(&bench, "fix");
        assert_eq!(bench.ok("fix", ["diff"]), "");
        assert!(!is_begun(&bench));
        bench.ok("repo", ["remove", "fix", "--delete-branch"]);
        n += 1;
    }
    assert!(met > 0, "no copy was killed half-way in {n} attempts");
}

#[test]
fn sync_brings_what_the_source_has_now_into_a_copy_and_keeps_the_users_changes() {
    let bench = bench();
    bench.write("repo/build/old/only", "goes\n");
    bench.ok("repo", ["create", "fix", "--copy"]);
    bench.write("fix/build/out.o", "mine!!\n");
    fs::remove_file(bench.path("fix/build/tool")).unwrap();
    fs::remove_file(bench.path("fix/node_modules/a/index.js")).unwrap();
    // As the source is built again: changed, new, gone, of equal length, another link.
    bench.write("repo/build/out.o", "newer!\n");
    bench.write("repo/build/lib.a", "LIBRARY\n");
    bench.write("repo/build/sub/new", "new\n");
    bench.write("repo/build/config", &format!("prefix={}\n", bench.path("repo").display()));
    fs::remove_dir_all(bench.path("repo/build/old")).unwrap();
    fs::remove_file(bench.path("repo/build/link")).unwrap();
    std::os::unix::fs::symlink("lib.a", bench.path("repo/build/link")).unwrap();
    bench.write("repo/node_modules/a/b/deep.js", "module.exports = 3\n");
    bench.write("repo/build2/more", "more\n");
    let would = bench.ok("fix", ["sync", "--dry-run"]);
    let said = bench.ok("fix", ["sync"]);
    assert_eq!(said, would);
    assert!(said.contains("  added:    build2, ") && said.contains("  hides newer: M build/out.o\n"), "{said}");
    let read = |at: &str| fs::read_to_string(bench.path(at)).unwrap_or_else(|e| e.kind().to_string());
    for (at, expected) in [
        ("build/out.o", "mine!!\n"),
        ("build/lib.a", "LIBRARY\n"),
        ("build/link", "LIBRARY\n"),
        ("build/sub/new", "new\n"),
        ("build/tool", "entity not found"),
        ("build/old/only", "entity not found"),
        ("node_modules/a/index.js", "entity not found"),
        ("node_modules/a/b/deep.js", "module.exports = 3\n"),
        ("build2/more", "more\n"),
    ] {
        assert_eq!(read(&format!("fix/{at}")), expected, "{at}");
    }
    assert!(!bench.is_there("fix/build/old"));
    assert_eq!(read("fix/build/config"), format!("prefix={}\n", bench.path("fix").display()));
    let changes = "M build/out.o\nD build/tool\nD node_modules/a/index.js\n";
    assert_eq!(bench.ok("fix", ["diff"]), changes);
    assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
    assert_eq!(bench.mounts(), Vec::<String>::new());
    bench.ok("fix", ["reset", "build", "node_modules", "-y"]);
    assert_eq!((read("fix/build/out.o").as_str(), bench.ok("fix", ["diff"]).as_str()), ("newer!\n", ""));
    bench.assert_clean("fix");
}

#[test]
fn a_file_of_the_worktree_that_has_the_length_of_the_stores_is_seen_as_changed() {
    let bench = bench();
    bench.git("repo", ["worktree", "add", "-q", "../fix"]);
    bench.write("fix/build/out.o", "OBJECT\n");
    bench.ok("fix", ["adopt", "--copy"]);
    assert_eq!(bench.ok("fix", ["diff"]), "M build/out.o\n");
    bench.ok("fix", ["mount"]);
    assert_eq!(
        (bench.read("fix/build/out.o"), bench.ok("fix", ["diff"])),
        ("OBJECT\n".into(), "M build/out.o\n".into())
    );
    bench.ok("fix", ["unmount"]);
}

#[test]
fn an_artifact_that_comes_later_into_a_copied_worktree_is_plain_files() {
    let bench = Bench::new();
    bench.write(
        "repo/depsfs.toml",
        "[[component]]\nname = \"web\"\npaths = [\"node_modules\"]\nkey = { files = [\"package-lock.json\"] }\n",
    );
    bench.commit("repo", "two");
    fs::rename(bench.path("repo/node_modules"), bench.path("away")).unwrap();
    bench.ok("repo", ["create", "fix", "--copy"]);
    assert!(!bench.is_there("fix/node_modules"));
    fs::rename(bench.path("away"), bench.path("repo/node_modules")).unwrap();
    for at in ["repo", "fix"] {
        bench.write(&format!("{at}/package-lock.json"), "{\"version\": 2}\n");
    }
    bench.ok("repo", ["publish"]);
    fs::remove_dir_all(bench.path("repo/node_modules")).unwrap();
    let said = bench.depsfs("fix", ["sync"]);
    assert!(said.code == 0 && said.out.contains("artifact web-") && !said.err.contains("instead of"), "{said:?}");
    assert_eq!(bench.read("fix/node_modules/a/b/deep.js"), "module.exports = 2\n");
    bench.write("repo/build2/more", "more\n");
    let cache = |at: &str, args: &[&str]| {
        let said = run(bench.command(PROGRAM, at).args(args).env("CACHE_LOCAL_DIR", bench.path("local")));
        assert_eq!((said.code, said.err.contains("instead of a view")), (0, false), "{said:?}");
    };
    cache("repo", &["cache", "put", "x-01.tar.gz", "build2"]);
    cache("fix", &["cache", "get", "x-01.tar.gz"]);
    assert_eq!((bench.read("fix/build2/more").as_str(), bench.mounts()), ("more\n", Vec::new()));
}
