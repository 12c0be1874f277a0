//! Random operations on a mounted view, of a directory or of a whole worktree, and on a plain directory: the same
//! results, the same in the end, and the same after a remount and under another server. A failing sequence is shrunk and
//! printed.

use proptest::prelude::*;

use crate::bench::Bench;
use crate::model::ops::{Op, any_op, config};
use crate::model::{fixture, plain};

proptest! {
    #![proptest_config(config(cases(), 200))]

    #[test]
    fn any_sequence_on_a_mounted_view_leaves_what_a_plain_directory_has(
        ops in prop::collection::vec(any_op(), 20..120),
        layers in 1usize..4,
        is_of_worktree in any::<bool>(),
    ) {
        if let Some(why) = crate::bench::cannot_mount() {
            eprintln!("skipped: {why}");
            return Ok(());
        }
        run(layers, is_of_worktree, &ops);
    }
}

/// How many sequences to try: `DEPSFS_TWIN_CASES`, else what half a minute affords in CI.
fn cases() -> u32 {
    std::env::var("DEPSFS_TWIN_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

fn run(layers: usize, is_of_worktree: bool, ops: &[Op]) {
    let mut bench = Bench::new(&["build"]);
    let graft = bench.manifest.views[0].grafts[0].clone();
    let store = depsfs::store::Store::open(&bench.manifest.store).expect("a store");
    let of_tree = |tree: &std::sync::Arc<depsfs::store::Tree>| depsfs::store::manifest::Graft {
        tree: tree.id(),
        ..graft.clone()
    };
    bench.manifest.views[0].grafts = fixture::lower(&store, layers).iter().map(of_tree).collect();
    if is_of_worktree {
        bench.mount_the_worktree();
    }
    bench.save();
    bench.mount();
    let twin = bench.dir.join("plain");
    std::fs::create_dir(&twin).expect("a directory");
    fixture::plain(&twin, layers);
    let view = bench.view("build");
    let guard = view.join("never-empty");
    // A view whose last name goes is detached, as its directory would be removed: not what is compared here.
    for root in [&view, &twin] {
        std::fs::write(root.join("never-empty"), "").expect("written");
    }
    for (step, op) in ops.iter().enumerate() {
        let before = format!("step {step} {op:?}");
        match op {
            Op::Remount => {
                bench.unmount();
                bench.mount();
            }
            Op::Thaw(_) => continue,
            _ if op.places().iter().any(|p| plain::crosses_a_link(&twin, p)) => continue,
            _ => {
                let result = |root| plain::apply(root, op).map_err(|e| e.raw_os_error());
                assert_eq!(result(&view), result(&twin), "{before} (view, plain)");
            }
        }
    }
    assert!(guard.exists());
    same(&view, &twin, "in the end");
    bench.unmount();
    bench.mount();
    same(&view, &twin, "after a remount");
}

fn same(view: &std::path::Path, twin: &std::path::Path, when: &str) {
    let (view, twin) = (plain::dump(view), plain::dump(twin));
    for path in view.keys().chain(twin.keys()) {
        assert_eq!(view.get(path), twin.get(path), "{path:?} (view, plain) {when}");
    }
}
