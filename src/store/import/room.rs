//! Whether the store's file system has room for a directory that was never imported: checked before any file is read.
//!
//! Only a lower bound is computed. Files of different sizes are different objects, so each size counts once, with the
//! fewest bytes that a file of that size has on its disk; what the store holds already may be the same files, so it is
//! subtracted. On file systems that share blocks or compress there is no such bound.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use super::ImportError;
use super::place::DEPTH;
use crate::store::Store;
use crate::sys::fs::{self, FileType};
use crate::sys::{IoError, fs_type, path as paths};

/// With so much room, in bytes, a directory is not looked at before it is imported.
const AMPLE: u64 = 4 << 30;

/// # Errors
/// The directory at `path`, open as `top`, takes more than there is. A directory that cannot be looked at is no error
/// here: the import meets it.
pub(super) fn refuse_too_much(store: &Store, path: &Path, top: impl AsFd) -> Result<(), ImportError> {
    let Some(free) = free(store).filter(|free| *free < AMPLE) else { return Ok(()) };
    let takes = least(top);
    if takes <= free || takes.saturating_sub(held(&store.path().join("objects"))) <= free {
        return Ok(());
    }
    let words = format!(
        "No space left on device: it takes at least {takes} bytes, and the store's file system has {free} free"
    );
    Err(IoError::of("import", path)(Error::new(ErrorKind::StorageFull, words)).into())
}

/// The free bytes of the store's file system, also those that are kept for root.
fn free(store: &Store) -> Option<u64> {
    let dir = paths::open_dir(store.path()).ok()?;
    if !fs_type::copies_every_byte(&dir) {
        return None;
    }
    fs::statfs(&dir).ok().map(|space| space.f_bfree * space.f_frsize)
}

/// The bytes that the files below a directory take at least; none of other file systems.
fn least(top: impl AsFd) -> u64 {
    let mut sizes: HashMap<u64, u64> = HashMap::new();
    walk(top, &mut |stat| {
        let taken = stat.size.min(stat.blocks.saturating_mul(512));
        sizes.entry(stat.size).and_modify(|least| *least = taken.min(*least)).or_insert(taken);
    });
    sizes.values().sum()
}

/// The bytes of the objects and packs there are.
fn held(objects: &Path) -> u64 {
    let mut bytes = 0_u64;
    for dir in [objects.to_path_buf(), objects.with_file_name("packs")] {
        if let Ok(dir) = paths::open_dir(&dir) {
            walk(dir, &mut |stat| bytes = bytes.saturating_add(stat.size));
        }
    }
    bytes
}

/// Opens a directory when it is its turn: few are open at a time, however many there are.
fn walk(top: impl AsFd, found: &mut dyn FnMut(fs::Stat)) {
    let Ok(top) = fs::open_dir_at(top, b".") else { return };
    let Ok(dev) = fs::stat(&top).map(|stat| stat.dev) else { return };
    let mut todo: Vec<(Rc<OwnedFd>, Vec<u8>, usize)> = vec![(Rc::new(top), b".".to_vec(), 0)];
    while let Some((parent, name, depth)) = todo.pop() {
        let dir = fs::open_dir_at(&*parent, &name);
        let Some(dir) = dir.ok().filter(|dir| fs::stat(dir).is_ok_and(|stat| stat.dev == dev)) else { continue };
        let dir = Rc::new(dir);
        for entry in fs::list(&*dir).unwrap_or_default() {
            match entry.kind {
                FileType::Directory if depth < DEPTH => todo.push((dir.clone(), entry.name, depth + 1)),
                FileType::RegularFile => drop(fs::stat_at(&*dir, &entry.name).map(&mut *found)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_size_count_once_and_holes_do_not() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("d")).expect("made");
        for (name, size) in [("a", 5000), ("d/b", 5000), ("d/c", 70_000)] {
            std::fs::write(dir.path().join(name), vec![1; size]).expect("written");
        }
        let sparse = std::fs::File::create(dir.path().join("sparse")).expect("made");
        sparse.set_len(1 << 30).expect("long");
        let open = || paths::open_dir(dir.path()).expect("open");
        fs::syncfs(open()).expect("on disk");
        assert_eq!(least(open()), 75_000);
        assert_eq!(held(&dir.path().join("d")), 75_000);
    }
}
