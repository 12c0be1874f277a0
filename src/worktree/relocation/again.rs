//! Files that stay as relocation made them: they are no changes of the user, and come back after a reset.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::relocate::{self, Expected, ShownBy};
use super::{EmbeddedPaths, Trace};
use crate::git::checkout::Checkout;
use crate::store::Store;
use crate::store::manifest::ViewSpec;
use crate::views::diff::{Difference, Differences};
use crate::views::lower::GraftedTrees;
use crate::views::set::Views;
use crate::worktree::error::WorktreeError;
use crate::worktree::undo::Undo;

/// As [`Differences::of_view`], without the files that are as relocation made them.
///
/// # Errors
/// As [`Differences::of_view`]; a file can't be read.
pub fn own_changes(
    differences: &Differences<'_>,
    view: &ViewSpec,
    inside: &Path,
) -> Result<Vec<(Difference, PathBuf)>, WorktreeError> {
    let (views, mut changes) = (differences.views, differences.of_view(view, inside)?);
    if changes.is_empty() {
        return Ok(changes);
    }
    let record = EmbeddedPaths::load(&views.state_dir)?;
    let Some(traced) = record.of(&view.path).filter(|traced| traced.relocated() > 0) else { return Ok(changes) };
    let relocated: HashMap<PathBuf, &Trace> =
        traced.traces.iter().filter(|t| t.relocated).map(|t| (view.path.join(&t.path), t)).collect();
    let store = Store::existing(&views.manifest.store)?;
    let lower = GraftedTrees::of(&store, relocate::live(&view.grafts))?;
    let worktree = record.worktree.as_deref().unwrap_or(&views.manifest.worktree);
    let mut unchanged = Vec::new();
    for (n, (kind, at)) in changes.iter().enumerate() {
        let Some(trace) = relocated.get(at).filter(|_| *kind == Difference::Modified) else { continue };
        let expected = Expected::of(&store, &lower, trace, worktree)?;
        if expected.is_some_and(|expected| expected.is_at(&views.manifest.worktree.join(at)).unwrap_or(false)) {
            unchanged.push(n);
        }
    }
    let mut n = 0..;
    changes.retain(|_| n.next().is_some_and(|n| unchanged.binary_search(&n).is_err()));
    Ok(changes)
}

/// After a reset: relocates again what was relocated at or below `inside`, in a mounted view or in its plain directory.
///
/// # Errors
/// A file can't be read or written.
pub fn again(views: &Views, view: &ViewSpec, inside: &Path) -> Result<(), WorktreeError> {
    let record = EmbeddedPaths::load(&views.state_dir)?;
    let Some(traced) = record.of(&view.path) else { return Ok(()) };
    // The view shows the others relocated by itself.
    let is_meant = |t: &&Trace| t.relocated && t.served.is_none() && t.path.starts_with(inside);
    let mut traces: Vec<Trace> = traced.traces.iter().filter(is_meant).cloned().collect();
    if traces.is_empty() || view.upper.is_some() {
        return Ok(());
    }
    let (store, root) = (Store::existing(&views.manifest.store)?, &views.manifest.worktree);
    let at = (&*view.path, &*view.grafts);
    traces.iter_mut().for_each(|trace| trace.relocated = false);
    if view.is_copy() || views.is_mounted(view) {
        let shown_by = if view.is_copy() { ShownBy::PlainFiles } else { ShownBy::View };
        relocate::shown(&store, (root, shown_by), at, &mut traces)?;
        return Ok(());
    }
    let Some(target) = Checkout::at(root)? else { return Ok(()) };
    let mut undo = Undo::new(&target, &store);
    relocate::all(&store, root, at, &mut traces, &mut undo)?;
    undo.keep();
    Ok(())
}
