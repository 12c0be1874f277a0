//! The journal's bytes: what was appended comes back, what is torn is cut off, of what is damaged the rest stays, what
//! is foreign is left alone.

use std::path::Path;

use super::record::Malformed;
use super::*;
use crate::overlay::Ino;
use crate::store::{Name, TreeId};
use crate::sys::fault::{Call, Plan};
use crate::sys::fs::Timespec;
use crate::sys::path as paths;

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).expect("a name")
}

const MOMENT: Timespec = Timespec { sec: 5, nsec: 6 };

/// Each kind of record, with each optional part once there and once not.
fn records() -> Vec<Record> {
    let time = Some(Timespec { sec: -1, nsec: 999_999_999 });
    let (dir, ino) = (Ino(1), Ino((1 << 62) + 7));
    let xattrs = [(b"user.k".to_vec(), b"v\0\n".to_vec()), (b"user.empty".to_vec(), vec![])];
    let full = MetaChange {
        mode: Some(0o100644),
        uid: Some(0),
        gid: Some(u32::MAX),
        atime: time,
        mtime: Some(Timespec { sec: i64::MAX, nsec: 0 }),
        ctime: Some(Timespec { sec: i64::MIN, nsec: 1 }),
        xattrs: Some(xattrs.into()),
    };
    vec![
        Record::Root { real: 2, born: 1_700_000_000_000_000_000 },
        Record::Graft { base: 1 << 32, nodes: u32::MAX, tree: TreeId([7; 32]), at: b"".to_vec() },
        Record::Graft { base: 3, nodes: 0, tree: TreeId([0; 32]), at: b"a/\xff".to_vec() },
        Record::Whiteout { dir, name: name(b"x"), time },
        Record::Whiteout { dir, name: name(&[0xff; 255]), time: None },
        Record::Moved { dir, name: name(b"m"), ino, time },
        Record::Moved { dir, name: name(b"m"), ino, time: None },
        Record::Unset { dir, name: name(b"u"), time },
        Record::Unset { dir, name: name(b"u"), time: None },
        Record::Opaque { dir },
        Record::Cleared { dir },
        Record::Meta { ino, meta: full },
        Record::Meta { ino, meta: MetaChange::default() },
        Record::Meta { ino, meta: MetaChange { xattrs: Some([].into()), ..MetaChange::default() } },
        Record::Copied { ino, real: 0, born: 0 },
        Record::Uncopied { ino },
        Record::Place { ino, dir, name: name("ü".as_bytes()) },
        Record::Xattr { ino, name: b"user.k".to_vec(), value: Some(b"v\0".to_vec()), time: MOMENT },
        Record::Xattr { ino, name: b"user.k".to_vec(), value: Some(vec![]), time: MOMENT },
        Record::Xattr { ino, name: b"user.gone".to_vec(), value: None, time: MOMENT },
        Record::Dress { ino, meta: MetaChange { uid: Some(7), ctime: time, ..MetaChange::default() } },
    ]
}

fn frames() -> Vec<Frame> {
    let present = Check::Present { dir: Ino(1), name: name(b"there"), real: 5 };
    let absent = Check::Absent { dir: Ino((1 << 62) + 7), name: name(b"gone"), real: 0 };
    let mut frames = vec![
        Frame::Plain(vec![]),
        Frame::Prepared(present, records()),
        Frame::Done,
        Frame::Prepared(absent, vec![]),
        Frame::Undone,
        Frame::Part(records()),
    ];
    frames.extend(records().into_iter().map(|record| Frame::Plain(vec![record])));
    frames.push(Frame::Plain(records()));
    frames
}

/// A journal of all frames in `dir`; where each ends in the file.
fn journal(dir: &Path) -> Vec<u64> {
    let (mut journal, found) = Journal::open(dir).unwrap();
    assert!(found.all().is_empty() && journal.is_empty());
    let append = |frame| {
        journal.append(&frame).unwrap();
        journal.len()
    };
    frames().into_iter().map(append).collect()
}

#[test]
fn every_kind_of_record_and_frame_comes_back() {
    for frame in frames() {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let (mut journal, found) = Journal::open(dir.path()).unwrap();
    assert_eq!(found.all(), frames());
    journal.sync().unwrap();
    journal.rewrite(records()).unwrap();
    journal.append(&Frame::Done).unwrap();
    let (_, found) = Journal::open(dir.path()).unwrap();
    let plain = records().into_iter().map(|record| Frame::Plain(vec![record]));
    assert_eq!(found.all(), plain.chain([Frame::Done]).collect::<Vec<_>>());
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_was_torn_and_what_is_appended_next_follows_the_last_whole_frame() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let ends = journal(dir.path());
    let bytes = paths::read(&path).unwrap();
    let whole = ends[ends.len() - 2];
    for cut in whole..ends[ends.len() - 1] {
        paths::replace(&path, &bytes[..cut as usize]).unwrap();
        let (mut journal, found) = Journal::open(dir.path()).unwrap();
        assert_eq!(found.all(), frames()[..frames().len() - 1], "cut at {cut}");
        assert_eq!(found.damage(), None);
        assert_eq!((journal.len(), paths::read(&path).unwrap().len() as u64), (whole, whole));
        journal.append(&Frame::Undone).unwrap();
        let (_, found) = Journal::open(dir.path()).unwrap();
        assert_eq!(found.all().last(), Some(&Frame::Undone));
        assert_eq!(found.all().len(), frames().len());
    }
}

#[test]
fn a_header_that_was_torn_is_an_empty_journal() {
    for len in 0..HEADER {
        let dir = tempfile::tempdir().unwrap();
        paths::replace(&dir.path().join("journal"), &header_of(VERSION)[..len]).unwrap();
        let (journal, found) = Journal::open(dir.path()).unwrap();
        assert!(found.all().is_empty() && journal.is_empty());
        assert_eq!(paths::read(&dir.path().join("journal")).unwrap(), header_of(VERSION));
    }
}

/// The journal's bytes behind its header, and where each frame ends in them.
fn body() -> (Vec<u8>, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    let ends = journal(dir.path()).into_iter().map(|end| end as usize - HEADER).collect();
    (paths::read(&dir.path().join("journal")).unwrap()[HEADER..].to_vec(), ends)
}

#[test]
fn a_changed_bit_takes_no_frame_away_but_a_long_one_that_it_is_in() {
    let ((mut bytes, ends), all) = (body(), frames());
    for bit in (0..bytes.len() * 8).step_by(101) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let at = ends.iter().position(|end| *end > bit / 8).unwrap();
        let is_long = ends[at] - at.checked_sub(1).map_or(0, |before| ends[before]) > 512 + 8;
        let found = Frames::of(bytes.clone());
        let rest: Vec<JournalPiece> = (all.iter().cloned().enumerate())
            .map(|(i, frame)| if i == at && is_long { JournalPiece::Hole } else { JournalPiece::Frame(frame) })
            .collect();
        let pieces: Vec<JournalPiece> = found.pieces().collect();
        // If its length field is intact, a long frame can be mended, too.
        assert!(pieces == rest || (is_long && found.all() == all), "bit {bit}");
        assert_eq!((found.torn(), found.damage().is_some()), (0, true), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_sector_that_cannot_be_read_takes_the_frames_that_it_holds_and_no_other() {
    let ((bytes, ends), all) = (body(), frames());
    for at in (0..bytes.len() - 512).step_by(100) {
        for with in [0, 0xff, 0x01] {
            let mut bytes = bytes.clone();
            bytes[at..at + 512].fill(with);
            let found = Frames::of(bytes).all();
            let first = ends.iter().position(|end| *end > at).unwrap();
            let last = ends.iter().position(|end| *end >= at + 512).unwrap();
            let rest: Vec<Frame> = [&all[..first], &all[last + 1..]].concat();
            assert_eq!(found, rest, "from {at}, {with}");
        }
    }
}

#[test]
fn damage_at_the_end_is_told_from_an_append_that_was_torn() {
    let (bytes, ends) = body();
    let end = ends[ends.len() - 2];
    let tail = |tail: &[u8]| {
        let found = Frames::of([&bytes[..end], tail].concat());
        assert_eq!(found.all(), frames()[..frames().len() - 1]);
        (found.damage().is_some(), found.torn())
    };
    let last = &bytes[end..];
    assert_eq!(tail(&last[..last.len() - 1]), (false, last.len() - 1), "shorter than it says");
    assert_eq!(tail(&[0; 700]), (false, 700), "never written");
    let mut zeros = last.to_vec();
    let sector = (HEADER + end + 8).next_multiple_of(512) - HEADER - end;
    zeros[sector..].fill(0);
    assert_eq!(tail(&zeros), (false, last.len()), "the file was longer on the disk than what was written");
    let mut changed = last.to_vec();
    changed[100] ^= 0x55;
    assert_eq!(tail(&changed), (true, 0), "as long as it says");
}

#[test]
fn no_bytes_keep_the_reader_for_long() {
    let started = std::time::Instant::now();
    // Each byte is the beginning of what may be a long frame.
    for byte in [0, 1, 5] {
        let bytes: Vec<u8> = [byte, 0, 0, 0, 0, 0, 0, 0, 1, 8].repeat(100_000);
        let found = Frames::of(bytes);
        assert!(found.all().is_empty());
    }
    let bytes: Vec<u8> = [0, 0, 4, 0].repeat(500_000);
    assert!(Frames::of(bytes).all().is_empty());
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn a_damaged_journal_is_kept_beside_the_mended_one_and_no_copy_is_ever_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let path = dir.path().join("journal");
    let good = paths::read(&path).unwrap();
    let mut copies = Vec::new();
    for n in 0..3_usize {
        let mut bytes = good.clone();
        bytes[30 + n] ^= 1;
        paths::replace(&path, &bytes).unwrap();
        for _ in 0..2 {
            let (_, found) = Journal::open(dir.path()).unwrap();
            assert_eq!((found.all(), found.damage()), (frames(), Some(0)));
        }
        copies.push(bytes);
        assert_eq!(paths::list(dir.path()).unwrap().len(), 2 + n, "the same damage is kept once");
    }
    let kept = ["", ".2", ".3"].map(|n| paths::read(&dir.path().join(format!("{DAMAGED}{n}"))).unwrap());
    assert_eq!(kept.to_vec(), copies);
}

#[test]
fn many_records_of_one_change_become_frames_that_hold_together_and_too_much_for_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    let long = |n: u64| Record::Graft { base: n, nodes: 1, tree: TreeId([1; 32]), at: vec![7; 60_000] };
    let many: Vec<Record> = (0..100).map(long).collect();
    let check = Check::Present { dir: Ino(1), name: name(b"there"), real: 5 };
    journal.append(&Frame::Plain(many.clone())).unwrap();
    journal.append(&Frame::Prepared(check.clone(), many.clone())).unwrap();
    let (_, found) = Journal::open(dir.path()).unwrap();
    let mut said = Vec::new();
    for frame in found.all() {
        assert!(frame.encode().len() <= 1 << 20);
        match frame {
            Frame::Part(records) | Frame::Plain(records) => said.extend(records),
            Frame::Prepared(of, records) => {
                assert_eq!(of, check);
                said.extend(records);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, [many.clone(), many].concat());
    let before = journal.len();
    let huge = Record::Graft { base: 1, nodes: 1, tree: TreeId([1; 32]), at: vec![7; 17 << 20] };
    let refused = journal.append(&Frame::Plain(vec![huge.clone()]));
    assert!(matches!(refused, Err(JournalError::TooLong)) && journal.len() == before);
    assert!(matches!(journal.rewrite(vec![huge]), Err(JournalError::TooLong)));
    journal.append(&Frame::Done).unwrap();
    assert_eq!(Journal::open(dir.path()).unwrap().1.all().len(), found.all().len() + 1);
}

#[test]
fn the_end_of_a_change_that_could_not_be_appended_comes_before_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    let plan = Plan { calls: |call| call == Call::Add, from: 0, for_ever: true, errno: libc::EIO, torn: false };
    let guard = plan.lay();
    journal.finish(Frame::Done);
    let opaque = Frame::Plain(vec![Record::Opaque { dir: Ino(7) }]);
    assert!(journal.append(&opaque).is_err() && journal.precede().is_err() && journal.sync().is_err());
    drop(guard);
    journal.append(&opaque).unwrap();
    assert_eq!(Journal::open(dir.path()).unwrap().1.all(), [Frame::Done, opaque]);
}

#[test]
fn records_that_were_appended_while_others_were_written_are_to_be_written_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(&Frame::Plain(records())).unwrap();
    let first = journal.to_write_back().expect("records are ordered");
    journal.append(&Frame::Plain(records())).unwrap();
    journal.written_back(&first, first.write_back()).unwrap();
    let both = journal.to_write_back().expect("the second ones are not written");
    journal.written_back(&both, both.write_back()).unwrap();
    assert!(journal.to_write_back().is_none());
}

#[test]
fn a_journal_that_did_not_reach_its_disk_takes_nothing_more_before_it_was_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    let plan = Plan { calls: |call| call == Call::Sync, from: 0, for_ever: false, errno: libc::EIO, torn: false };
    let without_lock = |journal: &mut Journal| {
        let records = journal.to_write_back().expect("records are ordered");
        let written = records.write_back();
        journal.written_back(&records, written)
    };
    for sync in [Journal::sync, Journal::write_back, without_lock] {
        journal.append(&Frame::Plain(records())).unwrap();
        let guard = plan.lay();
        sync(&mut journal).expect_err("it failed");
        drop(guard);
        assert!(journal.is_lost() && journal.append(&Frame::Done).is_err());
        journal.rewrite(records()).unwrap();
        journal.append(&Frame::Done).unwrap();
    }
}

#[test]
fn an_append_that_fails_leaves_the_room_that_is_kept_for_the_next_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    let room = |journal: &Journal| {
        let blocks = fs::stat(&journal.file).unwrap().blocks;
        (blocks * 512).saturating_sub(journal.len)
    };
    if room(&journal) < RESERVE - 4096 {
        return println!("skipped: a file system that keeps no room");
    }
    let plan = Plan { calls: |call| call == Call::Add, from: 0, for_ever: false, errno: libc::ENOSPC, torn: false };
    // Nothing of the frame is written, or half of it, or half and there is no room for a new reserve either.
    for (torn, for_ever) in [(false, false), (true, false), (true, true)] {
        let before = journal.len();
        let guard = Plan { torn, for_ever, ..plan }.lay();
        journal.append(&Frame::Plain(records())).expect_err("it failed");
        assert!(!guard.failed().is_empty());
        drop(guard);
        assert_eq!((journal.len(), fs::stat(&journal.file).unwrap().size), (before, before));
        if for_ever {
            journal.append(&Frame::Done).expect("there is room again");
        }
        assert!(room(&journal) >= RESERVE / 2, "torn {torn}, for ever {for_ever}: {}", room(&journal));
    }
}

#[test]
fn no_payload_makes_the_reader_panic_or_reads_as_what_cannot_be_written() {
    for frame in frames() {
        let mut payload = frame.encode();
        for bit in 0..payload.len() * 8 {
            payload[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Frame::decode(&payload) {
                assert_eq!(Frame::decode(&other.encode()), Ok(other));
            }
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..payload.len() {
            let _ = Frame::decode(&payload[..cut]);
        }
    }
    assert_eq!(Frame::decode(&[]), Err(Malformed));
    assert_eq!(Frame::decode(&[3, 0]), Err(Malformed));
}

#[test]
fn a_foreign_file_and_another_version_are_refused_and_left_alone() {
    let mut newer = header_of(VERSION).to_vec();
    newer[8] = 9;
    newer.extend(b"with any other bits");
    let mut reserved = header_of(VERSION).to_vec();
    reserved[12] = 1;
    let foreign: [&[u8]; 3] = [b"text\n", b"depsfsX\n\x01\0\0\0\0\0\0\0", &reserved];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for bytes in foreign {
        paths::replace(&path, bytes).unwrap();
        assert!(matches!(Journal::open(dir.path()), Err(JournalError::NotAJournal { .. })), "{bytes:?}");
        assert_eq!(paths::read(&path).unwrap(), bytes);
    }
    paths::replace(&path, &newer).unwrap();
    let refused = Journal::open(dir.path()).expect_err("another version");
    assert!(matches!(refused, JournalError::Version { version: 9, .. }));
    let why = format!("{} has format 9; this program knows formats 1 and 4", path.display());
    assert_eq!(refused.to_string(), why);
    assert_eq!(paths::read(&path).unwrap(), newer);
}
