//! Damage in a store: it is seen, an error, never wrong bytes, and whole again where good bytes are at hand.

#[path = "store/case.rs"]
mod case;
#[path = "damage/flips.rs"]
mod flips;
#[path = "damage/large.rs"]
mod large;
#[path = "damage/objects.rs"]
mod objects;
#[path = "damage/trees.rs"]
mod trees;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use case::Case;
use depsfs::overlay::{GraftSpec, Ino, Overlay, OverlayConfig};
use depsfs::store::import::import_dir;
use depsfs::store::{Name, Store, Tree, TreeId};

/// Opens a file of the store to be damaged: they are there to be read only.
fn to_damage(path: &Path) -> fs::File {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Changes one bit of a file.
fn flip(path: &Path, at: u64, bit: u8) {
    let file = to_damage(path);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

impl Case {
    /// A directory with a file of each of these contents, named by its number.
    fn source(&self, contents: &[&[u8]]) -> PathBuf {
        let dir = self.dir.path().join("source");
        fs::create_dir_all(dir.join("sub")).unwrap();
        for (n, content) in contents.iter().enumerate() {
            fs::write(dir.join(n.to_string()), content).unwrap();
        }
        std::os::unix::fs::symlink("0", dir.join("link")).unwrap();
        dir
    }

    fn import(&self, dir: &Path) -> TreeId {
        import_dir(&self.store, dir, &()).unwrap().tree
    }

    /// A view of the tree, as a server opens it.
    fn view(&self, tree: TreeId) -> Overlay {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let (upper, state_dir) = (dir.join("upper"), dir.join("state"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&state_dir).unwrap();
        let store = Store::open(self.store.path()).unwrap();
        store.heed_notes();
        let grafts = vec![GraftSpec { at: PathBuf::new(), tree: store.mapped_tree(tree).unwrap(), retired: false }];
        let objects = store.objects().clone();
        let upper = depsfs::sys::path::open_dir(&upper).unwrap();
        Overlay::open(upper, OverlayConfig { state_dir, grafts, objects, takeover: false }).unwrap()
    }
}

/// The names that a view lists in its root, or the error.
fn list(view: &Overlay) -> Result<Vec<String>, depsfs::overlay::OverlayError> {
    let mut names = Vec::new();
    view.readdir(Ino::ROOT, 0, true, &mut |listed| {
        names.push(String::from_utf8_lossy(listed.name).into_owned());
        true
    })?;
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names)
}
