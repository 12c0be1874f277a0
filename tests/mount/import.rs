//! A view as the source of an import: what it still shares with the store is named, not read.

use std::fs;
use std::path::Path;

use depsfs::store::import::{ImportStats, Imported, import_dir};
use depsfs::store::{Name, Node, ObjectId, Store, Tree};

use crate::bench::{Bench, bench};

fn import(bench: &Bench, path: &Path) -> Imported {
    import_dir(&Store::open(&bench.manifest.store).unwrap(), path, &()).unwrap()
}

fn read(stats: ImportStats) -> (u64, u64, u64) {
    (stats.files_read, stats.bytes_read, stats.new_objects)
}

fn object(tree: &Tree, path: &str) -> Option<ObjectId> {
    let found =
        path.split('/').try_fold(Node::ROOT, |dir, part| tree.lookup(dir, &Name::new(part.as_bytes()).unwrap()));
    found.and_then(|node| tree.object(node))
}

#[test]
fn of_a_view_only_what_was_written_in_it_is_read() {
    let bench = bench!("v");
    let view = bench.view("v");
    bench.mount();
    let clean = import(&bench, &view);
    assert_eq!((clean.tree, read(clean.stats)), (bench.manifest.views[0].grafts[0].tree, (0, 0, 0)));
    assert_eq!(read(import(&bench, &view).stats), (0, 0, 0));

    fs::write(view.join("a.txt"), "mine\n").unwrap();
    fs::write(view.join("lib/new"), "new one\n").unwrap();
    fs::rename(view.join("lib/deep"), view.join("deep")).unwrap();
    fs::File::open(view.join("lib/b.js")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::remove_file(view.join("link")).unwrap();
    let changed = import(&bench, &view);
    assert_eq!(read(changed.stats), (2, 13, 2));
    let store = Store::open(&bench.manifest.store).unwrap();
    let tree = store.tree(changed.tree).unwrap();
    assert_eq!(object(&tree, "a.txt"), Some(ObjectId::of(b"mine\n")));
    assert_eq!(object(&tree, "lib/b.js"), Some(ObjectId::of("b\n".repeat(5000).as_bytes())));
    assert_eq!(tree.stat(tree.lookup(Node::ROOT, &Name::new(b"lib").unwrap()).unwrap()).nlink, 2);
    assert!(object(&tree, "deep/c").is_some() && object(&tree, "lib/deep/c").is_none());
    assert_eq!(tree.lookup(Node::ROOT, &Name::new(b"link").unwrap()), None);
    assert_eq!(store.verify(&()).unwrap(), []);
}

/// Inode numbers, times and often the device come again with another view at the same place: they prove nothing.
#[test]
fn another_view_at_the_same_place_is_not_taken_for_the_one_before() {
    let mut bench = bench!("v");
    let view = bench.view("v");
    let mut objects = Vec::new();
    for content in ["content 1", "content 2"] {
        let source = bench.dir.join(content);
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), content).unwrap();
        for path in [source.join("file"), source.clone()] {
            fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        bench.manifest.views[0].grafts[0].tree = import(&bench, &source).tree;
        bench.save();
        bench.mount();
        let imported = import(&bench, &view);
        let tree = Store::open(&bench.manifest.store).unwrap().tree(imported.tree).unwrap();
        objects.push(object(&tree, "file"));
        bench.unmount();
        fs::remove_dir_all(bench.state_dir().join("views")).unwrap();
    }
    assert_eq!(objects, [Some(ObjectId::of(b"content 1")), Some(ObjectId::of(b"content 2"))]);
}
