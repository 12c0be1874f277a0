//! `depsfs gc`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{GcAnswer, git_dir};
use super::cache::environment;
use super::output::{self, count, size};
use super::overview;
use super::places;
use super::progress::Bar;
use super::record;
use super::report::Failure;
use crate::cache;
use crate::store::{GcOptions, GcReport};
use crate::sys::fs::Timespec;
use crate::sys::interrupt;
use crate::sys::log::OrWarn;
use crate::sys::terminal::DisplayName;
use crate::worktree::list;

const EXAMPLES: &str = "Examples:
  depsfs gc --dry-run
  depsfs gc --keep-days 7";

/// Delete from the store what no worktree and no recent entry needs
///
/// Kept is what any known worktree of any repository shares, and what entries name that were used lately. A worktree
/// that is not there, and whose repository is not there either, may come back (a disk that is not mounted, a directory
/// that was moved): what it needs is kept, without a limit of time, and its path and size are printed. --forget lets go
/// of it. Tarballs in $CACHE_LOCAL_DIR that were not used lately are deleted, too. Refused while something is added to
/// the store.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Gc {
    /// Print what would be freed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep entries and tarballs used in the last N days
    #[arg(long, value_name = "N", default_value_t = 30)]
    keep_days: u32,
    /// Let go of worktrees that are away: PATH is what gc prints for one, or a directory above; may be given often
    #[arg(long, value_name = "PATH")]
    forget: Vec<PathBuf>,
}

const CLEANED: &str = "the store was cleaned up";

impl Gc {
    /// Prints the freed bytes and what was deleted for them. While an import or a create runs, it fails and deletes
    /// nothing.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let options = GcOptions { dry_run: self.dry_run, keep_days: self.keep_days, now: Timespec::now() };
        let forget = self.forget.iter().map(|path| plain(path)).collect::<Result<Vec<PathBuf>, Failure>>()?;
        let store = places::store()?;
        if !self.dry_run {
            record::begin("gc", store.path());
        }
        let report = store.gc_forgetting(&options, &forget, &Bar::new())?;
        record::detail(format!("freed {}", size(report.bytes)));
        let tarballs = self.tarballs(options.now)?;
        let saved = list::saved_in(&store).or_warn("the saved space is not counted").unwrap_or_default();
        let answer = GcAnswer::of(&report, self.dry_run, &tarballs.0, saved);
        let text = || words(&report, &tarballs, self.dry_run) + &overview::saved_line(saved).unwrap_or_default();
        if self.dry_run { output::answer(&answer, text) } else { output::done_answer(CLEANED, &answer, text) }
    }

    /// Those in `CACHE_LOCAL_DIR` that are deleted, and their bytes.
    fn tarballs(&self, now: Timespec) -> Result<(Vec<String>, u64), Failure> {
        let Some(dir) = environment().local_dir else { return Ok((Vec::new(), 0)) };
        let since = Timespec { sec: now.sec - i64::from(self.keep_days) * 86_400, ..now };
        Ok(cache::sweep(&dir, since, self.dry_run)?)
    }
}

/// Absolute, without `..`; it need not be there.
fn plain(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path).map_err(crate::sys::IoError::of("resolve", path))?;
    Ok(crate::git::checkout::plain(&absolute))
}

fn words(report: &GcReport, tarballs: &(Vec<String>, u64), dry_run: bool) -> String {
    let freed = if dry_run { "would free" } else { "freed" };
    let (objects, trees) = (count(report.objects, "object"), count(report.trees, "tree"));
    let mut text = format!("{freed} {}: {objects}, {trees}\n", size(report.bytes));
    report.entries.iter().for_each(|name| text += &format!("  entry:    {name}\n"));
    report.dead_roots.iter().for_each(|path| text += &format!("  worktree: {} is gone\n", path.shown()));
    for path in &report.forgotten {
        text += &format!("  worktree: {} is let go of\n", git_dir(path).shown());
    }
    for away in &report.away {
        let path = git_dir(&away.manifest).shown();
        text += &format!("  away:     {path} is not there; kept for it: {}\n", size(away.bytes));
    }
    if !report.away.is_empty() {
        text += "            mount its disk, or run git worktree repair in a repository that was moved;\n";
        text += "            depsfs gc --forget PATH lets go of one that never comes back\n";
    }
    if !tarballs.0.is_empty() {
        let n = count(tarballs.0.len() as u64, "tarball");
        text += &format!("  CACHE_LOCAL_DIR: {n}, {}\n", size(tarballs.1));
    }
    text + &format!("kept for {}\n", count(report.live_roots, "worktree"))
}
