//! Equal files have the source's times, so that build tools find their artifacts up to date.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use crate::bench::{Bench, run};

/// Sets a time long ago, as a checkout of last week has it.
fn age(bench: &Bench, at: &str) {
    let file = std::fs::File::open(bench.path(at)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)).unwrap();
}

fn mtime(bench: &Bench, at: &str) -> (i64, i64) {
    let m = bench.path(at).symlink_metadata().unwrap();
    (m.mtime(), m.mtime_nsec())
}

#[test]
fn equal_files_get_the_sources_time_and_changed_ones_do_not() {
    let bench = Bench::new();
    bench.write("repo/src/same.c", "same\n");
    std::os::unix::fs::symlink("same.c", bench.path("repo/src/link")).unwrap();
    bench.commit("repo", "two");
    for at in ["repo/src/same.c", "repo/src/main.c", "repo/README.md"] {
        age(&bench, at);
    }
    bench.git("repo", ["update-index", "-q", "--refresh"]);
    bench.write("repo/src/main.c", "int main() { return 1; }\n");
    age(&bench, "repo/src/main.c");
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(mtime(&bench, "fix/src/same.c"), (1_700_000_000, 123_456_789));
    assert_eq!(mtime(&bench, "fix/src/link"), mtime(&bench, "repo/src/link"));
    assert_eq!(mtime(&bench, "fix/README.md"), (1_700_000_000, 123_456_789));
    assert_ne!(mtime(&bench, "fix/src/main.c"), (1_700_000_000, 123_456_789), "modified in the source");
    bench.assert_clean("fix");
}

#[test]
fn git_status_reads_no_file_again_afterwards() {
    for format in
        [["config", "index.version", "2"], ["config", "index.version", "4"], ["config", "core.splitIndex", "true"]]
    {
        let bench = Bench::new();
        bench.git("repo", format);
        for n in 0..20 {
            bench.write(&format!("repo/src/f{n}"), "text\n");
        }
        bench.commit("repo", "many");
        (0..20).for_each(|n| age(&bench, &format!("repo/src/f{n}")));
        bench.git("repo", ["update-index", "-q", "--refresh"]);
        bench.ok("repo", ["create", "fix"]);
        assert_eq!(mtime(&bench, "fix/src/f7"), (1_700_000_000, 123_456_789));
        // git diff-files trusts the stat data alone: it names every file whose entry is not up to date.
        assert_eq!(bench.git("fix", ["diff-files", "--name-only"]), "", "{format:?}");
        if format[1] != "core.splitIndex" {
            // The cached trees, by which `git status` skips whole directories, are kept and right.
            let index = std::fs::read(bench.path("repo/.git/worktrees/fix/index")).unwrap();
            assert!(index.windows(4).any(|w| w == b"TREE"), "{format:?}");
            let head = bench.git("fix", ["rev-parse", "HEAD^{tree}"]);
            assert_eq!(bench.git("fix", ["write-tree"]), head);
        }
        bench.assert_clean("fix");
        bench.git("fix", ["fsck"]);
    }
}

#[test]
fn the_rule_can_be_switched_off() {
    let bench = Bench::new();
    age(&bench, "repo/README.md");
    bench.ok("repo", ["create", "a", "--no-mtimes"]);
    bench.git("repo", ["config", "depsfs.mtimes", "false"]);
    bench.ok("repo", ["create", "b"]);
    for at in ["a/README.md", "b/README.md"] {
        assert_ne!(mtime(&bench, at), (1_700_000_000, 123_456_789));
    }
}

/// An ordinary crate with a path dependency and a build script: no network.
#[test]
fn cargo_build_in_a_new_worktree_compiles_nothing() {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "target/\n");
    bench.write("repo/Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nlib = { path = \"lib\" }\n");
    bench.write("repo/src/main.rs", "fn main() { println!(\"{} {}\", lib::answer(), env!(\"BUILT\")); }\n");
    bench.write(
        "repo/build.rs",
        "fn main() { println!(\"cargo:rerun-if-changed=lib\"); println!(\"cargo:rustc-env=BUILT=yes\"); }\n",
    );
    bench.write("repo/lib/Cargo.toml", "[package]\nname = \"lib\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    bench.write("repo/lib/src/lib.rs", "pub fn answer() -> u32 { 42 }\n");
    let cargo = |at: &str| {
        let mut command = bench.command("cargo", at);
        command.args(["build", "--offline"]).env_remove("CARGO_TARGET_DIR");
        if let Some(home) = std::env::var_os("HOME") {
            command.env("HOME", home);
        }
        let said = run(&mut command);
        assert_eq!(said.code, 0, "{said:?}");
        said.err
    };
    assert!(cargo("repo").contains("Compiling app"));
    bench.commit("repo", "one");
    bench.ok("repo", ["create", "fix"]);
    // Cargo knows a workspace member by its path, so the new path of the worktree is what it must not notice.
    let again = cargo("fix");
    assert!(!again.contains("Compiling"), "{again}");
    assert_eq!(bench.ok("fix", ["diff"]).lines().filter(|l| l.ends_with(".rs")).count(), 0);
    bench.write("fix/lib/src/lib.rs", "pub fn answer() -> u32 { 43 }\n");
    assert!(cargo("fix").contains("Compiling lib"));
    assert!(!cargo("repo").contains("Compiling"));
}
