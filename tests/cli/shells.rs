//! The functions of `depsfs shell-init` in each shell that is installed.

use crate::bench::{Bench, PROGRAM, Said, run};

/// The shells, each with the line that reads the functions.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "eval \"$(depsfs shell-init bash)\""),
    ("zsh", "eval \"$(depsfs shell-init zsh)\""),
    ("fish", "depsfs shell-init fish | source"),
];

/// Runs a script in a shell that finds the program in PATH; `None`, and a line that says so, without the shell.
fn script(bench: &Bench, shell: &str, at: &str, text: &str) -> Option<Said> {
    if run(bench.command("sh", "").args(["-c", &format!("command -v {shell}")])).code != 0 {
        println!("skipped: {shell}, because it is not installed");
        return None;
    }
    let bin = std::path::Path::new(PROGRAM).parent().unwrap().to_str().unwrap().to_owned();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let bare: &[&str] = match shell {
        "bash" => &["--norc", "--noprofile"],
        "zsh" => &["-f"],
        _ => &["--no-config"],
    };
    Some(run(bench.command(shell, at).env("PATH", path).args(bare).args(["-c", text])))
}

#[test]
fn cd_goes_to_a_worktree_by_name_and_back_in_each_shell() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.git("repo", ["worktree", "add", "-q", "-b", "odd", "../o d$(touch ran)'\""]);
    let [repo, fix, odd] = ["repo", "fix", "o d$(touch ran)'\""].map(|at| bench.path(at).to_str().unwrap().to_owned());
    for (shell, init) in SHELLS {
        let text = format!("{init}\ndepsfs cd fix; pwd\ndepsfs cd odd; pwd\ndepsfs cd -; pwd\ndepsfs cd main; pwd");
        let Some(said) = script(&bench, shell, "repo/src", &text) else { continue };
        let lines: Vec<&str> = said.out.lines().filter(|line| !line.starts_with("~")).collect();
        // `cd -` may print where it goes.
        let lines: Vec<&str> = lines.into_iter().fold(vec![], |mut all, line| {
            if all.last() != Some(&line) {
                all.push(line);
            }
            all
        });
        assert_eq!(lines, [&fix, &odd, &fix, &repo], "{shell}: {said:?}");
        assert_eq!(said.code, 0, "{shell}: {said:?}");
    }
    assert!(!bench.is_there("repo/src/ran") && !bench.is_there("fix/ran"));
}

#[test]
fn a_cd_that_fails_stays_and_has_the_exit_code_and_all_other_verbs_are_the_programs() {
    let bench = Bench::new();
    for (shell, init) in SHELLS {
        let status = if shell == "fish" { "$status" } else { "$?" };
        let text =
            format!("{init}\ndepsfs cd nowhere; echo {status}; pwd\ndepsfs path; depsfs cd --help; echo {status}");
        let Some(said) = script(&bench, shell, "repo/src", &text) else { continue };
        let at = bench.path("repo").to_str().unwrap().to_owned();
        assert!(said.out.starts_with(&format!("3\n{at}/src\n{at}\nGo to a worktree")), "{shell}: {said:?}");
        assert!(said.out.ends_with("\n0\n") && said.err.contains("nowhere"), "{shell}: {said:?}");
    }
    let said = bench.depsfs("repo", ["cd", "fix"]);
    assert!(said.code == 2 && said.err.contains("depsfs cd --help"), "{said:?}");
}
