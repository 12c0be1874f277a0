//! Files that stay as relocation made them: they are no changes of the user, come back after a reset, and get the new
//! path when the worktree was moved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::relocate::{self, Expected};
use super::{EmbeddedPaths, OccurrenceKind, Trace};
use crate::git::checkout::Checkout;
use crate::store::Store;
use crate::store::manifest::ViewSpec;
use crate::sys::{IoError, interrupt, path};
use crate::views::diff::{self, Difference};
use crate::views::lower::GraftedTrees;
use crate::views::set::Views;
use crate::worktree::error::WorktreeError;
use crate::worktree::undo::Undo;

/// As [`diff::of_view`], without the files that are as relocation made them.
///
/// # Errors
/// As [`diff::of_view`]; a file can't be read.
pub fn own_changes(views: &Views, view: &ViewSpec, inside: &Path) -> Result<Vec<(Difference, PathBuf)>, WorktreeError> {
    let mut changes = diff::of_view(views, view, inside)?;
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
    let is_meant = |t: &&Trace| t.relocated && t.path.starts_with(inside);
    let mut traces: Vec<Trace> = traced.traces.iter().filter(is_meant).cloned().collect();
    if traces.is_empty() || view.upper.is_some() {
        return Ok(());
    }
    let (store, root) = (Store::existing(&views.manifest.store)?, &views.manifest.worktree);
    let at = (&*view.path, &*view.grafts);
    traces.iter_mut().for_each(|trace| trace.relocated = false);
    if views.is_mounted(view) {
        relocate::shown(&store, root, at, &mut traces)?;
        return Ok(());
    }
    let Some(target) = Checkout::at(root)? else { return Ok(()) };
    let mut undo = Undo::new(&target, &store);
    relocate::all(&store, root, at, &mut traces, &mut undo)?;
    undo.keep();
    Ok(())
}

/// After `git worktree move`: files that are as relocation made them get the new path. Returns how many.
///
/// # Errors
/// A file can't be read or written; the others are relocated.
pub fn follow(views: &Views) -> Result<usize, WorktreeError> {
    let record = EmbeddedPaths::load(&views.state_dir)?;
    let root = &views.manifest.worktree;
    let Some(before) = record.worktree.filter(|before| before != root) else { return Ok(0) };
    let store = Store::existing(&views.manifest.store)?;
    let mut done = 0;
    for traced in &record.artifacts {
        let Some(view) = views.manifest.views.iter().find(|v| v.path == traced.path) else { continue };
        let lower = GraftedTrees::of(&store, relocate::live(&view.grafts))?;
        let place = views.place(view);
        for trace in traced.traces.iter().filter(|t| t.relocated) {
            interrupt::check()?;
            let at = place.join(&trace.path);
            let Some(old) = Expected::of(&store, &lower, trace, &before)? else { continue };
            if old.is_at(&at)?
                && let Some(new) = Expected::of(&store, &lower, trace, root)?
            {
                replace(&at, trace.kind, &new)?;
                done += 1;
            }
        }
    }
    EmbeddedPaths::note(&views.state_dir, root, Vec::new())?;
    Ok(done)
}

/// A crash leaves the old file or the new one, and perhaps one under a temporary name.
fn replace(at: &Path, kind: OccurrenceKind, new: &Expected) -> Result<(), IoError> {
    let aside = relocate::aside(at);
    let dir = at.parent().map(|dir| Ok((dir, path::stat(dir)?))).transpose()?;
    path::remove_file(&aside)?;
    new.write(&aside, kind)?;
    path::rename(&aside, at)?;
    match dir {
        Some((dir, Some(stat))) => path::set_mtime(dir, stat.mtime),
        _ => Ok(()),
    }
}
