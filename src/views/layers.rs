//! Artifacts as layers of views: named in the manifest, shown by the daemon, restored over whiteouts.

use std::path::{Path, PathBuf};

use super::ViewsError;
use super::access::{Access, Covered};
use super::error::NOT_MOUNTED_HINT;
use super::origin::GraftOrigin;
use super::set::{self, ManifestLock, Views};
use crate::daemon::client;
use crate::git::checkout::Checkout;
use crate::store::manifest::{Graft, Manifest, ViewSpec, WHOLE};
use crate::store::{Store, TreeId, frame};
use crate::sys::log::OrWarn;
use crate::sys::{mount, path};

/// A tree that shall show in a view's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Relative to the worktree.
    pub view: PathBuf,
    pub tree: TreeId,
    pub entry: String,
    /// Its source and location ([`GraftOrigin`]), in words: layers of one entry with equal origins are versions of the same layer.
    pub origin: String,
    pub instead_of: Vec<String>,
}

impl Layer {
    fn is(&self, graft: &Graft) -> bool {
        graft.entry.as_deref() == Some(&self.entry) && graft.origin == self.origin
    }

    /// The graft goes when this layer comes.
    fn replaces(&self, graft: &Graft) -> bool {
        let directory = |origin| GraftOrigin::of(origin).directory();
        let same_place = directory(&graft.origin) == directory(&self.origin);
        self.is(graft) || (same_place && graft.entry.as_ref().is_some_and(|e| self.instead_of.contains(e)))
    }

    fn graft(&self) -> Graft {
        Graft {
            at: PathBuf::new(),
            tree: self.tree,
            entry: Some(self.entry.clone()),
            origin: self.origin.clone(),
            retired: false,
        }
    }
}

/// Has the views show these layers. On an error they show what they showed before, and new views are none.
pub fn show(store: &Store, worktree: &Checkout, known: bool, layers: &[&Layer]) -> Result<(), ViewsError> {
    mount::is_possible().map_err(ViewsError::NoMounts)?;
    let state_dir = worktree.state_dir();
    path::make_private_dirs(&state_dir)?;
    let (before, dropped) = {
        let _lock = ManifestLock::wait(&state_dir)?;
        let mut views = if known || path::is_there(&set::manifest_file(&state_dir)) {
            Views::load(&state_dir)?
        } else {
            first(store, worktree)
        };
        if views.manifest.store != store.path() {
            return Err(ViewsError::OtherStore(views.manifest.store));
        }
        let is_copy = |layer: &&&Layer| views.manifest.views.iter().any(|v| v.path == layer.view && v.is_copy());
        if let Some(layer) = layers.iter().find(is_copy) {
            return Err(ViewsError::IsCopy(worktree.root.join(&layer.view)));
        }
        let before = views.manifest.clone();
        let dropped = add(&mut views, layers)?;
        if views.manifest != before {
            let file = set::manifest_file(&state_dir);
            frame::complete(store, &mut views.manifest)?;
            store.roots().add(&file, &views.manifest.trees())?;
            views.save()?;
        }
        dropped.iter().try_for_each(|mark| path::remove_file(mark))?;
        (before, dropped)
    };
    let mounted = mount(&state_dir, layers);
    if mounted.is_err() {
        take_back(&state_dir, &before, &dropped, layers)?;
    }
    mounted
}

/// A manifest of no view yet.
fn first(store: &Store, worktree: &Checkout) -> Views {
    let manifest = Manifest { created: set::now(), ..Manifest::new(&worktree.root, store.path()) };
    Views { state_dir: worktree.state_dir(), manifest }
}

/// Adds missing layers. Returns the marks of dropped views, which the user had cleared: none of their old grafts comes
/// back.
fn add(views: &mut Views, layers: &[&Layer]) -> Result<Vec<PathBuf>, ViewsError> {
    let mut marks = Vec::new();
    let mut paths: Vec<&Path> = layers.iter().map(|l| l.view.as_path()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let there = views.manifest.views.iter().position(|v| v.path == path);
        let at = there.unwrap_or_else(|| {
            let view = ViewSpec { id: set::id_of(path), path: path.into(), ..ViewSpec::default() };
            views.manifest.views.push(view);
            views.manifest.views.len() - 1
        });
        let view = views.manifest.views[at].clone();
        let is_mark = views.is_dropped(&view);
        let dropped = is_mark || views.is_deleted(&view);
        let shown: Vec<Graft> = view.grafts.iter().filter(|g| !g.retired).cloned().collect();
        let mut live = if dropped { Vec::new() } else { shown.clone() };
        for layer in layers.iter().filter(|l| l.view == path) {
            if live.iter().any(|g| *g == layer.graft()) {
                continue;
            }
            live.retain(|g| !layer.replaces(g));
            live.push(layer.graft());
        }
        if live != shown {
            views.manifest.views[at].grafts = views.grafts(&view, live)?;
        }
        if dropped {
            views.manifest.views[at].lockfiles.clear();
        }
        if is_mark {
            marks.push(views.view_dir(&view).join("dropped"));
        }
    }
    views.manifest.views.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(marks)
}

/// Mounts all views of the manifest; only a failure of a view with these layers is an error.
fn mount(state_dir: &Path, layers: &[&Layer]) -> Result<(), ViewsError> {
    let views = Views::load(state_dir)?;
    let state = views.state().unwrap_or_default();
    let mounts = views.manifest.clone().into_mounts().views;
    let missing = mounts.iter().filter(|v| !state.views.iter().any(|s| s.id == v.id && s.mounted));
    set::refuse_too_many(missing.filter(|v| !views.is_dropped(v)).count())?;
    let state = client::mount(state_dir)?;
    for layer in layers {
        let own = set::id_of(&layer.view);
        let id = if views.is_whole() { WHOLE } else { &own };
        match state.views.iter().find(|v| v.id == id) {
            Some(view) if view.mounted && view.error.is_none() => {}
            view => {
                let why = view.and_then(|v| v.error.clone()).unwrap_or_else(|| "it is not mounted".into());
                return Err(ViewsError::View { view: layer.view.clone(), why, hint: NOT_MOUNTED_HINT });
            }
        }
    }
    Ok(())
}

/// Removes the added layers again. Layers that other processes have added meanwhile stay.
fn take_back(state_dir: &Path, before: &Manifest, dropped: &[PathBuf], layers: &[&Layer]) -> Result<(), ViewsError> {
    {
        let _lock = ManifestLock::wait(state_dir)?;
        let mut views = Views::load(state_dir)?;
        for view in &mut views.manifest.views {
            let was = before.views.iter().find(|v| v.id == view.id);
            let is_ours = |g: &Graft| layers.iter().any(|l| l.view == view.path && l.graft() == *g);
            let had = |g: &Graft| was.is_some_and(|v| v.grafts.contains(g));
            view.grafts.retain(|g| !is_ours(g) || had(g));
            for graft in view.grafts.iter_mut().filter(|g| g.retired) {
                let live = Graft { retired: false, ..graft.clone() };
                graft.retired = !had(&live);
            }
        }
        let was_there = |id: &str| before.views.iter().any(|v| v.id == id);
        views.manifest.views.retain(|v| !v.grafts.is_empty() || was_there(&v.id));
        views.save()?;
        dropped.iter().try_for_each(|mark| path::replace(mark, b""))?;
    }
    // The other views are mounted again if possible; their failures are logged, and are no error of this call.
    client::mount(state_dir).or_warn("other views of the worktree are not mounted");
    Ok(())
}

/// Restores deleted members if `reveal`; returns the members that don't show.
pub fn uncover(views: &Views, layer: &Layer, reveal: bool) -> Result<Covered, ViewsError> {
    let view = views.manifest.views.iter().find(|view| view.path == layer.view);
    let view = view.ok_or_else(|| ViewsError::NotInView(views.manifest.worktree.join(&layer.view)))?;
    let access = Access::mounted(views, view);
    if reveal { access.uncover(layer.tree) } else { access.covered(layer.tree) }
}
