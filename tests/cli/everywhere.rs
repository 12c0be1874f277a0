//! All known worktrees at once: `mount --all`, and the service that does so at login.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::bench::{Bench, PROGRAM, Said, json, run, soon};

#[test]
fn all_known_worktrees_are_mounted_and_those_that_are_gone_are_named() {
    let bench = Bench::new();
    for name in ["one", "two", "three"] {
        bench.ok("repo", ["create", name, "--no-mount"]);
    }
    bench.ok("", ["store", "add", "repo/build"]);
    bench.ok("", ["mount", "build", "--at", "at"]);
    bench.ok("", ["unmount", "--at", "at"]);
    std::fs::remove_dir_all(bench.path("two")).unwrap();
    let gone = bench.path("two").display().to_string();
    // A view that a daemon has left dead is no obstacle.
    bench.ok("one", ["mount"]);
    let daemon = json(&bench.status("one", &["--json"]))["daemon"].clone();
    for pid in [&daemon["pid"], &daemon["server_pid"]] {
        assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }
    soon("it is dead", || json(&bench.status("", &["one", "--json"]))["daemon"].is_null());
    let said = bench.ok("", ["mount", "--all"]);
    for place in ["one", "three", "at"] {
        assert!(said.contains(&format!("mounted {}\n", bench.path(place).display())), "{said}");
    }
    assert!(said.contains(&format!("gone    {gone}")), "{said}");
    assert_eq!(bench.mounts().len(), 2 * bench.mounts_of(2) + 1, "{:?}", bench.mounts());
    assert_eq!((bench.read("one/build/out.o"), bench.read("at/out.o")), ("object\n".into(), "object\n".into()));
    assert_eq!(bench.ok("", ["mount", "--all"]), said);
    assert!(!bench.is_there("two"));
}

#[test]
fn one_worktree_that_cannot_be_mounted_does_not_keep_the_others_from_it() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one", "--no-mount"]);
    bench.ok("repo", ["create", "two", "--no-mount"]);
    bench.write("repo/.git/worktrees/one/depsfs/manifest.json", "{\"version\": 99}");
    let said = bench.depsfs("", ["mount", "--all"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("worktrees/one") && said.err.contains("version"), "{said:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
}

/// systemd's command, replaced by a script that notes what it is asked.
fn with_systemctl(bench: &Bench, script: &str) {
    bench.write(
        "bin/systemctl",
        &format!("#!/bin/sh\necho \"$@\" >> \"{}\"\n{script}\n", bench.path("asked").display()),
    );
    std::fs::set_permissions(bench.path("bin/systemctl"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn service(bench: &Bench, args: &[&str]) -> Said {
    let mut command = bench.command(PROGRAM, "");
    command.args(["service"]).args(args).env("PATH", bench.path("bin")).env("XDG_CONFIG_HOME", bench.path("config"));
    run(&mut command)
}

const UNIT: &str = "config/systemd/user/depsfs.service";

#[test]
fn the_service_is_written_enabled_told_of_and_removed() {
    let bench = Bench::new();
    with_systemctl(&bench, "case $2 in is-enabled) echo enabled;; is-active) echo inactive; exit 3;; esac");
    let said = service(&bench, &["install"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(bench.read("asked"), "--user daemon-reload\n--user enable --now depsfs.service\n");
    let unit = bench.read(UNIT);
    for line in [
        "Type=notify".into(),
        "WantedBy=default.target".into(),
        format!("ExecStart=\"{PROGRAM}\" service run"),
        format!("Environment=\"DEPSFS_STORE={}\"", bench.path("store").display()),
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}: {unit}");
    }
    assert_eq!(service(&bench, &["install"]).code, 0);
    assert_eq!(bench.read(UNIT), unit);
    let status = json(&service(&bench, &["status", "--json"]).out);
    assert_eq!(status["unit"], bench.path(UNIT).to_str().unwrap());
    assert_eq!((&status["installed"], &status["enabled"]), (&true.into(), &"enabled".into()));
    assert_eq!(status["active"], "inactive");
    assert_eq!(service(&bench, &["uninstall"]).code, 0);
    assert!(!bench.is_there(UNIT));
    assert!(bench.read("asked").contains("--user disable --now depsfs.service\n"));
    let again = service(&bench, &["uninstall"]);
    assert_eq!((again.code, again.out.as_str()), (0, "not installed\n"));
    assert_eq!(json(&service(&bench, &["status", "--json"]).out)["installed"], false);
}

#[test]
fn without_systemd_the_unit_is_written_and_it_is_said_that_nothing_reads_it() {
    let bench = Bench::new();
    for script in [None, Some("echo 'Failed to connect to bus: No medium found' >&2; exit 1")] {
        if let Some(script) = script {
            with_systemctl(&bench, script);
        }
        let said = service(&bench, &["install"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.err.contains("systemd does not run") && said.err.contains("depsfs mount --all"), "{said:?}");
        assert!(bench.is_there(UNIT));
        let status = service(&bench, &["status"]);
        assert!(status.out.contains("(installed)") && status.out.contains("systemd does not run"), "{status:?}");
        assert_eq!(service(&bench, &["uninstall"]).code, 0);
        assert!(!bench.is_there(UNIT));
    }
    with_systemctl(&bench, "[ $2 != enable ] || { echo 'Unit is masked' >&2; exit 1; }");
    let said = service(&bench, &["install"]);
    assert!(said.code == 1 && said.err.contains("Unit is masked"), "{said:?}");
}

#[test]
fn what_the_unit_runs_mounts_everything_tells_systemd_and_leaves_what_is_in_use() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "one", "--no-mount"]);
    bench.ok("repo", ["create", "two", "--no-mount"]);
    let path = bench.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    if let Some(uid) = bench.uid {
        std::os::unix::fs::chown(&path, Some(uid), Some(uid)).unwrap();
    }
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut command = bench.command(PROGRAM, "");
    command.args(["service", "run"]).env("NOTIFY_SOCKET", &path).stdout(Stdio::null());
    let mut service = command.spawn().unwrap();
    let mut said = [0; 200];
    let n = socket.recv(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..n]).into_owned();
    assert!(said.lines().any(|l| l == "READY=1") && said.contains("STATUS=2 worktrees mounted"), "{said}");
    assert_eq!(bench.mounts().len(), 2 * bench.mounts_of(2));
    let user = std::fs::File::open(bench.path("one/build/out.o")).unwrap();
    assert!(std::process::Command::new("kill").arg(service.id().to_string()).status().unwrap().success());
    soon("it ends", || service.try_wait().unwrap().is_some());
    assert_eq!(bench.mounts().len(), bench.mounts_of(2), "{:?}", bench.mounts());
    assert_eq!(bench.read("one/build/lib.a"), "library\n");
    drop(user);
}
