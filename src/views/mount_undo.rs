//! Directories that a mount creates, and their removal if the mount fails.

use std::path::{Path, PathBuf};

use super::ViewsError;
use super::set::{self, Views};
use crate::store::Store;
use crate::sys::log::OrWarn;
use crate::sys::path;

/// Directories that were not there before.
#[derive(Default)]
pub struct MountUndo {
    /// Parents first.
    dirs: Vec<PathBuf>,
    state_dir: Option<PathBuf>,
}

impl MountUndo {
    /// Makes a directory and its missing parents. Its path, without symlinks.
    pub fn dir(&mut self, dir: &Path) -> Result<PathBuf, ViewsError> {
        let missing = dir.ancestors().take_while(|at| !at.as_os_str().is_empty() && !path::is_there(at));
        let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        self.dirs.extend(missing.into_iter().rev());
        path::make_dirs(dir)?;
        Ok(path::canonical(dir)?)
    }

    /// The state directory, which is about to be made, is the mount's own.
    pub fn state(&mut self, dir: &Path) {
        if !path::is_there(dir) {
            self.state_dir = Some(dir.into());
        }
    }

    /// The mount failed. Directories with files that other programs added meanwhile stay, and so does a mounted view.
    pub fn undo(self, store: &Store) {
        if let Some(state_dir) = self.state_dir.filter(|dir| is_idle(dir)) {
            // A failure to undo is only logged: the caller gets the error of the mount.
            store.roots().remove(&set::manifest_file(&state_dir)).or_warn("a root stays");
            path::remove_tree(&state_dir).or_warn("a state directory stays");
        }
        for dir in self.dirs.iter().rev() {
            path::remove_dir(dir).or_debug("a directory that was made stays");
        }
    }
}

/// Ends the daemon of a mount that failed. Whether nothing is mounted with this state.
fn is_idle(state_dir: &Path) -> bool {
    if !path::is_there(&set::manifest_file(state_dir)) {
        return true;
    }
    let Ok(views) = Views::load(state_dir) else { return false };
    views.unmount(false).is_ok() && views.state().is_none_or(|state| state.views.iter().all(|view| !view.mounted))
}
