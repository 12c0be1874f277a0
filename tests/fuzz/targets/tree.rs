//! Any bytes as a tree: every question has an answer, and no walk runs in a circle.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz tree -- -max_total_time=60`

#![no_main]

use depsfs::store::{Name, Node, Tree};
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
            if tree.stat(entry.node).kind == depsfs::sys::fs::FileType::Directory {
                dirs.push(entry.node);
            }
        }
    }
    for n in (0..=tree.node_count()).map(Node) {
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
