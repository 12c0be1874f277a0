//! Views that somebody still has open keep their trees, although worktree and manifest were deleted.

use std::fs::{self, File};
use std::io::Read;

use depsfs::store::{GcOptions, GcReport, Store, StoreError};
use depsfs::sys::fs::Timespec;

use crate::bench::{Bench, bench, signal, wait_until};

/// With no mercy for what is young.
fn gc(bench: &Bench) -> GcReport {
    let now = Timespec { sec: Timespec::now().sec + 100 * 86_400, nsec: 0 };
    let store = Store::open(&bench.manifest.store).unwrap();
    let mut report = Err(StoreError::Busy);
    // A child that another test's thread just starts holds this process's locks until it becomes another program.
    wait_until("nobody holds the store's lock", || {
        report = store.gc(&GcOptions { dry_run: false, keep_days: 30, now }, &());
        !matches!(report, Err(StoreError::Busy))
    });
    report.unwrap()
}

fn is_over(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn gc_leaves_a_view_alone_whose_worktree_and_git_directory_were_deleted_while_it_is_open() {
    let bench = bench!("a");
    let keeper = bench.mount().pid;
    let mut open = File::open(bench.view("a/lib/b.js")).unwrap();
    fs::remove_dir_all(bench.state_dir()).unwrap();
    assert_eq!((gc(&bench).trees, gc(&bench).live_roots), (0, 1));
    assert_eq!(fs::read_to_string(bench.view("a/a.txt")).unwrap(), "from the store\n");

    // As `rm -rf` does: the view goes with its last name, whoever has a file open goes on.
    let _ = fs::remove_dir_all(&bench.manifest.worktree);
    assert_eq!(bench.mounted(), Vec::<String>::new());
    assert_eq!((gc(&bench).trees, gc(&bench).objects), (0, 0));
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "b\n".repeat(5000));
    drop(open);
    wait_until("the daemon has ended", || is_over(keeper));
    let report = gc(&bench);
    assert_eq!((report.trees, report.dead_roots), (1, vec![bench.state_dir().join("manifest.json")]));
}

#[test]
fn a_server_that_died_and_a_view_that_was_taken_from_the_manifest_do_not_give_trees_away() {
    let mut bench = bench!("a");
    let state = bench.mount();
    let mut open = File::open(bench.view("a/lib/b.js")).unwrap();
    bench.manifest.views.clear();
    bench.manifest.generation += 1;
    bench.save();
    bench.try_mount().unwrap();
    assert_eq!(bench.mounted(), Vec::<String>::new());
    signal(state.server_pid.unwrap(), "-KILL");
    assert_eq!(gc(&bench).trees, 0);
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "b\n".repeat(5000));
    drop(open);
    // The server holds the lock that gc looks at a moment longer than the keeper.
    wait_until("the tree is nobody's", || gc(&bench).trees == 1);
}
