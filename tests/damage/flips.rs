//! Random damage in every kind of file of a store: no panic, no end that never comes, no wrong byte without an error,
//! and what the source still has is whole again after the next import. A run prints its seed; `DEPSFS_SEED` replays it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use depsfs::overlay::OverlayError;
use depsfs::store::manifest::{Graft, ViewSpec};
use depsfs::store::{GcOptions, Manifest, Provenance};

use super::*;

/// The number of flips or cuts of each kind of file.
const TIMES: usize = 25;

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n.max(1)
    }
}

fn seed() -> u64 {
    let given = std::env::var("DEPSFS_SEED").ok().and_then(|n| n.parse().ok());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed = given.unwrap_or(u64::from(now) ^ u64::from(std::process::id()) << 32) | 1;
    println!("seed: DEPSFS_SEED={seed} replays this");
    seed
}

/// A store with one of everything, and what its tree shows.
struct Whole {
    case: Case,
    source: PathBuf,
    tree: TreeId,
    shown: BTreeMap<String, Vec<u8>>,
}

fn whole() -> Whole {
    let case = Case::new();
    let small: Vec<Vec<u8>> = (0..80u8).map(|n| vec![n; 10 + usize::from(n) * 9]).collect();
    let loose: Vec<u8> = (0..90_000u32).map(|n| (n % 251) as u8).collect();
    let mut contents: Vec<&[u8]> = small.iter().map(Vec::as_slice).collect();
    contents.push(&loose);
    let source = case.source(&contents);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let tree = case.import(&source);
    case.store.entries().put("entry", tree, Provenance::default()).unwrap();
    let mut manifest = Manifest::new(&case.dir.path().join("worktree"), case.store.path());
    let graft = Graft { tree, at: "".into(), entry: None, origin: "a test".into(), retired: false };
    manifest.views.push(ViewSpec { id: "0".repeat(16), grafts: vec![graft], ..Default::default() });
    let file = case.dir.path().join("manifest.json");
    manifest.save(&file).unwrap();
    case.store.roots().add(&file, &manifest.trees()).unwrap();
    let shown = contents.iter().enumerate().map(|(n, content)| (n.to_string(), content.to_vec())).collect();
    Whole { case, source, tree, shown }
}

impl Whole {
    /// The content of a view of the tree: as it should be, or an error. How many files are lost.
    fn look(&self) -> usize {
        let Ok(store) = Store::open(self.case.store.path()) else { return 0 };
        let Ok(tree) = store.mapped_tree(self.tree) else { return 0 };
        let dir = tempfile::tempdir_in(self.case.dir.path()).unwrap();
        let (upper, state_dir) = (dir.path().join("upper"), dir.path().join("state"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&state_dir).unwrap();
        let grafts = vec![GraftSpec { at: PathBuf::new(), tree, retired: false }];
        let (upper, objects) = (depsfs::sys::path::open_dir(&upper).unwrap(), store.objects().clone());
        let view = Overlay::open(upper, OverlayConfig { state_dir, grafts, objects, takeover: false }).unwrap();
        let names = list(&view).unwrap();
        assert_eq!(names.len(), self.shown.len() + 2, "{names:?}");
        let mut lost = 0;
        for (file, content) in &self.shown {
            let attr = view.lookup(Ino::ROOT, &name(file)).unwrap();
            assert_eq!(attr.size, content.len() as u64, "{file}");
            match view.read(attr.ino, 0, 1 << 20, |bytes| bytes.to_vec()) {
                Ok(bytes) => assert!(bytes == *content, "{file} has wrong bytes"),
                Err(OverlayError::LostObject { .. }) => lost += 1,
                Err(e) => panic!("{file}: {e}"),
            }
        }
        lost
    }

    /// Everything that reads the store, while something of it is damaged.
    fn use_it(&self) -> usize {
        let Ok(store) = Store::open(self.case.store.path()) else { return 1 };
        let found = store.verify(&()).map_or(1, |damage| damage.len());
        self.look();
        let _ = store.entries().get("entry");
        let _ = store.roots().list();
        let now = depsfs::sys::fs::Timespec::now();
        let _ = store.gc(&GcOptions { dry_run: true, keep_days: 30, now }, &());
        found
    }

    /// Damages `path` at random; what is damaged is found when `must_be_found`, and harms nobody.
    fn damage(&self, kind: &str, path: &Path, dice: &mut Dice, must_be_found: bool) {
        let good = fs::read(path).unwrap();
        let len = good.len() as u64;
        let what = match dice.below(5) {
            0 => {
                let to = dice.below(len);
                to_damage(path).set_len(to).unwrap();
                format!("{kind} cut to {to}")
            }
            _ => {
                let (at, bit) = (dice.below(len), dice.below(8) as u8);
                flip(path, at, bit);
                format!("{kind}: bit {bit} of byte {at}")
            }
        };
        let used = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let found = self.use_it();
            assert!(found > 0 || !must_be_found, "verify finds nothing");
            if let Ok(store) = Store::open(self.case.store.path()) {
                let tree = import_dir(&store, &self.source, &()).map(|imported| imported.tree);
                assert_eq!(tree.unwrap(), self.tree);
                assert_eq!(self.look(), 0, "lost after the import");
            }
        }));
        if let Err(why) = used {
            println!("{what}");
            std::panic::resume_unwind(why);
        }
        // As before, whatever came of it.
        let _ = fs::remove_file(path);
        fs::write(path, &good).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()) {
        if entry.is_dir() { all.extend(files(&entry)) } else { all.push(entry) }
    }
    all.sort();
    all
}

#[test]
fn every_flip_and_cut_in_a_store_is_an_error_or_nothing_at_all() {
    let mut dice = Dice(seed());
    for (dir, must_be_found) in [
        ("objects", true),
        ("packs", true),
        ("trees", true),
        ("entries", false),
        ("roots", false),
        ("snapshots", false),
        ("version", false),
    ] {
        let mut whole = whole();
        for n in 0..TIMES {
            // The objects that imports have added meanwhile are not in the way: an object in two packs, say.
            if dir == "packs" || n % 10 == 9 {
                whole = self::whole();
            }
            let all = match dir {
                "version" => vec![whole.case.store.path().join(dir)],
                dir => files(&whole.case.store.path().join(dir)),
            };
            let one = &all[dice.below(all.len() as u64) as usize];
            whole.damage(dir, one, &mut dice, must_be_found);
        }
    }
}
