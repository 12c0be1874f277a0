//! `depsfs mount --all` and `depsfs unmount --all`: every worktree that the store knows.

use std::path::Path;

use super::answers::{JsonPath, MountAnswer, MountedAnswer, MountedState};
use super::report::Failure;
use super::{output, places, record, report};
use crate::store::Store;
use crate::sys::log::OrWarn;
use crate::sys::terminal::DisplayName;
use crate::views::all_worktrees::{self, DetachOutcome};
use crate::worktree::relocation;

/// The outcome for all worktrees.
pub struct AllMounted {
    pub mounted: usize,
    pub failed: usize,
    pub answer: MountAnswer,
}

/// Mounts each; without `--json` reports each at once.
pub fn mount(store: &Store, states: Option<&Path>) -> Result<AllMounted, Failure> {
    let (mut places, mut reported) = (Vec::new(), Ok(()));
    for known in all_worktrees::known(store, states)? {
        let at = known.place.clone();
        let (path, place) = (JsonPath::from(known.place.as_path()), known.place.shown().to_string());
        let views = known.views();
        let is_settled = views.as_ref().is_none_or(|v| v.manifest.views.iter().all(|view| v.is_settled(view)));
        if let Some(views) = views {
            relocation::follow(&views).or_warn("files keep the path that the worktree had before it was moved");
        }
        let (state, line) = match known.mount() {
            DetachOutcome::Done => {
                if !is_settled {
                    record::begin("mount --all", store.path());
                    record::concerns(&at);
                }
                (MountedState::Mounted, format!("mounted {place}\n"))
            }
            DetachOutcome::Gone => (MountedState::Gone, format!("gone    {place} (depsfs doctor --fix forgets it)\n")),
            DetachOutcome::Away => {
                (MountedState::Away, format!("away    {place} (on a disk that is not mounted, or moved)\n"))
            }
            DetachOutcome::Plain => continue,
            DetachOutcome::Failed(e) => {
                record::begin("mount --all", store.path());
                record::concerns(&at);
                report::print(&format!("{place} is not mounted"), &e.into());
                (MountedState::Failed, String::new())
            }
        };
        if !output::is_json() {
            reported = reported.and(output::done("the views were mounted", &line));
        }
        places.push(MountedAnswer { path, state, views: None });
    }
    let of = |state| places.iter().filter(|place| place.state == state).count();
    let (mounted, failed) = (of(MountedState::Mounted), of(MountedState::Failed));
    reported.map(|()| AllMounted { mounted, failed, answer: MountAnswer { places } })
}

/// Unmounts each that nobody uses; those in use stay.
pub fn unmount() -> Result<(), Failure> {
    let mut reported = Ok(());
    let store = places::store()?;
    for known in all_worktrees::known(&store, places::states().ok().as_deref())? {
        let at = known.place.clone();
        let place = known.place.shown().to_string();
        match known.unmount() {
            DetachOutcome::Done => {
                record::begin("unmount --all", store.path());
                record::concerns(&at);
                reported = reported.and(output::done("the views were unmounted", &format!("unmounted {place}\n")));
            }
            DetachOutcome::Gone | DetachOutcome::Away | DetachOutcome::Plain => {}
            DetachOutcome::Failed(e) => drop(report::print(&format!("{place} stays mounted"), &e.into())),
        }
    }
    reported
}
