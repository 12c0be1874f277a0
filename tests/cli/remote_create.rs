//! Worktrees that get pushed artifacts by `create`, `adopt`, `fetch` and `sync`: the options and settings hold for these
//! artifacts, too.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::bench::{Bench, PROGRAM, Said, run};

/// A machine that has built `repo` and pushed it, and another one with a clone in which nothing was built.
pub struct Clone {
    pub bench: Bench,
}

impl Clone {
    pub fn new(toml: &str) -> Clone {
        Clone::filled(toml, |_| {})
    }

    /// With more files in the first machine's artifact directories.
    pub fn filled(toml: &str, fill: impl FnOnce(&Bench)) -> Clone {
        let bench = Bench::empty(None);
        bench.write("repo/.gitignore", "node_modules/\nbuild/\n");
        bench.write("repo/package-lock.json", "{\"version\": 1}\n");
        let url = format!("file://{}", bench.path("remote").to_str().unwrap());
        bench.write("repo/depsfs.toml", &format!("{toml}[[remote]]\nname = \"team\"\nurl = \"{url}\"\n"));
        bench.commit("repo", "one");
        bench.write("repo/node_modules/a/made", "by a\n");
        bench.write("repo/build/out", "out\n");
        fill(&bench);
        for args in [&["approve"][..], &["remote", "init"], &["push", "--all"]] {
            bench.ok("repo", args);
        }
        fs::create_dir_all(bench.path("b")).unwrap();
        bench.git("b", ["clone", "-q", "../repo", "clone"]);
        let clone = Clone { bench };
        clone.ok("b/clone", &["approve"]);
        clone
    }

    /// A command on the second machine.
    pub fn command(&self, program: &str, at: &str) -> Command {
        let path = |at: &str| -> PathBuf { self.bench.path(at) };
        let mut command = self.bench.command(program, at);
        command.env("HOME", path("b")).env("DEPSFS_STORE", path("b/store"));
        command.env("XDG_STATE_HOME", path("b/state")).env("XDG_CONFIG_HOME", path("b/config"));
        command.env("DEPSFS_FETCHER_IDLE", "2").env("DEPSFS_FETCH_WAIT", "3");
        command
    }

    /// Runs depsfs on the second machine; it has to succeed.
    #[track_caller]
    pub fn ok(&self, at: &str, args: &[&str]) -> Said {
        let said = run(self.command(PROGRAM, at).args(args));
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        said
    }

    /// A worktree of git's own.
    fn worktree(&self, name: &str) -> String {
        self.bench.git("b/clone", ["worktree", "add", "-q", &format!("../{name}")]);
        format!("b/{name}")
    }

    #[track_caller]
    fn assert_plain(&self, at: &str) {
        assert_eq!(self.bench.mounts(), Vec::<String>::new());
        assert_eq!(self.bench.read(&format!("{at}/node_modules/a/made")), "by a\n");
    }
}

/// Its artifact is pushed for its key.
pub const WEB: &str = r#"
[[component]]
name = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }
"#;

#[test]
fn pushed_artifacts_of_a_copied_worktree_are_plain_files() {
    // Those of a component, and those of the commit.
    for toml in [WEB, ""] {
        let clone = Clone::new(toml);
        let said = clone.ok("b/clone", &["create", "one", "--copy", "--allow-unbuilt"]);
        clone.assert_plain("b/one");
        assert!(!said.err.contains("instead of a view"), "{said:?}");
        clone.ok(&clone.worktree("two"), &["adopt", "--copy"]);
        clone.assert_plain("b/two");
        clone.bench.git("b/clone", ["config", "depsfs.mode", "copy"]);
        clone.ok("b/clone", &["create", "three", "--allow-unbuilt"]);
        clone.assert_plain("b/three");
        clone.ok(&clone.worktree("four"), &["fetch"]);
        clone.assert_plain("b/four");
        for at in ["b/one", "b/two", "b/three", "b/four"] {
            clone.bench.assert_clean(at);
        }
    }
}

#[test]
fn a_second_create_of_a_commit_without_directories_of_its_own_asks_for_nothing() {
    let clone = Clone::new(WEB);
    // A commit without others before it, and the component's artifact alone: its entry names no directories.
    clone.bench.git("repo", ["checkout", "-q", "--orphan", "fresh"]);
    clone.bench.write("repo/package-lock.json", "{\"version\": 3}\n");
    clone.bench.commit("repo", "fresh");
    clone.bench.ok("repo", ["push"]);
    clone.bench.git("b/clone", ["fetch", "-q", "origin", "fresh"]);
    clone.bench.git("b/clone", ["checkout", "-q", "-b", "fresh", "FETCH_HEAD"]);
    let said = clone.ok("b/clone", &["create", "one"]);
    assert!(said.out.contains("  remote:   "), "{said:?}");
    let said = clone.ok("b/clone", &["create", "two"]);
    assert!(!said.out.contains("  remote:   "), "{said:?}");
    assert_eq!(clone.bench.read("b/two/node_modules/a/made"), "by a\n");
    ["one", "two"].iter().for_each(|name| drop(clone.ok("b/clone", &["remove", name])));
}

#[test]
fn a_worktree_that_is_not_mounted_gets_nothing_of_its_commit_and_downloads_nothing() {
    let clone = Clone::new("");
    let url = clone.bench.path("remote");
    fs::rename(&url, clone.bench.path("away")).unwrap();
    let one = ["create", "one", "--no-mount", "--allow-unbuilt", "--dry-run"];
    for args in [&one[..], &one[..4]] {
        let said = clone.ok("b/clone", args);
        assert!(!said.err.contains("remote") && !said.out.contains("pushed:"), "{said:?}");
    }
    fs::rename(clone.bench.path("away"), &url).unwrap();
    let said = clone.ok("b/clone", &["create", "two", "--no-mount", "--allow-unbuilt"]);
    assert!(!said.out.contains("pushed:") && !clone.bench.is_there("b/two/build"), "{said:?}");
    let said = clone.ok("b/clone", &["create", "three", "--dry-run"]);
    assert!(said.out.contains("pushed:"), "{said:?}");
}

#[test]
fn tracked_files_keep_their_times_with_fetch_sync_and_resume_where_the_configuration_says_so() {
    // Those of a component, and those of the commit.
    for toml in [WEB, ""] {
        let clone = Clone::new(toml);
        clone.bench.git("b/clone", ["config", "depsfs.mtimes", "false"]);
        let (fetched, synced) = (clone.worktree("fetched"), clone.worktree("synced"));
        let pending = "b/pending".to_owned();
        let mut all = vec![(fetched.clone(), vec!["fetch"])];
        if toml == WEB {
            // They have no artifact yet.
            clone.ok(&synced, &["adopt", "--allow-unbuilt", "--no-remote"]);
            clone.ok("b/clone", &["create", "pending", "--no-mount"]);
            all.extend([(synced, vec!["sync"]), (pending, vec!["create", "--resume"])]);
        }
        for (at, args) in all {
            let lock = clone.bench.path(&format!("{at}/package-lock.json"));
            let time = || fs::metadata(&lock).unwrap().modified().unwrap();
            let before = time();
            clone.ok(&at, &args);
            assert_eq!(clone.bench.read(&format!("{at}/node_modules/a/made")), "by a\n", "{args:?}");
            assert_eq!(time(), before, "{args:?}");
        }
    }
}
