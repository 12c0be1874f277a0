//! Uppers in file systems that number their files as they like.

use super::*;
use crate::sys::fault::Numbers;

/// Numbers of 64 bits, a different one for each file, as mergerfs makes them of paths.
fn scattered(ino: u64) -> u64 {
    ino.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// As a view numbers its own files, or a network file system that sets the high bits.
const NUMBERINGS: &[fn(u64) -> u64] = &[
    scattered,
    |ino| ino + (1 << 48),
    |ino| ino + (1 << 61) - (1 << 48) - 3,
    |ino| ino + (1 << 61),
    |ino| ino + (1 << 62),
    |ino| ino | 1 << 63,
    |ino| u64::MAX - ino,
];

#[test]
fn a_view_is_the_same_however_its_uppers_file_system_numbers_files() {
    let lab = Lab::new();
    let plain = lab.case().looks().expect("walked");
    for numbering in NUMBERINGS {
        let _numbers = Numbers::lay(*numbering);
        let mut case = lab.case();
        assert_eq!(case.looks().expect("walked"), plain);
        for path in case.known.keys().cloned().collect::<Vec<_>>() {
            // By its number alone, as the kernel has it after another server took over.
            case.cool();
            case.overlay().view.lock().seen.clear();
            let attr = case.overlay().getattr(case.ino(&path)).expect("found by its number");
            assert_eq!(attr.ino, case.ino(&path), "{path}");
        }
        case.open().expect("opened");
        assert_eq!(case.looks().expect("walked"), plain);
    }
}

#[test]
fn of_forty_new_files_none_is_stale() {
    let lab = Lab::new();
    let _numbers = Numbers::lay(scattered);
    let mut case = lab.case();
    for n in 0..40 {
        let new = name(&format!("new {n}"));
        case.overlay().create(Ino::ROOT, &new, 0o644, case.caller(), true).expect("created");
    }
    case.open().expect("opened");
    for n in 0..40 {
        let ino = case.overlay().lookup(Ino::ROOT, &name(&format!("new {n}"))).expect("there").ino;
        // The number as the kernel sends it back.
        let ino = Ino::of_kernel(ino.0);
        case.overlay().write(ino, 0, b"mine", None).expect("written");
        assert_eq!(case.overlay().read(ino, 0, 9, <[u8]>::to_vec).expect("read"), b"mine");
        case.overlay().unlink(Ino::ROOT, &name(&format!("new {n}"))).expect("unlinked");
        assert_eq!(case.overlay().read(ino, 0, 9, <[u8]>::to_vec).expect("still open"), b"mine");
        case.overlay().forget(ino, 1);
    }
}

#[test]
fn a_server_that_takes_over_finds_each_number_and_walks_no_further_than_to_its_name() {
    let lab = Lab::new();
    let case = lab.case();
    let (overlay, by) = (case.overlay(), case.caller());
    let mut files = Vec::new();
    for n in 0..12 {
        let dir = overlay.mkdir(Ino::ROOT, &name(&format!("many {n}")), 0o755, by).expect("made").ino;
        files.extend((0..4).map(|f| {
            let file = name(&format!("file {f}"));
            (dir, overlay.create(dir, &file, 0o644, by, true).expect("created").ino, file)
        }));
    }
    case.cool();
    overlay.view.lock().seen.clear();
    overlay.getattr(files[20].1).expect("found");
    let unwalked = overlay.view.lock().unwalked.clone();
    assert!(!unwalked.is_empty(), "all directories were walked for one name");
    // Of those that wait: one is renamed, one goes, one loses a file to a directory that was walked, one is forgotten.
    let waits = |(dir, ..): &&(Ino, Ino, Name)| unwalked.contains(dir);
    let waiting: Vec<_> = files.iter().filter(waits).collect();
    let place = |dir: Ino| overlay.view.lock().dir_place(dir).expect("somewhere").1;
    let (moved, gone, emptier, forgotten) = (waiting[0].0, waiting[4].0, waiting[8], waiting[12].0);
    overlay.rename(Ino::ROOT, &place(moved), files[20].0, &name("moved"), RenameFlags::empty()).expect("renamed");
    for (_, _, file) in files.iter().filter(|(dir, ..)| *dir == gone) {
        overlay.unlink(gone, file).expect("unlinked");
    }
    overlay.rmdir(Ino::ROOT, &place(gone)).expect("removed");
    overlay.rename(emptier.0, &emptier.2, files[20].0, &name("taken"), RenameFlags::empty()).expect("renamed");
    overlay.forget(forgotten, u64::MAX);
    for (_, ino, _) in files.iter().filter(|(dir, ..)| *dir != gone) {
        assert_eq!(overlay.getattr(*ino).expect("found").ino, *ino);
    }
}
