//! Archive → store → view: what went in is what `stat` and `tar` see in the view.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use depsfs::store::Store;
use depsfs::store::import::{ArchiveLimits, import_archive};
use depsfs::sys::fs as calls;

use crate::bench::bench;

/// One of everything that an archive can say.
fn make_source(dir: &Path) {
    fs::create_dir_all(dir.join("sub/empty")).unwrap();
    fs::write(dir.join("plain"), "plain\n").unwrap();
    fs::hard_link(dir.join("plain"), dir.join("sub/hard")).unwrap();
    fs::write(dir.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("tool"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::write(dir.join(OsStr::from_bytes(b"b\xff\xfe")), "bytes").unwrap();
    symlink(OsStr::from_bytes(b"../nowhere/\xff"), dir.join("sub/soft")).unwrap();
    fs::write(dir.join("sub").join("long".repeat(60)), "").unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(b"in the middle", 3 << 20).unwrap();
    sparse.set_len(8 << 20).unwrap();
    fs::File::create(dir.join("hole")).unwrap().set_len(1 << 20).unwrap();
    for at in ["plain", "sub"] {
        calls::set_xattr_of_path(&dir.join(at), b"user.k", b"a\nb\0c").unwrap();
    }
    for (n, path) in paths(dir).iter().rev().enumerate() {
        let meta = fs::symlink_metadata(dir.join(path)).unwrap();
        if !meta.is_symlink() {
            let time = UNIX_EPOCH + Duration::new(1_500_000_000 + n as u64, 123_456_789 + n as u32);
            fs::File::open(dir.join(path)).unwrap().set_modified(time).unwrap();
        }
    }
    let before = UNIX_EPOCH - Duration::new(1, 250_000_000);
    fs::File::open(dir.join("tool")).unwrap().set_modified(before).unwrap();
}

/// All paths below, the directory itself first; parents before what is in them.
fn paths(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::new()];
    let mut at = 0;
    while at < all.len() {
        if fs::symlink_metadata(dir.join(&all[at])).unwrap().is_dir() {
            let mut names: Vec<_> = fs::read_dir(dir.join(&all[at])).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            let parent = all[at].clone();
            all.extend(names.into_iter().map(|name| parent.join(name)));
        }
        at += 1;
    }
    all
}

/// The results of `stat`, `readlink`, `read` and `getxattr` for each path, and which paths are one file.
fn seen(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut first = BTreeMap::new();
    let all = paths(dir);
    let say = |path: &PathBuf| {
        let whole = dir.join(path);
        let meta = fs::symlink_metadata(&whole).unwrap();
        let same = first.entry(meta.ino()).or_insert_with(|| path.clone()).clone();
        let mut text = format!("{:o} {} {}.{:09}", meta.mode(), meta.nlink(), meta.mtime(), meta.mtime_nsec());
        if meta.is_file() {
            let hash = depsfs::store::ObjectId::of(&fs::read(&whole).unwrap()).hex();
            text += &format!(" {} {} {hash} {same:?}", meta.len(), meta.blocks());
        }
        if meta.is_symlink() {
            return (path.clone(), format!("{text} {:?}", fs::read_link(&whole).unwrap()));
        }
        let names = calls::xattr_names(fs::File::open(&whole).unwrap()).unwrap();
        for name in names.into_iter().filter(|n| n.starts_with(b"user.")) {
            text += &format!(" {:?}={:?}", OsStr::from_bytes(&name), calls::xattr_of_path(&whole, &name).unwrap());
        }
        (path.clone(), text)
    };
    all.iter().map(say).collect()
}

/// The archive that GNU tar makes, without what differs by nature (newer maps of holes come with its process id).
fn tar(dir: &Path) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args([
        "-S",
        "--sparse-version=0.0",
        "--xattrs",
        "--xattrs-include=user.*",
        "--sort=name",
        "--format=posix",
        "--numeric-owner",
    ]);
    tar.args(["--pax-option=exthdr.name=%d/x/%f,delete=atime,delete=ctime", "-c", "-C"]).arg(dir).arg(".");
    let out = tar.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn what_an_archive_says_is_what_stat_and_tar_see_in_the_view() {
    let mut bench = bench!("v");
    let source = bench.dir.join("all");
    make_source(&source);
    let archive = bench.dir.join("all.tar");
    fs::write(&archive, tar(&source)).unwrap();
    let store = Store::open(&bench.manifest.store).unwrap();
    let imported = import_archive(&store, &archive, &ArchiveLimits::default(), &()).unwrap();
    bench.manifest.views[0].grafts[0].tree = imported.tree;
    bench.save();
    bench.mount();
    let view = bench.view("v");
    assert_eq!(seen(&view), seen(&source));
    assert!(tar(&view) == fs::read(&archive).unwrap(), "tar sees something else");
    let sparse = fs::metadata(view.join("sparse")).unwrap();
    assert!(sparse.len() == 8 << 20 && sparse.blocks() < 100, "{} blocks", sparse.blocks());
}
