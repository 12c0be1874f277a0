//! The same small tree twice: in a store, as one or several layers, and as a plain directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use depsfs::store::tree::{Item, NodeMeta, Slot};
use depsfs::store::{Name, Store, Tree, TreeBuilder};
use depsfs::sys::fs::Timespec;

/// Everything of the lower was last changed then.
pub const OLD: i64 = 946_684_800;

/// The kind of a path of the lower.
enum What {
    Dir,
    File(&'static str, u32),
    Link(&'static str),
    /// A further name of an earlier path.
    Same(&'static str),
}

/// The lower, parents first. `layer` picks the tree it goes to, when there are several.
const ENTRIES: &[(usize, &str, What)] = &[
    (0, "a", What::Dir),
    (0, "a/a", What::File("one", 0o644)),
    (0, "a/b", What::Dir),
    (0, "a/b/a", What::File("deep", 0o755)),
    (1, "a/b/b", What::File("other layer", 0o600)),
    (0, "a/c", What::Same("a/a")),
    (1, "b", What::File("two two", 0o644)),
    (2, "c", What::Dir),
    (2, "c/a", What::Dir),
    (1, "c/b", What::Link("../b")),
    (2, "c/c", What::File("", 0o640)),
    (1, "d", What::Same("b")),
];

/// Builds `layers` trees that together are the fixture.
pub fn lower(store: &Store, layers: usize) -> Vec<Arc<Tree>> {
    (0..layers).map(|layer| store.tree(tree(store, layer, layers)).expect("just put")).collect()
}

fn meta(perm: u32) -> NodeMeta {
    NodeMeta { perm, mtime: Timespec { sec: OLD, nsec: 5 }, xattrs: Vec::new() }
}

fn tree(store: &Store, layer: usize, layers: usize) -> depsfs::store::TreeId {
    let stage = store.stage().expect("a stage");
    let mut builder = TreeBuilder::new(meta(0o755));
    for (of, path, what) in ENTRIES {
        if of % layers != layer {
            continue;
        }
        let (parent, name) = open_parent(&mut builder, path);
        let item = match what {
            What::Dir => Item::Dir,
            What::Link(target) => Item::Symlink(target.as_bytes().into()),
            What::File(text, _) => Item::File {
                object: stage.add_bytes(text.as_bytes()).expect("an object"),
                size: text.len() as u64,
                blocks: 8,
            },
            What::Same(first) => {
                let slot = find(&builder, first).expect("a hard link lies in its file's layer");
                builder.link(parent, name, slot).expect("a link");
                continue;
            }
        };
        let perm = if let What::File(_, perm) = what { *perm } else { 0o755 };
        if builder.find(parent, &name).is_none() {
            builder.add(parent, name, meta(perm), item).expect("a node");
        }
    }
    stage.publish().expect("published");
    store.put_tree(&builder).expect("a tree")
}

fn open_parent(builder: &mut TreeBuilder, path: &str) -> (Slot, Name) {
    let mut parts: Vec<&str> = path.split('/').collect();
    let last = parts.pop().expect("a name");
    let mut at = Slot::ROOT;
    for part in parts {
        let name = Name::new(part.as_bytes()).expect("a name");
        at = match builder.find(at, &name) {
            Some(slot) => slot,
            None => builder.add(at, name, meta(0o755), Item::Dir).expect("a directory"),
        };
    }
    (at, Name::new(last.as_bytes()).expect("a name"))
}

fn find(builder: &TreeBuilder, path: &str) -> Option<Slot> {
    path.split('/').try_fold(Slot::ROOT, |at, part| builder.find(at, &Name::new(part.as_bytes()).ok()?))
}

/// Makes the plain directory that the fixture's layers together are.
pub fn plain(root: &Path, layers: usize) {
    for (_, path, what) in ENTRIES {
        let at = root.join(path);
        match what {
            What::Dir => fs::create_dir_all(&at).expect("a directory"),
            What::Link(target) => symlink(target, &at).expect("a symlink"),
            What::File(text, perm) => {
                fs::create_dir_all(at.parent().expect("a parent")).expect("a directory");
                fs::write(&at, text).expect("a file");
                fs::set_permissions(&at, fs::Permissions::from_mode(*perm)).expect("a mode");
            }
            What::Same(first) => fs::hard_link(root.join(first), &at).expect("a hard link"),
        }
    }
    let _ = layers;
    age(root);
}

/// Gives all of a directory the old time, children first.
fn age(at: &Path) {
    if fs::symlink_metadata(at).expect("there").is_dir() {
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("a mode");
        for entry in fs::read_dir(at).expect("a directory") {
            age(&entry.expect("an entry").path());
        }
    }
    let time = depsfs::sys::fs::SetTime::At(Timespec { sec: OLD, nsec: 5 });
    let parent = depsfs::sys::path::open_dir(at.parent().expect("a parent")).expect("a directory");
    let name = at.file_name().unwrap_or(OsStr::new("."));
    depsfs::sys::fs::utimens_at(&parent, name.as_bytes(), time, time).expect("a time");
}
