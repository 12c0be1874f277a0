//! Files that a view relocates when they are read: nothing is written for them, only counted.

use std::os::unix::ffi::OsStrExt;

use super::{OccurrenceKind, Trace};
use crate::store::import::PathScan;
use crate::store::manifest::Graft;
use crate::store::{Node, ObjectId, Store, Tree};
use crate::sys::{IoError, interrupt, spawn};
use crate::views::embedded_paths::ServedPath;
use crate::views::lower::GraftedTrees;
use crate::worktree::error::WorktreeError;

/// How many files are read at once.
const AT_ONCE: usize = 4;
/// A longer text would be made in memory as a whole: it is written instead.
const LONGEST: u64 = 16 << 20;

/// Notes those files of an artifact that its view can relocate, unless the worktree has a file of its own there
/// (`is_free`). Those that are noted already stay so. Returns whether one is new.
///
/// # Errors
/// A tree or an object can't be read.
pub fn note(
    store: &Store,
    grafts: &[Graft],
    traces: &mut [Trace],
    is_free: &(dyn Fn(&Trace, &Tree, Node) -> bool + Sync),
) -> Result<bool, WorktreeError> {
    let lower = GraftedTrees::of(store, grafts.iter().filter(|g| !g.retired))?;
    let found = spawn::try_map(&*traces, AT_ONCE, |trace| {
        interrupt::check()?;
        let Some((tree, node)) = lower.find(&trace.path) else { return Ok::<_, WorktreeError>(None) };
        match &trace.served {
            Some(known) if known.object == tree.object(node).map(|id| id.to_string()) => Ok(trace.served.clone()),
            _ if !is_free(trace, tree, node) => Ok(None),
            _ => served(store, tree, node, trace),
        }
    })?;
    let mut is_new = false;
    for (trace, served) in traces.iter_mut().zip(found) {
        is_new |= served.is_some() && trace.served != served;
        trace.relocated |= served.is_some();
        trace.served = served;
    }
    Ok(is_new)
}

fn served(store: &Store, tree: &Tree, node: Node, trace: &Trace) -> Result<Option<ServedPath>, WorktreeError> {
    let Some(watched) = PathScan::new(trace.root.as_os_str().as_bytes()) else { return Ok(None) };
    let object = match trace.kind {
        OccurrenceKind::Binary => return Ok(None),
        OccurrenceKind::Link if watched.is_target(tree.target(node)) => {
            return Ok(Some(ServedPath { object: None, occurrences: 1 }));
        }
        OccurrenceKind::Link => return Ok(None),
        OccurrenceKind::Text => tree.object(node).filter(|_| tree.stat(node).size <= LONGEST),
    };
    let Some(object) = object else { return Ok(None) };
    let text = text_of(store, &object, tree.stat(node).size)?;
    let occurrences = if text.contains(&0) { 0 } else { watched.places(&text).count() as u64 };
    Ok((occurrences > 0).then(|| ServedPath { object: Some(object.to_string()), occurrences }))
}

/// All bytes of an object.
///
/// # Errors
/// It is lost or damaged, or can't be read.
pub(super) fn text_of(store: &Store, object: &ObjectId, size: u64) -> Result<Vec<u8>, WorktreeError> {
    let bytes = store.objects().awaited_sound_content(object)?;
    let mut text = vec![0; size as usize];
    let n = bytes.read_at(&mut text, 0).map_err(IoError::of("read", &store.objects().path_of(object)))?;
    text.truncate(n);
    Ok(text)
}
