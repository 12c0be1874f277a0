//! Contents that come while the views are used: `lazy = true` of a remote in the user's own configuration.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::bench::{PROGRAM, run};
use super::remote_create::{Clone, WEB};

/// Longer than anything takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(50);

impl Clone {
    /// With a user's configuration of the remote.
    fn lazy(toml: &str, complete: &str) -> Clone {
        let clone = Clone::new(toml);
        let config = format!("[remote.team]\nlazy = true\ncomplete = \"{complete}\"\n");
        clone.bench.write("b/config/depsfs/config.toml", &config);
        clone
    }

    /// The remote is gone, or back.
    fn is_away(&self, yes: bool) {
        let (at, away) = (self.bench.path("remote"), self.bench.path("away"));
        if yes { fs::rename(at, away) } else { fs::rename(away, at) }.unwrap();
    }

    /// Waits until the status has these words.
    #[track_caller]
    pub fn wait_for_status(&self, at: &str, words: &str) -> String {
        let until = Instant::now() + LONG;
        loop {
            let said = self.ok(at, &["status"]).out;
            if said.contains(words) {
                return said;
            }
            assert!(Instant::now() < until, "{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The fetchers of the second machine's store.
    pub fn fetchers(&self) -> Vec<i32> {
        let store = self.bench.path("b/store").to_string_lossy().into_owned();
        let is_its = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.contains(&&b"fetcher"[..]) && words.contains(&store.as_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_its).collect()
    }

    #[track_caller]
    pub fn wait_for_no_fetcher(&self) {
        let until = Instant::now() + LONG;
        while !self.fetchers().is_empty() {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn made(&self, at: &str) -> PathBuf {
        self.bench.path(&format!("{at}/node_modules/a/made"))
    }
}

#[test]
fn a_view_lists_without_the_remote_reads_bring_contents_and_fetch_completes_it() {
    // The artifact of a component, and those of the commit.
    for toml in [WEB, ""] {
        let clone = Clone::lazy(toml, "on-use");
        let said = clone.ok("b/clone", &["create", "one", "--allow-unbuilt"]).out;
        assert!(said.contains("contents: they come while the views are used"), "{said}");
        let incomplete = clone.wait_for_status("b/one", "[incomplete] node_modules: 0 %");
        assert!(!incomplete.contains("does not answer"), "{incomplete}");
        clone.is_away(true);
        let meta = fs::metadata(clone.made("b/one")).unwrap();
        assert_eq!(meta.len(), 5);
        let failed = fs::read(clone.made("b/one")).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(5), "{failed}");
        clone.wait_for_status("b/one", "remote team does not answer since ");
        clone.is_away(false);
        let until = Instant::now() + LONG;
        while fs::read(clone.made("b/one")).ok().as_deref() != Some(b"by a\n") {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = clone.ok("b/one", &["fetch"]).out;
        assert!(said.contains("contents: all are here") || said.contains("nothing that is not here"), "{said}");
        assert!(!clone.ok("b/one", &["status"]).out.contains("[incomplete]"));
        clone.wait_for_no_fetcher();
        clone.is_away(true);
        assert_eq!(fs::read(clone.made("b/one")).unwrap(), b"by a\n");
        // The same artifact is used again.
        let said = clone.ok("b/clone", &["create", "two", "--allow-unbuilt"]).out;
        assert!(!said.contains("remote:"), "{said}");
        assert_eq!(fs::read(clone.made("b/two")).unwrap(), b"by a\n");
        for at in ["b/one", "b/two"] {
            clone.bench.assert_clean(at);
            clone.ok("b/clone", &["remove", &at[2..]]);
        }
    }
}

#[test]
fn views_complete_themselves_and_the_fetcher_ends() {
    let clone = Clone::lazy(WEB, "always");
    clone.ok("b/clone", &["create", "one"]);
    clone.wait_for_status("b/one", "[ok]      node_modules");
    clone.wait_for_no_fetcher();
    let log = clone.bench.read("b/store/fetcher/log");
    assert!(log.contains("ended after ") && log.contains(" requests, "), "{log}");
    clone.is_away(true);
    assert_eq!(fs::read(clone.made("b/one")).unwrap(), b"by a\n");
    clone.ok("b/clone", &["remove", "one"]);
}

#[test]
fn create_waits_for_all_contents_on_request_and_copies_have_them() {
    let clone = Clone::lazy(WEB, "on-use");
    let said = clone.ok("b/clone", &["create", "one", "--complete"]).out;
    assert!(said.contains("contents: all are here"), "{said}");
    clone.is_away(true);
    assert_eq!(fs::read(clone.made("b/one")).unwrap(), b"by a\n");
    clone.is_away(false);
    clone.ok("b/clone", &["remove", "one"]);
    let other = Clone::lazy(WEB, "on-use");
    other.ok("b/clone", &["create", "lazy"]);
    other.ok("b/clone", &["create", "copied", "--copy"]);
    other.is_away(true);
    assert_eq!(fs::read(other.made("b/copied")).unwrap(), b"by a\n");
    other.ok("b/clone", &["remove", "lazy"]);
}

#[test]
fn a_read_waits_as_long_as_the_users_configuration_has_it_and_a_fault_in_that_is_named() {
    let clone = Clone::lazy(WEB, "on-use");
    let config = "[remote.team]\nlazy = true\ncomplete = \"on-use\"\n";
    let faults = [("wait = \"30\"", "no time such as 30s"), ("bandwidth = \"fast\"", "such as 100M, 800k or 1G")];
    for (fault, words) in faults {
        clone.bench.write("b/config/depsfs/config.toml", &format!("{config}{fault}\n"));
        let said = run(clone.command(PROGRAM, "b/clone").args(["create", "one"]));
        assert!(said.code != 0 && said.err.contains(words) && said.err.contains("config.toml"), "{said:?}");
        assert!(!clone.bench.is_there("b/one"));
    }
    clone.bench.write("b/config/depsfs/config.toml", &format!("{config}wait = \"1s\"\nbandwidth = \"1G\"\n"));
    let said = run(clone.command(PROGRAM, "b/clone").args(["create", "one"]).env_remove("DEPSFS_FETCH_WAIT"));
    assert_eq!(said.code, 0, "{said:?}");
    clone.is_away(true);
    let begun = Instant::now();
    assert_eq!(fs::read(clone.made("b/one")).unwrap_err().raw_os_error(), Some(5));
    let took = begun.elapsed();
    // By default it would be 30 s.
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(25), "{took:?}");
    clone.ok("b/clone", &["remove", "one"]);
}

#[test]
fn a_fetcher_that_is_killed_is_started_again_by_the_next_read() {
    let clone = Clone::lazy(WEB, "on-use");
    clone.ok("b/clone", &["create", "one"]);
    clone.is_away(true);
    // It waits for the remote.
    let (made, reader) = (clone.made("b/one"), clone.made("b/one"));
    let reads = std::thread::spawn(move || fs::read(reader));
    let until = Instant::now() + LONG;
    while clone.fetchers().is_empty() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    for pid in clone.fetchers() {
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
    }
    clone.is_away(false);
    let read = reads.join().unwrap();
    assert!(read.as_deref().is_ok_and(|bytes| bytes == b"by a\n") || read.is_err(), "{read:?}");
    let until = Instant::now() + LONG;
    while fs::read(&made).ok().as_deref() != Some(b"by a\n") {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    clone.ok("b/clone", &["remove", "one"]);
}

#[test]
fn a_command_that_needs_all_contents_is_refused_before_it_changes_anything_while_the_remote_is_away() {
    let clone = Clone::lazy(WEB, "on-use");
    clone.ok("b/clone", &["create", "one"]);
    // The artifact is another one than that of the remote: there is something to publish.
    clone.bench.write("b/one/package-lock.json", "{\"version\": 2}\n");
    clone.bench.write("b/one/node_modules/own", "own\n");
    clone.is_away(true);
    let entries = || clone.ok("b/clone", &["store", "list"]).out;
    let before = entries();
    for args in [&["thaw", "node_modules"][..], &["thaw", "node_modules/a"], &["publish"], &["push"]] {
        let said = run(clone.command(PROGRAM, "b/one").args(args));
        assert!(said.code != 0 && said.err.contains("the remote team"), "{args:?}: {said:?}");
        assert_eq!(entries(), before, "{args:?}");
        let diff = clone.ok("b/one", &["diff"]).out;
        assert!(diff.contains("own") && !diff.contains("made"), "{args:?}: {diff}");
        assert_eq!(fs::metadata(clone.made("b/one")).unwrap().len(), 5, "{args:?}");
    }
    clone.is_away(false);
    clone.ok("b/one", &["thaw", "node_modules/a"]);
    clone.ok("b/one", &["publish"]);
    clone.ok("b/one", &["thaw", "node_modules"]);
    clone.is_away(true);
    assert_eq!(fs::read(clone.made("b/one")).unwrap(), b"by a\n");
    clone.ok("b/clone", &["remove", "one", "--discard-changes"]);
}

#[test]
fn contents_of_a_changed_view_come_after_its_worktree_is_gone() {
    let clone = Clone::lazy("", "on-use");
    clone.ok("b/clone", &["create", "one", "--allow-unbuilt"]);
    clone.bench.write("b/one/node_modules/own", "own\n");
    // Its tree is made of that of the view, and of the file.
    clone.ok("b/one", &["create", "two", "--no-remote"]);
    clone.ok("b/clone", &["remove", "one"]);
    clone.ok("b/clone", &["gc", "--keep-days", "0"]);
    assert_eq!(fs::read(clone.bench.path("b/two/node_modules/own")).unwrap(), b"own\n");
    assert_eq!(fs::read(clone.made("b/two")).unwrap(), b"by a\n");
    clone.ok("b/clone", &["store", "verify"]);
    clone.ok("b/clone", &["remove", "two"]);
}

#[test]
fn a_view_is_completed_from_the_remote_it_came_from_though_the_configuration_names_that_no_more() {
    let clone = Clone::lazy(WEB, "on-use");
    clone.ok("b/clone", &["create", "one"]);
    clone.bench.write("b/one/depsfs.toml", WEB);
    fs::remove_file(clone.bench.path("b/config/depsfs/config.toml")).unwrap();
    let said = clone.ok("b/one", &["fetch"]).out;
    assert!(said.contains("contents: all are here"), "{said}");
    clone.is_away(true);
    assert_eq!(fs::read(clone.made("b/one")).unwrap(), b"by a\n");
    let said = run(clone.command(PROGRAM, "b/one").arg("fetch"));
    assert!(said.code != 0 && said.err.contains("no remote is configured"), "{said:?}");
    clone.ok("b/clone", &["remove", "one", "--discard-changes"]);
}
