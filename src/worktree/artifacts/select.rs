//! Selects, for a worktree that is being created, the paths from the source and the components to fetch or build.

use std::path::Path;

use super::resolve::{self, ArtifactSource, ArtifactSources, BuiltCheckout, Decision};
use crate::component::files::Files;
use crate::component::key;
use crate::component::record::{ComponentState, ComponentsRecord, KnownComponent};
use crate::component::{Declared, Undeclared};
use crate::git::checkout::Checkout;
use crate::git::ignored::Ignored;
use crate::worktree::WorktreeError;
use crate::worktree::plan::CreatePlan;

/// The decisions, and the paths that the source provides.
pub struct Choice {
    pub decisions: Vec<Decision>,
    /// Ignored paths that the source provides.
    pub ignored: Ignored,
}

/// Ignored paths that the source provides, whatever the keys are. Their snapshots need not wait for keys.
pub fn early(plan: &CreatePlan) -> Ignored {
    part(plan, &|declared| declared.component.key.is_none())
}

/// Computes the keys in the new worktree, and decides. Artifacts are fetched.
pub fn choose(plan: &CreatePlan, new: &Checkout, supply: &ArtifactSources<'_>) -> Result<Choice, WorktreeError> {
    let keys = key::keys(&plan.components, &Files::Of(new), &new.root)?;
    let has = |declared: &Declared| plan.has_built(declared);
    let source = BuiltCheckout { checkout: &plan.source, has: &has };
    let decisions = resolve::decide(&plan.components, &keys, Some(&source), supply, &|_| true)?;
    let ignored = part(plan, &|declared| {
        let way = decisions.iter().find(|d| d.component == declared.component.name).map(|d| &d.way);
        match way {
            Some(ArtifactSource::Source | ArtifactSource::Stale) => true,
            Some(ArtifactSource::Build) => declared.component.incremental,
            _ => false,
        }
    });
    Ok(Choice { decisions, ignored })
}

/// The source's ignored paths, without those of components that don't take theirs from it.
fn part(plan: &CreatePlan, takes: &dyn Fn(&Declared) -> bool) -> Ignored {
    let components = &plan.components;
    let is_shared = |at: &Path| {
        let covering: Vec<&Declared> = components.covering(at).collect();
        match covering.is_empty() {
            true => components.undeclared == Undeclared::Share,
            false => covering.iter().any(|d| takes(d)),
        }
    };
    let mut ignored = plan.ignored.clone();
    ignored.directories.retain(|at| is_shared(at));
    ignored.files.retain(|at| components.all.iter().all(|d| !d.holds(at) || takes(d)));
    ignored
}

/// The components record of a worktree before anything was fetched into it or built.
pub fn record(decisions: &[Decision]) -> ComponentsRecord {
    let mut record = ComponentsRecord::default();
    for decision in decisions {
        let state = match decision.way {
            ArtifactSource::Artifact(_) | ArtifactSource::Build => ComponentState::Pending,
            ArtifactSource::Source | ArtifactSource::Stale => ComponentState::Source,
            ArtifactSource::Nothing(_) => ComponentState::Nothing,
        };
        let key = decision.key.key().filter(|_| decision.way != ArtifactSource::Stale).map(str::to_owned);
        record.set(KnownComponent { name: decision.component.clone(), key, entries: Vec::new(), state });
    }
    record
}
