//! The embedded paths of an artifact, and the policy for them.

use std::path::Path;

use crate::component::Components;
use crate::git::settings::{AbsolutePaths, BadSetting, Settings};
use crate::store::import::{Holding, Holds};
use crate::views::embedded_paths::{OccurrenceKind, Trace, Traced};

/// The traces that an import found, and those that the source's own artifacts had from elsewhere.
pub fn of(holding: Vec<Holding>, root: &Path, inherited: Option<&Traced>) -> Vec<Trace> {
    let trace = |h: Holding| {
        Some(Trace {
            kind: kind_of(h.holds)?,
            path: h.path,
            root: root.into(),
            relocated: false,
            served: None,
            effect: None,
        })
    };
    let mut all: Vec<Trace> = holding.into_iter().filter_map(trace).collect();
    // Files that a view still shares were not read: they hold what they held when they were.
    let older = inherited.iter().flat_map(|traced| &traced.traces).filter(|t| !t.relocated);
    let older: Vec<Trace> = older.filter(|t| !all.iter().any(|own| own.path == t.path)).cloned().collect();
    all.extend(older);
    all
}

/// As the record of a worktree has it.
pub(super) fn kind_of(holds: Holds) -> Option<OccurrenceKind> {
    match holds {
        Holds::Text => Some(OccurrenceKind::Text),
        Holds::Binary => Some(OccurrenceKind::Binary),
        Holds::Target => Some(OccurrenceKind::Link),
        Holds::Nothing => None,
    }
}

/// The policies for traces: that of an artifact's component, else that of git's configuration.
#[derive(Clone, Debug)]
pub struct Policies {
    general: AbsolutePaths,
    components: Components,
}

impl Policies {
    /// `components` may have policies of their own. A value of `depsfs.absolutePaths` that is not known is an error.
    pub fn new(settings: &Settings, components: Components) -> Result<Policies, BadSetting> {
        Ok(Policies { general: settings.absolute_paths()?, components })
    }

    /// That of one artifact directory, relative to the top.
    pub fn of(&self, artifact: &Path) -> AbsolutePaths {
        self.components.absolute_paths(artifact).unwrap_or(self.general)
    }
}
