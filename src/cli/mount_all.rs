//! `depsfs mount --all` and `depsfs unmount --all`: every worktree that the store knows.

use std::path::Path;

use super::report::Failure;
use super::{output, places, report};
use crate::store::Store;
use crate::sys::log::OrWarn;
use crate::sys::terminal::DisplayName;
use crate::views::all_worktrees::{self, DetachOutcome};
use crate::worktree::relocation;

/// Mounts each, and tells of each; how many are mounted, and how many could not be.
pub fn mount(store: &Store, states: Option<&Path>) -> Result<(usize, usize), Failure> {
    let (mut mounted, mut failed, mut reported) = (0, 0, Ok(()));
    for known in all_worktrees::known(store, states)? {
        let place = known.place.shown().to_string();
        if let Some(views) = known.views() {
            relocation::follow(&views).or_warn("files keep the path that the worktree had before it was moved");
        }
        match known.mount() {
            DetachOutcome::Done => {
                mounted += 1;
                reported = reported.and(output::done("the views were mounted", &format!("mounted {place}\n")));
            }
            DetachOutcome::Gone => {
                let line = format!("gone    {place} (depsfs doctor --fix forgets it)\n");
                reported = reported.and(output::done("the others were mounted", &line));
            }
            DetachOutcome::Away => {
                let line = format!("away    {place} (on a disk that is not mounted, or moved)\n");
                reported = reported.and(output::done("the others were mounted", &line));
            }
            DetachOutcome::Failed(e) => {
                failed += 1;
                report::print(&format!("{place} is not mounted"), &e.into());
            }
        }
    }
    reported.map(|()| (mounted, failed))
}

/// Unmounts each that nobody uses; those in use stay.
pub fn unmount() -> Result<(), Failure> {
    let mut reported = Ok(());
    for known in all_worktrees::known(&places::store()?, places::states().ok().as_deref())? {
        let place = known.place.shown().to_string();
        match known.unmount() {
            DetachOutcome::Done => {
                reported = reported.and(output::done("the views were unmounted", &format!("unmounted {place}\n")));
            }
            DetachOutcome::Gone | DetachOutcome::Away => {}
            DetachOutcome::Failed(e) => drop(report::print(&format!("{place} stays mounted"), &e.into())),
        }
    }
    reported
}
