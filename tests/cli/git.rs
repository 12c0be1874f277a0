//! What plain git and rm do to a mounted worktree harms neither the store, nor other worktrees, nor git's bookkeeping.

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
