//! `depsfs list`: the worktrees that have views, of one repository or of all the store knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::checkout::Checkout;
use super::error::Error;
use super::views::Views;
use crate::store::Store;

/// One worktree. Serialised as `--json` prints it.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    #[serde(serialize_with = "super::lossy::path")]
    pub path: PathBuf,
    pub branch: Option<String>,
    #[serde(serialize_with = "super::lossy::optional")]
    pub source: Option<PathBuf>,
    pub created: String,
    pub views: usize,
    pub mounted: usize,
}

/// The worktrees of one repository that have views, by path.
pub fn of_repository(checkout: &Checkout) -> Result<Vec<Listed>, Error> {
    let mut state_dirs: Vec<PathBuf> = vec![checkout.common_dir.join("depsfs")];
    state_dirs.extend(checkout.registered()?.into_iter().map(|(_, git_dir)| git_dir.join("depsfs")));
    listed(state_dirs)
}

/// Every worktree the store keeps trees for.
pub fn of_store(store: &Store) -> Result<Vec<Listed>, Error> {
    let manifests = store.roots().list()?.into_iter().filter_map(|root| root.manifest);
    listed(manifests.filter_map(|file| file.parent().map(Path::to_path_buf)))
}

fn listed(state_dirs: impl IntoIterator<Item = PathBuf>) -> Result<Vec<Listed>, Error> {
    let mut found = BTreeSet::new();
    for state_dir in state_dirs {
        if !crate::sys::path::is_there(&super::views::manifest_file(&state_dir)) {
            continue;
        }
        let views = Views::load(&state_dir)?;
        let mounted = views.state().map_or(0, |s| s.views.iter().filter(|v| v.mounted).count());
        let branch = match Checkout::at(&views.manifest.worktree)? {
            Some(checkout) => checkout.branch()?,
            None => None,
        };
        found.insert(Listed {
            path: views.manifest.worktree,
            branch,
            source: views.manifest.source,
            created: views.manifest.created,
            views: views.manifest.views.len(),
            mounted,
        });
    }
    Ok(found.into_iter().collect())
}
