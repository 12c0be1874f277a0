//! Exit codes for scripts, and three lines for people.

use crate::bench::Bench;

#[test]
fn every_failure_has_its_code_and_says_what_because_and_hint() {
    let bench = Bench::new();
    bench.write("plain/file", "x");
    bench.write("bad.tar.gz", "no archive");
    bench.write("taken/file", "x");
    let table: [(&str, &[&str], i32, &str); 15] = [
        ("plain", &["create", "fix"], 3, "is in no git checkout"),
        ("repo", &["create", "taken"], 3, "exists already"),
        ("repo", &["create", "fix", "no-such-ref"], 3, "no commit of this repository"),
        ("repo", &["create", "a b"], 2, "not a name git takes"),
        ("repo", &["create", "fix", "--branch", "x..y"], 2, "not a name git takes"),
        ("repo", &["create", "fix", "--branch", "main/x"], 3, "cannot be made beside branch main"),
        ("repo", &["status", "--stats"], 3, "knows of no views"),
        ("plain", &["unmount", "--at", "."], 3, "mounted nothing at"),
        ("repo", &["unmount", "--at", "../taken"], 3, "mounted nothing at"),
        ("repo", &["diff"], 3, "knows of no views"),
        ("repo", &["remove", "fix"], 3, "no worktree of this repository"),
        ("repo", &["mount", "a", "b"], 2, "several entries need a directory"),
        ("", &["store", "add", "bad.tar.gz"], 3, "refused"),
        ("", &["store", "add", "absent.tar"], 1, "absent.tar"),
        ("", &["store", "add", "plain", "--name", "a/b"], 2, "cannot name an entry"),
    ];
    for (at, args, code, because) in table {
        let said = bench.depsfs(at, args);
        assert_eq!(said.code, code, "{args:?}: {said:?}");
        let lines: Vec<&str> = said.err.lines().collect();
        let [what, why, hint] = lines[..] else { panic!("{args:?}: {said:?}") };
        assert!(
            what.starts_with("depsfs: ") && why.starts_with("  because: ") && hint.starts_with("  hint: "),
            "{said:?}"
        );
        assert!(why.contains(because), "{args:?}: {said:?}");
        assert_eq!(said.out, "");
    }
    assert!(!bench.is_there("fix") && bench.git("repo", ["branch", "--list", "al/*"]).is_empty());
}

#[test]
fn wrong_arguments_are_usage_errors_and_help_is_none() {
    let bench = Bench::new();
    for args in [&["create"][..], &["no-such-verb"], &["gc", "--keep-days", "x"], &[]] {
        assert_eq!(bench.depsfs("repo", args).code, 2, "{args:?}");
    }
    for args in
        [&["--help"][..], &["create", "--help"], &["--version"], &["completions", "bash"], &["man"], &["man", "create"]]
    {
        assert_eq!(bench.depsfs("repo", args).code, 0, "{args:?}");
    }
    assert!(bench.ok("repo", ["create", "--help"]).contains("takes back what was made"));
}

#[test]
fn a_damaged_store_is_named_and_verify_fails() {
    let bench = Bench::new();
    bench.write("dir/file", "content\n");
    bench.ok("", ["store", "add", "dir"]);
    let objects = bench.path("store/objects");
    let bucket = std::fs::read_dir(objects).unwrap().next().unwrap().unwrap().path();
    let object = std::fs::read_dir(bucket).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "Content\n").unwrap();
    let said = bench.depsfs("", ["store", "verify"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains(object.file_name().unwrap().to_str().unwrap()), "{said:?}");
}
