//! git in a worktree that is one view, against git in a plain copy of it: the same output, status and files.

use std::path::Path;

use crate::bench::{Bench, Said, run};

/// Scripts of sh(1), each run in both worktrees, one after the other.
const SCRIPTS: [&str; 20] = [
    "git status --porcelain --ignored",
    "git config core.untrackedCache true; git update-index --untracked-cache; git status --porcelain
     touch x; git status --porcelain; rm x; git status --porcelain",
    "git rebase -q onto && git log --oneline | wc -l",
    "git reset -q --hard main; git bisect start HEAD HEAD~20 >/dev/null
     git bisect run sh -c '! grep -q c9 src/f9' >/dev/null; git bisect log | tail -1; git bisect reset 2>/dev/null",
    // A branch that tracks a file in an artifact, and one that does not ignore another.
    "git checkout -q --detach tracked; git status --porcelain; cat dist/tracked; git checkout -q --detach main; ls dist",
    "git checkout -q -f --detach tracked; ls dist; git checkout -q -f --detach main; ls dist",
    "git checkout -q --detach shown; git status --porcelain; git stash -u -q; ls; git stash pop -q; ls build
     git checkout -q --detach main",
    "echo y >> src/f3; echo new > src/new; git stash -a -q; ls; git stash pop -q; ls; git checkout -q src/f3; rm src/new",
    "git sparse-checkout set packages src; ls; git status --porcelain; git sparse-checkout disable; ls",
    "git sparse-checkout set --no-cone '/*' '!/src/'; ls; git status --porcelain; git sparse-checkout disable",
    "touch \"$(git rev-parse --git-dir)/index.lock\"; git add src/f1; echo $?; rm \"$(git rev-parse --git-dir)/index.lock\"",
    "hook=$(git rev-parse --git-common-dir)/hooks; mkdir -p \"$hook\"
     printf '#!/bin/sh\\nls node_modules > listed\\n' > \"$hook/pre-commit\"; chmod +x \"$hook/pre-commit\"
     echo k >> src/f5; git commit -qam hook; cat listed; rm listed \"$hook/pre-commit\"",
    "git gc -q; git fsck --no-dangling",
    "git worktree add -q --detach inner HEAD; ls inner; git -C inner status --porcelain; git status --porcelain
     git worktree move inner inner2; git worktree lock inner2; git worktree unlock inner2; git worktree remove inner2
     git worktree prune; ls",
    "git mv src sources; git commit -qm moved; git status --porcelain; git revert --no-edit HEAD >/dev/null; ls",
    "git mv packages/a packages/z; git commit -qm moved; git status --porcelain; find packages | sort
     git reset -q --hard HEAD~1; find packages | sort; git clean -ffdxq packages/z; find packages | sort",
    "git ls-files -o --exclude-standard; git ls-files -oi --exclude-standard --directory",
    "git cherry-pick onto >/dev/null; git merge -q shown -m merged; git status --porcelain; git diff --stat HEAD~1 | cat",
    "git clean -ffdxq; ls -A; git status --porcelain",
    "rm -rf src packages; git status --porcelain; git checkout -q .; git status --porcelain",
];

/// A repository with 20 commits, and branches that differ in what they track and ignore.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("repo/.gitignore", "node_modules/\nbuild/\ndist/\n.env\n");
    bench.write("repo/packages/a/src/index.ts", "export {}\n");
    (0..20).for_each(|n| bench.write(&format!("repo/src/f{n}"), "0\n"));
    bench.commit("repo", "base");
    for n in 0..20 {
        bench.write(&format!("repo/src/f{n}"), &format!("c{n}\n"));
        bench.commit("repo", "change");
    }
    let branch = |name: &str, at: &str| drop(bench.git("repo", ["checkout", "-q", "-b", name, at]));
    branch("onto", "main~20");
    bench.write("repo/src/other", "other\n");
    bench.commit("repo", "other");
    branch("tracked", "main");
    bench.write("repo/.gitignore", "node_modules/\nbuild/\n.env\n");
    bench.write("repo/dist/tracked", "tracked\n");
    bench.commit("repo", "tracked");
    branch("shown", "main");
    bench.write("repo/.gitignore", "node_modules/\ndist/\n.env\n");
    bench.git("repo", ["commit", "-qam", "shown"]);
    bench.git("repo", ["checkout", "-q", "main"]);
    bench.write("repo/dist/d.js", "dist\n");
    bench.write("repo/packages/a/build/index.js", "built\n");
    bench
}

fn sh(bench: &Bench, at: &str, script: &str) -> Said {
    run(bench.command("sh", at).args(["-c", script]))
}

/// All that a user of git sees in a worktree, without its own path.
fn seen(bench: &Bench, at: &str, script: &str) -> [String; 4] {
    let said = sh(bench, at, script);
    let state = sh(bench, at, "git status --porcelain --ignored; git stash list | wc -l; git log -1 --format=%s");
    let files = sh(
        bench,
        at,
        "find . -name .git -prune -o -type f -exec sha256sum {} + | sort; find . -name .git -prune -o -print | sort",
    );
    let plain = |text: String| text.replace(&format!("/{at}"), "/W").replace(&format!("worktrees/{at}"), "worktrees/W");
    [said.out, said.err, state.out, files.out].map(plain)
}

#[test]
fn git_does_the_same_in_one_view_as_in_a_plain_copy() {
    let bench = bench();
    bench.ok("repo", ["create", "view", "--view", "worktree"]);
    bench.git("repo", ["worktree", "add", "-q", "-b", "plain", "../plain", "main"]);
    let copy = "cd ../view && tar c $(git ls-files -oi --exclude-standard --directory) | tar x -C ../plain";
    assert_eq!(sh(&bench, "plain", copy).code, 0);
    for script in SCRIPTS {
        let (view, plain) = (seen(&bench, "view", script), seen(&bench, "plain", script));
        assert_eq!(view, plain, "{script}");
    }
    assert!(!Path::new(&bench.path("view/build")).exists(), "git clean took the artifacts");
    bench.ok("view", ["reset", "--yes", "."]);
    assert_eq!(bench.read("view/dist/d.js"), "dist\n");
    assert_eq!(bench.read("view/packages/a/build/index.js"), "built\n");
    bench.ok("repo", ["remove", "view", "--discard-changes", "--discard-untracked", "--discard-commits"]);
    bench.assert_sound();
}

#[test]
fn git_worktree_moves_repairs_and_prunes_one_view_that_is_unmounted_and_leaves_a_mounted_one() {
    let bench = bench();
    bench.ok("repo", ["create", "view", "--view", "worktree"]);
    bench.write("view/build/mine", "mine\n");
    let worktree = |args: &[&str]| run(bench.command("git", "repo").arg("worktree").args(args));
    for mounted in [&["lock", "../view"][..], &["move", "../view", "../moved"], &["remove", "../view"]] {
        let said = worktree(mounted);
        assert!(said.code == 128 && said.err.contains("depsfs"), "{said:?}");
    }
    assert_eq!(worktree(&["repair", "../view"]).code, 0);
    assert_eq!(worktree(&["prune"]).code, 0);
    assert_eq!(bench.read("view/build/mine"), "mine\n");
    bench.ok("", ["unmount", "view"]);
    assert_eq!(worktree(&["move", "../view", "../moved"]).code, 0);
    bench.ok("", ["mount", "moved"]);
    assert_eq!((bench.read("moved/build/mine"), bench.read("moved/dist/d.js")), ("mine\n".into(), "dist\n".into()));
    bench.ok("", ["unmount", "moved"]);
    std::fs::rename(bench.path("moved"), bench.path("again")).unwrap();
    assert_eq!(worktree(&["repair", "../again"]).code, 0);
    bench.ok("", ["mount", "again"]);
    assert_eq!((bench.read("again/build/mine"), bench.read("again/dist/d.js")), ("mine\n".into(), "dist\n".into()));
    bench.ok("", ["unmount", "again"]);
    assert_eq!(worktree(&["remove", "--force", "../again"]).code, 0);
    assert!(!bench.is_there("again"));
    bench.assert_sound();
}
