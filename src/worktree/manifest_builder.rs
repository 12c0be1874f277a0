//! The manifest that a create or an adopt writes, and how it comes together with one that is there.

use std::collections::BTreeSet;

use super::created::Created;
use super::error::WorktreeError;
use super::plan::CreatePlan;
use super::snapshot::Snapshot;
use crate::git::checkout::Checkout;
use crate::store::Store;
use crate::store::manifest::{CopyState, Manifest, Shape, ViewSpec};
use crate::views::set;

/// The manifest of the new worktree: a view for each snapshot that has its place in it.
pub fn describe(
    plan: &CreatePlan,
    store: &Store,
    new: &Checkout,
    taken: Vec<Snapshot>,
    created: &mut Created,
) -> Result<Manifest, WorktreeError> {
    let mut views = Vec::new();
    let mut drifted = BTreeSet::new();
    for snapshot in taken {
        let recorded = snapshot.lockfiles.iter().map(|(at, hash)| (at.as_path(), hash.as_str()));
        drifted.extend(crate::views::lockfile::drifted(&new.root, recorded)?);
        created.shared_files += snapshot.files;
        created.shared_bytes += snapshot.bytes;
        created.views.push(snapshot.path.clone());
        created.lost.extend(snapshot.lost.iter().cloned());
        views.push(snapshot.into_view());
    }
    created.drifted = drifted.into_iter().collect();
    Ok(Manifest {
        source: Some(plan.source.root.clone()),
        commit: plan.commit.clone(),
        created: set::now(),
        views,
        generation: 1,
        ..Manifest::new(&new.root, store.path())
    })
}

/// Merges the views that a worktree already shows, artifacts of a build cache say, into the manifest. If both have a
/// view of one directory, the old grafts lie on top; if one lies in the other, the old view stays. With `copy`, the new
/// views are to be copied; a view that is mounted stays one.
pub fn join(manifest: &mut Manifest, there: Manifest, copy: bool) {
    let is_beside = |view: &ViewSpec| {
        let overlaps = |old: &ViewSpec| old.path.starts_with(&view.path) || view.path.starts_with(&old.path);
        there.views.iter().all(|old| old.path == view.path || !overlaps(old))
    };
    manifest.views.retain(is_beside);
    manifest.generation = there.generation + 1;
    copy_all(manifest, copy && there.shape == Shape::Directories);
    // One that shows something stays mounted as it is.
    if !there.views.is_empty() {
        manifest.set_shape(there.shape);
        manifest.directories = there.directories;
    }
    for old in there.views {
        match manifest.views.iter_mut().find(|view| view.path == old.path) {
            Some(view) => {
                view.grafts.retain(|g| !old.grafts.contains(g));
                view.grafts.extend(old.grafts);
                view.copy = old.copy.map(|_| CopyState::Begun);
            }
            None => manifest.views.push(old),
        }
    }
    manifest.views.sort_by(|a, b| a.path.cmp(&b.path));
    manifest.update_version();
}

/// With `copy`, the views are copies that nothing was copied for yet.
pub fn copy_all(manifest: &mut Manifest, copy: bool) {
    manifest.views.iter_mut().for_each(|view| view.copy = copy.then_some(CopyState::Begun));
    manifest.update_version();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    use crate::store::TreeId;
    use crate::store::manifest::Graft;

    fn manifest(views: &[(&str, &[&str])], generation: u64) -> Manifest {
        let graft = |words: &&str| Graft {
            at: PathBuf::new(),
            tree: TreeId::of(words.as_bytes()),
            entry: None,
            origin: (*words).into(),
            retired: false,
        };
        let view = |(path, grafts): &(&str, &[&str])| ViewSpec {
            id: set::id_of(Path::new(path)),
            path: path.into(),
            grafts: grafts.iter().map(graft).collect(),
            ..ViewSpec::default()
        };
        let views = views.iter().map(view).collect();
        Manifest { views, generation, ..Manifest::new(Path::new("/w"), Path::new("/s")) }
    }

    #[test]
    fn what_a_build_cache_has_shown_meanwhile_stays_on_top_of_what_a_worktree_is_given() {
        let mut ours = manifest(&[("a", &["source a"]), ("b", &["source b"]), ("d", &["source d"])], 1);
        join(&mut ours, manifest(&[("b", &["artifact"]), ("c", &["artifact c"]), ("d/e", &["artifact e"])], 4), false);
        let wanted: &[(&str, &[&str])] =
            &[("a", &["source a"]), ("b", &["source b", "artifact"]), ("c", &["artifact c"]), ("d/e", &["artifact e"])];
        assert_eq!(ours, manifest(wanted, 5));
    }
}
