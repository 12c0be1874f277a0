//! The artifact directories of a commit that another machine has pushed: for a repository whose directories have no keys,
//! in a clone in which nothing was built.
//!
//! The commit itself and its nearest first parents are looked for, in the store and then at the team's remotes, all at
//! once. Directories that git does not ignore in the worktree are left out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::resolve::ArtifactSources;
use crate::cache::{Artifact, ArtifactName};
use crate::component::{ComponentError, Components, template};
use crate::git::checkout::Checkout;
use crate::git::command::Git;
use crate::git::partly_tracked;
use crate::remote::{self, Received, RemoteCheckout, Search};
use crate::store::tree::NodeMeta;
use crate::store::{Name, Node, StoreError, Tree, TreeBuilder, TreeId, escape};
use crate::sys::fs::FileType;
use crate::worktree::WorktreeError;
use crate::worktree::placement::{self, PlaceRequest};
use crate::worktree::recorded_times;

/// The number of commits that are looked for: the commit, and its nearest first parents.
const COMMITS: usize = 16;

/// The artifact directories of a commit, in the store.
#[derive(Clone, Debug)]
pub struct CommitArtifact {
    pub commit: String,
    /// The number of commits from it to the requested one.
    pub behind: usize,
    /// The name of its entry.
    pub entry: String,
    pub received: Received,
}

/// The places at a remote of a commit and its nearest first parents.
///
/// # Errors
/// git fails.
pub fn places(git: &Git, commit: &str) -> Result<Vec<(String, String)>, WorktreeError> {
    let commits = git.first_parents(commit, COMMITS).map_err(crate::git::RepositoryError::from)?;
    Ok(commits.into_iter().map(|commit| (remote::commit_place(&commit, template::platform()), commit)).collect())
}

/// The nearest commit whose artifact directories the store or a remote has.
///
/// # Errors
/// git fails; a signal came; the store cannot be written.
pub fn nearest(git: &Git, commit: &str, supply: &ArtifactSources<'_>) -> Result<Option<CommitArtifact>, WorktreeError> {
    let all = places(git, commit)?;
    for (behind, (_, commit)) in all.iter().enumerate() {
        let entry = entry_name(commit);
        let Some(known) = supply.store.entries().get(&entry)? else { continue };
        let received = Received::of(supply.store, &entry, known.tree);
        let is_here = match supply.env.lazy {
            true => supply.store.is_usable(known.tree),
            false => supply.store.is_complete(known.tree),
        };
        if let Some(received) = received.filter(|_| is_here.unwrap_or(false)) {
            return Ok(Some(CommitArtifact { commit: commit.clone(), behind, entry, received }));
        }
    }
    let is_known_empty = |(place, _): &(String, String)| supply.env.team.is_empty_at(supply.store, place);
    if supply.env.team.is_empty() || all.first().is_some_and(is_known_empty) {
        return Ok(None);
    }
    // One search for all sends one request; the entry's name in the store is that of the commit which was found.
    let wanted: Vec<String> = all.iter().map(|(place, _)| place.clone()).collect();
    let name = |place: &str| {
        let found = all.iter().find(|(other, _)| other == place);
        found.map_or_else(String::new, |(_, commit)| entry_name(commit))
    };
    let search = Search {
        store: supply.store,
        places: &wanted,
        name: &name,
        command: "a remote",
        lazy: supply.env.lazy,
        say: supply.say,
        progress: supply.progress,
    };
    let found = supply.env.team.bring(&search).map_err(|e| failed(commit, e))?;
    Ok(found.and_then(|received| {
        let behind = all.iter().position(|(place, _)| *place == received.place)?;
        let commit = all[behind].1.clone();
        Some(CommitArtifact { entry: entry_name(&commit), commit, behind, received })
    }))
}

/// That no remote refused access: one that did may have the artifact directories of a commit that was not found.
///
/// # Errors
/// A remote refused access.
pub fn must_be_absent(commit: &str, supply: &ArtifactSources<'_>) -> Result<(), WorktreeError> {
    supply.env.team.refusal().map_or(Ok(()), |refusal| Err(failed(commit, refusal).into()))
}

/// The nearest commit whose artifact directories the store or a remote has; nothing is fetched.
///
/// # Errors
/// git fails; a signal came.
pub fn look(git: &Git, commit: &str, supply: &ArtifactSources<'_>) -> Result<Option<String>, WorktreeError> {
    let all = places(git, commit)?;
    for (_, commit) in &all {
        if supply.store.entries().get(&entry_name(commit))?.is_some() {
            return Ok(Some(commit.clone()));
        }
    }
    let wanted: Vec<String> = all.iter().map(|(place, _)| place.clone()).collect();
    let search = Search {
        store: supply.store,
        places: &wanted,
        name: &|_| String::new(),
        command: "",
        lazy: false,
        say: supply.say,
        progress: &(),
    };
    let found = supply.env.team.look(&search).map_err(|e| failed(commit, e))?;
    let place = found.filter(|entry| entry.tree.is_some()).map(|entry| entry.place);
    Ok(place.and_then(|place| all.into_iter().find(|(other, _)| *other == place)).map(|(_, commit)| commit))
}

fn failed(commit: &str, e: crate::remote::RemoteError) -> ComponentError {
    ComponentError::Fetch { component: "commit".into(), name: commit.into(), source: Box::new(e.into()) }
}

fn entry_name(commit: &str) -> String {
    format!("commit-{commit}-{}", template::platform())
}

/// Puts the directories in place, and gives tracked files their times. Returns the directories.
///
/// # Errors
/// A view cannot be mounted, or the store cannot be written.
pub fn place(
    to: &Checkout,
    found: &CommitArtifact,
    supply: &ArtifactSources<'_>,
) -> Result<Vec<PathBuf>, WorktreeError> {
    let _share = supply.store.share()?;
    let listed = found.received.checkout.as_ref().map(directories).unwrap_or_default();
    let ignored = partly_tracked::ignores(to, &listed).map_err(crate::git::RepositoryError::from)?;
    let kept: Vec<PathBuf> = listed.into_iter().zip(ignored).filter_map(|(at, is)| is.then_some(at)).collect();
    let tree = part_of(supply, found.received.tree, &kept)?;
    let name = ArtifactName::new(&found.entry).map_err(|e| ComponentError::Fetch {
        component: "commit".into(),
        name: found.entry.clone(),
        source: Box::new(e),
    })?;
    let artifact = Artifact { name, tree, entry: found.entry.clone() };
    let request = PlaceRequest { artifact: &artifact, out_dir: &to.root, instead_of: &[], reveal: false };
    let placed = placement::place(supply.store, &[request], supply.copy, &Components::default())?;
    placed.words().iter().for_each(|words| (supply.say)(words));
    if let Some(times) = found.received.times.as_ref().filter(|_| supply.mtimes) {
        recorded_times::apply(to, times)?;
    }
    Ok(kept)
}

/// The lock files beside the directories that another commit has otherwise than the artifacts were made with.
///
/// # Errors
/// git fails.
pub fn drifted(git: &Git, commit: &str, found: &CommitArtifact) -> Result<Vec<PathBuf>, WorktreeError> {
    let mut differ = Vec::new();
    for (path, hash) in found.received.checkout.iter().flat_map(|checkout| &checkout.lockfiles) {
        let Some(path) = recorded_path(path) else {
            // One that cannot be looked at may differ.
            differ.push(PathBuf::from(path));
            continue;
        };
        let name = [commit.as_ref(), OsStr::new(":"), path.as_os_str()].map(OsStr::as_bytes).concat();
        let there = git.blob(OsStr::from_bytes(&name)).map_err(crate::git::RepositoryError::from)?;
        // A lock file that is not in the commit is no difference.
        if there.is_some_and(|bytes| blake3::hash(&bytes).to_hex().as_str() != hash) {
            differ.push(path);
        }
    }
    Ok(differ)
}

/// The directories that an entry lists. A path that leads elsewhere is none.
fn directories(of: &RemoteCheckout) -> Vec<PathBuf> {
    of.directories.iter().filter_map(|text| recorded_path(text)).collect()
}

/// A path below the top that an entry names, escaped. `None`: it leads elsewhere, or can be none.
fn recorded_path(text: &str) -> Option<PathBuf> {
    let bytes = escape::unescape(text).filter(|bytes| !bytes.contains(&0))?;
    let path = PathBuf::from(OsStr::from_bytes(&bytes));
    let is_plain = path.components().all(|c| matches!(c, Component::Normal(_)));
    (is_plain && !path.as_os_str().is_empty()).then_some(path)
}

/// The tree of these directories of a tree, and nothing else of it.
fn part_of(supply: &ArtifactSources<'_>, tree: TreeId, kept: &[PathBuf]) -> Result<TreeId, WorktreeError> {
    let (store, whole) = (supply.store, supply.store.tree(tree)?);
    let mut builder = TreeBuilder::new(NodeMeta { perm: 0o755, ..NodeMeta::default() });
    for at in kept {
        let Some(node) = directory_at(&whole, at) else { continue };
        let part = TreeBuilder::part_of(&whole, node, Path::new("")).map_err(StoreError::from)?;
        let part = store.tree(store.put_tree(&part)?)?;
        let meta = NodeMeta { perm: 0o755, ..NodeMeta::default() };
        let slot = builder.dir_at(at, &meta).map_err(StoreError::from)?;
        builder.lay(slot, &part).map_err(StoreError::from)?;
    }
    let part = store.put_tree(&builder)?;
    remote::inherit_source(store, tree, part)?;
    Ok(part)
}

fn directory_at(tree: &Tree, at: &Path) -> Option<Node> {
    let mut node = Node::ROOT;
    for name in at.components() {
        node = tree.lookup(node, &Name::new(name.as_os_str().as_bytes()).ok()?)?;
    }
    (tree.kind(node) == Some(FileType::Directory)).then_some(node)
}
