//! The disk space that worktrees save by sharing trees of the store.
//!
//! Each worktree would have a copy of all that its views show. The store has each tree once: its bytes are divided equally
//! among the worktrees that show it, and a worktree saves what is left of its copy. So the sum over all worktrees is what
//! all copies would take, less what the store takes; one worktree alone saves time, and no space.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::set::Views;
use crate::store::{Store, TreeId};
use crate::sys::log::OrWarn;

/// The bytes of one worktree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedBytes {
    /// The size of the files that its views have from the store.
    pub shared: u64,
    /// The part of it that would be on disk again if the worktree had a copy.
    pub saved: u64,
}

/// The bytes of each of some worktrees; `None` if a tree of it can't be read.
pub fn of_all(all: &[&Views]) -> Vec<Option<SharedBytes>> {
    let (mut stores, mut sizes) = (HashMap::new(), HashMap::new());
    let shown: Vec<BTreeMap<TreeId, u64>> = all.iter().map(|views| trees(views)).collect();
    let mut users: HashMap<(PathBuf, TreeId), u64> = HashMap::new();
    for (views, trees) in all.iter().zip(&shown) {
        for tree in trees.keys() {
            *users.entry((views.manifest.store.clone(), *tree)).or_default() += 1;
        }
    }
    let mut size = |store: &PathBuf, tree: TreeId| {
        let opened =
            stores.entry(store.clone()).or_insert_with(|| Store::existing(store).or_debug("there is no store"));
        let read = || opened.as_ref()?.tree(tree).or_debug("a tree is not counted").map(|tree| tree.content_bytes());
        *sizes.entry((store.clone(), tree)).or_insert_with(read)
    };
    let of = |(views, trees): (&&Views, &BTreeMap<TreeId, u64>)| {
        let mut bytes = SharedBytes::default();
        for (tree, times) in trees {
            let store = &views.manifest.store;
            let size = size(store, *tree)?;
            let share = size / users.get(&(store.clone(), *tree)).copied().unwrap_or(1);
            bytes.shared += size * times;
            bytes.saved += size * times - share;
        }
        Some(bytes)
    };
    all.iter().zip(&shown).map(of).collect()
}

/// The trees that views show, each with how often. Views that are plain files show none.
fn trees(views: &Views) -> BTreeMap<TreeId, u64> {
    let mut found = BTreeMap::new();
    let shown = views.manifest.views.iter().filter(|view| !view.is_copy() && !views.is_dropped(view));
    for graft in shown.flat_map(|view| &view.grafts).filter(|graft| !graft.retired) {
        *found.entry(graft.tree).or_default() += 1;
    }
    found
}

/// The sum for several worktrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SavedBytes {
    pub bytes: u64,
    /// How many worktrees have views.
    pub worktrees: u64,
}

impl SavedBytes {
    /// The sum of some.
    pub fn of(all: impl IntoIterator<Item = Option<u64>>) -> SavedBytes {
        let add = |sum: SavedBytes, saved: Option<u64>| match saved {
            Some(bytes) => SavedBytes { bytes: sum.bytes + bytes, worktrees: sum.worktrees + 1 },
            None => sum,
        };
        all.into_iter().fold(SavedBytes::default(), add)
    }
}
