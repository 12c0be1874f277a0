//! `depsfs top`: a live view on a terminal, plain text elsewhere.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bench::{self, Bench, PROGRAM, Watchdog, run, soon};

const MINUTE: Duration = Duration::from_secs(60);

fn top(bench: &Bench, at: &str, args: &[&str]) -> Vec<Value> {
    let said = bench.ok(at, ["top", "--once", "--json"].iter().chain(args));
    bench::json(&said)["worktrees"].as_array().unwrap().clone()
}

#[test]
fn one_table_has_requests_bytes_pauses_and_incomplete_views_of_each_worktree() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one"]);
    bench.ok("repo", ["create", "two", "--no-mount"]);
    let before = top(&bench, "repo", &[]);
    assert_eq!(before.len(), 2);
    assert_eq!(bench.read("one/build/out.o"), "object\n");
    let after = top(&bench, "repo", &[]);
    assert_eq!((&after[0]["path"], &after[0]["incomplete_views"]), (&json!(bench.path("one")), &json!(0)));
    let grew = |field: &str| after[0][field].as_u64().unwrap() - before[0][field].as_u64().unwrap();
    assert!(grew("requests") > 0 && grew("bytes_read") >= 7, "{after:#?}");
    assert_eq!((&after[1]["views"], &after[1]["incomplete_views"]), (&json!(2), &json!(2)));

    let status = bench::json(&bench.ok("one", ["status", "--json"]));
    assert_eq!(run(bench.command("kill", "").args(["-9", &status["daemon"]["server_pid"].to_string()])).code, 0);
    soon("the restart is counted", || top(&bench, "repo", &[])[0]["restarts"] == 1);
    let table = bench.ok("repo", ["top", "--once"]);
    assert!(table.starts_with("2 worktrees, 4 views, 2 incomplete\nworktree "), "{table}");
    assert!(table.contains("  2/2    ") && table.contains("  0/2    ") && !table.contains('\u{1b}'), "{table}");
}

#[test]
fn the_table_is_of_this_repository_and_with_all_of_every_one() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one", "--no-mount"]);
    bench.git("", ["clone", "-q", "repo", "other"]);
    bench.write("other/build/out.o", "object\n");
    bench.ok("other", ["create", "fix", "--no-mount"]);
    let paths = |at: &str, args: &[&str]| {
        top(&bench, at, args).iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (one, fix) = (bench.path("one").display().to_string(), bench.path("fix").display().to_string());
    assert_eq!(paths("repo", &[]), std::slice::from_ref(&one));
    assert_eq!(paths("other", &[]), std::slice::from_ref(&fix));
    assert_eq!(paths("other", &["--all"]), [fix.clone(), one.clone()]);
    assert_eq!(paths("", &[]), [fix, one], "outside of any repository");
}

#[test]
fn tables_go_on_in_a_pipe_as_plain_text_and_end_with_their_reader() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one"]);
    for json in [false, true] {
        let mut command = bench.command(PROGRAM, "repo");
        command.args(["top", "--interval", "1"]).args(json.then_some("--json"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let _watchdog = Watchdog::of(&child);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        if json {
            let two: Vec<Value> = lines.by_ref().take(2).map(|line| bench::json(&line)).collect();
            let rate = |answer: &Value| answer["worktrees"][0]["requests_per_second"].clone();
            assert!(rate(&two[0]).is_null() && rate(&two[1]).is_number(), "{two:#?}");
        } else {
            let two: Vec<String> = lines.by_ref().take(7).collect();
            assert_eq!(
                (&two[0], &two[3], &two[4]),
                (&two[4], &String::new(), &"1 worktree, 2 views, 0 incomplete".into())
            );
            assert!(two.iter().all(|line| !line.contains('\u{1b}')), "{two:#?}");
        }
        drop(lines);
        bench::ends(&mut child, MINUTE);
    }
    bench.ok("one", ["unmount"]);
}

#[test]
fn on_a_terminal_the_table_is_drawn_anew_and_ctrl_c_leaves_the_screen_as_it_was() {
    let bench = Bench::new();
    if Command::new("script").arg("--version").output().is_err() {
        return println!("skipped: there is no script(1) to make a terminal");
    }
    bench.ok("repo", ["create", "one", "--no-mount"]);
    let line = format!("exec {PROGRAM} top --interval 1");
    let mut command = bench.command("script", "repo");
    command.args(["-qefc", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _watchdog = Watchdog::of(&child);
    let mut shown = Shown { keys: child.stdin.take().unwrap(), out: child.stdout.take().unwrap(), text: Vec::new() };
    shown.until("\u{1b}[?1049h");
    shown.until("1 worktree, 2 views, 2 incomplete\u{1b}[K");
    shown.until("\u{1b}[J\u{1b}[H");
    shown.keys.write_all(b"\x03").unwrap();
    shown.until("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l");
    assert_eq!(bench::ends(&mut child, MINUTE), Some(0));
}

/// The output of a program on a terminal, and its keyboard.
struct Shown {
    keys: ChildStdin,
    out: std::process::ChildStdout,
    text: Vec<u8>,
}

impl Shown {
    /// Reads until these characters were shown.
    #[track_caller]
    fn until(&mut self, wanted: &str) {
        let until = Instant::now() + MINUTE;
        while !self.text.windows(wanted.len()).any(|part| part == wanted.as_bytes()) {
            assert!(Instant::now() < until, "{wanted:?} is not in {}", String::from_utf8_lossy(&self.text));
            let mut some = [0; 4096];
            let n = self.out.read(&mut some).unwrap();
            assert!(n > 0, "{wanted:?} is not in {}", String::from_utf8_lossy(&self.text));
            self.text.extend(&some[..n]);
        }
    }
}
