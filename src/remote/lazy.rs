//! An entry comes into the store without the contents of its files: tree, times, and the indexes of its packs. The
//! fetcher brings the rest.
//!
//! | step                                               | a crash right after it leaves                  |
//! |----------------------------------------------------|------------------------------------------------|
//! | 1. packs whose objects are a hole                  | packs that nothing needs                       |
//! | 2. the tree's source                               | a source without a tree                        |
//! | 3. the tree                                        | a tree that nothing names                      |

use std::collections::HashSet;

use super::entry::{RemoteEntry, RemoteObject, RemotePack};
use super::fetch::{AT_ONCE, EntryFetch};
use super::source::{SourcePack, TreeSource};
use super::{RemoteError, fetcher};
use crate::store::{ObjectId, Progress, Store, StoreError, Tree, TreeId};
use crate::sys::spawn;

/// Notes for a tree that was made of another one's files where their contents can be had.
///
/// # Errors
/// The store cannot be written.
pub fn inherit_source(store: &Store, from: TreeId, to: TreeId) -> Result<(), StoreError> {
    match store.source(&from)?.filter(|_| from != to) {
        Some(source) => store.put_source(&to, &source),
        None => Ok(()),
    }
}

/// As [`inherit_source`], for a tree that was made of several. A source names one remote: contents of others are fetched.
///
/// # Errors
/// The store cannot be written; contents of another remote do not come.
pub fn inherit_sources(store: &Store, from: &[TreeId], to: TreeId, progress: &dyn Progress) -> Result<(), RemoteError> {
    let (mut joined, mut others): (Option<TreeSource>, Vec<TreeId>) = (None, Vec::new());
    for id in from.iter().filter(|id| **id != to) {
        let Some(bytes) = store.source(id)? else { continue };
        match (TreeSource::parse(&bytes), &mut joined) {
            (Some(source), None) => joined = Some(source),
            (Some(source), Some(joined)) if source.remote == joined.remote => joined.add(source),
            _ => others.push(*id),
        }
    }
    let Some(source) = joined else { return Ok(()) };
    if store.source(&to)?.is_some() {
        return Ok(());
    }
    if store.is_complete(to)? {
        // It does without a source, also after a power cut.
        return Ok(store.sync_present()?);
    }
    fetcher::complete(store, &others, progress)?;
    Ok(store.put_source(&to, &source.bytes())?)
}

impl EntryFetch<'_> {
    /// Makes the store one that misses the contents of some of the tree's files, and knows where they are. The tree itself
    /// is written by the caller.
    ///
    /// # Errors
    /// The remote does not answer, or something of the entry is damaged or gone.
    pub(super) fn without_contents(&self, entry: &RemoteEntry, tree: &Tree, key: &str) -> Result<(), RemoteError> {
        let missing = self.store.objects().missing_of(tree)?;
        let mut absent: HashSet<ObjectId> = missing.iter().filter_map(|n| tree.object(*n)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let large: Vec<&RemoteObject> = entry.objects.iter().filter(|object| absent.remove(&object.id)).collect();
        let packs: Vec<&RemotePack> = entry.packs.iter().filter(|pack| pack.used > 0).collect();
        let tails = spawn::try_map(&packs, AT_ONCE, |pack| self.tail(pack))?;
        let mut found = Vec::new();
        for (pack, tail) in packs.into_iter().zip(tails) {
            let before = absent.len();
            tail.frames_with(|id| absent.remove(id));
            if absent.len() < before {
                found.push((pack, tail));
            }
        }
        if let Some(id) = absent.iter().next() {
            return Err(self.remote.damaged(key, &format!("no pack of its entry holds its object {id}")));
        }
        let mut packs = Vec::new();
        for (pack, tail) in found {
            let head = tail.head();
            self.store.add_sparse_pack(&pack.id, &head.header, &head.index)?;
            packs.push(SourcePack { pack: pack.clone(), frames: tail.sizes() });
        }
        let source = TreeSource::of(&self.remote.spec, packs, large.into_iter().cloned().collect());
        Ok(self.store.put_source(&tree.id(), &source.bytes())?)
    }
}
