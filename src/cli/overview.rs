//! The table of worktrees that `depsfs list` prints, and `depsfs status` in a main checkout.

use super::units::{age, count, size};
use crate::sys::fs::Timespec;
use crate::sys::terminal::DisplayName;
use crate::sys::time;
use crate::views::sharing::SavedBytes;
use crate::worktree::list::ListedWorktree;

const HEADINGS: [&str; 6] = ["worktree", "branch", "views", "private", "drift", "age"];
const ABSENT: &str = "-";

/// One line for each worktree below the headings, aligned; nothing without a worktree.
pub fn table(listed: &[ListedWorktree]) -> String {
    if listed.is_empty() {
        return String::new();
    }
    let now = Timespec::now();
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(listed.iter().map(|worktree| {
        let mut row = cells(worktree, now).to_vec();
        row.extend(worktree.trouble.as_ref().map(|why| format!("({})", why.shown())));
        row
    }));
    aligned(&rows) + &saved(listed).unwrap_or_default()
}

/// The line for what worktrees save together, if there is one with views.
pub fn saved(listed: &[ListedWorktree]) -> Option<String> {
    saved_line(SavedBytes::of(listed.iter().map(|worktree| worktree.saved_bytes)))
}

/// As [`saved`], for a sum.
pub fn saved_line(saved: SavedBytes) -> Option<String> {
    let worktrees = count(saved.worktrees, "worktree");
    (saved.worktrees > 0).then(|| format!("saved {} in {worktrees}\n", size(saved.bytes)))
}

/// The rows of a table in columns. The last cell of a row is not padded.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn cells(worktree: &ListedWorktree, now: Timespec) -> [String; 6] {
    let absent = || ABSENT.to_owned();
    let drift = match worktree.drift.len() {
        0 => absent(),
        n => count(n as u64, "file"),
    };
    [
        worktree.path.shown().to_string(),
        worktree.branch.as_deref().map_or_else(absent, |branch| branch.shown().to_string()),
        match (worktree.copies, worktree.views.saturating_sub(worktree.copies)) {
            (0, 0) => absent(),
            (0, views) => format!("{}/{views}", worktree.mounted),
            (copies, 0) => format!("{copies} plain"),
            (copies, views) => format!("{}/{views}, {copies} plain", worktree.mounted),
        },
        worktree.private_bytes.map_or_else(absent, size),
        drift,
        time::since(&worktree.created, now).map_or_else(absent, age),
    ]
}
