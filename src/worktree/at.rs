//! `depsfs mount <entry>… --at <dir>`: entries of the store as one view, without git.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::views::{self, Views};
use crate::store::manifest::{self, Graft, Manifest, ViewSpec};
use crate::store::{Store, StoreError};
use crate::sys::path;

/// Mounts `names` at `dir`, which is made when absent; later ones win. `states` is where the state of such
/// directories is kept. Mounting the same again is harmless, and other entries replace the first.
pub fn mount(store: &Store, names: &[String], dir: &Path, states: &Path) -> Result<Views, Error> {
    let _share = store.share()?;
    let grafts = names.iter().map(|name| graft(store, name)).collect::<Result<Vec<_>, _>>()?;
    path::make_dirs(dir)?;
    let dir = path::canonical(dir)?;
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Err(Error::NotEmpty(dir)) };
    let state_dir = views::state_dir_at(states, &dir);
    let file = views::manifest_file(&state_dir);
    let known = if path::is_there(&file) { Some(Views::load(&state_dir)?) } else { None };
    if known.is_none() && !path::list(&dir)?.is_empty() {
        return Err(Error::NotEmpty(dir));
    }
    path::make_private_dirs(&state_dir)?;
    let view = ViewSpec { id: views::id_of(&dir), path: PathBuf::from(name), grafts, lockfiles: Vec::new() };
    let created = known.as_ref().map_or_else(views::now, |k| k.manifest.created.clone());
    let generation = known.as_ref().map_or(1, |k| k.manifest.generation + 1);
    let manifest = Manifest {
        version: manifest::VERSION,
        worktree: parent.into(),
        store: store.path().into(),
        source: None,
        commit: None,
        created,
        allow_other: false,
        views: vec![view],
        generation,
    };
    store.roots().add(&file, &manifest.trees())?;
    manifest.save(&file)?;
    let views = Views { state_dir, manifest };
    views.mount()?;
    Ok(views)
}

/// The entry's tree; gc counts its last use from now.
fn graft(store: &Store, name: &str) -> Result<Graft, Error> {
    let entry = store.entries().get(name)?.ok_or_else(|| StoreError::NoEntry(name.into()))?;
    store.entries().touch(name)?;
    Ok(Graft {
        at: PathBuf::new(),
        tree: entry.tree,
        entry: Some(name.into()),
        origin: entry.provenance.source,
        retired: false,
    })
}
