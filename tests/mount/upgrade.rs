//! A server of another build takes over while programs use the views.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use depsfs::daemon::{DaemonState, client};
use depsfs::sys::fs::{RenameFlags, rename_at};
use depsfs::sys::path::open_dir;

use crate::bench::{Bench, PROGRAM, Stop, bench, signal, wait_until};

/// The program under another name: another build, as far as anybody can see.
fn other_build(bench: &Bench, of: &str, name: &str) -> PathBuf {
    let path = bench.dir.join(name);
    // Not by this process: what another thread starts meanwhile would hold the copy open to write (ETXTBSY).
    let copied = Command::new("cp").arg(of).arg(&path).status().unwrap();
    assert!(copied.success());
    path
}

fn mount_with(bench: &Bench, program: &Path) -> DaemonState {
    let state = client::mount_with(program, &bench.state_dir()).unwrap_or_else(|e| panic!("{e}\n{}", bench.log()));
    assert!(state.views.iter().all(|v| v.mounted), "{state:#?}\n{}", bench.log());
    state
}

fn runs(state: &DaemonState) -> PathBuf {
    program_of(state.server_pid.unwrap())
}

fn program_of(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

/// The open files of a process, by their names: one socket is as good as another, and its own program and a file
/// that is in memory alone do not count.
fn has_open(pid: i32) -> Vec<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = fds.filter_map(|fd| Some(fs::read_link(fd.unwrap().path()).ok()?.to_string_lossy().into_owned()));
    let own = program_of(pid).to_string_lossy().into_owned();
    // The pipe on which the first client waits, and what is read for a moment.
    let counts = |name: &String| !["memfd", "pipe:", "/proc/"].iter().any(|kind| name.contains(kind)) && *name != own;
    let mut names: Vec<_> = names.filter(counts).collect();
    names.iter_mut().filter(|name| name.starts_with("socket:")).for_each(|name| name.truncate(6));
    names.sort();
    names
}

#[test]
fn mounting_with_another_build_replaces_the_server_and_no_program_notices() {
    is_replaced_under_load(&bench!("a", "b"));
}

#[test]
fn no_program_notices_another_build_either_where_the_kernel_sends_nothing_again() {
    let mut bench = bench!("a", "b");
    // As kernels before 6.9: `DEPSFS_WITHOUT` is for tests.
    bench.start_with("DEPSFS_WITHOUT=resend");
    is_replaced_under_load(&bench);
    assert!(bench.log().contains("does not send unanswered requests again"), "{}", bench.log());
}

fn is_replaced_under_load(bench: &Bench) {
    let first = bench.mount();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut pauses = Vec::new();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for view in [bench.view("a"), bench.view("b"), bench.view("a")] {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                let dir = view.join(format!("dir {:?}", std::thread::current().id()));
                fs::create_dir(&dir).unwrap();
                fs::write(dir.join("0"), "0").unwrap();
                fs::write(dir.join("1"), "1").unwrap();
                let log = File::create(dir.join("log")).unwrap();
                let fd = open_dir(&dir).unwrap();
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    rename_at(&fd, b"0", &fd, b"1", RenameFlags::EXCHANGE).unwrap();
                    round += 1;
                    assert_eq!(fs::read_to_string(dir.join("0")).unwrap(), (round % 2).to_string());
                    log.write_all_at(b"x", round).unwrap();
                    fs::create_dir(dir.join("sub")).unwrap();
                    assert!(!dir.join(format!("no {round}")).exists());
                    fs::rename(dir.join("sub"), dir.join("bus")).unwrap();
                    fs::remove_dir(dir.join("bus")).unwrap();
                    assert_eq!(fs::read_to_string(view.join("lib/b.js")).unwrap(), "b\n".repeat(5000));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                assert_eq!(log.metadata().unwrap().len(), round + 1);
            });
        }
        for round in 0..20 {
            std::thread::sleep(Duration::from_millis(50));
            let program = other_build(bench, PROGRAM, &format!("build {round}"));
            let (before, begun) = (bench.state().unwrap(), Instant::now());
            let state = mount_with(bench, &program);
            pauses.push(begun.elapsed());
            assert_eq!((state.pid, state.generation), (first.pid, first.generation));
            assert!(state.server_pid != before.server_pid && state.build != before.build);
            assert_eq!(runs(&state), program);
            wait_until("the keeper has become the other build", || program_of(first.pid) == program);
        }
    });
    pauses.sort();
    eprintln!("{} rounds beside 20 upgrades, each {pauses:?}", done.load(Ordering::Relaxed));
    assert_eq!(bench.state().unwrap().trouble, None);
    bench.unmount();
}

#[test]
fn a_later_server_is_of_the_new_build_although_its_file_is_gone() {
    let bench = bench!("a");
    bench.mount();
    let program = other_build(&bench, PROGRAM, "newer");
    let state = mount_with(&bench, &program);
    wait_until("the keeper has become the newer build", || program_of(state.pid) == program);
    fs::remove_file(&program).unwrap();
    let before = state.server_pid;
    signal(before.unwrap(), "-KILL");
    wait_until("another server runs", || bench.state().is_some_and(|s| s.server_pid != before));
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
    assert!(runs(&bench.state().unwrap()).to_string_lossy().ends_with("newer (deleted)"));
}

#[test]
fn a_build_that_does_not_serve_leaves_the_views_to_the_former_one() {
    let bench = bench!("a");
    bench.mount();
    let program = other_build(&bench, "/bin/false", "broken");
    let state = mount_with(&bench, &program);
    assert!(state.trouble.as_deref().is_some_and(|t| t.contains("former build")), "{state:?}");
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
    assert_eq!(program_of(state.pid), fs::canonicalize(PROGRAM).unwrap());
    assert_eq!(bench.mount().trouble, None);
    assert!(!fs::exists(bench.view("a/absent")).unwrap());
}

#[test]
fn a_keeper_that_this_program_does_not_understand_is_left_alone_and_it_is_said() {
    let bench = bench!("a");
    let first = bench.mount();
    let file = bench.state_dir().join("daemon.json");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"protocol\": 2"), "{text}");
    fs::write(&file, text.replace("\"protocol\": 2", "\"protocol\": 9")).unwrap();
    let program = other_build(&bench, PROGRAM, "other");
    let refused = client::mount_with(&program, &bench.state_dir()).unwrap_err().to_string();
    assert!(refused.contains("is of another depsfs: it speaks protocol 9, this program 2"), "{refused}");
    assert_eq!(bench.state().unwrap().server_pid, first.server_pid);
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
    bench.unmount();
    mount_with(&bench, &program);
}

#[test]
fn a_plain_hangup_makes_the_keeper_compare_and_no_more() {
    let bench = bench!("a");
    let state = bench.mount();
    signal(state.pid, "-HUP");
    wait_until("it has compared", || bench.state().is_some_and(|s| s.reconciled > state.reconciled));
    assert_eq!(bench.state().unwrap().server_pid, state.server_pid);
}

#[test]
fn a_keeper_of_another_build_is_the_same_process_and_keeps_what_it_had() {
    let mut bench = bench!("a", "b");
    let first = bench.mount();
    let open = has_open(first.pid);
    assert!(open.iter().filter(|name| name.ends_with("fuse")).count() >= 2, "{open:?}");
    let kept = File::open(bench.view("b/lib/b.js")).unwrap();
    let program = other_build(&bench, PROGRAM, "build");
    mount_with(&bench, &program);
    wait_until("the keeper has become the other build", || program_of(first.pid) == program);
    wait_until("it has open what it had", || has_open(first.pid) == open);
    // It goes on as before: another server, another view, one less, none.
    let server = bench.state().unwrap().server_pid;
    signal(server.unwrap(), "-KILL");
    wait_until("another server runs", || {
        bench.state().is_some_and(|s| s.server_pid.is_some_and(|p| Some(p) != server))
    });
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");
    let gone = bench.manifest.views.remove(0);
    bench.manifest.generation += 1;
    bench.save();
    let state = mount_with(&bench, &program);
    assert_eq!((state.pid, state.started, state.restarts), (first.pid, first.started, 2), "one upgrade, one death");
    assert_eq!(bench.mounted(), ["b"]);
    bench.manifest.views.push(gone);
    bench.manifest.generation += 1;
    bench.save();
    mount_with(&bench, &program);
    let mut bytes = [0; 2];
    kept.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((bench.mounted(), &bytes), (vec!["a".to_owned(), "b".into()], b"b\n"));
    drop(kept);
    bench.unmount();
    wait_until("it has ended", || !Path::new(&format!("/proc/{}/exe", first.pid)).exists());
}

#[test]
fn a_program_that_does_not_understand_what_a_keeper_left_becomes_the_former_one_again() {
    let dir = tempfile::tempdir().unwrap();
    // The numbers of the descriptors are the shell's; `echo` stands for the former program.
    let script = format!(
        "exec 7</bin/echo 8<'{0}'; printf '%s' '{{\"version\":99,\"program\":7}}' >'{0}'; exec '{PROGRAM}' keeper /no/where 8",
        dir.path().join("left").display()
    );
    fs::write(dir.path().join("left"), "").unwrap();
    let done = Command::new("sh").arg("-c").arg(script).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(said, "keeper /no/where 8\n", "{}", String::from_utf8_lossy(&done.stderr));
}
