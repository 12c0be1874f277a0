//! The files of a tree whose bytes the store has lost, by name.

use std::collections::HashSet;
use std::path::PathBuf;

use super::found::path_in;
use crate::store::{Node, ObjectId, Store, StoreError, Tree};

/// The files whose objects are missing, have another length, or are noted as damaged; each by all its names, sorted. Those
/// that a source names are not lost. No object is read.
pub(crate) fn files_lost(store: &Store, tree: &Tree) -> Result<Vec<PathBuf>, StoreError> {
    let mut nodes = store.objects().missing_of(tree)?;
    match store.source(&tree.id())? {
        Some(_) => nodes.clear(),
        None => nodes.retain(|node| tree.object(*node).is_some_and(|id| !store.objects().is_absent(&id))),
    }
    let noted: HashSet<ObjectId> = store.lost_objects()?.into_iter().collect();
    if !noted.is_empty() {
        let is_noted = |node: &Node| tree.object(*node).is_some_and(|id| noted.contains(&id));
        nodes.extend((0..tree.node_count()).map(Node).filter(is_noted));
    }
    let names = nodes.iter().flat_map(|node| tree.places(*node));
    let mut files: Vec<PathBuf> = names.map(|(dir, name)| path_in(tree, dir, name)).collect();
    files.sort();
    Ok(files)
}
