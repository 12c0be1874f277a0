//! The commands of the topics, run as they are written, each in a repository of its own.
//!
//! A command is a line with four spaces before it. [`RULES`] has what one needs first, and where it runs.

use std::path::Path;
use std::process::Command;

use crate::bench::{Bench, PROGRAM, Said, run};

/// The directory in which a command runs, and the parts of a shell script that prepares it in `repo`.
struct Rule {
    /// The beginning of the command.
    of: &'static str,
    at: &'static str,
    before: &'static [&'static str],
}

const fn rule(of: &'static str, at: &'static str, before: &'static [&'static str]) -> Rule {
    Rule { of, at, before }
}

const WORKTREE: &str = "depsfs create fix-login --branch al/fix-login --quiet";
const CHANGED: &str = "depsfs create fix-login --quiet; echo mine >../fix-login/node_modules/left-pad/index.js";
const ENTRY: &str = "mkdir out; tar -czf noir-0123456789abcdef.tar.gz build; \
                     depsfs store add noir-0123456789abcdef.tar.gz";
const APPROVED: &str = "git add depsfs.toml; git commit -qm declared; depsfs approve --quiet";
const TEAM: &[&str] = &["cp ../team.toml depsfs.toml", APPROVED];
const PUSHED: &[&str] = &[
    "cp ../team.toml depsfs.toml",
    APPROVED,
    "depsfs remote init --quiet; depsfs push --quiet",
    "depsfs create fix-login --quiet --no-remote --branch topic",
];

/// The first that fits a command holds; without one it runs in a worktree `fix-login`.
const RULES: &[Rule] = &[
    rule(
        "depsfs create --resume fix-login",
        "repo",
        &[
            "sed 's/^build = .*/build = \"test -e ..\\/ready\"/' ../component.toml >depsfs.toml",
            APPROVED,
            "! depsfs create fix-login; touch ../ready",
        ],
    ),
    rule("depsfs create", "repo", &[]),
    rule("depsfs init", "repo", &[]),
    rule("depsfs approve", "repo", &["cp ../component.toml depsfs.toml"]),
    rule("depsfs pr 123", "repo", &[]),
    rule("git worktree add", "repo", &[]),
    rule("depsfs adopt", "repo", &["git worktree add -q ../fix-logout"]),
    rule("depsfs hook", "repo", &["depsfs hook install git claude"]),
    rule("git config", "repo", &[]),
    rule("depsfs -C", "repo", &[WORKTREE]),
    rule("depsfs path", "repo", &[WORKTREE]),
    rule("depsfs exec", "repo", &[WORKTREE]),
    rule("depsfs shell", "repo", &[WORKTREE]),
    rule("depsfs cd", "repo", &[WORKTREE]),
    rule("depsfs status fix-login", "repo", &[WORKTREE]),
    rule("depsfs diff fix-login", "repo", &[WORKTREE]),
    rule("depsfs remove", "repo", &[WORKTREE]),
    rule("depsfs reset", "fix-login", &[CHANGED]),
    rule("depsfs publish --push", "fix-login", PUSHED),
    rule("depsfs publish node_modules", "fix-login", &[CHANGED]),
    rule(
        "depsfs publish",
        "fix-login",
        &[
            "cp ../component.toml depsfs.toml",
            APPROVED,
            "depsfs create fix-login --quiet; cd ../fix-login; echo 2 >package-lock.json; echo mine >node_modules/a/made",
        ],
    ),
    rule(
        "depsfs gc --forget",
        "repo",
        &[
            "mkdir ../disk; depsfs create away --path ../disk/away --quiet",
            "depsfs unmount ../disk/away; mv ../disk ../elsewhere",
        ],
    ),
    rule("depsfs cache get", "repo", &[ENTRY]),
    rule("depsfs cache exists", "repo", &[ENTRY]),
    rule("depsfs cache put", "repo", &[]),
    rule("depsfs store add", "repo", &["tar -czf noir-0123456789abcdef.tar.gz build"]),
    rule("depsfs store", "repo", &[ENTRY]),
    rule("depsfs mount noir", "repo", &[ENTRY]),
    rule("depsfs unmount --at", "repo", &[ENTRY, "depsfs mount noir-0123456789abcdef --at ./out"]),
    rule("depsfs mount --at", "repo", &["mkdir a b view mine; echo 1 >a/one; echo 2 >b/two"]),
    rule("depsfs remote init", "repo", TEAM),
    rule("depsfs remote", "repo", PUSHED),
    rule("depsfs push", "repo", PUSHED),
    rule("depsfs fetch", "fix-login", PUSHED),
];

/// The commands that cannot run here, and why.
const NOT_HERE: &[(&str, &str)] = &[
    ("mount -t depsfs", "mount(8) takes root and installed helpers; tests/mount has it"),
    ("umount ", "as mount(8)"),
    ("source mount-helpers/ci3-env.sh", "it is for a checkout that uses ci3; scripts/ci3-proof.sh has it"),
    ("depsfs service install", "it takes a systemd of the user; integrations:: has one that answers"),
];

/// The commands of a topic, without their comments; what stands for something else is exchanged for it.
fn commands(topic: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/cli/topics/{topic}.md"));
    let text = std::fs::read_to_string(path).unwrap();
    let is_command = |line: &&str| {
        ["depsfs ", "git ", "mount ", "umount ", "source ", "DEPSFS_LOG="].iter().any(|word| line.starts_with(word))
    };
    let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).filter(is_command);
    let bare = |line: &str| {
        let command = line.split(" #").next().unwrap().trim_end();
        let command = if command.starts_with("depsfs reset") { format!("{command} --yes") } else { command.into() };
        command
            .replace("/tmp/fix", "../elsewhere")
            .replace("[OUT_DIR]", "out")
            .replace("PATH…", "build")
            .replace("PATH", "../disk/away")
    };
    lines.map(bare).collect()
}

const DECLARED: &str = r#"
[[component]]
name = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }
build = "mkdir -p node_modules/a; echo built > node_modules/a/made"
"#;

/// A repository with a remote, of which `main` was pushed, and another branch, and a pull request.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("repo/node_modules/left-pad/index.js", "exports.left = 1\n");
    bench.write("component.toml", DECLARED);
    let url = bench.path("team").to_str().unwrap().to_owned();
    bench.write("team.toml", &format!("{DECLARED}[[remote]]\nname = \"team\"\nurl = \"file://{url}\"\n"));
    for tool in ["ninja", "npm"] {
        bench.write(&format!("bin/{tool}"), "#!/bin/sh\necho done\n");
        run(bench.command("chmod", "").args(["755", &format!("bin/{tool}")]));
    }
    bench.git("", ["init", "-q", "--bare", "origin"]);
    bench.git("repo", ["remote", "add", "origin", "../origin"]);
    let pushed = ["main:main", "main:team/fix-login", "main:refs/pull/123/head"];
    bench.git("repo", ["push", "-q", "origin"].into_iter().chain(pushed));
    bench.git("repo", ["fetch", "-q", "origin"]);
    bench
}

fn shell(bench: &Bench, at: &str, script: &str) -> Said {
    let mut command: Command = bench.command("bash", at);
    let path = std::env::var("PATH").unwrap_or_default();
    let program = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    command.env("PATH", format!("{}:{program}:{path}", bench.path("bin").to_str().unwrap()));
    run(command.args(["-ec", &format!("eval \"$(depsfs shell-init bash)\"\n{script}")]))
}

/// Runs each command of a topic; complaints about those that fail.
fn failures(topic: &str) -> Vec<String> {
    let all = commands(topic);
    assert!(!all.is_empty(), "{topic} has no command");
    let mut wrong = Vec::new();
    for command in all {
        if let Some((_, why)) = NOT_HERE.iter().find(|(of, _)| command.starts_with(of)) {
            println!("not run: {command}: {why}");
            continue;
        }
        let found = RULES.iter().find(|rule| command.starts_with(rule.of));
        let (at, before) = found.map_or(("fix-login", &[WORKTREE][..]), |rule| (rule.at, rule.before));
        let bench = bench();
        let before = before.join("\n");
        let prepared = shell(&bench, "repo", &before);
        if prepared.code != 0 {
            wrong.push(format!("before {command}: {before}: {prepared:?}"));
            continue;
        }
        let said = shell(&bench, at, &command);
        if said.code != 0 {
            wrong.push(format!("{command}: {said:?}"));
        }
        shell(
            &bench,
            "",
            "for at in out fix-login fix-logout pr-123 topic; do depsfs unmount --lazy $at; done || true",
        );
    }
    wrong
}

#[test]
fn each_command_of_the_topic_about_worktrees_succeeds() {
    assert_eq!(failures("worktrees"), [] as [String; 0]);
}

#[test]
fn each_command_of_the_topics_about_paths_components_caches_and_errors_succeeds() {
    let topics = ["paths", "components", "cache", "troubleshooting"];
    assert_eq!(topics.map(failures).concat(), [] as [String; 0]);
}

#[test]
fn each_command_of_the_topic_about_remotes_succeeds() {
    assert_eq!(failures("remote"), [] as [String; 0]);
}
