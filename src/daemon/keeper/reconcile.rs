//! Reconciling: the mounts become those of the manifest.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::store::manifest::ViewSpec;
use crate::store::{Manifest, Store, StoreError};
use crate::sys::mountinfo::MountTable;
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, mount};

use super::connection::{Connection, Uppers};
use super::core::Keeper;
use crate::daemon::mounts;
use crate::daemon::wire::ConnectionId;

impl Keeper {
    /// Mounts what is missing, detaches what is no longer wanted. Views become ready later, with the reports of the server ([`Keeper::received`]).
    pub fn reconcile(&mut self) {
        self.pending = true;
        self.progress.begin();
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
        let mounts = MountTable::read()?;
        let wanted: HashMap<&str, &ViewSpec> = manifest.views.iter().map(|v| (v.id.as_str(), v)).collect();
        let mut detached = 0;
        for connection in self.connections.values_mut().filter(|c| c.mounted) {
            let place = connection.place(&mounts).map(Path::to_path_buf);
            connection.mounted = place.is_some();
            connection.path = place.unwrap_or_else(|| std::mem::take(&mut connection.path));
            let view = wanted.get(connection.view.id.as_str());
            let is_wanted = view.is_some_and(|v| mounts::place(&manifest.worktree, v) == connection.path);
            if !is_wanted || self.state.is_dropped(&connection.view.id) {
                connection.detach(&mounts);
                detached += 1;
            }
        }
        if detached > 0 {
            self.work(|| format!("{detached} views detached"));
        }
        self.let_go(&wanted);
        let there: HashSet<&str> =
            self.connections.values().filter(|c| c.mounted).map(|c| c.view.id.as_str()).collect();
        let missing = manifest.views.iter().filter(|v| !there.contains(v.id.as_str()));
        let missing: Vec<&ViewSpec> = missing.filter(|v| !self.state.is_dropped(&v.id)).collect();
        let new = self.mount_all(&manifest, &missing, &mounts);
        self.change_grafts(&manifest, &wanted);
        self.manifest = Some(manifest);
        self.begin(new)
    }

    /// Views that begin anew, while a process still has them as they were: open, or mounted in another mount namespace.
    /// An overlay whose journal was deleted must change nothing in the upper any more. So another server takes over,
    /// which answers EIO for those.
    fn let_go(&mut self, wanted: &HashMap<&str, &ViewSpec>) {
        let begins_anew = |c: &&mut Connection| {
            let id = c.view.id.as_str();
            let is_old = !c.mounted && !c.refused && c.offer.is_some() && wanted.contains_key(id);
            is_old && self.state.view_identity(id) != c.identity && c.is_alive()
        };
        let mut count = 0;
        for connection in self.connections.values_mut().filter(begins_anew) {
            let path = connection.path.shown();
            tracing::warn!("{path} begins anew; programs that have the former view open get errors");
            connection.refused = true;
            count += 1;
        }
        if count > 0 {
            self.dismiss();
            self.restart();
        }
    }

    /// Mounts what is missing, while a server starts. Answers the new connections.
    fn mount_all(&mut self, manifest: &Manifest, missing: &[&ViewSpec], mounts: &MountTable) -> Vec<Connection> {
        if missing.is_empty() {
            return Vec::new();
        }
        if let Err(e) = self.start_server() {
            tracing::error!("no server could be started yet: {e}");
        }
        let mut uppers: Uppers = self.connections.values().map(|c| (c.upper_id, c.alone.clone())).collect();
        let mut detached: HashMap<String, Vec<ConnectionId>> = HashMap::new();
        for (id, connection) in self.connections.iter().filter(|(_, c)| !c.mounted) {
            detached.entry(connection.view.id.clone()).or_default().push(*id);
        }
        let mut new = Vec::new();
        for view in missing {
            let before = detached.get(&view.id).map_or(&[][..], Vec::as_slice);
            match self.mount(manifest, view, mounts, before, &mut uppers) {
                Ok(connection) => new.extend(connection),
                Err(e) => {
                    tracing::error!(view = view.id, "{e}");
                    self.errors.insert(view.id.clone(), e.to_string());
                }
            }
            self.work(|| format!("{} of {} views mounted", new.len(), missing.len()));
        }
        new
    }

    /// Has the server show the manifest's grafts in views that are mounted already.
    fn change_grafts(&mut self, manifest: &Manifest, wanted: &HashMap<&str, &ViewSpec>) {
        let mut changed = Vec::new();
        for (id, connection) in self.connections.iter_mut().filter(|(_, c)| c.mounted) {
            let Some(view) = wanted.get(connection.view.id.as_str()) else { continue };
            if connection.generation != manifest.generation || connection.view.grafts != view.grafts {
                connection.wanted = Some(((*view).clone(), manifest.generation));
                changed.push(*id);
            }
        }
        changed.into_iter().for_each(|id| self.ask_to_regraft(id));
    }

    /// The manifest, once gc keeps its trees, and those that detached views still show.
    fn wanted(&mut self) -> Result<Manifest, StoreError> {
        let path = self.state.manifest();
        let manifest = Manifest::load(&path)?.into_mounts();
        let mut trees = manifest.trees();
        trees.extend(self.connections.values().flat_map(|c| &c.view.grafts).map(|g| g.tree));
        match Store::existing(&manifest.store).and_then(|store| store.roots().hold(&path, &trees)) {
            Ok(hold) => self.hold = Some(hold),
            // As in a store of another user: the manifest alone keeps them.
            Err(e) => tracing::warn!("the store's trees are not held: {e}"),
        }
        // Only one that is still there was there for gc, too, if that looked before.
        Ok(Manifest::load(&path)?.into_mounts())
    }

    /// Mounts one view; a new connection is handed back, one of `before` that was only detached is mounted again.
    fn mount(
        &mut self,
        manifest: &Manifest,
        view: &ViewSpec,
        mounts: &MountTable,
        before: &[ConnectionId],
        uppers: &mut Uppers,
    ) -> Result<Option<Connection>, IoError> {
        let path = mounts::place(&manifest.worktree, view);
        mounts::detach_dead(mounts, &path).map_err(IoError::of("detach the dead mount at", &path))?;
        let options = mounts::options(manifest, view);
        for id in before {
            let Some(connection) = self.connections.get_mut(id).filter(|c| !c.refused) else { continue };
            let is_same =
                connection.view.upper == view.upper && connection.path == path && connection.options == options;
            if is_same && connection.mount_again(&manifest.worktree)? {
                return Ok(None);
            }
        }
        Connection::mount(manifest, view, uppers).map(Some)
    }

    /// Hands new connections to the server, with the number each got in the kernel's table.
    fn begin(&mut self, new: Vec<Connection>) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        let mounts = MountTable::read()?;
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
