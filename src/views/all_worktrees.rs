//! All worktrees that are known, of whatever repository: those the store has roots of, and directories that something
//! is mounted at.

use std::path::{Path, PathBuf};

use super::ViewsError;
use super::set::{self, Views};
use crate::daemon::{client, left_mounted};
use crate::store::{Absence, RootState, Store};
use crate::sys::path;

/// A worktree with a manifest, or one whose manifest is gone.
pub struct KnownWorktree {
    /// The worktree, or the directory that is mounted at; of one that is gone, where its manifest was.
    pub place: PathBuf,
    /// `None`: its manifest is gone.
    state_dir: Option<PathBuf>,
    /// Why its manifest can't be read.
    unreadable: Option<ViewsError>,
    /// It may come back.
    is_away: bool,
}

/// The outcome for one worktree when its artifacts are unmounted.
pub enum DetachOutcome {
    Done,
    /// There is no such directory any more.
    Gone,
    /// It is on a disk that is not mounted, or was moved.
    Away,
    /// Its artifacts are plain files.
    Plain,
    Failed(ViewsError),
}

/// Each once, by path.
pub fn known(store: &Store, states: Option<&Path>) -> Result<Vec<KnownWorktree>, ViewsError> {
    let mut dirs: Vec<PathBuf> = states.map(set::all_at).transpose()?.unwrap_or_default();
    let mut all = Vec::new();
    for root in store.roots().list()? {
        let Some(state_dir) = root.manifest.as_deref().and_then(Path::parent) else { continue };
        match root.state {
            RootState::Dead | RootState::Away => {
                let (place, is_away) = (state_dir.to_path_buf(), root.state == RootState::Away);
                all.push(KnownWorktree { place, state_dir: None, unreadable: None, is_away });
            }
            _ => dirs.push(state_dir.to_path_buf()),
        }
    }
    dirs.sort();
    dirs.dedup();
    all.extend(dirs.into_iter().map(|state_dir| match Views::load(&state_dir) {
        Ok(views) => KnownWorktree { place: views.top(), state_dir: Some(state_dir), unreadable: None, is_away: false },
        Err(e) => {
            KnownWorktree { place: state_dir.clone(), state_dir: Some(state_dir), unreadable: Some(e), is_away: false }
        }
    }));
    all.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(all)
}

impl KnownWorktree {
    /// Mounts its views; what a dead daemon has left is detached first.
    pub fn mount(self) -> DetachOutcome {
        let Some(state_dir) = self.state_dir else {
            return if self.is_away { DetachOutcome::Away } else { DetachOutcome::Gone };
        };
        if let Some(e) = self.unreadable {
            return DetachOutcome::Failed(e);
        }
        // Of a view that is mounted, or was and is dead, only the directory above may be looked at.
        let is_there = client::state(&state_dir).is_some() || left_mounted(&state_dir) || path::is_there(&self.place);
        if !is_there {
            return match Absence::of(&self.place) {
                Ok(Absence::Gone) => DetachOutcome::Gone,
                Ok(Absence::Away) => DetachOutcome::Away,
                Err(e) => DetachOutcome::Failed(e.into()),
            };
        }
        match Views::load(&state_dir).and_then(|views| views.mount().map(|()| views.manifest.is_copy())) {
            Ok(true) => DetachOutcome::Plain,
            Ok(false) => DetachOutcome::Done,
            Err(e) => DetachOutcome::Failed(e),
        }
    }

    /// Its views, if its manifest can be read.
    pub fn views(&self) -> Option<Views> {
        self.state_dir.as_ref().and_then(|dir| Views::load(dir).ok())
    }

    /// Unmounts its views, unless one is in use.
    pub fn unmount(self) -> DetachOutcome {
        match self.state_dir.filter(|dir| client::state(dir).is_some()) {
            None => DetachOutcome::Gone,
            Some(dir) => {
                client::unmount(&dir, false).map_or_else(|e| DetachOutcome::Failed(e.into()), |()| DetachOutcome::Done)
            }
        }
    }
}
