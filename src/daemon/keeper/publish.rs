//! The keeper's reports: `daemon.json`, and a sign of life to waiting clients while it works.
//!
//! Clients wait for the keeper as long as it makes progress. With hundreds of views, each step costs the same: so the
//! state, which names all of them, is written when everything that has arrived is done, not for each message.

use std::collections::HashMap;
use std::time::Instant;

use super::connection::Connection;
use super::core::Keeper;
use super::progress::{AT_WORK, EVERY, SLOW};
use super::worktree_lock;
use crate::daemon::state::{DaemonState, ViewState};
use crate::daemon::{mounts, wire};
use crate::store::Manifest;
use crate::store::manifest::ViewSpec;
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, fs, path as paths, proc, process, time};

impl Keeper {
    /// Notes one step of long work, and reports it when the last report is a while ago. `done` returns in words how far
    /// it is.
    pub fn work(&mut self, done: impl FnOnce() -> String) {
        self.progress.count += 1;
        if self.progress.reported.elapsed() < EVERY {
            return;
        }
        match &self.ready {
            // A client that is gone needs no report.
            Some(ready) => drop(fs::write_all(ready, AT_WORK)),
            None => self.publish(),
        }
        let took = self.progress.reported.elapsed();
        if self.pending && took > SLOW {
            tracing::info!("one step took {}; now {}", time::seconds(took), done());
        }
        self.progress.reported = Instant::now();
    }

    /// Says in the log what a comparison waits for.
    pub fn warn_about_wait(&self) {
        let is_awaited = |c: &&Connection| self.is_awaited(c);
        let mut awaited = self.connections.values().filter(is_awaited);
        if let Some(first) = awaited.next() {
            let (path, seconds) = (first.path.shown(), self.progress.begun.elapsed().as_secs());
            tracing::warn!("waits for the server since {seconds} s: {path} and {} more views", awaited.count());
        }
    }

    /// Writes what was received since `daemon.json` was written.
    pub fn publish_news(&mut self) {
        if std::mem::take(&mut self.progress.has_news) {
            self.publish();
        }
    }

    /// Writes `daemon.json`, and takes git's lock of the worktree away when no view is mounted.
    pub fn publish(&self) {
        let state = self.as_state();
        let saved = state.save(&self.state).and_then(|()| match self.connections.values().any(|c| c.mounted) {
            true => Ok(()),
            false => worktree_lock::keep(self.state.path(), false),
        });
        if let Err(e) = saved {
            tracing::error!("{e}");
        }
    }

    fn as_state(&self) -> DaemonState {
        let mut mounted = HashMap::new();
        for connection in self.connections.values().filter(|c| c.mounted) {
            mounted.entry(connection.view.id.as_str()).or_insert(connection);
        }
        let wanted = self.manifest.iter().flat_map(|m| m.views.iter().map(move |v| (m, v)));
        let view = |(manifest, view): (&Manifest, &ViewSpec)| {
            let connection = mounted.get(view.id.as_str());
            ViewState {
                id: view.id.clone(),
                path: mounts::place(&manifest.worktree, view),
                mounted: connection.is_some(),
                device: connection.and_then(|c| c.device_number),
                options: connection.map(|c| c.options.clone()),
                passes: connection.and_then(|c| c.passes),
                capabilities: connection.and_then(|c| c.offer).map(|offer| offer.capabilities),
                error: self.errors.get(&view.id).cloned(),
            }
        };
        DaemonState {
            pid: process::id(),
            server_pid: self.server.as_ref().map(|s| s.pid),
            started: proc::started(process::id()),
            server_started: self.server.as_ref().and_then(|s| s.started),
            generation: self.generation,
            version: self.version.clone(),
            build: self.program.build().into(),
            protocol: wire::PROTOCOL,
            restarts: self.servers.saturating_sub(1),
            reconciled: self.reconciled,
            progress: self.progress.count,
            ending: self.ending,
            trouble: self.trouble.clone(),
            refusing: self.crashes.given_up,
            retains: self.requests.is_some(),
            held: Some(self.connections.values().filter(|c| !c.mounted && c.is_alive()).count()),
            views: wanted.map(view).collect(),
        }
    }

    /// After views that were served: no file is made any more, as the program that unmounted the last one may be
    /// removing this directory now.
    pub fn leave(&self) -> Result<(), IoError> {
        paths::remove_file(&self.state.daemon_json())?;
        worktree_lock::keep(self.state.path(), false)
    }
}
