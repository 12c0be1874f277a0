//! `depsfs hook`: installs beside the user's own configuration and hooks, and leaves no trace when it is uninstalled.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::bench::{Bench, PROGRAM, Said, json, run};

const CALLERS: [&str; 7] = ["git", "claude", "codex", "conductor", "cursor", "agents", "skill"];

/// Files of the user, each with a part that is no default of a formatter.
const OWN: [(&str, &str); 5] = [
    (
        ".claude/settings.local.json",
        "{\n\t\"permissions\" : {\"allow\":[ \"Bash(ls:*)\" ]},\n\t\"hooks\": {\"Stop\": []}\n}",
    ),
    (".codex/environments/environment.toml", "version = 1\nname = \"own\" # comment\n[setup]\nscript = \"npm ci\"\n"),
    ("conductor.json", "{\n    \"scripts\": { \"setup\": \"npm ci\\n./x\", \"run\": \"npm start\" }\n}\n"),
    (".cursor/worktrees.json", "{ \"setup-worktree\": [ \"npm ci\" ] }\n"),
    ("AGENTS.md", "# Own\n\nwords  "),
];

fn states(bench: &Bench) -> Vec<(String, String)> {
    let status = json(&bench.ok("repo", ["hook", "status", "--json"]));
    assert_eq!(status["schema"], "depsfs.hook.status/1");
    let list = status["hooks"].as_array().unwrap();
    list.iter()
        .map(|hook| (hook["name"].as_str().unwrap().to_owned(), hook["state"].as_str().unwrap().to_owned()))
        .collect()
}

fn all_are(bench: &Bench, state: &str) {
    assert_eq!(states(bench), CALLERS.map(|name| (name.to_owned(), state.to_owned())));
}

fn install_all(bench: &Bench) -> Said {
    bench.depsfs("repo", ["hook", "install"].iter().chain(&CALLERS))
}

fn executable(bench: &Bench, at: &str, text: &str) {
    bench.write(at, text);
    std::fs::set_permissions(bench.path(at), PermissionsExt::from_mode(0o755)).unwrap();
}

fn worktree(bench: &Bench, name: &str) -> Said {
    let path =
        format!("{}:{}", std::path::Path::new(PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut git = bench.command("git", "repo");
    let said = run(git.env("PATH", path).args(["worktree", "add", "-q", "-b", name, &format!("../{name}")]));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(bench.read(&format!("{name}/build/out.o")), "object\n", "{said:?}");
    said
}

#[test]
fn hooks_that_are_installed_and_uninstalled_leave_every_file_as_it_was() {
    let bench = Bench::new();
    for (at, text) in OWN {
        bench.write(&format!("repo/{at}"), text);
    }
    std::fs::set_permissions(bench.path("repo/conductor.json"), PermissionsExt::from_mode(0o640)).unwrap();
    executable(&bench, "repo/.git/hooks/post-checkout", "#!/bin/sh\necho own >&2\n");
    bench.commit("repo", "own files");
    all_are(&bench, "absent");
    for _ in 0..2 {
        let said = install_all(&bench);
        assert_eq!(said.code, 0, "twice is as once: {said:?}");
        all_are(&bench, "current");
    }
    assert!(worktree(&bench, "one").err.contains("own"));
    bench.ok("repo", ["hook", "uninstall"]);
    all_are(&bench, "absent");
    for (at, text) in OWN {
        assert_eq!(bench.read(&format!("repo/{at}")), text);
    }
    let mode = std::fs::metadata(bench.path("repo/conductor.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(bench.read("repo/.git/hooks/post-checkout"), "#!/bin/sh\necho own >&2\n");
    bench.assert_clean("repo");
    assert_eq!(bench.ok("repo", ["hook", "uninstall"]), "nothing is installed\n");
}

#[test]
fn what_the_user_changes_meanwhile_stays_and_the_part_of_depsfs_goes() {
    let bench = Bench::new();
    for (at, text) in OWN {
        bench.write(&format!("repo/{at}"), text);
    }
    assert_eq!(install_all(&bench).code, 0);
    for (at, before, after) in [
        (".claude/settings.local.json", "\"Stop\": []", "\"Stop\": [ 1 ]"),
        ("conductor.json", "npm start", "npm stop"),
        (".cursor/worktrees.json", "npm ci", "npm i"),
        ("AGENTS.md", "# Own", "# Mine"),
    ] {
        let file = format!("repo/{at}");
        bench.write(&file, &bench.read(&file).replace(before, after));
        all_are(&bench, "current");
        let name = CALLERS.iter().find(|name| at.to_lowercase().contains(*name)).unwrap();
        bench.ok("repo", ["hook", "uninstall", name]);
        let original = OWN.iter().find(|(own, _)| *own == at).unwrap().1;
        assert_eq!(bench.read(&file), original.replace(before, after));
        bench.ok("repo", ["hook", "install", name]);
    }
}

#[test]
fn without_files_of_the_user_none_are_left() {
    let bench = Bench::new();
    assert_eq!(install_all(&bench).code, 0);
    assert_eq!(bench.git("repo", ["status", "--porcelain", "--", ".claude/settings.local.json"]), "");
    bench.ok("repo", ["hook", "uninstall"]);
    for name in [".claude", ".codex", ".cursor", "conductor.json", "AGENTS.md", ".git/hooks/post-checkout"] {
        assert!(!bench.is_there(&format!("repo/{name}")), "{name}");
    }
    let exclude = std::fs::read_to_string(bench.path("repo/.git/info/exclude")).unwrap_or_default();
    assert!(!exclude.contains("claude"), "{exclude}");
}

#[test]
fn settings_with_another_hook_for_worktrees_or_of_no_json_are_refused_and_stay() {
    let bench = Bench::new();
    for text in
        ["{\"hooks\": {\"WorktreeCreate\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]}]}}", "{,}"]
    {
        bench.write("repo/.claude/settings.local.json", text);
        let refused = bench.depsfs("repo", ["hook", "install", "claude"]);
        assert!(refused.code == 3 && refused.err.contains("settings.local.json"), "{refused:?}");
        assert_eq!(bench.read("repo/.claude/settings.local.json"), text);
    }
    let usage = bench.depsfs("repo", ["hook", "install", "git", "--user"]);
    assert_eq!(usage.code, 2, "{usage:?}");
}

#[test]
fn the_hook_for_all_repositories_is_in_the_settings_of_the_user() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("dotfiles")).unwrap();
    bench.write("dotfiles/settings.json", "{\"model\": \"x\"}\n");
    std::fs::create_dir(bench.path(".claude")).unwrap();
    std::os::unix::fs::symlink("../dotfiles/settings.json", bench.path(".claude/settings.json")).unwrap();
    bench.ok("repo", ["hook", "install", "claude", "--user"]);
    let command = &json(&bench.read("dotfiles/settings.json"))["hooks"]["WorktreeCreate"][0]["hooks"][0]["command"];
    assert_eq!(command, &format!("{PROGRAM} hook run claude"));
    assert!(bench.ok("repo", ["hook", "status", "--user"]).contains("current"));
    assert!(bench.path(".claude/settings.json").is_symlink());
    bench.ok("repo", ["hook", "uninstall", "--user"]);
    assert_eq!(bench.read("dotfiles/settings.json"), "{\"model\": \"x\"}\n");
}

#[test]
fn a_hook_of_another_version_is_renewed() {
    let bench = Bench::new();
    assert_eq!(install_all(&bench).code, 0);
    let hook = "repo/.git/hooks/post-checkout";
    executable(&bench, hook, &(bench.read(hook) + "# older\n"));
    for at in [
        ".claude/settings.local.json",
        "conductor.json",
        ".cursor/worktrees.json",
        ".codex/environments/environment.toml",
    ] {
        let file = format!("repo/{at}");
        bench.write(
            &file,
            &bench
                .read(&file)
                .replace(" hook run ", " --older hook run ")
                .replace("depsfs --older hook run", "depsfs hook run")
                .replace("! command", "!  command")
                .replace("600", "60"),
        );
    }
    bench.write("repo/AGENTS.md", &bench.read("repo/AGENTS.md").replace("## Worktrees", "## Older"));
    let skill = "repo/.claude/skills/depsfs/SKILL.md";
    bench.write(skill, &(bench.read(skill) + "older\n"));
    all_are(&bench, "outdated");
    assert_eq!(install_all(&bench).code, 0);
    all_are(&bench, "current");
    worktree(&bench, "one");
    bench.ok("repo", ["hook", "uninstall"]);
    assert!(!bench.is_there("repo/AGENTS.md") && !bench.is_there("repo/conductor.json") && !bench.is_there(hook));
}

#[test]
fn a_hook_manager_that_renames_or_replaces_the_hook_is_seen() {
    let bench = Bench::new();
    executable(&bench, "repo/.git/hooks/post-checkout", "#!/bin/sh\necho own >&2\n");
    bench.ok("repo", ["hook", "install"]);
    // As pre-commit(1) installs itself.
    let hooks = bench.path("repo/.git/hooks");
    std::fs::rename(hooks.join("post-checkout"), hooks.join("post-checkout.legacy")).unwrap();
    let manager = "#!/bin/sh\n\"$(dirname \"$0\")/post-checkout.legacy\" \"$@\"\necho manager >&2\n";
    executable(&bench, "repo/.git/hooks/post-checkout", manager);
    assert_eq!(states(&bench)[0].1, "current");
    let said = worktree(&bench, "one");
    assert!(said.err.contains("own") && said.err.contains("manager"), "{said:?}");
    bench.ok("repo", ["hook", "install"]);
    assert_eq!(bench.read("repo/.git/hooks/post-checkout"), manager);
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read("repo/.git/hooks/post-checkout.legacy"), "#!/bin/sh\necho own >&2\n");
    // As others do: they write over it.
    std::fs::remove_file(hooks.join("post-checkout.legacy")).unwrap();
    executable(&bench, "repo/.git/hooks/post-checkout", "#!/bin/sh\necho own >&2\n");
    bench.ok("repo", ["hook", "install"]);
    executable(&bench, "repo/.git/hooks/post-checkout", "#!/bin/sh\necho other >&2\n");
    assert_eq!(states(&bench)[0].1, "replaced");
    bench.ok("repo", ["hook", "install"]);
    assert!(worktree(&bench, "two").err.contains("other"));
    assert!(bench.is_there("repo/.git/hooks/post-checkout.local.1"), "no hook of the user is lost");
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read("repo/.git/hooks/post-checkout"), "#!/bin/sh\necho other >&2\n");
}

#[test]
fn hooks_in_the_checkout_get_a_line_and_git_sees_no_new_file() {
    let bench = Bench::new();
    bench.git("repo", ["config", "core.hooksPath", ".githooks"]);
    executable(&bench, "repo/.githooks/pre-commit", "#!/bin/sh\n");
    bench.commit("repo", "hooks");
    for _ in 0..2 {
        bench.ok("repo", ["hook", "install"]);
    }
    bench.assert_clean("repo");
    assert_eq!(states(&bench)[0].1, "current");
    worktree(&bench, "one");
    bench.ok("repo", ["hook", "uninstall"]);
    assert!(!bench.is_there("repo/.githooks/post-checkout") && !bench.is_there("repo/.git/depsfs-post-checkout"));
    // A tracked hook keeps its lines; one that is no shell script is left alone.
    executable(&bench, "repo/.githooks/post-checkout", "#!/bin/sh\necho own >&2\n");
    bench.commit("repo", "a hook");
    assert!(bench.ok("repo", ["hook", "install"]).contains("is tracked"));
    assert!(worktree(&bench, "two").err.contains("own"));
    bench.ok("repo", ["hook", "uninstall"]);
    bench.assert_clean("repo");
    executable(&bench, "repo/.githooks/post-checkout", "#!/usr/bin/env python3\n");
    let refused = bench.depsfs("repo", ["hook", "install"]);
    assert!(refused.code == 3 && refused.err.contains("no shell script"), "{refused:?}");
    assert_eq!(bench.read("repo/.githooks/post-checkout"), "#!/usr/bin/env python3\n");
}

#[test]
fn a_hook_of_the_user_that_runs_depsfs_adopt_is_kept() {
    let bench = Bench::new();
    let own = "#!/bin/sh\necho own >&2\ndepsfs adopt --allow-unbuilt >&2\n";
    executable(&bench, "repo/.git/hooks/post-checkout", own);
    assert_eq!(states(&bench)[0].1, "absent");
    assert_eq!(bench.ok("repo", ["hook", "uninstall"]), "nothing is installed\n");
    assert_eq!(bench.read("repo/.git/hooks/post-checkout"), own);
    bench.ok("repo", ["hook", "install"]);
    assert_eq!(bench.read("repo/.git/hooks/post-checkout.local"), own);
    assert!(worktree(&bench, "one").err.contains("own"));
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read("repo/.git/hooks/post-checkout"), own);
    // In the checkout: a line is added, and that line alone is taken out again, even from a hook that was edited meanwhile.
    bench.git("repo", ["config", "core.hooksPath", ".githooks"]);
    executable(&bench, "repo/.githooks/post-checkout", own);
    bench.ok("repo", ["hook", "install"]);
    executable(&bench, "repo/.githooks/post-checkout", &(bench.read("repo/.githooks/post-checkout") + "true\n"));
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read("repo/.githooks/post-checkout"), own.to_owned() + "true\n");
    // As the refusal of a hook that is no shell script advises.
    let own = "#!/usr/bin/env python3\nimport os\nos.system('depsfs adopt')\n";
    executable(&bench, "repo/.githooks/post-checkout", own);
    assert_eq!(bench.depsfs("repo", ["hook", "install"]).code, 3);
    assert_eq!(bench.ok("repo", ["hook", "uninstall"]), "nothing is installed\n");
    assert_eq!(bench.read("repo/.githooks/post-checkout"), own);
}

#[test]
fn a_command_of_the_user_with_a_name_alike_is_kept() {
    let bench = Bench::new();
    let own = [
        (
            ".claude/settings.local.json",
            "{\"hooks\": {\"WorktreeRemove\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"~/bin/my-claude-worktree.sh\"}]}]}}",
        ),
        ("conductor.json", "{\"scripts\": {\"setup\": \"~/bin/my-conductor-worktree setup\"}}\n"),
        (".cursor/worktrees.json", "{\"setup-worktree\": [\"depsfs hook run cursor setup && npm ci\"]}\n"),
        (".codex/environments/environment.toml", "[setup]\nscript = '''\n~/bin/my-codex-worktree setup\n'''\n"),
    ];
    let stay = || own.iter().for_each(|(at, text)| assert_eq!(bench.read(&format!("repo/{at}")), *text));
    own.iter().for_each(|(at, text)| bench.write(&format!("repo/{at}"), text));
    assert_eq!(bench.ok("repo", ["hook", "uninstall"]), "nothing is installed\n");
    stay();
    bench.ok("repo", ["hook", "install", "claude", "conductor", "cursor", "codex"]);
    for (at, _) in own {
        // No file is the one of the record any more.
        bench.write(&format!("repo/{at}"), &(bench.read(&format!("repo/{at}")) + "\n"));
    }
    bench.ok("repo", ["hook", "uninstall"]);
    for (at, text) in own {
        assert_eq!(bench.read(&format!("repo/{at}")), text.to_owned() + "\n");
    }
}

#[test]
fn lines_of_the_user_in_the_list_of_ignored_paths_stay() {
    let bench = Bench::new();
    let list = "repo/.git/info/exclude";
    let own = "# own\n/.claude/settings.local.json\n/.claude/worktrees/\n/.githooks/post-checkout\n";
    bench.git("repo", ["config", "core.hooksPath", ".githooks"]);
    bench.write(list, own);
    assert_eq!(bench.ok("repo", ["hook", "uninstall"]), "nothing is installed\n");
    assert_eq!(bench.read(list), own, "nothing was installed");
    bench.ok("repo", ["hook", "install", "git", "claude"]);
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read(list), own, "the lines were there before");
    bench.write(list, "");
    for _ in 0..2 {
        bench.ok("repo", ["hook", "install", "git", "claude"]);
        assert_eq!(bench.read(list).lines().count(), 3);
    }
    bench.write(list, &(bench.read(list) + own));
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read(list), own, "the lines were added since");
    // The line for Claude's worktrees stays as long as there are some.
    bench.write(list, "");
    bench.ok("repo", ["hook", "install", "claude"]);
    std::fs::create_dir_all(bench.path("repo/.claude/worktrees/x")).unwrap();
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read(list), "/.claude/worktrees/\n");
    std::fs::remove_dir_all(bench.path("repo/.claude/worktrees")).unwrap();
    bench.ok("repo", ["hook", "uninstall"]);
    assert_eq!(bench.read(list), "");
}

#[test]
fn the_command_in_the_settings_is_the_program_in_path_under_a_path_with_spaces() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("my bin")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bench.path("my bin/depsfs")).unwrap();
    let path = format!("{}:{}", bench.path("my bin").display(), std::env::var("PATH").unwrap());
    let installed = run(bench.command(PROGRAM, "repo").env("PATH", path).args(["hook", "install", "claude"]));
    assert_eq!(installed.code, 0, "{installed:?}");
    let settings = json(&bench.read("repo/.claude/settings.local.json"));
    let command = settings["hooks"]["WorktreeCreate"][0]["hooks"][0]["command"].as_str().unwrap().to_owned();
    assert_eq!(command, format!("'{}' hook run claude", bench.path("my bin/depsfs").display()));
    let input = serde_json::json!({"hook_event_name": "WorktreeCreate", "name": "x", "cwd": bench.path("repo")});
    let input = input.to_string();
    let made = run(bench.command("sh", "repo").args(["-c", &format!("printf %s '{input}' | {command}")]));
    assert_eq!(made.out, format!("{}\n", bench.path("repo/.claude/worktrees/x").display()), "{made:?}");
    // A byte that is no UTF-8: as bash and zsh read it.
    let other = bench.path("").join(std::ffi::OsStr::from_bytes(b"b\xffn"));
    std::fs::rename(bench.path("my bin"), &other).unwrap();
    let path = std::env::join_paths([other].into_iter().chain(std::env::split_paths(&std::env::var("PATH").unwrap())))
        .unwrap();
    let installed = run(bench.command(PROGRAM, "repo").env("PATH", path).args(["hook", "install", "claude"]));
    assert_eq!(installed.code, 0, "{installed:?}");
    let settings = json(&bench.read("repo/.claude/settings.local.json"));
    let command = settings["hooks"]["WorktreeCreate"][0]["hooks"][0]["command"].as_str().unwrap().to_owned();
    assert!(command.ends_with(r"b\377n/depsfs' hook run claude"), "{command}");
    let found = run(bench
        .command("bash", "repo")
        .args(["-c", &format!("{} --version", command.replace(" hook run claude", ""))]));
    assert_eq!(found.code, 0, "{found:?}");
}
