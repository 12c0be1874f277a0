//! Random damage in the store below views that are mounted, and in the state directory of a worktree: no end that never
//! comes, no server that dies, no wrong byte without an error. A run prints its seed; `DEPSFS_SEED` replays it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use depsfs::daemon::client;
use depsfs::store::manifest::ViewSpec;
use depsfs::store::{Store, import};

use crate::bench::{Bench, bench};

/// The number of flips or cuts of each kind of file.
const TIMES: usize = 50;
/// Every request is answered by then, whatever is damaged.
const PATIENCE: Duration = Duration::from_secs(60);

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let given = std::env::var("DEPSFS_SEED").ok().and_then(|n| n.parse().ok());
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        let seed = given.unwrap_or(u64::from(now) ^ u64::from(std::process::id()) << 32) | 1;
        println!("seed: DEPSFS_SEED={seed} replays this");
        Dice(seed)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n.max(1)
    }
}

/// Damages a file where it is, and says how.
fn damage(path: &Path, dice: &mut Dice) -> String {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    if dice.below(5) == 0 {
        let to = dice.below(len);
        file.set_len(to).unwrap();
        return format!("{} cut to {to}", path.display());
    }
    let (at, bit) = (dice.below(len), dice.below(8));
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
    format!("{}: bit {bit} of byte {at}", path.display())
}

/// A process that has the file open sees the good bytes again.
fn repair(path: &Path, good: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(good.len() as u64).unwrap();
    file.write_all_at(good, 0).unwrap();
}

/// The outcome of `work`, which may not hang.
fn within<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = channel();
    let worker = std::thread::spawn(move || drop(tell.send(work())));
    match told.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(_) if worker.is_finished() => std::panic::resume_unwind(worker.join().unwrap_err()),
        Err(_) => panic!("{what}: no answer"),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()) {
        if entry.is_dir() { all.extend(files(&entry)) } else { all.push(entry) }
    }
    all.sort();
    all
}

type Shown = BTreeMap<String, Vec<u8>>;

/// The content of a view is as it should be, or an error: EIO. How many files are lost.
fn look(view: &Path, shown: &Shown) -> usize {
    let is_eio = |e: &std::io::Error| e.raw_os_error() == Some(5);
    let mut lost = 0;
    for (name, content) in shown {
        match fs::read(view.join(name)) {
            Ok(bytes) => assert!(bytes == *content, "{name} has wrong bytes"),
            Err(e) if is_eio(&e) => lost += 1,
            Err(e) => panic!("{name}: {e}"),
        }
    }
    match fs::read_dir(view).and_then(|names| names.collect::<Result<Vec<_>, _>>()) {
        Ok(names) => assert_eq!(names.len(), shown.len()),
        Err(e) => assert!(is_eio(&e), "{e}"),
    }
    lost
}

/// A bench whose source has files in packs, files with objects of their own, and so many names that its tree is mapped;
/// as many views of it as are damaged below.
fn many() -> (Bench, Shown) {
    let mut bench = Bench::new(&[]);
    let source = bench.dir.join("many");
    fs::create_dir(&source).unwrap();
    let mut shown = Shown::new();
    for n in 0..200u32 {
        let len = if n < 8 { 70_000 + n } else { 10 + n * 9 };
        shown.insert(format!("{n} {}", "x".repeat(240)), (0..len).map(|i| (i % 251 + n) as u8).collect());
    }
    shown.iter().for_each(|(name, content)| fs::write(source.join(name), content).unwrap());
    let store = Store::open(&bench.manifest.store).unwrap();
    let tree = import::import_dir(&store, &source, &()).unwrap().tree;
    let graft = depsfs::store::manifest::Graft { at: "".into(), tree, entry: None, origin: "".into(), retired: false };
    let view = |n: usize| ViewSpec {
        id: format!("{n:016x}"),
        path: format!("v{n}").into(),
        grafts: vec![graft.clone()],
        ..ViewSpec::default()
    };
    bench.manifest.views = (0..TIMES).map(view).collect();
    bench.save();
    (bench, shown)
}

#[test]
fn whatever_bit_of_the_store_is_wrong_below_views_that_are_mounted_no_wrong_byte_is_read_and_no_server_ends() {
    let _ = bench!("v");
    let mut dice = Dice::new();
    for kind in ["objects", "packs", "trees"] {
        let (bench, shown) = many();
        let server = bench.mount().server_pid;
        // Trees are looked at once a second, while somebody asks.
        std::thread::sleep(Duration::from_millis(1100));
        let mut lost = 0;
        for n in 0..TIMES {
            let mut all = files(&bench.manifest.store.join(kind));
            all.retain(|path| fs::metadata(path).is_ok_and(|m| m.len() > 0));
            let largest = |path: &&PathBuf| fs::metadata(path).unwrap().len();
            let one = match kind {
                // That of the views, not the bench's own.
                "trees" => all.iter().max_by_key(largest).unwrap(),
                _ => &all[dice.below(all.len() as u64) as usize],
            };
            let good = fs::read(one).unwrap();
            let how = damage(one, &mut dice);
            let (view, shown) = (bench.view(&format!("v{n}")), shown.clone());
            println!("{how}");
            lost += within(&how, move || look(&view, &shown));
            repair(one, &good);
            assert_eq!(bench.state().and_then(|state| state.server_pid), server, "{how}\n{}", bench.log());
        }
        assert!(lost > 0, "{kind}: nothing was ever found");
        within("unmounted", move || drop(bench));
    }
}

/// The bench's own view, mounted or not: right, not there, or EIO.
fn look_at_own(view: &Path) {
    for (name, content) in [("a.txt", "from the store\n".to_owned()), ("lib/b.js", "b\n".repeat(5000))] {
        if let Ok(bytes) = fs::read(view.join(name)) {
            assert!(bytes == content.as_bytes(), "{name} has wrong bytes");
        }
    }
}

#[test]
fn whatever_bit_of_a_state_directory_is_wrong_commands_end_and_what_is_mounted_is_right() {
    let mut dice = Dice::new();
    for kind in ["manifest.json", "daemon.json", "settled", "others"] {
        let mut bench = bench!("v");
        bench.start_with("DEPSFS_CHECK=0");
        let state = bench.state_dir();
        for _ in 0..TIMES {
            bench.save();
            bench.mount();
            // Some while the daemon lives, some when it has ended, with which its file is gone.
            let lives = kind == "daemon.json" || dice.below(2) == 0;
            if !lives {
                bench.unmount();
            }
            let settled = state.join("views/0000000000000000/settled");
            fs::write(&settled, "1").unwrap();
            let one = match kind {
                "settled" => settled,
                "others" => {
                    let mut all = files(&state);
                    all.retain(|path| fs::metadata(path).is_ok_and(|m| m.len() > 0));
                    all.swap_remove(dice.below(all.len() as u64) as usize)
                }
                name => state.join(name),
            };
            let how = damage(&one, &mut dice);
            println!("{how} {}", if lives { "of a living daemon" } else { "" });
            let (dir, program, view) = (state.clone(), bench.program.clone(), bench.view("v"));
            within(&how, move || {
                client::state(&dir);
                if let Err(e) = client::mount_with(&program, &dir) {
                    println!("{e}");
                }
                look_at_own(&view);
            });
            // As before, whatever came of it.
            let dir = state.clone();
            let unmounted = within(&how, move || client::unmount(&dir, true));
            if let Err(e) = unmounted {
                println!("not unmounted: {e}");
            }
            bench.save();
            let dir = state.clone();
            within(&how, move || client::unmount(&dir, true)).unwrap_or_else(|e| panic!("{how}: {e}\n{}", bench.log()));
            assert_eq!(bench.mounted(), Vec::<String>::new(), "{how}");
            fs::remove_dir_all(&state).unwrap();
            fs::create_dir(&state).unwrap();
        }
    }
}

#[test]
fn a_wrong_start_time_of_the_keeper_keeps_nobody_from_it() {
    let mut bench = bench!("v");
    let keeper = bench.mount().pid;
    let file = bench.state_dir().join("daemon.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    state["started"] = (state["started"].as_u64().unwrap() ^ 8).into();
    let damaged = serde_json::to_vec(&state).unwrap();
    fs::write(&file, &damaged).unwrap();
    bench.manifest.generation += 1;
    bench.save();
    let state = bench.mount();
    assert_eq!((state.pid, state.generation), (keeper, bench.manifest.generation));
    fs::write(&file, &damaged).unwrap();
    client::unmount(&bench.state_dir(), false).unwrap();
    assert_eq!(bench.mounted(), Vec::<String>::new());
}

#[test]
fn a_lock_file_that_names_another_process_has_that_one_left_alone_and_the_daemon_found() {
    let mut bench = bench!("v");
    let other = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let keeper = bench.mount().pid;
    for named in [other.id().to_string(), "x".into(), String::new(), "2147483646".into()] {
        fs::write(bench.state_dir().join("daemon.lock"), &named).unwrap();
        bench.manifest.generation += 1;
        bench.save();
        let state = bench.mount();
        assert_eq!((state.pid, state.generation), (keeper, bench.manifest.generation), "{named}");
    }
    fs::write(bench.state_dir().join("daemon.lock"), other.id().to_string()).unwrap();
    bench.unmount();
    assert_eq!(bench.mounted(), Vec::<String>::new());
    assert!(is_untouched(other), "it got a signal");
}

/// Whether a process lives. It does not afterwards.
fn is_untouched(mut process: std::process::Child) -> bool {
    let lives = process.try_wait().unwrap().is_none();
    process.kill().and_then(|()| process.wait()).unwrap();
    lives
}

#[test]
fn a_lock_file_that_names_a_process_younger_than_the_keeper_has_that_one_left_alone_too() {
    for kind in ["a program", "a thread of the server", "the keeper of another directory"] {
        let mut bench = bench!("v");
        let neighbour = bench!("v");
        let server = bench.mount().server_pid.unwrap();
        // Younger by some ticks of the clock by which the kernel tells.
        std::thread::sleep(Duration::from_millis(50));
        let program = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let named = match kind {
            "a program" => program.id().to_string(),
            "a thread of the server" => {
                let threads = fs::read_dir(format!("/proc/{server}/task")).unwrap();
                threads.map(|e| e.unwrap().file_name().into_string().unwrap()).max().unwrap()
            }
            _ => neighbour.mount().pid.to_string(),
        };
        fs::write(bench.state_dir().join("daemon.lock"), &named).unwrap();
        bench.manifest.generation += 1;
        bench.save();
        let (dir, program_file) = (bench.state_dir(), bench.program.clone());
        let state = within(kind, move || client::mount_with(&program_file, &dir)).unwrap();
        assert_eq!(state.generation, bench.manifest.generation, "{kind}");
        fs::write(bench.state_dir().join("daemon.lock"), &named).unwrap();
        let dir = bench.state_dir();
        within(kind, move || client::unmount(&dir, false)).unwrap();
        assert_eq!(bench.mounted(), Vec::<String>::new(), "{kind}");
        assert_eq!(neighbour.mounted().len(), usize::from(kind.starts_with("the keeper")), "it got a signal");
        assert!(is_untouched(program), "it got a signal");
    }
}
