//! Contents of views that are not here yet: they are brought before something needs all of them, so that a remote which
//! does not answer is found before anything is changed.

use std::collections::BTreeMap;
use std::path::Path;

use super::ViewsError;
use super::lower::{live, node};
use super::set::Views;
use crate::remote::fetcher;
use crate::store::manifest::ViewSpec;
use crate::store::{Node, ObjectId, Progress, Store, StoreError, Tree};
use crate::sys::fs::FileType;

/// Waits until the contents of all files of a view's trees that lie at or below a path are here.
///
/// # Errors
/// They do not come; the store cannot be read.
pub fn bring(views: &Views, view: &ViewSpec, inside: &Path, progress: &dyn Progress) -> Result<(), ViewsError> {
    let store = match Store::existing(&views.manifest.store) {
        // The files of its trees cannot be read: the caller finds that out.
        Err(StoreError::Gone { .. }) => return Ok(()),
        store => store?,
    };
    let (mut whole, mut absent) = (Vec::new(), BTreeMap::new());
    for graft in live(view) {
        if store.source(&graft.tree)?.is_none() {
            continue;
        }
        if graft.at.starts_with(inside) {
            whole.push(graft.tree);
        } else if let Ok(below) = inside.strip_prefix(&graft.at) {
            let tree = store.tree(graft.tree)?;
            node(&tree, below).into_iter().for_each(|node| absent_below(&store, &tree, node, &mut absent));
        }
    }
    fetcher::complete(&store, &whole, progress)?;
    Ok(fetcher::bring(&store, &absent.into_iter().collect::<Vec<_>>(), progress)?)
}

fn absent_below(store: &Store, tree: &Tree, at: Node, absent: &mut BTreeMap<ObjectId, u64>) {
    if tree.kind(at) == Some(FileType::Directory) {
        return tree.entries(at, 0).for_each(|entry| absent_below(store, tree, entry.node, absent));
    }
    let size = tree.stat(at).size;
    absent.extend(tree.object(at).filter(|id| !store.objects().contains_whole(id, size)).map(|id| (id, size)));
}
