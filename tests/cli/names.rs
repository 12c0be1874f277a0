//! A worktree by its name, its branch or a path in it, from anywhere in the repository.

use crate::bench::Bench;

/// Two worktrees, `fix` on `al/fix` and `other` on `al/other`.
fn two() -> Bench {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["create", "other"]);
    bench
}

#[test]
fn every_verb_finds_a_worktree_by_name_branch_and_path_from_anywhere_in_the_repository() {
    let bench = two();
    let whole = bench.path("fix").to_str().unwrap().to_owned();
    bench.write("fix/build/mine.o", "mine\n");
    for at in ["repo", "repo/src", "other", "other/node_modules/a", "fix/src"] {
        for word in ["fix", "al/fix", "refs/heads/al/fix", &whole, &format!("{whole}/node_modules/a")] {
            assert_eq!(bench.ok(at, ["path", word]), format!("{whole}\n"), "{at}: {word}");
            assert!(bench.status(at, &[word]).contains(&format!("worktree: {whole}\n")), "{at}: {word}");
        }
        for word in ["fix", "al/fix", &whole] {
            assert_eq!(bench.ok(at, ["diff", word]), "A build/mine.o\n", "{at}: {word}");
            bench.ok(at, ["sync", "--dry-run", word]);
            assert!(bench.ok(at, ["unmount", "--dry-run", word]).contains(&whole), "{at}: {word}");
            assert!(bench.ok(at, ["mount", word]).contains(&whole), "{at}: {word}");
        }
    }
    assert_eq!(bench.ok("repo", ["path", "main"]), format!("{}\n", bench.path("repo").to_str().unwrap()));
    assert_eq!(bench.ok("repo", ["path", "repo"]), bench.ok("repo", ["path"]));
    assert!(bench.ok("repo", ["adopt", "fix"]).contains("has its views already"));
    bench.ok("repo", ["approve", "fix"]);
}

#[test]
fn paths_after_a_worktree_lie_in_it_and_paths_alone_are_those_of_the_working_directory() {
    let bench = two();
    for worktree in ["fix", "other"] {
        bench.write(&format!("{worktree}/build/out.o"), "mine\n");
        bench.write(&format!("{worktree}/node_modules/a/index.js"), "mine\n");
    }
    assert_eq!(bench.ok("other", ["diff", "fix", "build"]), "M build/out.o\n");
    bench.ok("other", ["reset", "--yes", "al/fix", "build/out.o"]);
    assert_eq!((bench.read("fix/build/out.o"), bench.read("other/build/out.o")), ("object\n".into(), "mine\n".into()));
    assert_eq!(bench.ok("other", ["diff", "build"]), "M build/out.o\n");
    assert_eq!(bench.ok("other/build", ["diff", "out.o"]), "M build/out.o\n");
    bench.ok("other/build", ["reset", "-y", "out.o"]);
    assert_eq!(bench.read("other/build/out.o"), "object\n");
    bench.ok("repo", ["thaw", "fix", "build"]);
    assert_eq!(bench.ok("repo", ["thaw", "other", "--dry-run"]).lines().count(), 3);
    bench.ok("repo", ["publish", "other", "node_modules", "--name", "mods"]);
    bench.ok("", ["mount", "mods", "--at", "out"]);
    assert_eq!(bench.read("out/node_modules/a/index.js"), "mine\n");
    bench.ok("", ["unmount", "--at", "out"]);
    assert_eq!(bench.depsfs("repo", ["publish", "other", "--name", "all"]).code, 2);
}

#[test]
fn a_deleted_path_in_a_view_is_still_a_path() {
    let bench = two();
    std::fs::remove_file(bench.path("fix/build/out.o")).unwrap();
    assert_eq!(bench.ok("fix/build", ["diff", "out.o"]), "D build/out.o\n");
    bench.ok("fix", ["reset", "--yes", "build/out.o"]);
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
}

#[test]
fn a_word_with_two_readings_is_refused_and_both_are_named() {
    let bench = two();
    bench.write("repo/fix/file", "x");
    let both = [bench.path("repo/fix"), bench.path("fix")];
    for verb in [&["status", "fix"][..], &["unmount", "fix"], &["diff", "fix"], &["reset", "--yes", "fix"]] {
        let said = bench.depsfs("repo", verb);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
        for path in &both {
            assert!(said.err.contains(path.to_str().unwrap()), "{said:?}");
        }
    }
    let [path, worktree] = both;
    assert_eq!(bench.ok("repo", ["path", "./fix"]), format!("{}\n", bench.path("repo").to_str().unwrap()));
    assert_eq!(bench.ok("repo", ["path", "al/fix"]), format!("{}\n", worktree.to_str().unwrap()));
    std::fs::remove_dir_all(path).unwrap();
    // The name of one, and the branch of another.
    bench.git("other", ["checkout", "-q", "-b", "fix"]);
    for verb in ["status", "diff", "remove"] {
        let said = bench.depsfs("repo", [verb, "fix"]);
        assert_eq!(said.code, 3, "{said:?}");
        let other = bench.path("other");
        assert!(said.err.contains("can mean the worktree ") && said.err.contains(other.to_str().unwrap()), "{said:?}");
    }
    assert_eq!(bench.ok("repo", ["path", "refs/heads/fix"]), bench.ok("other", ["path"]));
    bench.ok("repo", ["remove", "refs/heads/fix"]);
    assert!(bench.is_there("fix") && !bench.is_there("other"));
}

#[test]
fn a_word_that_names_nothing_is_not_taken_for_the_working_directory() {
    let bench = two();
    let mounts = bench.mounts();
    for verb in [&["unmount"][..], &["status"], &["sync"], &["path"], &["exec"], &["remove"]] {
        let tail = if verb == ["exec"] { &["fxi", "--", "true"][..] } else { &["fxi"] };
        let said = bench.depsfs("fix", [verb, tail].concat());
        assert_eq!(said.code, 3, "{verb:?}: {said:?}");
        assert!(said.err.contains("no worktree of this repository is called fxi"), "{verb:?}: {said:?}");
    }
    assert_eq!(bench.mounts(), mounts);
}

#[test]
fn the_option_c_is_another_working_directory() {
    let bench = two();
    let whole = format!("{}\n", bench.path("fix").to_str().unwrap());
    assert_eq!(bench.ok("", ["-C", "fix/src", "path"]), whole);
    assert_eq!(bench.ok("store", ["path", "fix", "-C", "../repo"]), whole);
    bench.write("fix/build/mine.o", "mine\n");
    assert_eq!(bench.ok("", ["-C", "fix/build", "diff", "mine.o"]), "A build/mine.o\n");
    let said = bench.depsfs("", ["-C", "nowhere", "path"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("cannot go to nowhere"), "{said:?}");
}

#[test]
fn remove_without_a_name_takes_the_worktree_of_the_working_directory_and_never_the_main_one() {
    let bench = two();
    let said = bench.ok("fix/src", ["remove"]);
    assert!(said.contains(&format!("next:    cd {}\n", bench.path("repo").to_str().unwrap())), "{said}");
    assert!(!bench.is_there("fix") && bench.is_there("other"));
    let said = bench.depsfs("repo/src", ["remove"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("is the main checkout"), "{said:?}");
}

#[test]
fn a_name_that_would_control_the_terminal_is_printed_in_quotes_there_and_byte_by_byte_elsewhere() {
    let bench = Bench::new();
    bench.git("repo", ["worktree", "add", "-q", "-b", "x", "../e\x1b[2Kvil"]);
    let path = bench.ok("repo", ["path", "x"]);
    assert_eq!(path, format!("{}\n", bench.path("e\x1b[2Kvil").to_str().unwrap()));
    let said = bench.depsfs("repo", ["status", "x"]);
    assert!(!said.err.contains('\x1b') && said.err.contains("e\\033[2Kvil"), "{said:?}");
}

#[test]
fn a_quiet_command_prints_answers_and_errors_only() {
    let bench = two();
    assert_eq!(bench.ok("repo", ["-q", "mount", "fix"]), "");
    assert_eq!(bench.ok("repo", ["remove", "fix", "--quiet"]), "");
    assert_ne!(bench.ok("repo", ["-q", "status", "other"]), "");
    let said = bench.depsfs("repo", ["-q", "remove", "fix"]);
    assert_eq!((said.code, said.err.lines().count()), (3, 3), "{said:?}");
}

#[test]
fn colours_are_for_terminals_unless_they_are_asked_for() {
    let bench = two();
    let status = |args: &[&str]| bench.ok("repo", [&["status", "fix"], args].concat());
    assert!(!status(&[]).contains('\x1b') && !status(&["--color", "never"]).contains('\x1b'));
    assert!(status(&["--color=always"]).contains("\x1b[32m[ok]\x1b[0m      build"));
    let help = |args: &[&str]| bench.ok("repo", args);
    assert!(help(&["--color=always", "status", "--help"]).contains('\x1b'));
    assert!(!help(&["--color=never", "status", "--help"]).contains('\x1b'));
}

#[test]
fn the_name_that_create_was_given_finds_its_worktree_wherever_that_lies() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "far", "--path", "../else/where"]);
    bench.ok("repo", ["create", "near"]);
    let whole = format!("{}\n", bench.path("else/where").to_str().unwrap());
    assert_eq!(bench.ok("repo", ["path", "far"]), whole);
    bench.write("else/where/build/mine.o", "mine\n");
    assert_eq!(bench.ok("near/src", ["diff", "far", "build"]), "A build/mine.o\n");
    // A path and a whole name go before the last part of a branch.
    bench.git("near", ["branch", "-m", "al/near", "al/src"]);
    assert_eq!(bench.ok("repo", ["path", "src"]), bench.ok("repo", ["path"]));
    bench.git("near", ["branch", "-m", "al/src", "x/far"]);
    let said = bench.depsfs("repo", ["path", "far"]);
    assert!(said.code == 3 && said.err.contains("far can mean "), "{said:?}");
    bench.git("near", ["branch", "-m", "x/far", "near"]);
    bench.ok("repo", ["remove", "far"]);
    assert!(!bench.is_there("else/where") && bench.is_there("near"));
}

#[test]
fn a_worktree_with_a_line_end_in_its_path_is_found_listed_and_removed() {
    let bench = Bench::new();
    let name = "a\nb";
    bench.git("repo", ["worktree", "add", "-q", "-b", "x", &format!("../{name}")]);
    bench.ok("repo", ["adopt", "x"]);
    let whole = bench.path(name).to_str().unwrap().to_owned();
    assert_eq!(bench.ok("repo", ["path", "x"]), format!("{whole}\n"));
    let listed = crate::bench::json(&bench.ok("repo", ["list", "--json"]));
    assert_eq!(listed["worktrees"][1]["path"], whole.replace('\n', "%0A"), "{listed}");
    assert_eq!(listed["worktrees"][1]["trouble"], serde_json::Value::Null, "{listed}");
    bench.write(&format!("{name}/build/mine.o"), "mine\n");
    assert_eq!(bench.ok("repo", ["diff", "x"]), "A build/mine.o\n");
    bench.ok("repo", ["unmount", "x"]);
    bench.ok("repo", ["mount", "x"]);
    bench.ok("repo", ["remove", "x"]);
    assert!(!bench.is_there(name));
}
