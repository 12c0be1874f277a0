//! The embedded paths of one worktree, as its commands record them ([`crate::store::embedded_paths`]).

use std::path::Path;

use super::ViewsError;
use super::mounted::{set_xattr, wait_for_notices};
use super::set::{ManifestLock, Views};
pub use crate::store::embedded_paths::{Effect, EmbeddedPaths, OccurrenceKind, ServedPath, Trace, Traced};

impl EmbeddedPaths {
    /// Replaces the record of these artifacts, which hold the path `worktree` where they are relocated. The manifest's
    /// lock is held meanwhile: another process may record other artifacts.
    ///
    /// # Errors
    /// The lock can't be taken; as [`EmbeddedPaths::load`] and [`EmbeddedPaths::save`].
    pub fn note(state_dir: &Path, worktree: &Path, all: Vec<Traced>) -> Result<(), ViewsError> {
        let _lock = ManifestLock::wait(state_dir)?;
        let mut record = EmbeddedPaths::load(state_dir)?;
        let before = record.clone();
        record.worktree = Some(worktree.into());
        for traced in all {
            match record.artifacts.iter_mut().find(|known| known.path == traced.path) {
                Some(known) => *known = traced,
                None => record.artifacts.push(traced),
            }
        }
        record.artifacts.retain(|traced| !traced.traces.is_empty());
        if record.artifacts != before.artifacts || (record != before && !record.artifacts.is_empty()) {
            record.save(state_dir)?;
        }
        Ok(())
    }
}

/// Has the servers of a worktree read the record again, and waits until programs see what it says. A server of an older
/// program is replaced by one of this.
///
/// # Errors
/// A mount does not answer.
pub fn tell(views: &Views) -> Result<(), ViewsError> {
    let mut roots = Vec::new();
    for view in views.mounted().filter(|view| !view.is_copy()) {
        let root = views.mount_place(view);
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    for root in &roots {
        let set = || set_xattr(root, b"user.depsfs.relocations", b"1");
        match set() {
            Err(ViewsError::Io(e)) if e.errno() == libc::EOPNOTSUPP => {
                views.mount()?;
                set()?;
            }
            done => done?,
        }
    }
    roots.iter().try_for_each(|root| wait_for_notices(root))
}
