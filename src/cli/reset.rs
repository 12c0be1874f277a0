//! `depsfs reset`.

use std::path::PathBuf;

use clap::Args;

use super::answers::{DifferenceAnswer, ResetAnswer};
use super::confirm::{confirm, is_yes};
use super::output::{self, count};
use super::record;
use super::report::Failure;
use super::unmount::say_held;
use super::{named, places};
use crate::store::manifest::joined;
use crate::sys::terminal::DisplayName;
use crate::views::diff::{Difference, Differences};
use crate::views::{reset, thaw};
use crate::worktree::relocation;

const EXAMPLES: &str = "Examples:
  depsfs reset node_modules                # lists what would be lost, and asks
  depsfs reset --dry-run .                 # only lists
  depsfs reset fix-login build --yes       # in another worktree, without a question";

/// Make paths of views again what the store says
///
/// Additions and changes of the worktree there are dropped, and deleted files come back. The list is printed first.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
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
    /// Prints the user's changes below all paths, asks, and drops them. Nothing is dropped before every path was
    /// checked.
    pub fn run(self) -> Result<(), Failure> {
        let (mut all, mut changes) = (Vec::new(), Vec::new());
        for path in named::paths(&self.paths)?.or_top() {
            let views = places::views_at(&path)?;
            let targets = views.targets(&path)?;
            let own = {
                // It may keep an unmounted view open, which the checks below open for themselves.
                let differences = Differences::of(&views);
                let own = |(view, inside): &(_, PathBuf)| relocation::own_changes(&differences, view, inside);
                targets.iter().map(own).collect::<Result<Vec<_>, _>>()?
            };
            for ((view, inside), found) in targets.into_iter().zip(own) {
                if found.is_empty() {
                    thaw::check(&views, &view, &inside)?;
                }
                changes.extend(found);
                all.push((views.clone(), view, inside));
            }
        }
        let lost = changes.len() as u64;
        let line = |(kind, path): &(Difference, PathBuf)| format!("{} {}\n", kind.letter(), path.shown());
        let listed: String = changes.iter().map(line).collect();
        let dropped = format!("dropped {}\n", count(lost, "change"));
        let answer = |confirmed| ResetAnswer {
            dry_run: self.dry_run,
            confirmed,
            changes: changes.iter().map(DifferenceAnswer::from).collect(),
        };
        if self.dry_run {
            return output::answer(&answer(true), || output::dry(true, listed + &dropped));
        }
        // People read the list before they are asked; with JSON it is a part of the answer.
        match output::is_json() {
            true if is_yes() => {}
            true => listed.lines().for_each(output::note),
            false => output::print(&listed)?,
        }
        if lost > 0 && !confirm(&format!("Drop {}?", count(lost, "change")))? {
            return output::answer(&answer(false), || "nothing changed\n".into());
        }
        for (views, view, inside) in &all {
            record::begin("reset", &views.manifest.store);
            record::concerns(&views.place(view).join(inside));
            let kept = reset::kept_elsewhere(views, view, inside)?;
            say_held(reset::reset(views, view, inside)?, "that copy answers errors from now on");
            for path in kept {
                let from = joined(&view.path, inside);
                output::note(&format!(
                    "note: {} keeps what was moved out of {}, as plain files",
                    path.shown(),
                    from.shown()
                ));
            }
            relocation::again(views, view, inside)?;
            record::changed();
        }
        record::detail(format!("dropped {}", count(lost, "change")));
        output::done_answer("the changes were dropped", &answer(true), || dropped)
    }
}
