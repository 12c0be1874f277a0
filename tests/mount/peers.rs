//! Faults of other overlays: each of their known faults, on a view of both shapes and on a plain directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use depsfs::store::{Store, import};
use depsfs::sys::fs as calls;
use depsfs::sys::fs::OpenFlags;

use crate::bench::{bench, is_root};
use crate::seen::{Seen, in_both_shapes};

fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
}

fn sh(root: &Path, seen: &mut Seen, script: &str) {
    let done = Command::new("sh").args(["-c", script]).current_dir(root).env("LC_ALL", "C").output();
    seen.note(script, done.map(|o| (o.status.code(), String::from_utf8_lossy(&o.stdout).into_owned())));
}

#[test]
fn a_name_of_256_bytes_is_too_long_for_every_call() {
    let dir = "d".repeat(255);
    let fill = |root: &Path| {
        fs::create_dir(root.join(&dir)).unwrap();
        fs::write(root.join("f"), "f").unwrap();
    };
    in_both_shapes(fill, |root, seen| {
        for parent in [root.to_path_buf(), root.join(&dir)] {
            for name in ["n".repeat(256), "ä".repeat(128), "n".repeat(1000)] {
                let long = parent.join(name);
                seen.note("stat", fs::metadata(&long).map(drop));
                seen.note("open", File::open(&long).map(drop));
                seen.note("create", File::create(&long).map(drop));
                seen.note("mkdir", fs::create_dir(&long));
                seen.note("symlink", symlink("x", &long));
                seen.note("link", fs::hard_link(root.join("f"), &long));
                seen.note("rename to", fs::rename(root.join("f"), &long));
                seen.note("rename from", fs::rename(&long, root.join("g")));
                seen.note("unlink", fs::remove_file(&long));
                seen.note("rmdir", fs::remove_dir(&long));
                seen.note("below", fs::metadata(long.join("x")).map(drop));
            }
        }
    });
}

#[test]
fn a_file_with_a_name_of_255_bytes_is_copied_up_moved_deleted_and_made_again() {
    let names = ["n".repeat(255), format!("{}x", "ä".repeat(127)), "d".repeat(255)];
    let fill = |root: &Path| {
        fs::create_dir(root.join(&names[2])).unwrap();
        for dir in [root.to_path_buf(), root.join(&names[2])] {
            fs::write(dir.join(&names[0]), "one").unwrap();
            fs::write(dir.join(&names[1]), "two").unwrap();
        }
    };
    in_both_shapes(fill, |root, seen| {
        for dir in [root.to_path_buf(), root.join(&names[2])] {
            let (one, two) = (dir.join(&names[0]), dir.join(&names[1]));
            seen.note("append", append(&one, "more").and_then(|()| fs::read_to_string(&one)));
            seen.note("rename", fs::rename(&one, dir.join("m".repeat(255))));
            seen.note("replace", fs::rename(&two, dir.join("m".repeat(255))));
            seen.note("remove", fs::remove_file(dir.join("m".repeat(255))));
            seen.note("gone", fs::read(&one).map(drop));
            seen.note("again", fs::write(&one, "again").and_then(|()| fs::hard_link(&one, &two)));
        }
        seen.note("rename the directory", fs::rename(root.join(&names[2]), root.join("e".repeat(255))));
    });
}

#[test]
fn a_file_with_hundreds_of_names_loses_and_gets_them_in_any_order() {
    let name = |n: usize| format!("name {n}");
    let fill = |root: &Path| {
        fs::write(root.join(name(0)), "stored").unwrap();
        (1..200).for_each(|n| fs::hard_link(root.join(name(0)), root.join(name(n))).unwrap());
    };
    in_both_shapes(fill, |root, seen| {
        fs::write(root.join("own 0"), "own").unwrap();
        let links = |seen: &mut Seen, name: &str| seen.note(name, fs::metadata(root.join(name)).map(|m| m.nlink()));
        (1..200).for_each(|n| fs::hard_link(root.join("own 0"), root.join(format!("own {n}"))).unwrap());
        links(seen, "own 77");
        links(seen, &name(77));
        (0..200).step_by(2).for_each(|n| fs::remove_file(root.join(format!("own {n}"))).unwrap());
        (0..200).step_by(3).for_each(|n| fs::remove_file(root.join(name(n))).unwrap());
        links(seen, "own 77");
        links(seen, &name(77));
        seen.note("append", append(&root.join(name(77)), " more"));
        fs::hard_link(root.join(name(77)), root.join(name(0))).unwrap();
        (1..100).for_each(|n| drop(fs::remove_file(root.join(name(n)))));
        seen.note("rename", fs::rename(root.join(name(100)), root.join("moved")));
        links(seen, "moved");
        seen.note("read", fs::read_to_string(root.join(name(101))));
    });
}

#[test]
fn files_that_are_named_as_whiteouts_of_other_overlays_are_files_like_any() {
    let names =
        [".wh.a", ".wh..wh..opq", ".wh..opq", ".wh.", ".wh..wh.plnk", ".wh..wh.aufs", "a", ".wh.d", ".fuse_hidden1"];
    let fill = |root: &Path| {
        for dir in ["", "d", ".wh.e", "a.dir/.wh..wh.orph"] {
            fs::create_dir_all(root.join(dir)).unwrap();
            for name in names.iter().filter(|n| root.join(dir).join(n).symlink_metadata().is_err()) {
                fs::write(root.join(dir).join(name), format!("{dir}/{name}")).unwrap();
            }
        }
    };
    in_both_shapes(fill, |root, seen| {
        seen.tree(root);
        for dir in ["", "d", ".wh.e"] {
            let at = |name: &str| root.join(dir).join(name);
            seen.note("append", append(&at(".wh.a"), "more"));
            seen.note("the other is as it was", fs::read_to_string(at("a")));
            seen.note("remove", fs::remove_file(at(".wh..wh..opq")));
            seen.note("remove what it would hide", fs::remove_file(at("a")));
            seen.note("it is still there", fs::read_to_string(at(".wh.a")));
            seen.note("rename", fs::rename(at(".wh..wh.plnk"), at(".wh.new")));
            seen.note("new", fs::write(at("new"), "new").and_then(|()| fs::create_dir(at(".wh.b"))));
            seen.note("new opaque", fs::write(at(".wh..wh..opq"), ""));
        }
        sh(root, seen, "rm -rf d && find . | sort");
    });
}

#[test]
fn a_character_device_0_0_is_a_file_like_any() {
    let fill = |root: &Path| fs::create_dir(root.join("d")).unwrap();
    in_both_shapes(fill, |root, seen| {
        for dir in ["", "d"] {
            let fd = File::open(root.join(dir)).unwrap();
            seen.note("mknod", calls::mknod_at(&fd, b"dev", libc::S_IFCHR | 0o600, 0));
            seen.note("again", calls::mknod_at(&fd, b"dev", libc::S_IFCHR | 0o600, 0));
            let at = root.join(dir).join("dev");
            seen.note("stat", fs::symlink_metadata(&at).map(|m| (format!("{:o}", m.mode()), m.rdev(), m.nlink())));
            seen.note("rename", fs::rename(&at, root.join(dir).join("dev2")));
        }
        sh(root, seen, "ls -A . d; rm d/dev2; ls -A d");
    });
}

#[test]
fn new_files_take_their_mode_from_the_umask_and_their_group_from_a_set_gid_directory() {
    let dirs = [("plain", 0o755), ("sgid", 0o2775), ("sticky", 0o1777), ("both", 0o3777)];
    let fill = |root: &Path| {
        for (dir, mode) in dirs {
            fs::create_dir(root.join(dir)).unwrap();
            fs::set_permissions(root.join(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    in_both_shapes(fill, |root, seen| {
        for (dir, mode) in dirs {
            sh(root, seen, &format!("mkdir {dir}/early; stat -c '%A %g %n' {dir} {dir}/early"));
            if is_root() {
                seen.note("chgrp", std::os::unix::fs::chown(root.join(dir), None, Some(4321)));
                seen.note("chmod", fs::set_permissions(root.join(dir), fs::Permissions::from_mode(mode)));
            }
        }
        for (dir, umask) in [("plain", "027"), ("sgid", "002"), ("sticky", "000"), ("both", "077"), (".", "277")] {
            let make = "mkdir u; : > u.f; ln -s x u.l; mkfifo u.p; cp -p /bin/true u.t; mkdir -m 2711 u.m";
            let show = "stat -c '%A %g %n' u u.f u.l u.p u.t u.m; umask 022; mkdir -p u/v 2>/dev/null; ls -ldn u/v | cut -c1-10; chmod u+rwx u u.m";
            sh(root, seen, &format!("cd {dir}; umask {umask}; {make}; {show}; rm -f u.t"));
        }
    });
}

#[test]
fn an_unlinked_open_file_answers_fstat_is_written_and_its_name_is_free() {
    let fill = |root: &Path| {
        fs::create_dir(root.join("d")).unwrap();
        for name in ["lower", "d/copied", "replaced", "linked", "d/dropped"] {
            fs::write(root.join(name), name.repeat(1000)).unwrap();
        }
        fs::hard_link(root.join("linked"), root.join("d/other")).unwrap();
    };
    in_both_shapes(fill, |root, seen| {
        append(&root.join("d/copied"), "own").unwrap();
        fs::write(root.join("new"), "new").unwrap();
        for name in ["lower", "d/copied", "replaced", "linked", "new"] {
            let path = root.join(name);
            let open = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let gone = match name {
                "replaced" => fs::write(root.join("d/x"), "x").and_then(|()| fs::rename(root.join("d/x"), &path)),
                _ => fs::remove_file(&path),
            };
            seen.note(name, gone);
            let stat = |open: &File| open.metadata().map(|m| (m.nlink(), m.size(), format!("{:o}", m.mode())));
            seen.note("fstat", stat(&open));
            seen.note("write", open.write_all_at(b"after", 3));
            seen.note("cut", open.set_len(10));
            seen.note("chmod", open.set_permissions(fs::Permissions::from_mode(0o600)));
            seen.note("touch", open.set_modified(UNIX_EPOCH + Duration::from_secs(77)));
            seen.note("fstat again", stat(&open).and_then(|s| Ok((s, open.metadata()?.mtime()))));
            let mut bytes = [0; 10];
            seen.note("read", open.read_exact_at(&mut bytes, 0).map(|()| bytes));
            seen.note("its name", fs::read(&path).map(|b| b.len()));
            seen.note("made again", OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).map(drop));
            seen.note("fstat still", stat(&open));
        }
        let open = File::open(root.join("d/dropped")).unwrap();
        sh(root, seen, "rm -rf d");
        seen.note("its directory too", open.metadata().map(|m| (m.nlink(), m.size())));
    });
}

#[test]
fn set_id_bits_are_dropped_when_an_ordinary_user_writes_cuts_or_gives_away() {
    let cases = [
        ("write", "printf x >> $f"),
        ("cut", ": > $f"),
        ("truncate", "truncate -s 3 $f"),
        ("allocate", "fallocate -l 100 $f"),
        ("directly", "dd if=/dev/zero of=$f bs=4096 count=1 oflag=direct conv=notrunc status=none"),
        ("nothing written", ": >> $f"),
        ("time", "touch -d @5 $f"),
        ("copied over", "cp /bin/sh $f 2>/dev/null"),
        ("group", "chgrp \"$(id -g)\" $f"),
    ];
    let modes = [0o6777, 0o6776, 0o4755, 0o2766, 0o2767, 0o2755];
    let fill = |root: &Path| {
        (0..cases.len()).for_each(|i| {
            modes.iter().for_each(|mode| fs::write(root.join(format!("{i}-{mode:o}")), "was here before").unwrap());
        });
    };
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"];
    in_both_shapes(fill, |root, seen| {
        for (i, (what, script)) in cases.iter().enumerate() {
            for mode in modes {
                let file = format!("{i}-{mode:o}");
                // A view of the store belongs to who mounted it, and has no set-id bits at first.
                // Odd modes: the writer is no member of the group.
                let group = if mode & 1 == 0 { 65534 } else { 4321 };
                let (owner, group) = (is_root().then_some(65534), is_root().then_some(group));
                seen.note("chown", std::os::unix::fs::chown(root.join(&file), owner, group));
                seen.note("chmod", fs::set_permissions(root.join(&file), fs::Permissions::from_mode(mode)));
                let mut command = Command::new(if is_root() { "setpriv" } else { "sh" });
                let args: &[&str] = if is_root() { &user } else { &["-c"] };
                command.args(args).arg(script).env("f", &file).current_dir(root);
                seen.note(
                    what,
                    command.output().map(|o| (o.status.code(), String::from_utf8_lossy(&o.stderr).into_owned())),
                );
                // Asks for nothing else: what the kernel keeps of the mode counts.
                sh(root, seen, &format!("stat -c %A {file}"));
            }
        }
    });
}

#[test]
fn unlink_of_a_directory_and_rmdir_of_a_file_answer_what_a_plain_directory_answers() {
    let fill = |root: &Path| {
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::write(root.join("f"), "").unwrap();
        symlink("d", root.join("l")).unwrap();
    };
    in_both_shapes(fill, |root, seen| {
        fs::create_dir(root.join("new")).unwrap();
        for name in ["d", "d/e", "f", "l", "new", "none", "f/x", "l/e"] {
            let path = root.join(name);
            if !matches!(name, "f" | "l") {
                seen.note(&format!("unlink {name}"), fs::remove_file(&path));
            }
            if !matches!(name, "d/e" | "new" | "l/e") {
                seen.note(&format!("rmdir {name}"), fs::remove_dir(&path));
            }
            seen.note(&format!("write {name}"), OpenOptions::new().append(true).open(&path).map(drop));
            seen.note(&format!("truncate {name}"), OpenOptions::new().write(true).truncate(true).open(&path).map(drop));
        }
        seen.note("rmdir .", fs::remove_dir(root.join("d/.")));
        seen.note("rmdir ..", fs::remove_dir(root.join("d/e/..")));
    });
}

#[test]
fn rm_rf_succeeds_while_others_list_read_and_remove_the_same() {
    let fill = |root: &Path| {
        for dir in ["a", "b/c", "b/d", "e"] {
            fs::create_dir_all(root.join(dir)).unwrap();
            (0..60).for_each(|i| fs::write(root.join(dir).join(format!("f{i}")), format!("{i}")).unwrap());
        }
        fs::write(root.join("stays"), "").unwrap();
    };
    in_both_shapes(fill, |root, seen| {
        let work = "for i in 1 2 3; do cp -r a w$1; ln w$1/f1 w$1/g; mv w$1 x$1; rm -rf x$1 || exit 1; done";
        let load = "(while [ -e stays ]; do ls -lR . >/dev/null 2>&1; cat e/* >/dev/null 2>&1; done) & l=$!";
        let both = "rm -rf b & p=$!; rm -rf b e && wait $p; echo both $?";
        sh(
            root,
            seen,
            &format!(
                "{load}; w() {{ {work}; }}; w 1 & a=$!; w 2 & b=$!; w 3; c=$?; wait $a && wait $b && echo $c; {both}; \
                 kill $l; wait $l 2>/dev/null; ls"
            ),
        );
    });
}

/// Directories of 250-byte names, `depth` deep, below `root`; the last one.
fn deep(root: &Path, depth: usize) -> OwnedFd {
    let mut at: OwnedFd = File::open(root).unwrap().into();
    for i in 0..depth {
        let name = format!("{i:0250}");
        calls::mkdir_at(&at, name.as_bytes(), 0o755).unwrap();
        at = calls::open_dir_at(&at, name.as_bytes()).unwrap();
    }
    at
}

fn descend(root: &Path, depth: usize) -> OwnedFd {
    let start: OwnedFd = File::open(root).unwrap().into();
    (0..depth).fold(start, |at, i| calls::open_dir_at(&at, format!("{i:0250}").as_bytes()).expect("a directory"))
}

#[test]
fn files_whose_path_is_longer_than_4096_bytes_are_copied_up_moved_and_deleted() {
    let mut bench = bench!("v");
    let source = bench.dir.join("deep");
    fs::create_dir(&source).unwrap();
    let bottom = deep(&source, 40);
    for name in [&b"a"[..], b"b", b"c"] {
        let fd = calls::open_at(&bottom, name, OpenFlags::WRONLY | OpenFlags::CREATE, 0o644).unwrap();
        calls::write_all(fd.as_fd(), b"of the store").unwrap();
    }
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench.mount();
    let bottom = descend(&bench.view("v"), 40);
    let open = |dir: &OwnedFd, name: &[u8], flags| calls::open_at(dir, name, flags, 0o644);
    let file = open(&bottom, b"a", OpenFlags::RDWR).unwrap();
    calls::write_at(&file, b"OF", 0).unwrap();
    calls::chmod_at(&bottom, b"a", 0o600).unwrap();
    calls::rename_at(&bottom, b"b", &bottom, b"moved", calls::RenameFlags::empty()).unwrap();
    calls::unlink_at(&bottom, b"c").unwrap();
    calls::mkdir_at(&bottom, b"new", 0o755).unwrap();
    calls::link_at(&bottom, b"a", &bottom, b"linked").unwrap();
    drop((bottom, file));
    bench.unmount();
    bench.mount();
    let bottom = descend(&bench.view("v"), 40);
    let mut names: Vec<_> = calls::list(&bottom).unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    assert_eq!(names, [&b"a"[..], b"linked", b"moved", b"new"]);
    let text = calls::read_once(open(&bottom, b"linked", OpenFlags::RDONLY).unwrap()).unwrap();
    assert_eq!(text, b"OF the store");
    assert_eq!(calls::stat_at(&bottom, b"a").unwrap().mode & 0o7777, 0o600);
    assert!(Command::new("rm").arg("-rf").arg(bench.view("v").join(format!("{:0250}", 0))).status().unwrap().success());
}
