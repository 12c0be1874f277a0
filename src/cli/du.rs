//! `depsfs du`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{DuAnswer, DuRowAnswer};
use super::overview::{self, aligned};
use super::report::Failure;
use super::units::size;
use super::{named, output, places};
use crate::git::checkout::Checkout;
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::views::private_bytes;
use crate::worktree::WorktreeError;
use crate::worktree::list::{self, ListedWorktree};

const EXAMPLES: &str = "Examples:
  depsfs du
  depsfs du fix-login
  depsfs du --all --json | jq .total.saved_bytes";

/// Show the disk space that worktrees take, share and save
///
/// One line for each worktree with views. private: its own files in them, on disk. shared: the files that they show from
/// the store. saved: the part of it that a copy would take on disk again; the bytes of the store are divided among the
/// worktrees that show them, so that the column adds up, and a single worktree saves none. The last lines are the sums, and
/// the store on disk.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Du {
    /// Only this worktree: its name, its branch, or any path in it [default: all of the repository]
    #[arg(conflicts_with = "all")]
    worktree: Option<PathBuf>,
    /// Show those of all repositories
    #[arg(long)]
    all: bool,
}

impl Du {
    /// Prints the table.
    ///
    /// # Errors
    /// The registrations of git, or the roots of the store, can't be read.
    pub fn run(self) -> Result<(), Failure> {
        let only = match &self.worktree {
            Some(word) => Some(named::views(Some(word))?.top()),
            None => None,
        };
        let place = only.as_deref().unwrap_or(Path::new("."));
        let mut listed = match Checkout::of_any_repository(place).map_err(WorktreeError::from)? {
            Some(checkout) if !self.all => list::of_repository(&checkout)?,
            _ => list::of_store(&places::store()?)?,
        };
        listed.retain(|row| row.views > 0 || row.shared_bytes.is_some() || row.trouble.is_some());
        listed.retain(|row| only.as_ref().is_none_or(|only| row.path == *only));
        let store = places::store_path()?;
        let store_bytes = if path::is_dir(&store) { private_bytes::below(&store)? } else { 0 };
        let rows: Vec<DuRowAnswer> = listed.iter().map(DuRowAnswer::from).collect();
        let answer = DuAnswer::of(rows, store.as_path(), store_bytes);
        output::answer(&answer, || text(&listed, &answer, &store))
    }
}

fn text(listed: &[ListedWorktree], answer: &DuAnswer, store: &Path) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or("-".into(), size);
    let row = |name: String, private, shared, saved| vec![name, bytes(private), bytes(shared), bytes(saved)];
    let mut rows = vec![["worktree", "private", "shared", "saved"].map(str::to_owned).to_vec()];
    rows.extend(listed.iter().map(|worktree| {
        let mut row =
            row(worktree.path.shown().to_string(), worktree.private_bytes, worktree.shared_bytes, worktree.saved_bytes);
        row.extend(worktree.trouble.as_ref().map(|why| format!("({})", why.shown())));
        row
    }));
    let total = &answer.total;
    let of = |bytes| Some(bytes);
    rows.push(row("in all".into(), of(total.private_bytes), of(total.shared_bytes), of(total.saved_bytes)));
    let store = format!("store:   {} in {}\n", size(answer.store_bytes), store.shown());
    aligned(&rows) + &store + &overview::saved(listed).unwrap_or_default()
}
