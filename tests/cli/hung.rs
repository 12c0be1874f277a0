//! A request that no server will ever answer: kernels before 6.9 send none again, and here nothing is retained either.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, PROGRAM, json, run, soon};

/// A program that changes a view without end, and counts in a file beside the worktrees.
struct Writer(std::process::Child);

impl Writer {
    fn start(bench: &Bench) -> Writer {
        let script = "n=0; while :; do echo $n > build/own; n=$((n+1)); echo $n > ../count; done";
        let mut sh = bench.command("sh", "fix");
        Writer(sh.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.kill());
        // It dies when its request has an answer, which is when the connection was ended.
        let until = Instant::now() + Duration::from_secs(20);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn daemon(bench: &Bench) -> Option<Value> {
    let text = std::fs::read_to_string(bench.path("repo/.git/worktrees/fix/depsfs/daemon.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// Kills servers until the writer waits for an answer that none of them will give.
fn hang(bench: &Bench) {
    let count = || std::fs::read_to_string(bench.path("count")).unwrap_or_default();
    let server = || daemon(bench).and_then(|state| state["server_pid"].as_i64());
    for _ in 0..60 {
        let before = server().expect("one runs");
        Command::new("kill").args(["-KILL", &before.to_string()]).status().unwrap();
        soon("another server", || server().is_some_and(|pid| pid != before));
        // The keeper gives up when servers die too soon.
        std::thread::sleep(Duration::from_millis(700));
        let (seen, until) = (count(), Instant::now() + Duration::from_secs(5));
        while count() == seen {
            if Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    panic!("nothing hangs");
}

/// Whether the kernel's counts of waiting requests can be read; says why not.
fn can_count_requests() -> bool {
    let counts = std::fs::read_dir("/sys/fs/fuse/connections").is_ok_and(|mut all| all.next().is_some());
    if !counts && !crate::bench::is_root() {
        println!("skipped: fusectl is not mounted, so an ordinary user cannot count waiting requests");
        return false;
    }
    true
}

#[test]
fn a_view_with_a_request_that_nobody_will_answer_is_called_hung_and_doctor_gets_out_of_it() {
    if !can_count_requests() {
        return;
    }
    let bench = Bench::new().with_mounts_of_directories();
    let old = |at: &str, args: &[&str]| {
        // `DEPSFS_WITHOUT` is for tests.
        run(bench.command(PROGRAM, at).args(args).env("DEPSFS_WITHOUT", "resend,retained"))
    };
    assert_eq!(old("repo", &["create", "fix"]).code, 0);
    let writer = Writer::start(&bench);
    hang(&bench);
    let status = old("fix", &["status"]);
    assert!(status.out.contains("[HUNG]    build"), "{status:?}");
    assert_eq!(status.code, 1, "{status:?}");
    // A daemon that has something else to do just now does not hang yet.
    soon("doctor sees it, and ends the connection", || {
        let said = old("repo", &["doctor", "--fix", "--json"]);
        let found = json(&said.out);
        let is_it = |row: &&Value| row["check"] == "hung_mounts" && row["reason"].to_string().contains("/fix");
        found["checks"].as_array().unwrap().iter().find(is_it).is_some_and(|row| row["fixed"] == true)
    });
    drop(writer);
    // Mounted anew, or to be mounted: nothing waits any more.
    assert_eq!(old("fix", &["mount"]).code, 0);
    assert!(bench.ok("fix", ["status"]).contains("[ok]      build"));
    assert_eq!(bench.read("fix/build/out.o"), "object\n");
    bench.ok("fix", ["unmount"]);
}

#[test]
fn in_a_worktree_whose_requests_hang_a_status_answers_and_no_other_verb_waits() {
    if !can_count_requests() {
        return;
    }
    let bench = Bench::new().with_mounts_of_worktrees();
    let old =
        |at: &str, args: &[&str]| run(bench.command(PROGRAM, at).args(args).env("DEPSFS_WITHOUT", "resend,retained"));
    assert_eq!(old("repo", &["create", "fix"]).code, 0);
    let writer = Writer::start(&bench);
    hang(&bench);
    for at in ["fix", "fix/src"] {
        // A daemon that has something else to do just now does not hang yet.
        soon("status names the view", || old(at, &["status"]).out.contains("[HUNG]    build"));
        for verb in ["diff", "list"] {
            let is_refused =
                |said: &crate::bench::Said| said.code == 1 && said.err.contains("does not answer: requests");
            soon("it is refused", || is_refused(&old(at, &[verb])));
        }
        assert_eq!(old(at, &["help", "troubleshooting"]).code, 0);
    }
    soon("doctor ends the connection", || {
        drop(old("repo", &["doctor", "--fix"]));
        old("repo", &["status", "fix"]).code == 0
    });
    drop(writer);
    bench.ok("", ["unmount", "fix"]);
}
