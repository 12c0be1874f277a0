//! The same calls on a view and on a plain directory give the same results.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::process::Command;

use depsfs::sys::fs as calls;
use depsfs::sys::fs::{FallocateFlags, RenameFlags, XattrFlags};

use crate::bench::bench;
use crate::seen::twins;

#[test]
fn files_are_made_written_cut_and_removed_as_in_a_plain_directory() {
    twins(bench!("v"), |root, seen| {
        let at = |name: &str| root.join(name);
        let new = |name: &str, mode| OpenOptions::new().write(true).create_new(true).mode(mode).open(at(name));
        seen.note("new", new("new", 0o640).and_then(|mut f| f.write_all(b"hello")));
        seen.note("exclusive", new("new", 0o640).map(drop));
        seen.note("exclusive over the store's", new("a.txt", 0o640).map(drop));
        seen.note("read only from the start", new("ro", 0o444).and_then(|mut f| f.write_all(b"x")));
        seen.note("truncating", OpenOptions::new().write(true).truncate(true).open(at("lib/b.js")).map(drop));
        seen.note("append", OpenOptions::new().append(true).open(at("a.txt")).and_then(|mut f| f.write_all(b"more")));
        let rw = OpenOptions::new().read(true).write(true).open(at("new")).unwrap();
        seen.note("hole", rw.write_all_at(b"end", 10_000));
        seen.note("data", calls::seek_data(rw.as_fd(), 0, false));
        seen.note("past the end", calls::seek_data(rw.as_fd(), 20_000, false));
        seen.note("cut", rw.set_len(7));
        seen.note("allocate", calls::fallocate(rw.as_fd(), FallocateFlags::empty(), 0, 100));
        seen.note("allocate unseen", calls::fallocate(rw.as_fd(), FallocateFlags::KEEP_SIZE, 0, 200));
        seen.note("size", rw.metadata().map(|m| m.size()));
        let other = File::create(at("other")).unwrap();
        seen.note("copy", calls::copy_range(rw.as_fd(), 1, other.as_fd(), 0, 50));
        seen.note("sync", rw.sync_all().and_then(|()| other.sync_data()));
        seen.note("remove", fs::remove_file(at("lib/deep/c")));
        seen.note("remove again", fs::remove_file(at("lib/deep/c")));
        seen.note(
            "remove a directory as a file",
            fs::remove_file(at("lib")).map_err(|_| io::Error::from_raw_os_error(1)),
        );
        seen.note("look up under a file", fs::metadata(at("a.txt/x")).map(drop));
        seen.note("long name", fs::write(at(&"n".repeat(256)), ""));
        seen.note("longest name", fs::write(at(&"n".repeat(255)), ""));
        let mut gone = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(at("gone")).unwrap();
        seen.note("unlink an open file", fs::remove_file(at("gone")));
        seen.note("write it", gone.write_all(b"still here").and_then(|()| gone.seek(SeekFrom::Start(0))));
        let mut text = String::new();
        seen.note("read it", gone.read_to_string(&mut text));
        seen.note("links", gone.metadata().map(|m| (m.nlink(), m.size())));
    });
}

#[test]
fn directories_links_and_renames_are_as_in_a_plain_directory() {
    twins(bench!("v"), |root, seen| {
        let at = |name: &str| root.join(name);
        let fd = File::open(root).unwrap();
        let rename = |from: &str, to: &str, flags| calls::rename_at(&fd, from.as_bytes(), &fd, to.as_bytes(), flags);
        seen.note("mkdir", fs::create_dir(at("d")));
        seen.note("mkdir again", fs::create_dir(at("d")));
        seen.note("rmdir full", fs::remove_dir(at("lib")));
        seen.note("rename a directory of the store", fs::rename(at("lib"), at("moved")));
        seen.note("it is there", fs::read(at("moved/b.js")).map(|b| b.len()));
        seen.note("and not here", fs::read(at("lib/b.js")).map(drop));
        seen.note("below itself", fs::rename(at("moved"), at("moved/deep/x")));
        seen.note("over a full one", fs::rename(at("d"), at("moved")));
        seen.note("over an empty one", fs::rename(at("moved"), at("d")));
        seen.note("a file over a directory", fs::rename(at("a.txt"), at("d")));
        seen.note("no replace", rename("a.txt", "link", RenameFlags::NOREPLACE));
        seen.note("exchange", rename("a.txt", "d", RenameFlags::EXCHANGE));
        seen.note("back", rename("a.txt", "d", RenameFlags::EXCHANGE));
        seen.note("symlink", symlink("../no where", at("d/s")));
        seen.note("symlink again", symlink("x", at("d/s")));
        seen.note("hard link", fs::hard_link(at("d/b.js"), at("d/b2.js")));
        seen.note("write one", OpenOptions::new().append(true).open(at("d/b.js")).and_then(|mut f| f.write_all(b"!")));
        seen.note("read the other", fs::read(at("d/b2.js")).map(|b| b.len()));
        seen.note(
            "same file",
            fs::metadata(at("d/b.js")).and_then(|a| Ok(a.ino() == fs::metadata(at("d/b2.js"))?.ino())),
        );
        seen.note("link to a directory", fs::hard_link(at("d"), at("dd")));
        seen.note("fifo", calls::mknod_at(&fd, b"fifo", 0o010_644, 0));
        seen.note("remove all", fs::remove_dir_all(at("d/deep")));
        seen.note("make it again", fs::create_dir(at("d/deep")).and_then(|()| fs::write(at("d/deep/n"), "n")));
        seen.note("dots", fs::metadata(at("d/deep/..")).and_then(|a| Ok(a.ino() == fs::metadata(at("d"))?.ino())));
    });
}

#[test]
fn metadata_and_attributes_are_as_in_a_plain_directory() {
    twins(bench!("v"), |root, seen| {
        let at = |name: &str| root.join(name);
        let mode = |name: &str| fs::symlink_metadata(at(name)).map(|m| format!("{:o}", m.mode()));
        let chmod = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode));
        let times = |name: &str| fs::symlink_metadata(at(name)).map(|m| (m.mtime(), m.mtime_nsec(), m.atime()));
        let fd = File::open(root).unwrap();
        let stamp = |sec, nsec| calls::SetTime::At(calls::Timespec { sec, nsec });
        for name in ["a.txt", "lib", "lib/b.js"] {
            seen.note("chmod", chmod(name, 0o750));
            seen.note("mode", mode(name));
            seen.note("touch", calls::utimens_at(&fd, name.as_bytes(), stamp(5, 0), stamp(1_000_000_000, 123_456_789)));
            seen.note("times", times(name));
            seen.note("long ago", calls::utimens_at(&fd, name.as_bytes(), calls::SetTime::Keep, stamp(-5, 7)));
            seen.note("times", times(name));
        }
        seen.note("touch a link", calls::utimens_at(&fd, b"link", stamp(7, 0), stamp(8, 9)));
        seen.note("its times", times("link"));
        let file = File::open(at("a.txt")).unwrap();
        let names = || calls::xattr_names(&file).map(|all| all.len());
        seen.note("no attribute", calls::xattr(&file, b"user.x"));
        seen.note("set", calls::set_xattr(&file, b"user.x", b"1", XattrFlags::CREATE));
        seen.note("set again", calls::set_xattr(&file, b"user.x", b"1", XattrFlags::CREATE));
        seen.note("replace", calls::set_xattr(&file, b"user.x", b"22", XattrFlags::REPLACE));
        seen.note("replace none", calls::set_xattr(&file, b"user.y", b"22", XattrFlags::REPLACE));
        seen.note("get", calls::xattr(&file, b"user.x"));
        seen.note("list", names());
        seen.note("remove", calls::remove_xattr(&file, b"user.x"));
        seen.note("remove again", calls::remove_xattr(&file, b"user.x"));
        seen.note("list", names());
        seen.note("suid", chmod("lib/b.js", 0o6755));
        seen.note("mode", mode("lib/b.js"));
        seen.note("cut", OpenOptions::new().write(true).open(at("lib/b.js")).and_then(|f| f.set_len(3)));
        seen.note("mode after", mode("lib/b.js"));
        seen.note("suid again", chmod("lib/b.js", 0o6755));
        seen.note("write", OpenOptions::new().write(true).open(at("lib/b.js")).and_then(|mut f| f.write_all(b"x")));
        seen.note("mode after", mode("lib/b.js"));
        seen.note("suid again", chmod("lib/b.js", 0o4711));
        let me = fs::metadata(root).unwrap();
        seen.note("chown", calls::chown_at(&fd, b"lib/b.js", Some(me.uid()), Some(me.gid())));
        seen.note("mode after", mode("lib/b.js"));
    });
}

#[test]
fn shells_and_their_tools_work_as_in_a_plain_directory() {
    twins(bench!("v"), |root, seen| {
        let mut run = |script: &str| {
            let done = Command::new("sh").args(["-c", script]).current_dir(root).env("LC_ALL", "C").output();
            seen.note(script, done.map(|o| (o.status.code(), String::from_utf8_lossy(&o.stdout).into_owned())));
        };
        run("sed -i s/store/shelf/ a.txt; cat a.txt");
        run("umask 027; mkdir u; : > u/f; stat -c '%a %n' u u/f");
        run("printf '#!/bin/sh\\necho ran\\n' > x; chmod +x x; ./x");
        run("flock a.txt -c 'flock -n a.txt true || echo held'");
        run("tar c lib | tar x --transform s,lib,copy,; diff -r lib copy && echo same");
        run("cp -a lib lib2; mv lib2 lib/; find . | LC_ALL=C sort");
        run("dd if=/dev/zero of=a.txt bs=1 seek=3 count=2 conv=notrunc status=none; od -c a.txt");
        run("for i in $(seq 500); do : > many.$i; done; ls | wc -l; rm many.*; ls | wc -l");
        run("exec 3<a.txt; rm a.txt; cat <&3 | wc -c; ls a.txt");
        run("ln lib/b.js hard; rm -rf lib; wc -c hard; rm hard");
        run("mkdir -p lib/deep; ls -a lib lib/deep");
        run("lsattr -d . >/dev/null 2>&1; true");
        run("find . -type f -exec touch -d @0 {} +; find . -type f -printf '%p %T@\\n' | sort");
    });
}
