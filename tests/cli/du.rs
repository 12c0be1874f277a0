//! `depsfs du`, and the space that worktrees save in `list` and `gc`.

use serde_json::{Value, json};

use crate::bench::{self, Bench, soon};

/// The bytes of the artifacts of the source.
const ARTIFACTS: u64 = 1_000_000;

/// A repository whose artifacts have [`ARTIFACTS`] bytes.
fn with_artifacts() -> Bench {
    let bench = Bench::new();
    let others: usize = ["node_modules/a/index.js", "node_modules/a/b/deep.js", "build/out.o", "build/lib.a"]
        .iter()
        .map(|at| bench.read(&format!("repo/{at}")).len())
        .sum();
    bench.write("repo/build/big", &"b".repeat(ARTIFACTS as usize - others));
    bench
}

fn du(bench: &Bench, at: &str, args: &[&str]) -> Value {
    bench::json(&bench.ok(at, ["du", "--json"].iter().chain(args)))
}

fn row<'a>(answer: &'a Value, path: &std::path::Path) -> &'a Value {
    let path = path.display().to_string();
    let rows = answer["worktrees"].as_array().unwrap();
    rows.iter().find(|row| row["path"] == *path).unwrap_or_else(|| panic!("no {path}: {answer:#}"))
}

#[test]
fn the_bytes_of_the_store_are_divided_among_the_worktrees_and_the_columns_add_up() {
    let bench = with_artifacts();
    bench.ok("repo", ["create", "one"]);
    let answer = du(&bench, "repo", &[]);
    assert_eq!(row(&answer, &bench.path("one"))["shared_bytes"], ARTIFACTS);
    assert_eq!((&answer["total"]["saved_bytes"], &answer["total"]["worktrees"]), (&json!(0), &json!(1)));
    bench.ok("repo", ["create", "two"]);
    bench.ok("repo", ["create", "three", "--no-mount"]);
    bench.write("two/build/mine", &"m".repeat(300_000));
    let answer = du(&bench, "one", &[]);
    let sum =
        |field: &str| answer["worktrees"].as_array().unwrap().iter().map(|r| r[field].as_u64().unwrap()).sum::<u64>();
    let total = |field: &str| answer["total"][field].as_u64().unwrap();
    assert_eq!(sum("saved_bytes"), total("saved_bytes"));
    assert_eq!(sum("shared_bytes"), total("shared_bytes") + total("saved_bytes"));
    // Two copies of three; the rest of the divisions is some bytes.
    assert!((2 * ARTIFACTS..2 * ARTIFACTS + 10).contains(&total("saved_bytes")), "{answer:#}");
    assert!(answer["store_bytes"].as_u64().unwrap() > ARTIFACTS / 2, "{answer:#}");

    let private = |at: &str| row(&answer, &bench.path(at))["private_bytes"].as_u64().unwrap();
    assert_eq!(private("one"), 0);
    assert!((300_000..400_000).contains(&private("two")), "{answer:#}");
    // A change of the mode alone, and a touch, take no space.
    std::fs::set_permissions(bench.path("one/build/big"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(row(&du(&bench, "one", &[]), &bench.path("one"))["private_bytes"], 0);

    let only = du(&bench, "repo", &["two"]);
    assert_eq!(only["worktrees"].as_array().map(Vec::len), Some(1));
    assert_eq!(row(&only, &bench.path("two")), row(&answer, &bench.path("two")));
    assert_eq!(du(&bench, "", &["--all"])["total"], answer["total"]);
}

#[test]
fn the_table_is_aligned_and_list_and_gc_end_with_the_space_that_is_saved() {
    let bench = with_artifacts();
    bench.ok("repo", ["create", "one"]);
    bench.ok("repo", ["create", "two"]);
    let table = bench.ok("repo", ["du"]);
    let lines: Vec<&str> = table.lines().collect();
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0), ["worktree", "private", "shared", "saved"], "{table}");
    assert_eq!(words(1)[1..], ["0", "B", "1.0", "MB", "500", "kB"], "{table}");
    assert_eq!(words(3), ["in", "all", "0", "B", "1.0", "MB", "1.0", "MB"], "{table}");
    let column = |line: usize, word: &str| lines[line].find(word).unwrap();
    assert_eq!((column(1, "1.0 MB"), column(3, "1.0 MB")), (column(0, "shared"), column(0, "shared")), "{table}");
    assert!(lines[4].starts_with("store:   ") && lines.len() == 6, "{table}");
    let saved = "saved 1.0 MB in 2 worktrees\n";
    assert!(table.ends_with(saved), "{table}");
    for args in [&["list"][..], &["gc", "--dry-run"], &["gc"]] {
        let said = bench.ok("repo", args);
        assert!(said.ends_with(saved), "{said}");
    }
    let gc = bench::json(&bench.ok("repo", ["gc", "--json"]));
    assert_eq!((&gc["saved_bytes"], &gc["saved_worktrees"]), (&json!(ARTIFACTS), &json!(2)));
    let listed = bench::json(&bench.ok("repo", ["list", "--json"]));
    assert_eq!(listed["worktrees"][1]["saved_bytes"], ARTIFACTS / 2, "{listed:#}");
}

#[test]
fn a_view_that_was_deleted_or_whose_store_is_gone_is_not_shared() {
    let bench = with_artifacts();
    bench.ok("repo", ["create", "one", "--view", "directories"]);
    std::fs::remove_dir_all(bench.path("one/build")).unwrap();
    soon("the view is dropped", || {
        row(&du(&bench, "repo", &[]), &bench.path("one"))["shared_bytes"].as_u64().is_some_and(|n| n < 1000)
    });
    bench.ok("one", ["unmount"]);
    std::fs::rename(bench.path("store"), bench.path("away")).unwrap();
    let answer = du(&bench, "repo", &[]);
    assert_eq!((answer["store_bytes"].as_u64(), answer["worktrees"].as_array().map(Vec::len)), (Some(0), Some(1)));
    assert_eq!(row(&answer, &bench.path("one"))["shared_bytes"], Value::Null);
}
