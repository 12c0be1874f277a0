//! `depsfs create` with a `depsfs.toml`: keys, hits, the source's snapshot, builds in their order, and going on.

use std::process::Command;

use crate::bench::{Bench, PROGRAM, Said, run};

/// Two components: `lib` is built of src/lib, `web` of its lock file and after `lib`.
const TOML: &str = r#"
[[component]]
name = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }
cache = "web-{key}.tar.gz"
build = "echo building web; test -e lib/dist/lib; mkdir -p node_modules; cat package-lock.json > node_modules/made"
after = ["lib"]

[[component]]
name = "lib"
dir = "lib"
paths = ["dist"]
key = { files = ["src/**", "/README.md"] }
build = "echo building lib; test ! -e broken; mkdir -p dist; cat src/* > dist/lib"
"#;

fn bench() -> Bench {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "node_modules/\ndist/\nran\nbroken\n");
    bench.write("repo/README.md", "words\n");
    bench.write("repo/package-lock.json", "{\"version\": 1}\n");
    bench.write("repo/lib/src/a", "a\n");
    bench.write("repo/lib/src/b", "b\n");
    bench.write("repo/depsfs.toml", TOML);
    bench.commit("repo", "one");
    bench.ok("repo", ["approve"]);
    bench
}

fn create(bench: &Bench, args: &[&str]) -> Said {
    run(bench.command(PROGRAM, "repo").arg("create").args(args).env("CACHE_LOCAL_DIR", bench.path("local")))
}

#[track_caller]
fn created(bench: &Bench, args: &[&str]) -> Said {
    let said = create(bench, args);
    assert_eq!(said.code, 0, "{said:?}");
    said
}

#[test]
fn what_is_nowhere_to_be_had_is_built_in_order_and_the_next_worktree_gets_it_from_the_store() {
    let bench = bench();
    let said = created(&bench, &["one"]);
    let (lib, web) = (said.err.find("building lib"), said.err.find("building web"));
    assert!(lib.is_some() && lib < web, "{said:?}");
    assert!(said.out.contains("  lib:      to be built") && said.out.ends_with("  built:    lib, web\n"), "{said:?}");
    assert_eq!(bench.read("one/lib/dist/lib"), "a\nb\n");
    let said = created(&bench, &["two"]);
    assert!(!said.err.contains("building"), "{said:?}");
    assert!(said.out.contains("  web:      artifact web-"), "{said:?}");
    for at in ["one", "two"] {
        assert_eq!(bench.read(&format!("{at}/lib/dist/lib")), "a\nb\n");
        assert_eq!(bench.read(&format!("{at}/node_modules/made")), "{\"version\": 1}\n");
        bench.assert_clean(at);
    }
    bench.write("two/lib/dist/lib", "mine\n");
    created(&bench, &["three"]);
    assert_eq!(bench.read("three/lib/dist/lib"), "a\nb\n");
    bench.assert_sound();
}

#[test]
fn the_source_gives_what_has_the_same_key_and_the_rest_is_built() {
    let bench = bench();
    bench.write("repo/node_modules/made", "in the source\n");
    bench.write("repo/lib/dist/lib", "in the source\n");
    bench.git("repo", ["checkout", "-q", "-b", "next"]);
    bench.write("repo/package-lock.json", "{\"version\": 2}\n");
    bench.commit("repo", "two");
    bench.git("repo", ["checkout", "-q", "main"]);
    let said = created(&bench, &["same"]);
    assert!(said.out.contains("  web:      from the source, whose key is the same"), "{said:?}");
    assert_eq!(bench.read("same/node_modules/made"), "in the source\n");
    let said = created(&bench, &["other", "next"]);
    assert!(said.out.contains("  lib:      from the source") && said.err.contains("building web"), "{said:?}");
    assert_eq!(bench.read("other/lib/dist/lib"), "in the source\n");
    assert_eq!(bench.read("other/node_modules/made"), "{\"version\": 2}\n");
    bench.assert_clean("other");
}

/// The name of web's artifact, as a dry run tells it.
fn web_artifact(bench: &Bench, args: &[&str]) -> String {
    let said = created(bench, &[&["look", "--dry-run"], args].concat());
    let from = said.out.find("web-").unwrap_or_else(|| panic!("{said:?}"));
    said.out[from..].lines().next().unwrap().into()
}

#[test]
fn an_artifact_of_the_local_cache_directory_is_a_hit_and_frozen_only_goes_by_that() {
    let bench = bench();
    bench.write("repo/lib/dist/lib", "in the source\n");
    let refused = create(&bench, &["one", "--frozen-only"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("components would have to be built: web\n"), "{refused:?}");
    assert!(!bench.is_there("one") && bench.git("repo", ["branch", "--list", "al/one"]).is_empty());
    let name = web_artifact(&bench, &[]);
    bench.write("made/node_modules/made", "in the cache\n");
    std::fs::create_dir_all(bench.path("local")).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(bench.path("local").join(&name)).arg("-C").arg(bench.path("made")).arg("node_modules");
    assert!(tar.status().unwrap().success());
    let said = created(&bench, &["one", "--frozen-only"]);
    assert!(said.out.contains(&format!("  web:      artifact {name}")), "{said:?}");
    assert_eq!(bench.read("one/node_modules/made"), "in the cache\n");
    assert_eq!(bench.read("one/lib/dist/lib"), "in the source\n");
    bench.assert_clean("one");
}

#[test]
fn a_dry_run_says_what_each_component_would_do_and_makes_nothing() {
    let bench = bench();
    let said = created(&bench, &["one", "--dry-run"]);
    let lines: Vec<&str> = said.out.lines().skip(5).collect();
    assert!(lines[0].starts_with("  lib:      to be built: there is no lib-"), "{said:?}");
    assert!(lines[1].starts_with("  web:      to be built: there is no web-"), "{said:?}");
    assert!(!bench.is_there("one") && !bench.is_there("store") && !bench.is_there("repo/.git/worktrees"));
    bench.ok("repo", ["approve", "--withdraw"]);
    let said = created(&bench, &["one", "--dry-run"]);
    assert!(said.out.contains("their commands are not approved"), "{said:?}");
}

#[test]
fn a_build_that_fails_keeps_the_worktree_and_resume_goes_on_where_it_stopped() {
    let bench = bench();
    bench.write("repo/broken", "");
    bench.write("repo/depsfs.toml", &TOML.replace("test ! -e broken;", "test -e ran || exit 7;"));
    bench.commit("repo", "broken");
    bench.ok("repo", ["approve"]);
    let failed = create(&bench, &["one"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("component lib was not built") && failed.err.contains("exit code 7"), "{failed:?}");
    assert!(failed.err.contains("depsfs create --resume"), "{failed:?}");
    assert!(bench.is_there("one/lib/src/a") && !bench.is_there("one/node_modules/made"));
    assert_eq!(bench.depsfs("repo", ["create", "--resume", "one"]).code, 1);
    bench.write("one/lib/ran", "");
    let said = bench.ok("one/lib", ["create", "--resume"]);
    assert_eq!(said, "  lib:      built\n  web:      built\n");
    assert_eq!(bench.read("one/lib/dist/lib"), "a\nb\n");
    assert_eq!(bench.ok("repo", ["create", "--resume", "../one"]), "nothing is left to be done\n");
    bench.assert_clean("one");
}

#[test]
fn a_key_command_is_asked_in_the_new_worktree_and_disabled_means_the_source() {
    let bench = Bench::new();
    bench.write("repo/hash", "git rev-parse HEAD:src | cut -c1-16\n");
    bench.write(
        "repo/depsfs.toml",
        "[[component]]\nname = \"all\"\npaths = [\"build\", \"node_modules\"]\nkey = { command = \"sh ./hash\" }\n\
         build = \"mkdir -p build node_modules; echo built > build/out.o; echo built > node_modules/x\"\n",
    );
    bench.commit("repo", "a key command");
    bench.write("repo/src/main.c", "changed\n");
    bench.commit("repo", "another");
    bench.ok("repo", ["approve"]);
    let said = bench.ok("repo", ["create", "same"]);
    assert!(said.contains("  all:      from the source, whose key is the same"), "{said}");
    let before = bench.git("repo", ["worktree", "list"]);
    let said = bench.ok("repo", ["create", "--dry-run", "old", "HEAD~1"]);
    assert!(said.contains("  all:      to be built"), "{said}");
    assert_eq!(bench.git("repo", ["worktree", "list"]), before);
    assert_eq!(bench.git("repo", ["for-each-ref", "--format=%(refname)"]).lines().count(), 2);
    bench.ok("repo", ["create", "old", "HEAD~1"]);
    assert_eq!(bench.read("old/build/out.o"), "built\n");
    bench.write("repo/hash", "echo disabled-cache\n");
    bench.commit("repo", "disabled");
    let said = bench.ok("repo", ["create", "disabled"]);
    assert!(said.contains("  all:      from the source\n"), "{said}");
    bench.write("repo/hash", "echo two words; exit 0\n");
    bench.commit("repo", "no hash");
    let failed = bench.depsfs("repo", ["create", "wrong"]);
    assert!(failed.code == 1 && failed.err.contains("key of component all could not be told"), "{failed:?}");
    assert!(!bench.is_there("wrong"));
}

#[test]
fn a_component_without_a_key_and_directories_without_a_component_come_from_the_source() {
    let bench = Bench::new();
    bench.write("repo/depsfs.toml", "[[component]]\nname = \"web\"\npaths = [\"node_modules\"]\n");
    bench.commit("repo", "components");
    bench.ok("repo", ["create", "one", "--frozen-only"]);
    assert_eq!(bench.mounts().len(), 2);
    bench.write(
        "repo/depsfs.toml",
        "undeclared = \"leave\"\n[[component]]\nname = \"web\"\npaths = [\"node_modules\"]\n",
    );
    bench.commit("repo", "fewer");
    bench.ok("repo", ["create", "two"]);
    assert!(bench.is_there("two/node_modules/a/index.js") && !bench.is_there("two/build"));
}
