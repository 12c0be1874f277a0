//! The processes that bring contents are killed again and again under a reader of files that are not here: it gets each
//! byte, and no error.
//!
//! `DEPSFS_FETCH_KILLS` is the number of kills, one each 100 ms (by default some seconds of them).

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::bench::{PROGRAM, run_within, soon};
use super::remote_create::{Clone, WEB};
use super::remote_network::{assert_same, fill};
use super::web_remote::{Answers, WebRemote};

const FILES: u32 = 900;
const FEW: u32 = 40;
/// Between kills. The server of the views is killed at each fourth: the daemon gives up one that dies again and again
/// right after its start.
const PAUSE: Duration = Duration::from_millis(100);
/// The most deaths of a server: the daemon gives up after 300 in an hour.
const MOST_SERVERS: u32 = 200;

fn kill(pid: i32) {
    // It may have ended by itself.
    drop(
        std::process::Command::new("kill").args(["-9", &pid.to_string()]).stderr(std::process::Stdio::null()).status(),
    );
}

#[test]
fn a_reader_gets_each_byte_while_the_server_and_the_fetcher_are_killed() {
    let kills = std::env::var("DEPSFS_FETCH_KILLS").ok().map_or(FEW, |n| n.parse().unwrap());
    let clone = Clone::filled(WEB, |bench| fill(bench, "repo/node_modules", FILES));
    let web = WebRemote::start(clone.bench.path("remote"));
    web.answer(Answers::Late(30));
    let config = format!("[remote.team]\nurl = \"{}\"\nlazy = true\ncomplete = \"on-use\"\n", web.url);
    clone.bench.write("b/config/depsfs/config.toml", &config);
    let (mut round, mut done, mut servers) = (0, 0, 0);
    while done < kills {
        round += 1;
        let name = format!("w{round}");
        // A store of its own: nothing is here.
        soon("no fetcher is left", || {
            clone.fetchers().into_iter().for_each(kill);
            clone.fetchers().is_empty()
        });
        fs::rename(clone.bench.path("b/store"), clone.bench.path(&format!("b/store before {round}"))).unwrap_or(());
        let mut create = clone.command(PROGRAM, "b/clone");
        let said = run_within(create.args(["create", &name]).env("DEPSFS_FETCH_WAIT", "300"), Duration::from_secs(120));
        assert_eq!(said.code, 0, "{said:?}");
        let state = format!("b/clone/.git/worktrees/{name}/depsfs/daemon.json");
        let server = || {
            let state: serde_json::Value = serde_json::from_slice(&fs::read(clone.bench.path(&state)).ok()?).ok()?;
            i32::try_from(state["server_pid"].as_i64()?).ok()
        };
        let view = format!("b/{name}/node_modules");
        let is_read = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (bench, view, is_read) = (&clone.bench, &view, &is_read);
            let readers: Vec<_> = (0..4)
                .map(|reader| scope.spawn(move || assert_same(bench, view, (0..FILES).filter(|n| n % 4 == reader))))
                .collect();
            scope.spawn(move || {
                let all: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
                is_read.store(true, Ordering::SeqCst);
                assert!(all.iter().all(Result::is_ok));
            });
            while done < kills && !is_read.load(Ordering::SeqCst) {
                std::thread::sleep(PAUSE);
                clone.fetchers().into_iter().for_each(kill);
                done += 1;
                if done % 4 == 0 && servers < MOST_SERVERS {
                    // It serves.
                    let absent = clone.bench.path(&format!("{view}/absent {done}"));
                    assert!(fs::metadata(absent).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound));
                    server().into_iter().for_each(kill);
                    servers += 1;
                }
            }
        });
        assert_same(&clone.bench, &view, 0..FILES);
        soon("a server is there", || server().is_some());
        clone.ok("b/clone", &["store", "verify"]);
        clone.ok("b/clone", &["remove", &name]);
    }
    println!("{done} kills, {servers} of them of servers too, in {round} worktrees");
}
