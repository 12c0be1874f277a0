//! How much of a tree is here, and which remotes the fetcher waits for.

use std::collections::HashSet;

use super::health::SilentRemote;
use super::place::{FOLDER, STATE};
use crate::remote::RemoteError;
use crate::remote::source::TreeSource;
use crate::store::{ObjectId, Store, Tree, TreeId};
use crate::sys::path as paths;

/// The bytes of a tree's files that are here, and of all; each object counts once for each name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeProgress {
    pub here: u64,
    pub all: u64,
    pub missing: HashSet<ObjectId>,
}

impl TreeProgress {
    /// Of a tree: one look at each pack.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(store: &Store, tree: &Tree) -> Result<TreeProgress, RemoteError> {
        let nodes = store.objects().missing_of(tree)?;
        let files = (0..tree.node_count()).map(crate::store::Node).filter(|node| tree.object(*node).is_some());
        let all = files.fold(0u64, |all, node| all.saturating_add(tree.stat(node).size));
        let absent = nodes.iter().fold(0u64, |all, node| all.saturating_add(tree.stat(*node).size));
        let missing = nodes.iter().filter_map(|node| tree.object(*node)).collect();
        Ok(TreeProgress { here: all.saturating_sub(absent), all, missing })
    }
}

/// Trees whose contents are not all here, and the remote that has the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteTrees {
    /// Bytes of their files that are here, and of all.
    pub here: u64,
    pub all: u64,
    pub remote: String,
    /// The remote, if it does not answer.
    pub silent: Option<SilentRemote>,
}

impl IncompleteTrees {
    /// Of some trees; `None` if all their contents are here, as far as is known without a look at each file.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(store: &Store, trees: impl Iterator<Item = TreeId>) -> Result<Option<IncompleteTrees>, RemoteError> {
        let mut found: Option<IncompleteTrees> = None;
        for id in trees {
            let Some(source) = store.source(&id)?.as_deref().and_then(TreeSource::parse) else { continue };
            let of = TreeProgress::of(store, &*store.tree(id)?)?;
            if of.missing.is_empty() {
                continue;
            }
            let silent = || silent_remotes(store).into_iter().find(|silent| silent.name == source.remote.name);
            let all = found.get_or_insert_with(|| IncompleteTrees {
                here: 0,
                all: 0,
                remote: source.remote.name.clone(),
                silent: silent(),
            });
            (all.here, all.all) = (all.here.saturating_add(of.here), all.all.saturating_add(of.all));
        }
        Ok(found)
    }

    /// The share that is here, in percent.
    pub fn percent(&self) -> u64 {
        self.here.saturating_mul(100).checked_div(self.all).unwrap_or(0).min(99)
    }
}

/// The remotes that do not answer the fetcher of a store, as it wrote last.
pub fn silent_remotes(store: &Store) -> Vec<SilentRemote> {
    let at = store.path().join(FOLDER).join(STATE);
    let bytes = paths::read_if_there(&at).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
