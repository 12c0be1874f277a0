//! The table of worktrees that `depsfs list` prints, and `depsfs status` in a main checkout.

use super::units::{age, count, size};
use crate::sys::fs::Timespec;
use crate::sys::terminal::DisplayName;
use crate::sys::time;
use crate::worktree::list::ListedWorktree;

const HEADINGS: [&str; 6] = ["worktree", "branch", "views", "private", "drift", "age"];
const ABSENT: &str = "-";

/// One line for each worktree below the headings, aligned; nothing without a worktree.
pub fn table(listed: &[ListedWorktree]) -> String {
    if listed.is_empty() {
        return String::new();
    }
    let now = Timespec::now();
    let mut rows = vec![(HEADINGS.map(str::to_owned), String::new())];
    rows.extend(listed.iter().map(|worktree| {
        let trouble = worktree.trouble.as_ref().map(|why| format!("  ({})", why.shown())).unwrap_or_default();
        (cells(worktree, now), trouble)
    }));
    let width = |column: usize| rows.iter().map(|(row, _)| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |(row, trouble): &([String; 6], String)| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{}{trouble}\n", line.trim_end())
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
