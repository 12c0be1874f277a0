//! A view whose journal was damaged, or could not be written: nothing is lost without a word, and nothing hangs.

use super::super::journal::{DAMAGED, Frame, Frames, Journal, JournalPiece};
use super::*;

const HEADER: usize = 16;

impl Case {
    fn close(&mut self) {
        self.overlay = None;
    }

    fn journal(&self) -> std::path::PathBuf {
        self.state().join("journal")
    }

    fn kept_copies(&self) -> usize {
        let names = paths::list(&self.state()).expect("listed");
        names.iter().filter(|e| e.name.starts_with(DAMAGED.as_bytes())).count()
    }

    fn rename(&self, from: &str, to: &str) {
        let (from_dir, from, _) = self.spot(from);
        let (to_dir, to, _) = self.spot(to);
        self.overlay().rename(from_dir, &from, to_dir, &to, RenameFlags::empty()).expect("renamed");
    }
}

fn numbers() -> impl FnMut() -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    }
}

#[test]
fn no_flipped_bit_of_a_journal_takes_a_change_back() {
    let lab = Lab::new();
    let mut case = lab.case();
    let looks = case.looks().expect("looked");
    case.close();
    let (good, mut next) = (paths::read(&case.journal()).expect("there"), numbers());
    for n in 0..50 {
        let bit = next() % ((good.len() - HEADER) * 8);
        let mut bytes = good.clone();
        bytes[HEADER + bit / 8] ^= 1 << (bit % 8);
        paths::replace(&case.journal(), &bytes).expect("damaged");
        case.open().expect("opened");
        assert!(case.looks().expect("looked") == looks, "bit {bit}");
        assert_eq!(case.kept_copies(), n + 1, "bit {bit}");
        case.open().expect("opened again");
        assert!(case.looks().expect("looked") == looks, "bit {bit}, opened again");
        assert_eq!(case.kept_copies(), n + 1, "the mended tree is sound: bit {bit}");
        case.close();
    }
}

#[test]
fn a_journal_that_was_cut_somewhere_or_lost_a_sector_opens_and_can_be_walked_and_written() {
    let lab = Lab::new();
    let (mut next, mut lost) = (numbers(), 0);
    for n in 0..40 {
        let mut case = lab.case();
        case.close();
        let mut bytes = paths::read(&case.journal()).expect("there");
        let at = HEADER + next() % (bytes.len() - HEADER);
        match n % 2 {
            0 => bytes.truncate(at),
            _ => bytes.iter_mut().skip(at).take(64).for_each(|byte| *byte = next() as u8),
        }
        paths::replace(&case.journal(), &bytes).expect("damaged");
        case.open().expect("opened");
        let looks = case.looks().expect("looked");
        assert!(n % 2 == 0 || case.kept_copies() == 1, "from {at}");
        lost += case.kept_copies();
        case.know();
        let caller = case.caller();
        let made = case.overlay().create(Ino::ROOT, &name("after"), 0o644, caller, true).expect("created").ino;
        case.overlay().write(made, 0, b"after", None).expect("written");
        case.open().expect("opened again");
        let again = case.looks().expect("looked");
        let others = |looks: &Looks| looks.iter().filter(|(p, _)| *p != "after" && *p != ".").count();
        assert_eq!(others(&again), others(&looks));
    }
    assert!(lost >= 20);
}

/// Leaves one frame out, as if nobody could read it; whatever that is.
fn without(good: &[u8], left_out: usize) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let mut at = HEADER;
    for _ in 0..left_out {
        at += 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4")) as usize;
    }
    let end = at + 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4")) as usize;
    bytes[at + 4..end].iter_mut().for_each(|byte| *byte ^= 0xa5);
    bytes
}

#[test]
fn whichever_frame_is_lost_directories_that_were_moved_are_in_one_place_and_never_in_themselves() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.close();
    std::fs::remove_dir_all(case.dir.path().join("upper")).expect("deleted");
    std::fs::create_dir(case.dir.path().join("upper")).expect("made");
    case.open().expect("opened");
    case.know();
    case.rename("dir/sub", "inner");
    case.rename("dir", "was dir");
    case.open().expect("opened");
    case.know();
    case.rename("was dir", "inner/dir");
    case.rename("empty", "inner/empty");
    case.open().expect("opened");
    case.know();
    case.rename("inner/empty", "empty again");
    let frames: Vec<Frame> = Journal::open(&case.state()).expect("opened").1.all();
    let good = paths::read(&case.journal()).expect("there");
    case.close();
    assert!(frames.len() > 5);
    for left_out in 0..frames.len() {
        paths::replace(&case.journal(), &without(&good, left_out)).expect("damaged");
        let found = Frames::of(paths::read(&case.journal()).expect("there")[HEADER..].to_vec());
        assert_eq!(found.pieces().filter(|p| *p == JournalPiece::Hole).count(), 1);
        case.open().expect("opened");
        let looks = case.looks().expect("walked");
        let mut seen = std::collections::HashSet::new();
        for (path, look) in looks.iter().filter(|(_, look)| look.kind == libc::S_IFDIR && look.ino != "own") {
            assert!(seen.insert(look.ino.clone()), "without frame {left_out} {path} is there twice: {looks:?}");
        }
        assert!(looks.values().any(|look| look.bytes == b"x"), "without frame {left_out} a file is gone");
        case.overlay().changes(Ino::ROOT, 0, 1000).expect("compared");
        case.close();
    }
}

#[test]
fn a_change_whose_end_was_not_written_stays_what_it_was_whatever_comes_after_it() {
    let lab = Lab::new();
    for n in 0.. {
        let mut case = lab.case();
        let plan = Plan { calls: |call| call == Call::Add, from: n, for_ever: false, errno: libc::EIO, torn: false };
        let guard = plan.lay();
        let tried = case.overlay().write(case.ino("plain"), 0, b"written", None);
        let is_over = guard.failed().is_empty();
        drop(guard);
        if tried.is_ok() {
            case.rename("plain", "second");
            case.rename("second", "third");
            case.open().expect("opened");
            let looks = case.looks().expect("looked");
            let there = ["plain", "second", "third"].map(|path| looks.contains_key(path));
            assert_eq!(there, [false, false, true], "call {n}");
            assert!(looks["third"].bytes.starts_with(b"written"), "call {n}");
        }
        if is_over {
            return;
        }
    }
}

#[test]
fn a_look_that_fails_when_a_view_is_opened_is_an_error_and_nothing_is_concluded_from_it() {
    let lab = Lab::new();
    let mut case = lab.case();
    // The end of the last change is missing: the upper decides.
    case.overlay().write(case.ino("dir/one"), 0, b"copied", None).expect("written");
    case.close();
    let mut bytes = paths::read(&case.journal()).expect("there");
    bytes.truncate(bytes.len() - 9);
    paths::replace(&case.journal(), &bytes).expect("cut");
    case.open().expect("opened");
    let want = case.looks().expect("looked");
    case.close();
    paths::replace(&case.journal(), &bytes).expect("cut again");
    for errno in [libc::EIO, libc::EACCES, libc::EMFILE] {
        for n in 0.. {
            let plan = Plan { calls: |call| call == Call::Look, from: n, for_ever: false, errno, torn: false };
            let guard = plan.lay();
            let opened = case.open();
            let is_over = guard.failed().is_empty();
            drop(guard);
            case.close();
            if let Err(e) = &opened {
                assert_eq!(super::errno(e), Some(errno), "call {n}: {e}");
            }
            case.open().expect("opened");
            assert!(
                case.looks().expect("looked") == want,
                "errno {errno}, call {n}, {opened:?}",
                opened = opened.is_ok()
            );
            case.close();
            paths::replace(&case.journal(), &bytes).expect("cut again");
            if is_over {
                break;
            }
        }
    }
}
