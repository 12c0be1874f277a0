//! The merged lower of a view: all its grafts, later ones on top, without its upper.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::manifest::Graft;
use crate::store::{Name, Node, Store, StoreError, Tree};

/// The trees, and where each is laid.
pub struct GraftedTrees(pub Vec<(PathBuf, Arc<Tree>)>);

impl GraftedTrees {
    pub fn of<'a>(store: &Store, grafts: impl Iterator<Item = &'a Graft>) -> Result<GraftedTrees, StoreError> {
        let trees = grafts.map(|g| Ok((g.at.clone(), store.tree(g.tree)?)));
        Ok(GraftedTrees(trees.collect::<Result<_, StoreError>>()?))
    }

    /// The node that has a path: of several trees that of the last.
    pub fn find(&self, path: &Path) -> Option<(&Arc<Tree>, Node)> {
        self.0.iter().rev().find_map(|(at, tree)| Some((tree, node(tree, path.strip_prefix(at).ok()?)?)))
    }
}

/// The node at a path of one tree.
pub fn node(tree: &Tree, path: &Path) -> Option<Node> {
    path.iter().try_fold(Node::ROOT, |dir, name| tree.lookup(dir, &Name::new(name.as_bytes()).ok()?))
}
