//! A store into which the objects of a sparse pack come one after the other, and what is in it after a cut: of a tree that
//! is complete, everything, though the pack has objects that nobody needs.

use depsfs::store::{ObjectId, Provenance, Store, StoreError, TreeId, import};

use crate::cut;
use crate::disk::Disk;

/// Enough for a pack.
const FILES: u32 = 200;
/// Those of the tree.
const NEEDED: u32 = 120;
/// Objects that come together.
const AT_ONCE: usize = 20;

fn content(n: u32) -> Vec<u8> {
    format!("{n} ").repeat(20 + n as usize * 5).into_bytes()
}

fn name(n: u32) -> String {
    if n < NEEDED { format!("needed/{n}") } else { n.to_string() }
}

/// The objects of a tree as another store has them.
struct FarTree {
    tree: TreeId,
    tree_bytes: Vec<u8>,
    pack: String,
    pack_bytes: Vec<u8>,
    objects: Vec<(ObjectId, Vec<u8>)>,
}

impl FarTree {
    fn new() -> FarTree {
        let dir = tempfile::tempdir().expect("a directory");
        let (source, at) = (dir.path().join("source"), dir.path().join("store"));
        std::fs::create_dir(&source).expect("a directory");
        std::fs::create_dir(source.join("needed")).expect("a directory");
        (0..FILES).for_each(|n| std::fs::write(source.join(name(n)), content(n)).expect("a file"));
        let store = Store::open(&at).expect("a store");
        // One pack has all.
        import::import_dir(&store, &source, &()).expect("imported");
        let tree = import::import_dir(&store, &source.join("needed"), &()).expect("imported").tree;
        let pack = std::fs::read_dir(at.join("packs")).expect("listed").next().expect("a pack").expect("an entry");
        FarTree {
            tree,
            tree_bytes: std::fs::read(store.tree_path(tree)).expect("read"),
            pack: pack.file_name().into_string().expect("hexadecimal"),
            pack_bytes: std::fs::read(pack.path()).expect("read"),
            objects: (0..NEEDED).map(|n| (ObjectId::of(&content(n)), content(n))).collect(),
        }
    }

    /// Its index and its tree, without contents.
    fn bring_to(&self, store: &Store) {
        store.put_source(&self.tree, b"a test").expect("put");
        let path = store.tree_path(self.tree);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, &self.tree_bytes).expect("written");
        std::fs::File::open(path).and_then(|file| file.sync_all()).expect("synced");
        let end = u64::from_le_bytes(self.pack_bytes[16..24].try_into().expect("eight")) as usize;
        let (head, index) = (&self.pack_bytes[..64], &self.pack_bytes[end..]);
        store.add_sparse_pack(&self.pack.parse().expect("a name"), head, index).expect("added");
    }
}

pub fn run(mut disk: Disk) {
    let (path, far) = (disk.at().join("store"), FarTree::new());
    let store = Store::open(&path).expect("a store");
    far.bring_to(&store);
    disk.commit();
    store.entries().put("entry", far.tree, Provenance::default()).expect("put");
    disk.commit();
    let sparse = disk.now();
    for some in far.objects.chunks(AT_ONCE) {
        let some: Vec<(ObjectId, &[u8])> = some.iter().map(|(id, bytes)| (*id, &bytes[..])).collect();
        store.fill(&far.pack.parse().expect("a name"), &some).expect("filled");
    }
    store.drop_source(&far.tree).expect("dropped");
    // The source is gone from the disk in many of the cuts.
    (0..40).for_each(|_| disk.commit());
    drop(store);
    disk.end();
    cut(&disk, "objects that come into a sparse pack on ext4", &|at, events| match events >= sparse {
        true => look(&at.join("store"), &far),
        false => Ok(()),
    });
}

/// A directory is imported of which a sparse pack has all objects: no source is noted for its tree.
pub fn run_import(mut disk: Disk) {
    let (path, far) = (disk.at().join("store"), FarTree::new());
    let dir = tempfile::tempdir().expect("a directory");
    (0..NEEDED / 2).for_each(|n| std::fs::write(dir.path().join(n.to_string()), content(n)).expect("a file"));
    let store = Store::open(&path).expect("a store");
    far.bring_to(&store);
    disk.commit();
    let here: Vec<(ObjectId, &[u8])> =
        far.objects[..NEEDED as usize / 2].iter().map(|(id, bytes)| (*id, &bytes[..])).collect();
    store.fill(&far.pack.parse().expect("a name"), &here).expect("filled");
    let tree = import::import_dir(&store, dir.path(), &()).expect("imported").tree;
    store.entries().put("imported", tree, Provenance::default()).expect("put");
    let done = disk.now();
    (0..4).for_each(|_| disk.commit());
    drop(store);
    disk.end();
    cut(&disk, "an import of what a sparse pack has, on ext4", &|at, events| {
        let store = Store::open(&at.join("store")).map_err(|e| format!("it can't be opened: {e}"))?;
        let lost = here.iter().filter(|(id, _)| store.objects().content(id).is_err()).count();
        if events >= done && lost > 0 { Err(format!("{lost} objects of the imported tree are gone")) } else { Ok(()) }
    });
}

/// An object that counts as here has its bytes; others are absent, which they are while a source names them, and come again.
fn look(path: &std::path::Path, far: &FarTree) -> Result<(), String> {
    let store = Store::open(path).map_err(|e| format!("it can't be opened: {e}"))?;
    for (n, (id, _)) in far.objects.iter().enumerate() {
        match store.objects().content(id) {
            Ok(extent) if ObjectId::of_extent(&extent).ok() == Some(*id) => {}
            Ok(_) => return Err(format!("object {n} has other bytes")),
            Err(StoreError::Absent { .. }) => {}
            Err(e) => return Err(format!("object {n}: {e}")),
        }
    }
    let damage = store.verify(&()).map_err(|e| format!("it can't be verified: {e}"))?;
    if !damage.is_empty() {
        return Err(format!("it is damaged: {damage:?}"));
    }
    let all: Vec<(ObjectId, &[u8])> = far.objects.iter().map(|(id, bytes)| (*id, &bytes[..])).collect();
    store.fill(&far.pack.parse().expect("a name"), &all).map_err(|e| format!("it can't be filled: {e}"))?;
    let absent = far.objects.iter().filter(|(id, _)| store.objects().content(id).is_err()).count();
    if absent == 0 { Ok(()) } else { Err(format!("{absent} objects are absent after they were added again")) }
}
