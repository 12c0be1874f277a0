//! Packs over their life: written, found, damaged, deleted.

use super::*;
use crate::sys::path as paths;

struct Case {
    dir: tempfile::TempDir,
    packs: Packs,
}

impl Case {
    fn new() -> Case {
        let dir = tempfile::tempdir().unwrap();
        Case { packs: Packs::of(dir.path()), dir }
    }

    fn add(&self, objects: &[&[u8]]) -> PackId {
        paths::make_dir(self.packs.path()).unwrap();
        let aside = self.dir.path().join("aside");
        let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL;
        let mut pack = PackWriter::new(fs::open_path(&aside, flags, 0o444).unwrap());
        objects.iter().for_each(|bytes| pack.add(ObjectId::of(bytes), bytes).unwrap());
        let id = pack.finish().unwrap();
        paths::rename(&aside, &self.packs.path_of(&id)).unwrap();
        id
    }

    fn read(&self, content: &[u8]) -> Option<Vec<u8>> {
        let extent = self.packs.content(&ObjectId::of(content)).unwrap()?;
        let mut bytes = vec![0; content.len() + 10];
        let n = extent.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(n);
        Some(bytes)
    }

    fn has(&self, content: &[u8]) -> bool {
        self.packs.size_of(&ObjectId::of(content)).unwrap() == Some(content.len() as u64)
    }
}

#[test]
fn every_object_of_a_pack_is_found_and_no_other() {
    let case = Case::new();
    assert_eq!(case.read(b"0"), None);
    let contents: Vec<Vec<u8>> = (0..1500u32).map(|n| n.to_string().repeat(n as usize % 90).into_bytes()).collect();
    let mut distinct = contents.clone();
    distinct.sort();
    distinct.dedup();
    case.add(&distinct.iter().map(|c| &c[..]).collect::<Vec<_>>());
    for content in &contents {
        assert_eq!(case.read(content).as_ref(), Some(content));
    }
    assert_eq!((case.read(b"another"), case.has(b"another"), case.has(b"")), (None, false, true));
    let pack = case.packs.list().unwrap().remove(0);
    assert!(pack.has_sound_index());
    assert_eq!(pack.records().count(), distinct.len());
    assert_eq!(pack.content_bytes(), distinct.iter().map(|c| c.len() as u64).sum::<u64>());
}

#[test]
fn packs_that_come_and_go_are_noticed() {
    let case = Case::new();
    let one = case.add(&[b"one", b"both"]);
    assert_eq!(case.read(b"one").unwrap(), b"one");
    case.add(&[b"two", b"both"]);
    assert_eq!((case.read(b"two"), case.read(b"none")), (Some(b"two".to_vec()), None));
    paths::remove_file(&case.packs.path_of(&one)).unwrap();
    assert_eq!(case.packs.list().unwrap().len(), 1);
    assert_eq!((case.read(b"one"), case.read(b"both")), (None, Some(b"both".to_vec())));
}

/// gc moves objects to another pack and deletes the old one: a reader of the old one finds them all the same.
#[test]
fn an_object_that_moved_to_another_pack_is_found_there() {
    let case = Case::new();
    let old: Vec<PackId> = (0..KEPT * 2).map(|n| case.add(&[n.to_string().as_bytes(), b"dead"])).collect();
    let all = || (0..KEPT * 2).map(|n| case.read(n.to_string().as_bytes()).unwrap()).collect::<Vec<_>>();
    let before = all();
    let live: Vec<String> = (0..KEPT * 2).map(|n| n.to_string()).collect();
    case.add(&live.iter().map(|n| n.as_bytes()).collect::<Vec<_>>());
    old.iter().for_each(|id| paths::remove_file(&case.packs.path_of(id)).unwrap());
    assert_eq!(all(), before);
}

/// More than are kept open.
const KEPT: usize = 8;

#[test]
fn a_pack_that_is_cut_off_or_of_another_version_has_nothing_and_says_why() {
    let case = Case::new();
    let id = case.add(&[b"one", b"two"]);
    let path = case.packs.path_of(&id);
    let good = paths::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        paths::replace(&path, bytes).unwrap();
        let case = Case { dir: tempfile::tempdir().unwrap(), packs: Packs::of(case.dir.path()) };
        assert_eq!(case.read(b"one"), None);
        Pack::open(id, &path).map(|_| ()).unwrap_err().to_string()
    };
    let length = "the pack's length differs from the one in its header";
    for len in [0, 7, 63, 64, 70, good.len() - 1] {
        assert!(refused(&good[..len]).starts_with(&format!("pack {id}: ")), "{len}");
    }
    assert!(refused(&[&good[..], b"x"].concat()).ends_with(length));
    for (at, to) in [(8, 9), (12, 3), (16, 1), (24, 1), (23, 255)] {
        let mut bytes = good.clone();
        bytes[at] = to;
        let expected = if at == 8 { "it has version 9, this depsfs knows 1" } else { length };
        assert!(refused(&bytes).ends_with(expected), "{at}");
    }
}

/// With any index, nothing outside of the objects' bytes is read, and nothing panics.
#[test]
fn a_damaged_index_gives_wrong_answers_at_worst() {
    let case = Case::new();
    let id = case.add(&[b"one", b"two", b"three"]);
    let path = case.packs.path_of(&id);
    let good = paths::read(&path).unwrap();
    let index = 64 + 11;
    for at in index..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        paths::replace(&path, &bytes).unwrap();
        let (pack, _) = Pack::open(id, &path).unwrap();
        assert!(!pack.has_sound_index());
        for content in [&b"one"[..], b"two", b"three", b"four"] {
            if let Some(record) = pack.find(&ObjectId::of(content)) {
                assert!(record.offset >= 64 && record.offset + u64::from(record.len) <= index as u64);
            }
        }
        assert_eq!(pack.records().count(), 3);
    }
}
