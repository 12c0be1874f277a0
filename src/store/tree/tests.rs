//! Golden bytes, round trips and hostile bytes of the tree format.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn name(s: &str) -> Name {
    Name::new(s.as_bytes()).expect("a name")
}

fn at(sec: i64, nsec: u32) -> NodeMeta {
    NodeMeta { perm: 0o644, mtime: Timespec { sec, nsec }, xattrs: vec![] }
}

fn file(content: &[u8]) -> Item {
    Item::File { object: ObjectId::of(content), size: content.len() as u64, blocks: 8 }
}

/// A root with one of each: a file with two names, an xattr, a subdirectory, a symlink, a fifo.
fn sample() -> TreeBuilder {
    let mut b = TreeBuilder::new(NodeMeta { perm: 0o755, ..at(-2, 5) });
    let sub = b.add(Slot::ROOT, name("sub"), NodeMeta { perm: 0o700, ..at(3, 0) }, Item::Dir).unwrap();
    let hello = b.add(Slot::ROOT, name("hello"), at(1, 999_999_999), file(b"hello")).unwrap();
    b.link(sub, name("again"), hello).unwrap();
    b.meta_mut(hello).xattrs.push((b"user.k".as_slice().into(), b"value".as_slice().into()));
    b.add(sub, name("link"), at(0, 0), Item::Symlink(b"../hello".as_slice().into())).unwrap();
    b.add(sub, name("pipe"), at(0, 0), Item::Fifo).unwrap();
    b
}

#[test]
fn version_1_is_these_bytes() {
    let tree = Tree::from_bytes(sample().finish().unwrap()).unwrap();
    assert_eq!(tree.id().hex(), GOLDEN_ID);
    let mut header = b"depsfs T".to_vec();
    for word in [1u32, 5, 5, 1, 1, 1] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    assert_eq!(tree.bytes()[..32], header);
    assert_eq!(tree.bytes().len(), 64 + 5 * 48 + 5 * 16 + 46 + 12 + 16 + 32);
}

const GOLDEN_ID: &str = "2b69875e5476dc191d7846733c1f7b4a29ef2b63f06ea42e4b9df9c565024028";

#[test]
fn every_accessor_says_what_was_built() {
    let tree = Tree::from_bytes(sample().finish().unwrap()).unwrap();
    let hello = tree.lookup(Node::ROOT, &name("hello")).unwrap();
    let sub = tree.lookup(Node::ROOT, &name("sub")).unwrap();
    let root = tree.stat(Node::ROOT);
    assert_eq!((root.kind, root.perm, root.nlink), (FileType::Directory, 0o755, 3));
    assert_eq!(root.mtime, Timespec { sec: -2, nsec: 5 });
    let stat = tree.stat(hello);
    assert_eq!((stat.kind, stat.perm, stat.size, stat.blocks, stat.nlink), (FileType::RegularFile, 0o644, 5, 8, 2));
    assert_eq!(stat.mtime, Timespec { sec: 1, nsec: 999_999_999 });
    assert_eq!(tree.object(hello), Some(ObjectId::of(b"hello")));
    assert_eq!(tree.lookup(sub, &name("again")), Some(hello));
    assert_eq!(tree.place(hello), Some((Node::ROOT, b"hello".as_slice())));
    assert_eq!(tree.places(hello).collect::<Vec<_>>(), [(Node::ROOT, &b"hello"[..]), (sub, b"again")]);
    assert_eq!(tree.xattrs(hello).collect::<Vec<_>>(), [(&b"user.k"[..], &b"value"[..])]);
    let link = tree.lookup(sub, &name("link")).unwrap();
    assert_eq!((tree.target(link), tree.stat(link).size), (&b"../hello"[..], 8));
    assert_eq!(tree.kind(tree.lookup(sub, &name("pipe")).unwrap()), Some(FileType::Fifo));
    assert_eq!(tree.place(sub), Some((Node::ROOT, b"sub".as_slice())));
    assert_eq!((tree.place(Node::ROOT), tree.object(sub), tree.target(hello)), (None, None, &b""[..]));
    assert_eq!((tree.entry_count(sub), tree.content_bytes(), tree.objects().count()), (3, 5, 1));
    assert_eq!(tree.lookup(sub, &name("hello")), None);
    assert_eq!(tree.lookup(hello, &name("x")), None);
    tree.check().unwrap();
}

#[test]
fn a_listing_goes_on_after_any_cookie() {
    let tree = Tree::from_bytes(sample().finish().unwrap()).unwrap();
    let sub = tree.lookup(Node::ROOT, &name("sub")).unwrap();
    let all: Vec<_> = tree.entries(sub, 0).collect();
    for (n, entry) in all.iter().enumerate() {
        assert_eq!(tree.entries(sub, entry.cookie.0).collect::<Vec<_>>(), all[n + 1..]);
        assert_eq!(tree.entries(sub, entry.cookie.0 - 1).next(), Some(*entry));
    }
}

#[test]
fn a_later_name_replaces_an_earlier_one_and_a_directory_keeps_what_it_holds() {
    let mut b = sample();
    let sub = b.add(Slot::ROOT, name("sub"), NodeMeta { perm: 0o711, ..at(9, 9) }, Item::Dir).unwrap();
    b.add(Slot::ROOT, name("hello"), at(1, 1), Item::Fifo).unwrap();
    let tree = Tree::from_bytes(b.finish().unwrap()).unwrap();
    let node = tree.lookup(Node::ROOT, &name("sub")).unwrap();
    assert_eq!((tree.stat(node).perm, tree.entry_count(node)), (0o711, 3));
    assert_eq!(tree.stat(tree.lookup(node, &name("again")).unwrap()).nlink, 1);
    let again = b.find(sub, &name("again")).unwrap();
    assert_eq!(b.add(again, name("x"), at(0, 0), Item::Fifo), Err(BuildError::NotADirectory));
    assert_eq!(b.link(Slot::ROOT, name("x"), sub), Err(BuildError::LinkToDirectory));
}

#[test]
fn other_versions_and_lengths_are_refused() {
    let good = sample().finish().unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        Tree::from_bytes(bytes).map(|t| t.id())
    };
    assert_eq!(changed(0, 0), Err(TreeError::Magic));
    assert_eq!(changed(8, 2), Err(TreeError::Version(2)));
    assert_eq!(changed(12, 7), Err(TreeError::Length));
    assert_eq!(changed(63, 1), Err(TreeError::Damaged("reserved bytes are set")));
    assert_eq!(Tree::from_bytes(good[..good.len() - 1].to_vec()).map(|t| t.id()), Err(TreeError::Length));
    assert_eq!(Tree::from_bytes(vec![]).map(|t| t.id()), Err(TreeError::Magic));
}

/// Asks everything of every node, and walks; bounded, or the test hangs.
pub(super) fn ask_everything(tree: &Tree) {
    let mut dirs = vec![Node::ROOT];
    let mut seen = BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        assert!(seen.insert(dir), "a walk met a directory twice");
        for entry in tree.entries(dir, 0).take(10_000) {
            if tree.kind(entry.node) == Some(FileType::Directory) {
                dirs.push(entry.node);
            }
        }
    }
    for n in (0..=tree.node_count().min(10_000)).map(Node) {
        tree.stat(n);
        tree.object(n);
        tree.target(n);
        tree.xattrs(n).count();
        tree.places(n).count();
        tree.lookup(n, &name("hello"));
        let mut up = n;
        while let Some((parent, _)) = tree.place(up) {
            assert!(parent < up);
            up = parent;
        }
    }
    tree.objects().count();
    let _ = tree.check();
}

/// A path of names, and what is there.
type Model = BTreeMap<Vec<String>, (i64, u32, u8, Vec<u8>)>;

fn model() -> impl Strategy<Value = Model> {
    let path = prop::collection::vec("[a-c]{1,2}|\u{e9}", 1..4);
    let what = (any::<i64>(), 0u32..1_000_000_000, 0u8..4, prop::collection::vec(any::<u8>(), 0..20));
    prop::collection::btree_map(path, what, 0..30)
}

fn build(model: &Model) -> (TreeBuilder, BTreeMap<Vec<String>, Slot>) {
    let mut b = TreeBuilder::new(at(0, 0));
    let mut kept = BTreeMap::new();
    'paths: for (path, (sec, nsec, kind, bytes)) in model {
        let mut parent = Slot::ROOT;
        for part in &path[..path.len() - 1] {
            parent = match b.find(parent, &name(part)) {
                Some(slot) if b.is_dir(slot) => slot,
                Some(_) => continue 'paths,
                None => b.add(parent, name(part), at(0, 0), Item::Dir).unwrap(),
            };
        }
        let item = match kind {
            0 => Item::Dir,
            1 => file(bytes),
            2 => Item::Symlink(bytes.as_slice().into()),
            _ => Item::Fifo,
        };
        let slot = b.add(parent, name(&path[path.len() - 1]), at(*sec, *nsec), item).unwrap();
        kept.insert(path.clone(), slot);
    }
    (b, kept)
}

proptest! {
    #[test]
    fn a_tree_gives_back_what_was_put_in(model in model()) {
        let (b, kept) = build(&model);
        let (bytes, slots) = b.finish_numbered().unwrap();
        let tree = Tree::from_bytes(bytes).unwrap();
        tree.check().unwrap();
        for (path, slot) in kept {
            let found = path.iter().try_fold(Node::ROOT, |dir, part| tree.lookup(dir, &name(part)));
            let found = found.expect("the name is there");
            prop_assert_eq!(slots[found.0 as usize], slot);
            prop_assert_eq!(Some(&build::item_of(&tree, found).unwrap()), b.item(slot).map(|i| i.0));
            prop_assert_eq!(Some(&build::meta_of(&tree, found)), b.item(slot).map(|i| i.1));
            prop_assert_eq!(tree.place(found).unwrap().1, path[path.len() - 1].as_bytes());
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic_or_run_in_a_circle(
        model in model(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)
    ) {
        let mut bytes = build(&model).0.finish().unwrap();
        for (at, to) in flips {
            let at = 48.max(at.index(bytes.len()));
            bytes[at] = to;
        }
        bytes[48..64].fill(0);
        if let Ok(tree) = Tree::from_bytes(bytes) {
            ask_everything(&tree);
        }
    }
}
