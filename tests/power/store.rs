//! A store that is filled, and what is in it after a cut.

use std::collections::BTreeSet;
use std::path::Path;

use depsfs::store::{GcOptions, Provenance, Store, StoreError, TreeId, import};
use depsfs::sys::fs::Timespec;

use crate::cut;
use crate::disk::Disk;

/// An entry that was put, and the number of events then.
struct Put {
    name: String,
    tree: TreeId,
    ended: usize,
}

fn source(round: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for file in 0..4 {
        let text = format!("round {round} file {file} ").repeat(1 + file * 200);
        std::fs::write(dir.path().join(format!("f{file}")), text).expect("a file");
    }
    std::fs::write(dir.path().join("same"), "the same in each").expect("a file");
    dir
}

pub fn run(mut disk: Disk) {
    let path = disk.at().join("store");
    let mut puts = Vec::new();
    for round in 0..4 {
        let store = Store::open(&path).expect("a store");
        let source = source(round);
        let tree = match round % 2 {
            0 => import::import_dir(&store, source.path(), &()).expect("imported").tree,
            _ => {
                let dir = tempfile::tempdir().expect("a directory");
                let archive = archive(&source, dir.path());
                import::import_archive(&store, &archive, &Default::default(), &()).expect("imported").tree
            }
        };
        disk.commit();
        let name = format!("entry {round}");
        store.entries().put(&name, tree, Provenance::default()).expect("put");
        puts.push(Put { name, tree, ended: disk.now() });
        store.roots().add(&disk.at().join("manifest"), &BTreeSet::from([tree])).expect("added");
        disk.commit();
    }
    gc(&Store::open(&path).expect("a store")).expect("swept");
    disk.commit();
    disk.end();
    cut(&disk, "a store on ext4", &|at, events| look(&at.join("store"), &puts, events));
}

/// An archive of a directory; it goes with the directory that it is in.
fn archive(source: &tempfile::TempDir, dir: &Path) -> std::path::PathBuf {
    let at = dir.join("archive.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&at).expect("a file"));
    tar.append_dir_all(".", source.path()).and_then(|()| tar.finish()).expect("an archive");
    at
}

fn gc(store: &Store) -> Result<(), StoreError> {
    for _ in 0..100 {
        match store.gc(&GcOptions { dry_run: false, keep_days: 30, now: Timespec::now() }, &()) {
            // A program that another test is starting has the lock's descriptor for a moment.
            Err(StoreError::Busy) => std::thread::sleep(std::time::Duration::from_millis(50)),
            swept => return swept.map(drop),
        }
    }
    Err(StoreError::Busy)
}

fn look(path: &Path, puts: &[Put], events: usize) -> Result<(), String> {
    let said = |what: &str, e: StoreError| format!("{what}: {e}");
    let store = Store::open(path).map_err(|e| said("it can't be opened", e))?;
    let damage = store.verify(&()).map_err(|e| said("it can't be verified", e))?;
    if !damage.is_empty() {
        return Err(format!("it is damaged: {damage:?}"));
    }
    for put in puts.iter().filter(|p| p.ended <= events) {
        let entry = store.entries().get(&put.name).map_err(|e| said("an entry can't be read", e))?;
        if entry.map(|e| e.tree) != Some(put.tree) {
            return Err(format!("{} was put, and isn't there", put.name));
        }
    }
    gc(&store).map_err(|e| said("gc", e))?;
    let left = std::fs::read_dir(path.join("tmp")).expect("listed").count();
    if left > 0 {
        return Err(format!("{left} temporaries are left"));
    }
    let damage = store.verify(&()).map_err(|e| said("it can't be verified", e))?;
    if damage.is_empty() { Ok(()) } else { Err(format!("after gc it is damaged: {damage:?}")) }
}
