//! Mounting, unmounting, and what a view is in between.

use std::fs;
use std::time::Instant;

use crate::bench::bench;

#[test]
fn a_mounted_view_shows_the_store_keeps_writes_and_shows_them_again_after_a_remount() {
    let bench = bench!("node_modules");
    let view = bench.view("node_modules");
    bench.mount();
    assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "from the store\n");
    assert_eq!(fs::read_link(view.join("link")).unwrap().to_str(), Some("lib/b.js"));
    fs::write(view.join("a.txt"), "mine\n").unwrap();
    fs::write(view.join("lib/new"), "new\n").unwrap();
    fs::remove_file(view.join("link")).unwrap();
    bench.unmount();
    assert_eq!(bench.mounted(), Vec::<String>::new());
    assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "mine\n");
    assert!(!view.join("lib/b.js").exists());
    bench.mount();
    assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(view.join("lib/new")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(view.join("lib/b.js")).unwrap(), "b\n".repeat(5000));
    assert!(fs::symlink_metadata(view.join("link")).is_err());
}

#[test]
fn mounting_and_unmounting_again_changes_nothing() {
    let bench = bench!("a", "b/c", "d");
    let first = Instant::now();
    let state = bench.mount();
    eprintln!("mount of three views: {:?}", first.elapsed());
    let again = Instant::now();
    assert_eq!(bench.mount(), state);
    eprintln!("again: {:?}", again.elapsed());
    assert_eq!(bench.mounted(), ["a", "b/c", "d"]);
    let down = Instant::now();
    bench.unmount();
    eprintln!("unmount: {:?}", down.elapsed());
    bench.unmount();
    assert_eq!(bench.mounted(), Vec::<String>::new());
    assert_eq!(bench.state(), None);
    bench.mount();
    assert_eq!(bench.mounted(), ["a", "b/c", "d"]);
}
