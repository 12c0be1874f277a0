//! A *frame*: a tree of directories alone, which holds the places of artifacts in a view of a whole worktree.
//!
//! The overlay lays each artifact over its directory in the frame. So a directory that an artifact is grafted at is a
//! directory of the lower as any other: its deletion is a whiteout, its rename a record, and it keeps its inode number.
//! A place that comes later gets a frame of its own, of the directories that no earlier frame has: no frame goes, so
//! nothing is numbered anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tree::NodeMeta;
use super::{Manifest, Name, Node, Store, StoreError, Tree, TreeBuilder, TreeId};
use crate::store::manifest::Shape;
use crate::sys::fs::{FileType, Timespec};

/// The time of a directory that no worktree has of its own: the same in all frames, so that equal places are one tree.
/// 2000-01-01, UTC.
const MADE: Timespec = Timespec { sec: 946_684_800, nsec: 0 };

/// Adds a frame of the views' places that no frame of the manifest has yet; nothing for views that are mounted one by
/// one.
///
/// # Errors
/// A frame that the store has lost; a tree that can't be written.
pub fn complete(store: &Store, manifest: &mut Manifest) -> Result<(), StoreError> {
    if manifest.shape != Shape::Worktree {
        return Ok(());
    }
    let frames = manifest.directories.iter().map(|id| store.tree(*id)).collect::<Result<Vec<Arc<Tree>>, _>>()?;
    let is_in_a_frame = |at: &Path| frames.iter().any(|frame| has_directory(frame, at));
    let missing: Vec<&PathBuf> = manifest.views.iter().map(|v| &v.path).filter(|at| !is_in_a_frame(at)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    manifest.directories.push(made(store, missing)?);
    Ok(())
}

/// Makes frames anew that the store has lost: one that holds all places, or all that no other one has. Others stay lost.
///
/// # Errors
/// A tree that can't be written.
pub fn restore(store: &Store, manifest: &Manifest) -> Result<(), StoreError> {
    let intact: Vec<Arc<Tree>> = manifest.directories.iter().filter_map(|id| store.tree(*id).ok()).collect();
    if intact.len() < manifest.directories.len() {
        let places = || manifest.views.iter().map(|view| &view.path);
        made(store, places())?;
        made(store, places().filter(|at| !intact.iter().any(|frame| has_directory(frame, at))))?;
    }
    Ok(())
}

/// The frame of these places.
fn made<'a>(store: &Store, places: impl IntoIterator<Item = &'a PathBuf>) -> Result<TreeId, StoreError> {
    let meta = NodeMeta { perm: 0o755, mtime: MADE, xattrs: Vec::new() };
    let mut frame = TreeBuilder::new(meta.clone());
    for at in places {
        frame.dir_at(at, &meta)?;
    }
    store.put_tree(&frame)
}

fn has_directory(tree: &Tree, at: &Path) -> bool {
    let child = |dir: Node, name| tree.lookup(dir, &Name::new(name).ok()?);
    let found = at.iter().try_fold(Node::ROOT, |dir, name| child(dir, name.as_encoded_bytes()));
    found.is_some_and(|node| tree.kind(node) == Some(FileType::Directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::manifest::{VERSION_OF_ONE, ViewSpec};

    #[test]
    fn each_place_is_in_one_frame_and_a_later_one_in_a_frame_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let view = |path: &str| ViewSpec { path: path.into(), ..ViewSpec::default() };
        let mut manifest = Manifest::new(Path::new("/w"), store.path());
        manifest.views = vec![view("a/dist"), view("b/deep/er/target")];
        complete(&store, &mut manifest).expect("nothing");
        assert!(manifest.directories.is_empty(), "mounted one by one");
        (manifest.shape, manifest.version) = (Shape::Worktree, VERSION_OF_ONE);
        complete(&store, &mut manifest).expect("made");
        complete(&store, &mut manifest).expect("there");
        assert_eq!(manifest.directories.len(), 1);
        manifest.views.extend([view("a/node_modules"), view("b/deep")]);
        complete(&store, &mut manifest).expect("made");
        let frames: Vec<_> = manifest.directories.iter().map(|id| store.tree(*id).expect("there")).collect();
        let has = |at: &str| frames.iter().map(|frame| has_directory(frame, Path::new(at))).collect::<Vec<_>>();
        assert_eq!(has("a/dist"), [true, false]);
        assert_eq!(has("b/deep"), [true, false], "an earlier place lies below it");
        assert_eq!(has("a/node_modules"), [false, true]);
        assert_eq!(has("c"), [false, false]);
    }

    #[test]
    fn a_frame_that_was_lost_is_made_anew_from_the_places() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let view = |path: &str| ViewSpec { path: path.into(), ..ViewSpec::default() };
        let mut manifest = Manifest::new(Path::new("/w"), store.path());
        (manifest.shape, manifest.version) = (Shape::Worktree, VERSION_OF_ONE);
        for places in [["a/dist", "b/target"], ["c/dist", "d/target"]] {
            manifest.views.extend(places.map(view));
            complete(&store, &mut manifest).expect("made");
            let lost = manifest.directories.last().expect("a frame");
            let file = store.path().join("trees").join(lost.place());
            std::fs::remove_file(&file).expect("lost");
            restore(&store, &manifest).expect("made");
            assert!(file.exists() && store.tree(*lost).is_ok(), "{places:?}");
        }
    }
}
