//! Views whose big files are read without the server: the store stays what it is, and programs see what they see of a
//! plain directory. A program that had a file open before its first write goes on seeing the old bytes, and nothing
//! else differs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use depsfs::store::{Store, import};
use memmap2::MmapOptions;

use crate::bench::{Bench, bench, cannot_mount, is_root, signal, wait_until};

/// More than goes into a pack: an object of its own, which the kernel can be given.
const SIZE: usize = 200_000;

type Change = fn(&Path) -> io::Result<String>;

/// Each changes `f`, `g` or a name of theirs; the text is what the program got to see.
const CHANGES: [(&str, Change); 19] = [
    ("written in place", |dir| {
        let file = rw(&dir.join("f"))?;
        file.write_all_at(b"written", 1000)?;
        told(&file)
    }),
    ("opened to write only, nothing written", |dir| {
        let file = OpenOptions::new().write(true).open(dir.join("f"))?;
        told(&file).map(|_| fs::metadata(dir.join("f")).unwrap().len().to_string())
    }),
    ("emptied by open", |dir| {
        let file = File::create(dir.join("f"))?;
        (&file).write_all(b"short")?;
        Ok(file.metadata()?.len().to_string())
    }),
    ("emptied by open to read", |dir| {
        sh(dir, "python3 -c 'import os; print(os.read(os.open(\"f\", os.O_RDONLY | os.O_TRUNC), 9))'")
    }),
    ("appended to", |dir| {
        let mut file = OpenOptions::new().append(true).open(dir.join("f"))?;
        file.write_all(b"the end")?;
        Ok(file.metadata()?.len().to_string())
    }),
    ("written through a shared mapping", |dir| {
        let file = rw(&dir.join("f"))?;
        // SAFETY: nobody cuts the file meanwhile.
        let mut map = unsafe { MmapOptions::new().map_mut(&file)? };
        map[5000..5006].copy_from_slice(b"mapped");
        map.flush()?;
        told(&file)
    }),
    ("written through a private mapping", |dir| {
        let file = rw(&dir.join("f"))?;
        // SAFETY: nobody cuts the file meanwhile.
        let mut map = unsafe { MmapOptions::new().map_copy(&file)? };
        map[5000..5007].copy_from_slice(b"private");
        Ok(format!("{:?}", &map[5000..5007]))
    }),
    ("replaced by a rename", |dir| {
        fs::write(dir.join("new"), "another")?;
        fs::rename(dir.join("new"), dir.join("f"))?;
        fs::read_to_string(dir.join("f"))
    }),
    ("moved away and back", |dir| {
        fs::rename(dir.join("f"), dir.join("sub/away"))?;
        fs::write(dir.join("sub/away"), "changed elsewhere")?;
        fs::rename(dir.join("sub/away"), dir.join("f"))?;
        fs::read_to_string(dir.join("f"))
    }),
    ("deleted", |dir| fs::remove_file(dir.join("f")).map(|()| String::new())),
    ("deleted and made again", |dir| {
        fs::remove_file(dir.join("f"))?;
        fs::write(dir.join("f"), "again").map(|()| String::new())
    }),
    ("given a mode", |dir| {
        fs::set_permissions(dir.join("f"), fs::Permissions::from_mode(0o640))?;
        Ok(format!("{:o}", fs::metadata(dir.join("g"))?.mode()))
    }),
    ("given times through a reader", |dir| {
        let file = File::open(dir.join("f"))?;
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(77))?;
        Ok(format!("{} {}", fs::metadata(dir.join("g"))?.mtime(), file.metadata()?.mtime()))
    }),
    ("cut by path", |dir| sh(dir, "python3 -c 'import os; os.truncate(\"g\", 70000)'; stat -c %s f g")),
    ("made longer by path", |dir| sh(dir, "python3 -c 'import os; os.truncate(\"f\", 300000)'; stat -c %s f g")),
    ("allocated, and a hole punched", |dir| {
        sh(dir, "fallocate -p -o 8192 -l 8192 f && fallocate -l 250000 g && stat -c %s f")
    }),
    ("copied into by copy_file_range, and from", |dir| {
        let (from, to) = (rw(&dir.join("other"))?, rw(&dir.join("f"))?);
        let copied = rustix::fs::copy_file_range(&from, None, &to, None, 5000)?;
        let back = rustix::fs::copy_file_range(&to, None, &from, None, 5000)?;
        Ok(format!("{copied} {back}"))
    }),
    ("spliced into, and sent", |dir| {
        sh(dir, "head -c 9000 /dev/zero | python3 -c 'import os; os.splice(0, os.open(\"f\", os.O_WRONLY), 4096)'")?;
        sh(dir, "python3 -c 'import os; os.sendfile(1, os.open(\"f\", 0), 0, 6000)' | cksum")
    }),
    ("given another name, and written by it", |dir| {
        fs::hard_link(dir.join("f"), dir.join("h"))?;
        rw(&dir.join("h"))?.write_all_at(b"by another name", 0)?;
        Ok(format!("{} {}", fs::metadata(dir.join("f"))?.nlink(), start(&dir.join("g"))?))
    }),
];

fn rw(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn told(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut &*file).read_to_end(&mut bytes)?;
    Ok(digest(&bytes))
}

fn digest(bytes: &[u8]) -> String {
    format!("{} bytes, {}", bytes.len(), depsfs::store::ObjectId::of(bytes).hex())
}

fn start(path: &Path) -> io::Result<String> {
    let mut bytes = [0; 20];
    File::open(path)?.read_exact(&mut bytes).map(|()| String::from_utf8_lossy(&bytes).into_owned())
}

fn sh(dir: &Path, script: &str) -> io::Result<String> {
    let out = Command::new("sh").args(["-ec", script]).current_dir(dir).output()?;
    Ok(format!("{} {}", out.status, String::from_utf8_lossy(&out.stdout)))
}

/// For each change a directory with `f`, of which `g` is another name, `other` and `sub`.
fn fill(root: &Path) {
    for (n, _) in CHANGES.iter().enumerate() {
        let dir = root.join(n.to_string());
        fs::create_dir_all(dir.join("sub")).unwrap();
        let bytes = |seed: usize| (0..SIZE).map(|i| (i / 7 + i / 4096 + seed) as u8).collect::<Vec<_>>();
        fs::write(dir.join("f"), bytes(n)).unwrap();
        fs::hard_link(dir.join("f"), dir.join("g")).unwrap();
        fs::write(dir.join("other"), bytes(100 + n)).unwrap();
    }
}

/// A view `v` of `source`, whose files are passed through from one byte on; `None`, and why, where that can't be.
fn passing(fill: impl Fn(&Path)) -> Option<Bench> {
    if let Some(why) = cannot_mount() {
        eprintln!("skipped: {why}");
        return None;
    }
    if !is_root() {
        eprintln!("skipped: only root's views pass files through");
        return None;
    }
    let mut bench = Bench::new(&["v"]);
    fs::remove_dir_all(bench.dir.join("source")).unwrap();
    fs::create_dir(bench.dir.join("source")).unwrap();
    fill(&bench.dir.join("source"));
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &bench.dir.join("source"), &()).unwrap().tree;
    bench.save();
    bench.wish_passthrough("1");
    let state = bench.mount();
    if state.views[0].passes.is_none() {
        eprintln!("skipped: this kernel or file system passes nothing through\n{}", bench.log());
        return None;
    }
    Some(bench)
}

fn store_is_sound(bench: &Bench) {
    let store = Store::open(&bench.manifest.store).unwrap();
    let damage = store.verify(&()).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
}

fn kill_server(bench: &Bench) {
    let before = bench.state().and_then(|s| s.server_pid).expect("a server");
    signal(before, "-9");
    wait_until("there is another server", || bench.state().and_then(|s| s.server_pid).is_some_and(|now| now != before));
    // It answers: one that dies before it has is counted as dead of itself.
    assert!(fs::metadata(bench.view(&format!("v/no file {before}"))).is_err());
}

/// The result of a change, without what two directories never have in common.
fn left(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap()).collect();
    names.sort_by_key(|entry| entry.file_name());
    let line = |entry: &fs::DirEntry| {
        let meta = entry.metadata().unwrap();
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(entry), meta.ino(), "{:?}", entry.path());
        let bytes = if meta.is_file() { digest(&fs::read(entry.path()).unwrap()) } else { String::new() };
        format!("{:?} {:o} links {} {bytes}", entry.file_name(), meta.mode(), meta.nlink())
    };
    names.iter().map(line).collect()
}

/// Makes every change while `f` is open and mapped to read; `kill` ends the server before and after each.
fn changes_on_a_view_and_a_plain_directory(kill: bool) {
    let Some(bench) = passing(fill) else { return };
    let (view, plain) = (bench.view("v"), bench.dir.join("plain"));
    fs::create_dir(&plain).unwrap();
    fill(&plain);
    for (n, (what, change)) in CHANGES.iter().enumerate() {
        if kill && n % 3 == 2 {
            // A keeper gives up servers that die again and again as soon as they serve: this is another one.
            bench.unmount();
            bench.mount();
        }
        let (view, plain) = (view.join(n.to_string()), plain.join(n.to_string()));
        let before = fs::read(plain.join("f")).unwrap();
        let reader = File::open(view.join("f")).unwrap();
        // SAFETY: the store's file behind it is never cut.
        let map = unsafe { MmapOptions::new().map(&reader).unwrap() };
        let number = reader.metadata().unwrap().ino();
        if kill {
            kill_server(&bench);
        }
        let (on_view, on_plain) = (change(&view), change(&plain));
        assert_eq!(on_view.map_err(|e| e.raw_os_error()), on_plain.map_err(|e| e.raw_os_error()), "{what}");
        if kill {
            kill_server(&bench);
        }
        assert_eq!(left(&view), left(&plain), "{what}");
        let mut old = vec![0; SIZE];
        reader.read_exact_at(&mut old, 0).unwrap();
        assert!(old == before && *map == *before, "{what}: who had it open reads the store's bytes");
        assert_eq!(reader.metadata().unwrap().ino(), number, "{what}");
        if view.join("g").exists() && !["replaced by a rename", "deleted and made again"].contains(what) {
            assert_eq!(fs::metadata(view.join("g")).unwrap().ino(), number, "{what}");
        }
    }
    store_is_sound(&bench);
    let listed: Vec<_> = (0..CHANGES.len()).map(|n| left(&view.join(n.to_string()))).collect();
    bench.unmount();
    bench.mount();
    let again: Vec<_> = (0..CHANGES.len()).map(|n| left(&view.join(n.to_string()))).collect();
    assert_eq!(again, listed, "after a remount");
    store_is_sound(&bench);
}

#[test]
fn no_change_of_a_file_that_is_open_and_mapped_reaches_the_store() {
    changes_on_a_view_and_a_plain_directory(false);
}

#[test]
fn no_change_reaches_the_store_when_the_server_is_killed_before_and_after_it() {
    changes_on_a_view_and_a_plain_directory(true);
}

fn one_file(root: &Path) {
    fs::write(root.join("f"), "the store's ".repeat(SIZE / 12)).unwrap();
    fs::write(root.join("small"), "small\n").unwrap();
}

#[test]
fn a_big_file_is_read_and_mapped_without_the_server() {
    let Some(bench) = passing(one_file) else { return };
    let file = File::open(bench.view("v/f")).unwrap();
    // SAFETY: the store's file behind it is never cut.
    let map = || unsafe { MmapOptions::new().len(SIZE / 2).map(&file) };
    let server = bench.state().unwrap().server_pid.unwrap();
    signal(server, "-STOP");
    let mut bytes = vec![0; 12];
    let read = (0..SIZE as u64 / 12).try_for_each(|n| file.read_exact_at(&mut bytes, n * 12));
    let mapped = map().map(|map| map[..12].to_vec());
    signal(server, "-CONT");
    read.unwrap();
    assert_eq!((bytes, mapped.unwrap()), (b"the store's ".to_vec(), b"the store's ".to_vec()));
}

/// Whether nobody has the file open, the kernel itself included (`fcntl(2)`, F_SETLEASE).
fn is_open_nowhere(path: &Path) -> bool {
    let file = File::open(path).unwrap();
    let lease = |kind: libc::c_int| {
        // SAFETY: the descriptor is open, and the call takes no pointer.
        unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_SETLEASE, kind) == 0 }
    };
    lease(libc::F_WRLCK) && lease(libc::F_UNLCK)
}

#[test]
fn the_kernel_closes_the_stores_file_once_the_file_is_written_and_no_reader_is_left() {
    let Some(bench) = passing(one_file) else { return };
    let f = bench.view("v/f");
    let store = Store::open(&bench.manifest.store).unwrap();
    let object = store.objects().path_of(&depsfs::store::ObjectId::of(&fs::read(&f).unwrap()));
    assert!(!is_open_nowhere(&object), "it is passed through");
    // The next server has no word of it but the number that the kernel gave it.
    kill_server(&bench);
    rw(&f).unwrap().write_all_at(b"first", 0).unwrap();
    wait_until("the store's file is closed", || is_open_nowhere(&object));
    assert_eq!(start(&f).unwrap(), "firsttore's the stor");
}

#[test]
fn a_file_that_is_open_to_write_is_read_as_it_is_written_by_all_who_open_it_later() {
    let Some(bench) = passing(one_file) else { return };
    let f = bench.view("v/f");
    let early = File::open(&f).unwrap();
    let writer = rw(&f).unwrap();
    let late = File::open(&f).unwrap();
    writer.write_all_at(b"first", 0).unwrap();
    kill_server(&bench);
    let latest = File::open(&f).unwrap();
    writer.write_all_at(b"second", 100).unwrap();
    let read = |file: &File, at| {
        let mut bytes = [0; 6];
        file.read_exact_at(&mut bytes, at).map(|()| String::from_utf8_lossy(&bytes).into_owned()).unwrap()
    };
    assert_eq!(
        [&late, &latest].map(|file| (read(file, 0), read(file, 100))),
        [(); 2].map(|()| ("firstt".into(), "second".into()))
    );
    assert_eq!(read(&early, 0), "the st");
    // SAFETY: nobody cuts it.
    let (mut ours, theirs) =
        unsafe { (MmapOptions::new().map_mut(&writer).unwrap(), MmapOptions::new().map(&late).unwrap()) };
    ours[200] = b'!';
    assert_eq!(theirs[200], b'!', "one mapping for all");
    assert_eq!(early.metadata().unwrap().ino(), late.metadata().unwrap().ino());
    drop((early, late, latest, writer));
    store_is_sound(&bench);
}

#[test]
fn a_program_runs_from_the_stores_file_and_cannot_be_written_meanwhile() {
    let Some(bench) = passing(|root| {
        fs::copy("/bin/sleep", root.join("sleep")).unwrap();
        fs::OpenOptions::new().append(true).open(root.join("sleep")).unwrap().write_all(&vec![0; SIZE]).unwrap();
    }) else {
        return;
    };
    let program = bench.view("v/sleep");
    let mut running = Command::new(&program).arg("100").stdout(Stdio::null()).spawn().unwrap();
    kill_server(&bench);
    let busy = rw(&program).map(drop).map_err(|e| e.raw_os_error());
    let cut = sh(bench.dir.as_path(), &format!("truncate -s 0 '{}' 2>&1 || echo busy", program.display()));
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(busy, Err(Some(libc::ETXTBSY)));
    assert!(cut.as_ref().is_ok_and(|said| said.contains("busy")), "{cut:?}");
    wait_until("it is free", || rw(&program).is_ok_and(|file| file.write_all_at(b"\x7fELF", 0).is_ok()));
    // A program that another test just starts has the file open to write until its exec.
    let mut own = None;
    wait_until("it starts", || {
        own = Command::new(&program).arg("100").spawn().ok();
        own.is_some()
    });
    let mut own = own.unwrap();
    assert_eq!(rw(&program).map(drop).map_err(|e| e.raw_os_error()), Err(Some(libc::ETXTBSY)), "and so is the copy");
    own.kill().unwrap();
    own.wait().unwrap();
    store_is_sound(&bench);
}

#[test]
fn a_graft_that_is_replaced_while_its_file_is_open_shows_the_other_file_to_those_who_open_it_then() {
    let Some(mut bench) = passing(one_file) else { return };
    let f = bench.view("v/f");
    let (first, opened) = (bench.manifest.views[0].grafts[0].clone(), File::open(&f).unwrap());
    let other = bench.dir.join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("f"), "the other's ".repeat(SIZE / 12)).unwrap();
    let store = Store::open(&bench.manifest.store).unwrap();
    let second = import::import_dir(&store, &other, &()).unwrap().tree;
    for (round, tree) in [second, first.tree, second].into_iter().enumerate() {
        bench.manifest.views[0].grafts[0].tree = tree;
        bench.manifest.generation += 1;
        bench.save();
        bench.mount();
        if round == 1 {
            kill_server(&bench);
        }
        let want = if tree == second { "the other's the othe" } else { "the store's the stor" };
        assert_eq!(start(&f).unwrap(), want, "round {round}");
        let mut bytes = [0; 12];
        opened.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"the store's ");
    }
    rw(&f).unwrap().write_all_at(b"own", 0).unwrap();
    assert_eq!(start(&f).unwrap(), "own other's the othe");
    store_is_sound(&bench);
}

#[test]
fn what_is_reset_is_the_stores_again_and_can_be_written_again() {
    let Some(bench) = passing(one_file) else { return };
    let (f, root) = (bench.view("v/f"), bench.view("v"));
    let old = File::open(&f).unwrap();
    for round in 0..3 {
        rw(&f).unwrap().write_all_at(b"mine", 0).unwrap();
        assert_eq!(start(&f).unwrap(), "minestore's the stor", "round {round}");
        depsfs::sys::fs::set_xattr_of_path(&root, b"user.depsfs.reset", b"f").unwrap();
        wait_until("it is the store's", || start(&f).is_ok_and(|s| s == "the store's the stor"));
    }
    assert!(old.metadata().is_ok());
    store_is_sound(&bench);
}

#[test]
fn what_ordinary_users_and_those_who_wish_it_never_mount_has_opens_without_a_message() {
    let mut bench = bench!("v");
    bench.wish_passthrough("never");
    assert_eq!(bench.mount().views[0].passes, None);
    bench.unmount();
    bench.wish_passthrough("auto");
    assert_eq!(bench.mount().views[0].passes, None, "there is no big file in it");
    bench.unmount();
    if !is_root() {
        bench.wish_passthrough("1");
        assert_eq!(bench.mount().views[0].passes, None, "the kernel lets root alone");
    }
}

#[test]
fn a_view_of_few_files_of_which_one_is_big_is_passed_through_without_being_asked() {
    if !is_root() {
        return println!("skipped: only root's views pass files through");
    }
    let mut bench = bench!("v");
    let source = bench.dir.join("big");
    fs::create_dir(&source).unwrap();
    File::create(source.join("program")).unwrap().set_len(33 << 20).unwrap();
    fs::write(source.join("small"), "small").unwrap();
    let store = Store::open(&bench.manifest.store).unwrap();
    bench.manifest.views[0].grafts[0].tree = import::import_dir(&store, &source, &()).unwrap().tree;
    bench.save();
    bench.wish_passthrough("auto");
    assert_eq!(bench.mount().views[0].passes, Some(32 << 20));
    assert_eq!(fs::read(bench.view("v/program")).unwrap(), vec![0; 33 << 20]);
}
