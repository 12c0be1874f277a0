//! The README's first five minutes: every line of it is run, in its order, as somebody types it.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::bench::{Bench, PROGRAM, Said, run};

/// The commands below a heading of the README, each with its comment.
fn commands(heading: &str) -> Vec<(String, String)> {
    let text = include_str!("../../README.md");
    let part = text.split(heading).nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the heading is there");
    let lines = part.lines().filter_map(|line| line.strip_prefix("    "));
    let split = |line: &str| {
        let (command, comment) = line.split_once('#').unwrap_or((line, ""));
        (command.trim().to_owned(), comment.trim().to_owned())
    };
    lines.map(split).filter(|(command, _)| !command.is_empty()).collect()
}

/// Runs a line in a shell. One that asks has a terminal, and `y` for an answer.
fn type_in(bench: &Bench, at: &str, line: &str, asks: bool) -> Said {
    let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let on_terminal = format!("printf 'y\\n' | script -qefc '{line}' /dev/null");
    run(bench.command("sh", at).args(["-c", if asks { &on_terminal } else { line }]).env("PATH", path))
}

#[test]
fn the_first_five_minutes_of_the_readme_go_as_it_says() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("bin")).unwrap();
    symlink(PROGRAM, bench.path("bin/depsfs")).unwrap();
    // A test run that leaves a cache behind, as most do.
    bench.write("bin/npm", "#!/bin/sh\nmkdir -p node_modules/.cache && echo made >node_modules/.cache/made\n");
    std::fs::set_permissions(bench.path("bin/npm"), PermissionsExt::from_mode(0o755)).unwrap();

    let commands = commands("## The first five minutes\n");
    assert!(commands.len() >= 10, "only {} commands were read", commands.len());
    let mut at = "repo".to_owned();
    for (line, comment) in &commands {
        if let Some(to) = line.strip_prefix("cd ../") {
            at = to.to_owned();
            assert!(bench.is_there(&at), "{line}: it is not there");
            continue;
        }
        // The directory of the worktree goes: the rest is typed in the main checkout.
        if line.starts_with("depsfs remove") {
            at = "repo".to_owned();
        }
        let said = type_in(&bench, &at, line, comment.ends_with("asks"));
        assert_eq!(said.code, 0, "{line} # {comment}: {said:?}");
        let expected = match line.split_whitespace().nth(1) {
            _ if line.starts_with("npm") => "",
            Some("create") => "created ",
            Some("status") => "[ok]      node_modules",
            Some("exec") => "",
            Some("diff") => "A node_modules/.cache",
            Some("reset") => "dropped 2 changes",
            Some("sync") => "everything is up to date",
            Some("publish") => "published ",
            Some("unmount") => "unmounted ",
            Some("remove") => "removed ",
            Some("gc") => "kept for 0 worktrees",
            _ => panic!("a new command in the README: what {line} has to print is to be said here"),
        };
        assert!(said.out.contains(expected), "{line}: {said:?}");
    }
    assert!(!bench.is_there("fix-login"));
    bench.assert_clean("repo");
}
