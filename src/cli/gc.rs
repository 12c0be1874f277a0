//! `depsfs gc`.

use clap::Args;
use serde_json::json;

use super::output::{self, count, size};
use super::places;
use super::progress::Bar;
use super::report::Failure;
use crate::store::{GcOptions, GcReport};
use crate::sys::fs::Timespec;
use crate::sys::interrupt;

/// Delete from the store what no worktree and no recent entry needs
///
/// Kept is what any known worktree of any repository shares, and what entries name that were used lately. Refused
/// while something is added to the store.
#[derive(Args)]
pub struct Gc {
    /// Print what would be freed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep entries used in the last N days
    #[arg(long, value_name = "N", default_value_t = 30)]
    keep_days: u32,
    /// Print a JSON object: dry_run, bytes, objects, trees, entries, dead_roots, live_roots, snapshots, temporaries
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::Output)?;
        let options = GcOptions { dry_run: self.dry_run, keep_days: self.keep_days, now: Timespec::now() };
        let report = places::store()?.gc(&options, &Bar::new())?;
        if self.json {
            return output::json(&json!({
                "dry_run": self.dry_run,
                "bytes": report.bytes,
                "objects": report.objects,
                "trees": report.trees,
                "entries": report.entries,
                "dead_roots": report.dead_roots.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>(),
                "live_roots": report.live_roots,
                "snapshots": report.snapshots,
                "temporaries": report.temporaries,
            }));
        }
        output::print(&words(&report, self.dry_run))
    }
}

fn words(report: &GcReport, dry_run: bool) -> String {
    let freed = if dry_run { "would free" } else { "freed" };
    let (objects, trees) = (count(report.objects, "object"), count(report.trees, "tree"));
    let mut text = format!("{freed} {}: {objects}, {trees}\n", size(report.bytes));
    report.entries.iter().for_each(|name| text += &format!("  entry:    {name}\n"));
    report.dead_roots.iter().for_each(|path| text += &format!("  worktree: {} is gone\n", path.display()));
    text + &format!("kept for {}\n", count(report.live_roots, "worktree"))
}
