//! Making what is mounted what the manifest wants.

use crate::store::manifest::ViewSpec;
use crate::store::{Manifest, Store, StoreError};
use crate::sys::mountinfo::{self, MountPoint};
use crate::sys::{IoError, mount};

use super::connection::Connection;
use super::{Keeper, mounts};

impl Keeper {
    /// Mounts what is missing, detaches what is no longer wanted. Views become ready later; see `settle`.
    pub fn reconcile(&mut self) {
        self.pending = true;
        self.errors.clear();
        self.trouble = None;
        self.recover();
        self.upgrade();
        if let Err(e) = self.compare() {
            tracing::error!("{e}");
            self.trouble = Some(e.to_string());
        }
    }

    fn compare(&mut self) -> Result<(), StoreError> {
        let manifest = self.wanted()?;
        let mounts = mountinfo::read()?;
        for connection in self.connections.values_mut() {
            connection.mounted &= mounts::is_attached(&mounts, &connection.path, connection.device_number);
            let wanted = |view: &ViewSpec| {
                view.id == connection.view.id && mounts::place(&manifest.worktree, view) == connection.path
            };
            if !manifest.views.iter().any(wanted) || self.state.is_dropped(&connection.view.id) {
                connection.detach();
            }
        }
        let there = |id: &str| self.connections.values().any(|c| c.mounted && c.view.id == id);
        let missing = manifest.views.iter().filter(|v| !there(&v.id) && !self.state.is_dropped(&v.id));
        let missing: Vec<ViewSpec> = missing.cloned().collect();
        if !missing.is_empty()
            && let Err(e) = self.start_server()
        {
            tracing::error!("no server could be started yet: {e}");
        }
        let mut new = Vec::new();
        for view in &missing {
            match self.mount(&manifest, view, &mounts) {
                Ok(connection) => new.extend(connection),
                Err(e) => {
                    tracing::error!(view = view.id, "{e}");
                    self.errors.insert(view.id.clone(), e.to_string());
                }
            }
        }
        self.change_grafts(&manifest);
        self.manifest = Some(manifest);
        self.begin(new)
    }

    /// Has the server show what the manifest wants in views that are mounted already.
    fn change_grafts(&mut self, manifest: &Manifest) {
        let mut changed = Vec::new();
        for (id, connection) in self.connections.iter_mut().filter(|(_, c)| c.mounted) {
            let Some(view) = manifest.views.iter().find(|v| v.id == connection.view.id) else { continue };
            if connection.generation != manifest.generation || connection.view.grafts != view.grafts {
                connection.wanted = Some((view.clone(), manifest.generation));
                changed.push(*id);
            }
        }
        changed.into_iter().for_each(|id| self.ask_to_regraft(id));
    }

    /// The manifest, once gc keeps its trees, and those that detached views still show.
    fn wanted(&mut self) -> Result<Manifest, StoreError> {
        let path = self.state.manifest();
        let manifest = Manifest::load(&path)?;
        let mut trees = manifest.trees();
        trees.extend(self.connections.values().flat_map(|c| &c.view.grafts).map(|g| g.tree));
        match Store::open(&manifest.store).and_then(|store| store.roots().hold(&path, &trees)) {
            Ok(hold) => self.hold = Some(hold),
            // As in a store that belongs to somebody else: the manifest alone keeps them.
            Err(e) => tracing::warn!("the store's trees are not held: {e}"),
        }
        // Only one that is still there was there for gc, too, if that looked before.
        Manifest::load(&path)
    }

    /// Mounts one view; a new connection is handed back, one that was only detached is mounted again.
    fn mount(
        &mut self,
        manifest: &Manifest,
        view: &ViewSpec,
        mounts: &[MountPoint],
    ) -> Result<Option<Connection>, IoError> {
        let path = mounts::place(&manifest.worktree, view);
        mounts::detach_dead(mounts, &path).map_err(IoError::of("detach the dead mount at", &path))?;
        let options = mounts::options(manifest, view);
        let same = |c: &&mut Connection| {
            c.view.id == view.id && c.view.upper == view.upper && c.path == path && c.options == options
        };
        for connection in self.connections.values_mut().filter(same) {
            if connection.mount_again(&manifest.worktree)? {
                return Ok(None);
            }
        }
        Connection::mount(manifest, view, self.connections.values()).map(Some)
    }

    /// Hands new connections to the server, with the number each got in the kernel's table.
    fn begin(&mut self, new: Vec<Connection>) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        let mounts = mountinfo::read()?;
        for mut connection in new {
            connection.device_number = mounts::top_view(&mounts, &connection.path);
            if connection.device_number.is_none() {
                // Every later look at the kernel's table goes by this path.
                let why = "it was mounted elsewhere than its path says: is there a symlink in the worktree's path?";
                self.errors.insert(connection.view.id.clone(), why.into());
                mount::unmount(&connection.path, true).map_err(IoError::of("detach", &connection.path))?;
                continue;
            }
            let id = self.next_connection;
            self.next_connection += 1;
            self.connections.insert(id, connection);
            self.hand_over(id);
        }
        Ok(())
    }
}
