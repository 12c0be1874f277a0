//! Reports of commands on what they did, or didn't: on an output that is full, in odd places, without their store.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use crate::approve::at_a_terminal;
use crate::bench::{Bench, PROGRAM, Said, json, run};

/// Runs depsfs with an output that takes nothing.
fn to_full(bench: &Bench, at: &str, args: &[&str]) -> Said {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = bench.command(PROGRAM, at);
    let done = command.args(args).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    Said { code: done.status.code().unwrap_or(-1), out: String::new(), err: String::from_utf8(done.stderr).unwrap() }
}

#[test]
fn what_is_done_but_cannot_be_reported_is_said_to_be_done() {
    let bench = Bench::new();
    let created = format!("depsfs: {} was created, but the report", bench.path("fix").display());
    let published = "depsfs: kept was published, but the report";
    let removed = format!("depsfs: {} was removed, but the report", bench.path("fix").display());
    let table: [(&str, &[&str], &str); 10] = [
        ("repo", &["create", "fix"], &created),
        ("fix", &["unmount"], "depsfs: the views were unmounted, but the report"),
        ("fix", &["mount"], "depsfs: the views were mounted, but the report"),
        ("fix", &["publish", "build", "--name", "kept"], published),
        ("fix", &["sync"], "depsfs: the worktree was brought up to date, but the report"),
        ("fix", &["thaw", "build", "node_modules/a/index.js"], "depsfs: the paths were thawed, but the report"),
        ("fix", &["reset", "--yes", "node_modules"], "depsfs: the changes were dropped, but the report"),
        ("repo", &["init"], "depsfs: depsfs.toml was written, but the report"),
        ("repo", &["remove", "fix"], &removed),
        ("", &["gc"], "depsfs: the store was cleaned up, but the report"),
    ];
    for (at, args, what) in table {
        let said = to_full(&bench, at, args);
        assert_eq!(said.code, 1, "{args:?}: {said:?}");
        assert!(said.err.contains(what), "{args:?}: {said:?}");
        assert!(
            said.err.contains("No space left on device") && said.err.contains("the work itself is done and stays"),
            "{said:?}"
        );
        match args[0] {
            "create" => assert_eq!(bench.read("fix/build/out.o"), "object\n"),
            "unmount" => assert!(bench.mounts().is_empty()),
            "mount" => assert_eq!(bench.mounts().len(), bench.mounts_of(2)),
            "thaw" => assert!(bench.mounts().len() == 1 && bench.read("fix/build/out.o") == "object\n"),
            _ => {}
        }
    }
    let dry_run: &[&str] = &["create", "other", "--dry-run"];
    let helps: [&[&str]; 4] = [&["--help"], &["-h"], &["--version"], &["store", "add", "--help"]];
    for read_only in [&["init", "--print"][..], &["store", "list"], &["doctor"], dry_run].into_iter().chain(helps) {
        let said = to_full(&bench, "repo", read_only);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.starts_with("depsfs: the answer could not be written\n"), "{said:?}");
    }
}

#[test]
fn a_relative_store_is_refused_by_every_command_that_needs_one_and_made_nowhere() {
    let bench = Bench::new();
    bench.write("dir/f", "x");
    let relative =
        |at: &str, args: &[&str]| run(bench.command(PROGRAM, at).env("DEPSFS_STORE", "rel/store").args(args));
    let table: [(&str, &[&str]); 8] = [
        ("repo", &["create", "fix"]),
        ("repo", &["gc"]),
        ("repo", &["list", "--all"]),
        ("repo", &["doctor"]),
        ("repo", &["mount", "--all"]),
        ("", &["store", "add", "dir"]),
        ("", &["store", "list"]),
        ("", &["mount", "dir", "--at", "at"]),
    ];
    for (at, args) in table {
        let said = relative(at, args);
        assert_eq!(said.code, 2, "{args:?}: {said:?}");
        assert!(said.err.contains("because: DEPSFS_STORE is rel/store, which is a relative path"), "{said:?}");
        assert!(said.err.contains("hint: set DEPSFS_STORE to an absolute path"), "{said:?}");
    }
    assert!(!bench.is_there("repo/rel") && !bench.is_there("rel") && !bench.is_there("fix"));
    // As the XDG specification has it, a relative base directory counts as unset.
    let mut command = bench.command(PROGRAM, "repo");
    command.env_remove("DEPSFS_STORE").env("XDG_DATA_HOME", "rel").env("HOME", bench.path("home"));
    std::fs::create_dir(bench.path("home")).unwrap();
    if let Some(uid) = bench.uid {
        command.uid(uid);
    }
    assert_eq!(run(command.args(["create", "fix"])).code, 0);
    assert!(bench.is_there("home/.local/share/depsfs/store/version") && !bench.is_there("repo/rel"));
}

#[test]
fn a_store_that_is_gone_is_told_of_and_no_command_makes_it_anew() {
    for bench in Bench::in_both_shapes() {
        bench.ok("repo", ["create", "fix"]);
        std::fs::rename(bench.path("store"), bench.path("away")).unwrap();
        let said = bench.status("fix", &[]);
        assert!(said.contains(&format!("\nstore:    {}: it is gone;", bench.path("store").display())), "{said}");
        assert_eq!(json(&bench.status("fix", &["--json"]))["store_trouble"], "it is gone");
        let doctor = bench.depsfs("fix", ["doctor"]);
        assert_eq!(doctor.code, 1, "{doctor:?}");
        let row = format!(
            "[FAIL]  store: {}: it is gone; views of {}",
            bench.path("store").display(),
            bench.path("fix").display()
        );
        assert!(doctor.out.contains(&row), "{doctor:?}");
        for args in [&["sync"][..], &["sync", "--dry-run"], &["create", "next"], &["diff"], &["mount"]] {
            bench.depsfs("fix", args);
            assert!(!bench.is_there("store"), "{args:?}");
        }
        bench.ok("fix", ["unmount"]);
        let said = bench.depsfs("fix", ["mount"]);
        assert!(said.code == 1 && said.err.contains("is gone"), "{said:?}");
        let said = bench.depsfs("fix", ["diff"]);
        assert!(
            said.code == 3 && said.err.contains(&format!("the store {} is gone", bench.path("store").display())),
            "{said:?}"
        );
        assert!(!bench.is_there("store"));
        // An empty one in its place has none of the trees.
        bench.ok("", ["store", "list"]);
        let lost = if bench.has_mounts_of_worktrees() { 3 } else { 2 };
        let status = bench.status("fix", &[]);
        assert!(status.contains(&format!("it has lost {lost} of the trees")), "{status}");
        std::fs::remove_dir_all(bench.path("store")).unwrap();
        std::fs::rename(bench.path("away"), bench.path("store")).unwrap();
        bench.ok("fix", ["mount"]);
        assert_eq!(bench.read("fix/build/out.o"), "object\n");
        assert_eq!(json(&bench.status("fix", &["--json"]))["store_trouble"], serde_json::Value::Null);
        bench.ok("fix", ["unmount"]);
        std::fs::rename(bench.path("store"), bench.path("away")).unwrap();
        bench.ok("repo", ["remove", "fix"]);
        assert!(!bench.is_there("fix") && !bench.is_there("store"), "a worktree can be removed without its store");
    }
}

#[test]
fn status_says_how_many_views_are_missing_and_what_brings_them_back() {
    let bench = Bench::new().with_mounts_of_directories();
    bench.ok("repo", ["create", "fix"]);
    assert!(!bench.status("fix", &[]).contains("missing:"));
    std::fs::remove_dir_all(bench.path("fix/build")).unwrap();
    let said = bench.status("fix", &[]);
    assert!(said.contains("\nmissing:  1 of 2 views: depsfs reset restores deleted ones\n"), "{said}");
    bench.ok("fix", ["unmount"]);
    let said = bench.status("fix", &[]);
    let both = "depsfs mount mounts those that are not mounted, depsfs reset restores deleted ones";
    assert!(said.contains(&format!("\nmissing:  2 of 2 views: {both}\n")), "{said}");
}

#[test]
fn thaw_and_reset_of_a_path_that_is_not_there_are_refused_by_its_name_and_change_nothing() {
    for bench in Bench::in_both_shapes() {
        bench.ok("repo", ["create", "fix"]);
        for mounted in [true, false] {
            for args in [&["thaw", "build", "build/nosuch"][..], &["reset", "--yes", "build/nosuch"]] {
                let said = bench.depsfs("fix", args);
                assert_eq!(said.code, 3, "{said:?}");
                let absent = format!("because: {} does not exist", bench.path("fix/build/nosuch").display());
                assert!(said.err.contains(&absent), "{said:?}");
            }
            // Nothing to drop, mounted or not.
            bench.ok("fix", ["reset", "--yes", "build/out.o"]);
            assert_eq!(bench.mounts().len(), if mounted { bench.mounts_of(2) } else { 0 });
            bench.ok("fix", ["unmount"]);
        }
    }
}

#[test]
fn a_no_at_the_terminal_is_no_failure() {
    let bench = Bench::new();
    if run(bench.command("sh", "repo").args(["-c", "command -v script"])).code != 0 {
        return println!("skipped: no terminal can be made, because script (util-linux) is not installed");
    }
    bench.ok("repo", ["create", "fix"]);
    bench.write("fix/build/mine", "mine\n");
    let said = at_a_terminal(&bench, "fix", "n", "reset build");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("Drop 1 change? [y/N] ") && said.out.contains("nothing changed"), "{said:?}");
    assert!(!said.out.contains("hint"), "{said:?}");
    assert_eq!(bench.read("fix/build/mine"), "mine\n");
    let said = bench.depsfs("fix", ["reset", "build"]);
    assert!(said.code == 3 && said.err.contains("hint: give --yes"), "without a terminal: {said:?}");
    let said = at_a_terminal(&bench, "fix", "y", "reset build");
    assert!(said.code == 0 && !bench.is_there("fix/build/mine"), "{said:?}");
}

#[test]
fn a_second_init_and_a_publish_without_components_are_refused_with_hints_that_can_be_followed() {
    let bench = Bench::new();
    bench.ok("repo", ["init"]);
    let said = bench.depsfs("repo", ["init"]);
    assert!(said.code == 3 && said.err.contains("depsfs.toml exists already"), "{said:?}");
    assert!(said.err.contains("depsfs init --print") && !said.err.contains("another name"), "{said:?}");
    bench.write("repo/depsfs.toml", "undeclared = \"share\"\n");
    let said = bench.depsfs("repo", ["publish"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.starts_with("depsfs: nothing was published\n"), "{said:?}");
}

#[test]
fn in_a_bare_repository_and_around_it_its_worktrees_are_listed_and_nothing_else_is_done() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "of-repo"]);
    bench.git("", ["clone", "-q", "--bare", "repo", "hub/.bare"]);
    bench.write("hub/.git", "gitdir: ./.bare\n");
    bench.git("hub", ["worktree", "add", "-q", "main", "main"]);
    bench.git("hub/.bare", ["config", "core.bare", "true"]);
    bench.write("hub/main/build/out.o", "object\n");
    bench.ok("hub/main", ["create", "fix", "--branch", "fix"]);
    for at in ["hub", "hub/.bare", "hub/main", "hub/fix/build"] {
        let listed = json(&bench.ok(at, ["list", "--json"]));
        let paths: Vec<&str> =
            listed["worktrees"].as_array().unwrap().iter().map(|l| l["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["hub/fix", "hub/main"].map(|at| bench.path(at).to_str().unwrap().to_owned()), "{at}");
    }
    assert_eq!(
        json(&bench.ok("", ["list", "--json"]))["worktrees"].as_array().unwrap().len(),
        2,
        "outside of all: all"
    );
    for args in [&["create", "x"][..], &["adopt"], &["init"], &["publish"]] {
        let said = bench.depsfs("hub", args);
        assert_eq!(said.code, 3, "{args:?}: {said:?}");
    }
    for at in ["hub", "hub/.bare"] {
        assert_eq!(bench.ok(at, ["status"]), bench.ok("hub/main", ["list"]));
    }
    let said = bench.depsfs("hub", ["create", "x"]);
    assert!(said.err.contains("is the directory of a bare repository"), "{said:?}");
    assert!(said.err.contains("go to one of its worktrees"), "{said:?}");
}

#[test]
fn a_create_inside_a_submodule_says_of_which_checkout_the_worktree_is() {
    let bench = Bench::new();
    bench.git("", ["clone", "-q", "repo", "lib"]);
    bench.git("repo", ["submodule", "--quiet", "add", "../lib", "lib"]);
    bench.commit("repo", "a submodule");
    let said = bench.ok("repo/lib/src", ["create", "fix"]);
    assert!(
        said.contains(&format!("  source:   {}, of which lib is a submodule\n", bench.path("repo").display())),
        "{said}"
    );
    assert!(!bench.ok("repo/src", ["create", "other"]).contains("source:"));
}

#[test]
fn in_a_directory_that_was_deleted_the_message_says_so() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("gone")).unwrap();
    let line = format!("rmdir ../gone; {PROGRAM} list; {PROGRAM} status; {PROGRAM} mount a --at b -o store=c");
    let said = run(bench.command("sh", "gone").args(["-c", &line]));
    assert!(!said.err.contains("HOME"), "{said:?}");
    assert!(said.err.contains("the working directory was deleted"), "{said:?}");
}
