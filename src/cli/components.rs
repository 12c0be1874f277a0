//! Common parts of `create`, `sync` and `publish`: the sources of artifacts, and reports about components.

use std::sync::Arc;

use super::progress::Bar;
use super::report::Failure;
use super::{approve, cache, places};
use crate::cache::Environment;
use crate::component::{Components, load};
use crate::git::checkout::Checkout;
use crate::store::Store;
use crate::sys::path as paths;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::artifacts::materialize::{Brought, MaterializeTask};
use crate::worktree::artifacts::resolve::{ArtifactSource, ArtifactSources, Decision};
use crate::worktree::artifacts::{materialize, plan};
use crate::worktree::plan::CreatePlan;

/// The store, the build cache, and the person at the terminal.
pub struct Outside {
    pub store: Arc<Store>,
    env: Environment,
    pub bar: Arc<Bar>,
}

impl Outside {
    pub fn new(store: Store) -> Outside {
        Outside { store: Arc::new(store), env: cache::environment(), bar: Arc::new(Bar::new()) }
    }

    /// Calls `act` with what artifacts come from.
    pub fn with<R>(&self, fetch: bool, act: impl FnOnce(&ArtifactSources<'_>) -> R) -> R {
        let say = |words: &str| self.bar.say(words);
        act(&ArtifactSources { store: &self.store, env: &self.env, say: &say, progress: &*self.bar, fetch })
    }
}

/// The result of a dry run about components.
pub enum Foreseen {
    Decided(Vec<Decision>),
    /// Their commands are not approved: they are not even looked at.
    Unapproved,
    /// The base-ref is not fetched yet.
    Unfetched,
}

impl Foreseen {
    /// A line for each component, or one that says why there are none.
    pub fn words(&self) -> String {
        match self {
            Foreseen::Decided(decisions) => lines(decisions),
            Foreseen::Unapproved => "  components: not told, their commands are not approved (depsfs approve)\n".into(),
            Foreseen::Unfetched => "  components: not told, the base-ref is not fetched yet\n".into(),
        }
    }

    /// The decision for each component, if they were looked at.
    pub fn decisions(&self) -> Option<&[Decision]> {
        if let Foreseen::Decided(decisions) = self { Some(decisions) } else { None }
    }
}

/// Looks at the components of a new worktree, and changes nothing.
pub fn foreseen(plan: &CreatePlan, approved: bool) -> Result<Foreseen, Failure> {
    if plan.components.is_empty() {
        return Ok(Foreseen::Decided(Vec::new()));
    }
    if !approved && !approve::is_given(&plan.components, &plan.source.common_dir)? {
        return Ok(Foreseen::Unapproved);
    }
    let path = places::store_path()?;
    let away = std::env::temp_dir().join(format!("depsfs-dry-run-{}", std::process::id()));
    // A store that isn't there holds nothing, and isn't made for a look.
    let is_there = paths::is_dir(&path);
    let outside = Outside::new(Store::open(if is_there { &path } else { &away })?);
    let told = outside.with(false, |supply| plan::foresee(plan, supply));
    if !is_there {
        paths::remove_tree(&away).map_err(WorktreeError::from)?;
    }
    Ok(told?.map_or(Foreseen::Unfetched, Foreseen::Decided))
}

/// A line for each component.
pub fn lines(decisions: &[Decision]) -> String {
    decisions.iter().map(|d| format!("  {:<9} {}\n", format!("{}:", d.component), d.words())).collect()
}

/// Goes on with what a worktree's components still need: what is not to be fetched is built.
pub fn go_on(checkout: &Checkout, components: &Components, outside: &Outside) -> Result<Vec<Brought>, Failure> {
    let done = outside.with(true, |supply| {
        materialize::bring(&MaterializeTask {
            checkout,
            components,
            supply,
            source: None,
            changed: false,
            builds: true,
        })
    });
    Ok(done?)
}

/// Brings the artifacts of components whose keys have changed, except those of the source: the caller takes these.
pub fn bring(
    checkout: &Checkout,
    components: &Components,
    outside: &Outside,
    builds: bool,
) -> Result<Vec<Brought>, Failure> {
    let source = source_of(checkout)?;
    let done = outside.with(true, |supply| {
        materialize::bring(&MaterializeTask {
            checkout,
            components,
            supply,
            source: source.as_ref(),
            changed: true,
            builds,
        })
    });
    Ok(done?)
}

/// As [`bring`] with changes, only looked at.
pub fn would_bring(checkout: &Checkout, components: &Components, outside: &Outside) -> Result<Vec<Brought>, Failure> {
    let source = source_of(checkout)?;
    let (record, decisions) = outside.with(false, |supply| {
        materialize::decisions(&MaterializeTask {
            checkout,
            components,
            supply,
            source: source.as_ref(),
            changed: true,
            builds: false,
        })
    })?;
    Ok(materialize::not_done(&record, decisions))
}

/// The checkout that a worktree was made from, if it is still there.
pub fn source_of(checkout: &Checkout) -> Result<Option<Checkout>, Failure> {
    let source = Views::of(checkout)?.and_then(|views| views.manifest.source);
    Ok(source.map(|at| Checkout::at(&at)).transpose().map_err(WorktreeError::from)?.flatten())
}

/// The components of a worktree, once its commands are approved.
pub fn approved(checkout: &Checkout, yes: bool) -> Result<Components, Failure> {
    let components = load::on_disk(checkout, &places::user())?;
    approve::ensure(&components, &checkout.common_dir, yes)?;
    Ok(components)
}

/// The outcome for components, a line each. The caller reports components that stay as they were.
pub fn done(all: &[Brought]) -> String {
    let line = |b: &Brought| {
        let words = match (&b.decision.way, b.done) {
            (ArtifactSource::Build, true) => "built".into(),
            _ => b.decision.words(),
        };
        format!("  {:<9} {words}\n", format!("{}:", b.decision.component))
    };
    all.iter().map(line).collect()
}
