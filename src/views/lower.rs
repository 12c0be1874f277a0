//! The merged lower of a view: all its grafts, later ones on top, without its upper.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::manifest::{Graft, ViewSpec};
use crate::store::{Name, Node, Store, StoreError, Tree};
use crate::sys::fs::FileType;

/// The trees, and where each is laid.
pub struct GraftedTrees(pub Vec<(PathBuf, Arc<Tree>)>);

impl GraftedTrees {
    /// Opens the trees of these grafts, the last of which wins. Paths are relative to the view; a tree that is gone
    /// from the store is an error.
    pub fn of<'a>(store: &Store, grafts: impl Iterator<Item = &'a Graft>) -> Result<GraftedTrees, StoreError> {
        let trees = grafts.map(|g| Ok((g.at.clone(), store.tree(g.tree)?)));
        Ok(GraftedTrees(trees.collect::<Result<_, StoreError>>()?))
    }

    /// The node that has a path: of several trees that of the last.
    pub fn find(&self, path: &Path) -> Option<(&Arc<Tree>, Node)> {
        self.0.iter().rev().find_map(|(at, tree)| Some((tree, node(tree, path.strip_prefix(at).ok()?)?)))
    }

    /// The names in a directory of the merged trees. A file hides the directories of the same path in earlier trees.
    pub fn names(&self, dir: &Path) -> BTreeSet<Vec<u8>> {
        let mut names = BTreeSet::new();
        for (at, tree) in self.0.iter().rev() {
            if let Ok(next) = at.strip_prefix(dir)
                && let Some(name) = next.iter().next()
            {
                names.insert(name.as_bytes().to_vec());
            }
            let Some(node) = dir.strip_prefix(at).ok().and_then(|inside| node(tree, inside)) else { continue };
            if tree.kind(node) != Some(FileType::Directory) {
                break;
            }
            names.extend(tree.entries(node, 0).map(|entry| entry.name.to_vec()));
        }
        names
    }
}

/// The grafts of a view that show.
pub fn live(view: &ViewSpec) -> impl Iterator<Item = &Graft> {
    view.grafts.iter().filter(|graft| !graft.retired)
}

/// The node at a path of one tree.
pub fn node(tree: &Tree, path: &Path) -> Option<Node> {
    path.iter().try_fold(Node::ROOT, |dir, name| tree.lookup(dir, &Name::new(name.as_bytes()).ok()?))
}
