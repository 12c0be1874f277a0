//! `depsfs sync` and `depsfs publish`: after a rebase, and for the next worktree.

use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::bench::{Bench, PROGRAM, json, soon};

const TOML: &str = r#"
[[component]]
name = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }
build = "mkdir -p node_modules/sub; cp package-lock.json node_modules/made; cp package-lock.json node_modules/sub/x; cp package-lock.json node_modules/tool; echo same > node_modules/same"
"#;

fn bench() -> Bench {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "node_modules/\n");
    bench.write("repo/depsfs.toml", TOML);
    bench.write("repo/package-lock.json", "one\n");
    bench.commit("repo", "one");
    bench.ok("repo", ["approve"]);
    bench.write("repo/package-lock.json", "two\n");
    bench.commit("repo", "two");
    // Both are built once, and are in the store.
    bench.ok("repo", ["create", "old", "HEAD~1"]);
    bench.ok("repo", ["create", "new"]);
    bench.ok("repo", ["create", "fix", "HEAD~1"]);
    bench
}

#[test]
fn after_a_rebase_the_artifacts_of_the_new_key_show_and_own_changes_stay_on_top() {
    let bench = bench();
    assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
    bench.write("fix/node_modules/own", "own\n");
    bench.write("fix/node_modules/sub/x", "mine\n");
    bench.write("fix/node_modules/same", "mine\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bench.path("fix/node_modules/tool"), executable).unwrap();
    let open = std::fs::File::open(bench.path("fix/node_modules/made")).unwrap();
    bench.git("fix", ["rebase", "-q", "main"]);
    let before = bench.mounts();
    let said = bench.ok("fix", ["sync", "--dry-run"]);
    assert!(said.contains("  web:      artifact web-"), "{said}");
    assert_eq!(bench.read("fix/node_modules/made"), "one\n");
    let said = bench.ok("fix/node_modules", ["sync"]);
    let hidden: Vec<&str> = said.lines().filter(|line| line.contains("hides newer")).collect();
    assert_eq!(hidden, ["  hides newer: M node_modules/sub/x", "  hides newer: M node_modules/tool"], "{said}");
    assert_eq!(bench.read("fix/node_modules/tool"), "one\n", "its mode is the worktree's own");
    assert_eq!(bench.mounts(), before);
    assert_eq!(bench.read("fix/node_modules/made"), "two\n");
    assert_eq!(bench.read("fix/node_modules/sub/x"), "mine\n");
    assert_eq!(bench.read("fix/node_modules/own"), "own\n");
    assert_eq!(std::io::read_to_string(open).unwrap(), "one\n");
    bench.assert_clean("fix");
    assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
}

#[test]
fn a_single_file_is_published_with_its_extended_attributes() {
    let bench = Bench::new();
    let set = |at: &str| {
        let file = std::fs::File::open(bench.path(at)).unwrap();
        let flags = depsfs::sys::fs::XattrFlags::empty();
        depsfs::sys::fs::set_xattr(&file, b"user.made-by", b"ld", flags).unwrap();
    };
    set("repo/build/out.o");
    bench.ok("repo", ["publish", "build/out.o", "--name", "one"]);
    bench.ok("", ["mount", "one", "--at", "view"]);
    let found = depsfs::sys::fs::xattr_of_path(&bench.path("view/build/out.o"), b"user.made-by").unwrap();
    assert_eq!(found, b"ld");
}

#[test]
fn what_was_built_here_and_is_unchanged_does_not_hide_what_is_newer() {
    let bench = bench();
    // `old` built its own.
    bench.git("old", ["rebase", "-q", "main"]);
    // By its name, from any checkout of the repository.
    let said = json(&bench.ok("repo", ["sync", "old", "--json"]));
    assert_eq!((said["components"][0]["done"].as_bool(), said["hidden"].as_array().unwrap().len()), (Some(true), 0));
    assert_eq!(bench.read("old/node_modules/made"), "two\n");
    assert_eq!(bench.read("old/node_modules/sub/x"), "two\n");
    bench.assert_clean("old");
}

#[test]
fn what_is_not_to_be_had_is_told_and_built_when_asked() {
    let bench = bench();
    bench.write("fix/package-lock.json", "three\n");
    let said = bench.ok("fix", ["sync"]);
    assert!(said.contains("  web:      to be built: there is no web-"), "{said}");
    assert_eq!(bench.read("fix/node_modules/made"), "one\n");
    let said = bench.ok("fix", ["sync", "--build"]);
    assert!(said.contains("  web:      built\n"), "{said}");
    assert_eq!(bench.read("fix/node_modules/made"), "three\n");
}

#[test]
fn what_a_failed_sync_did_not_take_from_the_source_the_next_one_takes() {
    let bench = bench();
    bench.write("repo/package-lock.json", "three\n");
    bench.commit("repo", "three");
    bench.write("repo/node_modules/made", "in the source\n");
    bench.git("fix", ["rebase", "-q", "main"]);
    // The source can't be looked at while git's configuration of it is wrong.
    bench.git("repo", ["config", "depsfs.absolutePaths", "nonsense"]);
    let failed = bench.depsfs("fix", ["sync"]);
    assert!(failed.code == 2 && failed.err.contains("depsfs.absolutepaths is"), "{failed:?}");
    assert_eq!(bench.read("fix/node_modules/made"), "one\n");
    bench.git("repo", ["config", "--unset", "depsfs.absolutePaths"]);
    let said = bench.ok("fix", ["sync"]);
    assert!(said.contains("  web:      from the source, whose key is the same"), "{said}");
    assert!(said.contains("  changed:  node_modules, as the source has it\n"), "{said}");
    assert_eq!(bench.read("fix/node_modules/made"), "in the source\n");
    assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
    bench.assert_clean("fix");
}

#[test]
fn files_of_ones_own_in_the_place_of_the_sources_are_told_until_they_are_gone() {
    let bench = bench();
    bench.write("repo/.gitignore", "node_modules/\nmade.json\n");
    bench.write("repo/depsfs.toml", &TOML.replace("\"node_modules\"]", "\"node_modules\", \"made.json\"]"));
    bench.commit("repo", "a file");
    bench.ok("repo", ["approve"]);
    bench.write("repo/package-lock.json", "three\n");
    bench.commit("repo", "three");
    bench.write("repo/node_modules/made", "in the source\n");
    bench.write("repo/made.json", "in the source\n");
    // `old` has built its own, in a plain directory.
    bench.git("old", ["rebase", "-q", "main"]);
    for _ in 0..2 {
        let said = bench.ok("old", ["sync"]);
        assert!(said.contains("  unfit:    node_modules: the worktree has its own there\n"), "{said}");
        assert_eq!(
            (bench.read("old/node_modules/made"), bench.read("old/made.json")),
            ("one\n".into(), "in the source\n".into())
        );
    }
    bench.write("old/made.json", "mine\n");
    std::fs::remove_dir_all(bench.path("old/node_modules")).unwrap();
    let said = bench.ok("old", ["sync"]);
    assert!(said.contains("  added:    node_modules, ") && said.contains("  unfit:    made.json: "), "{said}");
    assert_eq!(
        (bench.read("old/node_modules/made"), bench.read("old/made.json")),
        ("in the source\n".into(), "mine\n".into())
    );
    std::fs::remove_file(bench.path("old/made.json")).unwrap();
    let said = bench.ok("old", ["sync"]);
    assert!(said.contains("  added:    made.json, ") && !said.contains("unfit"), "{said}");
    assert_eq!(bench.ok("old", ["sync"]), "everything is up to date\n");
    bench.assert_clean("old");
}

#[test]
fn without_components_views_follow_the_source_while_their_lock_files_agree() {
    for bench in Bench::in_both_shapes() {
        bench.ok("repo", ["create", "fix"]);
        bench.write("fix/build/lib.a", "mine\n");
        bench.write("repo/build/lib.a", "newer\n");
        bench.write("repo/build/new.o", "new\n");
        bench.write("repo/node_modules/a/index.js", "module.exports = 3\n");
        let said = bench.ok("fix", ["sync", "--dry-run"]);
        assert!(said.contains("changed:  build") && said.contains("changed:  node_modules"), "{said}");
        assert!(!bench.is_there("fix/build/new.o"));
        bench.write("fix/package-lock.json", "{\"version\": 2}\n");
        let said = bench.ok("fix", ["sync"]);
        assert!(said.contains("  unfit:    node_modules: ") && !said.contains("changed"), "{said}");
        assert_eq!(bench.read("fix/node_modules/a/index.js"), "module.exports = 1\n");
        bench.git("fix", ["checkout", "-q", "package-lock.json"]);
        let said = bench.ok("fix", ["sync"]);
        assert!(said.contains("  changed:  build, as the source has it\n"), "{said}");
        assert!(said.contains("  hides newer: M build/lib.a\n"), "{said}");
        assert_eq!((bench.read("fix/build/lib.a"), bench.read("fix/build/new.o")), ("mine\n".into(), "new\n".into()));
        assert_eq!(bench.read("fix/node_modules/a/index.js"), "module.exports = 3\n");
        assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
        bench.assert_clean("fix");
        bench.assert_sound();
    }
}

#[test]
fn what_is_published_is_what_shows_and_the_next_worktree_gets_it() {
    let bench = bench();
    bench.write("fix/node_modules/made", "made here\n");
    std::fs::remove_file(bench.path("fix/node_modules/same")).unwrap();
    let said = bench.ok("fix", ["publish"]);
    assert!(said.starts_with("published web as web-") && said.contains("3 files"), "{said}");
    assert_eq!(bench.read("fix/node_modules/made"), "made here\n");
    bench.ok("repo", ["create", "next", "HEAD~1"]);
    assert_eq!(bench.read("next/node_modules/made"), "made here\n");
    assert!(!bench.is_there("next/node_modules/same") && bench.is_there("next/node_modules/sub/x"));
    let said = bench.ok("fix", ["publish", "node_modules/sub", "package-lock.json", "--name", "both"]);
    assert_eq!(said, "published both: 2 files, 8 B\n");
    bench.ok("", ["mount", "both", "--at", "at"]);
    assert_eq!(
        (bench.read("at/node_modules/sub/x"), bench.read("at/package-lock.json")),
        ("one\n".into(), "one\n".into())
    );
    for (args, code) in [(&["publish", "package-lock.json"][..], 2), (&["publish", "../repo", "--name", "x"], 2)] {
        assert_eq!(bench.depsfs("fix", args).code, code, "{args:?}");
    }
    bench.assert_clean("fix");
    bench.assert_sound();
}

#[test]
fn what_is_published_during_a_long_publish_is_remembered_too() {
    let bench = Bench::empty(None);
    let component =
        |name| format!("[[component]]\nname = \"{name}\"\npaths = [\"{name}\"]\nkey = {{ files = [\"key\"] }}\n");
    bench.write("repo/depsfs.toml", &(component("long") + &component("short")));
    bench.write("repo/.gitignore", "long/\nshort/\n");
    bench.write("repo/key", "one\n");
    bench.commit("repo", "one");
    bench.write("repo/long/x", "x\n");
    bench.write("repo/short/x", "x\n");
    bench.ok("repo", ["create", "fix"]);
    (0..3000).for_each(|n| bench.write(&format!("fix/long/{n}"), &format!("{n}\n")));
    let staged = || std::fs::read_dir(bench.path("store/tmp")).unwrap().count();
    assert_eq!(staged(), 0);
    let mut long = bench.command(PROGRAM, "fix");
    let mut long = long.args(["publish", "long"]).stdout(Stdio::null()).spawn().unwrap();
    soon("it has begun", || staged() > 0 || long.try_wait().unwrap().is_some());
    bench.ok("fix", ["publish", "short"]);
    assert!(long.wait().unwrap().success());
    let record = json(&bench.read("repo/.git/worktrees/fix/depsfs/components.json"));
    for known in record["components"].as_array().unwrap() {
        assert_eq!(
            (&known["state"], known["entries"].as_array().map(Vec::len)),
            (&"built".into(), Some(1)),
            "{record}"
        );
    }
}

#[test]
fn what_is_written_beside_a_sync_is_kept_to_the_last_word() {
    let bench = bench();
    let (fix, done) = (bench.path("fix/node_modules"), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Two that write what an artifact holds, which a sync gives up, and then something of their own.
        let writers = ["made", "sub/x"].map(|file| {
            let (at, done) = (fix.join(file), &done);
            scope.spawn(move || {
                let (mut round, mut said) = (0, Vec::new());
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::write(&at, ["one\n", "two\n"][round % 2]).unwrap();
                    let mut file = std::fs::OpenOptions::new().append(true).open(&at).unwrap();
                    let own = format!("own {round}\n");
                    std::io::Write::write_all(&mut file, own.as_bytes()).unwrap();
                    drop(file);
                    let now = std::fs::read_to_string(&at).unwrap();
                    if !now.ends_with(&own) {
                        said.push(format!("{at:?} lost {own:?}: {now:?}"));
                    }
                    round += 1;
                }
                said
            })
        });
        for commit in ["main", "main~1", "main", "main~1"] {
            bench.git("fix", ["checkout", "-q", "--detach", commit]);
            bench.ok("fix", ["sync"]);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let said: Vec<String> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
        assert_eq!(said, Vec::<String>::new());
    });
    bench.assert_sound();
}

#[test]
fn directories_that_only_the_source_has_come_and_none_that_would_hide_something() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    for at in ["build-new/x", "build-own/x", "node_modules/a/new", "sub/node_modules/y", "other/node_modules/z"] {
        bench.write(&format!("repo/{at}"), "source\n");
    }
    bench.write("fix/build-own/mine", "mine\n");
    bench.write("fix/other/package-lock.json", "another\n");
    std::fs::create_dir(bench.path("fix/build-new")).unwrap();
    let said = bench.ok("fix", ["sync", "--dry-run"]);
    assert!(said.contains("added:    build-new") && said.contains("added:    sub/node_modules"), "{said}");
    assert!(!bench.is_there("fix/build-new/x") && !bench.is_there("fix/sub"));
    let said = json(&bench.ok("fix", ["sync", "--json"]));
    assert_eq!(said["added"], serde_json::json!(["build-new", "sub/node_modules"]));
    assert_eq!(said["unfit"], serde_json::json!(["other/node_modules"]));
    assert_eq!(
        (bench.read("fix/build-new/x"), bench.read("fix/sub/node_modules/y")),
        ("source\n".into(), "source\n".into())
    );
    assert!(!bench.is_there("fix/build-own/x") && !bench.is_there("fix/other/node_modules"));
    assert_eq!(bench.mounts().len(), bench.mounts_of(4));
    assert_eq!(bench.git("fix", ["status", "--porcelain"]), "?? other/");
    assert!(!bench.ok("fix", ["sync"]).contains("added"));
    // One that its user made plain stays so.
    bench.ok("fix", ["thaw", "build-new"]);
    assert!(!bench.ok("fix", ["sync"]).contains("added"));
    bench.assert_sound();
}

#[test]
fn a_worktree_of_a_synced_worktree_has_what_that_one_shows_and_is_up_to_date() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one"]);
    bench.write("repo/build/out.o", "newer\n");
    bench.ok("one", ["sync"]);
    let said = bench.ok("one", ["create", "two"]);
    assert!(said.contains("  shared:   2 views, 4 files, "), "{said}");
    assert_eq!(bench.read("two/build/out.o"), "newer\n");
    assert_eq!(bench.ok("two", ["sync"]), "everything is up to date\n");
}

#[test]
fn a_directory_that_cannot_become_a_view_is_none_and_the_next_sync_tries_again() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    bench.write("repo/build-new/x", "source\n");
    bench.write("repo/build-other/x", "source\n");
    // The place of its journal is a file.
    let journals = bench.path("repo/.git/worktrees/fix/depsfs/views");
    let id = &blake3::hash(b"build-other").to_hex()[..16];
    std::fs::write(journals.join(id), "").unwrap();
    let failed = bench.depsfs("fix", ["sync"]);
    assert!(failed.code == 1 && failed.err.contains("build-other"), "{failed:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2), "{:?}", bench.mounts());
    assert!(!bench.is_there("fix/build-new") && !bench.is_there("fix/build-other"));
    assert!(!bench.status("fix", &[]).contains("build-"));
    std::fs::remove_file(journals.join(id)).unwrap();
    let said = json(&bench.ok("fix", ["sync", "--json"]));
    assert_eq!(said["added"], serde_json::json!(["build-new", "build-other"]));
    assert_eq!(bench.read("fix/build-other/x"), "source\n");
    bench.assert_clean("fix");
}

#[test]
fn what_was_relocated_is_relocated_again_and_what_was_changed_since_stays() {
    for bench in Bench::in_both_shapes() {
        let (repo, fix) = (bench.path("repo").display().to_string(), bench.path("fix").display().to_string());
        for file in ["cache", "mine", "same"] {
            bench.write(&format!("repo/build/{file}"), &format!("at {repo}/x\n"));
        }
        std::os::unix::fs::symlink(format!("{repo}/src"), bench.path("repo/build/link")).unwrap();
        bench.ok("repo", ["create", "fix"]);
        bench.write("fix/build/mine", "mine\n");
        for file in ["cache", "mine", "new"] {
            bench.write(&format!("repo/build/{file}"), &format!("now at {repo}/y\n"));
        }
        let said = bench.ok("fix", ["sync"]);
        assert!(said.contains("changed:  build") && said.contains("hides newer: M build/mine"), "{said}");
        assert!(!said.contains("build/cache") && !said.contains("build/new"), "{said}");
        for file in ["cache", "new"] {
            assert_eq!(bench.read(&format!("fix/build/{file}")), format!("now at {fix}/y\n"));
        }
        assert_eq!(
            (bench.read("fix/build/mine"), bench.read("fix/build/same")),
            ("mine\n".into(), format!("at {fix}/x\n"))
        );
        assert_eq!(std::fs::read_link(bench.path("fix/build/link")).unwrap(), bench.path("fix/src"));
        let names = std::fs::read_dir(bench.path("fix/build")).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["cache", "lib.a", "link", "mine", "new", "out.o", "same"]);
        assert!(bench.ok("fix", ["status"]).contains("paths:    "), "the result is remembered");
        assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
        bench.assert_clean("fix");
    }
}

#[test]
fn a_link_of_ones_own_to_what_the_store_has_in_its_place_is_not_relocated() {
    let bench = Bench::new();
    let repo = bench.path("repo").display().to_string();
    let files = ["1", "2", "3"].map(|file| format!("build/{file}"));
    let fill = |word: &str| files.iter().for_each(|at| bench.write(&format!("repo/{at}"), &format!("{word} {repo}\n")));
    fill("at");
    bench.ok("repo", ["create", "fix"]);
    let links = [&files[0], &files[2]].map(|at| bench.path("fix").join(at));
    for link in &links {
        std::fs::remove_file(link).unwrap();
        std::os::unix::fs::symlink("2", link).unwrap();
    }
    fill("now at");
    bench.ok("fix", ["sync"]);
    for link in links {
        assert_eq!(std::fs::read_link(link).unwrap(), std::path::Path::new("2"));
    }
    assert_eq!(bench.read("fix/build/1"), format!("now at {}\n", bench.path("fix").display()));
}

#[test]
fn files_that_an_ended_sync_did_not_relocate_are_relocated_by_it_or_by_the_next_one() {
    const FILES: usize = 400;
    let bench = Bench::new();
    let (repo, fix) = (bench.path("repo").display().to_string(), bench.path("fix").display().to_string());
    let fill = |round: usize| {
        (0..FILES).for_each(|n| bench.write(&format!("repo/build/{n}"), &format!("{round} at {repo}/x\n")));
        bench.write("repo/build/round", &format!("{round}\n"));
    };
    fill(0);
    bench.ok("repo", ["create", "fix"]);
    for (round, signal) in [(1, Signal::SIGINT), (2, Signal::SIGKILL)] {
        fill(round);
        let mut command = bench.command(PROGRAM, "fix");
        let mut sync = command.arg("sync").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The new trees show, and nothing or little is relocated yet.
        soon("the new trees show", || bench.read("fix/build/round") == format!("{round}\n"));
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(sync.id() as i32), signal);
        soon("the sync ends", || sync.try_wait().unwrap().is_some());
        bench.ok("fix", ["sync"]);
        for n in 0..FILES {
            assert_eq!(bench.read(&format!("fix/build/{n}")), format!("{round} at {fix}/x\n"), "{signal}");
        }
        let status = bench.status("fix", &[]);
        assert!(status.contains(&format!("paths:    {FILES} files relocated\n")), "{status}");
        assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
    }
}

#[test]
fn what_is_published_beside_a_writer_is_whole_or_refused() {
    let bench = bench();
    let (at, done) = (bench.path("fix/node_modules"), std::sync::atomic::AtomicBool::new(false));
    let contents = ["a", "b"].map(|letter| letter.repeat(100_000));
    std::fs::write(at.join("made"), &contents[0]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for content in contents.iter().cycle() {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                std::fs::write(at.join("aside"), content).unwrap();
                std::fs::rename(at.join("aside"), at.join("made")).unwrap();
            }
        });
        for round in 0..6 {
            let name = format!("published-{round}");
            let said = bench.depsfs("fix", ["publish", "node_modules", "--name", &name]);
            let is_there = bench.ok("", ["store", "list"]).contains(&name);
            assert_eq!(said.code == 0, is_there, "{said:?}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    bench.ok("fix", ["publish", "node_modules", "--name", "published-last"]);
    for line in bench.ok("", ["store", "list"]).lines().filter(|l| l.starts_with("published-")) {
        let name = line.split_whitespace().next().unwrap();
        bench.ok("", ["mount", name, "--at", name]);
        let made = bench.read(&format!("{name}/node_modules/made"));
        assert!(contents.contains(&made), "{name}: {} bytes", made.len());
        bench.ok("", ["unmount", "--at", name]);
    }
    bench.assert_sound();
}
