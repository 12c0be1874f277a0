//! `depsfs list`: the worktrees that have views, of one repository or of all with a root in the store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::broken::Broken;
use super::error::WorktreeError;
use crate::git::checkout::Checkout;
use crate::store::{RootState, Store};
use crate::views::set::Views;

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
    /// Why it can't be used as it is, in words.
    pub trouble: Option<String>,
}

impl ListedWorktree {
    /// One of which no more is known than where its state is or was.
    fn unknown(state_dir: &Path, trouble: String) -> ListedWorktree {
        let path = state_dir.parent().unwrap_or(state_dir).to_path_buf();
        let (views, mounted) = (0, 0);
        ListedWorktree {
            path,
            branch: None,
            source: None,
            created: String::new(),
            views,
            mounted,
            trouble: Some(trouble),
        }
    }
}

/// The worktrees of one repository that have views, by path.
pub fn of_repository(checkout: &Checkout) -> Result<Vec<ListedWorktree>, WorktreeError> {
    let mut state_dirs: Vec<PathBuf> = vec![checkout.common_dir.join("depsfs")];
    state_dirs.extend(checkout.registered()?.into_iter().map(|(_, git_dir)| git_dir.join("depsfs")));
    listed(state_dirs)
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

fn listed(state_dirs: impl IntoIterator<Item = PathBuf>) -> Result<Vec<ListedWorktree>, WorktreeError> {
    let mut found = BTreeSet::new();
    for state_dir in state_dirs {
        if !crate::sys::path::is_there(&crate::views::set::manifest_file(&state_dir)) {
            continue;
        }
        let views = match Views::load(&state_dir) {
            Ok(views) => views,
            // One that can't be read does not hide the others.
            Err(e) => {
                found.insert(ListedWorktree::unknown(&state_dir, e.to_string()));
                continue;
            }
        };
        let mounted = views.manifest.views.iter().filter(|view| views.is_mounted(view)).count();
        let checkout = Checkout::at(&views.manifest.worktree);
        let branch = checkout.and_then(|found| found.map_or(Ok(None), |checkout| checkout.branch()));
        let broken = Broken::of_state(&state_dir, &views.manifest.worktree).unwrap_or_default();
        let broken = broken.map(|broken| broken.fault.words().to_owned());
        // The others became plain files when a user dropped their views.
        let still = views.manifest.views.iter().filter(|v| !views.is_dropped(v)).count();
        found.insert(ListedWorktree {
            path: views.manifest.worktree,
            trouble: broken.or(branch.as_ref().err().map(ToString::to_string)),
            branch: branch.unwrap_or_default(),
            source: views.manifest.source,
            created: views.manifest.created,
            views: still,
            mounted,
        });
    }
    Ok(found.into_iter().collect())
}
