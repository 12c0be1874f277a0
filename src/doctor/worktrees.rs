//! Worktrees that are gone without `depsfs remove`, and roots of the store that name nothing any more.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{DoctorFacts, Row, is_in_fuse};
use crate::daemon::client;
use crate::git::checkout::Checkout;
use crate::store::manifest::Shape;
use crate::store::{Absence, RootState, Store};
use crate::sys::mountinfo::MountPoint;
use crate::sys::terminal::{DisplayName, shell_word};
use crate::sys::{IoError, mount, path, process, thread};
use crate::views::set::{self, Views};
use crate::worktree::broken::{Broken, Fault};
use crate::worktree::unfinished::Killed;
use crate::worktree::{Risk, WorktreeError, remove, sole_holder};

/// The time within which one more of the worktrees that may hang has to answer.
const LOOKED_FOR: Duration = Duration::from_secs(2);

/// Rows of worktrees that are gone or broken, of creates that were killed, and of roots that belong to no worktree.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    let mut rows = gone(sight);
    rows.extend(headless(sight));
    rows.extend(unfinished(sight));
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

/// Worktrees of which something is gone while their manifests are there.
fn gone(sight: &DoctorFacts) -> Vec<Row> {
    let (mut rows, mut until) = (Vec::new(), Instant::now() + LOOKED_FOR);
    for (state_dir, manifest) in sight.worktrees() {
        let place = Views { state_dir: state_dir.clone(), manifest: manifest.clone() }.top();
        let is_own_view = |m: &MountPoint| m.kind == mount::KIND && m.path == place;
        let is_view = manifest.shape == Shape::Worktree && sight.mounts.iter().any(is_own_view);
        if is_in_fuse(&sight.mounts, &place) && !is_view {
            continue;
        }
        // A worktree that is one view may be dead, closed or hang: that is another check's to report.
        let looked = (state_dir.clone(), place.clone());
        let look = move || (Broken::of_state(&looked.0, &looked.1).transpose(), path::is_there(&looked.1));
        let looked = match is_view {
            true => thread::within(until.saturating_duration_since(Instant::now()), look),
            false => Some(look()),
        };
        if looked.is_some() {
            until = Instant::now() + LOOKED_FOR;
        }
        let found = match looked.unwrap_or((None, true)) {
            (Some(Err(_)), _) if is_view => None,
            (Some(broken), _) => broken_row(sight, &state_dir, &place, broken),
            (None, false) => gone_row(sight, &state_dir, &place, None),
            (None, true) => None,
        };
        rows.extend(found);
    }
    rows
}

fn broken_row(sight: &DoctorFacts, state_dir: &Path, place: &Path, broken: Result<Broken, IoError>) -> Option<Row> {
    let broken = match broken {
        Ok(broken) => broken,
        Err(e) => {
            return Some(Row::warn(
                "worktrees",
                format!("{} cannot be looked at: {e}", place.shown()),
                "git worktree list",
            ));
        }
    };
    let remove = format!("depsfs remove {}", shell_word(&broken.root));
    let words = format!("{} is broken: {}", broken.root.shown(), broken.fault.words());
    match broken.fault {
        Fault::NoPlace => gone_row(sight, state_dir, &broken.root.clone(), Some(broken)),
        Fault::NoDotGit | Fault::EmptyDotGit => {
            let remedy = format!("git -C {} worktree repair", shell_word(&broken.common_dir));
            Some(Row::warn("worktrees", words, remedy).fixed_by(move || broken.repair().map(drop)))
        }
        Fault::Taken | Fault::NoGitDir => Some(Row::warn("worktrees", words, remove)),
    }
}

/// Its directory is gone: deleted, moved, or on a disk that is not mounted.
fn gone_row(sight: &DoctorFacts, state_dir: &Path, place: &Path, broken: Option<Broken>) -> Option<Row> {
    let words = format!("{} is gone, and was not removed by depsfs", place.shown());
    let let_go = match &broken {
        Some(_) => format!("depsfs remove {}", shell_word(place)),
        None => format!("rm -r {}", shell_word(state_dir)),
    };
    // A disk that is not mounted may come back, with all that was written.
    if !matches!(Absence::of(place), Ok(Absence::Gone)) {
        let remedy = format!("mount the disk that holds {}, or {let_go}", place.shown());
        return Some(Row::warn("worktrees", words, remedy));
    }
    let store = sight.store.clone()?;
    let Some(broken) = broken else {
        let (state_dir, row) = (state_dir.to_path_buf(), Row::warn("worktrees", words, let_go));
        return Some(row.fixed_by(move || forget(&store, &state_dir)));
    };
    match only_there(&broken) {
        Ok(kept) if kept.is_empty() => {
            Some(Row::warn("worktrees", words, let_go).fixed_by(move || broken.remove(true)))
        }
        kept => {
            let kept = kept.unwrap_or_else(|e| vec![format!("its git directory cannot be looked at: {e}")]);
            let words = format!("{words}; its git directory is kept, as it alone has: {}", super::few(&kept));
            let git = shell_word(&broken.common_dir);
            let remedy = format!("git -C {git} worktree repair PATH, where it is now; or {let_go}");
            Some(Row::warn("worktrees", words, remedy))
        }
    }
}

/// The work that only a worktree without its directory still holds: commits, staged changes, journals of its views; or
/// the lock that its user has set.
fn only_there(broken: &Broken) -> Result<Vec<String>, WorktreeError> {
    let mut kept: Vec<String> = broken.risks()?.iter().map(Risk::words).collect();
    if let Err(e) = remove::refuse_lock(&broken.root, &broken.git_dir) {
        kept.push(e.to_string());
    }
    match sole_holder::journals(&broken.git_dir)? {
        0 => {}
        n => kept.push(format!("deletions and moves in {n} of its views")),
    }
    Ok(kept)
}

/// The state of a directory without git.
fn forget(store: &Store, state_dir: &Path) -> Result<(), WorktreeError> {
    client::unmount(state_dir, true)?;
    path::remove_tree(state_dir)?;
    Ok(store.roots().remove(&set::manifest_file(state_dir))?)
}

/// Worktrees whose git directory is gone while their views are still mounted.
fn headless(sight: &DoctorFacts) -> Vec<Row> {
    let held = sight.roots.iter().filter(|r| r.state == RootState::Dead && r.held.is_some());
    let held: Vec<&Path> = held.filter_map(|r| r.manifest.as_deref()?.parent()?.parent()).collect();
    if held.is_empty() {
        return Vec::new();
    }
    // Their daemon's views are those that lie around a `.git` file which leads there.
    let tops = sight.mounts.iter().filter(|m| m.kind == mount::KIND).flat_map(|m| m.path.ancestors());
    let mut all = broken_at(sight, tops.collect());
    let mut rows = Vec::new();
    for git_dir in held {
        let Some(at) = all.iter().position(|broken| broken.git_dir == git_dir) else { continue };
        let broken = all.remove(at);
        let words = format!("{}: {}, and views are mounted in it", broken.root.shown(), broken.fault.words());
        let row = Row::warn("worktrees", words, format!("depsfs remove {}", shell_word(&broken.root)));
        rows.push(row.fixed_by(move || broken.unmount(true)));
    }
    rows
}

/// The broken worktrees at some directories. Those that may be views themselves are looked at with a time limit for all.
fn broken_at(sight: &DoctorFacts, dirs: BTreeSet<&Path>) -> Vec<Broken> {
    let (views, plain): (Vec<&Path>, Vec<&Path>) = dirs.into_iter().partition(|dir| is_in_fuse(&sight.mounts, dir));
    let looks = views.into_iter().map(|dir| {
        let place = dir.to_path_buf();
        move || Broken::at(&place).ok().flatten()
    });
    let in_views = thread::all_within(LOOKED_FOR, looks).into_iter().flatten();
    plain.into_iter().filter_map(|dir| Broken::at(dir).ok().flatten()).chain(in_views).collect()
}

/// Worktrees that a create was making when it was killed, in this repository and in those that are known.
fn unfinished(sight: &DoctorFacts) -> Vec<Row> {
    let mut repositories: BTreeSet<PathBuf> = sight.worktrees().filter_map(|(dir, _)| repository(&dir)).collect();
    let here = sight.here.as_deref().filter(|here| !is_in_fuse(&sight.mounts, here));
    repositories.extend(here.and_then(|here| Checkout::containing(here).ok().flatten()).map(|here| here.common_dir));
    let mut rows = Vec::new();
    for killed in repositories.iter().flat_map(|common_dir| Killed::all(common_dir).unwrap_or_default()) {
        let words =
            format!("{} was being created by process {}, which is gone", killed.worktree().shown(), killed.pid());
        let row = Row::warn("worktrees", words, format!("depsfs remove {}", shell_word(killed.worktree())));
        rows.push(row.fixed_by(move || killed.take_back().map(drop)));
    }
    rows
}

/// The repository of a state directory: the shared git directory of a linked worktree, else the one that it is in.
fn repository(state_dir: &Path) -> Option<PathBuf> {
    let git_dir = state_dir.parent()?;
    match path::read_if_there(&git_dir.join("commondir")).ok()? {
        Some(line) => path::canonical(&git_dir.join(OsStr::from_bytes(line.trim_ascii()))).ok(),
        None => Some(git_dir.to_path_buf()),
    }
}

fn orphans(sight: &DoctorFacts) -> Vec<Row> {
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
        let words = format!("{} of worktrees that are away, as {}; gc keeps their trees", away.len(), first.shown());
        let remedy = format!(
            "mount the disk that holds it, or run git worktree repair in a repository that was moved; depsfs gc --forget {} \
             lets go of one that never comes back",
            shell_word(first)
        );
        rows.push(Row::warn("roots", words, remedy));
    }
    for root in &sight.roots {
        let RootState::Unreadable(why) = &root.state else { continue };
        let file = root.manifest.as_ref().unwrap_or(&root.file);
        let words = format!("{} cannot be read: {why}; gc deletes nothing until that is settled", file.shown());
        let owner = path::stat(file).ok().flatten().map(|stat| stat.uid);
        let remedy = match &root.manifest {
            _ if owner.is_some_and(|uid| uid != process::user()) => {
                format!("it is not yours: ask its owner, user {}", owner.unwrap_or_default())
            }
            Some(_) => format!("use the depsfs that made it, or remove {} and its worktree", file.shown()),
            None => format!("remove {}, then depsfs mount in each worktree makes it anew", file.shown()),
        };
        rows.push(Row::fail("roots", words, remedy));
    }
    rows
}
