//! `depsfs sync` and `depsfs publish`: after a rebase, and for the next worktree.

use crate::bench::{Bench, json};

const TOML: &str = r#"
[[component]]
name = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }
build = "mkdir -p node_modules/sub; cp package-lock.json node_modules/made; cp package-lock.json node_modules/sub/x; echo same > node_modules/same"
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
    let open = std::fs::File::open(bench.path("fix/node_modules/made")).unwrap();
    bench.git("fix", ["rebase", "-q", "main"]);
    let before = bench.mounts();
    let said = bench.ok("fix", ["sync", "--dry-run"]);
    assert!(said.contains("  web:      artifact web-"), "{said}");
    assert_eq!(bench.read("fix/node_modules/made"), "one\n");
    let said = bench.ok("fix/node_modules", ["sync"]);
    assert!(said.contains("  hides newer: M node_modules/sub/x\n"), "{said}");
    assert_eq!(bench.mounts(), before);
    assert_eq!(bench.read("fix/node_modules/made"), "two\n");
    assert_eq!(bench.read("fix/node_modules/sub/x"), "mine\n");
    assert_eq!(bench.read("fix/node_modules/own"), "own\n");
    assert_eq!(std::io::read_to_string(open).unwrap(), "one\n");
    bench.assert_clean("fix");
    assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
}

#[test]
fn what_was_built_here_and_is_unchanged_does_not_hide_what_is_newer() {
    let bench = bench();
    // `old` built its own.
    bench.git("old", ["rebase", "-q", "main"]);
    let said = json(&bench.ok("", ["sync", "old", "--json"]));
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
fn without_components_views_follow_the_source_while_their_lock_files_agree() {
    let bench = Bench::new();
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

#[test]
fn what_is_published_is_what_shows_and_the_next_worktree_gets_it() {
    let bench = bench();
    bench.write("fix/node_modules/made", "made here\n");
    std::fs::remove_file(bench.path("fix/node_modules/same")).unwrap();
    let said = bench.ok("fix", ["publish"]);
    assert!(said.starts_with("published web as web-") && said.contains("2 files"), "{said}");
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
