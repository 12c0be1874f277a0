//! `depsfs remove` refuses to lose work, one flag per risk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::bench::{Bench, run};

fn created() -> Bench {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench
}

/// Refused with this flag in the hint, and nothing has changed.
#[track_caller]
fn refused(bench: &Bench, args: &[&str], flag: &str) {
    let mounts = bench.mounts();
    let said = bench.depsfs("repo", ["remove", "fix"].iter().chain(args));
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains(flag), "{flag}: {said:?}");
    assert_eq!(bench.mounts(), mounts);
    assert_eq!(bench.git("fix", ["symbolic-ref", "-q", "HEAD"]), "refs/heads/al/fix");
}

#[test]
fn a_worktree_without_work_of_its_own_goes_and_its_branch_stays() {
    let bench = created();
    bench.write("fix/build/mine.o", "artifact\n");
    let said = bench.ok("repo", ["remove", "fix"]);
    assert!(said.contains("dropped: 1 path of its views"), "{said}");
    assert!(!bench.is_there("fix") && bench.mounts().is_empty());
    assert!(!bench.git("repo", ["worktree", "list"]).contains("/fix"));
    assert_eq!(bench.git("repo", ["branch", "--list", "al/fix"]).trim(), "al/fix");
    assert!(!bench.ok("repo", ["list"]).contains("fix"));
    bench.ok("repo", ["create", "fix"]);
    bench.ok("fix/src", ["remove", "../fix", "--delete-branch"].map(|a| if a == "../fix" { "al/fix" } else { a }));
    assert_eq!(bench.git("repo", ["branch", "--list", "al/fix"]), "");
}

#[test]
fn a_path_is_enough_from_any_directory() {
    let bench = created();
    bench.ok("repo", ["create", "other"]);
    let refused = bench.depsfs("", ["remove", "repo"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("main checkout"), "{refused:?}");
    assert_eq!(bench.depsfs("store", ["remove", "fix"]).code, 3, "a name needs its repository");
    bench.git("", ["init", "-q", "elsewhere"]);
    bench.ok("elsewhere", ["remove", "../other"]);
    for verb in ["status", "mount", "unmount", "diff"] {
        bench.ok("store", [verb, "../fix"]);
    }
    bench.ok("store", ["mount", "../fix"]);
    bench.write("fix/build/out.o", "mine\n");
    bench.ok("store", ["reset", "--yes", "../fix/build/out.o"]);
    bench.ok("store", ["thaw", "../fix/build"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    bench.ok("", ["remove", "fix"]);
    assert!(!bench.is_there("fix") && !bench.is_there("other") && bench.mounts().is_empty());
    assert!(!bench.git("repo", ["worktree", "list"]).contains("/fix"));
}

#[test]
fn each_kind_of_work_blocks_until_its_own_flag_is_given() {
    let bench = created();
    bench.write("fix/src/main.c", "changed\n");
    bench.write("fix/notes.txt", "untracked\n");
    refused(&bench, &[], "--discard-changes");
    refused(&bench, &["--discard-changes"], "--discard-untracked");
    refused(&bench, &["--discard-untracked"], "--discard-changes");
    bench.ok("repo", ["remove", "fix", "--discard-changes", "--discard-untracked"]);
    assert!(!bench.is_there("fix"));
}

#[test]
fn commits_block_only_when_nothing_else_would_have_them() {
    let bench = created();
    bench.write("fix/src/main.c", "changed\n");
    bench.commit("fix", "work");
    refused(&bench, &["--delete-branch"], "--discard-commits");
    bench.git("repo", ["branch", "keeps", "al/fix"]);
    bench.ok("repo", ["remove", "fix", "--delete-branch"]);

    bench.ok("repo", ["create", "det"]);
    bench.git("det", ["checkout", "-q", "--detach"]);
    bench.write("det/src/main.c", "detached\n");
    bench.commit("det", "nobody has this");
    let said = bench.depsfs("repo", ["remove", "det"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("1 commit that only its HEAD has"), "{said:?}");
    bench.ok("repo", ["remove", "det", "--discard-commits"]);
}

#[test]
fn a_merge_in_progress_and_a_lock_of_somebody_else_block() {
    let bench = created();
    bench.git("fix", ["merge", "--no-commit", "--no-ff", "-q", "-s", "ours", "main"].map(|a| a));
    let head = bench.git("fix", ["rev-parse", "HEAD"]);
    let git_dir = bench.git("fix", ["rev-parse", "--git-dir"]);
    std::fs::write(std::path::Path::new(&git_dir).join("MERGE_HEAD"), head + "\n").unwrap();
    refused(&bench, &[], "--discard-changes");
    std::fs::remove_file(std::path::Path::new(&git_dir).join("MERGE_HEAD")).unwrap();
    bench.ok("fix", ["unmount"]);
    bench.git("repo", ["worktree", "lock", "--reason", "on a stick", "../fix"]);
    let said = bench.depsfs("repo", ["remove", "fix"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("on a stick"), "{said:?}");
    bench.git("repo", ["worktree", "unlock", "../fix"]);
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn a_view_in_use_blocks_and_the_main_checkout_is_never_removed() {
    let bench = created();
    let user = std::fs::File::open(bench.path("fix/build/out.o")).unwrap();
    refused(&bench, &[], "--lazy");
    drop(user);
    for (name, words) in [("repo", "main checkout"), ("../repo", "main checkout"), ("nothing", "no worktree")] {
        let said = bench.depsfs("fix", ["remove", name]);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
}

#[test]
fn a_worktree_whose_git_file_is_gone_is_removed_with_the_same_questions_as_any_other() {
    for name in ["fix", "al/fix", "../fix"] {
        for empty in [false, true] {
            let bench = created();
            std::fs::remove_file(bench.path("fix/.git")).unwrap();
            if empty {
                std::fs::write(bench.path("fix/.git"), "").unwrap();
            }
            bench.write("fix/README.md", "changed\n");
            let said = bench.depsfs("repo", ["remove", name]);
            assert_eq!(said.code, 3, "{said:?}");
            assert!(said.err.contains("--discard-changes"), "{said:?}");
            std::fs::remove_file(bench.path("fix/.git")).unwrap();
            bench.ok("repo", ["remove", name, "--discard-changes"]);
            assert!(!bench.is_there("fix") && bench.mounts().is_empty(), "{name}");
            assert!(!bench.git("repo", ["worktree", "list"]).contains("/fix"), "{name}");
            assert_eq!(std::fs::read_dir(bench.path("store/roots")).unwrap().count(), 0);
        }
    }
}

#[test]
fn what_a_half_done_rm_leaves_is_removed() {
    let bench = created();
    // As `rm -rf` leaves it that fails in a view: part of the files gone, the `.git` file too, views mounted.
    std::fs::remove_file(bench.path("fix/.git")).unwrap();
    std::fs::remove_dir_all(bench.path("fix/src")).unwrap();
    assert!(bench.git("repo", ["worktree", "list"]).contains("/fix"));
    bench.ok("", ["doctor", "--fix"]);
    bench.ok("repo", ["remove", "fix", "--discard-changes"]);
    assert!(!bench.is_there("fix") && bench.mounts().is_empty());
    assert!(!bench.git("repo", ["worktree", "list"]).contains("/fix"));
}

#[test]
fn a_worktree_whose_directory_is_gone_is_removed_unless_its_git_directory_holds_the_only_copy() {
    let bench = created();
    bench.ok("fix", ["unmount"]);
    bench.git("fix", ["checkout", "-q", "--detach"]);
    bench.write("fix/README.md", "work\n");
    bench.commit("fix", "nobody else has this");
    std::fs::remove_dir_all(bench.path("fix")).unwrap();
    let said = bench.depsfs("repo", ["remove", "fix"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("--discard-commits"), "{said:?}");
    bench.ok("repo", ["remove", "../fix", "--discard-commits"]);
    assert!(!bench.git("repo", ["worktree", "list"]).contains("/fix"));
    assert_eq!(std::fs::read_dir(bench.path("store/roots")).unwrap().count(), 0);
}

#[test]
fn a_worktree_whose_git_directory_is_gone_is_removed_by_its_path_with_its_views() {
    let bench = created();
    // A view of a directory takes a write without its state directory, too.
    if bench.has_mounts_of_worktrees() {
        bench.write("fix/build/mine.o", "artifact\n");
    }
    std::fs::remove_dir_all(bench.path("repo/.git/worktrees")).unwrap();
    bench.write("fix/build/mine.o", "artifact\n");
    let said = bench.depsfs("repo", ["remove", "../fix"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("--discard-untracked"), "{said:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.ok("", ["doctor", "--fix"]);
    assert_eq!(bench.mounts(), Vec::<String>::new());
    assert_eq!(bench.read("fix/build/mine.o"), "artifact\n");
    bench.ok("repo", ["remove", "../fix", "--discard-untracked"]);
    assert!(!bench.is_there("fix"));
}

#[test]
fn a_branch_whose_name_is_not_utf8_is_deleted_under_its_own_name_and_its_commits_are_a_risk() {
    let bench = Bench::new();
    let branch = OsStr::from_bytes(b"odd-\xff");
    // The name that it would have if its bytes were replaced.
    bench.git("repo", ["branch", "odd-\u{fffd}"]);
    let add = |command: &mut Command| run(command.args(["worktree", "add", "-q", "../odd", "-b"]).arg(branch));
    assert_eq!(add(&mut bench.command("git", "repo")).code, 0);
    bench.ok("repo", ["adopt", "odd"]);
    bench.write("odd/src/new.c", "new\n");
    bench.commit("odd", "only here");
    let refused = bench.depsfs("repo", ["remove", "odd", "--delete-branch"]);
    assert!(refused.code == 3 && refused.err.contains("its branch"), "{refused:?}");
    bench.ok("repo", ["remove", "odd", "--delete-branch", "--discard-commits"]);
    assert!(!bench.is_there("odd"));
    assert_eq!(bench.git("repo", ["for-each-ref", "--format=%(refname)", "refs/heads/odd*"]).lines().count(), 1);
}
