//! Commands that a repository brings run only after somebody approved them.

use std::time::Duration;

use crate::bench::{Bench, PROGRAM, Watchdog, ends, run};

const TOML: &str = "[[component]]\nname = \"web\"\npaths = [\"node_modules\"]\nkey = { files = [\"package-lock.json\"] }\n\
                    build = \"touch ran\"\n";

fn with(toml: &str) -> Bench {
    let bench = Bench::new();
    bench.write("repo/depsfs.toml", toml);
    bench.commit("repo", "components");
    bench
}

#[test]
fn without_a_terminal_commands_of_a_repository_are_refused_until_they_are_approved() {
    let bench = with(TOML);
    let refused = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("touch ran") && refused.err.contains("depsfs approve"), "{refused:?}");
    assert!(!bench.is_there("fix") && bench.git("repo", ["branch", "--format=%(refname:short)"]) == "main");
    let said = bench.ok("repo/src", ["approve"]);
    assert!(said.starts_with("approved for ") && said.contains("\n  in .: touch ran\n"), "{said}");
    bench.ok("repo", ["create", "fix"]);
    bench.ok("repo", ["create", "second"]);
}

#[test]
fn changed_commands_are_asked_for_again_and_the_flag_is_remembered() {
    let bench = with(TOML);
    bench.ok("repo", ["create", "fix", "--approve"]);
    bench.ok("repo", ["create", "second"]);
    bench.write("repo/depsfs.toml", &TOML.replace("touch ran", "touch it"));
    bench.commit("repo", "another command");
    assert_eq!(bench.depsfs("repo", ["create", "third"]).code, 3);
    bench.ok("repo", ["create", "third", "HEAD~1"]);
    bench.ok("repo", ["approve"]);
    bench.ok("repo", ["create", "fourth"]);
    assert!(bench.ok("repo", ["approve", "--withdraw"]).starts_with("withdrawn for "));
    assert_eq!(bench.depsfs("repo", ["create", "fifth"]).code, 3);
}

#[test]
fn what_runs_no_command_and_what_the_user_configured_needs_no_approval() {
    let bench = with(&TOML.replace("build = \"touch ran\"\n", ""));
    assert_eq!(bench.ok("repo", ["approve"]), "no command of this repository needs approval\n");
    bench.ok("repo", ["create", "fix"]);
    bench.write("config/depsfs/config.toml", TOML);
    let mut command = bench.command(PROGRAM, "repo");
    let said = run(command.env("XDG_CONFIG_HOME", bench.path("config")).args(["create", "second"]));
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused_with_its_line_before_anything_is_made() {
    let bench = with("[[component]]\nname = \"web\"\npath = [\"node_modules\"]\n");
    let refused = bench.depsfs("repo", ["create", "fix"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("depsfs.toml, line 3: unknown field `path`"), "{refused:?}");
    assert!(!bench.is_there("fix") && !bench.is_there("store"));
    bench.write("home/.config/depsfs/config.toml", "components = 1\n");
    let mut command = bench.command(PROGRAM, "repo");
    let command = command.env("HOME", bench.path("home")).env_remove("XDG_CONFIG_HOME");
    let said = run(command.args(["create", "fix", "HEAD~1"]));
    assert!(said.code == 2 && said.err.contains("config.toml, line 1: unknown field `components`"), "{said:?}");
}

/// Runs depsfs at a terminal, where somebody types this.
pub fn at_a_terminal(bench: &Bench, at: &str, typed: &str, words: &str) -> crate::bench::Said {
    let script = format!("printf '{typed}\\n' | script -qefc '{PROGRAM} {words}' /dev/null");
    run(bench.command("sh", at).args(["-c", &script]))
}

#[test]
fn somebody_at_a_terminal_is_asked_once_and_without_a_yes_nothing_is_made() {
    let bench = with(TOML);
    if run(bench.command("sh", "repo").args(["-c", "command -v script"])).code != 0 {
        println!("skipped: script (util-linux) is not installed");
        return;
    }
    let question = "Run them, now and later? [y/N]";
    for typed in ["n", ""] {
        let said = at_a_terminal(&bench, "repo", typed, "create fix");
        assert_eq!(said.code, 0, "no is an answer: {said:?}");
        assert!(said.out.contains("nothing was changed"), "{said:?}");
        assert!(said.out.contains(question) && said.out.contains("touch ran"), "{said:?}");
        assert!(!bench.is_there("fix") && bench.git("repo", ["branch", "--format=%(refname:short)"]) == "main");
    }
    let said = at_a_terminal(&bench, "repo", "yes", "create fix");
    assert!(said.code == 0 && said.out.contains(question) && said.out.contains("created "), "{said:?}");
    let said = at_a_terminal(&bench, "repo", "n", "create second");
    assert!(said.code == 0 && !said.out.contains(question), "{said:?}");
}

#[test]
fn ctrl_c_at_a_question_ends_the_command_with_130_and_nothing_is_made() {
    use std::io::{Read, Write};
    let bench = with(TOML);
    if run(bench.command("sh", "repo").args(["-c", "command -v script"])).code != 0 {
        println!("skipped: script (util-linux) is not installed");
        return;
    }
    let mut script = bench.command("script", "repo");
    script.args(["-qefc", &format!("{PROGRAM} create fix"), "/dev/null"]).stdin(std::process::Stdio::piped());
    let mut child = script.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let _watchdog = Watchdog::of(&child);
    let (mut typed, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut said, mut piece) = (Vec::new(), [0; 1024]);
    while !said.ends_with(b"[y/N] ") {
        let n = shown.read(&mut piece).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..n]);
    }
    typed.write_all(b"\x03").unwrap();
    shown.read_to_end(&mut said).unwrap();
    assert_eq!(ends(&mut child, Duration::from_secs(60)), Some(130), "{}", String::from_utf8_lossy(&said));
    assert!(!bench.is_there("fix") && bench.git("repo", ["branch", "--format=%(refname:short)"]) == "main");
}
