//! `depsfs create` with a `depsfs.toml`: keys, hits, the source's snapshot, builds in their order, and going on.

use std::process::Command;

use crate::bench::{Bench, PROGRAM, Said, run, soon};
use crate::web::{Answer, Web};

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
    assert!(
        said.out.contains("  lib:      to be built")
            && said.out.ends_with("  built:    lib, web\n  next:     cd ../one\n"),
        "{said:?}"
    );
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
fn what_is_resumed_is_built_though_the_source_has_it_by_now() {
    let bench = bench();
    bench.write("repo/depsfs.toml", &TOML.replace("test ! -e broken;", "test -e ran || exit 7;"));
    bench.commit("repo", "broken");
    bench.ok("repo", ["approve"]);
    assert_eq!(create(&bench, &["one"]).code, 1);
    bench.write("one/lib/ran", "");
    bench.write("repo/lib/dist/lib", "in the source\n");
    bench.write("repo/node_modules/made", "in the source\n");
    assert_eq!(bench.ok("one", ["create", "--resume"]), "  lib:      built\n  web:      built\n");
    assert_eq!(bench.read("one/lib/dist/lib"), "a\nb\n");
    assert_eq!(bench.read("one/node_modules/made"), "{\"version\": 1}\n");
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
    let said = bench.ok("repo", ["create", "wrong"]);
    let line = "  all:      from the source; its key cannot be computed: its command printed";
    assert!(said.contains(line), "{said}");
    bench.write("repo/hash", "head -c 2000000 /dev/zero\n");
    bench.commit("repo", "a key of 2 MB");
    let said = bench.ok("repo", ["create", "long"]);
    assert!(said.contains("printed more than 1 MiB"), "{said}");
}

#[test]
fn a_key_that_cannot_be_computed_costs_its_component_alone_and_sync_tries_again() {
    let bench = Bench::new();
    bench.write("repo/hash", "test -e \"$DEPSFS_WORKTREE/online\" || { seq 40 >&2; exit 1; }; echo 0123456789abcdef\n");
    bench.write(
        "repo/depsfs.toml",
        "[[component]]\nname = \"all\"\npaths = [\"build\"]\nkey = { command = \"sh ./hash\" }\n\
         [[component]]\nname = \"next\"\nafter = [\"all\"]\npaths = [\"node_modules\"]\nkey = { files = [\"src/**\"] }\n",
    );
    bench.commit("repo", "a key that needs the network");
    bench.ok("repo", ["approve"]);
    let refused = bench.depsfs("repo", ["create", "frozen", "--frozen-only"]);
    assert!(refused.code != 0 && refused.err.contains("all (its key cannot be computed: its command"), "{refused:?}");
    assert!(!bench.is_there("frozen"));
    let said = bench.depsfs("repo", ["create", "one"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("  all:      from the source; its key cannot be computed: its command"), "{said:?}");
    assert!(said.out.contains("  next:     from the source; its key cannot be computed: that of all"), "{said:?}");
    assert!(!said.err.contains("\n39\n"), "the output of the command is in the way: {}", said.err);
    assert!(bench.is_there("one/build/out.o") && bench.is_there("one/node_modules/a/index.js"));
    let said = bench.depsfs("one", ["sync"]);
    assert!(said.code == 0 && said.err.contains("the key of component all cannot be computed"), "{said:?}");
    bench.write("one/online", "");
    bench.write("repo/online", "");
    let said = bench.depsfs("one", ["sync"]);
    assert!(said.code == 0 && said.out.contains("all") && !said.err.contains("cannot be computed"), "{said:?}");
}

#[test]
fn a_component_without_a_key_and_directories_without_a_component_come_from_the_source() {
    let bench = Bench::new();
    bench.write("repo/depsfs.toml", "[[component]]\nname = \"web\"\npaths = [\"node_modules\"]\n");
    bench.commit("repo", "components");
    bench.ok("repo", ["create", "one", "--frozen-only"]);
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.write(
        "repo/depsfs.toml",
        "undeclared = \"leave\"\n[[component]]\nname = \"web\"\npaths = [\"node_modules\"]\n",
    );
    bench.commit("repo", "fewer");
    bench.ok("repo", ["create", "two"]);
    assert!(bench.is_there("two/node_modules/a/index.js") && !bench.is_there("two/build"));
}

#[test]
fn what_the_remote_has_is_downloaded_through_a_broken_connection_and_kept_for_the_next_machine() {
    let (bench, web) = (bench(), Web::start());
    let name = web_artifact(&bench, &[]);
    bench.write("made/node_modules/made", "at the remote\n");
    let tar = bench.path("made/tar");
    assert_eq!(run(bench.command("tar", "made").arg("-czf").arg(&tar).arg("node_modules")).code, 0);
    let bytes = std::fs::read(&tar).unwrap();
    web.lay(&format!("/artifacts/{name}"), &[Answer::Half(bytes.clone()), Answer::Whole(bytes.clone())]);
    let mut command = bench.command(PROGRAM, "repo");
    command.args(["create", "one"]).env("CI3_SERVER", &web.url).env("CACHE_LOCAL_DIR", bench.path("local"));
    let said = run(&mut command);
    assert!(said.code == 0 && said.out.contains(&format!("  web:      artifact {name}")), "{said:?}");
    assert!(said.err.contains("trying again") && said.err.contains("building lib"), "{said:?}");
    assert_eq!(bench.read("one/node_modules/made"), "at the remote\n");
    assert_eq!(std::fs::read(bench.path("local").join(&name)).unwrap(), bytes);
    bench.assert_clean("one");
    bench.assert_sound();
}

#[test]
fn two_hundred_artifacts_come_right_from_the_local_directory_and_then_from_the_store() {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "target/\n");
    let mut toml = String::new();
    for n in 0..200 {
        bench.write(&format!("repo/keys/{n}"), &format!("{n}\n"));
        toml += &format!(
            "[[component]]\nname = \"c{n}\"\npaths = [\"target/{n}.json\"]\nkey = {{ files = [\"keys/{n}\"] }}\n\
             cache = \"c{n}-{{key}}.tar.gz\"\nbuild = \"touch built; false\"\n"
        );
    }
    bench.write("repo/depsfs.toml", &toml);
    bench.commit("repo", "two hundred");
    bench.ok("repo", ["approve"]);
    let said = bench.ok("repo", ["create", "look", "--allow-unbuilt", "--dry-run"]);
    let names = said.lines().filter_map(|line| {
        let (component, name) = line.split_once(": ")?;
        Some((component.trim().strip_prefix('c')?.to_owned(), name.trim().rsplit_once(' ')?.1.to_owned()))
    });
    let names: Vec<(String, String)> = names.collect();
    assert_eq!(names.len(), 200, "{said}");
    std::fs::create_dir_all(bench.path("local")).unwrap();
    let mut script = String::from("set -e; mkdir target\n");
    for (n, name) in &names {
        script += &format!("echo artifact {n} >target/{n}.json; tar -czf ../local/{name} ./target/{n}.json\n");
    }
    bench.write("made/script", &script);
    let made = run(bench.command("sh", "made").arg("script"));
    assert_eq!(made.code, 0, "{made:?}");
    for (name, local) in [("one", "local"), ("two", "nowhere")] {
        let mut command = bench.command(PROGRAM, "repo");
        let said = run(command.args(["create", name, "--allow-unbuilt"]).env("CACHE_LOCAL_DIR", bench.path(local)));
        assert_eq!(said.code, 0, "{said:?}");
        for n in 0..200 {
            assert_eq!(bench.read(&format!("{name}/target/{n}.json")), format!("artifact {n}\n"));
        }
        assert_eq!(std::fs::read_dir(bench.path(name).join("target")).unwrap().count(), 200);
        bench.assert_clean(name);
    }
    assert_eq!((bench.mounts().len(), bench.ok("", ["store", "list"]).lines().count()), (2, 200));
    bench.assert_sound();
}

/// As [`bench`], but `lib` hangs in its build until a file says that it need not.
fn hanging(more: &str) -> Bench {
    let bench = bench();
    let hangs = "test -e ran || { echo $$ >../../begun; sleep 1000; };";
    bench.write("repo/depsfs.toml", &(TOML.replace("test ! -e broken;", hangs) + more));
    bench.commit("repo", "hangs");
    bench.ok("repo", ["approve"]);
    bench
}

#[test]
fn ctrl_c_ends_a_build_that_hangs_with_all_it_started_and_resume_goes_on() {
    let bench = hanging("");
    let mut command = bench.command(PROGRAM, "repo");
    command.args(["create", "one"]).stdin(std::process::Stdio::null());
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let begun = || std::fs::read_to_string(bench.path("begun")).ok()?.trim().parse::<i32>().ok();
    soon("the build begins", || begun().is_some());
    let signal = |pid, signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    signal(child.id() as i32, Some(nix::sys::signal::Signal::SIGINT)).unwrap();
    let said = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success(), "{err}");
    assert!(err.contains("component lib was not built") && err.contains("interrupted by signal 2"), "{err}");
    assert!(err.contains("depsfs create --resume"), "{err}");
    // Its whole process group: the shell, and what it waited for.
    soon("the build has ended", || signal(-begun().unwrap(), None).is_err());
    assert!(bench.is_there("one/lib/src/a") && !bench.is_there("one/node_modules/made"));
    bench.write("one/lib/ran", "");
    assert_eq!(bench.ok("repo", ["create", "--resume", "one"]), "  lib:      built\n  web:      built\n");
    assert_eq!(bench.read("one/lib/dist/lib"), "a\nb\n");
    bench.assert_clean("one");
}

#[test]
fn a_build_that_takes_longer_than_it_may_is_ended_and_fails_the_create() {
    let bench = hanging("timeout = \"1s\"\n");
    let failed = create(&bench, &["one"]);
    assert!(failed.code == 1 && failed.err.contains("it took longer than 1 s"), "{failed:?}");
    assert!(bench.is_there("one/lib/src/a"));
    bench.write("one/lib/ran", "");
    bench.ok("one", ["create", "--resume"]);
    assert_eq!(bench.read("one/lib/dist/lib"), "a\nb\n");
}
