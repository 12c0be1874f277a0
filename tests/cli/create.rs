//! `depsfs create` when all goes well: names, artifacts, what is copied, what stays out.

use std::os::unix::fs::PermissionsExt;

use crate::bench::{Bench, metadata};

#[test]
fn a_dry_run_changes_nothing_and_prints_four_lines_that_scripts_can_read() {
    let bench = Bench::new();
    // name, further arguments → directory, branch, base-ref
    let table: [(&str, &[&str], &str, &str, &str); 5] = [
        ("fix", &[], "fix", "al/fix", "HEAD"),
        ("xy/fix", &[], "fix", "xy/fix", "HEAD"),
        ("fix", &["main"], "fix", "al/fix", "main"),
        ("fix", &["--branch", "other"], "fix", "other", "HEAD"),
        ("a/b/c", &["HEAD"], "c", "a/b/c", "HEAD"),
    ];
    for (name, more, directory, branch, base) in table {
        let mut args = vec!["create", "--dry-run", name];
        args.extend(more);
        let root = bench.path("");
        let root = root.to_str().unwrap().trim_end_matches('/');
        let expected = format!(
            "Dry run (no changes made):\n  source:   {root}/repo\n  path:     {root}/{directory}\n  branch:   {branch}\n  base-ref: {base}\n"
        );
        assert_eq!(bench.ok("repo/src", args), expected);
    }
    assert_eq!(bench.git("repo", ["branch", "--format=%(refname:short)"]), "main");
    assert!(!bench.is_there("fix") && !bench.is_there("store") && !bench.is_there("repo/.git/worktrees"));
}

#[test]
fn the_initials_come_from_git_and_without_any_the_branch_is_the_name() {
    let bench = Bench::new();
    bench.git("repo", ["config", "user.initials", "cl"]);
    assert!(bench.ok("repo", ["create", "--dry-run", "fix"]).contains("  branch:   cl/fix\n"));
    let mut command = bench.command(crate::bench::PROGRAM, "repo");
    command.env("GIT_CONFIG_COUNT", "0").args(["create", "--dry-run", "fix"]);
    bench.git("repo", ["config", "--unset", "user.initials"]);
    assert!(crate::bench::run(&mut command).out.contains("  branch:   fix\n"));
}

#[test]
fn a_new_worktree_has_the_artifacts_and_git_sees_nothing_of_it() {
    let bench = Bench::new();
    let said = bench.ok("repo", ["create", "fix"]);
    assert!(said.starts_with(&format!("created {}\n", bench.path("fix").display())), "{said}");
    assert!(said.contains("2 views, 4 files"), "{said}");
    bench.assert_clean("fix");
    assert_eq!(bench.git("fix", ["rev-parse", "--abbrev-ref", "HEAD"]), "al/fix");
    assert_eq!(metadata(&bench.path("fix/node_modules")), metadata(&bench.path("repo/node_modules")));
    assert_eq!(metadata(&bench.path("fix/build")), metadata(&bench.path("repo/build")));
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.write("fix/node_modules/a/index.js", "mine\n");
    assert_eq!(bench.read("repo/node_modules/a/index.js"), "module.exports = 1\n");
    bench.ok("repo", ["create", "second"]);
    assert_eq!(bench.read("second/node_modules/a/index.js"), "module.exports = 1\n");
    bench.assert_clean("second");
    bench.assert_sound();
}

#[test]
fn ignored_single_files_are_copied_with_their_mode_and_time() {
    let bench = Bench::new();
    bench.write("repo/src/deep/x.log", "log\n");
    let env = bench.path("repo/.env");
    std::fs::set_permissions(&env, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("nowhere", bench.path("repo/link.log")).unwrap();
    bench.ok("repo", ["create", "fix"]);
    let (old, new) = (env.metadata().unwrap(), bench.path("fix/.env").metadata().unwrap());
    assert_eq!(new.permissions().mode(), old.permissions().mode());
    assert_eq!(new.modified().unwrap(), old.modified().unwrap());
    assert_eq!(bench.read("fix/src/deep/x.log"), "log\n");
    assert_eq!(std::fs::read_link(bench.path("fix/link.log")).unwrap().to_str(), Some("nowhere"));
    bench.write("fix/.env", "mine");
    assert_eq!(bench.read("repo/.env"), "SECRET=1\n");
}

#[test]
fn only_whole_ignored_directories_with_content_of_their_own_are_shared() {
    let bench = Bench::new().with_mounts_of_directories();
    std::fs::create_dir_all(bench.path("repo/build-empty")).unwrap();
    bench.git("", ["init", "-q", "repo/build-clone"]);
    bench.write("repo/untracked/build/deep.o", "in an untracked directory\n");
    bench.write("repo/logs/a.log", "in a directory that is not ignored\n");
    bench.write("repo/.venv/.gitignore", "*\n");
    bench.write("repo/.venv/lib/x.py", "x\n");
    bench.write("repo/build-out/of/favour.o", "o\n");
    bench.git("repo", ["config", "depsfs.exclude", "build-out/"]);
    bench.ok("repo", ["create", "fix"]);
    let mut mounts = bench.mounts();
    mounts.sort();
    let expected = [".venv/lib", "build", "node_modules", "untracked/build"];
    // The file that ignores `.venv/lib` is copied with it: `.venv/.gitignore` ignores itself, too.
    let expected = expected.map(|at| bench.path("fix").join(at).display().to_string());
    assert_eq!(mounts, expected);
    assert_eq!(bench.read("fix/logs/a.log"), "in a directory that is not ignored\n");
    bench.assert_clean("fix");
}

#[test]
fn what_the_new_commit_tracks_or_does_not_ignore_stays_out() {
    let bench = Bench::new();
    bench.git("repo", ["checkout", "-q", "-b", "other"]);
    bench.write("repo/.gitignore", "build/\n.env\n");
    (0..17).for_each(|n| bench.write(&format!("repo/build/{n}.o"), "tracked\n"));
    bench.git("repo", ["add", "-f", "build", ".gitignore"]);
    bench.git("repo", ["commit", "-q", "-m", "build is tracked here, node_modules not ignored"]);
    bench.git("repo", ["checkout", "-q", "main"]);
    bench.write("repo/build/out.o", "object\n");
    let said = bench.ok("repo", ["create", "fix", "other"]);
    assert!(said.contains("left out: build: it is tracked at this commit"), "{said}");
    assert!(said.contains("left out: node_modules: git does not ignore it at this commit"), "{said}");
    bench.assert_clean("fix");
    assert_eq!(bench.mounts(), Vec::<String>::new());
}

#[test]
fn a_branch_that_exists_is_checked_out_and_with_a_base_ref_refused() {
    let bench = Bench::new();
    bench.git("repo", ["branch", "al/fix"]);
    assert_eq!(bench.depsfs("repo", ["create", "fix", "main"]).code, 3);
    assert!(!bench.is_there("fix"));
    assert!(bench.ok("repo", ["create", "fix"]).contains("al/fix (existing)"));
    let again = bench.depsfs("repo", ["create", "fix2", "--branch", "al/fix"]);
    assert_eq!(again.code, 3, "{again:?}");
    assert!(again.err.contains("checked out in"), "{again:?}");
}

#[test]
fn a_base_ref_of_a_remote_is_fetched_first() {
    let bench = Bench::new();
    bench.git("", ["clone", "-q", "repo", "clone"]);
    bench.git("clone", ["remote", "rename", "origin", "up"]);
    bench.write("clone/build/out.o", "object\n");
    bench.git("repo", ["branch", "feature/x"]);
    bench.git("repo", ["checkout", "-q", "feature/x"]);
    bench.write("repo/new", "new\n");
    bench.commit("repo", "two");
    let dry = bench.ok("clone", ["create", "--dry-run", "fix", "up/feature/x"]);
    assert!(dry.contains("  base-ref: up/feature/x\n"), "{dry}");
    bench.ok("clone", ["create", "fix", "up/feature/x"]);
    assert_eq!(bench.read("fix/new"), "new\n");
    let gone = bench.depsfs("clone", ["create", "fix2", "up/nothing"]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(!bench.is_there("fix2") && bench.git("clone", ["branch", "--list", "al/fix2"]).is_empty());
}

#[test]
fn frozen_only_refuses_when_a_lock_file_differs_at_the_base() {
    let bench = Bench::new();
    bench.git("repo", ["checkout", "-q", "-b", "next"]);
    bench.write("repo/package-lock.json", "{\"version\": 2}\n");
    bench.commit("repo", "new lock");
    bench.git("repo", ["checkout", "-q", "main"]);
    let refused = bench.depsfs("repo", ["create", "fix", "next", "--frozen-only"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("node_modules"), "{refused:?}");
    assert!(!bench.is_there("fix"));
    bench.ok("repo", ["create", "same", "--frozen-only"]);
    let said = bench.ok("repo", ["create", "fix", "next"]);
    assert!(said.contains("differs:  package-lock.json"), "{said}");
    assert!(bench.status("fix", &[]).contains("drift:    package-lock.json has changed since"));
    assert!(!bench.status("same", &[]).contains("drift"));
}

#[test]
fn a_source_without_artifacts_is_refused_unless_allowed() {
    let bench = Bench::new();
    for gone in ["node_modules", "build"] {
        std::fs::remove_dir_all(bench.path("repo").join(gone)).unwrap();
    }
    let refused = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(!bench.is_there("fix") && !bench.is_there("store"));
    bench.ok("repo", ["create", "fix", "--allow-unbuilt"]);
    assert_eq!(bench.read("fix/.env"), "SECRET=1\n");
    assert_eq!(bench.mounts(), Vec::<String>::new());
}

#[test]
fn a_worktree_can_be_made_without_mounting_and_mounted_later() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    assert_eq!(bench.mounts(), Vec::<String>::new());
    bench.assert_clean("fix");
    bench.ok("fix", ["mount"]);
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
}
