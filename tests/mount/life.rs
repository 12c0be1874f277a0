//! Mounting, unmounting, and what a view is in between.

use std::fs;
use std::time::{Duration, Instant};

use depsfs::store::ObjectId;
use depsfs::sys::fs::{self as calls, Timespec};
use depsfs::sys::proc::glance;
use serde_json::Value;

use crate::bench::{bench, wait_until};

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

#[test]
fn a_view_answers_for_itself_through_attributes_that_are_not_listed() {
    let bench = bench!("v");
    let view = bench.view("v");
    bench.mount();
    let ask = |path: &str, name: &str| {
        calls::xattr_of_path(&view.join(path), format!("user.depsfs.{name}").as_bytes())
            .map(|v| String::from_utf8(v).unwrap())
            .map_err(|e| e.raw_os_error().unwrap())
    };
    let about = |field: &str| serde_json::from_str::<Value>(&ask("", "view").unwrap()).unwrap()[field].clone();
    assert_eq!((about("clean"), about("mode")), (true.into(), "zero-message".into()));
    assert_eq!(ask("a.txt", "object"), Ok(ObjectId::of(b"from the store\n").hex()));
    assert_eq!(ask("", "changes.0"), Ok(String::new()));
    fs::write(view.join("a.txt"), "mine\n").unwrap();
    fs::write(view.join("100%"), "new\n").unwrap();
    assert_eq!(about("clean"), false);
    assert_eq!(ask("a.txt", "object"), Err(61));
    let lines = ask("", "changes.0").unwrap();
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut kinds: Vec<_> = lines.iter().map(|l| (l["name"].as_str().unwrap(), l["kind"].as_str().unwrap())).collect();
    kinds.sort();
    assert_eq!(kinds, [("100%25", "added"), ("a.txt", "modified")]);
    let last = lines.last().unwrap()["cookie"].as_u64().unwrap();
    assert_eq!(ask("", &format!("changes.{last}")), Ok(String::new()));
    let root = fs::File::open(&view).unwrap();
    assert_eq!(calls::xattr_names(&root).unwrap(), Vec::<Vec<u8>>::new());
    assert!(calls::remove_xattr(&root, b"user.depsfs.view").is_err());
}

#[test]
fn a_name_that_is_reset_shows_the_stores_content_although_the_kernel_had_cached_another() {
    let bench = bench!("v");
    let view = bench.view("v");
    bench.mount();
    fs::write(view.join("a.txt"), "mine\n").unwrap();
    fs::remove_dir_all(view.join("lib")).unwrap();
    assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "mine\n");
    for name in ["a.txt", "lib"] {
        calls::set_xattr_of_path(&view, b"user.depsfs.reset", name.as_bytes()).unwrap();
    }
    wait_until("the kernel was told", || {
        let about = calls::xattr_of_path(&view, b"user.depsfs.view").unwrap();
        serde_json::from_slice::<Value>(&about).unwrap()["pending"] == 0
    });
    assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "from the store\n");
    assert_eq!(fs::read_to_string(view.join("lib/b.js")).unwrap(), "b\n".repeat(5000));
    calls::set_xattr_of_path(&view.join("lib/b.js"), b"user.depsfs.thaw", b"1").unwrap();
    bench.unmount();
    assert_eq!(fs::read_to_string(view.join("lib/b.js")).unwrap(), "b\n".repeat(5000));
}

#[test]
fn times_at_the_ends_of_their_range_are_taken_and_the_server_goes_on() {
    let bench = bench!("v");
    let view = bench.view("v");
    let server = bench.mount().server_pid;
    fs::write(view.join("own"), "").unwrap();
    for sec in [i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX] {
        for name in ["a.txt", "lib", "own"] {
            let time = calls::SetTime::At(Timespec { sec, nsec: 999_999_999 });
            let file = fs::File::open(view.join(name)).unwrap();
            calls::utimens(&file, time, time).unwrap_or_else(|e| panic!("{name} {sec}: {e}"));
            fs::metadata(view.join(name)).unwrap();
        }
        assert_eq!(bench.state().unwrap().server_pid, server, "{sec}: {}", bench.log());
    }
    bench.unmount();
    bench.mount();
    assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "from the store\n");
}

// It looks out for the next request only for a moment (`fuse/busy_poll.rs`).
#[test]
fn a_server_that_is_asked_nothing_uses_no_processor() {
    let bench = bench!("v");
    let state = bench.mount();
    let pid = state.server_pid.expect("it serves");
    let used = || glance(pid).expect("it runs").cpu;
    for i in 0..2000 {
        let _ = fs::metadata(bench.view("v").join(format!("none {i}")));
    }
    std::thread::sleep(Duration::from_millis(100));
    // No state is waited for: the span over which the processor time is measured.
    let before = used();
    std::thread::sleep(Duration::from_secs(1));
    assert!(used() - before <= 5, "of a hundred ticks");
}
