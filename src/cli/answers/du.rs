//! The answer of `depsfs du`.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::JsonPath;
use crate::worktree::list::ListedWorktree;

/// `depsfs du`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DuAnswer {
    pub worktrees: Vec<DuRowAnswer>,
    pub total: DuTotalAnswer,
    pub store: JsonPath,
    /// The disk space of the whole store, with what no worktree shows.
    pub store_bytes: u64,
}

/// The disk space of one worktree.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DuRowAnswer {
    pub path: JsonPath,
    /// Its own files in its views, on disk; null if they could not be counted in time.
    pub private_bytes: Option<u64>,
    /// The size of the files that its views have from the store; null if a tree can't be read.
    pub shared_bytes: Option<u64>,
    /// The part of it that a copy would take on disk again.
    pub saved_bytes: Option<u64>,
    /// The reason why it can't be used as it is.
    pub trouble: Option<String>,
}

/// The sums.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct DuTotalAnswer {
    pub worktrees: u64,
    pub private_bytes: u64,
    /// Each file of the store once: all copies would take this and `saved_bytes`.
    pub shared_bytes: u64,
    pub saved_bytes: u64,
}

impl From<&ListedWorktree> for DuRowAnswer {
    fn from(listed: &ListedWorktree) -> DuRowAnswer {
        DuRowAnswer {
            path: listed.path.as_path().into(),
            private_bytes: listed.private_bytes,
            shared_bytes: listed.shared_bytes,
            saved_bytes: listed.saved_bytes,
            trouble: listed.trouble.clone(),
        }
    }
}

impl DuAnswer {
    /// The rows, with their sums.
    pub fn of(rows: Vec<DuRowAnswer>, store: &Path, store_bytes: u64) -> DuAnswer {
        let sum = |of: fn(&DuRowAnswer) -> Option<u64>| rows.iter().filter_map(of).sum::<u64>();
        let saved_bytes = sum(|row| row.saved_bytes);
        let total = DuTotalAnswer {
            worktrees: rows.iter().filter(|row| row.shared_bytes.is_some()).count() as u64,
            private_bytes: sum(|row| row.private_bytes),
            shared_bytes: sum(|row| row.shared_bytes).saturating_sub(saved_bytes),
            saved_bytes,
        };
        DuAnswer { worktrees: rows, total, store: store.into(), store_bytes }
    }
}
