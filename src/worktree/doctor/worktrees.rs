//! Worktrees that are gone without `depsfs remove`, and roots of the store that name nothing any more.

use std::path::{Path, PathBuf};

use super::{Row, Sight, is_in_fuse, shell};
use crate::daemon::client;
use crate::store::{Absence, RootState, Store};
use crate::sys::path;
use crate::sys::terminal::Shown;
use crate::worktree::Error;
use crate::worktree::git::Git;
use crate::worktree::views::{self, Views};

pub fn rows(sight: &Sight) -> Vec<Row> {
    let mut rows = gone(sight);
    let known = sight.worktrees().count();
    if rows.is_empty() {
        rows.push(Row::ok("worktrees", format!("{known} known, none is gone")));
    }
    let orphans = orphans(sight);
    if orphans.is_empty() {
        rows.push(Row::ok("roots", format!("{} in the store, each of a worktree", sight.roots.len())));
    }
    rows.extend(orphans);
    rows
}

/// Somebody removed the directory; git's record of it and the manifest are still there.
fn gone(sight: &Sight) -> Vec<Row> {
    let mut rows = Vec::new();
    for (state_dir, manifest) in sight.worktrees() {
        let place = Views { state_dir: state_dir.clone(), manifest: manifest.clone() }.top();
        if is_in_fuse(&sight.mounts, &place) || path::is_there(&place) {
            continue;
        }
        let words = format!("{} is gone, and was not removed by depsfs", place.shown());
        // A disk that is not mounted may come back, with all that was written.
        if !matches!(Absence::of(&place), Ok(Absence::Gone)) {
            let remedy = format!("mount the disk that holds {0}, or rm -r {1}", place.shown(), shell(&state_dir));
            rows.push(Row::warn("worktrees", words, remedy));
            continue;
        }
        let Some(store) = sight.store.clone() else { continue };
        let repository = repository(&state_dir);
        let remedy = match &repository {
            Some(git) => format!("git -C {} worktree remove -f -f {}", shell(git), shell(&place)),
            None => format!("rm -r {}", shell(&state_dir)),
        };
        let row = Row::warn("worktrees", words, remedy);
        rows.push(row.fixed_by(move || forget(&store, &state_dir, &place, repository.as_deref())));
    }
    rows
}

/// The repository's shared git directory, when the state is that of a linked worktree.
fn repository(state_dir: &Path) -> Option<PathBuf> {
    let git_dir = state_dir.parent()?;
    let shared = path::read_if_there(&git_dir.join("commondir")).ok()??;
    let shared = git_dir.join(String::from_utf8_lossy(&shared).trim());
    path::canonical(&shared).ok()
}

fn forget(store: &Store, state_dir: &Path, place: &Path, repository: Option<&Path>) -> Result<(), Error> {
    client::unmount(state_dir, true)?;
    match repository {
        Some(shared) => Git::deaf(shared).remove_worktree(place)?,
        None => path::remove_tree(state_dir)?,
    }
    Ok(store.roots().remove(&views::manifest_file(state_dir))?)
}

fn orphans(sight: &Sight) -> Vec<Row> {
    let mut rows = Vec::new();
    let dead = sight.roots.iter().filter(|r| r.state == RootState::Dead && r.held.is_none());
    let dead: Vec<PathBuf> = dead.filter_map(|r| r.manifest.clone()).collect();
    if let (Some(store), [first, ..]) = (sight.store.clone(), &dead[..]) {
        let n = dead.len();
        let words = format!("{n} of worktrees that are gone, as {}", first.shown());
        let row = Row::warn("roots", words, "depsfs gc");
        rows.push(row.fixed_by(move || Ok(dead.iter().try_for_each(|m| store.roots().remove(m))?)));
    }
    let away = sight.roots.iter().filter(|r| r.state == RootState::Away && r.held.is_none());
    let away: Vec<&Path> = away.filter_map(|r| r.manifest.as_deref()?.parent()?.parent()).collect();
    if let [first, ..] = &away[..] {
        let words = format!("{} of worktrees that are away, as {}; gc keeps what they need", away.len(), first.shown());
        let remedy = format!(
            "mount the disk that holds it, or run git worktree repair in a repository that was moved; depsfs gc --forget {} \
             lets go of one that never comes back",
            shell(first)
        );
        rows.push(Row::warn("roots", words, remedy));
    }
    for root in &sight.roots {
        let RootState::Unreadable(why) = &root.state else { continue };
        let file = root.manifest.as_ref().unwrap_or(&root.file);
        let words = format!("{} cannot be read: {why}; gc deletes nothing until that is settled", file.shown());
        let remedy = match &root.manifest {
            Some(_) => format!("use the depsfs that made it, or remove {} and its worktree", file.shown()),
            None => format!("remove {}, then depsfs mount in each worktree makes it anew", file.shown()),
        };
        rows.push(Row::fail("roots", words, remedy));
    }
    rows
}
