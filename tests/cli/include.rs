//! `.worktreeinclude` says which ignored files are copied.

use crate::bench::Bench;

fn listed(text: &str) -> Bench {
    let bench = Bench::new();
    for at in ["secret.log", "sub/deep.log", "build-cache/settings", "build-cache/a/keep.log", "build-cache/blob"] {
        bench.write(&format!("repo/{at}"), at);
    }
    bench.write("repo/.venv/.gitignore", "*\n");
    bench.write("repo/.venv/lib/x.py", "x\n");
    bench.git("repo", ["config", "depsfs.exclude", "build-cache/"]);
    bench.write("repo/.worktreeinclude", text);
    bench.commit("repo", "list");
    bench
}

#[test]
fn only_what_the_list_names_is_copied_and_directories_are_views_all_the_same() {
    let bench = listed("# what a worktree needs\n.env\n*.log\n!secret.log\n/build-cache/settings\nREADME.md\n");
    bench.git("repo", ["worktree", "add", "-q", "-b", "work", "../plain"]);
    bench.ok("plain", ["adopt"]);
    bench.ok("repo", ["create", "fix"]);
    for name in ["fix", "plain"] {
        let there = |at: &str| bench.is_there(&format!("{name}/{at}"));
        assert!(there(".env") && there("sub/deep.log") && there("build/out.o") && there("node_modules/a/index.js"));
        assert!(!there("secret.log"), "the list does not name it");
        assert!(there("build-cache/settings") && there("build-cache/a/keep.log") && !there("build-cache/blob"));
        assert!(there(".venv/.gitignore") && there(".venv/lib/x.py"), "the ignore file comes along");
        bench.assert_clean(name);
    }
    bench.write("fix/build-cache/settings", "mine");
    assert_eq!(bench.read("repo/build-cache/settings"), "build-cache/settings");
}

#[test]
fn beside_worktrees_that_lie_in_an_ignored_directory_the_list_names_files_too() {
    let bench = Bench::new();
    bench.write("repo/.gitignore", "build/\n.agent/\n");
    bench.write("repo/.worktreeinclude", "settings.json\n");
    bench.commit("repo", "list");
    bench.write("repo/.agent/settings.json", "{}\n");
    bench.git("repo", ["worktree", "add", "-q", "-b", "inner", ".agent/worktrees/inner"]);
    bench.write("repo/.agent/worktrees/inner/settings.json", "the worktree's own\n");
    bench.ok("repo", ["adopt", ".agent/worktrees/inner"]);
    assert_eq!(bench.read("repo/.agent/worktrees/inner/.agent/settings.json"), "{}\n");
    assert_eq!(bench.read("repo/.agent/worktrees/inner/build/out.o"), "object\n");
    assert!(!bench.is_there("repo/.agent/worktrees/inner/.agent/worktrees"));
}

#[test]
fn a_list_without_a_name_copies_nothing_and_a_broken_one_is_refused() {
    let bench = listed("# nothing\n");
    bench.ok("repo", ["create", "fix"]);
    assert!(!bench.is_there("fix/.env") && !bench.is_there("fix/secret.log") && bench.is_there("fix/build/out.o"));
    bench.write("repo/.worktreeinclude", "a{b\n");
    let refused = bench.depsfs("repo", ["create", "other"]);
    assert!(refused.code == 2 && refused.err.contains(".worktreeinclude: "), "{refused:?}");
    assert!(!bench.is_there("other"));
}
