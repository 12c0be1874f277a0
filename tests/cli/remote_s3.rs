//! Remotes in a bucket: against moto, a server that speaks S3, and against servers that fail.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use super::bench::{Bench, PROGRAM, Said, run, run_within};
use super::moto::{Moto, with_credentials};
use super::remote::{COMPONENT, write_repository};

/// No push among sixteen takes longer.
const RACE_TIMEOUT: Duration = Duration::from_secs(300);

/// A repository whose remote is a bucket at this port.
fn bench(port: u16) -> Bench {
    let bench = Bench::empty(None);
    let endpoint = format!("http://127.0.0.1:{port}");
    let remote = format!("url = \"s3://team/p\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\n");
    write_repository(&bench, COMPONENT, &remote);
    assert_eq!(depsfs(&bench, "repo", "store", &["approve"]).code, 0);
    bench
}

fn command(bench: &Bench, at: &str, store: &str) -> Command {
    let mut command = bench.command(PROGRAM, at);
    with_credentials(&mut command);
    command.env("DEPSFS_STORE", bench.path(store));
    command
}

fn depsfs(bench: &Bench, at: &str, store: &str, args: &[&str]) -> Said {
    run(command(bench, at, store).args(args))
}

#[test]
fn a_bucket_has_what_sixteen_machines_push_at_once_and_another_gets_it_whole() {
    let Some(moto) = Moto::start() else { return };
    let bench = bench(moto.port);
    let said = depsfs(&bench, "repo", "store", &["remote", "init"]);
    assert!(said.code == 0 && said.out.contains("put-bucket-lifecycle-configuration"), "{said:?}");
    bench.write("repo/node_modules/made", "by one\n");
    bench.write("repo/node_modules/big", &"x".repeat(9 << 20));
    (0..200).for_each(|n| bench.write(&format!("repo/node_modules/small/{n}.js"), &format!("module.exports = {n}\n")));
    // Each is killed when its time is over: no push outlives the test.
    let race = &|n: usize| {
        let mut command = command(&bench, "repo", &format!("stores/{n}"));
        run_within(command.arg("push"), RACE_TIMEOUT)
    };
    let racers: Vec<Said> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..16).map(|n| scope.spawn(move || race(n))).collect();
        all.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    for said in &racers {
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!said.out.contains("s3cr3t") && !said.err.contains("s3cr3t"));
    }
    let first = racers.iter().filter(|said| said.out.contains("pushed web as")).count();
    assert_eq!(first, 1);
    let said = depsfs(&bench, "repo", "store", &["remote", "check"]);
    assert!(said.code == 0 && said.out.contains("no object is replaced"), "{said:?}");
    fs::rename(bench.path("repo/node_modules"), bench.path("away")).unwrap();
    let said = depsfs(&bench, "repo", "other", &["create", "w"]);
    assert!(said.code == 0 && !said.err.contains("building"), "{said:?}");
    assert_eq!(bench.read("w/node_modules/made"), "by one\n");
    assert_eq!(bench.read("w/node_modules/small/199.js"), "module.exports = 199\n");
    assert_eq!(fs::metadata(bench.path("w/node_modules/big")).unwrap().len(), 9 << 20);
    let verified = depsfs(&bench, "repo", "other", &["store", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let said = depsfs(&bench, "repo", "other", &["remote", "prune"]);
    assert!(said.code == 0 && said.out.contains("deleted 0 objects"), "{said:?}");
}

/// The port of a server that gives each request the same answer, or none. It ends with the test's process.
fn answering(answer: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            if let Some(answer) = answer {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).and_then(|_| stream.write_all(answer));
            } else {
                kept.push(stream);
            }
        }
    });
    port
}

#[test]
fn a_remote_that_refuses_access_is_no_miss_and_its_credentials_are_named() {
    let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let bench = bench(answering(Some(answer)));
    let refused = "the remote team refuses access: status 403 for the credentials in AWS_ACCESS_KEY_ID";
    let said = depsfs(&bench, "repo", "store", &["create", "w"]);
    assert!(said.code == 1 && said.err.contains(refused) && said.err.contains("aws sso login"), "{said:?}");
    assert!(!said.err.contains("building web") && !said.err.contains("s3cr3t"), "{said:?}");
    // The worktree is there, and goes on as its user decides.
    let said = depsfs(&bench, "w", "store", &["create", "--resume", "--no-remote"]);
    assert!(said.code == 0 && said.err.contains("building web"), "{said:?}");
    assert_eq!(bench.read("w/node_modules/a/made"), "built\n");
    // Another source has it: a warning.
    let said = depsfs(&bench, "repo", "store", &["create", "again"]);
    assert_eq!((said.code, bench.read("again/node_modules/a/made").as_str()), (0, "built\n"), "{said:?}");
}

#[test]
fn a_server_that_fails_is_a_miss_that_is_named_once_and_never_a_hang() {
    let answers: [(&str, Option<&[u8]>); 3] = [
        ("no answer within 5 s", None),
        ("", Some(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
        ("", Some(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\ncut")),
    ];
    for (n, (words, answer)) in answers.into_iter().enumerate() {
        let bench = bench(answering(answer));
        let begun = Instant::now();
        let said = depsfs(&bench, "repo", "store", &["create", "w"]);
        assert!(begun.elapsed() < Duration::from_secs(45), "{n}: {:?}", begun.elapsed());
        assert!(said.code == 0 && said.err.contains("building web") && said.err.contains(words), "{n}: {said:?}");
        assert_eq!(said.err.matches("the remote team").count(), 1, "{n}: {said:?}");
        assert_eq!(bench.read("w/node_modules/a/made"), "built\n");
    }
}

#[test]
fn nobody_at_the_address_is_a_miss() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bench = bench(port);
    let said = depsfs(&bench, "repo", "store", &["create", "w"]);
    assert!(said.code == 0 && said.err.contains("the remote team does not answer"), "{said:?}");
    let said = depsfs(&bench, "repo", "store", &["remote", "check"]);
    assert_eq!(said.code, 1, "{said:?}");
}
