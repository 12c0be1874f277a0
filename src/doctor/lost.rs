//! Stores that views are mounted from, and that are gone, or have lost trees: a store's own roots can't say so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DoctorFacts, Row, few, is_in_fuse};
use crate::git::checkout::Checkout;
use crate::git::command::GitError;
use crate::sys::terminal::DisplayName;
use crate::sys::{mount, path, thread};
use crate::views::set::Views;
use crate::views::status;

/// The time within which one more of the worktrees that are one view has to answer.
const LOOKED_FOR: Duration = Duration::from_secs(2);

/// A row for each store that mounted views miss something of.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    let mut lost: BTreeMap<(PathBuf, String), Vec<String>> = BTreeMap::new();
    for views in mounted(sight) {
        let store = &views.manifest.store;
        if is_in_fuse(&sight.mounts, store) {
            continue;
        }
        match status::store_trouble(&views.manifest) {
            Ok(None) => {}
            Ok(Some(why)) => note(&mut lost, store, why, &views),
            Err(e) => note(&mut lost, store, e.to_string(), &views),
        }
    }
    let row = |((store, why), worktrees): ((PathBuf, String), Vec<String>)| {
        let words = format!("{}: {why}; views of {} are mounted from it", store.shown(), few(&worktrees));
        Row::fail("store", words, "put it back, or mount the disk that holds it; own changes are in the worktrees")
    };
    lost.into_iter().map(row).collect()
}

fn note(lost: &mut BTreeMap<(PathBuf, String), Vec<String>>, store: &Path, why: String, views: &Views) {
    lost.entry((store.into(), why)).or_default().push(views.top().shown().to_string());
}

/// The worktrees that views of this user are mounted in, each once. Worktrees in another FUSE mount are skipped.
fn mounted(sight: &DoctorFacts) -> Vec<Views> {
    let ours = sight.mounts.iter().filter(|m| m.kind == mount::KIND && (sight.is_root || m.user == Some(sight.user)));
    let (mut found, mut looks) = (Vec::new(), Vec::new());
    for place in ours.map(|m| m.path.clone()) {
        let above = place.parent().filter(|dir| !is_in_fuse(&sight.mounts, dir) && path::is_dir(dir));
        match above.and_then(|dir| views_of(Checkout::containing(dir))) {
            Some(views) => found.push(views),
            // A worktree that is one view itself, which may hang.
            None => looks.push(move || views_of(Checkout::at(&place))),
        }
    }
    found.extend(thread::all_within(LOOKED_FOR, looks.into_iter()).into_iter().flatten());
    let each: BTreeMap<PathBuf, Views> = found.into_iter().map(|views| (views.state_dir.clone(), views)).collect();
    each.into_values().collect()
}

fn views_of(checkout: Result<Option<Checkout>, GitError>) -> Option<Views> {
    Views::of(&checkout.ok()??).ok()?
}
