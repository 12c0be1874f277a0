//! Objects: small ones are compared with their names before their first byte is answered, large ones have their length,
//! and what is lost is whole again after the next import of the same bytes.

use depsfs::overlay::OverlayError;
use depsfs::store::extract::extract;
use depsfs::store::import::{ArchiveLimits, import_archive};
use depsfs::store::{Node, ObjectId};

use super::*;

/// Goes into a pack; has a file of its own; has one that is not read whole.
const SMALL: &[u8] = b"in a pack, with others";
const OTHERS: u64 = 70;
fn loose() -> Vec<u8> {
    (0..200_000u32).map(|n| (n % 251 * (n % 13) + n / 4096) as u8).collect()
}
fn large() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n % 241 * (n % 13) + n / 4096) as u8).collect()
}

/// A store with these three, as the files 0, 1 and 2.
struct Three {
    case: Case,
    source: PathBuf,
    tree: TreeId,
    contents: [Vec<u8>; 3],
}

impl Three {
    fn new() -> Three {
        let case = Case::new();
        let contents = [SMALL.to_vec(), loose(), large()];
        let source = case.source(&[SMALL, &contents[1], &contents[2]]);
        // So many that they are worth a pack.
        (0..OTHERS).for_each(|n| fs::write(source.join(format!("other {n}")), n.to_string()).unwrap());
        // A file that changed a moment before it is read is read again.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let tree = case.import(&source);
        Three { case, source, tree, contents }
    }

    /// The file that holds the object of file `n`, and where in it.
    fn place(&self, n: usize) -> (PathBuf, u64) {
        let id = ObjectId::of(&self.contents[n]);
        let loose = self.case.store.objects().path_of(&id);
        if loose.exists() {
            return (loose, 0);
        }
        let pack = fs::read_dir(self.case.store.path().join("packs")).unwrap().next().unwrap().unwrap().path();
        let bytes = fs::read(&pack).unwrap();
        let at = bytes.windows(self.contents[n].len()).position(|w| w == self.contents[n]).unwrap();
        (pack, at as u64)
    }

    fn flip(&self, n: usize) {
        let (path, at) = self.place(n);
        flip(&path, at + 7, 2);
    }

    fn read(&self, view: &Overlay, n: usize) -> Result<Vec<u8>, OverlayError> {
        let attr = view.lookup(Ino::ROOT, &name(&n.to_string()))?;
        let mut all = Vec::new();
        while let more @ 1.. = view.read(attr.ino, all.len() as u64, 128 << 10, |b| {
            all.extend_from_slice(b);
            b.len()
        })? {
            assert!(more <= 128 << 10);
        }
        Ok(all)
    }

    fn assert_lost(&self, view: &Overlay, n: usize) {
        let read = self.read(view, n).map(|bytes| bytes.len());
        let want = ObjectId::of(&self.contents[n]);
        assert!(matches!(&read, Err(OverlayError::LostObject { id, .. }) if *id == want), "{n}: {read:?}");
        assert!(self.case.store.lost_objects().unwrap().contains(&want), "{n}");
    }

    fn assert_whole(&self, view: &Overlay) {
        for n in 0..3 {
            assert!(self.read(view, n).unwrap() == self.contents[n], "{n}");
        }
        assert_eq!(self.case.store.verify(&()).unwrap(), []);
    }
}

#[test]
fn a_changed_bit_of_a_small_object_is_an_error_and_copied_up_or_extracted_by_nobody() {
    for n in 0..2 {
        let three = Three::new();
        three.flip(n);
        let view = three.case.view(three.tree);
        three.assert_lost(&view, n);
        three.assert_lost(&view, n);
        let ino = view.lookup(Ino::ROOT, &name(&n.to_string())).unwrap().ino;
        assert!(matches!(view.write(ino, 3, b"x", None), Err(OverlayError::LostObject { .. })));
        assert!(matches!(view.thaw(ino), Err(OverlayError::LostObject { .. })));
        assert!(matches!(view.stored_file(ino), Err(OverlayError::LostObject { .. })));
        let into = three.case.dir.path().join("extracted");
        fs::create_dir(&into).unwrap();
        let tree = three.case.store.tree(three.tree).unwrap();
        let dir = depsfs::sys::path::open_dir(&into).unwrap();
        assert!(extract(&three.case.store, (&tree, Node::ROOT), (&dir, &into), &|_| false).is_err());
        assert!(!into.join(n.to_string()).exists());
        assert_eq!(three.case.import(&three.source), three.tree);
        three.assert_whole(&view);
        assert_eq!(three.case.store.lost_objects().unwrap(), []);
    }
}

#[test]
fn a_cut_object_is_an_error_from_the_first_byte_on() {
    for n in 1..3 {
        let three = Three::new();
        to_damage(&three.place(n).0).set_len(1000).unwrap();
        let view = three.case.view(three.tree);
        three.assert_lost(&view, n);
        let ino = view.lookup(Ino::ROOT, &name(&n.to_string())).unwrap().ino;
        assert!(matches!(view.write(ino, 3, b"x", None), Err(OverlayError::LostObject { .. })));
        assert!(matches!(view.copy_ahead(ino), Err(OverlayError::LostObject { .. }) | Ok(())));
        assert!(matches!(view.stored_file(ino), Err(OverlayError::LostObject { .. })));
        assert_eq!(three.case.import(&three.source), three.tree);
        three.assert_whole(&view);
    }
}

#[test]
fn the_next_import_of_an_unchanged_directory_brings_back_what_is_missing_also_to_open_views() {
    let three = Three::new();
    let view = three.case.view(three.tree);
    three.assert_whole(&view);
    for dir in ["objects", "packs"] {
        for entry in fs::read_dir(three.case.store.path().join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }
    let fresh = three.case.view(three.tree);
    for n in 0..3 {
        three.assert_lost(&fresh, n);
    }
    let again = import_dir(&three.case.store, &three.source, &()).unwrap();
    assert_eq!((again.tree, again.stats.files_read), (three.tree, 3 + OTHERS));
    three.assert_whole(&view);
    three.assert_whole(&fresh);
    assert_eq!(three.case.store.lost_objects().unwrap(), []);
    let unchanged = import_dir(&three.case.store, &three.source, &()).unwrap();
    assert_eq!((unchanged.tree, unchanged.stats.files_read), (three.tree, 0));
}

#[test]
fn a_view_that_has_a_replaced_object_open_reads_the_new_one() {
    let three = Three::new();
    let view = three.case.view(three.tree);
    three.assert_whole(&view);
    for n in 1..3 {
        let (path, _) = three.place(n);
        three.flip(n);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(three.case.import(&three.source), three.tree);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    three.assert_whole(&view);
}

#[test]
fn an_open_object_that_is_changed_in_place_is_an_error_a_moment_later() {
    let three = Three::new();
    let view = three.case.view(three.tree);
    three.assert_whole(&view);
    three.flip(1);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    three.assert_lost(&view, 1);
}

#[test]
fn an_archive_that_was_imported_before_brings_back_what_is_lost() {
    let three = Three::new();
    let archive = three.case.dir.path().join("a.tar");
    let mut tar = std::process::Command::new("tar");
    tar.args(["--sort=name", "-cf"]).arg(&archive).arg("-C").arg(&three.source).arg(".");
    assert!(tar.status().unwrap().success());
    std::thread::sleep(std::time::Duration::from_millis(50));
    let add = || import_archive(&three.case.store, &archive, &ArchiveLimits::default(), &()).unwrap();
    let tree = add().tree;
    let view = three.case.view(tree);
    three.flip(0);
    three.assert_lost(&view, 0);
    fs::remove_file(three.place(1).0).unwrap();
    let again = add();
    assert_eq!(again.tree, tree);
    three.assert_whole(&view);
}
