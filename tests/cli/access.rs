//! Access of other users to a view: nobody, or with `--allow-other` everybody whom the permissions let.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::bench::{Bench, Said, run};

const STRANGER: u32 = 65534;

/// A bench that others can reach; `None` where nobody can become somebody else.
fn bench() -> Option<Bench> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: only root can look as another user");
        return None;
    }
    let bench = Bench::new();
    fs::set_permissions(bench.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    Some(bench)
}

/// A script as another user, in a directory of the bench.
fn stranger(bench: &Bench, script: &str) -> Said {
    run(Command::new("sh").args(["-c", script]).current_dir(bench.path("")).uid(STRANGER).gid(STRANGER))
}

fn refused(said: &Said) -> bool {
    said.code != 0 && said.err.contains("Permission denied")
}

#[test]
fn another_user_gets_eacces_until_allow_other_is_given_and_then_what_the_permissions_let() {
    let Some(bench) = bench().map(Bench::with_mounts_of_directories) else { return };
    let secret = bench.path("repo/build/out.o");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
    bench.ok("repo", ["create", "fix"]);
    assert!(refused(&stranger(&bench, "cat fix/build/lib.a")));
    assert!(refused(&stranger(&bench, "ls fix/build")));

    bench.ok("fix", ["mount", "--allow-other"]);
    assert_eq!(stranger(&bench, "cat fix/build/lib.a").out, "library\n");
    assert!(refused(&stranger(&bench, "cat fix/build/out.o")));
    assert!(refused(&stranger(&bench, "echo x > fix/build/lib.a")));
    assert!(refused(&stranger(&bench, "echo x > fix/build/new")));
    assert!(stranger(&bench, "getfattr -n user.depsfs.view fix/build").out.is_empty());

    bench.ok("fix", ["unmount"]);
    bench.ok("fix", ["mount"]);
    assert_eq!(stranger(&bench, "cat fix/build/lib.a").out, "library\n");
    bench.ok("fix", ["mount", "--allow-other=false"]);
    assert!(refused(&stranger(&bench, "cat fix/build/lib.a")));
}

#[test]
fn a_view_in_use_is_not_mounted_anew_for_others() {
    let Some(bench) = bench() else { return };
    bench.ok("repo", ["create", "fix", "--allow-other"]);
    let open = fs::File::open(bench.path("fix/build/lib.a")).unwrap();
    let refusal = bench.depsfs("fix", ["mount", "--allow-other=false"]);
    assert_eq!(refusal.code, 3, "{refusal:?}");
    assert_eq!(bench.mounts().len(), bench.mounts_of(2));
    bench.ok("fix", ["mount"]);
    assert_eq!(stranger(&bench, "cat fix/build/lib.a").out, "library\n");
    drop(open);
    bench.ok("fix", ["mount", "--allow-other=false"]);
    assert!(refused(&stranger(&bench, "cat fix/build/lib.a")));
}

#[test]
fn what_is_mounted_with_options_has_those_of_its_command_line_and_none_from_before() {
    let Some(bench) = bench().map(Bench::with_mounts_of_directories) else { return };
    bench.write("low/a", "hi\n");
    let options = |at: &str| {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line =
            table.lines().find(|l| l.contains(bench.path(at).to_str().unwrap())).expect("it is mounted").to_owned();
        [" ro,", ",noexec", "allow_other", "mine"].map(|word| line.contains(word))
    };
    let mount = |more: &str| {
        let list = format!("rw,lowerdir={},upperdir={},workdir={}{more}", "low", "up", "work");
        bench.ok("", ["mount", "--at", "view", "-o", &list]);
        let seen = options("view");
        bench.ok("", ["unmount", "--at", "view"]);
        seen
    };
    for _ in 0..2 {
        assert_eq!(mount(",ro,noexec,allow_other,fsname=mine"), [true; 4]);
        assert_eq!(mount(""), [false; 4]);
    }
    bench.ok("repo", ["create", "fix", "--allow-other"]);
    let fix = bench.path("fix").display().to_string();
    bench.ok("", ["mount", &fix, "--at", &fix, "-o", "ro,noexec,allow_other,fsname=mine"]);
    assert_eq!(options("fix/build"), [true; 4]);
    bench.ok("", ["unmount", "fix"]);
    bench.ok("fix", ["mount"]);
    assert_eq!(options("fix/build"), [true; 4], "without options they are what they were");
    bench.ok("", ["mount", &fix, "--at", &fix, "-o", "rw"]);
    assert_eq!(options("fix/build"), [false; 4]);
    let said = bench.depsfs("fix", ["mount", "-o", "lowerdir=/x"]);
    assert!(said.code == 2 && said.err.contains("belong to a directory"), "{said:?}");
}
