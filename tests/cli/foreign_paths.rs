//! Artifacts that another checkout has built hold its path: a worktree that gets one shows its own.

use std::os::unix::fs::{MetadataExt, symlink};

use crate::bench::{Bench, PROGRAM, Said, run};
#[cfg(feature = "remote")]
use crate::remote_create::Clone;

/// A component below `lib` whose build writes the path of the checkout: as text, as a symlink, and into a binary file.
const TOML: &str = r#"
[[component]]
name = "lib"
dir = "lib"
paths = ["dist"]
key = { files = ["src"] }
build = "mkdir -p dist/deep; cat src > dist/deep/run.sh; echo \"root=$(dirname $PWD)\" >> dist/deep/run.sh; chmod 750 dist/deep/run.sh; ln -s $PWD/src dist/link; printf '\\0%s' $PWD > dist/prog"
"#;

fn built(bench: Bench) -> Bench {
    bench.write("repo/.gitignore", "dist/\nbuild/\n");
    bench.write("repo/lib/src", "one\n");
    bench.write("repo/depsfs.toml", TOML);
    bench.commit("repo", "one");
    bench.ok("repo", ["approve"]);
    bench.ok("repo", ["create", "first"]);
    assert_eq!(bench.read("first/lib/dist/deep/run.sh"), script(&bench, "one", "first"));
    bench
}

fn script(bench: &Bench, source: &str, root: &str) -> String {
    format!("{source}\nroot={}\n", bench.path(root).display())
}

/// Text and symlink have the worktree's path, the binary file has that of the first.
#[track_caller]
fn assert_own(bench: &Bench, at: &str, source: &str) {
    let dist = bench.path(at).join("lib/dist");
    assert_eq!(bench.read(&format!("{at}/lib/dist/deep/run.sh")), script(bench, source, at));
    assert_eq!(dist.join("deep/run.sh").metadata().unwrap().len(), script(bench, source, at).len() as u64);
    assert_eq!(dist.join("deep/run.sh").metadata().unwrap().mode() & 0o777, 0o750);
    assert_eq!(std::fs::read_link(dist.join("link")).unwrap(), bench.path(at).join("lib/src"));
    bench.assert_clean(at);
}

#[test]
fn an_artifact_of_the_store_has_the_path_of_the_worktree_that_gets_it() {
    for shape in ["--view=directories", "--view=worktree", "--copy"] {
        let bench = built(Bench::empty(None));
        bench.ok("repo", ["create", "second", shape]);
        assert_own(&bench, "second", "one");
        let times = |at: &str| bench.path(at).join("lib/dist/deep/run.sh").metadata().unwrap().mtime_nsec();
        assert_eq!(times("second"), times("first"), "{shape}");
        let first = bench.path("first/lib").display().to_string();
        assert_eq!(std::fs::read(bench.path("second/lib/dist/prog")).unwrap(), format!("\0{first}").as_bytes());
        assert_eq!(bench.ok("second", ["diff"]), "", "{shape}");
        // The next one, moved, has its own again.
        bench.ok("second", ["create", "third", shape]);
        assert_own(&bench, "third", "one");
        bench.ok("third", ["unmount"]);
        bench.git("repo", ["worktree", "move", "../third", "../moved"]);
        bench.ok("moved", ["mount"]);
        assert_own(&bench, "moved", "one");
        bench.assert_sound();
    }
}

#[test]
fn sync_and_reset_and_a_mount_after_an_unmount_show_the_worktrees_own_path() {
    for shape in ["--view=directories", "--view=worktree", "--copy"] {
        let bench = built(Bench::empty(None));
        bench.ok("repo", ["create", "second", shape]);
        bench.write("first/lib/src", "two\n");
        bench.ok("first", ["sync"]);
        std::fs::remove_dir_all(bench.path("first/lib/dist")).unwrap();
        let build = TOML.lines().find_map(|line| line.strip_prefix("build = \"")).unwrap();
        let build = build.trim_end_matches('"').replace("\\\"", "\"").replace("\\\\", "\\");
        assert!(bench.command("sh", "first/lib").args(["-c", &build]).status().unwrap().success());
        bench.ok("first", ["publish"]);
        bench.write("second/lib/src", "two\n");
        bench.ok("second", ["sync"]);
        bench.git("second", ["checkout", "-q", "lib/src"]);
        assert_own(&bench, "second", "two");
        bench.ok("second", ["unmount"]);
        bench.ok("second", ["mount"]);
        assert_own(&bench, "second", "two");
        if shape != "--copy" {
            bench.write("second/lib/dist/deep/run.sh", "mine\n");
            bench.ok("second", ["reset", "--yes", "lib/dist"]);
            assert_own(&bench, "second", "two");
        }
        bench.assert_sound();
    }
}

#[test]
fn an_adopted_worktree_and_one_that_the_source_shows_an_artifact_of_have_their_own_path() {
    let bench = built(Bench::empty(None));
    bench.git("repo", ["worktree", "add", "-q", "../plain"]);
    bench.ok("plain", ["adopt", "--allow-unbuilt"]);
    bench.ok("plain", ["sync"]);
    assert_own(&bench, "plain", "one");
    // The view of the source shows an artifact that it has built itself, and is unchanged.
    bench.ok("first", ["publish", "lib/dist", "--name", "made"]);
    std::fs::remove_dir_all(bench.path("first/lib/dist")).unwrap();
    assert_eq!(cache(&bench, "first", &["get", "made"], "").code, 0);
    std::fs::remove_file(bench.path("first/depsfs.toml")).unwrap();
    bench.commit("first", "no components");
    bench.ok("first", ["create", "next"]);
    assert_own(&bench, "next", "one");
    bench.assert_sound();
}

#[test]
fn leave_is_obeyed_for_artifacts_as_well() {
    let bench = built(Bench::empty(None));
    bench.git("repo", ["config", "depsfs.absolutePaths", "leave"]);
    bench.ok("repo", ["create", "second"]);
    assert_eq!(bench.read("second/lib/dist/deep/run.sh"), script(&bench, "one", "first"));
    let words = format!("holds {}", bench.path("first").display());
    assert!(bench.status("second", &["--paths"]).contains(&words), "{}", bench.status("second", &["--paths"]));
}

fn cache(bench: &Bench, at: &str, args: &[&str], ci: &str) -> Said {
    let local = bench.path("local");
    std::fs::create_dir_all(&local).unwrap();
    let mut command = bench.command(PROGRAM, at);
    run(command.arg("cache").args(args).env("CACHE_LOCAL_DIR", local).env("CI", ci).env("NO_CACHE_UPLOAD", "0"))
}

#[test]
fn what_cache_get_puts_in_place_of_another_checkouts_build_has_the_worktrees_path() {
    const NAME: &str = "lib-0123456789abcdef.tar.gz";
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "build/\n");
    bench.commit("repo", "one");
    let repo = bench.path("repo").display().to_string();
    bench.write("repo/build/run.sh", &format!("#!{repo}/bin/sh\n"));
    bench.write("repo/build/other", &format!("{repo}-old\n"));
    bench.write("repo/notes/plain", &format!("see {repo}/x\n"));
    symlink(format!("{repo}/src"), bench.path("repo/build/link")).unwrap();
    assert_eq!(cache(&bench, "repo", &["put", NAME, "build", "notes"], "0").code, 0);
    std::fs::remove_dir_all(bench.path("repo/notes")).unwrap();
    std::fs::remove_dir_all(bench.path("repo/build")).unwrap();
    for (name, ci) in [("views", ""), ("plain", "1")] {
        bench.git("repo", ["worktree", "add", "-q", &format!("../{name}")]);
        let own = bench.path(name).display().to_string();
        for _ in 0..2 {
            let said = cache(&bench, name, &["get", NAME], ci);
            assert!(said.code == 0 && !said.err.contains("Local override"), "{said:?}");
            assert_eq!(bench.read(&format!("{name}/build/run.sh")), format!("#!{own}/bin/sh\n"));
            assert_eq!(bench.read(&format!("{name}/build/other")), format!("{repo}-old\n"));
            assert_eq!(bench.read(&format!("{name}/notes/plain")), format!("see {own}/x\n"));
            assert_eq!(std::fs::read_link(bench.path(name).join("build/link")).unwrap(), bench.path(name).join("src"));
        }
        let of_another = bench.path("local/mine");
        std::fs::write(&of_another, "mine\n").unwrap();
    }
    // In the checkout that built it, it is as it was.
    assert_eq!(cache(&bench, "repo", &["get", NAME], "").code, 0);
    assert_eq!(bench.read("repo/build/run.sh"), format!("#!{repo}/bin/sh\n"));
    bench.assert_sound();
}

#[cfg(feature = "remote")]
#[test]
fn the_pushed_directories_of_a_commit_have_the_path_of_the_clone_that_gets_them() {
    let clone = Clone::new("");
    let bench = &clone.bench;
    let repo = bench.path("repo").display().to_string();
    bench.write("repo/build/run.sh", &format!("#!{repo}/bin/sh\n"));
    bench.write("repo/words", "two\n");
    bench.commit("repo", "two");
    assert_ne!(bench.depsfs("repo", ["push", "--all"]).code, 0, "a path of this machine is refused");
    bench.ok("repo", ["push", "--all", "--allow", "build/run.sh"]);
    bench.git("b/clone", ["pull", "-q"]);
    clone.ok("b/clone", &["create", "fix"]);
    let own = bench.path("b/fix").display().to_string();
    assert_eq!(bench.read("b/fix/build/run.sh"), format!("#!{own}/bin/sh\n"));
}
