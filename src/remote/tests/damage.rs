//! Each kind of byte of each object of a remote is changed, cut off or gone: a reader gets the bytes that were pushed, or
//! nothing and a message, and never hangs.

use std::path::Path;

use super::*;
use crate::store::ObjectId;

/// A remote with the entry of some files.
fn pushed(files: &[(&str, Vec<u8>)]) -> (TwoMachines, TreeId) {
    let team = TwoMachines::new();
    let tree = team.tree(files);
    team.push("main", "web", tree).unwrap();
    (team, tree)
}

/// The objects of a remote with one of each of these kinds.
fn objects(team: &TwoMachines, kinds: &[&str]) -> Vec<PathBuf> {
    let one = |folder: &&str| {
        let [at] = &team.files(folder)[..] else { panic!("one object in {folder}") };
        at.clone()
    };
    kinds.iter().map(one).collect()
}

/// Offsets in an object of `len` bytes: its ends, where headers and tables are, and some between.
fn offsets(len: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..len.min(8)).chain(len.saturating_sub(18)..len).collect();
    all.extend((1..9).map(|n| len * n / 9));
    all.sort_unstable();
    all.dedup();
    all
}

/// Fetches into an empty store. Other bytes than those that were pushed fail the test; whether they came.
#[track_caller]
fn is_fetched(team: &mut TwoMachines, tree: TreeId, why: &str) -> bool {
    let dir = tempfile::tempdir_in(team.dir.path()).unwrap();
    team.to = Store::open(dir.path()).unwrap();
    let (received, said, _) = team.bring(&["web"], &|_| {});
    let Some(received) = received else {
        assert_eq!(said.len(), 1, "{why}: {said:?}");
        return false;
    };
    assert_eq!((received.tree, said), (tree, Vec::new()), "{why}");
    let opened = team.to.tree(tree).unwrap();
    for id in opened.objects() {
        let bytes = team.to.objects().content(&id).unwrap_or_else(|e| panic!("{why}: {e}"));
        assert_eq!(ObjectId::of_extent(&bytes).unwrap(), id, "{why}");
    }
    true
}

fn name(at: &Path) -> String {
    let kind = at.to_string_lossy();
    kind.rsplit_once("depsfs/1/").map_or_else(String::new, |(_, key)| key.to_owned())
}

/// Damages each object; how often it was noticed, and how often it did no harm.
fn damage(team: &mut TwoMachines, tree: TreeId, objects: &[PathBuf]) -> (usize, usize) {
    assert!(is_fetched(team, tree, "whole"));
    let (mut noticed, mut harmless) = (0, 0);
    for at in objects {
        let (good, of) = (std::fs::read(at).unwrap(), name(at));
        // An entry that is gone is none, without a word.
        if !of.starts_with("lines/") {
            std::fs::remove_file(at).unwrap();
            assert!(!is_fetched(team, tree, &format!("{of} is gone")));
        }
        for n in offsets(good.len()) {
            let mut bad = good.clone();
            bad[n] ^= 0x20;
            for (bytes, why) in [(&bad[..], "is changed at"), (&good[..n], "ends at")] {
                std::fs::write(at, bytes).unwrap();
                match is_fetched(team, tree, &format!("{of} {why} {n}")) {
                    true => harmless += 1,
                    false => noticed += 1,
                }
            }
        }
        std::fs::write(at, &good).unwrap();
    }
    assert!(is_fetched(team, tree, "whole again"));
    (noticed, harmless)
}

#[test]
fn no_damaged_byte_of_an_entry_or_of_its_objects_reaches_a_reader() {
    let files: Vec<(String, Vec<u8>)> =
        (0..80u32).map(|n| (n.to_string(), n.to_string().repeat(n as usize).into_bytes())).collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let (mut team, tree) = pushed(&files);
    let mut all = objects(&team, &["lines", "trees", "times", "packs"]);
    all.push(team.dir.path().join("remote/depsfs/1/remote.json"));
    let (noticed, harmless) = damage(&mut team, tree, &all);
    // Of an entry without a signature, words may be others; of a seek table, what nobody reads.
    assert!(noticed > 8 * harmless, "{noticed} noticed, {harmless} harmless");
}

#[test]
fn no_damaged_byte_of_a_large_file_reaches_a_reader() {
    let (mut team, tree) = pushed(&[("large", vec![7; (8 << 20) + 1])]);
    let all = objects(&team, &["objects"]);
    let (noticed, harmless) = damage(&mut team, tree, &all);
    assert!(noticed > 8 * harmless, "{noticed} noticed, {harmless} harmless");
}
