//! The journal's bytes: what was appended comes back, what is torn or changed is cut off, what is foreign is left alone.

use std::path::Path;

use super::*;
use crate::overlay::Ino;
use crate::store::{Name, TreeId};
use crate::sys::fault::{Call, Plan};
use crate::sys::fs::Timespec;
use crate::sys::path as paths;

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).expect("a name")
}

/// Each kind of record, with each optional part once there and once not.
fn records() -> Vec<Record> {
    let time = Some(Timespec { sec: -1, nsec: 999_999_999 });
    let (dir, ino) = (Ino(1), Ino(u64::MAX));
    let xattrs = [(b"user.k".to_vec(), b"v\0\n".to_vec()), (b"user.empty".to_vec(), vec![])];
    let full = Meta {
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
        Record::Emptied { dir },
        Record::Meta { ino, meta: full },
        Record::Meta { ino, meta: Meta::default() },
        Record::Meta { ino, meta: Meta { xattrs: Some([].into()), ..Meta::default() } },
        Record::Copied { ino, real: 0, born: 0 },
        Record::Uncopied { ino },
        Record::Place { ino, dir, name: name("ü".as_bytes()) },
    ]
}

fn frames() -> Vec<Frame> {
    let present = Check::Present { dir: Ino(1), name: name(b"there"), real: 5 };
    let absent = Check::Absent { dir: Ino(u64::MAX), name: name(b"gone"), real: 0 };
    let mut frames = vec![
        Frame::Plain(vec![]),
        Frame::Prepared(present, records()),
        Frame::Done,
        Frame::Prepared(absent, vec![]),
        Frame::Undone,
    ];
    frames.extend(records().into_iter().map(|record| Frame::Plain(vec![record])));
    frames.push(Frame::Plain(records()));
    frames
}

/// A journal of all frames in `dir`; where each ends in the file.
fn journal(dir: &Path) -> Vec<u64> {
    let (mut journal, found) = Journal::open(dir).unwrap();
    assert!(found.is_empty() && journal.is_empty());
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
    assert_eq!(found, frames());
    journal.sync().unwrap();
    journal.rewrite(records()).unwrap();
    journal.append(&Frame::Done).unwrap();
    let (_, found) = Journal::open(dir.path()).unwrap();
    let plain = records().into_iter().map(|record| Frame::Plain(vec![record]));
    assert_eq!(found, plain.chain([Frame::Done]).collect::<Vec<_>>());
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
        assert_eq!(found, frames()[..frames().len() - 1], "cut at {cut}");
        assert_eq!((journal.len(), paths::read(&path).unwrap().len() as u64), (whole, whole));
        journal.append(&Frame::Undone).unwrap();
        let (_, found) = Journal::open(dir.path()).unwrap();
        assert_eq!(found.last(), Some(&Frame::Undone));
        assert_eq!(found.len(), frames().len());
    }
}

#[test]
fn a_header_that_was_torn_is_an_empty_journal() {
    for len in 0..HEADER {
        let dir = tempfile::tempdir().unwrap();
        paths::replace(&dir.path().join("journal"), &header()[..len]).unwrap();
        let (journal, found) = Journal::open(dir.path()).unwrap();
        assert!(found.is_empty() && journal.is_empty());
        assert_eq!(paths::read(&dir.path().join("journal")).unwrap(), header());
    }
}

#[test]
fn a_changed_bit_ends_the_journal_before_the_frame_it_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let ends = journal(dir.path());
    let good = paths::read(&dir.path().join("journal")).unwrap();
    let (all, mut bytes) = (frames(), good[HEADER..].to_vec());
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let before = ends.iter().filter(|end| **end as usize <= HEADER + bit / 8).count();
        let (found, used) = parse(&bytes);
        assert_eq!(found, all[..before], "bit {bit}");
        assert_eq!(HEADER + used, before.checked_sub(1).map_or(HEADER, |n| ends[n] as usize));
        bytes[bit / 8] ^= 1 << (bit % 8);
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
    let mut newer = header().to_vec();
    newer[8] = 9;
    newer.extend(b"whatever comes with it");
    let mut reserved = header().to_vec();
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
    assert_eq!(refused.to_string(), format!("{} has format 9; this program knows format 1", path.display()));
    assert_eq!(paths::read(&path).unwrap(), newer);
}
