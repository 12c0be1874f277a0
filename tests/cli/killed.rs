//! A create that is killed (SIGKILL, or out of threads and processes) leaves a whole worktree or none, or the next command
//! makes one of the two of it.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::bench::{Bench, PROGRAM, Said, run, soon};

/// Starts a create, and kills it after a while. Whether it was done before.
fn killed_after(bench: &Bench, delay: Duration) -> bool {
    let mut command = bench.command(PROGRAM, "repo");
    command.args(["create", "fix"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(delay);
    let is_done = child.try_wait().unwrap().is_some_and(|status| status.success());
    child.kill().unwrap();
    child.wait().unwrap();
    is_done
}

#[track_caller]
fn assert_whole(bench: &Bench) {
    bench.assert_clean("fix");
    let seen = run(bench.command("cat", "fix").args(["build/out.o", "src/main.c", "node_modules/a/index.js"]));
    assert_eq!(seen.out, "object\nint main() { return 0; }\nmodule.exports = 1\n", "{seen:?}");
    assert!(bench.status("fix", &[]).starts_with("[ok]      build\n[ok]      node_modules\n"));
}

#[track_caller]
fn assert_nothing(bench: &Bench) {
    assert!(!bench.is_there("fix"));
    assert_eq!(bench.mounts(), Vec::<String>::new());
    assert_eq!(bench.git("repo", ["branch", "--format=%(refname:short)"]), "main");
    assert!(!bench.git("repo", ["worktree", "list", "--porcelain"]).contains("/fix"));
    let names = std::fs::read_dir(bench.path("repo/.git/worktrees")).map_or(0, Iterator::count);
    assert_eq!(names, 0, "a registration is left");
    // A daemon that ends may hold its root for a moment longer: then gc finds it dead.
    soon("no root is left", || {
        let roots = std::fs::read_dir(bench.path("store/roots")).map_or(0, Iterator::count);
        roots == 0 || (bench.depsfs("", ["gc"]).code, roots) == (0, 0)
    });
    let records = std::fs::read_dir(bench.path("repo/.git/depsfs/creating")).map_or(0, Iterator::count);
    assert_eq!(records, 0, "a record is left");
}

/// Kills creates at moments over the whole time that one takes, and gives what each leaves to `next`.
fn at_every_moment(next: &dyn Fn(&Bench, bool)) {
    let bench = Bench::new();
    let begun = Instant::now();
    bench.ok("repo", ["create", "fix"]);
    let whole = begun.elapsed();
    bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    for n in 0..12 {
        let is_done = killed_after(&bench, whole * n / 11);
        // A git goes on without its parent for a moment.
        std::thread::sleep(Duration::from_millis(100));
        next(&bench, is_done);
        if bench.is_there("fix") {
            bench.ok("repo", ["remove", "fix", "--delete-branch"]);
        }
        assert_nothing(&bench);
    }
    bench.assert_sound();
}

#[test]
fn after_a_killed_create_the_next_one_of_the_name_makes_a_whole_worktree() {
    at_every_moment(&|bench, is_done| {
        if !is_done {
            let again = bench.depsfs("repo", ["create", "fix"]);
            // It was killed when all was made.
            assert!(again.code == 0 || again.err.contains("exists already"), "{again:?}");
        }
        assert_whole(bench);
    });
}

#[test]
fn after_a_killed_create_remove_leaves_nothing() {
    at_every_moment(&|bench, is_done| {
        let removed = bench.depsfs("repo", ["remove", "fix", "--delete-branch"]);
        assert!(removed.code == 0 || (!is_done && removed.err.contains("no worktree")), "{removed:?}");
        assert_nothing(bench);
    });
}

#[test]
fn after_a_killed_create_doctor_leaves_a_whole_worktree_or_none() {
    at_every_moment(&|bench, _| {
        bench.ok("repo", ["doctor", "--fix"]);
        if bench.is_there("fix") { assert_whole(bench) } else { assert_nothing(bench) }
    });
}

#[test]
fn what_somebody_has_worked_in_after_the_create_was_killed_is_not_taken_back() {
    let bench = Bench::new();
    let record = "repo/.git/depsfs/creating";
    for work in ["untracked", "committed", "changed", "built"] {
        bench.ok("repo", ["create", "fix"]);
        record_of_a_killed_create(&bench);
        match work {
            "untracked" => bench.write("fix/notes.txt", "mine\n"),
            "committed" => {
                bench.write("fix/notes.txt", "mine\n");
                bench.commit("fix", "work");
            }
            "changed" => bench.write("fix/README.md", "mine\n"),
            _ => bench.write("fix/build/mine.o", "mine\n"),
        }
        let said = bench.ok("repo", ["doctor"]);
        assert!(said.contains("was being created by process 4000000"), "{said}");
        bench.ok("repo", ["doctor", "--fix"]);
        assert!(!bench.is_there(record));
        let file = match work {
            "changed" => "fix/README.md",
            "built" => "fix/build/mine.o",
            _ => "fix/notes.txt",
        };
        assert_eq!(bench.read(file), "mine\n");
        bench.ok("repo", ["remove", "fix", "--discard-changes", "--discard-untracked"]);
        bench.git("repo", ["branch", "-D", "-q", "al/fix"]);
    }
}

#[test]
fn adopt_completes_what_a_killed_create_has_left() {
    let bench = Bench::new();
    let mut completed = 0;
    for delay in (5..60).step_by(5) {
        killed_after(&bench, Duration::from_millis(delay));
        std::thread::sleep(Duration::from_millis(100));
        if bench.is_there("fix/.git") && run(bench.command("git", "fix").args(["rev-parse", "HEAD"])).code == 0 {
            bench.ok("repo", ["adopt", "../fix"]);
            assert_whole(&bench);
            completed += 1;
        }
        let _ = bench.depsfs("repo", ["remove", "fix", "--delete-branch"]);
    }
    println!("{completed} were completed");
}

#[test]
fn adopt_makes_files_whole_that_were_being_written_and_leaves_changed_ones_alone() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    bench.ok("fix", ["unmount"]);
    record_of_a_killed_create(&bench);
    bench.write("fix/README.md", "wo");
    bench.write("fix/.gitignore", "");
    bench.write("fix/src/main.c", "mine\n");
    bench.ok("repo", ["adopt", "../fix"]);
    assert_eq!((bench.read("fix/README.md"), bench.read("fix/src/main.c")), ("words\n".into(), "mine\n".into()));
    assert_eq!(bench.git("fix", ["status", "--porcelain"]).trim(), "M src/main.c");
}

/// The record of a create that was killed, as the create writes it.
fn record_of_a_killed_create(bench: &Bench) -> std::path::PathBuf {
    let commit = bench.git("repo", ["rev-parse", "main"]);
    let id = blake3::hash(bench.path("fix").as_os_str().as_encoded_bytes()).to_hex()[..16].to_owned();
    let text = serde_json::json!({
        "version": 1, "worktree": bench.path("fix"), "branch": "al/fix", "makes_branch": true,
        "commit": commit, "store": bench.path("store"), "pid": 4_000_000, "started": 1
    });
    bench.write(&format!("repo/.git/depsfs/creating/{id}.json"), &text.to_string());
    bench.path(&format!("repo/.git/depsfs/creating/{id}.json"))
}

#[test]
fn a_git_that_outlives_the_killed_create_is_waited_for() {
    let bench = Bench::new();
    // A program of that name.
    let sleep = run(bench.command("sh", "").args(["-c", "command -v sleep"])).out;
    std::fs::copy(sleep.trim(), bench.path("git")).unwrap();
    for next in ["adopt", "remove"] {
        bench.ok("repo", ["create", "fix"]);
        bench.ok("fix", ["unmount"]);
        record_of_a_killed_create(&bench);
        let lock = bench.path("repo/.git/worktrees/fix/index.lock");
        std::fs::remove_file(bench.path("repo/.git/worktrees/fix/index")).unwrap();
        std::fs::write(&lock, "").unwrap();
        let mut git = bench.command(bench.path("git").to_str().unwrap(), "").arg("20").spawn().unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            std::fs::remove_file(&lock).unwrap();
        });
        match next {
            "adopt" => drop(bench.ok("repo", ["adopt", "../fix"])),
            _ => drop(bench.ok("repo", ["remove", "fix", "--delete-branch"])),
        }
        ends.join().unwrap();
        git.kill().unwrap();
        git.wait().unwrap();
        if next == "adopt" {
            assert_whole(&bench);
            bench.ok("repo", ["remove", "fix", "--delete-branch"]);
        }
        assert_nothing(&bench);
    }
}

#[test]
fn a_program_that_the_killed_create_was_starting_keeps_its_record_for_a_moment_only() {
    let bench = Bench::new();
    bench.ok("repo", ["create", "fix"]);
    let record = record_of_a_killed_create(&bench);
    let mut holder = bench.command("flock", "");
    let mut holder = holder.args(["--exclusive"]).arg(&record).args(["sleep", "0.5"]).spawn().unwrap();
    soon("the record is locked", || {
        run(bench.command("flock", "").args(["--nonblock"]).arg(&record).arg("true")).code != 0
    });
    bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    holder.wait().unwrap();
    assert_nothing(&bench);
}

#[test]
fn an_archive_is_imported_or_refused_whole_however_few_threads_there_are() {
    let Some(uid) = crate::bench::is_root().then(lonely).flatten() else {
        return println!("skipped: because only root becomes a user who has a name and runs nothing");
    };
    let bench = Bench::empty(Some(uid));
    for n in 0..300 {
        bench.write(&format!("dir/{n}"), &format!("{n}\n"));
    }
    let packed = run(bench.command("tar", "").args(["-czf", "dir.tar.gz", "dir"]));
    assert_eq!(packed.code, 0, "{packed:?}");
    let mut codes = Vec::new();
    for limit in 1..9 {
        let mut command = bench.command("prlimit", "");
        let said = run(command.args([&format!("--nproc={limit}"), PROGRAM, "store", "add", "dir.tar.gz"]));
        assert!(!said.err.contains("panicked"), "{limit}: {said:?}");
        assert!(said.code == 0 || said.err.contains("limit of processes"), "{limit}: {said:?}");
        codes.push(said.code);
        bench.assert_sound();
        let _ = std::fs::remove_dir_all(bench.path("store"));
    }
    assert!(codes.contains(&0) && codes.contains(&1), "{codes:?}");
}

/// A user with a name who runs nothing: limits count all of a user's processes.
fn lonely() -> Option<u32> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let uid = |name: &str| {
        let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        line.split(':').nth(2)?.parse().ok()
    };
    let busy = |uid: &u32| {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.filter_map(|p| p.metadata().ok()).any(|m| std::os::unix::fs::MetadataExt::uid(&m) == *uid)
    };
    ["games", "news", "uucp", "irc", "list", "backup"].iter().filter_map(|name| uid(name)).find(|uid| !busy(uid))
}

/// All or nothing: what it says it has made can be read, and else nothing is there.
#[track_caller]
fn assert_all_or_nothing(bench: &Bench, said: &Said, views: usize) {
    if said.code == 0 {
        for n in 0..views {
            let seen = run(bench.command("cat", "fix").arg(format!("p{n}/build/o")));
            assert_eq!(seen.out, format!("{n}\n"), "{said:?}");
        }
        bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    } else if said.err.contains("left behind") {
        // Nothing could be started to take it back: the next command does.
        bench.ok("repo", ["doctor", "--fix"]);
    }
    assert_nothing(bench);
}

#[test]
fn a_create_that_runs_out_of_its_users_threads_leaves_all_or_nothing() {
    let Some(uid) = crate::bench::is_root().then(lonely).flatten() else {
        return println!("skipped: only root becomes a user who has a name and runs nothing");
    };
    let bench = Bench::empty(Some(uid));
    bench.write("repo/.gitignore", "build/\n");
    bench.commit("repo", "one");
    for n in 0..12 {
        bench.write(&format!("repo/p{n}/build/o"), &format!("{n}\n"));
    }
    let mut codes = Vec::new();
    for limit in (2..13).chain([16, 24, 60, 200]) {
        let mut command = bench.command("prlimit", "repo");
        let said = run(command.args([&format!("--nproc={limit}"), PROGRAM, "create", "fix"]));
        codes.push(said.code);
        assert!(!said.err.contains("panicked"), "{limit}: {said:?}");
        assert_all_or_nothing(&bench, &said, 12);
    }
    assert!(codes.contains(&0) && codes.iter().any(|code| *code != 0), "{codes:?}");
}

#[test]
fn a_create_that_runs_out_of_a_groups_processes_leaves_all_or_nothing() {
    let group = format!("/sys/fs/cgroup/depsfs-test.{}", std::process::id());
    let group = if std::path::Path::new("/sys/fs/cgroup/pids").exists() {
        group.replace("/cgroup/", "/cgroup/pids/")
    } else {
        group
    };
    if !crate::bench::is_root()
        || std::fs::create_dir(&group).is_err()
        || std::fs::metadata(format!("{group}/pids.max")).is_err()
    {
        let _ = std::fs::remove_dir(&group);
        return println!("skipped: no group with a limit on processes can be made");
    }
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "build/\n");
    bench.commit("repo", "one");
    for n in 0..12 {
        bench.write(&format!("repo/p{n}/build/o"), &format!("{n}\n"));
    }
    for limit in [2, 4, 6, 8, 10, 14, 18, 24, 32, 60] {
        std::fs::write(format!("{group}/pids.max"), limit.to_string()).unwrap();
        let mut command = bench.command("sh", "repo");
        let script = "echo $$ >\"$1/cgroup.procs\"; exec \"$2\" create fix";
        let said = run(command.args(["-c", script, "-", &group, PROGRAM]));
        std::fs::write(format!("{group}/pids.max"), "max").unwrap();
        assert_all_or_nothing(&bench, &said, 12);
    }
    let until = Instant::now() + Duration::from_secs(10);
    while std::fs::remove_dir(&group).is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_cannot_be_mounted_is_refused_before_anything_is_made() {
    if !crate::bench::is_root() {
        return println!("skipped: only root makes this fault in a mount namespace");
    }
    let faults = [
        (None, "mount -t tmpfs none /dev; touch /dev/null", "/dev/fuse"),
        (Some(65534), "mount --bind /dev/null \"$(command -v fusermount3)\"", "fusermount3"),
        (
            Some(65534),
            "f=$(command -v fusermount3); cp \"$f\" plain; chmod 755 plain; mount --bind plain \"$f\"",
            "set-user-id",
        ),
    ];
    for (uid, fault, words) in faults {
        let bench = Bench::of_user(uid);
        let user = uid.map(|uid| format!("setpriv --reuid {uid} --regid {uid} --clear-groups")).unwrap_or_default();
        let script = format!("set -e; (cd \"$BENCH\"; {fault}); exec {user} \"$0\" create fix");
        let mut command = bench.command("unshare", "repo");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script, PROGRAM]).env("BENCH", bench.path(""));
        let said = run(command.uid(0).gid(0));
        assert!(said.code != 0 && said.err.contains(words) && said.err.contains("depsfs doctor"), "{said:?}");
        assert_nothing(&bench);
    }
}
