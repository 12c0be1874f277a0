//! Sparse packs and sources: objects that are not here are never served, and come one by one.

#[path = "store/case.rs"]
mod case;
#[path = "sparse/demand.rs"]
mod demand;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use case::Case;
use depsfs::overlay::{GraftSpec, Ino, Overlay, OverlayConfig, OverlayError};
use depsfs::store::import::import_dir;
use depsfs::store::{GcOptions, Name, ObjectId, Provenance, Store, StoreError, Tree, TreeId};
use depsfs::sys::fs::Timespec;

/// A tree with its pack, as another store has them.
struct Remote {
    _case: Case,
    source: PathBuf,
    tree: TreeId,
    tree_bytes: Vec<u8>,
    pack: String,
    bytes: Vec<u8>,
    objects: Vec<(ObjectId, Vec<u8>)>,
}

const FILES: u32 = 200;

fn content(n: u32) -> Vec<u8> {
    format!("{n} ").repeat(1 + n as usize % 700).into_bytes()
}

fn remote() -> Remote {
    let case = Case::new();
    let source = case.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    (0..FILES).for_each(|n| fs::write(source.join(n.to_string()), content(n)).unwrap());
    let tree = import_dir(&case.store, &source, &()).unwrap().tree;
    let file = fs::read_dir(case.store.path().join("packs")).unwrap().next().unwrap().unwrap();
    let tree_bytes = fs::read(case.store.tree_path(tree)).unwrap();
    let objects = (0..FILES).map(|n| (ObjectId::of(&content(n)), content(n))).collect();
    let pack = file.file_name().into_string().unwrap();
    Remote { source, tree, tree_bytes, pack, bytes: fs::read(file.path()).unwrap(), objects, _case: case }
}

impl Remote {
    fn end(&self) -> usize {
        u64::from_le_bytes(self.bytes[16..24].try_into().unwrap()) as usize
    }

    /// Into another store: its source, the tree, the pack without its objects, an entry.
    fn bring_to(&self, store: &Store) {
        store.put_source(&self.tree, b"where").unwrap();
        self.put_tree(store);
        self.add_pack(store).unwrap();
        store.entries().put("t", self.tree, Provenance::default()).unwrap();
    }

    fn put_tree(&self, store: &Store) {
        let path = store.tree_path(self.tree);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &self.tree_bytes).unwrap();
    }

    fn add_pack(&self, store: &Store) -> Result<(), StoreError> {
        store.add_sparse_pack(&self.pack.parse().unwrap(), &self.bytes[..64], &self.bytes[self.end()..])
    }

    fn fill(&self, store: &Store, which: std::ops::Range<usize>) -> Result<(), StoreError> {
        let some: Vec<(ObjectId, &[u8])> = self.objects[which].iter().map(|(id, bytes)| (*id, &bytes[..])).collect();
        store.fill(&self.pack.parse().unwrap(), &some)
    }

    /// How many objects a store has, each compared with its name; the others must be absent.
    fn here(&self, store: &Store) -> usize {
        let is_here = |(id, bytes): &&(ObjectId, Vec<u8>)| match store.objects().content(id) {
            Ok(extent) => {
                assert_eq!(ObjectId::of_extent(&extent).unwrap(), *id);
                assert!(store.objects().contains_whole(id, bytes.len() as u64));
                true
            }
            Err(StoreError::Absent { id: named }) => {
                assert!(named == *id && !store.objects().contains(id) && store.objects().is_absent(id));
                false
            }
            Err(e) => panic!("{e}"),
        };
        self.objects.iter().filter(is_here).count()
    }

    fn path(&self, store: &Store) -> PathBuf {
        store.path().join("packs").join(&self.pack)
    }
}

fn gc(store: &Store) {
    store.gc(&GcOptions { dry_run: false, keep_days: 30, now: Timespec::now() }, &()).unwrap();
}

fn version(store: &Store) -> String {
    fs::read_to_string(store.path().join("version")).unwrap()
}

#[test]
fn objects_of_a_sparse_pack_are_absent_until_each_was_compared_and_then_the_pack_is_as_every_other() {
    let (remote, case) = (remote(), Case::new());
    let early = Store::open(case.store.path()).unwrap();
    remote.bring_to(&case.store);
    assert_eq!((remote.here(&case.store), remote.here(&early)), (0, 0));
    let path = remote.path(&case.store);
    let bitmap = path.with_extension("have");
    let header = [&b"depsfs H"[..], &1u32.to_le_bytes(), &FILES.to_le_bytes()].concat();
    assert_eq!(fs::read(&bitmap).unwrap(), [&header[..], &[0; FILES as usize / 8]].concat(), "version 1");

    remote.fill(&case.store, 0..50).unwrap();
    assert_eq!((remote.here(&case.store), remote.here(&early)), (50, 50));
    // One object of which is wrong: none is taken.
    let mut wrong: Vec<(ObjectId, &[u8])> = remote.objects[50..60].iter().map(|(id, b)| (*id, &b[..])).collect();
    wrong[9].1 = b"other";
    let refused = case.store.fill(&remote.pack.parse().unwrap(), &wrong).unwrap_err();
    assert!(matches!(refused, StoreError::BadObject { .. }), "{refused}");
    assert_eq!(remote.here(&case.store), 50);
    // The pack is added once.
    remote.add_pack(&case.store).unwrap();
    assert_eq!(remote.here(&Store::open(case.store.path()).unwrap()), 50);

    remote.fill(&case.store, 0..FILES as usize).unwrap();
    assert_eq!((remote.here(&case.store), remote.here(&early)), (FILES as usize, FILES as usize));
    assert_eq!(fs::read(&path).unwrap(), remote.bytes);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444);
    assert!(!bitmap.exists());
    remote.fill(&case.store, 3..7).unwrap();
    remote.add_pack(&case.store).unwrap();
    case.store.drop_source(&remote.tree).unwrap();
    assert_eq!((case.store.verify(&()).unwrap(), case.store.sources().unwrap()), (vec![], vec![]));
    gc(&case.store);
    assert_eq!(remote.here(&early), FILES as usize);
}

#[test]
fn a_view_of_absent_objects_fails_to_read_and_never_shows_zeros() {
    let (remote, case) = (remote(), Case::new());
    remote.bring_to(&case.store);
    let make = |name: &str| {
        fs::create_dir(case.dir.path().join(name)).unwrap();
        case.dir.path().join(name)
    };
    let (upper, state_dir) = (depsfs::sys::path::open_dir(&make("upper")).unwrap(), make("state"));
    let tree = case.store.tree(remote.tree).unwrap();
    let grafts = vec![GraftSpec { at: PathBuf::new(), tree, retired: false }];
    let objects = case.store.objects().clone();
    let view = Overlay::open(upper, OverlayConfig { state_dir, grafts, objects, takeover: false }).unwrap();
    let ino = view.lookup(Ino::ROOT, &Name::new(b"150").unwrap()).unwrap().ino;
    let read = |view: &Overlay| view.read(ino, 0, 1 << 20, |bytes| bytes.to_vec());
    assert!(matches!(read(&view), Err(OverlayError::AbsentObject(_))));
    assert!(matches!(view.write(ino, 0, b"x", None), Err(OverlayError::AbsentObject(_))));
    assert_eq!(case.store.lost_objects().unwrap(), [], "an absent object is not lost");
    // A block that a power cut left behind without its bit.
    let file = fs::File::options().write(true).open(remote.path(&case.store)).unwrap();
    file.write_all_at(&vec![7; remote.end() - 64], 64).unwrap();
    assert!(matches!(read(&view), Err(OverlayError::AbsentObject(_))));
    remote.fill(&case.store, 0..FILES as usize).unwrap();
    assert_eq!(read(&view).unwrap(), content(150));
}

#[test]
fn what_no_source_names_is_lost_and_what_one_names_is_absent() {
    let (remote, case) = (remote(), Case::new());
    remote.bring_to(&case.store);
    assert_eq!(case.store.source(&remote.tree).unwrap().unwrap(), b"where");
    assert_eq!(case.store.sources().unwrap(), [remote.tree]);
    assert!(case.store.is_usable(remote.tree).unwrap());
    let other = ObjectId::of(b"elsewhere");
    assert!(matches!(case.store.objects().content(&other), Err(StoreError::NoObject(_))));
    let whole = case.store.verify_all(&()).unwrap();
    assert_eq!((whole.damage.len(), whole.absent), (0, FILES.into()));
    case.store.drop_source(&remote.tree).unwrap();
    let (id, _) = remote.objects[0];
    assert!(matches!(case.store.objects().content(&id), Err(StoreError::NoObject(_))));
    assert!(!case.store.is_usable(remote.tree).unwrap());
    let lost = case.store.verify_all(&()).unwrap();
    assert_eq!((lost.damage.len(), lost.absent), (FILES as usize, 0));
}

#[test]
fn an_import_of_the_same_files_fills_what_is_absent() {
    let (remote, case) = (remote(), Case::new());
    remote.bring_to(&case.store);
    remote.fill(&case.store, 0..50).unwrap();
    let imported = import_dir(&case.store, &remote.source, &()).unwrap();
    assert_eq!((imported.tree, imported.stats.new_objects), (remote.tree, 150));
    assert_eq!(remote.here(&case.store), FILES as usize);
    gc(&case.store);
    assert_eq!(remote.here(&case.store), FILES as usize);
    assert_eq!(case.store.verify(&()).unwrap(), []);
}

#[test]
fn gc_keeps_a_sparse_pack_while_its_tree_is_needed_and_takes_it_with_the_source_afterwards() {
    let (remote, case) = (remote(), Case::new());
    remote.bring_to(&case.store);
    remote.fill(&case.store, 0..3).unwrap();
    gc(&case.store);
    assert_eq!((remote.here(&case.store), case.store.sources().unwrap().len()), (3, 1));
    remote.fill(&case.store, 3..10).unwrap();
    assert_eq!(remote.here(&Store::open(case.store.path()).unwrap()), 10);
    case.store.entries().remove("t").unwrap();
    gc(&case.store);
    assert_eq!(case.store.sources().unwrap(), []);
    assert_eq!(fs::read_dir(case.store.path().join("packs")).unwrap().count(), 0);
    assert!(!case.store.tree_path(remote.tree).exists());
    // Bytes that arrive after that are kept as those of an import.
    remote.fill(&case.store, 0..100).unwrap();
    assert!(remote.objects[..100].iter().all(|(id, b)| case.store.objects().contains_whole(id, b.len() as u64)));
}

#[test]
fn bytes_that_were_lost_after_their_bit_was_set_are_found_and_absent_again() {
    let (remote, case) = (remote(), Case::new());
    remote.bring_to(&case.store);
    remote.fill(&case.store, 0..FILES as usize - 1).unwrap();
    let file = fs::File::options().write(true).open(remote.path(&case.store)).unwrap();
    file.write_all_at(&[0; 5000], 64).unwrap();
    let store = Store::open(case.store.path()).unwrap();
    assert_eq!(store.verify(&()).unwrap().len(), 1);
    store.salvage(remote.pack.parse().unwrap()).unwrap();
    let here = remote.here(&store);
    assert!((100..FILES as usize - 1).contains(&here), "{here}");
    assert_eq!(store.verify(&()).unwrap(), []);
    remote.fill(&store, 0..FILES as usize).unwrap();
    assert_eq!(remote.here(&store), FILES as usize);
}

#[test]
fn the_head_of_another_pack_or_of_none_is_refused() {
    let (remote, case) = (remote(), Case::new());
    let (header, index) = (&remote.bytes[..64], &remote.bytes[remote.end()..]);
    let id = remote.pack.parse().unwrap();
    let mut longer = header.to_vec();
    longer[12] += 1;
    for (header, index) in [(header, &index[..index.len() - 1]), (&header[..60], index), (&longer[..], index)] {
        let refused = case.store.add_sparse_pack(&id, header, index);
        assert!(matches!(refused, Err(StoreError::BadPack { .. })), "{refused:?}");
    }
    // Two objects with bytes in common, under the name that such an index has.
    let mut shared = index.to_vec();
    let (first, second) = (256 * 4 + 32, 256 * 4 + 44 + 32);
    shared.copy_within(first..first + 8, second);
    let name = blake3::hash(&shared).to_hex().parse().unwrap();
    assert!(matches!(case.store.add_sparse_pack(&name, header, &shared), Err(StoreError::BadPack { .. })));
    assert_eq!(version(&case.store), "depsfs store 2\n");
    assert!(Tree::from_bytes(remote.tree_bytes).is_ok());
}

#[test]
fn a_store_of_an_older_version_is_taken_over_and_older_programs_refuse_it_from_then_on() {
    let remote = remote();
    for before in ["depsfs store 1\n", "depsfs store 2\n"] {
        let case = Case::new();
        fs::write(case.store.path().join("version"), before).unwrap();
        let store = Store::open(case.store.path()).unwrap();
        assert_eq!(version(&store), before);
        remote.bring_to(&store);
        // The only words that they know are those of versions 1 and 2.
        assert_eq!(version(&store), "depsfs store 3\n");
        // An import with packs does not take that back.
        import_dir(&store, &remote.source, &()).unwrap();
        assert_eq!(version(&store), "depsfs store 3\n");
        assert_eq!(remote.here(&Store::open(case.store.path()).unwrap()), FILES as usize);
    }
}
