//! Any bytes as a tree: every question has an answer, no walk runs in a circle, and every listing comes to its end.
//!
//! `scripts/fuzz.sh 60 tree`

#![no_main]

use depsfs::store::{Cookie, Name, Node, Tree};
use libfuzzer_sys::fuzz_target;

/// Sets the lengths in a header to what the file has, so that mutations get past it.
fn with_header(data: &[u8]) -> Vec<u8> {
    let mut bytes = b"depsfs T\x01\0\0\0".to_vec();
    let counts: Vec<u32> = data.iter().take(5).map(|b| u32::from(b % 16)).collect();
    counts.iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
    let sizes = [48, 16, 12, 16, 32];
    let fixed: usize = counts.iter().zip(sizes).map(|(n, size)| *n as usize * size).sum();
    let body = &data[counts.len()..];
    bytes.extend_from_slice(&(body.len().saturating_sub(fixed) as u64).to_le_bytes());
    bytes.resize(64, 0);
    bytes.extend_from_slice(body);
    bytes
}

/// As a view lists a directory: from the cookie that the last name of a portion has.
fn list_in_portions(tree: &Tree, dir: Node) {
    let mut after = 0;
    let mut portions = 0;
    while let Some(last) = tree.entries(dir, after).take(3).last() {
        let next = Name::new(last.name).expect("a name").cookie().0;
        assert!(next > after, "a listing goes in a circle");
        after = next;
        portions += 1;
        assert!(portions <= tree.entry_count(dir));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let bytes = if first & 1 == 0 && data.len() > 5 { with_header(data) } else { data.to_vec() };
    let Ok(tree) = Tree::from_bytes(bytes) else { return };
    let name = Name::new(b"a").expect("a name");
    let mut dirs = vec![Node::ROOT];
    let mut walked = 0;
    while let Some(dir) = dirs.pop() {
        walked += 1;
        assert!(walked <= tree.node_count(), "a walk met a directory twice");
        let mut last = 0;
        for entry in tree.entries(dir, 0) {
            assert!(entry.cookie.0 >= last);
            last = entry.cookie.0;
            assert!(Name::new(entry.name).is_ok());
            assert_eq!(entry.cookie, Cookie::of(entry.name), "a listing would not go on after this name");
            if tree.stat(entry.node).kind == depsfs::sys::fs::FileType::Directory {
                dirs.push(entry.node);
            }
        }
    }
    for n in (0..=tree.node_count()).map(Node) {
        list_in_portions(&tree, n);
        tree.stat(n);
        tree.object(n);
        tree.target(n);
        tree.lookup(n, &name);
        tree.xattrs(n).count();
        for (parent, _) in tree.places(n) {
            assert!(tree.entry_count(parent) > 0);
        }
        let mut up = n;
        while let Some((parent, _)) = tree.place(up) {
            assert!(parent < up);
            up = parent;
        }
    }
    tree.objects().count();
    if tree.check().is_ok() {
        let again = depsfs::store::TreeBuilder::from_tree(&tree).finish().expect("it was one");
        assert_eq!(again, tree.bytes());
    }
});
