//! Brings components' artifacts into an existing worktree: after a create, when a create is resumed, in a sync.
//!
//! | step                                                  | what a crash right after it leaves               |
//! |-------------------------------------------------------|--------------------------------------------------|
//! | 1. keys are computed, and each component is resolved  | nothing                                          |
//! | 2. available artifacts are put in place               | some in place, the record as it was: done again  |
//! | 3. one after the other is built, frozen, and recorded | recorded components are done, the rest is resumed |
//! | 4. in a sync, the source's views are swapped, then recorded | the same: the next sync swaps them |

use std::path::PathBuf;
use std::sync::Arc;

use super::build;
use super::capture::{self, Frozen};
use super::resolve::{self, ArtifactSource, ArtifactSources, BuiltCheckout, Decision, artifact_name};
use crate::cache::{Artifact, ArtifactName};
use crate::component::files::Files;
use crate::component::key::{self, Keyed, Keys};
use crate::component::record::{ComponentState, ComponentsRecord, KnownComponent};
use crate::component::{ComponentError, Components, Declared};
use crate::git::checkout::Checkout;
use crate::remote::{Received, TrackedTimes};
use crate::store::import::search_tree;
use crate::store::{Store, Tree};
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::views::drop_unchanged;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::placement::{self, PlaceRequest};
use crate::worktree::recorded_times;
use crate::worktree::relocation::ForeignPaths;

/// A worktree, its components, and the options for bringing their artifacts.
pub struct MaterializeTask<'a> {
    pub checkout: &'a Checkout,
    pub components: &'a Components,
    pub supply: &'a ArtifactSources<'a>,
    /// The source checkout for artifacts of the same key; without it they are built.
    pub source: Option<&'a Checkout>,
    /// Includes components whose key has changed; else only unfinished ones.
    pub changed: bool,
    /// Builds artifacts that can't be obtained otherwise.
    pub builds: bool,
}

/// The outcome for one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    pub decision: Decision,
    /// The key it had before.
    pub before: Option<String>,
    pub done: bool,
    /// Paths where something of the worktree's own is in the place of a member, absolute.
    pub kept: Vec<PathBuf>,
}

/// The decision for each component, before anything is done.
pub fn decisions(task: &MaterializeTask<'_>) -> Result<(ComponentsRecord, Vec<Decision>), WorktreeError> {
    let record = ComponentsRecord::load(&task.checkout.state_dir())?;
    let keys = key::keys(task.components, &Files::Of(task.checkout), &task.checkout.root)?;
    for (name, key) in &keys {
        if let Keyed::Failed(why) = key {
            (task.supply.say)(&format!("the key of component {} cannot be computed: {why}", name.shown()));
        }
    }
    let has = |declared: &Declared| task.source.is_some_and(|source| source_has(source, declared));
    let source = task.source.map(|checkout| BuiltCheckout { checkout, has: &has });
    let wanted = |declared: &Declared| is_wanted(declared, &record, &keys, task.changed);
    let decisions = resolve::decide(task.components, &keys, source.as_ref(), task.supply, &wanted)?;
    Ok((record, decisions))
}

fn is_wanted(declared: &Declared, record: &ComponentsRecord, keys: &Keys, changed: bool) -> bool {
    let name = &declared.component.name;
    let key = keys.get(name).unwrap_or(&Keyed::None);
    match record.of(name) {
        Some(known) if matches!(known.state, ComponentState::Pending | ComponentState::Failed) => true,
        Some(known) => changed && key.key().is_some() && known.key.as_deref() != key.key(),
        None => changed,
    }
}

fn source_has(source: &Checkout, declared: &Declared) -> bool {
    let mut literals = declared.literals().peekable();
    literals.peek().is_some() && literals.all(|at| path::is_there(&source.root.join(at)))
}

/// Does it. A build that fails ends it; what was done until then is recorded.
pub fn bring(task: &MaterializeTask<'_>) -> Result<Vec<Brought>, WorktreeError> {
    let (record, decisions) = decisions(task)?;
    let mut all = not_done(&record, decisions);
    artifacts(task, &record, &mut all)?;
    refuse_blind_builds(task, &all)?;
    for brought in all.iter_mut().filter(|b| task.builds && b.decision.way == ArtifactSource::Build) {
        let Some(declared) = task.components.named(&brought.decision.component) else { continue };
        let key = brought.decision.key.key();
        if let Err(e) = build::build(task.components, declared, key, task.checkout, task.supply) {
            note(task, declared, key, ComponentState::Failed, None)?;
            return Err(e.into());
        }
        let published = publish(task, declared, key)?;
        note(task, declared, key, ComponentState::Built, published.map(|(entry, _)| entry))?;
        brought.done = true;
    }
    Ok(all)
}

/// A remote that refused access may have the artifact that would be built.
fn refuse_blind_builds(task: &MaterializeTask<'_>, all: &[Brought]) -> Result<(), WorktreeError> {
    let built = all.iter().filter(|b| task.builds && b.decision.way == ArtifactSource::Build);
    let Some((brought, name)) = built.filter_map(|b| Some((b, b.decision.artifact.clone()?))).next() else {
        return Ok(());
    };
    let Some(refusal) = task.supply.env.team.refusal() else { return Ok(()) };
    let component = brought.decision.component.clone();
    Err(ComponentError::Fetch { component, name, source: Box::new(refusal.into()) }.into())
}

/// Remembers what became of a component, beside the entries that it had until now.
fn note(
    task: &MaterializeTask<'_>,
    declared: &Declared,
    key: Option<&str>,
    state: ComponentState,
    entry: Option<String>,
) -> Result<(), WorktreeError> {
    let (name, key) = (declared.component.name.clone(), key.map(str::to_owned));
    Ok(ComponentsRecord::change(&task.checkout.state_dir(), |record| {
        let entries = with_entry(entries_of(record, &name), entry);
        record.set(KnownComponent { name, key, entries, state });
    })?)
}

/// Records the components that were resolved to the source as taken. The caller swaps the views first. Components that
/// could not be taken (`unfit`) are tried again the next time.
pub fn took_source(
    checkout: &Checkout,
    components: &Components,
    all: &mut [Brought],
    unfit: &dyn Fn(&Declared) -> bool,
) -> Result<(), WorktreeError> {
    let mut taken: Vec<&mut Brought> = all.iter_mut().filter(|b| b.decision.way == ArtifactSource::Source).collect();
    taken.retain(|b| !components.named(&b.decision.component).is_none_or(unfit));
    if taken.is_empty() {
        return Ok(());
    }
    Ok(ComponentsRecord::change(&checkout.state_dir(), |record| {
        for brought in taken {
            let (name, key) = (brought.decision.component.clone(), brought.decision.key.key().map(str::to_owned));
            record.set(KnownComponent { name, key, entries: Vec::new(), state: ComponentState::Source });
            brought.done = true;
        }
    })?)
}

/// The outcomes of decisions that are not carried out yet.
pub fn not_done(record: &ComponentsRecord, decisions: Vec<Decision>) -> Vec<Brought> {
    let before = |name: &str| record.of(name).and_then(|known| known.key.clone());
    let brought =
        |decision: Decision| Brought { before: before(&decision.component), decision, done: false, kept: Vec::new() };
    decisions.into_iter().map(brought).collect()
}

/// Puts all fetched artifacts in place at once.
fn artifacts(task: &MaterializeTask<'_>, record: &ComponentsRecord, all: &mut [Brought]) -> Result<(), WorktreeError> {
    let (store, root) = (task.supply.store, &task.checkout.root);
    let fetched: Vec<(&Declared, Artifact, Vec<String>, PathBuf)> = all
        .iter()
        .filter_map(|brought| {
            let ArtifactSource::Artifact(Some(artifact)) = &brought.decision.way else { return None };
            let declared = task.components.named(&brought.decision.component)?;
            let before = entries_of(record, &declared.component.name);
            Some((declared, artifact.clone(), before, root.join(&declared.component.dir)))
        })
        .collect();
    if fetched.is_empty() {
        return Ok(());
    }
    for (declared, artifact, before, _) in &fetched {
        give_up_copies(task, declared, artifact, before)?;
    }
    let wishes: Vec<PlaceRequest<'_>> = fetched
        .iter()
        .map(|(_, artifact, before, out)| PlaceRequest { artifact, out_dir: out, instead_of: before, reveal: false })
        .collect();
    let placed = placement::place(store, &wishes, task.supply.copy, task.components)?;
    placed.plainly.iter().for_each(|why| (task.supply.say)(&format!("Plain files instead of a view: {why}.")));
    let of_source: Vec<&Declared> = fetched.iter().map(|(d, ..)| *d).filter(|d| is_of_source(record, d)).collect();
    if retire_snapshots(task, &of_source)? {
        ForeignPaths::of(store, task.checkout, task.components).in_views(&placed.views)?;
    }
    let mut in_place = Vec::new();
    for brought in all.iter_mut() {
        let Some((declared, artifact, before, _)) =
            fetched.iter().find(|(d, ..)| d.component.name == brought.decision.component)
        else {
            continue;
        };
        let is_its = |at: &&PathBuf| at.strip_prefix(root).is_ok_and(|at| declared.holds(at));
        brought.kept = placed.kept.iter().filter(is_its).cloned().collect();
        unlike(task, declared, artifact, before, &mut brought.kept)?;
        brought.done = true;
        in_place.push(KnownComponent {
            name: declared.component.name.clone(),
            key: brought.decision.key.key().map(str::to_owned),
            entries: vec![artifact.entry.clone()],
            state: ComponentState::Artifact,
        });
    }
    ComponentsRecord::change(&task.checkout.state_dir(), |record| {
        in_place.into_iter().for_each(|known| record.set(known))
    })?;
    let artifacts = fetched.iter().map(|(_, artifact, ..)| artifact).filter(|_| task.supply.mtimes);
    for times in distinct_times(store, artifacts) {
        recorded_times::apply(task.checkout, &times)?;
    }
    Ok(())
}

/// The times of tracked files that came with some artifacts. Those of one push have the same: each is there once.
fn distinct_times<'a>(store: &Store, artifacts: impl Iterator<Item = &'a Artifact>) -> Vec<TrackedTimes> {
    let mut distinct = Vec::new();
    for artifact in artifacts {
        let received = Received::of(store, &artifact.entry, artifact.tree);
        distinct.extend(received.and_then(|received| received.times).filter(|times| !distinct.contains(times)));
    }
    distinct
}

/// Leaves of some paths those whose artifact has other contents now than the one before had.
fn unlike(
    task: &MaterializeTask<'_>,
    declared: &Declared,
    new: &Artifact,
    before: &[String],
    paths: &mut Vec<PathBuf>,
) -> Result<(), WorktreeError> {
    let (store, base) = (task.supply.store, task.checkout.root.join(&declared.component.dir));
    let new = store.tree(new.tree)?;
    for entry in before {
        if let Some(old) = tree_of(store, entry)? {
            let is_same =
                |at: &PathBuf| at.strip_prefix(&base).is_ok_and(|at| drop_unchanged::is_same_file(&old, &new, at));
            paths.retain(|at| !is_same(at));
        }
    }
    Ok(())
}

/// The tree of an entry, if both are there.
fn tree_of(store: &Store, entry: &str) -> Result<Option<Arc<Tree>>, WorktreeError> {
    match store.entries().get(entry)? {
        Some(old) if store.has_tree(old.tree)? => Ok(Some(store.tree(old.tree)?)),
        _ => Ok(None),
    }
}

fn is_of_source(record: &ComponentsRecord, declared: &Declared) -> bool {
    record.of(&declared.component.name).is_some_and(|known| known.state == ComponentState::Source)
}

/// Retires the source's snapshots in views that show an artifact of the component instead. Returns whether there were views
/// to look at.
fn retire_snapshots(task: &MaterializeTask<'_>, of_source: &[&Declared]) -> Result<bool, WorktreeError> {
    let Some(mut views) = Views::of(task.checkout)?.filter(|_| !of_source.is_empty()) else { return Ok(false) };
    views.mount_if(|views| {
        for n in 0..views.manifest.views.len() {
            let view = &views.manifest.views[n];
            let live: Vec<_> = view.grafts.iter().filter(|g| !g.retired && g.entry.is_some()).cloned().collect();
            if !live.is_empty() && of_source.iter().any(|d| d.holds(&view.path)) {
                views.manifest.views[n].grafts = views.grafts(view, live)?;
            }
        }
        Ok(())
    })?;
    Ok(true)
}

/// Drops unchanged copies of the component's previous artifacts, so that they don't hide the new one.
fn give_up_copies(
    task: &MaterializeTask<'_>,
    declared: &Declared,
    new: &Artifact,
    before: &[String],
) -> Result<(), WorktreeError> {
    let store = task.supply.store;
    let (views, dir) = (Views::of(task.checkout)?, &declared.component.dir);
    let foreign = ForeignPaths::of(store, task.checkout, task.components);
    for entry in before {
        if let Some(old) = tree_of(store, entry)? {
            let new = store.tree(new.tree)?;
            foreign.give_up_files((&old, entry), &new, &task.checkout.root.join(dir))?;
            drop_unchanged::give_up(task.checkout, views.as_ref(), dir, &old, &new)?;
        }
    }
    Ok(())
}

fn entries_of(record: &ComponentsRecord, name: &str) -> Vec<String> {
    record.of(name).map(|known| known.entries.clone()).unwrap_or_default()
}

/// Those of a component that was published anew: the last one is the newest.
fn with_entry(mut entries: Vec<String>, new: Option<String>) -> Vec<String> {
    entries.retain(|entry| new.as_ref() != Some(entry));
    entries.extend(new);
    entries
}

/// Publishes a built component as the entry for its key. Returns the entry's name; `None` without a key or artifacts.
fn publish(
    task: &MaterializeTask<'_>,
    declared: &Declared,
    key: Option<&str>,
) -> Result<Option<(String, Frozen)>, WorktreeError> {
    let Some(key) = key else { return Ok(None) };
    let paths = capture::artifacts(task.checkout, declared)?;
    if paths.is_empty() {
        return Ok(None);
    }
    let store = task.supply.store;
    // gc must not come between the import and the name.
    let _share = store.share()?;
    let base = task.checkout.root.join(&declared.component.dir);
    let frozen = capture::freeze(store, &base, &paths, task.supply.progress)?;
    let entry = entry_name(task, declared, key)?;
    capture::name(store, &entry, &frozen, &base)?;
    // The bytes are in memory now; the next worktree that gets the artifact has not to read them.
    search_tree(store, &*store.tree(frozen.tree)?, std::slice::from_ref(&task.checkout.root))?;
    Ok(Some((entry, frozen)))
}

/// Publishes the components that `wanted` selects, with their current keys. Returns their names, their entries' names
/// and the captured trees. A component without a key or artifacts is an error if it was requested by name (`asked`).
pub fn publish_all(
    task: &MaterializeTask<'_>,
    wanted: &dyn Fn(&Declared) -> bool,
    asked: bool,
) -> Result<Vec<(String, String, Frozen)>, WorktreeError> {
    let keys = key::keys(task.components, &Files::Of(task.checkout), &task.checkout.root)?;
    // Only a worktree of depsfs remembers.
    let remembers = Views::of(task.checkout)?.is_some();
    let all: Vec<&Declared> = task.components.all.iter().filter(|d| wanted(d)).collect();
    let mut done = Vec::new();
    for (n, declared) in all.iter().enumerate() {
        let name = declared.component.name.clone();
        let key = keys.get(&name).and_then(Keyed::key);
        let published = publish(task, declared, key).and_then(|published| match published {
            Some((entry, frozen)) => {
                if remembers {
                    note(task, declared, key, ComponentState::Built, Some(entry.clone()))?;
                }
                Ok(Some((name.clone(), entry, frozen)))
            }
            None if asked => Err(unpublishable(&name, key).into()),
            None => Ok(None),
        });
        let stopped = |e| WorktreeError::Unpublished { left: all.len() - n, all: all.len(), source: Box::new(e) };
        done.extend(published.map_err(stopped)?);
    }
    Ok(done)
}

fn unpublishable(component: &str, key: Option<&str>) -> crate::component::ComponentError {
    let (why, hint) = match key {
        None => ("it has no key now", "give it a key in depsfs.toml, or publish its paths with --name"),
        Some(_) => ("none of its paths exists", "build it first"),
    };
    crate::component::ComponentError::Publish { component: component.into(), why, hint }
}

/// The name in the store of a component's artifact.
fn entry_name(task: &MaterializeTask<'_>, declared: &Declared, key: &str) -> Result<String, WorktreeError> {
    let name = artifact_name(declared, key);
    let wrong = |e: crate::cache::CacheError| crate::component::ComponentError::Fetch {
        component: declared.component.name.clone(),
        name: name.clone(),
        source: Box::new(e),
    };
    let artifact = ArtifactName::new(&name).map_err(wrong)?;
    Ok(artifact.entry_name(task.supply.store).map_err(wrong)?.to_owned())
}
