//! `depsfs pr`: a worktree of a pull request, from a bare repository as the server.

use crate::bench::Bench;

/// A repository whose remotes are a server of GitHub's kind and one of GitLab's: each has a request of one commit more.
fn bench() -> Bench {
    let bench = Bench::new();
    for (server, reference) in [("hub.git", "refs/pull/12/head"), ("lab.git", "refs/merge-requests/7/head")] {
        bench.git("", ["clone", "-q", "--bare", "repo", server]);
        push(&bench, server, reference, "proposed");
    }
    bench.git("repo", ["remote", "add", "origin", "../hub.git"]);
    bench
}

/// Puts a commit on a reference of a server, as a push to the pull request does.
fn push(bench: &Bench, server: &str, reference: &str, text: &str) {
    let clone = format!("clone-{server}");
    if !bench.is_there(&clone) {
        bench.git("", ["clone", "-q", server, &clone]);
    }
    bench.write(&format!("{clone}/proposal"), text);
    bench.commit(&clone, text);
    bench.git(&clone, ["push", "-q", "-f", "origin", &format!("HEAD:{reference}")]);
}

#[test]
fn a_pull_request_and_a_merge_request_become_worktrees_with_artifacts_that_can_be_pulled() {
    let bench = bench();
    let said = bench.ok("repo", ["pr", "12"]);
    assert!(said.contains("  branch:   pr-12 at ") && said.contains("  next:     cd ../pr-12\n"), "{said}");
    assert_eq!((bench.read("pr-12/proposal"), bench.read("pr-12/build/out.o")), ("proposed".into(), "object\n".into()));
    bench.assert_clean("pr-12");
    push(&bench, "hub.git", "refs/pull/12/head", "more");
    bench.git("pr-12", ["pull", "-q", "--ff-only"]);
    assert_eq!(bench.read("pr-12/proposal"), "more");
    bench.git("repo", ["remote", "add", "lab", "../lab.git"]);
    assert_eq!(bench.ok("repo", ["path", "pr-12"]), bench.ok("pr-12", ["path"]));
    let path = bench.ok("repo", ["pr", "!7", "--remote", "lab", "--print-path"]);
    assert_eq!(path, format!("{}\n", bench.path("pr-7").to_str().unwrap()));
    assert_eq!(bench.read("pr-7/proposal"), "proposed");
}

#[test]
fn a_branch_of_an_earlier_look_moves_unless_it_has_commits_of_its_own() {
    let bench = bench();
    bench.ok("repo", ["pr", "#12"]);
    let said = bench.depsfs("repo", ["pr", "12"]);
    assert!(said.code == 3 && said.err.contains("exists already"), "{said:?}");
    bench.ok("repo", ["remove", "pr-12"]);
    push(&bench, "hub.git", "refs/pull/12/head", "more");
    bench.ok("repo", ["pr", "12"]);
    assert_eq!(bench.read("pr-12/proposal"), "more");
    bench.write("pr-12/own", "own");
    bench.commit("pr-12", "own");
    bench.ok("repo", ["remove", "pr-12"]);
    let said = bench.depsfs("repo", ["pr", "12"]);
    assert!(said.code == 0 && said.err.contains("pr-12 has commits of its own"), "{said:?}");
    assert_eq!(bench.read("pr-12/own"), "own");
}

#[test]
fn a_dry_run_fetches_nothing_and_what_is_not_there_is_refused() {
    let bench = bench();
    let objects = || crate::bench::metadata(&bench.path("repo/.git"));
    let before = objects();
    let dry = bench.ok("repo", ["pr", "12", "--dry-run"]);
    assert!(dry.contains("  base-ref: origin/refs/pull/12/head\n") && dry.contains("/pr-12\n"), "{dry}");
    for (args, code, because) in [
        (&["pr", "99"][..], 3, "pull request 99 is not at origin"),
        (&["pr", "12", "--remote", "--upload-pack=touch ran"], 2, ""),
        (&["pr", "12", "--remote=--upload-pack=touch ran"], 3, "the repository has no remote"),
        (&["pr", "nonsense"], 2, "it is no number"),
    ] {
        let said = bench.depsfs("repo", args);
        assert!(said.code == code && said.err.contains(because), "{args:?}: {said:?}");
    }
    assert_eq!(objects(), before);
    assert!(!bench.is_there("pr-12") && !bench.is_there("repo/ran"));
}

#[test]
fn the_path_alone_is_on_stdout_if_it_is_asked_for() {
    let bench = Bench::new();
    let path = format!("{}\n", bench.path("fix").to_str().unwrap());
    assert_eq!(bench.ok("repo", ["create", "fix", "--print-path", "--dry-run"]), path);
    let said = bench.depsfs("repo", ["create", "fix", "--print-path"]);
    assert_eq!((said.code, &said.out), (0, &path));
    assert!(said.err.starts_with("created ") && said.err.contains("  next:     cd ../fix\n"), "{said:?}");
    let said = bench.depsfs("repo", ["create", "second", "--print-path", "-q"]);
    assert_eq!((said.out, said.err), (path.replace("/fix\n", "/second\n"), String::new()));
}

#[test]
fn an_entry_that_is_removed_is_gone_by_name_and_worktrees_keep_its_files() {
    let bench = Bench::new();
    bench.write("one/file", "1");
    bench.ok("", ["store", "add", "one"]);
    bench.write("two/file", "2");
    bench.ok("", ["store", "add", "two"]);
    bench.ok("", ["mount", "one", "--at", "out"]);
    let said = bench.depsfs("", ["store", "remove", "one", "three"]);
    assert!(said.code == 3 && said.err.contains("three"), "{said:?}");
    assert_eq!(bench.ok("", ["store", "list"]).lines().count(), 2, "all or none");
    assert!(bench.ok("", ["store", "remove", "--yes", "one"]).contains("removed one"));
    bench.ok("", ["gc", "--keep-days", "0"]);
    assert_eq!(bench.read("out/file"), "1");
    std::fs::write(bench.path("store/entries/two"), "damaged").unwrap();
    bench.ok("", ["store", "remove", "two"]);
    assert_eq!(bench.ok("", ["store", "list"]), "");
    bench.ok("", ["unmount", "--at", "out"]);
}
