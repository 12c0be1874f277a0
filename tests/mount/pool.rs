//! Many views of one worktree, which a few threads serve.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::bench::{Bench, Stop, bench, signal, wait_until};

const VIEWS: usize = 60;
/// Of keeper and server together, whatever they are doing: fewer than one for each view.
const MOST_THREADS: usize = 24;

fn many() -> Option<Bench> {
    let paths: Vec<String> = (0..VIEWS).map(|i| format!("view {i}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    match crate::bench::cannot_mount() {
        Some(why) => {
            println!("skipped: {why}");
            None
        }
        None => Some(Bench::new(&paths)),
    }
}

fn views(bench: &Bench) -> Vec<PathBuf> {
    (0..VIEWS).map(|i| bench.view(&format!("view {i}"))).collect()
}

fn threads(bench: &Bench) -> usize {
    let state = bench.state().expect("it runs");
    let count = |pid: i32| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    count(state.pid) + state.server_pid.map_or(0, count)
}

/// Reads what the kernel has, asks for what it doesn't know, and writes.
fn use_all(views: &[PathBuf], round: usize) {
    for view in views {
        assert_eq!(fs::read_to_string(view.join("a.txt")).unwrap(), "from the store\n");
        assert!(fs::metadata(view.join(format!("no {round}"))).is_err());
        fs::write(view.join("written"), round.to_string()).unwrap();
    }
}

#[test]
fn many_views_are_served_by_a_few_threads_also_after_their_server_was_killed() {
    let Some(bench) = many() else { return };
    bench.mount();
    let views = views(&bench);
    for round in 0..2 {
        std::thread::scope(|scope| {
            for part in views.chunks(VIEWS / 4) {
                scope.spawn(move || use_all(part, round));
            }
        });
        let threads = threads(&bench);
        assert!(threads <= MOST_THREADS, "{threads} threads for {VIEWS} views");
        let before = bench.state().and_then(|s| s.server_pid).expect("a server");
        signal(before, "-KILL");
        wait_until("another one runs", || bench.state().and_then(|s| s.server_pid).is_some_and(|pid| pid != before));
    }
    use_all(&views, 2);
    assert!(views.iter().all(|view| fs::read(view.join("written")).unwrap() == b"2"));
    bench.unmount();
    assert!(views.iter().all(|view| fs::read(view.join("written")).unwrap() == b"2"));
}

#[test]
fn views_that_are_unmounted_go_while_the_others_are_used() {
    let Some(mut bench) = many() else { return };
    bench.mount();
    let (views, left) = (views(&bench), AtomicUsize::new(VIEWS));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            let mut round = 0;
            while !is_done.load(Ordering::Relaxed) {
                round += 1;
                use_all(&views[..20], round);
            }
            round
        });
        let stop = Stop(&is_done);
        while left.load(Ordering::Relaxed) > 20 {
            let still = left.load(Ordering::Relaxed) - 10;
            bench.manifest.views.truncate(still);
            bench.manifest.generation += 1;
            bench.save();
            let mounted = bench.mount().views.len();
            assert_eq!(mounted, still);
            left.store(still, Ordering::Relaxed);
        }
        drop(stop);
        assert!(user.join().unwrap() > 0);
    });
    assert_eq!(bench.mounted().len(), 20);
}

#[test]
fn a_view_answers_while_another_one_of_its_worktree_waits_for_the_disk() {
    let bench = bench!("a", "b");
    bench.mount();
    let (file, other) = (fs::File::create(bench.view("a/written")).unwrap(), bench.view("b"));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _stop = Stop(&is_done);
            for round in 0..4u8 {
                std::io::Write::write_all(&mut &file, &vec![round | 1; 16 << 20]).unwrap();
                file.sync_all().unwrap();
            }
        });
        let mut asked = 0;
        while !is_done.load(Ordering::Relaxed) {
            asked += 1;
            assert!(fs::metadata(other.join(format!("no {asked}"))).is_err());
        }
        assert!(asked > 20, "{asked} answers meanwhile");
    });
}
