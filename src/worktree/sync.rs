//! `depsfs sync`: views of the source's artifacts show what the source has now; the worktree's own changes stay on top.
//!
//! A view is looked at when the lock files beside it are the same in the source as in the worktree: else what the source
//! has doesn't fit, and the view stays.
//!
//! | step                                            | a crash right after it leaves |
//! |-------------------------------------------------|-------------------------------|
//! | 1. trees of the source's directories are made   | trees that gc takes |
//! | 2. unchanged copies of what changed are given up| the same as before, shared |
//! | 3. the manifest names the new trees             | what the next mount shows |
//! | 4. the daemon has compared                      | done |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkout::Checkout;
use super::component::give_up;
use super::diff::{self, Difference};
use super::error::Error;
use super::lockfile;
use super::plan;
use super::snapshot::{Snapshot, Snapshots};
use super::views::Views;
use crate::store::manifest::{Graft, LockFile, ViewSpec};
use crate::store::{Name, Node, ObjectId, Progress, Store, Tree};
use crate::sys::fs::FileType;

/// What became of the views that the source's artifacts are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Views that show other trees now.
    pub changed: Vec<PathBuf>,
    /// Views that stay as they are, because the lock files beside them differ from the source's.
    pub unfit: Vec<PathBuf>,
    /// Own changes, relative to the worktree, over something that is newer now.
    pub hidden: Vec<(Difference, PathBuf)>,
}

/// Whether a view is the source's to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    No,
    /// When the lock files beside it are the same, and it shows no artifact that has a name.
    IfFitting,
    Yes,
}

/// Brings the views that `takes` speaks for up to date with the source. `look`: only says which would change.
pub fn from_source(
    views: &mut Views,
    target: &Checkout,
    source: Checkout,
    store: &Arc<Store>,
    takes: &dyn Fn(&Path) -> Takes,
    look: bool,
    progress: Arc<dyn Progress + Send + Sync>,
) -> Result<Synced, Error> {
    let _share = store.share()?;
    let plan = plan::of_existing(source, target, true, store.path())?;
    let mut synced = Synced::default();
    let mut wanted = Vec::new();
    for view in views.manifest.views.iter().filter(|v| v.upper.is_none() && !views.is_dropped(v)) {
        let takes = takes(&view.path);
        let is_meant = takes == Takes::Yes || (takes == Takes::IfFitting && is_of_source(view));
        if !plan.ignored.directories.contains(&view.path) || !is_meant {
            continue;
        }
        let (theirs, ours) =
            (lockfile::beside(&plan.source.root, &view.path)?, lockfile::beside(&target.root, &view.path)?);
        if takes == Takes::Yes || theirs == ours {
            wanted.push(view.path.clone())
        } else {
            synced.unfit.push(view.path.clone())
        }
    }
    let taken = Snapshots::start(&plan, &wanted, store, progress)?.wait()?;
    let mut swaps = BTreeMap::new();
    for snapshot in taken {
        let Some(view) = views.manifest.views.iter().find(|v| v.path == snapshot.path).cloned() else { continue };
        if live(&view).map(|g| (g.tree, &g.at)).eq(snapshot.grafts.iter().map(|g| (g.tree, &g.at))) {
            continue;
        }
        swaps.insert(view.id.clone(), Swap::of(store, view, snapshot)?);
    }
    if !look && !swaps.is_empty() {
        swaps.values().try_for_each(|swap| swap.give_up(target, views))?;
        show(views, &swaps)?;
    }
    for swap in swaps.values() {
        synced.changed.push(swap.view.path.clone());
        synced.hidden.extend(swap.hidden(views)?);
    }
    synced.changed.sort();
    Ok(synced)
}

/// It shows a snapshot of the source, not artifacts that have a name.
fn is_of_source(view: &ViewSpec) -> bool {
    live(view).count() > 0 && live(view).all(|g| g.entry.is_none())
}

fn live(view: &ViewSpec) -> impl Iterator<Item = &Graft> {
    view.grafts.iter().filter(|g| !g.retired)
}

/// A view that shows other trees from now on.
struct Swap {
    view: ViewSpec,
    snapshot: Snapshot,
    old: Lower,
    new: Lower,
}

impl Swap {
    fn of(store: &Store, view: ViewSpec, snapshot: Snapshot) -> Result<Swap, Error> {
        let (old, new) = (Lower::of(store, live(&view))?, Lower::of(store, snapshot.grafts.iter())?);
        Ok(Swap { view, snapshot, old, new })
    }

    /// Copies of what was there until now are given up.
    fn give_up(&self, target: &Checkout, views: &Views) -> Result<(), Error> {
        for (at, before) in &self.old.0 {
            if let Some((_, after)) = self.new.0.iter().find(|(there, _)| there == at) {
                give_up::give_up(target, Some(views), &self.view.path.join(at), before, after)?;
            }
        }
        Ok(())
    }

    /// What of the view's own hides something newer.
    fn hidden(&self, views: &Views) -> Result<Vec<(Difference, PathBuf)>, Error> {
        let is_newer = |path: &PathBuf| {
            let inside = path.strip_prefix(&self.view.path).unwrap_or(path);
            let now = self.new.at(inside);
            now.is_some() && now != self.old.at(inside)
        };
        let view = views.manifest.views.iter().find(|v| v.id == self.view.id).unwrap_or(&self.view);
        let own = diff::of_view(views, view, Path::new(""))?;
        Ok(own.into_iter().filter(|(_, path)| is_newer(path)).collect())
    }
}

fn show(views: &mut Views, swaps: &BTreeMap<String, Swap>) -> Result<(), Error> {
    let mut all = BTreeMap::new();
    for view in &views.manifest.views {
        if let Some(swap) = swaps.get(&view.id) {
            all.insert(view.id.clone(), views.grafts(view, swap.snapshot.grafts.clone())?);
        }
    }
    views.mount_changed(|manifest| {
        for view in &mut manifest.views {
            let (Some(grafts), Some(swap)) = (all.remove(&view.id), swaps.get(&view.id)) else { continue };
            view.grafts = grafts;
            let lockfile = |(path, blake3): &(PathBuf, String)| LockFile { path: path.clone(), blake3: blake3.clone() };
            view.lockfiles = swap.snapshot.lockfiles.iter().map(lockfile).collect();
        }
    })
}

/// Trees as they show together, later ones on top.
struct Lower(Vec<(PathBuf, Arc<Tree>)>);

/// What a name shows.
#[derive(PartialEq, Eq)]
enum Shown {
    Dir,
    File(Option<ObjectId>, u32),
    Link(Vec<u8>),
    Other,
}

impl Lower {
    fn of<'a>(store: &Store, grafts: impl Iterator<Item = &'a Graft>) -> Result<Lower, Error> {
        let trees = grafts.map(|g| Ok((g.at.clone(), store.tree(g.tree)?)));
        Ok(Lower(trees.collect::<Result<_, crate::store::StoreError>>()?))
    }

    fn at(&self, path: &Path) -> Option<Shown> {
        self.0.iter().rev().find_map(|(at, tree)| {
            let mut node = Node::ROOT;
            for part in path.strip_prefix(at).ok()?.components() {
                node = tree.lookup(node, &Name::new(part.as_os_str().as_encoded_bytes()).ok()?)?;
            }
            Some(match tree.kind(node)? {
                FileType::Directory => Shown::Dir,
                FileType::RegularFile => Shown::File(tree.object(node), tree.stat(node).perm),
                FileType::Symlink => Shown::Link(tree.target(node).to_vec()),
                _ => Shown::Other,
            })
        })
    }
}
