//! After a copy-up: what programs that had the file, its other names or its directory in use go on to see, on views of
//! both shapes and on a plain directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use depsfs::store::tree::{Item, NodeMeta, Slot};
use depsfs::store::{Name, Store, TreeBuilder, import};
use depsfs::sys::fs as calls;
use depsfs::sys::fs::{SetTime, Timespec, XattrFlags};
use memmap2::MmapOptions;

use crate::bench::{Bench, bench, is_root};
use crate::seen::{Seen, in_both_shapes};

fn open_rw(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..8]).into_owned()
}

#[test]
fn readers_and_mappings_from_before_the_first_write_see_what_is_written() {
    let fill = |root: &Path| fs::write(root.join("f"), "old old ".repeat(2048)).unwrap();
    in_both_shapes(fill, |root, seen| {
        let early = File::open(root.join("f")).unwrap();
        // SAFETY: nobody cuts the file below what is read of the maps.
        let (shared, private, copied) = unsafe {
            let map = || MmapOptions::new();
            (map().map(&early).unwrap(), map().map_copy_read_only(&early).unwrap(), map().map_copy(&early).unwrap())
        };
        let mut copied = copied;
        let read = |at| {
            let mut bytes = [0; 8];
            early.read_exact_at(&mut bytes, at).map(|()| text(&bytes))
        };
        for at in [0usize, 4096] {
            seen.note("all before", read(at as u64).map(|r| (r, text(&shared[at..]), text(&private[at..]))));
        }
        copied[8192..8200].copy_from_slice(b"my own..");
        let writer = open_rw(&root.join("f"));
        for at in [0, 4096, 8192, 12288] {
            seen.note("write", writer.write_all_at(b"new new ", at as u64));
            seen.note("read", read(at as u64));
            seen.note("shared, private, private and written", Ok((&shared, &private, &copied).map_at(at)));
        }
        seen.note("longer", writer.write_all_at(b"the end.", 16384).and_then(|()| read(16384)));
        seen.note("cut", writer.set_len(12288).and_then(|()| early.metadata()).map(|m| m.size()));
        seen.note("read past it", early.read_at(&mut [0; 8], 12288));
        seen.note("still mapped", Ok(text(&shared[4096..])));
    });
}

trait MapAt {
    fn map_at(self, at: usize) -> [String; 3];
}

impl MapAt for (&memmap2::Mmap, &memmap2::Mmap, &memmap2::MmapMut) {
    fn map_at(self, at: usize) -> [String; 3] {
        [text(&self.0[at..]), text(&self.1[at..]), text(&self.2[at..])]
    }
}

#[test]
fn numbers_stay_through_every_change_and_inode_numbers_through_a_remount() {
    let changes: [(&str, &str); 8] = [
        ("write", "printf x >> \"$f\""),
        ("cut", ": > \"$f\""),
        ("chmod", "chmod 600 \"$f\""),
        ("touch", "touch -d @5 \"$f\""),
        ("link", "ln \"$f\" \"$f.2\""),
        ("sed", "cat \"$f\" > \"$f.old\"; cat \"$f.old\" > \"$f\""),
        ("away and back", "mv \"$f\" x; mv x \"$f\""),
        ("in place", "dd if=/dev/zero of=\"$f\" bs=1 count=1 conv=notrunc status=none"),
    ];
    let mut bench = bench!("v");
    let source = bench.dir.join("numbers");
    fs::create_dir_all(source.join("dir")).unwrap();
    changes.iter().for_each(|(name, _)| fs::write(source.join("dir").join(name), name.repeat(99)).unwrap());
    fs::hard_link(source.join("dir/write"), source.join("hard")).unwrap();
    symlink("dir/write", source.join("soft")).unwrap();
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench.mount();
    let root = bench.view("v");
    let dir = root.join("dir");
    let numbers = || -> Vec<(String, u64)> {
        let names = changes.iter().map(|(name, _)| dir.join(name));
        let all = names.chain([root.clone(), dir.clone(), root.join("hard"), root.join("soft")]);
        all.map(|p| (p.display().to_string(), fs::symlink_metadata(&p).unwrap().ino())).collect()
    };
    let device = fs::metadata(&root).unwrap().dev();
    let before = numbers();
    for (name, script) in changes {
        let done = Command::new("sh").args(["-ec", script]).env("f", name).current_dir(&dir).status().unwrap();
        assert!(done.success(), "{name}");
        assert_eq!(numbers(), before, "after {name}");
        assert_eq!(fs::metadata(dir.join(name)).unwrap().dev(), device, "after {name}");
    }
    bench.unmount();
    bench.mount();
    assert_eq!(numbers(), before, "after a remount");
}

#[test]
fn all_names_of_a_hard_linked_lower_file_change_together() {
    let fill = |root: &Path| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("c")).unwrap();
        for (file, others) in [("one", ["a/one", "a/b/one", "c/one"]), ("c/two", ["two", "a/two", "c/too"])] {
            fs::write(root.join(file), "of the store\n").unwrap();
            others.iter().for_each(|other| fs::hard_link(root.join(file), root.join(other)).unwrap());
        }
    };
    in_both_shapes(fill, |root, seen| {
        let at = |name: &str| root.join(name);
        let names = ["one", "a/one", "a/b/one", "c/one", "two", "a/two", "c/two", "c/too", "new"];
        let look = |seen: &mut Seen| {
            for name in names {
                let file = || -> io::Result<_> {
                    let m = fs::symlink_metadata(at(name))?;
                    let xattr = calls::xattr_of_path(&at(name), b"user.x").ok();
                    Ok((
                        m.ino() == fs::metadata(at("c/one"))?.ino(),
                        m.nlink(),
                        m.size(),
                        m.mode(),
                        m.mtime() == 9,
                        xattr,
                    ))
                };
                seen.note(name, file());
                seen.note(name, fs::read_to_string(at(name)));
            }
        };
        look(seen);
        let append =
            |name: &str| OpenOptions::new().append(true).open(at(name)).and_then(|mut f| f.write_all(b"more\n"));
        seen.note("write", append("a/b/one"));
        look(seen);
        seen.note("mode", fs::set_permissions(at("two"), fs::Permissions::from_mode(0o640)));
        let dir = File::open(root).unwrap();
        let nine = SetTime::At(Timespec { sec: 9, nsec: 0 });
        seen.note("time", calls::utimens_at(&dir, b"two", nine, nine));
        seen.note(
            "attribute",
            calls::set_xattr(File::open(at("a/two")).unwrap(), b"user.x", b"1", XattrFlags::empty()),
        );
        look(seen);
        seen.note("unlink", fs::remove_file(at("one")).and_then(|()| fs::remove_file(at("c/two"))));
        seen.note("rename", fs::rename(at("a/one"), at("new")));
        seen.note("of one file to another name of it", fs::rename(at("new"), at("c/one")));
        look(seen);
        seen.note("cut", open_rw(&at("c/too")).set_len(2));
        seen.note("write", append("c/one"));
        seen.note("move their directory", fs::rename(at("a"), at("c/a")));
        look(seen);
    });
}

#[test]
fn a_running_program_can_be_replaced_but_not_written() {
    let fill = |root: &Path| {
        fs::copy("/bin/sleep", root.join("sleep")).unwrap();
        fs::write(root.join("held"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("held"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    in_both_shapes(fill, |root, seen| {
        let at = |name: &str| root.join(name);
        let mut running = Command::new(at("sleep")).arg("60").stdin(Stdio::null()).spawn().unwrap();
        seen.note("open to write", OpenOptions::new().write(true).open(at("sleep")).map(drop));
        seen.note("cut", fs::write(at("sleep"), "x"));
        seen.note("touch", File::open(at("sleep")).and_then(|f| f.set_permissions(fs::Permissions::from_mode(0o711))));
        seen.note("another name", fs::hard_link(at("sleep"), at("nap")));
        seen.note("remove", fs::remove_file(at("sleep")));
        seen.note("write the other name", OpenOptions::new().append(true).open(at("nap")).map(drop));
        seen.note("another of that name", fs::copy("/bin/true", at("sleep")).map(drop));
        seen.note("run it", Command::new(at("sleep")).status().map(|s| s.code()));
        seen.note("goes on", running.try_wait().map(|ended| ended.is_none()));
        running.kill().and_then(|()| running.wait()).unwrap();
        seen.note("write now", OpenOptions::new().append(true).open(at("nap")).and_then(|mut f| f.write_all(b"x")));
        let writer = open_rw(&at("held"));
        seen.note("run what is open to write", Command::new(at("held")).status().map(|s| s.code()));
        drop(writer);
        seen.note("run it then", Command::new(at("held")).status().map(|s| s.code()));
    });
}

/// Which of atime, mtime and ctime moved since `before`.
fn moved(before: &fs::Metadata, path: &Path) -> io::Result<String> {
    let now = fs::symlink_metadata(path)?;
    let mut moved = String::new();
    for (name, was, is) in [
        ("a", (before.atime(), before.atime_nsec()), (now.atime(), now.atime_nsec())),
        ("m", (before.mtime(), before.mtime_nsec()), (now.mtime(), now.mtime_nsec())),
        ("c", (before.ctime(), before.ctime_nsec()), (now.ctime(), now.ctime_nsec())),
    ] {
        // A directory's atime is whoever's who listed it last: of the upper's, the server too.
        moved += if was == is || (name == "a" && now.is_dir()) { "" } else { name };
        moved += if was > is { "-" } else { "" };
    }
    Ok(moved)
}

#[test]
fn each_change_moves_the_times_that_posix_says_of_the_file_and_its_directory() {
    // Each on files of its own: name, what is done, whose times are looked at.
    let steps = [
        ("write", "printf x >> d/f", "d/f"),
        ("write nothing", "printf '' >> d/f", "d/f"),
        ("cut", "truncate -s 1 d/f", "d/f"),
        ("cut to the same size", "truncate -s 12 d/f", "d/f"),
        ("cut when opened", ": > d/f", "d/f"),
        ("chmod", "chmod 600 d/f", "d/f"),
        ("chmod to the same", "chmod 644 d/f", "d/f"),
        ("chmod a directory", "chmod 700 d", "d"),
        ("chgrp", "chgrp \"$(id -g)\" d/f", "d/f"),
        ("touch", "touch d/f", "d/f"),
        ("touch -m", "touch -m d/f", "d/f"),
        ("touch -a", "touch -a d/f", "d/f"),
        ("link", "ln d/f e/g", "d/f"),
        ("link: its directory", "ln d/f e/g", "e"),
        ("link: the other directory", "ln d/f e/g", "d"),
        ("unlink one of two", "rm d/h", "d/h2"),
        ("unlink: its directory", "rm d/f", "d"),
        ("rename", "mv d/f e/f", "e/f"),
        ("rename: from", "mv d/f e/f", "d"),
        ("rename: to", "mv d/f e/f", "e"),
        ("replace: to", "mv d/f d/h", "d"),
        ("replace: another name of what it was", "mv d/f d/h", "d/h2"),
        ("create: its directory", ": > d/new", "d"),
        ("open what is there: its directory", ": >> d/f", "d"),
        ("mkdir: its directory", "mkdir d/new", "d"),
        ("rmdir: its directory", "rmdir d/sub", "d"),
        ("symlink: its directory", "ln -s x d/new", "d"),
        ("mkfifo: its directory", "mkfifo d/new", "d"),
        ("rename a directory", "mv d/sub e/sub", "e/sub"),
        ("write in it: a directory", "printf x >> d/f", "d"),
        ("chmod in it: a directory", "chmod 600 d/f", "d"),
    ];
    let fill = |root: &Path| {
        for i in 0..steps.len() {
            let root = root.join(i.to_string());
            fs::create_dir_all(root.join("d/sub")).unwrap();
            fs::create_dir(root.join("e")).unwrap();
            fs::write(root.join("d/f"), "twelve bytes").unwrap();
            fs::write(root.join("d/h"), "h").unwrap();
            fs::hard_link(root.join("d/h"), root.join("d/h2")).unwrap();
        }
        let set = "find . -type f -exec chmod 644 {} +; find . -exec touch -h -d '2001-02-03 04:05:06.789' {} +";
        assert!(Command::new("sh").args(["-c", set]).current_dir(root).status().unwrap().success());
    };
    in_both_shapes(fill, |root, seen| {
        for (i, (what, script, whose)) in steps.iter().enumerate() {
            let root = root.join(i.to_string());
            let looked_at = if script.starts_with("mv d/f e/f") && *whose == "e/f" {
                "d/f"
            } else if *whose == "e/sub" {
                "d/sub"
            } else {
                whose
            };
            let before = fs::symlink_metadata(root.join(looked_at)).unwrap();
            std::thread::sleep(Duration::from_millis(12));
            let done = Command::new("sh").args(["-ec", script]).current_dir(&root).status().unwrap();
            assert!(done.success(), "{script}");
            seen.note(what, moved(&before, &root.join(whose)));
        }
    });
}

#[test]
fn a_mapped_write_moves_mtime_by_the_time_it_is_synced() {
    let fill = |root: &Path| fs::write(root.join("f"), [7; 5000]).unwrap();
    in_both_shapes(fill, |root, seen| {
        let file = open_rw(&root.join("f"));
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
        // SAFETY: nobody cuts the file.
        let mut map = unsafe { MmapOptions::new().map_mut(&file).unwrap() };
        map[4999] = 8;
        seen.note("sync", map.flush());
        seen.note("mtime has moved", file.metadata().map(|m| m.mtime() > 1_000));
        map[1] = 9;
        drop((map, file));
        seen.note("content", fs::read(root.join("f")).map(|b| (b[0], b[1], b[4998], b[4999])));
    });
}

#[test]
fn capabilities_of_a_program_are_gone_once_it_is_written() {
    if !is_root() {
        return eprintln!("skipped: only root gives a program capabilities");
    }
    let fill = |root: &Path| assert!(fs::copy("/bin/true", root.join("p")).is_ok());
    in_both_shapes(fill, |root, seen| {
        let file = File::open(root.join("p")).unwrap();
        let mut cap_net_raw = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
        cap_net_raw.resize(20, 0);
        for script in ["printf x >> p", "truncate -s 5 p", "chown 65534 p"] {
            seen.note("set", calls::set_xattr(&file, b"security.capability", &cap_net_raw, XattrFlags::empty()));
            seen.note("get", calls::xattr(&file, b"security.capability"));
            let done = Command::new("sh").args(["-c", script]).current_dir(root).status();
            seen.note(script, done.map(|s| s.code()));
            seen.note("get again", calls::xattr(&file, b"security.capability"));
        }
    });
}

#[test]
fn a_directory_that_is_moved_while_it_is_open_goes_on() {
    let fill = |root: &Path| {
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(root.join("to")).unwrap();
        ["a/f", "a/b/f", "a/b/c/f"].iter().for_each(|f| fs::write(root.join(f), f).unwrap());
    };
    in_both_shapes(fill, |root, seen| {
        let dir = File::open(root.join("a/b")).unwrap();
        let mut listing = fs::read_dir(root.join("a/b")).unwrap();
        seen.note("its parent", fs::rename(root.join("a"), root.join("to/a")));
        seen.note("it", fs::rename(root.join("to/a/b"), root.join("b")));
        let names = |list: &mut dyn Iterator<Item = io::Result<fs::DirEntry>>| -> io::Result<Vec<String>> {
            let mut all: Vec<_> =
                list.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()?;
            all.sort();
            Ok(all)
        };
        seen.note("the listing goes on", names(&mut listing));
        seen.note("make", calls::mkdir_at(&dir, b"new", 0o755));
        let read = |name: &[u8]| calls::open_at(&dir, name, calls::OpenFlags::RDONLY, 0).and_then(calls::read_once);
        seen.note("read", read(b"c/f").map(|b| String::from_utf8_lossy(&b).into_owned()));
        seen.note(
            "write",
            calls::open_at(&dir, b"c/f", calls::OpenFlags::WRONLY | calls::OpenFlags::TRUNC, 0).map(drop),
        );
        seen.note("up", calls::stat_at(&dir, b"..").and_then(|s| Ok(s.ino == fs::metadata(root)?.ino())));
        seen.note("names", fs::read_dir(root.join("b")).and_then(|mut l| names(&mut l)));
        seen.note("the old place", fs::symlink_metadata(root.join("to/a/b")).map(drop));
        seen.note("made again", fs::create_dir(root.join("to/a/b")));
    });
}

#[test]
fn who_stands_in_a_removed_directory_is_answered_as_in_a_plain_one() {
    let fill = |root: &Path| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/f"), "f").unwrap();
        fs::write(root.join("stays"), "").unwrap();
    };
    in_both_shapes(fill, |root, seen| {
        for script in [
            "cd a/b; rm -r ../b; ls -a; stat -c %h .; : > new; echo $?; mkdir d; echo $?; cat f; cd ..; ls",
            "cd a; rm -r ../a; mkdir ../a; : > ../a/new; ls; ls ../a; (cd .. ; echo $?); ls /proc/self/cwd/; stat -c %h .",
        ] {
            let done = Command::new("sh").args(["-c", script]).current_dir(root).env("LC_ALL", "C").output().unwrap();
            let said = [done.stdout, done.stderr].map(|o| String::from_utf8_lossy(&o).into_owned());
            seen.note(script, Ok((done.status.code(), said)));
        }
        let dir = File::open(root.join("a")).unwrap();
        seen.note("removed while open", fs::remove_dir_all(root.join("a")));
        seen.note("list", calls::list(&dir).map(|l| l.len()));
        seen.note("make", calls::mkdir_at(&dir, b"x", 0o755));
        seen.note("stat", calls::stat(&dir).map(|s| s.nlink));
        seen.note("chmod", calls::chmod(&dir, 0o700));
    });
}

#[test]
fn a_listing_that_has_begun_shows_every_name_that_stays_once() {
    let fill = |root: &Path| (0..3000).for_each(|i| fs::write(root.join(format!("n{i}")), "").unwrap());
    in_both_shapes(fill, |root, seen| {
        let mut list = fs::read_dir(root).unwrap();
        let mut names: Vec<String> = Vec::new();
        let mut take = |n: usize, names: &mut Vec<String>| {
            names.extend(list.by_ref().take(n).map(|e| e.unwrap().file_name().to_string_lossy().into_owned()));
        };
        take(1000, &mut names);
        (0..3000).filter(|i| i % 3 != 0).for_each(|i| fs::remove_file(root.join(format!("n{i}"))).unwrap());
        (0..500).for_each(|i| fs::write(root.join(format!("later{i}")), "").unwrap());
        take(usize::MAX, &mut names);
        let count = names.len();
        names.sort();
        names.dedup();
        let stayed = names.iter().filter(|n| n.strip_prefix('n').is_some_and(|i| i.parse::<u32>().unwrap() % 3 == 0));
        seen.note("twice, and of those that stayed", Ok((count - names.len(), stayed.count())));
        seen.note("from the start", fs::read_dir(root).map(|l| l.count()));
    });
}

#[test]
fn a_hundred_thousand_names_in_one_directory_are_listed_found_and_changed() {
    let bench = big(1, 100_000);
    let Some(bench) = bench else { return };
    let dir = bench.view("v/d0");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 100_000);
    let name = |i: usize| dir.join(format!("name-{i:06}"));
    for i in [0, 1, 49_999, 99_999] {
        assert_eq!(fs::read_to_string(name(i)).unwrap(), "one and the same\n");
    }
    assert!(fs::metadata(name(100_000)).is_err());
    (0..1000).for_each(|i| fs::remove_file(name(i * 100)).unwrap());
    (0..500).for_each(|i| fs::write(dir.join(format!("new-{i}")), "").unwrap());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 99_500);
    bench.unmount();
    bench.mount();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 99_500);
}

#[test]
fn a_tree_of_a_million_files_is_mounted_at_once_and_any_of_them_read_and_written() {
    let Some(bench) = big(1000, 1000) else { return };
    let name = |d: usize, i: usize| bench.view("v").join(format!("d{d}/name-{i:06}"));
    assert_eq!(fs::read_dir(bench.view("v")).unwrap().count(), 1000);
    for d in [0, 7, 499, 999] {
        assert_eq!(fs::read_dir(bench.view("v").join(format!("d{d}"))).unwrap().count(), 1000);
        OpenOptions::new().append(true).open(name(d, 999 - d)).and_then(|mut f| f.write_all(b"+")).unwrap();
        fs::remove_file(name(d, d)).unwrap();
    }
    bench.unmount();
    bench.mount();
    let mut text = String::new();
    File::open(name(7, 992)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "one and the same\n+");
    assert!(fs::metadata(name(7, 7)).is_err());
}

/// A mounted view of `dirs` directories with `names` names each, all with the same content.
fn big(dirs: usize, names: usize) -> Option<Bench> {
    if let Some(why) = crate::bench::cannot_mount() {
        eprintln!("skipped: {why}");
        return None;
    }
    let mut bench = Bench::new(&["v"]);
    let store = Store::open(&bench.manifest.store).unwrap();
    let stage = store.stage().unwrap();
    let text = b"one and the same\n";
    let object = stage.add_bytes(text).unwrap();
    stage.publish().unwrap();
    let file = || Item::File { object, size: text.len() as u64, blocks: 8 };
    let meta = |perm| NodeMeta { perm, mtime: Timespec { sec: 1_000_000_000, nsec: 1 }, xattrs: Vec::new() };
    let mut builder = TreeBuilder::new(meta(0o755));
    for d in 0..dirs {
        let dir = Name::new(format!("d{d}").as_bytes()).unwrap();
        let dir = builder.add(Slot::ROOT, dir, meta(0o755), Item::Dir).unwrap();
        for i in 0..names {
            builder.add(dir, Name::new(format!("name-{i:06}").as_bytes()).unwrap(), meta(0o644), file()).unwrap();
        }
    }
    bench.manifest.views[0].grafts[0].tree = store.put_tree(&builder).unwrap();
    bench.save();
    bench.mount();
    Some(bench)
}
