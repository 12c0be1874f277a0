//! The views of a server: each view's overlay, the grafts it shows, and the connections through which it is seen.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use super::checks::ShownTrees;
use super::fast_path::FastPath;
use super::state::{SETTLED, StateDir};
use super::wire::{ConnectionId, Serve};
use crate::fuse::{Caches, Facts};
use crate::overlay::{self, GraftSpec, Overlay, OverlayConfig, Relocations};
use crate::store::embedded_paths::EmbeddedPaths;
use crate::store::manifest::{Graft, ViewSpec};
use crate::store::{Node, Store, StoreError};
use crate::sys::{IoError, fs, path as paths, reason};

/// How long the kernel may take to forget.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a view can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Overlay(#[from] overlay::OverlayError),
    #[error(transparent)]
    File(#[from] IoError),
    #[error("the FUSE connection failed: {}", reason(.0))]
    Connection(#[from] std::io::Error),
    #[error("the kernel keeps its cached data of the view")]
    Remembered,
}

/// The overlays that this server has, each with its connections.
#[derive(Default)]
pub struct Served(Mutex<Vec<ServedShared>>);

/// One overlay. A view that was detached while in use and then mounted again is two connections on one directory and
/// one journal: they share it.
struct ServedShared {
    view: String,
    /// Relative to the worktree.
    path: PathBuf,
    /// The directory underneath, as device and inode.
    upper: (u64, u64),
    overlay: Weak<Overlay>,
    store: Store,
    grafts: Vec<Graft>,
    connections: Vec<SeenNotes>,
    /// It shows trees whose large objects are not queued for the checks yet.
    is_new: bool,
}

struct SeenNotes {
    connection: ConnectionId,
    facts: Arc<Facts>,
    /// `None` until its handshake is done: the kernel has cached nothing by this server's word.
    caches: Option<Caches>,
}

impl Served {
    fn all(&self) -> MutexGuard<'_, Vec<ServedShared>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The overlay for a connection, opened unless another connection shows it already.
    pub fn begin(
        &self,
        state: &StateDir,
        serve: &Serve,
        upper: OwnedFd,
        facts: &Arc<Facts>,
    ) -> Result<(Arc<Overlay>, FastPath), ServeError> {
        let stat = fs::stat(&upper)?;
        let is_it = |s: &&mut ServedShared| s.view == serve.view.id && s.upper == (stat.dev, stat.ino);
        let mut all = self.all();
        all.retain(|shared| shared.overlay.strong_count() > 0);
        let seen = SeenNotes { connection: serve.connection, facts: facts.clone(), caches: None };
        if let Some(shared) = all.iter_mut().find(is_it)
            && let Some(overlay) = shared.overlay.upgrade()
        {
            shared.connections.push(seen);
            shared.show(&serve.view, serve.generation)?;
            note_names(facts, &serve.view, !overlay.root_is_empty());
            let fast = FastPath::choose(serve, &shared.store, &specs(&shared.store, &shared.grafts)?);
            return Ok((overlay, fast));
        }
        let store = Store::existing(&serve.store)?;
        store.heed_notes();
        let grafts = specs(&store, &serve.view.grafts)?;
        let fast = FastPath::choose(serve, &store, &grafts);
        let (has_names, has_retired) = (have_names(&grafts), grafts.iter().any(|g| g.retired));
        let state_dir = state.view(&serve.view.id);
        paths::make_private_dirs(&state_dir)?;
        let takeover = serve.offer.is_some();
        let config = OverlayConfig { state_dir: state_dir.clone(), grafts, objects: store.objects().clone(), takeover };
        let overlay = Arc::new(Overlay::open(upper, config)?);
        overlay.relocate(relocations(state, &serve.view.path));
        if has_retired && !takeover {
            paths::replace(&state_dir.join(SETTLED), serve.generation.to_string().as_bytes())?;
        }
        note_names(facts, &serve.view, has_names || !overlay.root_is_empty());
        facts.generation.store(serve.generation, Ordering::Relaxed);
        all.push(ServedShared {
            view: serve.view.id.clone(),
            path: serve.view.path.clone(),
            upper: (stat.dev, stat.ino),
            overlay: Arc::downgrade(&overlay),
            store,
            grafts: serve.view.grafts.clone(),
            connections: vec![seen],
            is_new: true,
        });
        Ok((overlay, fast))
    }

    /// From now on changes invalidate the connection's caches.
    pub fn ready(&self, connection: ConnectionId, caches: Caches) {
        if let Some(seen) = self.all().iter_mut().flat_map(|s| &mut s.connections).find(|c| c.connection == connection)
        {
            seen.caches = Some(caches);
        }
    }

    /// After a connection has ended. Its overlay is dropped with the last connection that shares it.
    pub fn end(&self, connection: ConnectionId) {
        self.all().iter_mut().for_each(|shared| shared.connections.retain(|c| c.connection != connection));
    }

    /// The trees that are served, for the thread that checks them.
    pub fn shown(&self) -> Vec<ShownTrees> {
        let mut all = self.all();
        let shown = all.iter_mut().filter(|shared| shared.overlay.strong_count() > 0).map(|shared| ShownTrees {
            store: shared.store.clone(),
            overlay: shared.overlay.clone(),
            is_new: std::mem::take(&mut shared.is_new),
        });
        shown.collect()
    }

    /// Reads the record of embedded paths again, for the view that a connection shows.
    pub fn relocate(&self, connection: ConnectionId, state: &StateDir) {
        let all = self.all();
        let shared = all.iter().find(|s| s.connections.iter().any(|c| c.connection == connection));
        if let Some(shared) = shared
            && let Some(overlay) = shared.overlay.upgrade()
        {
            let stale = overlay.relocate(relocations(state, &shared.path));
            shared.connections.iter().for_each(|seen| seen.caches.iter().for_each(|caches| caches.forget(&stale)));
        }
    }

    /// Shows other grafts; the next lookup sees them when this returns.
    pub fn regraft(&self, connection: ConnectionId, view: &ViewSpec, generation: u64) -> Result<(), ServeError> {
        let caches = {
            let mut all = self.all();
            let shared = all.iter_mut().find(|s| s.connections.iter().any(|c| c.connection == connection));
            // One that has ended meanwhile shows nothing any more.
            let Some(shared) = shared else { return Ok(()) };
            shared.show(view, generation)?;
            shared.connections.iter().filter_map(|c| c.caches.clone()).collect::<Vec<_>>()
        };
        if caches.iter().all(|c| c.wait(PATIENCE)) { Ok(()) } else { Err(ServeError::Remembered) }
    }
}

impl ServedShared {
    fn show(&mut self, view: &ViewSpec, generation: u64) -> Result<(), ServeError> {
        if self.grafts != view.grafts
            && let Some(overlay) = self.overlay.upgrade()
        {
            let grafts = specs(&self.store, &view.grafts)?;
            let has_names = have_names(&grafts);
            let stale = overlay.regraft(grafts)?;
            (self.grafts, self.is_new) = (view.grafts.clone(), true);
            for seen in &self.connections {
                note_names(&seen.facts, view, has_names);
                seen.caches.iter().for_each(|caches| caches.forget(&stale));
            }
        }
        self.connections.iter().for_each(|seen| seen.facts.generation.store(generation, Ordering::Relaxed));
        Ok(())
    }
}

/// Those of the view that is mounted at `mount`. A record that cannot be read relocates nothing.
fn relocations(state: &StateDir, mount: &Path) -> Relocations {
    match EmbeddedPaths::load(state.path()) {
        Ok(record) => Relocations::of(&record, mount),
        Err(e) => {
            tracing::error!("files show the path of the source: {e}");
            Relocations::default()
        }
    }
}

fn specs(store: &Store, grafts: &[Graft]) -> Result<Vec<GraftSpec>, StoreError> {
    let spec = |g: &Graft| Ok(GraftSpec { at: g.at.clone(), tree: store.mapped_tree(g.tree)?, retired: g.retired });
    grafts.iter().map(spec).collect()
}

fn have_names(grafts: &[GraftSpec]) -> bool {
    let mut live = grafts.iter().filter(|g| !g.retired);
    live.any(|g| !g.at.as_os_str().is_empty() || g.tree.entry_count(Node::ROOT) > 0)
}

/// An upper elsewhere stays when its view is emptied, so the mount does too: that view counts as one without names.
fn note_names(facts: &Facts, view: &ViewSpec, has_names: bool) {
    if has_names && view.upper.is_none() {
        facts.has_names.store(true, Ordering::Relaxed);
    }
}
