//! Who else may look into a view: nobody, or with `--allow-other` everybody whom the permissions let.

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
    let Some(bench) = bench() else { return };
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
    assert_eq!(bench.mounts().len(), 2);
    bench.ok("fix", ["mount"]);
    assert_eq!(stranger(&bench, "cat fix/build/lib.a").out, "library\n");
    drop(open);
    bench.ok("fix", ["mount", "--allow-other=false"]);
    assert!(refused(&stranger(&bench, "cat fix/build/lib.a")));
}
