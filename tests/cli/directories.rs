//! Plain directories as the lower of a view, an upper elsewhere, and the helper that mount(8) runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::{Bench, PROGRAM, Said, json, metadata, run, soon};

const HELPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mount-helpers/mount.depsfs");

/// Two directories to show, an upper with one file of its own, and places for the rest.
fn bench() -> Bench {
    let bench = Bench::empty(None);
    bench.write("top/both", "of the top\n");
    bench.write("top/dir/a", "a\n");
    bench.write("low/both", "of the low\n");
    bench.write("low/dir/b", "b\n");
    bench.write("upper/own", "own\n");
    bench
}

const MOUNT: [&str; 9] = ["mount", "--at", "view", "--lower", "top", "--lower", "low", "--upper", "upper"];

#[test]
fn the_first_directory_is_on_top_and_what_is_written_is_in_the_upper_alone() {
    let bench = bench();
    let before = [metadata(&bench.path("top")), metadata(&bench.path("low"))];
    bench.ok("", MOUNT);
    assert_eq!(bench.read("view/both"), "of the top\n");
    assert_eq!((bench.read("view/dir/a"), bench.read("view/dir/b")), ("a\n".into(), "b\n".into()));
    assert_eq!(bench.read("view/own"), "own\n");
    bench.write("view/both", "changed\n");
    bench.write("view/new", "new\n");
    fs::remove_file(bench.path("view/dir/a")).unwrap();
    bench.ok("", ["unmount", "view"]);
    assert_eq!([metadata(&bench.path("top")), metadata(&bench.path("low"))], before);
    assert_eq!((bench.read("upper/both"), bench.read("upper/new")), ("changed\n".into(), "new\n".into()));
    assert_eq!(fs::read_dir(bench.path("view")).unwrap().count(), 0);

    bench.ok("", MOUNT);
    assert_eq!(bench.read("view/both"), "changed\n");
    assert!(!bench.is_there("view/dir/a") && bench.is_there("view/dir/b"));
    bench.ok("", ["unmount", "--at", "view"]);
    bench.assert_sound();
}

/// Kills both processes of the daemon that serves `view`, and waits until its mount is dead.
fn kill_daemon(bench: &Bench, state: &str) {
    let daemon: serde_json::Value = serde_json::from_str(&bench.read(&format!("{state}/daemon.json"))).unwrap();
    for which in ["pid", "server_pid"] {
        assert!(Command::new("kill").args(["-KILL", &daemon[which].to_string()]).status().unwrap().success());
    }
    // A name nobody has asked for: the kernel can't answer from what it has cached.
    let ask = || fs::metadata(bench.path("view").join(format!("absent {}", daemon["pid"])));
    soon("the mount is dead", || ask().is_err_and(|e| e.raw_os_error() == Some(libc::ENOTCONN)));
}

#[test]
fn a_view_is_mounted_where_one_of_before_is_dead() {
    let bench = bench();
    bench.ok("", MOUNT);
    bench.write("view/mine", "mine\n");
    kill_daemon(&bench, ".upper.depsfs");
    bench.ok("", MOUNT);
    assert_eq!((bench.read("view/mine"), bench.mounts().len()), ("mine\n".into(), 1));
    kill_daemon(&bench, ".upper.depsfs");
    // Also with another state, which knows nothing of that daemon.
    bench.ok("", ["mount", "--at", "view", "--lower", "top", "--upper", "fresh"]);
    assert_eq!((bench.is_there("view/mine"), bench.mounts().len()), (false, 1));
    bench.ok("", ["unmount", "view"]);
}

#[test]
fn upper_and_journal_are_moved_together_and_mounted_elsewhere() {
    let bench = bench();
    bench.ok("", MOUNT);
    fs::remove_file(bench.path("view/both")).unwrap();
    let elsewhere = ["mount", "--at", "other", "--lower", "top", "--lower", "low", "--upper", "upper"];
    assert_eq!(bench.depsfs("", elsewhere).code, 3);
    bench.ok("", ["unmount", "view"]);
    fs::create_dir(bench.path("moved")).unwrap();
    for name in ["upper", ".upper.depsfs"] {
        fs::rename(bench.path(name), bench.path("moved").join(name)).unwrap();
    }
    bench.ok("", ["mount", "--at", "other", "--lower", "top", "--lower", "low", "--upper", "moved/upper"]);
    assert!(bench.is_there("other/dir/a") && !bench.is_there("other/both"));
}

#[test]
fn an_upper_below_another_shows_with_what_was_deleted_and_moved_in_it() {
    let bench = bench();
    let first = ["mount", "--at", "view", "--lower", "low", "--upper", "upper"];
    let second = ["mount", "--at", "view", "--lower", "upper", "--lower", "low", "--upper", "second", "--workdir", "w"];
    let third = ["mount", "--at", "third", "--lower", "second", "--lower", "upper", "--lower", "low", "--upper", "3"];
    bench.ok("", first);
    fs::remove_file(bench.path("view/both")).unwrap();
    fs::rename(bench.path("view/dir"), bench.path("view/moved")).unwrap();
    fs::write(bench.path("view/moved/b"), "written\n").unwrap();
    bench.ok("", ["unmount", "view"]);
    let shows = |at: &str| {
        assert!(!bench.is_there(&format!("{at}/both")) && !bench.is_there(&format!("{at}/dir")));
        assert_eq!(bench.read(&format!("{at}/moved/b")), "written\n");
    };
    bench.ok("", second);
    shows("view");
    assert_eq!(bench.read("view/own"), "own\n");
    fs::remove_file(bench.path("view/own")).unwrap();
    // While it is mounted, too.
    bench.ok("", third);
    shows("third");
    assert!(!bench.is_there("third/own"));
    bench.ok("", ["unmount", "third"]);
    bench.ok("", ["unmount", "view"]);
    // As an upper it is what it was.
    bench.ok("", first);
    shows("view");
    assert_eq!(bench.read("view/own"), "own\n");
    bench.ok("", ["unmount", "view"]);
    bench.assert_sound();
}

#[test]
fn an_upper_that_several_show_at_once_shows_in_each_and_is_what_it_was() {
    let bench = bench();
    bench.ok("", ["mount", "--at", "view", "--lower", "low", "--upper", "upper"]);
    fs::remove_file(bench.path("view/both")).unwrap();
    bench.ok("", ["unmount", "view"]);
    let manifest = || {
        let mut manifest = json(&bench.read(".upper.depsfs/manifest.json"));
        manifest.as_object_mut().unwrap().remove("generation");
        manifest
    };
    let before = manifest();
    for round in 0..3 {
        let names: Vec<String> = (0..4).map(|n| format!("{round}-{n}")).collect();
        let start = |name: &String| {
            let mut command = bench.command(PROGRAM, "");
            command.args(["mount", "--at", name, "--lower", "upper", "--lower", "low", "--upper"]);
            command.arg(format!("own-{name}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let all: Vec<_> = names.iter().map(start).collect();
        for child in all {
            let said = child.wait_with_output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        for name in names {
            assert!(!bench.is_there(&format!("{name}/both")));
            assert_eq!(
                (bench.read(&format!("{name}/own")), bench.read(&format!("{name}/dir/b"))),
                ("own\n".into(), "b\n".into())
            );
            bench.ok("", ["unmount", &name]);
        }
        assert_eq!(manifest(), before);
    }
    assert_eq!(bench.mounts(), Vec::<String>::new());
}

#[test]
fn an_upper_whose_reader_died_is_read_by_the_next_one() {
    let bench = bench();
    bench.ok("", ["mount", "--at", "view", "--lower", "low", "--upper", "upper"]);
    fs::remove_file(bench.path("view/both")).unwrap();
    // Enough for the reader to be still there when its view is.
    (0..3000).for_each(|n| bench.write(&format!("view/many/{n}"), &format!("{n}\n")));
    bench.ok("", ["unmount", "view"]);
    let second = ["mount", "--at", "second", "--lower", "upper", "--lower", "low", "--upper", "own"];
    let mut reader = bench.command(PROGRAM, "");
    let mut reader = reader.args(second).stdin(Stdio::null()).spawn().unwrap();
    soon("it is shown", || bench.mounts().iter().any(|at| at.ends_with(".upper.depsfs/shown")));
    reader.kill().unwrap();
    reader.wait().unwrap();
    bench.ok("", second);
    assert!(!bench.is_there("second/both"));
    assert_eq!(fs::read_dir(bench.path("second/many")).unwrap().count(), 3000);
    assert_eq!(bench.mounts().len(), 1, "{:?}", bench.mounts());
    bench.ok("", ["mount", "--at", "view", "--lower", "low", "--upper", "upper"]);
    assert!(!bench.is_there("view/both"));
}

#[test]
fn a_view_with_an_upper_elsewhere_stays_when_all_in_it_is_deleted() {
    let bench = bench();
    bench.ok("", MOUNT);
    let script = "find . -mindepth 1 -delete && echo new > file";
    assert_eq!(run(bench.command("sh", "view").args(["-c", script])).code, 0);
    assert_eq!(bench.mounts().len(), 1);
    bench.ok("", ["unmount", "view"]);
    assert_eq!(bench.read("upper/file"), "new\n");
    assert_eq!(fs::read_dir(bench.path("upper")).unwrap().count(), 1);
}

/// A directory in another file system than the bench's; it is taken away at the end.
fn far() -> Option<tempfile::TempDir> {
    use std::os::unix::fs::MetadataExt;
    let far = tempfile::tempdir_in("/dev/shm").ok()?;
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    (device(far.path()) != device(&std::env::temp_dir())).then_some(far)
}

#[test]
fn an_upper_on_another_disk_than_its_journal_keeps_what_was_done_and_is_emptied_reset_and_mounted_anew() {
    let bench = bench();
    let Some(far) = far() else { return println!("skipped: /dev/shm is no file system of its own") };
    let work = far.path().join("work").into_os_string().into_string().unwrap();
    let mount = || bench.ok("", MOUNT.into_iter().chain(["--workdir", &work]));
    mount();
    bench.write("view/dir/a", "mine\n");
    fs::remove_file(bench.path("view/dir/b")).unwrap();
    let names = |at: &str| {
        let mut names: Vec<_> = fs::read_dir(bench.path(at)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("view"), ["both", "dir", "own"]);
    bench.ok("", ["unmount", "view"]);
    assert_eq!(names("upper"), [".depsfs.state", "dir", "own"]);
    mount();
    assert_eq!((bench.read("view/dir/a"), bench.is_there("view/dir/b")), ("mine\n".into(), false));
    bench.ok("", ["reset", "--yes", "view/dir"]);
    assert_eq!((bench.read("view/dir/a"), bench.read("view/dir/b")), ("a\n".into(), "b\n".into()));
    bench.write("view/more", "more\n");
    bench.ok("", ["reset", "--yes", "view"]);
    assert_eq!(names("view"), ["both", "dir"]);
    bench.ok("", ["unmount", "view"]);
}

#[test]
fn rm_rf_of_a_view_on_another_disk_than_its_journal_leaves_nothing() {
    let bench = bench();
    let Some(far) = far() else { return println!("skipped: /dev/shm is no file system of its own") };
    bench.ok("", ["store", "add", "--name", "entry", "top"]);
    let state = far.path().join("state");
    let depsfs = |args: &[&str]| run(bench.command(PROGRAM, "").args(args).env("XDG_STATE_HOME", &state));
    assert_eq!(depsfs(&["mount", "entry", "--at", "at"]).code, 0);
    bench.write("at/own", "own\n");
    assert_eq!(run(bench.command("sh", "").args(["-ec", "rm -rf at; mkdir at; echo new > at/file"])).code, 0);
    assert_eq!(fs::read_dir(bench.path("at")).unwrap().count(), 1);
    fs::remove_file(bench.path("at/file")).unwrap();
    assert_eq!(depsfs(&["mount", "entry", "--at", "at"]).code, 0);
    assert_eq!(bench.read("at/both"), "of the top\n");
    let thawed = depsfs(&["thaw", "at"]);
    assert_eq!((thawed.code, thawed.err.as_str()), (0, ""));
    assert!(bench.mounts().is_empty());
    assert_eq!(fs::read_dir(bench.path("at")).unwrap().count(), 2);
}

#[test]
fn what_lies_under_the_mount_is_refused_as_a_journal_and_stays_as_it_was_as_a_lower() {
    let bench = bench();
    let beneath = ["mount", "--at", "top", "--lower", "low", "--upper", "upper", "--workdir", "top/work"];
    assert_eq!(bench.depsfs("", beneath).code, 3);
    assert!(bench.mounts().is_empty());
    let over_itself = ["mount", "--at", "top", "--lower", "top", "--lower", "low", "--upper", "upper"];
    for _ in 0..2 {
        bench.ok("", over_itself);
        assert_eq!((bench.read("top/both"), bench.read("top/dir/b")), ("of the top\n".into(), "b\n".into()));
        bench.write("top/both", "changed\n");
        bench.ok("", over_itself);
        bench.ok("", ["unmount", "--at", "top"]);
        assert_eq!(bench.read("top/both"), "of the top\n");
        fs::remove_file(bench.path("upper/both")).unwrap();
        bench.ok("", ["mount", "--at", "top", "--lower", "low", "--upper", "fresh"]);
        bench.ok("", ["unmount", "--at", "top"]);
        for name in ["upper", "fresh", ".upper.depsfs", ".fresh.depsfs"] {
            fs::remove_dir_all(bench.path(name)).unwrap();
        }
    }
}

/// The names in a directory and below it.
fn names(bench: &Bench, at: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut todo = vec![bench.path(at)];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            names.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    let store = bench.path("store").display().to_string();
    names.retain(|name| !name.starts_with(&store));
    names.sort();
    names
}

#[test]
fn a_mount_that_is_refused_leaves_nothing_and_upper_workdir_and_lowers_do_not_lie_in_each_other() {
    let bench = bench();
    bench.write("mine/own", "own\n");
    let before = names(&bench, "");
    let tell = |left: &Vec<String>| left.iter().filter(|n| !before.contains(n)).cloned().collect::<Vec<_>>();
    for (upper, workdir) in [
        ("upper", "upper/work"),
        ("work/upper", "work"),
        ("work", "work"),
        ("low/upper", "work"),
        ("upper", "low/work"),
        ("new/upper", "new"),
    ] {
        let args = ["mount", "--at", "new/view", "--lower", "low", "--upper", upper, "--workdir", workdir];
        let said = bench.depsfs("", args);
        assert_eq!(said.code, 3, "{upper} {workdir}: {}", said.err);
        let options = format!("store={},lowerdir=", bench.path("store").display());
        let options = format!("{options}{},upperdir=", bench.path("low").display());
        let options = format!("{options}{},workdir={}", bench.path(upper).display(), bench.path(workdir).display());
        assert_eq!(helper(&bench, "none", &bench.path("new/view"), &options).code, 32, "{upper} {workdir}");
        assert_eq!(names(&bench, ""), before, "{upper} {workdir} left {:?}", tell(&names(&bench, "")));
    }
    // Another view has the upper.
    bench.ok("", MOUNT);
    let busy = ["mount", "--at", "other", "--lower", "low", "--upper", "upper", "--workdir", "work"];
    assert_ne!(bench.depsfs("", busy).code, 0);
    assert!(!bench.is_there("other") && !bench.is_there("work"));
    bench.ok("", ["mount", "--at", "other", "--lower", "low", "--upper", "mine", "--workdir", "work"]);
    bench.ok("", ["unmount", "--at", "other"]);
    bench.ok("", ["unmount", "--at", "view"]);
    bench.assert_sound();
}

#[test]
fn a_damaged_journal_is_told_until_its_copy_is_deleted() {
    let bench = bench();
    bench.ok("", MOUNT);
    fs::remove_file(bench.path("view/dir/a")).unwrap();
    bench.ok("", ["unmount", "view"]);
    let journal = bench.path(".upper.depsfs/views/0000000000000001/journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[30..60].fill(0xa5);
    fs::write(&journal, bytes).unwrap();
    bench.ok("", MOUNT);
    let copy = ".upper.depsfs/views/0000000000000001/journal.damaged";
    for _ in 0..2 {
        assert!(bench.status("", &["view"]).contains("journal.damaged until you delete it"));
        assert!(bench.depsfs("", ["doctor"]).out.contains("[warn]  journals: the journal of "));
        let status = json(&bench.status("", &["view", "--json"]));
        assert_eq!(status["views"][0]["damaged_journals"][0], bench.path(copy).display().to_string());
        bench.ok("", ["unmount", "view"]);
        bench.ok("", MOUNT);
    }
    fs::remove_file(bench.path(copy)).unwrap();
    assert!(!bench.status("", &["view"]).contains("journal:"));
    assert!(bench.depsfs("", ["doctor"]).out.contains("[ok]    journals: none was damaged"));
    bench.ok("", ["unmount", "view"]);
}

/// The helper as mount(8) runs it: no PATH, no HOME.
fn helper(bench: &Bench, source: &str, target: &Path, options: &str) -> Said {
    let mut command = Command::new(HELPER);
    let store = bench.path("store");
    command.env_clear().env("DEPSFS", PROGRAM).arg(source).arg(target);
    run(command.args(["-o", &format!("rw,{options},store={}", store.display())]))
}

#[test]
fn the_helper_mounts_with_nothing_in_its_environment_and_plain_umount_ends_the_daemon() {
    let bench = bench();
    let (view, at) = (bench.path("view"), |name: &str| bench.path(name).display().to_string());
    fs::create_dir(&view).unwrap();
    let (lower, upper, work) = (format!("{}:{}", at("top"), at("low")), at("upper"), at("work"));
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work},fsname=mine,index=on,_netdev,user");
    let said = helper(&bench, "whatever", &view, &options);
    assert_eq!(said.code, 0, "{said:?}");
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|l| l.contains(view.to_str().unwrap())).unwrap();
    assert!(line.starts_with("mine ") && line.contains(" fuse.depsfs rw,nosuid,nodev,"), "{line}");
    bench.write("view/both", "changed\n");
    assert_eq!(run(Command::new("umount").arg(&view)).code, 0);
    assert_eq!(bench.read("upper/both"), "changed\n");
    soon("the daemon has ended", || !bench.is_there("work/depsfs/daemon.json"));

    let said = helper(&bench, "whatever", &view, &format!("{},ro", options.replace(",fsname=mine", "")));
    assert_eq!(said.code, 0, "{said:?}");
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(table.lines().any(|l| l.starts_with("whatever ") && l.contains(view.to_str().unwrap())), "{table}");
    assert_eq!(bench.read("view/both"), "changed\n");
    assert_eq!(fs::write(view.join("new"), "").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(run(Command::new("umount").arg(&view)).code, 0);

    let said = helper(&bench, "whatever", &view, "lowerdir=/,no_such_option");
    assert!(said.code == 32 && said.err.contains("no_such_option"), "{said:?}");
    assert!(bench.mounts().is_empty());
}

#[test]
fn the_helper_of_umount_returns_when_the_daemon_has_ended_and_refuses_as_umount_does() {
    use depsfs::sys::proc;
    if depsfs::sys::process::user() != 0 {
        return println!("skipped: because only root unmounts without fusermount3");
    }
    let bench = bench();
    let view = bench.path("view");
    fs::create_dir(&view).unwrap();
    let at = |name: &str| bench.path(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", at("low"), at("upper"), at("work"));
    let umount = |args: &[&str]| {
        let mut command = Command::new(format!("{}/mount-helpers/umount.fuse.depsfs", env!("CARGO_MANIFEST_DIR")));
        run(command.env_clear().env("DEPSFS", PROGRAM).arg(&view).args(args))
    };
    for n in 0..10 {
        assert_eq!(helper(&bench, "none", &view, &options).code, 0);
        let state = crate::bench::json(&bench.read("work/depsfs/daemon.json"));
        let lives = |of: &str| {
            let pid = state[of].as_i64().unwrap() as i32;
            proc::glance(pid).is_some() && !proc::is_dead(pid)
        };
        if n == 0 {
            let user = fs::File::open(view.join("both")).unwrap();
            let refused = umount(&[]);
            assert!(refused.code == 32 && refused.err.contains("busy") && lives("pid"), "{refused:?}");
            drop(user);
        }
        let said = umount(&["-r", "-t", "fuse.depsfs"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!lives("pid") && !lives("server_pid"), "it still lives at round {n}");
    }
    assert!(bench.mounts().is_empty());
}

#[test]
fn a_remount_makes_a_view_read_only_and_writable_again() {
    if depsfs::sys::process::user() != 0 {
        return eprintln!("skipped: only root remounts");
    }
    let bench = bench();
    let view = bench.path("view");
    fs::create_dir(&view).unwrap();
    let at = |name: &str| bench.path(name).display().to_string();
    let options = format!("lowerdir={},upperdir={}", at("low"), at("upper"));
    assert_eq!(helper(&bench, "none", &view, &options).code, 0);
    let remount = |how: &str| {
        let said = helper(&bench, "none", &view, &format!("{how},relatime,user_id=0,group_id=0,remount"));
        assert_eq!(said.code, 0, "{said:?}");
    };
    remount("ro,noexec");
    assert_eq!(fs::write(view.join("new"), "").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|l| l.contains(view.to_str().unwrap())).unwrap();
    assert!(line.contains(" fuse.depsfs ro,nosuid,nodev,noexec,relatime"), "{line}");
    remount("rw,exec");
    fs::write(view.join("new"), "new").unwrap();
    assert_eq!(bench.read("upper/new"), "new");
}

#[test]
fn the_helper_mounts_entries_and_worktrees_by_their_source() {
    let bench = Bench::new();
    bench.write("one/x", "one\n");
    bench.write("two/x", "two\n");
    bench.ok("", ["store", "add", "one"]);
    bench.ok("", ["store", "add", "two"]);
    let mut command = bench.command(HELPER, "");
    command.env("DEPSFS", PROGRAM).args(["one,two", "view", "-o", "rw,noexec"]);
    let said = run(&mut command);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(bench.read("view/x"), "two\n");
    bench.ok("repo", ["create", "fix", "--no-mount"]);
    let fix = bench.path("fix");
    let said = run(bench.command(HELPER, "").env("DEPSFS", PROGRAM).arg(&fix).arg(&fix).args(["-o", "rw,noauto"]));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(bench.mounts().len(), 1 + bench.mounts_of(2));
    assert_eq!(bench.read("fix/build/lib.a"), "library\n");
}

#[test]
fn another_lower_shows_in_a_mounted_view_without_unmounting_it() {
    let bench = bench();
    bench.ok("", MOUNT);
    assert!(!bench.is_there("view/dir/c"));
    let open = fs::File::open(bench.path("view/both")).unwrap();
    bench.write("view/mine", "mine\n");
    bench.write("low/dir/c", "c\n");
    fs::remove_dir_all(bench.path("top")).unwrap();
    bench.ok("", ["mount", "--at", "view", "--lower", "low", "--upper", "upper"]);
    assert_eq!((bench.read("view/both"), bench.read("view/dir/c")), ("of the low\n".into(), "c\n".into()));
    assert!(!bench.is_there("view/dir/a"));
    assert_eq!(bench.read("view/mine"), "mine\n");
    assert_eq!(std::io::read_to_string(open).unwrap(), "of the top\n");
    bench.ok("", ["unmount", "view"]);
    bench.ok("", ["mount", "--at", "view", "--lower", "low", "--upper", "upper"]);
    assert_eq!(bench.read("view/both"), "of the low\n");
}
