//! Traces: files of artifacts that hold the absolute path of the checkout they were made in (CMakeCache.txt, scripts of a
//! Python environment, dependency files, programs). In another worktree they lead back to that checkout.
//!
//! An import finds them while it hashes ([`crate::store::import::import_dir_watching`]). What is done with them is said
//! for each artifact in `depsfs.toml`, or by `depsfs.absolutePaths`: they are left and named, relocated ([`relocate`]), or
//! their artifact is not shared.

mod relocate;

use std::path::{Path, PathBuf};

pub use self::relocate::{
    can as can_relocate, give_up as give_up_relocated, shown as relocate_shown, still as still_relocated,
};
pub use crate::views::embedded_paths::{Kind, Record, Trace, Traced};

use super::error::Error;
use super::snapshot::Snapshot;
use super::undo::Undo;
use crate::component::Components;
use crate::git::settings::{AbsolutePaths, BadSetting, Settings};
use crate::store::Store;
use crate::store::import::{Holding, Holds};
use crate::sys::path;

/// The traces that an import found, and those that the source's own artifacts had from elsewhere.
pub fn of(holding: Vec<Holding>, root: &Path, inherited: Option<&Traced>) -> Vec<Trace> {
    let kind = |holds| match holds {
        Holds::Text => Some(Kind::Text),
        Holds::Binary => Some(Kind::Binary),
        Holds::Target => Some(Kind::Link),
        Holds::Nothing => None,
    };
    let trace = |h: Holding| Some(Trace { kind: kind(h.holds)?, path: h.path, root: root.into(), relocated: false });
    let mut all: Vec<Trace> = holding.into_iter().filter_map(trace).collect();
    // Files that a view still shares were not read: they hold what they held when they were.
    let older = inherited.iter().flat_map(|traced| &traced.traces).filter(|t| !t.relocated);
    let older: Vec<Trace> = older.filter(|t| !all.iter().any(|own| own.path == t.path)).cloned().collect();
    all.extend(older);
    all
}

/// What is done with the traces of an artifact: the component that makes it says so, else git's configuration.
#[derive(Clone, Debug)]
pub struct Policies {
    general: AbsolutePaths,
    components: Components,
}

impl Policies {
    pub fn new(settings: &Settings, components: Components) -> Result<Policies, BadSetting> {
        Ok(Policies { general: settings.absolute_paths()?, components })
    }

    /// That of one artifact directory, relative to the top.
    pub fn of(&self, artifact: &Path) -> AbsolutePaths {
        self.components.absolute_paths(artifact).unwrap_or(self.general)
    }
}

/// What was done with the traces of all artifacts of a new worktree.
#[derive(Debug, Default)]
pub struct Settled {
    pub snapshots: Vec<Snapshot>,
    pub record: Record,
    /// Artifacts that are not shared because of their traces.
    pub excluded: Vec<PathBuf>,
}

/// Does with the traces of each snapshot what is to be done. The directories are there, in `root`, and not yet mounted over.
pub fn settle(
    store: &Store,
    root: &Path,
    snapshots: Vec<Snapshot>,
    policies: &Policies,
    undo: &mut Undo<'_>,
) -> Result<Settled, Error> {
    let mut settled = Settled::default();
    for mut snapshot in snapshots {
        let mut traces = std::mem::take(&mut snapshot.traces);
        match policies.of(&snapshot.path) {
            _ if traces.is_empty() => {}
            AbsolutePaths::Exclude => {
                let place = root.join(&snapshot.path);
                if path::list(&place)?.is_empty() {
                    path::remove_dir(&place)?;
                }
                settled.excluded.push(snapshot.path);
                continue;
            }
            AbsolutePaths::Relocate => relocate::all(store, root, &snapshot, &mut traces, undo)?,
            AbsolutePaths::Leave => {}
        }
        if !traces.is_empty() {
            settled.record.artifacts.push(Traced { path: snapshot.path.clone(), traces });
        }
        settled.snapshots.push(snapshot);
    }
    Ok(settled)
}
