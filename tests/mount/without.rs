//! A kernel that lacks a feature: slower, and otherwise the same. `DEPSFS_WITHOUT` is for tests.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use depsfs::store::{Store, import};
use depsfs::sys::fs::{RenameFlags, next_data, rename_at};
use depsfs::sys::path::open_dir;

use crate::bench::{Bench, bench, signal, wait_until};

/// The words, one by one and all at once.
const WITHOUT: [&str; 15] = [
    "resend",
    "retained",
    "passthrough",
    "killpriv",
    "pidfd",
    "close_range",
    "statx",
    "openat2",
    "cached",
    "nowait",
    "dontcache",
    "clone",
    "copy_file_range",
    "tmpfile",
    "resend,passthrough,killpriv,pidfd,close_range,statx,openat2,cached,nowait,dontcache,clone,copy_file_range,tmpfile",
];

/// The outcomes of many changes in a view, with what is there at the end.
fn outcomes(bench: &Bench) -> Vec<String> {
    let view = bench.view("v");
    let mut seen = Vec::new();
    let at = |name: &str| view.join(name);
    let mut note = |what: &str, outcome: String| seen.push(format!("{what}: {outcome}"));
    note("read", fs::read_to_string(at("lib/b.js")).map(|text| text.len()).unwrap().to_string());
    // Copied up in part, a hole, and a file that is cut.
    let big = OpenOptions::new().write(true).open(at("big")).unwrap();
    big.write_all_at(b"x", 1 << 20).unwrap();
    big.write_all_at(b"end", 20 << 20).unwrap();
    big.set_len((20 << 20) + 1).unwrap();
    let bytes = fs::read(at("big")).unwrap();
    note("big", format!("{} {} {}", bytes.len(), bytes[(1 << 20) - 1], bytes[1 << 20]));
    note("data after the hole", format!("{:?}", next_data(&big, 19 << 20, bytes.len() as u64).unwrap().is_some()));
    // The set-user-id bit goes with a write, unless root writes.
    let mode = |name: &str| format!("{:o}", fs::metadata(at(name)).unwrap().mode());
    fs::set_permissions(at("lib/b.js"), fs::Permissions::from_mode(0o4755)).unwrap();
    OpenOptions::new().append(true).open(at("lib/b.js")).unwrap().write_all(b"x").unwrap();
    note("set-user-id", mode("lib/b.js"));
    fs::copy(at("a.txt"), at("copy")).unwrap();
    fs::hard_link(at("copy"), at("link of it")).unwrap();
    symlink("a.txt", at("symlink")).unwrap();
    let dir = open_dir(&view).unwrap();
    rename_at(&dir, b"a.txt", &dir, b"symlink", RenameFlags::EXCHANGE).unwrap();
    note("exchanged", format!("{:?}", fs::read_link(at("a.txt")).unwrap()));
    let refused = rename_at(&dir, b"copy", &dir, b"symlink", RenameFlags::NOREPLACE).unwrap_err();
    note("not replaced", format!("{:?}", refused.kind()));
    fs::create_dir(at("made")).unwrap();
    fs::rename(at("lib/deep"), at("made/deep")).unwrap();
    fs::remove_file(at("link")).unwrap();
    let mut log = OpenOptions::new().append(true).create(true).open(at("made/log")).unwrap();
    log.write_all(b"before ").unwrap();
    // A server that dies, one that takes over, and a mount anew.
    let server = bench.state().unwrap().server_pid.unwrap();
    signal(server, "-KILL");
    log.write_all(b"after").unwrap();
    wait_until("another server", || bench.state().is_some_and(|s| s.server_pid.is_some_and(|pid| pid != server)));
    drop((log, big, dir));
    bench.unmount();
    bench.mount();
    note("log", fs::read_to_string(at("made/log")).unwrap());
    note("links", fs::metadata(at("copy")).unwrap().nlink().to_string());
    walk(&view, &mut |path| {
        let stat = fs::symlink_metadata(path).unwrap();
        let name = path.strip_prefix(&view).unwrap().display();
        seen.push(format!("{name}: {:o} {}", stat.mode(), if stat.is_dir() { 0 } else { stat.len() }));
    });
    seen
}

fn walk(dir: &Path, see: &mut impl FnMut(&Path)) {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        see(&path);
        if path.is_dir() && !path.is_symlink() {
            walk(&path, see);
        }
    }
}

#[test]
fn without_a_feature_that_a_kernel_may_lack_a_view_does_what_it_does_with_it() {
    let with = {
        let bench = with_a_big_file(bench!("v"));
        bench.mount();
        outcomes(&bench)
    };
    assert!(with.iter().any(|line| line == "log: before after"), "{with:#?}");
    for words in WITHOUT {
        let mut bench = with_a_big_file(bench!("v"));
        bench.start_with(&format!("DEPSFS_WITHOUT={words}"));
        let keeper = bench.mount().pid;
        let environment = fs::read(format!("/proc/{keeper}/environ")).unwrap();
        let said = format!("DEPSFS_WITHOUT={words}\0");
        assert!(environment.windows(said.len()).any(|part| part == said.as_bytes()), "{words}");
        assert_eq!(outcomes(&bench), with, "without {words}\n{}", bench.log());
        bench.unmount();
    }
}

/// The views of the bench get a tree with a file that is larger than what is copied at once.
fn with_a_big_file(mut bench: Bench) -> Bench {
    let source = bench.dir.join("source");
    let big = File::create(source.join("big")).unwrap();
    big.write_all_at(&[7; 3 << 20], 0).unwrap();
    big.set_len(24 << 20).unwrap();
    let store = Store::existing(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench
}
