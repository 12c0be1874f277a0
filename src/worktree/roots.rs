//! The paths of this machine that a repository is checked out at.

use std::path::PathBuf;

use super::error::WorktreeError;
use crate::git::RepositoryError;
use crate::git::checkout::Checkout;

/// The tops of all checkouts of a repository: the main one, and the registered worktrees, there or not.
///
/// # Errors
/// git's registrations cannot be read.
pub fn roots(checkout: &Checkout) -> Result<Vec<PathBuf>, WorktreeError> {
    let mut roots: Vec<PathBuf> = checkout.registered()?.into_iter().map(|(root, _)| root).collect();
    roots.extend(checkout.main().map_err(RepositoryError::from)?.map(|main| main.root));
    roots.push(checkout.root.clone());
    roots.sort();
    roots.dedup();
    Ok(roots)
}
