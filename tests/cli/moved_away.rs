//! Artifact directories that a program renamed, replaced or swapped: each verb names what happened, and `reset` brings
//! the artifact back without a loss of what lies elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use depsfs::sys::fs::{RenameFlags, rename_at};
use depsfs::sys::path::open_dir;

use crate::bench::{Bench, Said};

/// One way to lose an artifact's directory.
struct Case {
    name: &'static str,
    lose: fn(&Path),
    /// The artifact that is brought back.
    artifact: &'static str,
    /// A part of the line that `status` has for it.
    status: &'static str,
    diff: &'static str,
    /// Files that are there after the reset, besides those of the artifact, with their contents.
    kept: &'static [(&'static str, &'static str)],
    /// A part of the note of `reset`; empty for none.
    note: &'static str,
}

fn swap(top: &Path, one: &str, two: &str) {
    let dir = open_dir(top).unwrap();
    rename_at(&dir, one.as_bytes(), &dir, two.as_bytes(), RenameFlags::EXCHANGE).unwrap();
}

const ONE_VIEW: [Case; 9] = [
    Case {
        name: "renamed",
        lose: |top| fs::rename(top.join("build"), top.join("old")).unwrap(),
        artifact: "build",
        status: "[MISSING] build (renamed to old; depsfs reset brings it back)\n",
        diff: "D build\n",
        kept: &[("old/out.o", "object\n")],
        note: "note: old keeps what was moved out of build, as plain files\n",
    },
    Case {
        name: "renamed, and made anew",
        lose: |top| {
            fs::rename(top.join("build"), top.join("old")).unwrap();
            fs::write(top.join("old/out.o"), "mine\n").unwrap();
            fs::create_dir(top.join("build")).unwrap();
            fs::write(top.join("build/new"), "new\n").unwrap();
        },
        artifact: "build",
        status: "[ok]      build\n",
        diff: "M build\nA build/new\n",
        kept: &[("old/out.o", "mine\n"), ("old/lib.a", "library\n")],
        note: "note: old keeps what was moved out of build, as plain files\n",
    },
    Case {
        name: "moved into another artifact",
        lose: |top| fs::rename(top.join("build"), top.join("node_modules/build")).unwrap(),
        artifact: "build",
        status: "[MISSING] build (renamed to node_modules/build; depsfs reset brings it back)\n",
        diff: "D build\nA node_modules/build\n",
        kept: &[("node_modules/build/out.o", "object\n")],
        note: "note: node_modules/build keeps what was moved out of build, as plain files\n",
    },
    Case {
        name: "a part of it moved elsewhere",
        lose: |top| fs::rename(top.join("node_modules/a/b"), top.join("src/b")).unwrap(),
        artifact: "node_modules",
        status: "[ok]      node_modules\n",
        diff: "D node_modules/a/b\n",
        kept: &[("src/b/deep.js", "module.exports = 2\n")],
        note: "note: src/b keeps what was moved out of node_modules, as plain files\n",
    },
    Case {
        name: "swapped with another",
        lose: |top| swap(top, "build", "node_modules"),
        artifact: "build",
        status: "[ok]      build\n",
        diff: "M build\nM node_modules\n",
        kept: &[("node_modules/out.o", "object\n")],
        note: "note: node_modules keeps what was moved out of build, as plain files\n",
    },
    Case {
        name: "with its package renamed",
        lose: |top| fs::rename(top.join("packages/a"), top.join("packages/z")).unwrap(),
        artifact: "packages/a/build",
        status: "[MISSING] packages/a/build (renamed to packages/z/build; depsfs reset brings it back)\n",
        diff: "D packages/a/build\n",
        kept: &[("packages/z/build/index.js", "built\n"), ("packages/z/src/index.ts", "export {}\n")],
        note: "note: packages/z keeps what was moved out of packages/a/build, as plain files\n",
    },
    REMOVED,
    FILE,
    LINK,
];

const DIRECTORIES: [Case; 3] = [REMOVED, FILE, LINK];

const REMOVED: Case = Case {
    name: "removed",
    lose: |top| fs::remove_dir_all(top.join("build")).unwrap(),
    artifact: "build",
    status: "[MISSING] build (deleted; depsfs reset brings it back)\n",
    diff: "D build\n",
    kept: &[],
    note: "",
};

const FILE: Case = Case {
    name: "replaced by a file",
    lose: |top| {
        fs::remove_dir_all(top.join("build")).unwrap();
        fs::write(top.join("build"), "a file\n").unwrap();
    },
    artifact: "build",
    status: "[MISSING] build (deleted; depsfs reset brings it back)\n",
    diff: "M build\n",
    kept: &[],
    note: "",
};

const LINK: Case = Case {
    name: "replaced by a symlink",
    lose: |top| {
        fs::remove_dir_all(top.join("build")).unwrap();
        symlink("src", top.join("build")).unwrap();
    },
    artifact: "build",
    status: "[MISSING] build (deleted; depsfs reset brings it back)\n",
    diff: "M build\n",
    kept: &[("src/main.c", "int main() { return 0; }\n")],
    note: "",
};

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("repo/packages/a/src/index.ts", "export {}\n");
    bench.commit("repo", "packages");
    bench.write("repo/packages/a/build/index.js", "built\n");
    bench
}

#[test]
fn reset_brings_back_an_artifact_whatever_became_of_its_directory_and_keeps_what_lies_elsewhere() {
    let bench = bench();
    for (shape, cases) in [("worktree", &ONE_VIEW[..]), ("directories", &DIRECTORIES)] {
        for (n, case) in cases.iter().enumerate() {
            let (name, what) = (format!("{shape}-{n}"), format!("{shape}: {}", case.name));
            bench.ok("repo", ["create", &name, "--view", shape]);
            let before = fs::read_dir(bench.path(&name).join(case.artifact)).unwrap().count();
            (case.lose)(&bench.path(&name));
            let Said { out, .. } = bench.depsfs(&name, ["status"]);
            assert!(out.contains(case.status), "{what}: {out}");
            let diff = bench.ok(&name, ["diff"]);
            assert!(diff.contains(case.diff), "{what}: {diff}");
            bench.ok(&name, ["sync"]);
            bench.ok(&name, ["thaw", "--dry-run", case.artifact]);
            let reset = bench.depsfs(&name, ["reset", "--yes", case.artifact]);
            assert_eq!(reset.code, 0, "{what}: {reset:?}");
            assert!(
                reset.err.contains(case.note) && !case.note.is_empty() == reset.err.contains("note: "),
                "{what}: {reset:?}"
            );
            assert_eq!(bench.ok(&name, ["diff", case.artifact]), "", "{what}");
            assert_eq!(fs::read_dir(bench.path(&name).join(case.artifact)).unwrap().count(), before, "{what}");
            let same = |when: &str| {
                for (path, content) in case.kept {
                    assert_eq!(bench.read(&format!("{name}/{path}")), *content, "{what}, {when}: {path}");
                }
                let (status, line) = (bench.depsfs(&name, ["status"]).out, format!("[ok]      {}\n", case.artifact));
                assert!(status.contains(&line), "{what}, {when}: {status}");
            };
            same("at once");
            // A change there is none of the artifact.
            for (path, _) in case.kept.iter().filter(|_| shape == "worktree") {
                fs::write(bench.path(&format!("{name}/{path}.mine")), "mine\n").unwrap();
                fs::remove_file(bench.path(&format!("{name}/{path}.mine"))).unwrap();
            }
            assert_eq!(bench.ok(&name, ["diff", case.artifact]), "", "{what}");
            bench.ok("", ["unmount", &name]);
            bench.ok("", ["mount", &name]);
            same("after a remount");
            bench.ok("repo", ["remove", &name, "--discard-changes", "--discard-untracked"]);
        }
    }
    bench.assert_sound();
}

#[test]
fn a_mount_of_an_artifact_is_neither_renamed_nor_swapped_and_both_stay() {
    let bench = bench();
    bench.ok("repo", ["create", "fix", "--view", "directories"]);
    let fix = |at: &str| bench.path("fix").join(at);
    assert_eq!(fs::rename(fix("build"), fix("old")).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    let dir = open_dir(&fix("")).unwrap();
    let swapped = rename_at(&dir, b"build", &dir, b"node_modules", RenameFlags::EXCHANGE);
    assert_eq!(swapped.unwrap_err().raw_os_error(), Some(libc::EBUSY));
    assert_eq!(bench.ok("fix", ["diff"]), "");
    fs::rename(fix("node_modules/a"), fix("node_modules/b")).unwrap();
    let reset = bench.depsfs("fix", ["reset", "--yes", "node_modules/a"]);
    assert!(reset.code == 0 && reset.err.contains("note: node_modules/b keeps"), "{reset:?}");
    assert_eq!(bench.read("fix/node_modules/a/b/deep.js"), "module.exports = 2\n");
    assert_eq!(bench.read("fix/node_modules/b/b/deep.js"), "module.exports = 2\n");
    fs::create_dir(fix("node_modules/new")).unwrap();
    fs::rename(fix("node_modules/a"), fix("node_modules/new/a")).unwrap();
    bench.ok("fix", ["reset", "--yes", "node_modules/new"]);
    bench.ok("fix", ["reset", "--yes", "node_modules/a"]);
    bench.write("fix/node_modules/a/own", "own\n");
    assert_eq!(bench.read("fix/node_modules/a/index.js"), "module.exports = 1\n");
    bench.ok("repo", ["remove", "fix", "--discard-changes", "--discard-untracked"]);
    bench.assert_sound();
}

#[test]
fn an_artifact_below_a_symlink_is_not_reset_and_nothing_is_lost_where_the_symlink_leads() {
    let bench = bench();
    for shape in ["worktree", "directories"] {
        bench.write("elsewhere/a/build/precious", "precious\n");
        bench.ok("repo", ["create", "fix", "--view", shape]);
        let fix = |at: &str| bench.path("fix").join(at);
        fs::remove_dir_all(fix("packages")).unwrap();
        symlink("../elsewhere", fix("packages")).unwrap();
        for mounted in [true, false] {
            if !mounted {
                bench.ok("", ["unmount", "fix"]);
            }
            let reset = bench.depsfs("", ["-C", "fix", "reset", "--yes", "fix", "packages/a/build"]);
            assert_ne!(reset.code, 0, "{shape}: {reset:?}");
            assert_eq!(bench.read("elsewhere/a/build/precious"), "precious\n", "{shape}: {reset:?}");
        }
        fs::remove_file(fix("packages")).unwrap();
        bench.ok("", ["mount", "fix"]);
        bench.ok("fix", ["reset", "--yes", "packages/a/build"]);
        assert_eq!(bench.read("fix/packages/a/build/index.js"), "built\n");
        bench.ok("repo", ["remove", "fix", "--discard-changes", "--discard-untracked"]);
        bench.git("repo", ["branch", "-D", "al/fix"]);
    }
    bench.assert_sound();
}
