//! The tracked files of a new worktree are what git would have written, whoever wrote them.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::bench::Bench;

/// Every path below with type, permission, link target and bytes; but git's own file, and what git ignores.
fn everything(root: &Path, at: &Path, into: &mut Vec<String>) {
    let mut names: Vec<_> = std::fs::read_dir(root.join(at)).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let below = at.join(&name);
        let path = root.join(&below);
        let meta = path.symlink_metadata().unwrap();
        let content = match meta {
            _ if [".git", "build", "node_modules", ".env"].iter().any(|n| name == *n) => continue,
            _ if meta.is_dir() => String::new(),
            _ if meta.is_symlink() => format!("{:?}", std::fs::read_link(&path).unwrap()),
            _ => format!("{:?}", std::fs::read(&path).unwrap()),
        };
        into.push(format!("{below:?} {:o} {content}", meta.permissions().mode()));
        if meta.is_dir() {
            everything(root, &below, into);
        }
    }
}

/// Makes a worktree with git and one with depsfs, and answers what both hold.
fn both(bench: &Bench, base: &str) -> [Vec<String>; 2] {
    bench.git("repo", ["worktree", "add", "-q", "-b", "plain", "../plain", base]);
    bench.ok("repo", ["create", "fix", base]);
    bench.assert_clean("fix");
    assert_eq!(bench.git("fix", ["diff-files", "--name-only"]), "");
    ["plain", "fix"].map(|at| {
        let mut all = Vec::new();
        everything(&bench.path(at), Path::new(""), &mut all);
        all
    })
}

#[test]
fn a_create_from_a_source_that_was_worked_in_holds_to_the_byte_what_git_worktree_add_does() {
    let bench = Bench::new();
    for n in 0..30 {
        bench.write(&format!("repo/src/deep/d{}/f{n}", n % 3), &format!("text {n}\n"));
    }
    bench.write("repo/empty", "");
    bench.write("repo/windows", "one\r\ntwo\r\n");
    bench.write("repo/run.sh", "#!/bin/sh\n");
    std::fs::set_permissions(bench.path("repo/run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("deep/d0/f0", bench.path("repo/src/link")).unwrap();
    bench.write("repo/large", &"0123456789abcdef".repeat(40_000));
    bench.commit("repo", "all");
    bench.git("repo", ["tag", "old"]);
    bench.write("repo/src/deep/d1/f1", "newer\n");
    bench.git("repo", ["rm", "-q", "empty"]);
    bench.commit("repo", "newer");
    // Changed, with the size and the time it had; gone; another mode; staged; a directory in the place of a file.
    let changed = bench.path("repo/src/deep/d2/f2");
    let time = changed.metadata().unwrap().modified().unwrap();
    std::fs::write(&changed, "TEXT 2\n").unwrap();
    std::fs::File::options().write(true).open(&changed).unwrap().set_modified(time).unwrap();
    std::fs::remove_file(bench.path("repo/src/deep/d0/f3")).unwrap();
    std::fs::set_permissions(bench.path("repo/src/deep/d1/f4"), PermissionsExt::from_mode(0o700)).unwrap();
    bench.write("repo/src/deep/d2/f5", "staged\n");
    bench.git("repo", ["add", "src/deep/d2/f5"]);
    std::fs::remove_file(bench.path("repo/src/deep/d0/f6")).unwrap();
    bench.write("repo/src/deep/d0/f6/inside", "");
    for base in ["HEAD", "old"] {
        let [plain, fix] = both(&bench, base);
        assert!(plain.len() > 30);
        assert_eq!(fix, plain, "{base}");
        bench.ok("repo", ["remove", "fix", "--delete-branch"]);
        bench.git("repo", ["worktree", "remove", "--force", "../plain"]);
        bench.git("repo", ["branch", "-D", "plain"]);
    }
}

#[test]
fn what_a_checkout_converts_is_converted_in_a_create_too() {
    for attributes in ["*.txt eol=crlf\n", "*.txt ident\n", "*.txt filter=upper\n", "* text=auto\n"] {
        let bench = Bench::new();
        bench.git("repo", ["config", "filter.upper.smudge", "tr a-z A-Z"]);
        bench.git("repo", ["config", "filter.upper.clean", "tr A-Z a-z"]);
        bench.write("repo/.gitattributes", attributes);
        bench.write("repo/a.txt", "one $Id$\ntwo\n");
        bench.commit("repo", "converted");
        let [plain, fix] = both(&bench, "HEAD");
        assert_eq!(fix, plain, "{attributes}");
    }
    let bench = Bench::new();
    bench.git("repo", ["config", "core.autocrlf", "true"]);
    bench.write("repo/a.txt", "one\n");
    bench.commit("repo", "converted");
    let [plain, fix] = both(&bench, "HEAD");
    assert_eq!(fix, plain);
}

#[test]
fn a_hook_that_waits_for_a_checkout_is_run_once_and_finds_the_files() {
    let bench = Bench::new();
    let hook = bench.path("repo/.git/hooks/post-checkout");
    bench.write("repo/.git/hooks/post-checkout", "#!/bin/sh\necho \"$3 $(ls README.md)\" >>../hooked\n");
    std::fs::set_permissions(hook, PermissionsExt::from_mode(0o755)).unwrap();
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.read("hooked"), "1 README.md\n");
}
