//! `depsfs cache get`, the second half: an artifact's members go where they belong.

use std::path::{Path, PathBuf};

use super::error::Error;
use crate::store::extract;
use crate::store::{Node, Store, TreeId};
use crate::sys::path;

/// Writes a tree as plain files below `out_dir`, which is made when absent; answers the members in whose place
/// something else is.
pub fn extract(store: &Store, tree: TreeId, out_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    path::make_dirs(out_dir)?;
    let into = path::open_dir(out_dir)?;
    let tree = store.tree(tree)?;
    Ok(extract::extract(store, (&tree, Node::ROOT), (&into, out_dir), &|_| false)?.kept)
}
