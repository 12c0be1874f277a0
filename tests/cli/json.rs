//! `--json`: one envelope for all verbs, errors on stderr, schemas.

use serde_json::{Value, json};

use crate::bench::{self, Bench, Said, schema};

/// The objects on stderr, one a line.
fn objects(said: &Said) -> Vec<Value> {
    said.err.lines().map(bench::json).collect()
}

#[test]
fn an_error_is_one_object_on_stderr_with_the_words_and_the_exit_code_of_the_other_form() {
    let bench = Bench::new();
    for (at, args) in [("", &["status"][..]), ("repo", &["create", "fix", "no-such-base"]), ("repo", &["remove", "no"])]
    {
        let words = bench.depsfs(at, args);
        let said = bench.depsfs(at, args.iter().chain(&["--json"]));
        assert_eq!((said.code, said.out.as_str()), (words.code, ""), "{said:?}");
        let [error] = &objects(&said)[..] else { panic!("{said:?}") };
        assert_eq!((&error["schema"], &error["exit_code"]), (&json!("depsfs.error/1"), &json!(words.code)));
        let text = |field: &str| error[field].as_str().unwrap().to_owned();
        let printed = format!("depsfs: {}\n  because: {}\n  hint: {}\n", text("what"), text("because"), text("hint"));
        assert_eq!(printed, words.err);
    }
}

#[test]
fn wrong_usage_is_an_object_too_and_an_option_after_two_dashes_asks_for_nothing() {
    let bench = Bench::new();
    let said = bench.depsfs("repo", ["--json", "list", "--no-such-option"]);
    let [error] = &objects(&said)[..] else { panic!("{said:?}") };
    assert_eq!((said.code, &error["exit_code"]), (2, &json!(2)));
    assert!(error["because"].as_str().unwrap().contains("--no-such-option"), "{error}");
    let said = bench.depsfs("repo", ["exec", "--no-such-option", "--", "--json"]);
    assert!(said.code == 2 && said.err.starts_with("error: "), "{said:?}");
}

#[test]
fn the_option_may_stand_before_the_verb_and_every_answer_names_its_schema() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.write("fix/build/mine", "mine\n");
    for (verb, args) in [
        ("list", &["list"][..]),
        ("status", &["status", "../fix"]),
        ("path", &["path", "fix"]),
        ("diff", &["diff", "../fix/build"]),
        ("doctor", &["doctor"]),
        ("gc", &["gc", "--dry-run"]),
        ("sync", &["sync", "../fix", "--dry-run"]),
        ("service.status", &["service", "status"]),
    ] {
        let before = bench.depsfs("repo", ["--json"].iter().chain(args));
        let after = bench.depsfs("repo", args.iter().chain(&["--json"]));
        for said in [before, after] {
            assert_eq!(bench::json(&said.out)["schema"], format!("depsfs.{verb}/1"), "{said:?}");
        }
    }
}

#[test]
fn every_listed_schema_is_printed_and_another_is_wrong_usage() {
    let bench = Bench::empty(None);
    let listed = bench.ok("", ["json-schema"]);
    assert!(listed.lines().count() > 8, "{listed}");
    for verb in listed.lines() {
        let printed = bench::json(&bench.ok("", ["json-schema"].into_iter().chain(verb.split('.'))));
        assert_eq!(printed["properties"]["schema"]["const"], format!("depsfs.{verb}/1"));
        // A value without any field has at least the fault that the checker is to find.
        assert!(!schema::faults(&printed, &printed, &json!({}), verb).is_empty(), "{verb}");
    }
    assert_eq!(bench.depsfs("", ["json-schema", "no-such-verb"]).code, 2);
}

/// Runs a verb with `--json`; its answer, which has to name the verb's schema.
#[track_caller]
fn answer(bench: &Bench, at: &str, args: &[&str]) -> Value {
    let said = bench.depsfs(at, args.iter().chain(&["--json"]));
    assert_eq!(said.code, 0, "{args:?}: {said:?}");
    let answer = bench::json(&said.out);
    let verb = args[0];
    let name = answer["schema"].as_str().unwrap_or_else(|| panic!("{said:?}"));
    assert!(name.starts_with(&format!("depsfs.{verb}")) && name.ends_with("/1"), "{said:?}");
    answer
}

#[test]
fn the_life_of_a_worktree_is_told_in_json() {
    let bench = Bench::new();
    let fix = bench.path("fix").display().to_string();
    let dry = answer(&bench, "repo", &["create", "fix", "--dry-run"]);
    assert_eq!(
        (&dry["dry_run"], &dry["worktree"], &dry["views"]),
        (&json!(true), &json!(fix), &json!(["build", "node_modules"]))
    );
    assert!(!bench.is_there("fix"));
    let made = answer(&bench, "repo", &["create", "fix"]);
    assert_eq!((&made["worktree"], &made["branch"], &made["mounted"]), (&json!(fix), &json!("al/fix"), &json!(true)));
    assert_eq!((&made["shared_files"], &made["copied"]), (&json!(4), &json!([{"path": ".env", "relocated": false}])));
    assert_eq!(answer(&bench, "fix", &["adopt"])["had_views"], true);
    bench.git("repo", ["worktree", "add", "-q", "../plain"]);
    assert_eq!(answer(&bench, "plain", &["adopt"])["views"], json!(["build", "node_modules"]));

    bench.write("fix/build/out.o", "mine\n");
    bench.write("fix/build/new", "mine\n");
    let changes = json!([{"kind": "added", "path": "build/new"}, {"kind": "modified", "path": "build/out.o"}]);
    assert_eq!(answer(&bench, "fix", &["reset", "build", "--dry-run"])["changes"], changes);
    let unasked = bench.depsfs("fix", ["reset", "build", "--json"]);
    assert_eq!((unasked.code, unasked.out.as_str()), (3, ""), "{unasked:?}");
    let [first, second, error] = &objects(&unasked)[..] else { panic!("{unasked:?}") };
    assert_eq!((&first["note"], &second["note"]), (&json!("A build/new"), &json!("M build/out.o")));
    assert_eq!(error["exit_code"], 3);
    assert_eq!(answer(&bench, "fix", &["reset", "build", "--yes"])["changes"], changes);
    assert!(!bench.is_there("fix/build/new"));

    assert_eq!(answer(&bench, "fix", &["unmount", "--dry-run"])["path"], json!(fix));
    answer(&bench, "fix", &["unmount"]);
    assert_eq!(answer(&bench, "fix", &["mount"])["places"], json!([{"path": fix, "state": "mounted", "views": 2}]));
    let all = answer(&bench, "", &["mount", "--all"]);
    assert_eq!(all["places"].as_array().map(Vec::len), Some(2), "{all}");
    let thawed = json!([{"path": "build/out.o", "paths": 1, "whole": false}]);
    assert_eq!(answer(&bench, "fix", &["thaw", "build/out.o", "--dry-run"])["thawed"], thawed);
    assert_eq!(answer(&bench, "fix", &["thaw", "build/out.o"])["thawed"], thawed);
    let published = answer(&bench, "fix", &["publish", "--name", "built", "build"]);
    assert_eq!(
        (&published["published"][0]["entry"], &published["published"][0]["files"]),
        (&json!("built"), &json!(2))
    );
    let removed = answer(&bench, "repo", &["remove", "fix", "--delete-branch"]);
    assert_eq!((&removed["worktree"], &removed["branch_deleted"]), (&json!(fix), &json!("al/fix")));
    bench.ok("plain", ["unmount"]);
}

#[test]
fn the_store_the_cache_and_the_configuration_are_told_of_in_json() {
    let bench = Bench::new();
    let added = answer(&bench, "", &["store", "add", "repo/build", "--name", "built"]);
    assert_eq!((&added["name"], &added["files"]), (&json!("built"), &json!(2)));
    assert_eq!(answer(&bench, "", &["store", "list"])["entries"][0]["name"], "built");
    assert_eq!(answer(&bench, "", &["store", "verify"])["sound"], true);
    let written = answer(&bench, "repo", &["init"]);
    assert_eq!((&written["written"], &written["text"]), (&json!(true), &json!(bench.read("repo/depsfs.toml"))));
    assert_eq!(answer(&bench, "repo", &["approve"])["withdrawn"], false);

    let name = "noir-0123456789abcdef.tar.gz";
    let cache = |args: &[&str]| {
        let mut command = bench.command(bench::PROGRAM, "repo");
        bench::run(command.args(args).arg("--json").env("CACHE_LOCAL_DIR", bench.path("cache")))
    };
    let missed = cache(&["cache", "get", name]);
    assert_eq!((missed.code, missed.out.as_str()), (1, ""));
    assert_eq!(objects(&missed).last().unwrap()["schema"], "depsfs.error/1", "{missed:?}");
    let absent = cache(&["cache", "exists", name]);
    assert_eq!((absent.code, &bench::json(&absent.out)["found"], absent.err.as_str()), (1, &json!(false), ""));
    let put = bench::json(&cache(&["cache", "put", name, "build"]).out);
    assert_eq!((&put["skipped"], &put["file"]), (&json!(null), &json!(bench.path("cache").join(name))));
    assert_eq!(bench::json(&cache(&["cache", "exists", name]).out)["found"], true);
    let got = bench::json(&cache(&["cache", "get", name, "out"]).out);
    let shown = json!([bench.path("repo/out/build")]);
    assert_eq!((&got["schema"], &got["views"]), (&json!("depsfs.cache.get/1"), &shown), "{got}");
    bench.ok("repo", ["unmount"]);
}

#[test]
fn a_name_that_is_not_utf_8_is_kept_in_each_answer_that_has_it() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let odd = std::ffi::OsStr::from_bytes(b"build-\xff");
    std::fs::create_dir(bench.path("repo").join(odd)).unwrap();
    std::fs::write(bench.path("repo").join(odd).join("file"), "odd\n").unwrap();
    let made = answer(&bench, "repo", &["create", "fix"]);
    assert!(made["views"].as_array().unwrap().contains(&json!("build-%FF")), "{made}");
    std::fs::write(bench.path("fix").join(odd).join(odd), "mine\n").unwrap();
    let reset = answer(&bench, "fix", &["reset", ".", "--yes"]);
    assert_eq!(reset["changes"], json!([{"kind": "added", "path": "build-%FF/build-%FF"}]));
    bench.ok("fix", ["unmount"]);
}
