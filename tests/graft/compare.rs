//! Long private copies that are to be given up: who uses the view meanwhile neither waits nor loses anything.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use depsfs::overlay::{Ino, Overlay};
use depsfs::store::ObjectId;
use depsfs::sys::extent::Extent;

use super::{Fixture, find, me, name};

/// Takes some tenths of a second to compare.
const LONG: u64 = 256 << 20;

/// A view with a file `long` of the worktree's own, all holes but for its last byte; and what it holds.
fn view_with_long(f: &Fixture) -> (Arc<Overlay>, Ino, ObjectId) {
    let view = f.open(vec![f.tree(&[("short", "short")])]);
    let ino = view.create(Ino::ROOT, &name("long"), 0o644, me(), true).expect("created").ino;
    view.write(ino, LONG - 1, b"!", None).expect("written");
    let file = File::open(f.dir.path().join("upper/long")).expect("there");
    let held = ObjectId::of_extent(&Extent::whole(std::os::fd::OwnedFd::from(file))).expect("read");
    (Arc::new(view), ino, held)
}

#[test]
fn others_use_the_view_while_a_long_file_is_compared() {
    let f = Fixture::new();
    let (view, ino, held) = view_with_long(&f);
    let is_done = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut served = 0;
            while !is_done.load(Ordering::Relaxed) {
                view.getattr(ino).expect("there");
                served += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            served
        });
        let gave_up = view.give_up(Ino::ROOT, &name("long"), &held, 0o644);
        is_done.store(true, Ordering::Relaxed);
        assert!(gave_up.expect("asked"));
        asks.join().expect("no panic")
    });
    assert!(served > 5, "{served} answers while it was compared");
    assert!(find(&view, "long").is_err());
}

#[test]
fn what_is_written_to_a_long_file_while_it_is_compared_stays() {
    let f = Fixture::new();
    for beneath in [false, true] {
        let (view, ino, held) = view_with_long(&f);
        let written = std::thread::scope(|scope| {
            let gives_up = scope.spawn(|| view.give_up(Ino::ROOT, &name("long"), &held, 0o644).expect("asked"));
            // Behind where it is by then; written and closed before it comes to the end.
            std::thread::sleep(Duration::from_millis(40));
            let path = f.dir.path().join("upper/long");
            let written = match beneath {
                true => File::options().write(true).open(path).and_then(|file| file.write_all_at(b"own", 0)).is_ok(),
                false => view.write(ino, 0, b"own", None).is_ok(),
            };
            let gave_up = gives_up.join().expect("no panic");
            // A writer beneath the view may have come too late, or found a file that was just about to go.
            assert!(written || gave_up);
            written && !(beneath && gave_up)
        });
        if !written {
            continue;
        }
        let shown = find(&view, "long").expect("there");
        assert_eq!(view.read(shown, 0, 3, <[u8]>::to_vec).expect("read"), b"own");
        view.unlink(Ino::ROOT, &name("long")).expect("deleted");
    }
}

#[test]
fn a_file_of_another_length_than_what_was_held_stays_without_being_read() {
    let f = Fixture::new();
    let view = Arc::new(f.open(vec![f.tree(&[("file", "one")])]));
    let ino = find(&view, "file").expect("there");
    view.write(ino, 1 << 40, b"!", None).expect("written");
    let (told, answer) = mpsc::channel();
    let asked = view.clone();
    std::thread::spawn(move || told.send(asked.give_up(Ino::ROOT, &name("file"), &ObjectId::of(b"one"), 0o644)));
    let kept = answer.recv_timeout(Duration::from_secs(20)).expect("a terabyte isn't read");
    assert!(!kept.expect("asked"));
}
