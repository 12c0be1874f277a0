//! The branch and the directory that `depsfs create` takes: as `git worktree add` does, and as its options say.

use crate::bench::Bench;

/// A clone of `repo` with artifacts, whose remote `origin` has the branch `team/x`.
fn with_remote() -> Bench {
    let bench = Bench::new();
    bench.git("repo", ["branch", "team/x"]);
    bench.git("", ["clone", "-q", "repo", "clone"]);
    bench.write("clone/build/out.o", "object\n");
    bench
}

fn branch(bench: &Bench, at: &str) -> String {
    bench.git(at, ["rev-parse", "--abbrev-ref", "HEAD"])
}

/// A hook that makes `git worktree add` fail when it has made everything.
fn failing_hook(bench: &Bench) -> std::path::PathBuf {
    let hook = bench.path("repo/.git/hooks/post-checkout");
    bench.write("repo/.git/hooks/post-checkout", "#!/bin/sh\nexit 1\n");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    hook
}

fn upstream(bench: &Bench, branch: &str) -> String {
    bench.git("clone", ["for-each-ref", "--format=%(upstream:short)", &format!("refs/heads/{branch}")])
}

#[test]
fn a_branch_that_one_remote_has_is_made_and_tracks_it() {
    let bench = with_remote();
    let said = bench.ok("clone", ["create", "team/x"]);
    assert!(said.contains("  branch:   team/x (tracks origin/team/x) at "), "{said}");
    assert_eq!((branch(&bench, "x"), upstream(&bench, "team/x")), ("team/x".into(), "origin/team/x".into()));
    bench.ok("clone", ["remove", "x", "--delete-branch"]);
    bench.ok("clone", ["create", "--no-track", "team/x"]);
    assert_eq!((branch(&bench, "x"), upstream(&bench, "team/x")), ("team/x".into(), String::new()));
}

#[test]
fn a_branch_that_several_remotes_have_is_refused_unless_one_is_the_default() {
    let bench = with_remote();
    bench.git("clone", ["remote", "add", "fork", "../repo"]);
    bench.git("clone", ["fetch", "-q", "fork"]);
    let said = bench.depsfs("clone", ["create", "team/x"]);
    assert!(said.code == 3 && said.err.contains("several remotes have a branch team/x: "), "{said:?}");
    assert!(!bench.is_there("x"));
    bench.git("clone", ["config", "checkout.defaultRemote", "fork"]);
    bench.ok("clone", ["create", "team/x"]);
    assert_eq!(upstream(&bench, "team/x"), "fork/team/x");
}

#[test]
fn a_branch_without_the_initials_is_named_with_the_way_to_it() {
    let bench = Bench::new();
    bench.git("repo", ["branch", "topic"]);
    let said = bench.depsfs("repo", ["create", "topic"]);
    assert!(said.code == 0 && branch(&bench, "topic") == "al/topic", "{said:?}");
    assert!(said.err.contains("note: there is also a branch topic: depsfs create topic --branch topic"), "{said:?}");
    bench.ok("repo", ["remove", "topic"]);
    bench.ok("repo", ["create", "topic", "--branch", "topic"]);
    assert_eq!(branch(&bench, "topic"), "topic");
}

#[test]
fn a_new_branch_is_refused_where_one_is_and_a_reset_one_is_moved() {
    let bench = Bench::new();
    bench.git("repo", ["branch", "old"]);
    let before = bench.git("repo", ["rev-parse", "old"]);
    bench.write("repo/more", "more\n");
    bench.commit("repo", "two");
    let said = bench.depsfs("repo", ["create", "fix", "-b", "old"]);
    assert!(said.code == 3 && said.err.contains("branch old exists already"), "{said:?}");
    // A create that fails half-way moves it back, and leaves none of the directories above.
    let hook = failing_hook(&bench);
    let failed = bench.depsfs("repo", ["create", "fix", "-B", "old", "--path", "../new/fix"]);
    assert_eq!((failed.code, bench.git("repo", ["rev-parse", "old"])), (1, before.clone()), "{failed:?}");
    assert!(!bench.is_there("new"));
    std::fs::remove_file(hook).unwrap();
    let said = bench.ok("repo", ["create", "fix", "-B", "old"]);
    assert!(said.contains(&format!("  branch:   old (was at {})", &before[..10])), "{said}");
    assert_eq!(bench.git("fix", ["rev-parse", "HEAD"]), bench.git("repo", ["rev-parse", "main"]));
    let said = bench.depsfs("repo", ["create", "other", "-B", "old"]);
    assert!(said.code == 3 && said.err.contains("checked out in"), "{said:?}");
    bench.ok("repo", ["create", "third", "-b", "new"]);
    assert_eq!(branch(&bench, "third"), "new");
}

#[test]
fn a_detached_worktree_has_no_branch_and_is_removed_without_one() {
    let bench = Bench::new();
    let said = bench.ok("repo", ["create", "--detach", "look"]);
    assert!(said.contains("  branch:   (detached) at "), "{said}");
    assert_eq!(branch(&bench, "look"), "HEAD");
    assert_eq!(bench.git("repo", ["branch", "--format=%(refname:short)"]), "main");
    bench.assert_clean("look");
    bench.ok("repo", ["remove", "look"]);
    assert!(!bench.is_there("look"));
}

#[test]
fn the_directory_is_the_one_that_was_given_or_that_the_template_names() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--path", "../trees/a/fix-it"]);
    assert_eq!(branch(&bench, "trees/a/fix-it"), "al/fix");
    bench.ok("repo", ["remove", "../trees/a/fix-it"]);
    bench.git("repo", ["config", "depsfs.path", "../{repo}.trees/{branch}"]);
    let said = bench.ok("repo", ["create", "--dry-run", "feat/y"]);
    assert!(said.contains(&format!("  path:     {}\n", bench.path("repo.trees/feat-y").display())), "{said}");
    bench.ok("repo", ["create", "feat/y"]);
    assert_eq!(branch(&bench, "repo.trees/feat-y"), "feat/y");
    bench.git("repo", ["config", "depsfs.path", "../{reop}"]);
    let said = bench.depsfs("repo", ["create", "z"]);
    assert!(said.code == 2 && said.err.contains("{reop} is not one of {repo}, {name}, {branch}"), "{said:?}");
}

#[test]
fn words_behind_two_dashes_are_the_name_and_the_base_ref_unless_a_command_is_run() {
    let bench = Bench::new();
    let said = bench.ok("repo", ["create", "--dry-run", "--", "fix", "main"]);
    assert!(said.contains("  branch:   al/fix\n  base-ref: main\n"), "{said}");
    for args in [
        &["create", "fix", "--", "main"][..],
        &["create", "--", "fix", "main", "more"],
        &["create", "--exec", "--", "true"],
    ] {
        assert_eq!(bench.depsfs("repo", args).code, 2, "{args:?}");
    }
    assert!(!bench.is_there("fix"));
}

#[test]
fn two_names_with_one_last_segment_get_two_directories() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "feat/04-x"]);
    bench.ok("repo", ["create", "bug/04-x"]);
    assert_eq!((branch(&bench, "04-x"), branch(&bench, "bug-04-x")), ("feat/04-x".into(), "bug/04-x".into()));
    let again = bench.depsfs("repo", ["create", "bug/04-x"]);
    assert_eq!(again.code, 3, "{again:?}");
}
