//! The hooks for programs that create worktrees, each fed what its caller sends.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::{Bench, PROGRAM, Said, json, run};

fn helper(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mount-helpers").join(name)
}

/// A command line as a caller runs it: through sh, with the program in PATH, and JSON on stdin.
fn feed(bench: &Bench, at: &str, line: &str, input: &serde_json::Value, more: &[(&str, &Path)]) -> Said {
    let mut command = bench.command("sh", at);
    command.args(["-c", line]).env("PATH", in_path()).envs(more.iter().copied());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh is there");
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

fn in_path() -> String {
    format!("{}:{}", Path::new(PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap())
}

fn git(bench: &Bench, at: &str) -> Command {
    let mut command = bench.command("git", at);
    command.env("PATH", in_path());
    command
}

fn hook(bench: &Bench, text: &str) {
    bench.write("repo/.git/hooks/post-checkout", text);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.path("repo/.git/hooks/post-checkout"), executable).unwrap();
}

fn install(bench: &Bench, verb: &str) -> Said {
    bench.depsfs("repo", ["hook", verb, "git"])
}

#[test]
fn with_the_hook_plain_git_makes_worktrees_with_views_and_other_checkouts_are_left_alone() {
    let bench = Bench::new();
    assert_eq!(install(&bench, "install").code, 0);
    let added = run(git(&bench, "repo").args(["worktree", "add", "-b", "work", "../plain"]));
    assert_eq!(added.code, 0, "{added:?}");
    assert_eq!(bench.read("plain/build/out.o"), "object\n");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.assert_clean("plain");

    let mut without = git(&bench, "repo");
    let without = run(without.env("DEPSFS_ADOPT", "0").args(["worktree", "add", "-q", "-b", "bare", "../bare"]));
    assert_eq!(without.code, 0, "{without:?}");
    for args in
        [&["checkout", "-q", "-b", "again"][..], &["checkout", "-q", "--", "README.md"], &["switch", "-q", "bare"]]
    {
        assert_eq!(run(git(&bench, "bare").args(args)).code, 0);
    }
    assert_eq!(bench.mounts().len(), bench.mounts_of(2), "ordinary checkouts are no new worktrees");
    let hooks = bench.path("repo/.git/hooks");
    let config = format!("core.hooksPath={}", hooks.display());
    assert_eq!(run(git(&bench, "").args(["-c", &config, "clone", "-q", "repo", "clone"])).code, 0);
    assert!(!bench.is_there("clone/build") && bench.mounts().len() == bench.mounts_of(2));
    // In a create of depsfs's own, git runs the hook as well.
    let mut create = bench.command(PROGRAM, "repo");
    let made = run(create.env("PATH", in_path()).args(["create", "own"]));
    assert!(made.code == 0 && made.out.contains("2 views"), "{made:?}");
    bench.assert_clean("own");
}

#[test]
fn the_hook_never_fails_a_checkout_and_says_what_failed() {
    let bench = Bench::new();
    install(&bench, "install");
    let add = |name: &str, program: &str| {
        let at = format!("../{name}");
        run(git(&bench, "repo").env("DEPSFS", program).args(["worktree", "add", "-q", "-b", name, &at]))
    };
    bench.write("broken", "#!/bin/sh\necho 'depsfs: the disk is full' >&2\nexit 1\n");
    std::fs::set_permissions(bench.path("broken"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = add("one", bench.path("broken").to_str().unwrap());
    assert!(said.code == 0 && said.err.contains("the disk is full"), "{said:?}");
    for built in ["node_modules", "build"] {
        std::fs::remove_dir_all(bench.path("repo").join(built)).unwrap();
    }
    let said = add("two", PROGRAM);
    assert!(said.code == 0 && said.err.is_empty(), "an unbuilt source is no news: {said:?}");
    let mut nowhere = bench.command("git", "repo");
    let said = run(nowhere.args(["worktree", "add", "-q", "-b", "three", "../three"]));
    assert!(said.code == 0 && said.err.is_empty(), "without the program: {said:?}");
    assert!(bench.is_there("one/README.md") && bench.is_there("two/README.md") && bench.is_there("three/README.md"));
}

#[test]
fn a_hook_that_was_there_runs_first_with_its_arguments_and_its_exit_code_counts() {
    let bench = Bench::new();
    hook(&bench, "#!/bin/sh\necho \"$@\" >> \"$(git rev-parse --show-toplevel)/../said\"\nexit 7\n");
    for _ in 0..2 {
        assert_eq!(install(&bench, "install").code, 0, "twice is as once");
    }
    let added = run(git(&bench, "repo").args(["worktree", "add", "-q", "-b", "work", "../plain"]));
    assert_eq!(added.code, 7, "{added:?}");
    let head = bench.git("repo", ["rev-parse", "HEAD"]);
    assert_eq!(bench.read("said"), format!("{} {head} 1\n", "0".repeat(40)));
    assert_eq!(bench.read("plain/build/out.o"), "object\n");
    assert_eq!(install(&bench, "uninstall").code, 0);
    assert!(bench.read("repo/.git/hooks/post-checkout").contains("exit 7"));
    assert!(!bench.is_there("repo/.git/hooks/post-checkout.local"));
    // Linked instead of copied, and with nothing to run before it.
    std::fs::remove_file(bench.path("repo/.git/hooks/post-checkout")).unwrap();
    symlink(helper("post-checkout"), bench.path("repo/.git/hooks/post-checkout")).unwrap();
    assert_eq!(run(git(&bench, "repo").args(["worktree", "add", "-q", "-b", "next", "../next"])).code, 0);
    assert_eq!(bench.read("next/build/out.o"), "object\n");
}

/// The command of a hook in the sample of Claude Code's settings.
fn claude(event: &str) -> String {
    let settings = json(&std::fs::read_to_string(helper("claude-settings.json")).unwrap());
    let hook = &settings["hooks"][event][0]["hooks"][0];
    assert_eq!(hook["type"], "command");
    hook["command"].as_str().unwrap().to_owned()
}

fn claude_input(bench: &Bench, event: &str, field: &str, value: &str) -> serde_json::Value {
    serde_json::json!({
        "session_id": "412cbaa3", "transcript_path": "/tmp/t.jsonl", "cwd": bench.path("repo/src"),
        "hook_event_name": event, field: value,
    })
}

fn claude_create(bench: &Bench, name: &str) -> Said {
    feed(bench, "repo", &claude("WorktreeCreate"), &claude_input(bench, "WorktreeCreate", "name", name), &[])
}

#[test]
fn claude_code_gets_the_path_of_a_new_worktree_and_nothing_else_on_stdout() {
    let bench = Bench::new();
    let create = |name: &str| claude_create(&bench, name);
    let at = |name: &str| format!("{}\n", bench.path("repo/.claude/worktrees").join(name).display());
    let made = create("bold-oak-a3f2");
    assert_eq!((made.code, &made.out), (0, &at("bold-oak-a3f2")), "{made:?}");
    assert_eq!(bench.read("repo/.claude/worktrees/bold-oak-a3f2/build/out.o"), "object\n");
    bench.assert_clean("repo/.claude/worktrees/bold-oak-a3f2");
    bench.assert_clean("repo");
    // The session goes on later: the same worktree, mounted again.
    bench.ok("repo/.claude/worktrees/bold-oak-a3f2", ["unmount"]);
    let again = create("bold-oak-a3f2");
    assert_eq!((again.code, &again.out), (0, &made.out), "{again:?}");
    assert_eq!(bench.read("repo/.claude/worktrees/bold-oak-a3f2/build/out.o"), "object\n");
    // Its directory was deleted by hand.
    assert_eq!(run(bench.command("rm", "repo").args(["-rf", ".claude/worktrees/bold-oak-a3f2"])).code, 0);
    let again = create("bold-oak-a3f2");
    assert_eq!((again.code, &again.out), (0, &made.out), "{again:?}");
    assert_eq!(bench.read("repo/.claude/worktrees/bold-oak-a3f2/build/out.o"), "object\n");
    // As its documentation once called it; and names that are branches with the same last segment.
    let input = claude_input(&bench, "WorktreeCreate", "worktree_name", "one");
    assert_eq!(feed(&bench, "repo", &claude("WorktreeCreate"), &input, &[]).out, at("one"));
    assert_eq!(create("feat/04-x").out, at("feat/04-x"));
    assert_eq!(create("bug/04-x").out, at("bug/04-x"));
    assert_eq!(bench.git("repo/.claude/worktrees/bug/04-x", ["branch", "--show-current"]), "bug/04-x");
    // No worktree lies in another, or holds others.
    assert_eq!((create("feat").out, create("one/more").out), (at("feat+"), at("one+more")));
    for (field, name) in [("name", ""), ("other", "x"), ("name", ".."), ("name", "a/../b"), ("name", "-x")] {
        let input = claude_input(&bench, "WorktreeCreate", field, name);
        let failed = feed(&bench, "repo", &claude("WorktreeCreate"), &input, &[]);
        assert!(failed.code != 0 && failed.out.is_empty() && !failed.err.is_empty(), "{name}: {failed:?}");
    }
}

#[test]
fn claude_code_gets_no_worktree_of_somebody_else() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    let refused = claude_create(&bench, "team/fix");
    let own = bench.path("repo/.claude/worktrees/team/fix");
    assert_eq!(refused.out, format!("{}\n", own.display()), "a worktree with the same last segment is another one");
    // Its branch is checked out in a worktree that is not Claude's.
    let refused = claude_create(&bench, "fix");
    assert!(refused.code != 0 && refused.out.is_empty() && refused.err.contains("al/fix"), "{refused:?}");
    assert!(!bench.is_there("repo/.claude/worktrees/fix"));
    // A directory with the name, and with another branch, another repository or none.
    bench.git("repo", ["worktree", "add", "-q", "-b", "theirs", ".claude/worktrees/taken"]);
    bench.git("", ["clone", "-q", "repo", "repo/.claude/worktrees/clone"]);
    bench.write("repo/.claude/worktrees/file", "theirs\n");
    bench.git("repo", ["worktree", "add", "-q", "--detach", ".claude/worktrees/loose"]);
    for name in ["taken", "clone", "file", "loose"] {
        let refused = claude_create(&bench, name);
        assert!(refused.code != 0 && refused.out.is_empty() && refused.err.contains(name), "{refused:?}");
        assert!(!bench.is_there(&format!("repo/.claude/worktrees/{name}/build")));
    }
}

#[test]
fn claude_code_worktrees_start_where_its_settings_say() {
    let bench = Bench::new();
    bench.git("", ["clone", "-q", "--bare", "repo", "origin.git"]);
    bench.git("repo", ["remote", "add", "origin", bench.path("origin.git").to_str().unwrap()]);
    let published = bench.git("repo", ["rev-parse", "HEAD"]);
    bench.write("repo/src/local.c", "\n");
    bench.commit("repo", "local");
    let local = bench.git("repo", ["rev-parse", "HEAD"]);
    let base = |name: &str| {
        let made = claude_create(&bench, name);
        assert_eq!(made.code, 0, "{made:?}");
        bench.git(&format!("repo/.claude/worktrees/{name}"), ["rev-parse", "HEAD"])
    };
    assert_eq!(base("by-default"), published, "fresh: the default branch of origin, fetched");
    bench.write(".claude/settings.json", "{\"worktree\": {\"baseRef\": \"head\"}}");
    assert_eq!(base("user"), local);
    bench.write("repo/.claude/settings.json", "{\"worktree\": {\"baseRef\": \"fresh\"}}");
    assert_eq!(base("project"), published);
    bench.write("repo/.claude/settings.local.json", "{\"worktree\": {\"baseRef\": \"head\"}}");
    assert_eq!(base("local"), local);
    // The branch of a worktree that is gone is gone on with; an origin that is away is no obstacle.
    bench.write("repo/.claude/settings.local.json", "{}");
    std::fs::rename(bench.path("origin.git"), bench.path("away.git")).unwrap();
    bench.write("repo/.claude/worktrees/local/new", "\n");
    bench.commit("repo/.claude/worktrees/local", "work");
    let work = bench.git("repo/.claude/worktrees/local", ["rev-parse", "HEAD"]);
    bench.ok("repo", ["remove", "local"]);
    assert_eq!((base("local"), base("offline")), (work, published));
}

#[test]
fn claude_code_removes_a_worktree_but_not_work_that_is_nowhere_else() {
    let bench = Bench::new();
    let remove = |name: &str, arg: &str| {
        let path = bench.path(name);
        let input = claude_input(&bench, "WorktreeRemove", "worktree_path", path.to_str().unwrap());
        feed(&bench, name, &format!("{} {arg}", claude("WorktreeRemove")), &input, &[])
    };
    for name in ["clean", "dirty", "committed"] {
        bench.ok("repo", ["create", name]);
    }
    bench.write("dirty/untracked", "work\n");
    bench.write("committed/new", "work\n");
    bench.commit("committed", "work");
    let done = remove("clean", "");
    assert!(done.code == 0 && done.out.is_empty() && !bench.is_there("clean"), "{done:?}");
    let kept = remove("dirty", "");
    assert!(kept.code != 0 && kept.err.contains("untracked") && bench.is_there("dirty/untracked"), "{kept:?}");
    let done = remove("committed", "");
    assert!(done.code == 0 && !bench.is_there("committed"), "{done:?}");
    let branches = bench.git("repo", ["branch", "--format=%(refname:short)"]);
    assert_eq!(branches, "al/committed\nal/dirty\nmain", "the commit stays in its branch, empty branches go");
    let done = remove("dirty", "--discard");
    assert!(done.code == 0 && !bench.is_there("dirty"), "{done:?}");
    // A program still uses a view.
    let path = claude_create(&bench, "a/used").out;
    let used = bench.path("repo/.claude/worktrees/a/used");
    assert_eq!(path, format!("{}\n", used.display()));
    let held = std::fs::File::open(used.join("build/out.o")).unwrap();
    let done = remove("repo/.claude/worktrees/a/used", "");
    assert!(done.code == 0 && !used.exists(), "{done:?}");
    assert!(!bench.is_there("repo/.claude/worktrees"), "no empty directory is left");
    drop(held);
    assert!(bench.mounts().is_empty());
}

#[test]
fn codex_sets_a_worktree_up_and_can_delete_it_after_the_cleanup() {
    let bench = Bench::new();
    let text = std::fs::read_to_string(helper("codex-environment.toml")).unwrap();
    let environment: toml::Value = toml::from_str(&text).unwrap();
    bench.git("repo", ["worktree", "add", "-q", "--detach", "../codex/ab12/repo"]);
    let (worktree, source) = (bench.path("codex/ab12/repo"), bench.path("repo"));
    let variables = [("CODEX_WORKTREE_PATH", &*worktree), ("CODEX_SOURCE_TREE_PATH", &*source)];
    let script = |part: &str| {
        let line = environment[part]["script"].as_str().unwrap();
        feed(&bench, "codex/ab12/repo", line, &serde_json::Value::Null, &variables)
    };
    let set_up = script("setup");
    assert_eq!(set_up.code, 0, "{set_up:?}");
    assert_eq!(bench.read("codex/ab12/repo/build/out.o"), "object\n");
    bench.assert_clean("codex/ab12/repo");
    let cleaned = script("cleanup");
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    assert!(bench.mounts().is_empty());
    bench.git("repo", ["worktree", "remove", "--force", "../codex/ab12/repo"]);
}

#[test]
fn conductor_sets_a_workspace_up_and_can_remove_it_once_it_is_archived() {
    let bench = Bench::new();
    let config = json(&std::fs::read_to_string(helper("conductor.json")).unwrap());
    bench.git("repo", ["worktree", "add", "-q", "-b", "lima", "../conductor/lima"]);
    let (workspace, root) = (bench.path("conductor/lima"), bench.path("repo"));
    let variables = [("CONDUCTOR_WORKSPACE_PATH", &*workspace), ("CONDUCTOR_ROOT_PATH", &*root)];
    let script = |part: &str| {
        let line = config["scripts"][part].as_str().unwrap();
        feed(&bench, "conductor/lima", line, &serde_json::Value::Null, &variables)
    };
    let set_up = script("setup");
    assert_eq!(set_up.code, 0, "{set_up:?}");
    assert_eq!(bench.read("conductor/lima/node_modules/a/index.js"), "module.exports = 1\n");
    let archived = script("archive");
    assert_eq!(archived.code, 0, "{archived:?}");
    bench.git("repo", ["worktree", "remove", "../conductor/lima"]);
    assert!(!bench.is_there("conductor/lima"));
}

#[test]
fn cursor_sets_a_worktree_up() {
    let bench = Bench::new();
    let config = json(&std::fs::read_to_string(helper("cursor-worktrees.json")).unwrap());
    bench.git("repo", ["worktree", "add", "-q", "-b", "cedar", "../cursor/cedar"]);
    let root = bench.path("repo");
    let line = config["setup-worktree-unix"][0].as_str().unwrap();
    let set_up = feed(&bench, "cursor/cedar", line, &serde_json::Value::Null, &[("ROOT_WORKTREE_PATH", &*root)]);
    assert_eq!(set_up.code, 0, "{set_up:?}");
    assert_eq!(bench.read("cursor/cedar/node_modules/a/index.js"), "module.exports = 1\n");
}

#[test]
fn each_script_for_a_configuration_of_before_calls_the_verb_with_what_its_caller_sends() {
    let bench = Bench::new();
    let without = std::env::var("PATH").unwrap();
    let call = |script: &str, args: &str, at: &str, input: &serde_json::Value, more: [(&str, &Path); 2]| {
        let script = helper(script);
        let of_all = [("SCRIPT", &*script), ("DEPSFS", Path::new(PROGRAM)), ("PATH", Path::new(&without))];
        let said = feed(&bench, at, &format!("sh \"$SCRIPT\" {args}"), input, &[&of_all[..], &more].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    let none = [("A", Path::new("")), ("B", Path::new(""))];
    let input = claude_input(&bench, "WorktreeCreate", "name", "oak");
    let made = bench.path("repo/.claude/worktrees/oak");
    assert_eq!(call("claude-worktree", "", "repo", &input, none), format!("{}\n", made.display()));
    assert_eq!(bench.read("repo/.claude/worktrees/oak/build/out.o"), "object\n");
    let input = claude_input(&bench, "WorktreeRemove", "worktree_path", made.to_str().unwrap());
    assert_eq!(call("claude-worktree", "--discard", "repo", &input, none), "");
    assert!(!made.exists());
    for (script, last, worktree, source) in [
        ("codex-worktree", "cleanup", "CODEX_WORKTREE_PATH", "CODEX_SOURCE_TREE_PATH"),
        ("conductor-worktree", "archive", "CONDUCTOR_WORKSPACE_PATH", "CONDUCTOR_ROOT_PATH"),
    ] {
        bench.git("repo", ["worktree", "add", "-q", "-b", script, &format!("../{script}")]);
        let (at, repo) = (bench.path(script), bench.path("repo"));
        let sent = [(worktree, &*at), (source, &*repo)];
        call(script, "setup", "", &serde_json::Value::Null, sent);
        assert_eq!(bench.read(&format!("{script}/build/out.o")), "object\n");
        call(script, last, "", &serde_json::Value::Null, sent);
        assert!(bench.mounts().is_empty(), "{script}");
    }
    let hook = "repo/.git/hooks/post-checkout";
    call("post-checkout", "--install", "repo", &serde_json::Value::Null, none);
    assert_eq!(bench.read(hook), std::fs::read_to_string(helper("post-checkout")).unwrap());
    call("post-checkout", "--uninstall repo", "", &serde_json::Value::Null, none);
    assert!(!bench.is_there(hook));
}

#[test]
fn a_line_in_a_shared_file_does_nothing_where_depsfs_is_not_installed() {
    let bench = Bench::new();
    let cursor = json(&std::fs::read_to_string(helper("cursor-worktrees.json")).unwrap());
    let line = cursor["setup-worktree-unix"][0].as_str().unwrap();
    let said = run(bench.command("/bin/sh", "repo").args(["-c", line]).env("PATH", bench.path("repo/src")));
    assert!(said.code == 0 && said.out.is_empty() && said.err.is_empty(), "{said:?}");
}

#[test]
fn with_husky_the_hook_outlives_what_husky_writes_anew_and_leaves_no_trace_when_uninstalled() {
    // As husky 9 makes it, and makes it again with each install.
    let husky = |bench: &Bench| {
        bench.write(
            "repo/.husky/_/h",
            "s=$(dirname \"$(dirname \"$0\")\")/$(basename \"$0\")\n[ ! -f \"$s\" ] && exit 0\nsh -e \"$s\" \"$@\"\n",
        );
        bench.write("repo/.husky/_/.gitignore", "*");
        for name in ["post-checkout", "pre-commit"] {
            bench.write(&format!("repo/.husky/_/{name}"), "#!/usr/bin/env sh\n. \"$(dirname \"$0\")/h\"");
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(bench.path(&format!("repo/.husky/_/{name}")), executable).unwrap();
        }
        bench.git("repo", ["config", "core.hooksPath", ".husky/_"]);
    };
    let add = |bench: &Bench, name: &str| {
        let said = run(git(bench, "repo").args(["worktree", "add", "-q", "-b", name, &format!("../{name}")]));
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(bench.read(&format!("{name}/build/out.o")), "object\n");
        said
    };
    let bench = Bench::new();
    husky(&bench);
    for _ in 0..2 {
        assert_eq!(install(&bench, "install").code, 0, "twice is as once");
        husky(&bench);
    }
    add(&bench, "one");
    bench.assert_clean("repo");
    assert_eq!(install(&bench, "uninstall").code, 0);
    assert!(!bench.is_there("repo/.husky/post-checkout") && !bench.is_there("repo/.git/depsfs-post-checkout"));
    bench.assert_clean("repo");
    // A hook of the repository's own stays, and runs.
    let own = "#!/bin/sh\necho own >&2\n";
    bench.write("repo/.husky/post-checkout", own);
    bench.commit("repo", "a hook");
    assert_eq!(install(&bench, "install").code, 0);
    husky(&bench);
    assert!(add(&bench, "two").err.contains("own"));
    assert_eq!(install(&bench, "uninstall").code, 0);
    assert_eq!(bench.read("repo/.husky/post-checkout"), own);
    bench.assert_clean("repo");
}

#[test]
fn odd_input_of_a_hook_is_an_error_and_makes_nothing() {
    let bench = Bench::new();
    let cwd = bench.path("repo").display().to_string();
    let long = ["a".repeat(300), "a/".repeat(3000), format!("{}/b", "a".repeat(300))];
    let create = |name: &str| format!("{{\"hook_event_name\":\"WorktreeCreate\",\"cwd\":\"{cwd}\",\"name\":{name}}}");
    let of_cwd = |cwd: &str| format!("{{\"hook_event_name\":\"WorktreeCreate\",\"cwd\":{cwd},\"name\":\"fix\"}}");
    let remove =
        |at: &str| format!("{{\"hook_event_name\":\"WorktreeRemove\",\"cwd\":\"{cwd}\",\"worktree_path\":{at}}}");
    let names =
        [r#""a\nb""#, r#""..""#, r#""../x""#, r#""/x""#, r#""""#, "5", "null", r#"["a"]"#, r#""-x""#, r#""a b""#];
    let names = names.into_iter().chain([r#""a\u0000b""#, r#""\ud800""#, r#"{"a":1}"#]).map(create);
    let cwds = ["5", "[]", r#""/nowhere""#, r#""src""#, r#""../repo""#, r#""a\nb""#].map(of_cwd);
    let paths =
        ["5", "null", r#""..""#, r#""repo""#, r#""""#].into_iter().map(remove).chain([remove(&format!("\"{cwd}\""))]);
    let whole = ["", "[]", "null", "5", "{}", "{\"hook_event_name\":7}", "{\"hook_event_name\":\"WorktreeCreate\"}"];
    let mut all: Vec<Vec<u8>> = names.chain(cwds).chain(paths).map(String::into_bytes).collect();
    all.extend(whole.map(|text| text.as_bytes().to_vec()));
    all.extend(long.iter().map(|name| create(&format!("\"{name}\"")).into_bytes()));
    all.push([create("\"a").trim_end_matches('}').as_bytes(), b"\xff\"}"].concat());
    for input in all {
        let mut child = bench
            .command(PROGRAM, "repo")
            .args(["hook", "run", "claude"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &input).unwrap();
        let ended = child.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&input[..input.len().min(120)]).into_owned();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(matches!(ended.status.code(), Some(1..=3)) && ended.stdout.is_empty(), "{shown}: {said}");
        assert!(said.contains("because: ") && said.contains("hint: "), "{shown}: {said}");
        assert_eq!(bench.git("repo", ["branch", "--list"]), "* main", "{shown}");
        assert!(!bench.is_there("repo/.git/worktrees") && !bench.is_there("repo/.claude"), "{shown}");
    }
    for (caller, variable) in [
        ("codex", "CODEX_WORKTREE_PATH"),
        ("conductor", "CONDUCTOR_WORKSPACE_PATH"),
        ("cursor", "CURSOR_WORKTREE_PATH"),
    ] {
        for at in ["/nowhere", "a\nb", "..", "-x", "/", "repo"] {
            let said = run(bench.command(PROGRAM, "repo").args(["hook", "run", caller, "setup"]).env(variable, at));
            assert!(said.code != 0 && said.err.contains("hint: "), "{caller} {at:?}: {said:?}");
        }
    }
}
