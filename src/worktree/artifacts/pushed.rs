//! The artifacts that a push sends: those of components for their keys, and the directories of a commit.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::capture;
use super::materialize::{self, MaterializeTask};
use super::resolve::{self, ArtifactSources, remote_name};
use crate::cache::ArtifactName;
use crate::component::files::Files;
use crate::component::key::{self, Keyed};
use crate::component::{ComponentError, Components, Declared};
use crate::git::RepositoryError;
use crate::git::checkout::Checkout;
use crate::remote::{self, PushItem, RemoteCheckout, RemoteProvenance};
use crate::store::{Store, TreeId, escape};
use crate::views::lockfile;
use crate::worktree::{WorktreeError, plan};

/// Which artifacts are wanted.
pub struct Wants<'a> {
    /// Relative to the top; none: all components.
    pub paths: &'a [PathBuf],
    /// Directories that no component declares as well.
    pub all: bool,
    /// Nothing gets a name in the store.
    pub dry_run: bool,
}

/// The chosen artifacts.
pub struct Chosen {
    /// The name of a component, its artifact's name at a remote, and its tree.
    components: Vec<(String, String, TreeId)>,
    /// Directories of the commit, and their tree.
    directories: Vec<PathBuf>,
    tree: Option<TreeId>,
    /// The commit that is checked out; `None` if tracked files differ from it.
    pub head: Option<String>,
}

/// One entry to be, and its name for people.
pub struct NamedItem {
    pub name: String,
    pub item: PushItem,
}

/// Chooses, and publishes in the store what is built and not in it.
///
/// # Errors
/// A key cannot be computed; artifacts change while they are read.
pub fn choose(
    checkout: &Checkout,
    components: &Components,
    wants: &Wants<'_>,
    supply: &ArtifactSources<'_>,
) -> Result<Chosen, WorktreeError> {
    let is_wanted = |declared: &Declared| {
        wants.paths.is_empty() || wants.paths.iter().any(|at| declared.holds(at) || declared.covers(at))
    };
    let keys = key::keys(components, &Files::Of(checkout), &checkout.root)?;
    let mut chosen = Chosen { components: Vec::new(), directories: Vec::new(), tree: None, head: None };
    for declared in components.all.iter().filter(|d| is_wanted(d)) {
        let Some(key) = keys.get(&declared.component.name).and_then(Keyed::key) else { continue };
        if let Some(tree) = tree_of(checkout, components, declared, key, wants, supply)? {
            chosen.components.push((declared.component.name.clone(), remote_name(declared, key), tree));
        }
    }
    let undeclared = match wants.all || !wants.paths.is_empty() {
        true => plan::undeclared(checkout, components, supply.store.path())?,
        false => Vec::new(),
    };
    let is_named =
        |at: &&PathBuf| wants.all || wants.paths.iter().any(|path| at.starts_with(path) || path.starts_with(at));
    chosen.directories = undeclared.iter().filter(is_named).cloned().collect();
    if !chosen.directories.is_empty() {
        let frozen = capture::freeze(supply.store, &checkout.root, &chosen.directories, supply.progress)?;
        chosen.tree = Some(frozen.tree);
    }
    let is_clean = checkout.git().status().map_err(RepositoryError::from)?.is_empty();
    if is_clean {
        let head = checkout.git().resolve(&["HEAD^{commit}".into()]).map_err(RepositoryError::from)?.pop().flatten();
        chosen.head = head.map(|object| object.id);
    }
    if chosen.head.is_none() {
        (chosen.directories, chosen.tree) = (Vec::new(), None);
    }
    Ok(chosen)
}

/// The tree of a component's artifact: the store's entry, else what is built here.
fn tree_of(
    checkout: &Checkout,
    components: &Components,
    declared: &Declared,
    key: &str,
    wants: &Wants<'_>,
    supply: &ArtifactSources<'_>,
) -> Result<Option<TreeId>, WorktreeError> {
    let name = resolve::artifact_name(declared, key);
    let wrong = |e| ComponentError::Fetch {
        component: declared.component.name.clone(),
        name: name.clone(),
        source: Box::new(e),
    };
    let artifact = ArtifactName::new(&name).map_err(wrong)?;
    if let Some(entry) = artifact.find(supply.store).map_err(wrong)? {
        return Ok(Some(entry.tree));
    }
    if wants.dry_run {
        let paths = capture::artifacts(checkout, declared)?;
        let base = checkout.root.join(&declared.component.dir);
        let frozen = || capture::freeze(supply.store, &base, &paths, supply.progress);
        return Ok((!paths.is_empty()).then(frozen).transpose()?.map(|frozen| frozen.tree));
    }
    let task = MaterializeTask { checkout, components, supply, source: None, changed: false, builds: false };
    let this = |other: &Declared| other.component.name == declared.component.name;
    let published = materialize::publish_all(&task, &this, false)?;
    Ok(published.into_iter().next().map(|(_, _, frozen)| frozen.tree))
}

impl Chosen {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty() && self.tree.is_none()
    }

    /// The entries of components.
    ///
    /// # Errors
    /// The store lacks a tree.
    pub fn items(&self, store: &Store, checkout: &Checkout) -> Result<Vec<NamedItem>, WorktreeError> {
        let item = |(name, at, tree): &(String, String, TreeId)| {
            let provenance = self.provenance(store, checkout, Some(*tree))?;
            let item = PushItem { place: remote::entry_place(at), tree: Some(*tree), checkout: None, provenance };
            Ok(NamedItem { name: format!("{name} as {at}"), item })
        };
        self.components.iter().map(item).collect()
    }

    /// The entry of the commit. It names what the components' artifacts need, too: the next push learns from it.
    ///
    /// # Errors
    /// A lock file cannot be read; the store lacks the tree.
    pub fn commit(
        &self,
        store: &Store,
        checkout: &Checkout,
        place: String,
        commit: &str,
    ) -> Result<NamedItem, WorktreeError> {
        let mut lockfiles = Vec::new();
        for at in &self.directories {
            lockfiles.extend(lockfile::beside(&checkout.root, at)?);
        }
        lockfiles.sort();
        lockfiles.dedup();
        let text = |path: &Path| escape::escape(path.as_os_str().as_bytes());
        let of = RemoteCheckout {
            directories: self.directories.iter().map(|at| text(at)).collect(),
            lockfiles: lockfiles.into_iter().map(|(path, hash)| (text(&path), hash)).collect(),
        };
        let provenance = self.provenance(store, checkout, self.tree)?;
        let item = PushItem { place, tree: self.tree, checkout: Some(of), provenance };
        Ok(NamedItem { name: format!("commit {}", commit.get(..10).unwrap_or(commit)), item })
    }

    fn provenance(
        &self,
        store: &Store,
        checkout: &Checkout,
        tree: Option<TreeId>,
    ) -> Result<RemoteProvenance, WorktreeError> {
        let (mut files, mut bytes) = (0, 0);
        if let Some(tree) = tree {
            let tree = store.tree(tree)?;
            (files, bytes) = (tree.objects().count() as u64, tree.content_bytes());
        }
        let run = ["GITHUB_RUN_ID", "CI_JOB_ID", "BUILD_ID"].iter().find_map(|name| std::env::var(name).ok());
        let user = || std::env::var("USER").unwrap_or_else(|_| "unknown".into());
        Ok(RemoteProvenance {
            path: escape::escape(checkout.root.as_os_str().as_bytes()),
            commit: self.head.clone(),
            pusher: run.map_or_else(user, |run| format!("run {run}")),
            files,
            bytes,
        })
    }
}
