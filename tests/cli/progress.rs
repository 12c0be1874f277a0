//! The progress of long work: on a terminal, and gone before the answer.

use std::process::Command;

use crate::bench::{Bench, PROGRAM, run};

/// The output of a command line on a terminal, stdout and stderr together.
fn on_terminal(bench: &Bench, line: &str) -> Option<String> {
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: there is no script(1) to make a terminal");
        return None;
    }
    let mut command = bench.command("script", "repo");
    let said = run(command.args(["-qefc", line, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1"));
    assert_eq!(said.code, 0, "{said:?}");
    Some(said.out)
}

#[test]
fn the_progress_is_shown_on_a_terminal_and_gone_before_the_answer() {
    let bench = Bench::new();
    for n in 0..200 {
        bench.write(&format!("repo/build/dir-{n}/file"), &format!("{n} ").repeat(5_000));
    }
    let lines = [
        (format!("{PROGRAM} store add build --name built"), "reading", "added built: "),
        (format!("{PROGRAM} create fix --no-mount"), "reading", "created "),
        (format!("{PROGRAM} gc"), "marking", "freed "),
    ];
    for (line, step, answer) in lines {
        let Some(shown) = on_terminal(&bench, &line) else { return };
        let at = shown.rfind(answer).unwrap_or_else(|| panic!("{line}: {shown:?}"));
        let begun = shown[..at].rfind(step).unwrap_or_else(|| panic!("{line}: {shown:?}"));
        // The line is erased (EL of ECMA-48), and not drawn again.
        let erased = shown[begun..at].rfind("\u{1b}[2K").unwrap_or_else(|| panic!("{line}: {shown:?}"));
        let rest = &shown[begun + erased..at];
        assert!(!rest.contains(step) && !shown[at..].contains('\u{1b}'), "{line}: {shown:?}");
    }
}

#[test]
fn nothing_of_it_is_in_a_pipe_nor_with_quiet_or_json() {
    let bench = Bench::new();
    let said = bench.depsfs("repo", ["store", "add", "build", "--name", "built"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for option in ["--quiet", "--json"] {
        let line = format!("{PROGRAM} store add build --name built {option}");
        let Some(shown) = on_terminal(&bench, &line) else { return };
        assert!(!shown.contains("reading") && !shown.contains('\u{1b}'), "{shown:?}");
    }
}
