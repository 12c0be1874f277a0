//! Stores that views are mounted from, and that are gone, or have lost trees: a store's own roots can't say so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{DoctorFacts, Row, few, is_in_fuse};
use crate::git::checkout::Checkout;
use crate::sys::terminal::DisplayName;
use crate::sys::{mount, path};
use crate::views::set::Views;
use crate::views::status;

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
    let above = ours.filter_map(|m| m.path.parent()).filter(|dir| !is_in_fuse(&sight.mounts, dir) && path::is_dir(dir));
    let mut found: BTreeMap<PathBuf, Views> = BTreeMap::new();
    for dir in above {
        if let Ok(Some(checkout)) = Checkout::containing(dir)
            && let Ok(Some(views)) = Views::of(&checkout)
        {
            found.insert(views.state_dir.clone(), views);
        }
    }
    found.into_values().collect()
}
