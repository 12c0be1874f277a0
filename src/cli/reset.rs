//! `depsfs reset`.

use std::path::PathBuf;

use clap::Args;

use super::confirm::confirm;
use super::output::{self, count};
use super::report::Failure;
use super::unmount::say_held;
use super::{named, places};
use crate::sys::terminal::DisplayName;
use crate::views::{reset, thaw};
use crate::worktree::relocation;

/// Make paths of views again what the store says
///
/// Additions and changes of the worktree there are dropped, and deleted files come back. The list is printed first.
#[derive(Args)]
pub struct Reset {
    /// An artifact directory, a path below one, or a directory above some; after the name or branch of a worktree,
    /// paths in that one; without paths, all views of it
    #[arg(required = true, value_name = "WORKTREE|PATH")]
    paths: Vec<PathBuf>,
    /// Print what would be dropped, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Reset {
    pub fn run(self) -> Result<(), Failure> {
        let mut all = Vec::new();
        let mut lost = 0;
        if self.dry_run {
            output::print(output::DRY_RUN)?;
        }
        for path in named::paths(&self.paths)?.or_top() {
            let views = places::views_at(&path)?;
            for (view, inside) in views.targets(&path)? {
                let changes = relocation::own_changes(&views, &view, &inside)?;
                if changes.is_empty() {
                    thaw::check(&views, &view, &inside)?;
                }
                for (kind, path) in changes {
                    output::print(&format!("{} {}\n", kind.letter(), path.shown()))?;
                    lost += 1;
                }
                all.push((views.clone(), view, inside));
            }
        }
        let dropped = format!("dropped {}\n", count(lost, "change"));
        if self.dry_run {
            return output::print(&dropped);
        }
        if lost > 0 && !confirm(&format!("Drop {}?", count(lost, "change")))? {
            return output::print("nothing changed\n");
        }
        for (views, view, inside) in &all {
            say_held(reset::reset(views, view, inside)?, "that copy answers errors from now on");
            relocation::again(views, view, inside)?;
        }
        output::done("the changes were dropped", &dropped)
    }
}
