//! Real limits, met by programs through a mount: a full disk, no inodes, a quota, few descriptors.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, XattrFlags};

use crate::bench::{Bench, PROGRAM, bench, wait_until};
use crate::small::{fill, limited, small};

/// The entries below a directory: mode, and bytes or target.
type Seen = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn seen(root: &Path) -> Seen {
    fn walk(root: &Path, dir: &Path, seen: &mut Seen) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let bytes = match (meta.is_dir(), meta.is_file()) {
                (true, _) => vec![],
                (_, true) => fs::read(&path).unwrap(),
                _ => fs::read_link(&path).unwrap_or_default().into_os_string().into_encoded_bytes(),
            };
            seen.insert(path.strip_prefix(root).unwrap().into(), (meta.mode(), bytes));
            if meta.is_dir() {
                walk(root, &path, seen);
            }
        }
    }
    let mut all = Seen::new();
    walk(root, root, &mut all);
    all
}

/// The content of a test's view, as a plain directory.
fn twin(bench: &Bench) -> tempfile::TempDir {
    let twin = tempfile::tempdir().unwrap();
    let source = bench.dir.join("source/.");
    assert!(std::process::Command::new("cp").arg("-a").args([&source, twin.path()]).status().unwrap().success());
    twin
}

fn prepare(dir: &Path) {
    fs::write(dir.join("own"), [b'o'; 4096]).unwrap();
    fs::write(dir.join("big"), vec![b'b'; 1 << 20]).unwrap();
    fs::create_dir(dir.join("own.d")).unwrap();
    fs::write(dir.join("own.d/x"), "x").unwrap();
    fs::set_permissions(dir.join("own"), fs::Permissions::from_mode(0o640)).unwrap();
}

type Op = (&'static str, fn(&Path) -> io::Result<()>);

fn open(path: PathBuf) -> io::Result<File> {
    File::options().write(true).open(path)
}

fn chmod(path: PathBuf, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// In this order, each on what those before it have left.
const OPS: &[Op] = &[
    ("write to a shared file", |d| open(d.join("lib/b.js"))?.write_all_at(b"X", 9)),
    ("write to a shared file, at its end", |d| open(d.join("a.txt"))?.write_all_at(b"X", 15)),
    ("cut a shared file", |d| open(d.join("lib/b.js"))?.set_len(5000)),
    ("append to an own file", |d| open(d.join("own"))?.write_all_at(&[1; 8192], 4096)),
    ("create", |d| File::create_new(d.join("new")).map(drop)),
    ("write to what was created", |d| open(d.join("new"))?.write_all_at(b"text", 0)),
    ("create in a shared directory", |d| File::create_new(d.join("lib/deep/new")).map(drop)),
    ("mkdir", |d| fs::create_dir(d.join("dir"))),
    ("mkdir in a shared directory", |d| fs::create_dir(d.join("lib/deep/dir"))),
    ("symlink", |d| symlink("long/".repeat(100), d.join("sym"))),
    ("mkfifo", |d| {
        Ok(rustix::fs::mknodat(rustix::fs::CWD, d.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)?)
    }),
    ("fallocate", |d| Ok(rustix::fs::fallocate(open(d.join("own"))?, FallocateFlags::empty(), 0, 1 << 20)?)),
    ("fallocate of a shared file", |d| {
        Ok(rustix::fs::fallocate(open(d.join("lib/b.js"))?, FallocateFlags::empty(), 0, 1 << 20)?)
    }),
    ("setxattr on an own file", |d| {
        Ok(rustix::fs::setxattr(d.join("own"), "user.big", &[7; 3000], XattrFlags::empty())?)
    }),
    ("link", |d| fs::hard_link(d.join("own"), d.join("own 2"))),
    ("link of a shared file", |d| fs::hard_link(d.join("lib/b.js"), d.join("b 2"))),
    ("rename", |d| fs::rename(d.join("own 2"), d.join("own 3"))),
    ("rename of a shared file", |d| fs::rename(d.join("a.txt"), d.join("a 2"))),
    ("rename of a directory", |d| fs::rename(d.join("own.d"), d.join("own.e"))),
    ("rename of a shared directory", |d| fs::rename(d.join("lib/deep"), d.join("deep"))),
    ("rename over a shared file", |d| fs::rename(d.join("own.e/x"), d.join("a 2"))),
    ("chmod", |d| chmod(d.join("own"), 0o600)),
    ("chmod of a shared file", |d| chmod(d.join("lib/b.js"), 0o700)),
    ("chmod of a shared directory", |d| chmod(d.join("lib"), 0o711)),
    ("unlink", |d| fs::remove_file(d.join("own 3"))),
    ("unlink of a shared file", |d| fs::remove_file(d.join("b 2"))),
    ("unlink of a shared symlink", |d| fs::remove_file(d.join("link"))),
    ("unlink in a moved directory", |d| fs::remove_file(d.join("deep/c"))),
    ("rmdir of a shared directory", |d| fs::remove_dir(d.join("deep"))),
];

/// Each operation in the view answers `errno` and changes nothing, or does what it does in the plain directory.
fn each_is_done_or_refused(view: &Path, plain: &Path, errno: i32) -> Vec<&'static str> {
    let mut refused = Vec::new();
    for (name, op) in OPS {
        match op(view) {
            Ok(()) => op(plain).unwrap_or_else(|e| panic!("{name} in the plain directory: {e}")),
            // A name that was refused before is missed now, in both.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                assert_eq!(op(plain).map_err(|e| e.kind()), Err(e.kind()), "{name}");
            }
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(errno), "{name}: {e}");
                refused.push(*name);
            }
        }
        let (there, want) = (seen(view), seen(plain));
        let differ = there.keys().chain(want.keys()).filter(|p| there.get(*p) != want.get(*p));
        assert_eq!(differ.collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "after {name}");
    }
    refused
}

/// A bench on a small disk that a test has filled, or the end of the test.
macro_rules! mounted {
    ($disk:expr) => {{
        if let Some(why) = crate::bench::cannot_mount() {
            return eprintln!("skipped: {why}");
        }
        let Some(disk) = $disk else { return };
        let bench = Bench::below(&disk.at, &["a"]);
        bench.mount();
        let plain = twin(&bench);
        [&bench.view("a"), plain.path()].into_iter().for_each(prepare);
        (disk, bench, plain)
    }};
}

#[test]
fn on_a_full_disk_each_operation_is_done_or_answers_enospc_and_what_is_deleted_makes_room() {
    let (disk, bench, plain) = mounted!(small(&[]));
    let server = bench.state().unwrap().server_pid;
    fill(&disk.at);
    let view = bench.view("a");
    let refused = each_is_done_or_refused(&view, plain.path(), libc::ENOSPC);
    for name in ["write to a shared file", "append to an own file", "mkdir", "symlink", "fallocate"] {
        assert!(refused.contains(&name), "{name} needs a block; refused were {refused:?}");
    }
    for name in ["rename of a shared file", "chmod of a shared file", "unlink of a shared symlink"] {
        assert!(!refused.contains(&name), "{name} needs none: {refused:?}");
    }
    assert_eq!(bench.state().unwrap().server_pid, server);
    [&view, plain.path()].into_iter().for_each(|dir| fs::remove_file(dir.join("big")).unwrap());
    wait_until("the blocks of a deleted file are free", || fs::write(view.join("again"), vec![b'a'; 900_000]).is_ok());
    fs::write(plain.path().join("again"), vec![b'a'; 900_000]).unwrap();
    fill(&bench.dir);
    assert_eq!(seen(&view), seen(plain.path()));
    // As full as it is: all is there again, or it is said why not and nothing is mounted.
    bench.unmount();
    if let Err(e) = bench.try_mount() {
        assert!(e.to_string().contains("No space left on device"), "{e}\n{}", bench.log());
        assert!(bench.mounted().is_empty());
        fs::remove_file(disk.at.join("filler")).unwrap();
    }
    bench.mount();
    assert_eq!(seen(&view), seen(plain.path()));
    for name in ["again", "own", "new", "fifo", "own.e", "lib/b.js", "lib"] {
        let path = view.join(name);
        let gone = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        gone.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }).expect(name);
    }
    assert_eq!(seen(&view).into_keys().collect::<Vec<_>>(), [PathBuf::from("a 2")]);
    bench.unmount();
}

#[test]
fn without_an_inode_each_operation_is_done_or_answers_enospc() {
    let (disk, bench, plain) = mounted!(small(&["-N", "128"]));
    let view = bench.view("a");
    let fillers = (0..).take_while(|n| File::create(disk.at.join(format!("f{n}"))).is_ok()).count();
    assert!(fillers > 0, "there were inodes");
    let refused = each_is_done_or_refused(&view, plain.path(), libc::ENOSPC);
    for name in ["write to a shared file", "create", "mkdir", "symlink", "mkfifo"] {
        assert!(refused.contains(&name), "{name} needs an inode; refused were {refused:?}");
    }
    wait_until("the inode of a deleted file is free", || {
        let _ = fs::remove_file(view.join("big"));
        File::create(view.join("again")).is_ok()
    });
    bench.unmount();
}

#[test]
fn over_a_quota_each_operation_is_done_or_answers_edquot() {
    let (disk, bench, plain) = mounted!(limited("8M"));
    let view = bench.view("a");
    fill(&disk.at);
    let refused = each_is_done_or_refused(&view, plain.path(), libc::EDQUOT);
    for name in ["write to a shared file", "append to an own file", "fallocate"] {
        assert!(refused.contains(&name), "{name} needs a block; refused were {refused:?}");
    }
    disk.lift_limit();
    for dir in [&view, plain.path()] {
        open(dir.join("lib/b.js")).unwrap().write_all_at(b"now", 9).unwrap();
        fs::write(dir.join("later"), vec![b'l'; 4 << 20]).unwrap();
    }
    bench.unmount();
    bench.mount();
    assert_eq!(seen(&view), seen(plain.path()));
    bench.unmount();
}

#[test]
fn with_64_descriptors_hundreds_of_open_changed_and_deleted_files_are_served() {
    let bench = bench!("a");
    let program =
        bench.script("few descriptors", &format!("ulimit -Sn 64 && ulimit -Hn 64 && exec '{PROGRAM}' \"$@\""));
    let state = depsfs::daemon::client::mount_with(&program, &bench.state_dir()).unwrap();
    let server = state.server_pid.unwrap();
    let limits = fs::read_to_string(format!("/proc/{server}/limits")).unwrap();
    let files = limits.lines().find(|l| l.starts_with("Max open files")).unwrap().to_owned();
    assert_eq!(files.split_whitespace().filter(|w| *w == "64").count(), 2, "{files}");
    let view = bench.view("a");
    let name = |n: usize| view.join(format!("dir {}/file {n}", n % 70));
    (0..70).for_each(|n| fs::create_dir(view.join(format!("dir {n}"))).unwrap());
    let open: Vec<File> = (0..300)
        .map(|n| {
            let file = File::options().create_new(true).read(true).write(true).open(name(n)).unwrap();
            file.write_all_at(n.to_string().as_bytes(), 0).unwrap();
            file
        })
        .collect();
    let shared = File::options().read(true).write(true).open(view.join("lib/b.js")).unwrap();
    shared.write_all_at(b"B", 0).unwrap();
    (0..300).step_by(2).for_each(|n| fs::remove_file(name(n)).unwrap());
    (1..300).step_by(2).for_each(|n| fs::rename(name(n), view.join(format!("moved {n}"))).unwrap());
    for (n, file) in open.iter().enumerate() {
        file.write_all_at(b" more", 3).unwrap();
        let mut bytes = vec![0; 100];
        let len = file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..len].trim_ascii_end(), format!("{n:\0<3} more").as_bytes());
    }
    assert_eq!(fs::read_dir(&view).unwrap().count(), 70 + 150 + 3);
    let mut first = [0; 4];
    shared.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(&first, b"B\nb\n");
    assert_eq!(bench.state().unwrap().server_pid, Some(server));
    drop((open, shared));
    bench.unmount();
}
