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
