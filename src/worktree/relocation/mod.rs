//! Traces: files of artifacts that hold the absolute path of the checkout they were made in (CMakeCache.txt, scripts of a
//! Python environment, dependency files, programs). In another worktree they lead back to that checkout.
//!
//! An import finds them while it hashes ([`crate::store::import::import_dir_watching`]); in artifacts that were built
//! elsewhere they are searched for ([`foreign`]). The policy for each artifact
//! is in `depsfs.toml` or in `depsfs.absolutePaths`: the files are relocated (the default), or left and reported, or
//! their artifact is not shared. A view relocates them when they are read ([`served`]); in plain copies, and where the
//! text is too long for that, they are written ([`relocate`]). Binary files are never rewritten ([`effect`]).

mod again;
mod at_path;
pub mod copied;
mod effect;
mod foreign;
pub mod policy;
mod relocate;
mod served;

use std::path::{Path, PathBuf};

pub use self::again::{again, own_changes};
pub use self::at_path::{AtPath, follow};
pub use self::effect::note as note_effects;
pub use self::foreign::ForeignPaths;
pub use self::policy::Policies;
pub use self::relocate::{
    ShownBy, can as can_relocate, give_up as give_up_relocated, is_stored, shown as relocate_shown,
    still as still_relocated,
};
pub use crate::views::embedded_paths::{EmbeddedPaths, OccurrenceKind, Trace, Traced};

use super::conflict;
use super::error::WorktreeError;
use super::snapshot::Snapshot;
use super::undo::Undo;
use crate::git::settings::AbsolutePaths;
use crate::store::{Store, Tree};
use crate::sys::path;

/// The result of applying the policies to all artifacts of a new worktree.
#[derive(Debug, Default)]
pub struct Settled {
    pub snapshots: Vec<Snapshot>,
    pub record: EmbeddedPaths,
    /// Artifacts that are not shared because of their traces.
    pub excluded: Vec<PathBuf>,
}

/// Applies the policy to the traces of each snapshot. The directories exist in `root`, and nothing is mounted over them
/// yet.
pub fn settle(
    store: &Store,
    root: &Path,
    snapshots: Vec<Snapshot>,
    (policies, shown_by): (&Policies, ShownBy),
    undo: &mut Undo<'_>,
) -> Result<Settled, WorktreeError> {
    let mut settled = Settled::default();
    settled.record.worktree = Some(root.into());
    for mut snapshot in snapshots {
        let mut traces = std::mem::take(&mut snapshot.traces);
        match policies.of(&snapshot.path) {
            _ if traces.is_empty() => {}
            AbsolutePaths::Exclude => {
                let place = root.join(&snapshot.path);
                if path::is_dir(&place) && path::list(&place)?.is_empty() {
                    path::remove_dir(&place)?;
                }
                settled.excluded.push(snapshot.path);
                continue;
            }
            AbsolutePaths::Relocate => {
                if shown_by == ShownBy::View {
                    let place = root.join(&snapshot.path);
                    let has_own = path::is_dir(&place) && !path::list(&place)?.is_empty();
                    let is_in_the_way =
                        |at: &Path| conflict::in_the_way(&place, at).is_some() || path::is_there(&place.join(at));
                    let is_free = |trace: &Trace, _: &Tree, _| !has_own || !is_in_the_way(&trace.path);
                    served::note(store, &snapshot.grafts, &mut traces, &is_free)?;
                }
                relocate::all(store, root, (&snapshot.path, &snapshot.grafts), &mut traces, undo)?
            }
            AbsolutePaths::Leave => {}
        }
        effect::note(store, &snapshot.grafts, &mut traces)?;
        if !traces.is_empty() {
            settled.record.artifacts.push(Traced { path: snapshot.path.clone(), traces });
        }
        settled.snapshots.push(snapshot);
    }
    Ok(settled)
}
