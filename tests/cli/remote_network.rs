//! Contents that come later over a network: from a bucket, and from a web server, which fails in several ways.

use std::fs;
use std::time::{Duration, Instant};

use super::bench::{Bench, PROGRAM, run_within};
use super::moto::{Moto, with_credentials};
use super::remote::{COMPONENT, write_repository};
use super::remote_create::{Clone, WEB};
use super::remote_lazy::LONG;
use super::web_remote::{Answers, WebRemote};

/// Small files, and one over 8 MiB, which has remote objects of its own.
const FILES: u32 = 300;

pub fn content(n: u32) -> Vec<u8> {
    let len = if n == 7 { 9 << 20 } else { 10 + 97 * n as usize };
    (0..len as u64).map(|i| (u64::from(n).wrapping_mul(31).wrapping_add(i * 7).wrapping_add(i >> 8)) as u8).collect()
}

pub fn fill(bench: &Bench, at: &str, files: u32) {
    for n in 0..files {
        let path = bench.path(&format!("{at}/{}/{n}", n % 9));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(n)).unwrap();
    }
}

#[track_caller]
pub fn assert_same(bench: &Bench, at: &str, numbers: impl Iterator<Item = u32>) {
    for n in numbers {
        let is = fs::read(bench.path(&format!("{at}/{}/{n}", n % 9)));
        assert!(is.as_ref().is_ok_and(|is| *is == content(n)), "{n}: {:?}", is.map(|is| is.len()));
    }
}

#[test]
fn a_view_of_a_buckets_artifact_is_read_file_by_file_completed_and_needs_the_bucket_no_more() {
    let Some(moto) = Moto::start() else { return };
    let bench = Bench::empty(None);
    let endpoint = format!("http://127.0.0.1:{}", moto.port);
    let remote = format!("url = \"s3://team/p\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\n");
    write_repository(&bench, COMPONENT, &remote);
    fill(&bench, "repo/node_modules", FILES);
    let depsfs = |at: &str, store: &str, args: &[&str]| {
        let mut command = bench.command(PROGRAM, at);
        with_credentials(&mut command);
        command.env("DEPSFS_STORE", bench.path(store)).env("XDG_CONFIG_HOME", bench.path(&format!("{store}-config")));
        command.env("DEPSFS_FETCHER_IDLE", "2").env("DEPSFS_FETCH_WAIT", "60");
        let said = run_within(command.args(args), Duration::from_secs(240));
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        said
    };
    for args in [&["approve"][..], &["remote", "init"], &["push"]] {
        depsfs("repo", "store", args);
    }
    fs::rename(bench.path("repo/node_modules"), bench.path("away")).unwrap();
    bench.write("other-config/depsfs/config.toml", "[remote.team]\nlazy = true\ncomplete = \"on-use\"\n");
    let said = depsfs("repo", "other", &["create", "w"]);
    assert!(said.out.contains("contents: they come while"), "{said:?}");
    assert!(depsfs("w", "other", &["status"]).out.contains("[incomplete] node_modules"));
    // The large file, and some of the small ones.
    assert_same(&bench, "w/node_modules", [7, 8, 299].into_iter());
    depsfs("w", "other", &["fetch"]);
    drop(moto);
    assert_same(&bench, "w/node_modules", 0..FILES);
    depsfs("repo", "other", &["create", "again", "--offline"]);
    assert_same(&bench, "again/node_modules", 0..FILES);
    depsfs("repo", "other", &["store", "verify"]);
    for name in ["w", "again"] {
        bench.assert_clean(name);
        depsfs("repo", "other", &["remove", name]);
    }
}

/// A machine whose configuration names a web server for the remote of the other.
fn of_web(complete: &str) -> (Clone, WebRemote) {
    let clone = Clone::filled(WEB, |bench| fill(bench, "repo/node_modules", FILES));
    let web = WebRemote::start(clone.bench.path("remote"));
    let config = format!("[remote.team]\nurl = \"{}\"\nlazy = true\ncomplete = \"{complete}\"\n", web.url);
    clone.bench.write("b/config/depsfs/config.toml", &config);
    (clone, web)
}

#[test]
fn a_view_of_a_web_servers_artifact_completes_itself_and_asks_for_nothing_else() {
    let (clone, web) = of_web("always");
    clone.ok("b/clone", &["create", "one"]);
    clone.wait_for_status("b/one", "[ok]      node_modules");
    assert_same(&clone.bench, "b/one/node_modules", 0..FILES);
    clone.wait_for_no_fetcher();
    let all = web.requested();
    assert!(all.len() < 30, "{all:?}");
    clone.ok("b/clone", &["remove", "one"]);
}

#[test]
fn a_server_that_fails_in_any_way_makes_a_read_an_error_in_time_and_never_other_bytes() {
    let (clone, web) = of_web("on-use");
    clone.ok("b/clone", &["create", "one"]);
    let file = clone.bench.path("b/one/node_modules/5/5");
    let all = [
        Answers::Status(404),
        Answers::Status(403),
        Answers::Status(412),
        Answers::Status(500),
        Answers::Status(503),
        Answers::Cut,
        Answers::Silent,
        Answers::Changed,
    ];
    for answers in all {
        web.answer(answers);
        let begun = Instant::now();
        let e = fs::read(&file).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(5), "{answers:?}: {e}");
        assert!(begun.elapsed() < LONG, "{answers:?}: {:?}", begun.elapsed());
        // Names and sizes need no server.
        assert_eq!(fs::metadata(&file).unwrap().len(), content(5).len() as u64, "{answers:?}");
    }
    let log = clone.bench.read("b/store/fetcher/log");
    assert!(log.contains("status 403") && log.contains("503"), "{log}");
    web.answer(Answers::Right);
    // The large file has other remote objects than those that were damaged.
    let until = Instant::now() + LONG;
    while fs::read(clone.bench.path("b/one/node_modules/7/7")).ok().is_none_or(|is| is != content(7)) {
        assert!(Instant::now() < until, "{}", clone.bench.read("b/store/fetcher/log"));
        std::thread::sleep(Duration::from_millis(50));
    }
    clone.wait_for_no_fetcher();
    // A new fetcher has no memory of the damage.
    assert_same(&clone.bench, "b/one/node_modules", 0..FILES);
    clone.ok("b/clone", &["store", "verify"]);
    clone.ok("b/clone", &["remove", "one"]);
}
