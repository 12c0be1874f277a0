//! Names with equal cookies, of which anybody can make any number, as programs meet them through the kernel.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

use depsfs::store::import::{import_dir, import_dir_watching};
use depsfs::store::{Cookie, Store};
use depsfs::views::changed_source::Changed;
use rustix::fs::{SeekFrom, seek};

use crate::bench::{Bench, signal, wait_until};

/// Different names with one cookie: two accumulators of XXH3 are multiplied by zero.
fn names(count: usize) -> BTreeSet<OsString> {
    let names = (1u32..).map(|k| {
        let (a, b, filler) = ((0x4141_4141 + k).to_le_bytes(), (0xC1C1_C1C1 - k).to_le_bytes(), [b'a'; 56]);
        let (zero, other) = ([0xb8, 0xfe, 0x6c, 0x39], [0x7c, 0x01, 0x81, 0x2c]);
        [&zero[..], &a, &filler, &other, &b, &filler, &[b'z'; 127]].concat()
    });
    let fit = names.filter(|name| !name.iter().any(|b| matches!(b, 0 | b'/')));
    let names: BTreeSet<OsString> = fit.take(count).map(OsString::from_vec).collect();
    let cookies: BTreeSet<u64> = names.iter().map(|name| Cookie::of(name.as_bytes()).0).collect();
    assert_eq!((names.len(), cookies.len()), (count, 1));
    names
}

fn make(dir: &Path, names: &BTreeSet<OsString>) {
    fs::create_dir_all(dir).unwrap();
    names.iter().for_each(|name| fs::write(dir.join(name), "x").unwrap());
}

fn listed(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    names
}

/// The names that one call of `getdents64(2)` with a buffer of this size gives, each with the position after it.
fn some(dir: &impl AsFd, room: usize) -> Vec<(OsString, u64)> {
    let mut buf = vec![std::mem::MaybeUninit::uninit(); room];
    let mut raw = rustix::fs::RawDir::new(dir, &mut buf);
    let mut names = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry.unwrap();
        names.push((OsStr::from_bytes(entry.file_name().to_bytes()).to_owned(), entry.next_entry_cookie()));
        if raw.is_buffer_empty() {
            break;
        }
    }
    names
}

/// A view whose lower has the first half of the names in `low`; those of the second are in its upper.
fn bench_with(all: &BTreeSet<OsString>) -> Option<Bench> {
    if let Some(why) = crate::bench::cannot_mount() {
        eprintln!("skipped: {why}");
        return None;
    }
    let mut bench = Bench::new(&["v"]);
    let source = bench.dir.join("equal");
    let half = all.iter().take(all.len() / 2).cloned().collect();
    make(&source.join("low"), &half);
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench.mount();
    let rest = all.difference(&half).cloned().collect();
    make(&bench.view("v/low"), &rest);
    Some(bench)
}

fn kill_server(bench: &Bench) {
    let server = bench.state().and_then(|s| s.server_pid).expect("it lives");
    signal(server, "-KILL");
    wait_until("another server is there", || bench.state().and_then(|s| s.server_pid).is_some_and(|pid| pid != server));
}

#[test]
fn programs_list_any_number_of_names_with_equal_cookies_with_any_buffer() {
    let all = names(1000);
    let Some(bench) = bench_with(&all) else { return };
    let low = bench.view("v/low");
    let expected: Vec<OsString> = all.iter().cloned().collect();
    assert_eq!(listed(&low), expected);
    for room in [300, 1024, 32 << 10] {
        let dir = fs::File::open(&low).unwrap();
        let (mut names, mut positions) = (Vec::new(), Vec::new());
        loop {
            let some = some(&dir, room);
            if some.is_empty() {
                break;
            }
            for (name, at) in some {
                positions.push(at);
                names.push(name);
            }
        }
        // Back to any of them (seekdir(3)).
        for n in [0, 1, 2, 3, 500, 1000] {
            seek(&dir, SeekFrom::Start(positions[n])).unwrap();
            assert_eq!(some(&dir, room)[0].0, names[n + 1], "room for {room}, after {n}");
        }
        names.retain(|name| name != "." && name != "..");
        names.sort();
        assert_eq!(names, expected, "room for {room}");
    }
    let found = Command::new("find").arg(&low).args(["-type", "f", "-printf", "x"]).output().unwrap();
    assert_eq!(found.stdout.len(), all.len());
}

#[test]
fn a_directory_of_names_with_equal_cookies_is_deleted_whole_also_by_several_servers() {
    let all = names(1000);
    let Some(bench) = bench_with(&all) else { return };
    let low = bench.view("v/low");
    let dir = fs::File::open(&low).unwrap();
    let (mut gone, mut round) = (BTreeSet::new(), 0);
    loop {
        let some = some(&dir, 8 << 10);
        if some.is_empty() {
            break;
        }
        for (name, _) in some.into_iter().filter(|(name, _)| name != "." && name != "..") {
            fs::remove_file(low.join(&name)).unwrap();
            assert!(gone.insert(name));
        }
        round += 1;
        if round % 7 == 0 {
            kill_server(&bench);
        }
    }
    assert_eq!(gone, all);
    drop(dir);
    fs::remove_dir(&low).unwrap();
    make(&low, &all);
    let removed = Command::new("rm").arg("-rf").arg(&low).output().unwrap();
    assert!(removed.status.success() && !low.exists(), "{removed:?}");
}

#[test]
fn names_with_equal_cookies_are_imported_whole_also_by_what_was_changed() {
    let all = names(600);
    let Some(bench) = bench_with(&all) else { return };
    let view = bench.view("v");
    all.iter().take(10).for_each(|name| fs::remove_file(view.join("low").join(name)).unwrap());
    let store = Store::open(&bench.manifest.store).unwrap();
    let whole = import_dir_watching(&store, &view, Path::new("/nowhere"), &()).unwrap();
    assert_eq!(whole.stats.files, 590);
    let changed = Changed::of(&store, &view).unwrap().import(&store, &view, Path::new("/nowhere"), &()).unwrap();
    assert_eq!(changed.map(|i| i.tree), Some(whole.tree));
}

#[test]
fn every_change_at_names_with_equal_cookies_is_told_by_diff() {
    let all = names(300);
    let Some(bench) = bench_with(&all) else { return };
    let view = bench.view("v/low");
    all.iter().take(5).for_each(|name| fs::remove_file(view.join(name)).unwrap());
    let (mut lines, mut after) = (0, 0);
    loop {
        let name = format!("user.depsfs.changes.{after}");
        let text = depsfs::sys::fs::xattr_of_path(&view, name.as_bytes()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let Some(last) = text.lines().last() else { break };
        lines += text.lines().count();
        after = serde_json::from_str::<serde_json::Value>(last).unwrap()["cookie"].as_u64().unwrap();
    }
    assert_eq!(lines, 155, "half of them are new, five are deleted");
}
