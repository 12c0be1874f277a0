//! The branch and the directory that `depsfs create` takes: as `git worktree add` does, and as its options say.

use crate::bench::{Bench, run};

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

/// Two clones of a repository that is the remote `origin`, with the branches `team/x` and `team/two`; another remote has
/// `team/two` alone. One is for git, the other for depsfs.
fn twins() -> Bench {
    let bench = Bench::new();
    bench.git("repo", ["branch", "team/two"]);
    bench.git("", ["clone", "-q", "--bare", "repo", "fork.git"]);
    bench.git("repo", ["commit", "-q", "--allow-empty", "-m", "two"]);
    bench.git("repo", ["branch", "team/x"]);
    for name in ["gits", "mine"] {
        bench.git("", ["clone", "-q", "repo", &format!("{name}/clone")]);
        let clone = format!("{name}/clone");
        bench.git(&clone, ["remote", "add", "fork", "../../fork.git"]);
        bench.git(&clone, ["fetch", "-q", "fork"]);
        bench.git(&clone, ["branch", "local/y", "HEAD~1"]);
        bench.write(&format!("{clone}/build/out.o"), "object\n");
    }
    bench
}

/// The branches with commit and upstream, and the branch and commit of the new worktree, if there is one.
fn outcome(bench: &Bench, twin: &str) -> (String, Option<(String, String)>) {
    let refs = "--format=%(refname) %(objectname) %(upstream)";
    let branches = bench.git(&format!("{twin}/clone"), ["for-each-ref", refs, "refs/heads"]);
    let new = format!("{twin}/new");
    let head = bench.is_there(&new).then(|| (branch(bench, &new), bench.git(&new, ["rev-parse", "HEAD"])));
    (branches, head)
}

#[test]
fn branch_upstream_and_head_are_those_that_git_worktree_add_makes() {
    let new = ["--path", "../new"];
    // Configuration; the words of depsfs create; those of git worktree add.
    let table: [(&[&str], &[&str], &[&str]); 16] = [
        (&[], &["team/x"], &["../new", "team/x"]),
        (&[], &["team/x", "--no-track"], &["--no-track", "-b", "team/x", "../new", "origin/team/x"]),
        (&[], &["team/two"], &["../new", "team/two"]),
        (&["checkout.defaultRemote=fork"], &["team/two"], &["../new", "team/two"]),
        (&["checkout.defaultRemote=origin"], &["team/two"], &["../new", "team/two"]),
        (&[], &["local/y"], &["../new", "local/y"]),
        (&[], &["nowhere/q"], &["-b", "nowhere/q", "../new"]),
        (&[], &["q", "-b", "a/z", "origin/team/x"], &["-b", "a/z", "../new", "origin/team/x"]),
        (
            &[],
            &["q", "--no-track", "-b", "a/z", "origin/team/x"],
            &["--no-track", "-b", "a/z", "../new", "origin/team/x"],
        ),
        (
            &["branch.autoSetupMerge=false"],
            &["q", "-b", "a/z", "origin/team/x"],
            &["-b", "a/z", "../new", "origin/team/x"],
        ),
        (&["branch.autoSetupMerge=always"], &["q", "-b", "a/z", "local/y"], &["-b", "a/z", "../new", "local/y"]),
        (&[], &["q", "-B", "local/y", "origin/team/x"], &["-B", "local/y", "../new", "origin/team/x"]),
        (&[], &["q", "-b", "local/y"], &["-b", "local/y", "../new"]),
        (&[], &["q", "-b", "local/y/deep"], &["-b", "local/y/deep", "../new"]),
        (&[], &["q", "--detach", "local/y"], &["--detach", "../new", "local/y"]),
        (&[], &["q", "--branch", "main"], &["../new", "main"]),
    ];
    for (settings, words, gits) in table {
        let bench = twins();
        for setting in settings {
            let (key, value) = setting.split_once('=').unwrap();
            for at in ["gits/clone", "mine/clone"] {
                bench.git(at, ["config", key, value]);
            }
        }
        let add = run(bench.command("git", "gits/clone").args(["worktree", "add"]).args(gits));
        let said = bench.depsfs("mine/clone", [&["create"], &new[..], words].concat());
        assert_eq!(said.code == 0, add.code == 0, "{settings:?} {words:?}: {said:?} {add:?}");
        assert_eq!(outcome(&bench, "mine"), outcome(&bench, "gits"), "{settings:?} {words:?}: {said:?}");
    }
}

#[test]
fn a_template_that_names_no_directory_or_another_one_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let set = |template: &[u8]| {
        let template = std::ffi::OsStr::from_bytes(template);
        let set = run(bench.command("git", "repo").args(["config", "depsfs.path"]).arg(template));
        assert_eq!(set.code, 0, "{set:?}");
    };
    for bad in [&b"../a\nb"[..], b"../a\xff{name}", b"..", b"../{nope}", b"../{name", b"."] {
        set(bad);
        let said = bench.depsfs("repo", ["create", "fix"]);
        assert!(said.code != 0 && said.err.contains("hint: "), "{said:?}");
        assert_eq!(bench.git("repo", ["branch", "--list"]), "* main", "{bad:?}");
        assert!(!bench.is_there("repo/.git/worktrees"), "{bad:?}");
    }
    for (good, at) in [(&b"../t/{name}/"[..], "t/fix"), (b"", "fix"), (b"../u//./{branch}", "u/al-fix")] {
        set(good);
        bench.ok("repo", ["create", "fix"]);
        assert!(bench.is_there(&format!("{at}/build/out.o")), "{at}");
        bench.ok("repo", ["remove", &format!("../{at}"), "--delete-branch"]);
    }
}
