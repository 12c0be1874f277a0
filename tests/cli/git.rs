//! Plain git and rm applied to a mounted worktree harms neither the store, nor other worktrees, nor git's bookkeeping.

use crate::bench::{Bench, run, soon};

/// A bench with two worktrees, of which `fix` is the one that gets hurt.
fn two() -> Bench {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["create", "other"]);
    bench.write("other/build/mine", "mine\n");
    bench
}

#[track_caller]
fn assert_unharmed(bench: &Bench) {
    assert_eq!(bench.read("other/node_modules/a/index.js"), "module.exports = 1\n");
    assert_eq!(bench.read("other/build/mine"), "mine\n");
    assert_eq!(bench.read("repo/node_modules/a/index.js"), "module.exports = 1\n");
    bench.assert_clean("other");
    bench.git("repo", ["fsck"]);
    let listed = bench.git("repo", ["worktree", "list", "--porcelain"]);
    assert!(listed.contains(&format!("worktree {}", bench.path("other").display())), "{listed}");
    bench.ok("repo", ["create", "third"]);
    assert_eq!(bench.read("third/build/out.o"), "object\n");
    bench.assert_sound();
}

#[test]
fn git_worktree_remove_is_refused_while_mounted_and_fine_after_unmounting() {
    let bench = two();
    let refused = run(bench.command("git", "repo").args(["worktree", "remove", "../fix"]));
    assert_eq!(refused.code, 128, "{refused:?}");
    assert!(refused.err.contains("depsfs"), "{refused:?}");
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    bench.ok("fix", ["unmount"]);
    bench.git("repo", ["worktree", "remove", "../fix"]);
    assert!(!bench.is_there("fix"));
    assert_unharmed(&bench);
}

#[test]
fn a_forced_git_worktree_remove_succeeds_and_takes_only_that_worktree() {
    let bench = two();
    for round in 0..20 {
        // The daemon writes its state down while git deletes the directory it writes to.
        let said = run(bench.command("git", "repo").args(["worktree", "remove", "-f", "-f", "../fix"]));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "round {round}");
        assert!(!bench.is_there("fix") && !bench.is_there("repo/.git/worktrees/fix"), "round {round}");
        assert!(!bench.mounts().iter().any(|m| m.contains("/fix/")), "round {round}");
        bench.git("repo", ["branch", "-D", "al/fix"]);
        bench.ok("repo", ["create", "fix"]);
    }
    assert_unharmed(&bench);
}

#[test]
fn git_worktree_prune_keeps_a_mounted_worktree() {
    let bench = two();
    bench.git("repo", ["worktree", "prune", "--expire=now"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    bench.assert_clean("fix");
    assert_unharmed(&bench);
}

#[test]
fn rm_of_the_whole_worktree_succeeds_and_git_can_prune_it() {
    let bench = two();
    let removed = run(bench.command("rm", "").args(["-rf", "fix"]));
    assert_eq!((removed.code, removed.err.as_str()), (0, ""));
    assert!(!bench.is_there("fix"));
    soon("git prunes it", || {
        bench.git("repo", ["worktree", "prune"]);
        !bench.git("repo", ["worktree", "list"]).contains("/fix ")
    });
    assert_unharmed(&bench);
    bench.git("repo", ["branch", "-D", "al/fix"]);
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
}

#[test]
fn git_clean_empties_the_worktree_and_reset_brings_the_views_back() {
    let bench = two();
    bench.git("fix", ["clean", "-ffdxq"]);
    assert!(!bench.is_there("fix/build") && !bench.is_there("fix/node_modules") && !bench.is_there("fix/.env"));
    bench.assert_clean("fix");
    assert_eq!(bench.ok("fix", ["diff"]), "D build\nD node_modules\n");
    bench.ok("fix", ["reset", "--yes", "."]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    assert_eq!(bench.read("fix/node_modules/a/b/deep.js"), "module.exports = 2\n");
    assert_unharmed(&bench);
}

#[test]
fn a_git_that_leaves_something_out_is_refused_with_its_version_before_anything_is_made() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let real = run(bench.command("sh", "").args(["-c", "command -v git"])).out;
    let with = |version: &str, args: &[&str]| {
        let script = format!(
            "#!/bin/sh\ncase $1 in version | --version) echo 'git version {version}' ;; *) exec {} \"$@\" ;; esac\n",
            real.trim()
        );
        bench.write("bin/git", &script);
        std::fs::set_permissions(bench.path("bin/git"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
        run(bench.command(crate::bench::PROGRAM, "repo").env("PATH", path).args(args))
    };
    for args in [&["create", "fix"][..], &["create", "fix", "--dry-run"], &["init", "--print"]] {
        let said = with("2.30.2", args);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains("because: git 2.30.2 is too old: git 2.32 or later is needed"), "{said:?}");
    }
    assert!(!bench.is_there("fix") && bench.git("repo", ["branch", "--format=%(refname:short)"]) == "main");
    let doctor = with("2.31.8", &["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("[FAIL]  git: git version 2.31.8"), "{doctor:?}");
    for works in ["2.32.0", "2.34.1.windows.1", "2.47.3 (Apple Git-1)", "unheard of"] {
        assert_eq!(with(works, &["create", "fix", "--dry-run"]).code, 0, "{works}");
    }
}
