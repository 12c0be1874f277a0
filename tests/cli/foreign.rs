//! Text that a commit, an archive or another program brings runs nothing, and reaches no terminal as it is.

use crate::bench::{Bench, PROGRAM, Said, run};

/// Names that would move the cursor, begin another line, or turn the direction of what follows.
const ESCAPE: &str = "e\u{1b}[2K\u{1b}[1Gx";
const LINES: &str = "a\nM b\r";
const TURNED: &str = "t\u{202e}cod.exe";

#[track_caller]
fn assert_harmless(said: &Said) {
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!said.out.contains(harmful) && !said.err.contains(harmful), "{said:?}");
    // The text after a line end in a name would be a line of its own.
    assert!(said.out.lines().chain(said.err.lines()).all(|l| !l.starts_with("M b")), "{said:?}");
}

#[test]
fn no_name_of_a_file_reaches_the_terminal_raw() {
    let bench = Bench::new();
    bench.write(&format!("repo/node_modules/{ESCAPE}"), "1");
    for at in [ESCAPE, LINES, TURNED] {
        bench.write(&format!("repo/build-{at}/out"), "2");
    }
    let said = bench.depsfs("repo", ["create", "fix"]);
    assert!(said.code == 0 && said.out.contains("\"build-a\\nM b\\r\""), "{said:?}");
    assert_harmless(&said);
    let quoted = format!("\"build-{}\"", "e\\033[2K\\033[1Gx");
    for at in [ESCAPE, LINES, TURNED] {
        bench.write(&format!("fix/build-{at}/{at}"), "mine");
        bench.write(&format!("fix/node_modules/{at}"), "mine");
    }
    let words: [&[&str]; 7] = [
        &["status"],
        &["diff"],
        &["thaw", &format!("build-{LINES}")],
        &["reset", "--yes", &format!("build-{ESCAPE}")],
        &["list"],
        &["status", &format!("{ESCAPE}/{LINES}")],
        &["create", "next", &format!("no{LINES}")],
    ];
    for words in words {
        let said = bench.depsfs("fix", words);
        assert_harmless(&said);
        if words == ["status"] || words == ["diff"] {
            assert!(said.code == 0 && said.out.contains(quoted.trim_end_matches('"')), "{words:?} {said:?}");
        }
    }
    // In JSON they are percent-encoded.
    let json = bench.ok("fix", ["diff", "--json"]);
    let paths: serde_json::Value = crate::bench::json(&json);
    let named =
        |at: &str| paths["changes"].as_array().unwrap().iter().any(|l| l["path"] == format!("node_modules/{at}"));
    assert!(named("e%1B[2K%1B[1Gx") && named("a%0AM b%0D") && named(TURNED), "{json}");
    assert_harmless(&bench.depsfs("", ["store", "add", &format!("repo/build-{LINES}"), "--name", "x"]));
    assert_harmless(&bench.depsfs("", ["store", "list"]));
    assert_harmless(&bench.depsfs("", ["doctor"]));
    bench.ok("fix", ["unmount"]);
}

#[test]
fn what_is_approved_is_shown_whole_and_hides_nothing() {
    let bench = Bench::new();
    let component = |build: &str| format!("[[component]]\nname = \"web\"\npaths = [\"build\"]\nbuild = \"{build}\"\n");
    bench.write("repo/depsfs.toml", &component(r"touch ran #\u001b[2K\u001b[1G  make all   \u001b[8m\r\n  in .: x"));
    bench.commit("repo", "components");
    let shown = r#"in .: "touch ran #\033[2K\033[1G  make all   \033[8m\r\n  in .: x""#;
    let refused = bench.depsfs("repo", ["create", "fix"]);
    assert!(refused.code == 3 && refused.err.contains(shown), "{refused:?}");
    assert_harmless(&refused);
    let said = bench.depsfs("repo", ["approve"]);
    assert!(said.code == 0 && said.out.contains(&format!("\n  {shown}\n")), "{said:?}");
    assert_harmless(&said);
    let kept: Vec<_> = std::fs::read_dir(bench.path("state/depsfs/approved")).unwrap().collect();
    let text = std::fs::read_to_string(kept[0].as_ref().unwrap().path()).unwrap();
    assert!(text.contains(shown) && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_shell_of_the_repository_runs_no_component_of_the_user() {
    let bench = Bench::new();
    bench.write("repo/depsfs.toml", "shell = [\"./evil.sh\"]\n");
    bench.write("repo/evil.sh", "#!/bin/sh\ntouch \"$DEPSFS_WORKTREE/ran\"\nexec sh -c \"$1\"\n");
    run(bench.command("chmod", "repo").args(["+x", "evil.sh"]));
    bench.commit("repo", "a shell");
    bench.write(
        "config/depsfs/config.toml",
        "[[component]]\nname = \"mine\"\npaths = [\"build\"]\nkey = { files = [\"src\"], command = \"echo 1\" }\n\
         build = \"mkdir -p build && echo built > build/f\"\n",
    );
    std::fs::remove_dir_all(bench.path("repo/build")).unwrap();
    let mut command = bench.command(PROGRAM, "repo");
    let said = run(command.env("XDG_CONFIG_HOME", bench.path("config")).args(["create", "fix"]));
    assert!(said.code == 0 && bench.read("fix/build/f") == "built\n", "{said:?}");
    assert!(!bench.is_there("fix/ran") && !bench.is_there("repo/ran"), "{said:?}");
    bench.ok("fix", ["unmount"]);
}

/// `repo` with an initialised submodule `sub`; branches of it have another .gitmodules.
fn with_a_submodule() -> Bench {
    let bench = Bench::new();
    bench.git("", ["init", "-q", "-b", "main", "up"]);
    bench.write("up/file", "of the submodule\n");
    bench.commit("up", "one");
    bench.git("repo", ["submodule", "-q", "add", "../up", "sub"]);
    bench.commit("repo", "a submodule");
    bench
}

fn branch_with(bench: &Bench, branch: &str, gitmodules: &str) {
    bench.git("repo", ["checkout", "-q", "-b", branch, "main"]);
    bench.write("repo/.gitmodules", gitmodules);
    bench.commit("repo", branch);
    bench.git("repo", ["checkout", "-q", "main"]);
}

#[test]
fn a_name_of_a_submodule_sets_no_other_key_of_git() {
    let bench = with_a_submodule();
    let pwned = bench.path("pwned");
    let section = |name: &str| format!("[submodule \"{name}\"]\n path = sub\n url = ../up\n");
    let evil = section(&format!("sub.update=!touch {} #", pwned.display()));
    let table = [
        ("first", evil.clone() + &section("sub"), "several names"),
        ("alone", evil.clone(), "could misread"),
        ("last", section("sub") + &evil, "several names"),
        ("dash", section("-c"), "could misread"),
        ("up", section("a/../../b"), "could misread"),
        ("two", section("sub") + &section("other"), "several names"),
        ("moved", section("sub") + "[submodule \"sub\"]\n path = elsewhere\n", "several names"),
        ("none", "[submodule \"sub\"]\n url = ../up\n".into(), "no name"),
    ];
    for (branch, gitmodules, why) in table {
        branch_with(&bench, branch, &gitmodules);
        let refused =
            bench.depsfs("repo", ["create", &format!("w-{branch}"), branch, "--branch", &format!("b-{branch}")]);
        assert!(refused.code == 3 && refused.err.contains(why), "{branch}: {refused:?}");
        assert_harmless(&refused);
        assert!(!bench.is_there(&format!("w-{branch}")) && !bench.is_there("pwned"), "{branch}");
        assert_eq!(bench.git("repo", ["branch", "--list", "b-*"]), "");
        bench.git("repo", ["worktree", "add", "-q", &format!("../a-{branch}"), branch]);
        let refused = bench.depsfs(&format!("a-{branch}"), ["adopt"]);
        assert!(refused.code == 3 && refused.err.contains(why), "{branch}: {refused:?}");
        assert!(!bench.is_there("pwned") && !bench.is_there(&format!("a-{branch}/sub/file")), "{branch}");
        assert!(!bench.is_there(&format!("a-{branch}/build")), "{branch}");
    }
    assert_eq!(bench.mounts(), Vec::<String>::new());
}

#[test]
fn a_submodule_is_checked_out_and_never_updated_by_a_command() {
    let bench = with_a_submodule();
    // Of .gitmodules git takes no command; of its own configuration it does.
    let command = format!("!touch {}", bench.path("pwned").display());
    bench.git("repo", ["config", "submodule.sub.update", &command]);
    bench.ok("repo", ["create", "fix"]);
    assert!(!bench.is_there("pwned") && bench.read("fix/sub/file") == "of the submodule\n");
    bench.ok("fix", ["unmount"]);
}

#[test]
fn a_path_that_is_a_pattern_of_git_means_itself_alone() {
    let bench = with_a_submodule();
    bench.git("repo", ["submodule", "-q", "add", "../up", "zub"]);
    let mut add = bench.command("git", "repo");
    add.env("GIT_LITERAL_PATHSPECS", "1").args(["submodule", "-q", "add", "--name", "star", "../up", "*ub"]);
    assert_eq!(run(&mut add).code, 0);
    bench.write("repo/build/:(top)x/out", "1");
    bench.commit("repo", "more submodules");
    bench.git("repo", ["submodule", "-q", "deinit", "-f", "zub"]);
    bench.ok("repo", ["create", "fix"]);
    assert!(bench.is_there("fix/sub/file") && bench.is_there("fix/*ub/file") && !bench.is_there("fix/zub/file"));
    // Nor is what an artifact holds.
    run(bench.command("tar", "repo/build").args(["-czf", "../../magic-01.tar.gz", "."]));
    bench.write("repo/.gitignore", "node_modules/\nbuild*/\n.env\n:*/\n");
    let mut get = bench.command(PROGRAM, "repo/src");
    let said = run(get.env("CACHE_LOCAL_DIR", bench.path("")).args(["cache", "get", "magic-01.tar.gz"]));
    assert!(said.code == 0 && bench.read("repo/src/:(top)x/out") == "1", "{said:?}");
    bench.ok("fix", ["unmount"]);
}

#[test]
fn files_of_a_key_may_have_any_name() {
    let bench = Bench::new();
    bench.write(
        "repo/depsfs.toml",
        "[[component]]\nname = \"web\"\npaths = [\"build\"]\nkey = { files = [\"src/**\"] }\n",
    );
    for name in ["a\nb", "\"quoted\"", "end\r", "back\\slash\t", "plain"] {
        bench.write(&format!("repo/src/{name}"), "1");
    }
    bench.commit("repo", "names");
    bench.write("repo/src/a\nb", "2");
    bench.write("repo/src/end\r", "2");
    bench.ok("repo", ["create", "fix"]);
    bench.commit("repo", "changed");
    // The names on disk and those of the commit make one key.
    let said = bench.ok("repo", ["create", "next", "--dry-run"]);
    assert!(said.contains(" key is the same"), "{said}");
    bench.ok("fix", ["unmount"]);
}

#[test]
fn what_is_in_a_store_is_seen_by_its_owner_alone() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("fix", ["unmount"]);
    let mode = |at: &str| std::os::unix::fs::PermissionsExt::mode(&bench.path(at).metadata().unwrap().permissions());
    assert_eq!(mode("store") & 0o777, 0o700);
    if !crate::bench::is_root() {
        println!("skipped: the rest, because only root can become another user");
        return;
    }
    // The way to the store is open to all.
    run(bench.command("chmod", "").args(["755", "."]));
    let mut other = bench.command("grep", "");
    std::os::unix::process::CommandExt::uid(&mut other, 65534);
    let said = run(other.args(["-r", "SECRET", "store"]));
    assert!(said.code == 2 && said.out.is_empty(), "{said:?}");
    let mut other = bench.command(PROGRAM, "");
    std::os::unix::process::CommandExt::uid(&mut other, 65534);
    let said = run(other.args(["store", "list"]));
    assert!(said.code == 3 && said.err.contains("another user's"), "{said:?}");
}

#[test]
fn the_store_of_another_user_is_refused_by_every_command() {
    if !crate::bench::is_root() {
        println!("skipped: because only root can become another user");
        return;
    }
    let ada = Bench::of_user(Some(65534));
    ada.ok("repo", ["create", "fix"]);
    ada.write("archive/x", "1");
    run(ada.command("tar", "archive").args(["-czf", "../a-01.tar.gz", "."]));
    let before = crate::bench::metadata(&ada.path("store"));
    // root has a repository of its own, and her store.
    let bench = Bench::new();
    let words: [&[&str]; 12] = [
        &["store", "list"],
        &["store", "verify"],
        &["store", "add", "src"],
        &["gc"],
        &["gc", "--dry-run"],
        &["create", "mine"],
        &["list", "--all"],
        &["mount", "--all"],
        &["mount", "x", "--at", "there"],
        &["cache", "get", "a-01.tar.gz"],
        &["cache", "exists", "a-01.tar.gz"],
        &["doctor", "--fix"],
    ];
    for words in words {
        let mut command = bench.command(PROGRAM, "repo");
        command.env("DEPSFS_STORE", ada.path("store")).env("CACHE_LOCAL_DIR", ada.path(""));
        let said = run(command.args(words));
        let refused = if matches!(words[0], "cache" | "doctor") { 1 } else { 3 };
        let told = said.err.clone() + &said.out;
        assert!(said.code == refused && told.contains("is another user's"), "{words:?}: {said:?}");
        assert!(told.contains("DEPSFS_STORE") && !told.contains("remove "), "{words:?}: {said:?}");
    }
    assert_eq!(crate::bench::metadata(&ada.path("store")), before);
    assert!(!bench.is_there("mine"));
    // In her worktree as well; there git speaks first.
    for words in [["status"], ["diff"], ["unmount"]] {
        let mut command = ada.command("env", "repo");
        std::os::unix::process::CommandExt::uid(&mut command, 0);
        let said = run(command.arg(PROGRAM).args(words).arg(ada.path("fix")));
        let why = if ada.has_mounts_of_worktrees() { "Permission denied" } else { "dubious ownership" };
        assert!(said.code != 0 && said.err.contains(why), "{words:?}: {said:?}");
    }
    ada.ok("fix", ["unmount"]);
}

#[test]
fn an_archive_with_a_git_directory_is_refused_whole() {
    let bench = Bench::new();
    let before = bench.git("repo", ["rev-parse", "HEAD"]);
    for (n, at) in [".git/hooks", "a/.GIT/hooks", "git~1", "a/.git "].iter().enumerate() {
        bench.write(&format!("members-{n}/{at}/post-checkout"), "#!/bin/sh\ntouch $HOME/pwned\n");
        bench.write(&format!("members-{n}/good"), "1");
        run(bench.command("chmod", "").args(["-R", "755", &format!("members-{n}")]));
        run(bench.command("tar", &format!("members-{n}")).args(["-czf", &format!("../x-{n}.tar.gz"), "."]));
        let mut get = bench.command(PROGRAM, "repo");
        let name = format!("x-{n}.tar.gz");
        let said = run(get.env("CACHE_LOCAL_DIR", bench.path("")).args(["cache", "get", &name]));
        assert!(said.code == 1 && said.err.contains("git directory"), "{at}: {said:?}");
        assert!(!bench.is_there("repo/good") && !bench.is_there("repo/.git/hooks/post-checkout"), "{at}");
        let said = bench.depsfs("", ["store", "add", &name]);
        assert!(said.code == 3 && said.err.contains("git directory"), "{at}: {said:?}");
    }
    assert_eq!(bench.ok("", ["store", "list"]), "");
    // An artifact that an earlier depsfs has taken: here the tree of a directory, which is the user's own and may have
    // one.
    bench.ok("", ["store", "add", "members-0", "--name", "y-01"]);
    let said = bench.depsfs("repo", ["cache", "get", "y-01.tar.gz"]);
    assert!(said.code == 1 && said.err.contains("git directory"), "{said:?}");
    assert!(!bench.is_there("repo/good") && !bench.is_there("repo/.git/hooks/post-checkout"));
    bench.git("repo", ["checkout", "-q", "--detach", &before]);
    assert!(!bench.is_there("pwned"));
}
