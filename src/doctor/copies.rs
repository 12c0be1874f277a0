//! Artifacts that were to become plain files of a worktree, and are not complete: the command that copied them was killed.

use std::path::Path;

use super::{DoctorFacts, Row, is_in_fuse};
use crate::git::checkout::Checkout;
use crate::store::Store;
use crate::store::manifest::{CopyState, Manifest};
use crate::store::plain_copy::CopyMode;
use crate::sys::lock::Lock;
use crate::sys::terminal::{DisplayName, shell_word};
use crate::sys::{IoError, path};
use crate::views::copied;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::unfinished::Killed;

/// The rows of all worktrees with such copies; none where a command is at work on them.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    let worktrees = sight.worktrees().filter(|(_, manifest)| begun(manifest) > 0);
    let seen = worktrees.filter(|(state_dir, manifest)| {
        let place = &manifest.worktree;
        !is_in_fuse(&sight.mounts, state_dir) && !is_in_fuse(&sight.mounts, place) && path::is_dir(place)
    });
    seen.filter_map(|(state_dir, manifest)| row(&state_dir, manifest)).collect()
}

fn begun(manifest: &Manifest) -> usize {
    manifest.views.iter().filter(|view| view.copy == Some(CopyState::Begun)).count()
}

fn row(state_dir: &Path, manifest: &Manifest) -> Option<Row> {
    let place = &manifest.worktree;
    let checkout = Checkout::at(place).ok().flatten()?;
    // A create that lives goes on, and one that was killed is taken back.
    if !matches!(Killed::at(&checkout.common_dir, place), Ok(None)) || alone(&checkout).ok().flatten().is_none() {
        return None;
    }
    let words =
        format!("{} of {} artifacts of {} are copied in part", begun(manifest), manifest.views.len(), place.shown());
    let state_dir = state_dir.to_path_buf();
    let row = Row::warn("copies", words, format!("depsfs adopt {}", shell_word(place)));
    Some(row.fixed_by(move || {
        let Some(_alone) = alone(&checkout)? else { return Ok(()) };
        let mut views = Views::load(&state_dir)?;
        let store = Store::existing(&views.manifest.store)?;
        Ok(copied::complete(&mut views, &store, CopyMode::Complete, &())?)
    }))
}

/// The lock that an adopt holds; `None` while one runs.
fn alone(checkout: &Checkout) -> Result<Option<Lock>, WorktreeError> {
    let git_dir = path::open_dir(&checkout.git_dir)?;
    Ok(Lock::try_exclusive(git_dir).map_err(IoError::of("lock", &checkout.git_dir))?)
}
