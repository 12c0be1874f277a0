//! `depsfs list`: all worktrees of one repository, or of all repositories those that have a root in the store.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::broken::Broken;
use super::error::WorktreeError;
use super::find;
use crate::git::checkout::{Checkout, branch_of};
use crate::store::{RootState, Store};
use crate::sys::path;
use crate::views::set::{Views, manifest_file};
use crate::views::sharing::{self, SavedBytes};
use crate::views::{lockfile, private_bytes};

/// One worktree. Serialised as `--json` prints it.
#[derive(Debug, Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedWorktree {
    #[serde(serialize_with = "crate::views::json_path::path")]
    pub path: PathBuf,
    pub branch: Option<String>,
    #[serde(serialize_with = "crate::views::json_path::optional")]
    pub source: Option<PathBuf>,
    pub created: String,
    pub views: usize,
    pub mounted: usize,
    /// Whether it is the main checkout of its repository.
    pub is_main: bool,
    /// The disk space of its own files in its views; null if it could not be counted in time.
    pub private_bytes: Option<u64>,
    /// The size of the files that its views have from the store; null without views, or if a tree can't be read.
    pub shared_bytes: Option<u64>,
    /// The part of it that a copy would take on disk again (`depsfs help files`).
    pub saved_bytes: Option<u64>,
    /// Lock files that differ from those the artifacts were made with.
    #[serde(serialize_with = "crate::views::json_path::list")]
    #[schemars(with = "Vec<String>")]
    pub drift: Vec<PathBuf>,
    /// How many of the views are plain files.
    pub copies: usize,
    /// Why it can't be used as it is, in words.
    pub trouble: Option<String>,
}

impl ListedWorktree {
    /// One without views.
    fn without_views(path: PathBuf, trouble: Option<String>) -> ListedWorktree {
        ListedWorktree {
            path,
            branch: None,
            source: None,
            created: String::new(),
            views: 0,
            mounted: 0,
            copies: 0,
            is_main: false,
            private_bytes: None,
            shared_bytes: None,
            saved_bytes: None,
            drift: Vec::new(),
            trouble,
        }
    }

    /// One of which no more is known than where its state is or was.
    fn unknown(state_dir: &Path, trouble: String) -> ListedWorktree {
        let path = state_dir.parent().unwrap_or(state_dir).to_path_buf();
        ListedWorktree::without_views(path, Some(trouble))
    }

    /// Whether a view does not show what it should.
    pub fn is_incomplete(&self) -> bool {
        self.mounted + self.copies < self.views
    }
}

/// All worktrees of one repository: the main checkout, then the others by path.
///
/// # Errors
/// git's registrations can't be read.
pub fn of_repository(checkout: &Checkout) -> Result<Vec<ListedWorktree>, WorktreeError> {
    let (mut rows, mut with_views) = (Vec::new(), Vec::new());
    for worktree in find::all(checkout)? {
        let state_dir = worktree.git_dir.join("depsfs");
        let mut row = match path::is_there(&manifest_file(&state_dir)) {
            true => row(&state_dir, rows.len(), &mut with_views),
            false => {
                let broken = worktree.broken(checkout)?.map(|broken| broken.fault.words().to_owned());
                let branch = branch_of(&worktree.git_dir).ok().flatten();
                let branch = branch.map(|branch| branch.to_string_lossy().into_owned());
                ListedWorktree { branch, ..ListedWorktree::without_views(worktree.root, broken) }
            }
        };
        row.is_main = worktree.is_main;
        rows.push(row);
    }
    count(&mut rows, &with_views);
    Ok(rows)
}

/// Every worktree the store keeps trees for.
pub fn of_store(store: &Store) -> Result<Vec<ListedWorktree>, WorktreeError> {
    let (mut state_dirs, mut away) = (Vec::new(), Vec::new());
    for root in store.roots().list()? {
        let Some(state_dir) = root.manifest.as_deref().and_then(Path::parent) else { continue };
        match root.state {
            RootState::Away => away.push(ListedWorktree::unknown(
                state_dir,
                "it is away: its disk is not mounted, or it was moved".into(),
            )),
            _ => state_dirs.push(state_dir.to_path_buf()),
        }
    }
    let mut all = listed(state_dirs)?;
    all.extend(away);
    all.sort();
    Ok(all)
}

fn listed(mut state_dirs: Vec<PathBuf>) -> Result<Vec<ListedWorktree>, WorktreeError> {
    let (mut rows, mut with_views) = (Vec::new(), Vec::new());
    state_dirs.sort();
    state_dirs.dedup();
    for state_dir in state_dirs.iter().filter(|dir| path::is_there(&manifest_file(dir))) {
        let row = row(state_dir, rows.len(), &mut with_views);
        rows.push(row);
    }
    count(&mut rows, &with_views);
    rows.sort();
    Ok(rows)
}

/// The worktree of a manifest; its views are kept for [`count`].
fn row(state_dir: &Path, at: usize, with_views: &mut Vec<(usize, Views)>) -> ListedWorktree {
    let views = match Views::load(state_dir) {
        Ok(views) => views,
        // One that can't be read does not hide the others.
        Err(e) => return ListedWorktree::unknown(state_dir, e.to_string()),
    };
    let manifest = &views.manifest;
    let mounted = views.mounted().count();
    let checkout = Checkout::at(&manifest.worktree);
    let branch = checkout.and_then(|found| found.map_or(Ok(None), |checkout| checkout.branch()));
    let broken = Broken::of_state(state_dir, &manifest.worktree).unwrap_or_default();
    let broken = broken.map(|broken| broken.fault.words().to_owned());
    let recorded = manifest.views.iter().flat_map(|view| &view.lockfiles);
    let drift = lockfile::drifted(&manifest.worktree, recorded.map(|file| (file.path.as_path(), file.blake3.as_str())));
    let listed = ListedWorktree {
        // Without its git directory, a worktree looks like a directory that entries are mounted at.
        path: if broken.is_some() { manifest.worktree.clone() } else { views.top() },
        trouble: broken.or(branch.as_ref().err().map(ToString::to_string)),
        branch: branch.unwrap_or_default().map(|branch| branch.to_string_lossy().into_owned()),
        source: manifest.source.clone(),
        created: manifest.created.clone(),
        // The others became plain files when a user dropped their views.
        views: manifest.views.iter().filter(|view| !views.is_dropped(view)).count(),
        mounted,
        copies: manifest.views.iter().filter(|view| view.is_copy()).count(),
        is_main: false,
        private_bytes: None,
        shared_bytes: None,
        saved_bytes: None,
        drift: drift.map(|files| files.into_iter().collect()).unwrap_or_default(),
    };
    with_views.push((at, views));
    listed
}

/// The sum of what all worktrees of a store save.
///
/// # Errors
/// The roots of the store can't be read.
pub fn saved_in(store: &Store) -> Result<SavedBytes, WorktreeError> {
    let roots = store.roots().list()?;
    let live = roots.iter().filter(|root| matches!(root.state, RootState::Live(_)));
    let state_dirs = live.filter_map(|root| root.manifest.as_deref().and_then(Path::parent));
    let views: Vec<Views> = state_dirs.filter_map(|dir| Views::load(dir).ok()).collect();
    let views: Vec<&Views> = views.iter().filter(|views| !views.manifest.views.is_empty()).collect();
    Ok(SavedBytes::of(sharing::of_all(&views).into_iter().map(|bytes| bytes.map(|bytes| bytes.saved))))
}

/// Counts the private bytes of all at the same time.
fn count(rows: &mut [ListedWorktree], with_views: &[(usize, Views)]) {
    let all: Vec<&Views> = with_views.iter().map(|(_, views)| views).collect();
    for ((at, _), bytes) in with_views.iter().zip(private_bytes::of_all(&all)) {
        rows[*at].private_bytes = bytes;
    }
    for ((at, _), bytes) in with_views.iter().zip(sharing::of_all(&all)) {
        rows[*at].shared_bytes = bytes.map(|bytes| bytes.shared);
        rows[*at].saved_bytes = bytes.map(|bytes| bytes.saved);
    }
}
