//! Completion of names in each shell that is installed, as a person at a terminal has it.

use crate::bench::{Bench, PROGRAM, run};

/// A repository with a worktree, a branch, an entry and a component, and with a branch that no shell may run.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix-login"]);
    bench.git("repo", ["branch", "topic/one"]);
    bench.git("repo", ["branch", "e$(touch${IFS}ran)"]);
    bench.ok("", ["store", "add", "repo/build", "--name", "entry-1"]);
    bench
}

/// The values that are offered behind words, without those of the shell's own paths.
fn offered(bench: &Bench, at: &str, words: &[&str]) -> Vec<String> {
    let out = bench.ok(at, ["complete", "--"].iter().chain(words));
    out.lines().skip(1).map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

fn is_installed(bench: &Bench, program: &str) -> bool {
    let is_there = run(bench.command("sh", "").args(["-c", &format!("command -v {program}")])).code == 0;
    if !is_there {
        println!("skipped: {program}, because it is not installed");
    }
    is_there
}

/// The directory of the program first in PATH.
fn path() -> String {
    let bin = std::path::Path::new(PROGRAM).parent().unwrap();
    format!("{}:{}", bin.to_str().unwrap(), std::env::var("PATH").unwrap())
}

#[test]
fn names_of_worktrees_branches_views_entries_and_components_are_offered_where_they_belong() {
    let bench = bench();
    assert_eq!(offered(&bench, "repo", &["status", "fi"]), ["fix-login"]);
    assert_eq!(offered(&bench, "fix-login/src", &["path", "al/"]), ["al/fix-login"]);
    assert!(!offered(&bench, "repo", &["remove", ""]).contains(&"main".to_owned()));
    assert_eq!(offered(&bench, "repo", &["create", "t"]), ["topic/one"]);
    assert_eq!(offered(&bench, "fix-login", &["diff", "b"]), ["build"]);
    assert_eq!(offered(&bench, "fix-login", &["diff", "n"]), ["node_modules"]);
    assert_eq!(offered(&bench, "repo", &["thaw", "fix-login", ""]), ["build", "node_modules"]);
    assert_eq!(offered(&bench, "", &["store", "remove", "e"]), ["entry-1"]);
    assert_eq!(offered(&bench, "", &["mount", "--at", "x", "e"]), ["entry-1"]);
    assert_eq!(offered(&bench, "", &["-C", "repo", "exec", "fix"]), ["fix-login"]);
    let component = "[[component]]\nname = \"lib\"\npaths = [\"lib/build\"]\nbuild = \"true\"\n";
    bench.write("repo/depsfs.toml", component);
    assert_eq!(offered(&bench, "repo", &["publish", "l"]), ["lib/build"]);
    assert_eq!(offered(&bench, "store", &["status", ""]), Vec::<String>::new(), "outside any repository");
}

#[test]
fn a_name_that_a_shell_would_run_is_never_offered() {
    let bench = bench();
    let all = offered(&bench, "repo", &["create", ""]);
    assert!(all.contains(&"main".to_owned()) && !all.iter().any(|name| name.contains('$')), "{all:?}");
    bench.git("repo", ["worktree", "add", "-q", "../e\x1b[2K;id", "topic/one"]);
    let all = offered(&bench, "repo", &["status", ""]);
    assert!(all.contains(&"topic/one".to_owned()) && !all.iter().any(|name| name.contains("id")), "{all:?}");
    // The directory of a worktree may be called as an option is.
    bench.git("repo", ["worktree", "add", "-q", "--detach", "../--delete-branch"]);
    let all = offered(&bench, "repo", &["remove", ""]);
    assert!(all.contains(&"fix-login".to_owned()) && !all.iter().any(|name| name.starts_with('-')), "{all:?}");
}

#[test]
fn a_tab_completes_the_name_of_a_worktree_in_each_shell_at_a_terminal() {
    let bench = bench();
    let whole = bench.path("fix-login").to_str().unwrap().to_owned();
    for (shell, options, init) in [
        ("bash", "--norc --noprofile -i", "eval \"$(depsfs completions bash)\""),
        ("zsh", "-f -i", "autoload -Uz compinit; compinit -u -D; eval \"$(depsfs shell-init zsh)\""),
    ] {
        if !is_installed(&bench, shell) || !is_installed(&bench, "script") {
            continue;
        }
        // The tab completes to the only name, and the line is run.
        bench.write("typed", &format!("{init}\ndepsfs path fi\t\ndepsfs unmou\t--dry-run al/fi\t\nexit\n"));
        let line = format!("script -qec '{shell} {options}' /dev/null < ../typed");
        let said = run(bench.command("sh", "repo").env("PATH", path()).env("TERM", "dumb").args(["-c", &line]));
        let lines: Vec<&str> = said.out.lines().map(str::trim).collect();
        assert!(lines.contains(&whole.as_str()), "{shell}: {said:?}");
        assert!(said.out.contains(&format!("unmounted the views of {whole}")), "{shell}: {said:?}");
    }
    if is_installed(&bench, "fish") {
        let text = "depsfs completions fish | source; complete -C 'depsfs path fi'; complete -C 'depsfs unmou'";
        let said = run(bench.command("fish", "repo").env("PATH", path()).args(["--no-config", "-c", text]));
        assert!(said.out.contains("fix-login\ton al/fix-login\n") && said.out.contains("\nunmount\t"), "{said:?}");
    }
    assert!(!bench.is_there("repo/ran"));
}

#[test]
fn a_completion_takes_less_than_50_ms_of_a_processor_in_a_repository_with_many_worktrees() {
    let bench = Bench::new();
    let head = bench.git("repo", ["rev-parse", "HEAD"]);
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for n in 1000..2000 {
        packed += &format!("{head} refs/heads/topic/{n}\n");
    }
    std::fs::write(bench.path("repo/.git/packed-refs"), packed).unwrap();
    for n in 0..40 {
        bench.git("repo", ["worktree", "add", "-q", "--no-checkout", "--detach", &format!("../w{n}")]);
    }
    for words in ["status ''", "create ''", "diff ''"] {
        // The least of several: the processors have other work as well.
        let line = format!("{PROGRAM} complete -- {words} && times");
        let least = (0..10).map(|_| run(bench.command("sh", "repo").args(["-c", &line])));
        let least = least.map(|said| {
            assert_eq!(said.code, 0, "{said:?}");
            // The kind of the shell's paths, the candidates, two lines of times.
            assert!(said.out.lines().count() > 40, "{words} is offered nothing: {said:?}");
            milliseconds(said.out.lines().last().unwrap())
        });
        let least = least.min().unwrap();
        assert!(least < 50, "{words} took {least} ms");
    }
}

/// The sum of what `times` prints for the children: `0m0.012s 0m0.008s`.
fn milliseconds(line: &str) -> u64 {
    let of = |text: &str| {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<u64>().unwrap() * 60_000 + (seconds.parse::<f64>().unwrap() * 1000.0) as u64
    };
    line.split_whitespace().map(of).sum()
}
