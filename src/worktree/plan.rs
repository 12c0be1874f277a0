//! Everything a create needs to know, and every reason to refuse it, found before anything is made.

use std::path::{Path, PathBuf};

use super::error::WorktreeError;
use super::relocation::Policies;
use super::unfinished::{Killed, NewWorktree};
use crate::component::load::{self, UserConfigPaths};
use crate::component::{Components, Declared};
use crate::git::checkout::Checkout;
use crate::git::command::Git;
use crate::git::ignored::{self, Ignored, IgnoredLimits};
use crate::git::include::Included;
use crate::git::naming::{self, WorktreeNames};
use crate::git::settings::Settings;
use crate::git::submodule::{self, Submodule};
use crate::sys::interrupt::Interrupted;
use crate::sys::terminal::DisplayName;
use crate::sys::{path, spawn};
use crate::views::lockfile;
use crate::views::set::Views;

/// The user's request.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    pub name: String,
    pub base: Option<String>,
    pub branch: Option<String>,
    /// Refuse when an artifact would have to be built.
    pub frozen_only: bool,
    /// Go on with a source that has nothing to share.
    pub allow_unbuilt: bool,
    /// Only look: nothing is fetched.
    pub dry_run: bool,
    /// The user whose configuration applies beside the repository's.
    pub user: UserConfigPaths,
}

/// The plan of a new worktree, and its source.
pub struct CreatePlan {
    pub source: Checkout,
    pub names: WorktreeNames,
    /// The base-ref as given; `HEAD` without one.
    pub base: String,
    /// The commit the new worktree starts at; `None` in a dry run whose base-ref is not fetched yet.
    pub commit: Option<String>,
    /// The branch is there already, is checked out nowhere, and will be used as it is.
    pub branch_exists: bool,
    pub settings: Settings,
    /// The components in the commit's `depsfs.toml` and the user's configuration.
    pub components: Components,
    /// The policies for artifacts that hold the source's absolute path.
    pub policies: Policies,
    pub modules: Vec<Submodule>,
    pub ignored: Ignored,
}

/// Looks at everything. Only a fetch changes anything: the repository's knowledge of its remote.
pub fn plan(source: Checkout, wish: &CreateRequest, store: &Path) -> Result<CreatePlan, WorktreeError> {
    let (listed, settings) = look(&source)?;
    settings.absolute_paths()?;
    let initials = naming::initials(settings.value("user.initials"), settings.value("user.name"));
    let names = naming::names(&source.root, &wish.name, wish.branch.as_deref(), initials.as_deref())?;
    if !wish.dry_run
        && let Some(killed) = Killed::at(&source.common_dir, &names.path)?
    {
        killed.take_back()?;
    }
    if path::is_there(&names.path) {
        return Err(WorktreeError::PathTaken(names.path));
    }
    let base = wish.base.clone().unwrap_or_else(|| "HEAD".into());
    if !wish.dry_run {
        fetch(&source.git(), &settings, &base)?;
    }
    let (commit, branch_exists) = resolve(&source, &names.branch, wish, &base)?;
    if commit.is_none() && !(wish.dry_run && remote_of(&settings, &base).is_some()) {
        return Err(WorktreeError::NoBase(base));
    }
    let modules = submodule::initialised(&source)?;
    if let Some(commit) = &commit {
        submodule::check(&source, commit, &modules)?;
    }
    let ignored = find_ignored(&source, listed, &modules, &settings, store)?;
    let components = load::at_commit(&source, &settings, commit.as_deref(), &wish.user)?;
    // Fetched or built artifacts need no files of the source.
    let is_unbuilt = ignored.directories.is_empty() && components.is_empty();
    if is_unbuilt && (!wish.allow_unbuilt || wish.frozen_only) {
        return Err(WorktreeError::Unbuilt(source.root));
    }
    let policies = Policies::new(&settings, components.clone())?;
    let plan =
        CreatePlan { source, names, base, commit, branch_exists, settings, components, policies, modules, ignored };
    if wish.frozen_only {
        plan.refuse_builds()?;
    }
    Ok(plan)
}

/// Everything an adopt needs to know of its source: the plan of a create that finds its worktree made. Of its
/// components only the policies for absolute paths count: a sync fetches or builds their artifacts afterwards.
pub fn of_existing(
    source: Checkout,
    target: &Checkout,
    declared: &Components,
    allow_unbuilt: bool,
    store: &Path,
) -> Result<CreatePlan, WorktreeError> {
    let (listed, settings) = look(&source)?;
    let policies = Policies::new(&settings, declared.clone())?;
    let modules = submodule::initialised(&source)?;
    let ignored = find_ignored(&source, listed, &modules, &settings, store)?;
    if ignored.directories.is_empty() && !allow_unbuilt {
        return Err(WorktreeError::Unbuilt(source.root));
    }
    let head = target.git().resolve(&["HEAD^{commit}".into()])?.pop().flatten();
    let branch = target.branch()?.unwrap_or_else(|| "(detached)".into());
    let names = WorktreeNames { path: target.root.clone(), branch };
    let (base, commit) = (String::from("HEAD"), head.map(|object| object.id));
    let components = Components::default();
    Ok(CreatePlan {
        source,
        names,
        base,
        commit,
        branch_exists: false,
        settings,
        components,
        policies,
        modules,
        ignored,
    })
}

/// The ignored paths and the configuration, which two git processes read at the same time.
fn look(source: &Checkout) -> Result<(Vec<PathBuf>, Settings), WorktreeError> {
    let (listed, settings) = std::thread::scope(|scope| {
        let listed = spawn::scoped(scope, || source.git().ignored());
        let settings = Settings::load(&source.git());
        (listed.join(), settings)
    });
    Ok((listed?, settings?))
}

/// The lock files an artifact of the source was made with: in a worktree of depsfs, those of the first source.
fn made_with(
    source: &Checkout,
    views: Option<&Views>,
    artifact: &Path,
) -> Result<Vec<(PathBuf, String)>, WorktreeError> {
    let view = views.and_then(|v| v.manifest.views.iter().find(|view| view.path == artifact));
    match view.filter(|v| !v.lockfiles.is_empty()) {
        Some(view) => Ok(view.lockfiles.iter().map(|l| (l.path.clone(), l.blake3.clone())).collect()),
        None => Ok(lockfile::beside(&source.root, artifact)?),
    }
}

/// The remote and branch a base-ref such as `origin/main` or `origin/a/b~2` speaks of.
fn remote_of<'a>(settings: &Settings, base: &'a str) -> Option<(&'a str, &'a str)> {
    let (remote, branch) = base.split_once('/')?;
    let branch = branch.split(['~', '^', '@', ':']).next()?;
    (settings.has_remote(remote) && !branch.is_empty()).then_some((remote, branch))
}

fn fetch(git: &Git, settings: &Settings, base: &str) -> Result<(), WorktreeError> {
    let Some((remote, branch)) = remote_of(settings, base) else { return Ok(()) };
    git.fetch(remote, branch).map_err(|source| match source {
        crate::git::command::GitError::Interrupted(signal) => WorktreeError::Interrupted(Interrupted(signal)),
        source => WorktreeError::Fetch { remote: remote.into(), branch: branch.into(), source },
    })
}

/// The commit to start at, and whether the branch is there already.
fn resolve(
    source: &Checkout,
    branch: &str,
    wish: &CreateRequest,
    base: &str,
) -> Result<(Option<String>, bool), WorktreeError> {
    if base.contains(char::is_control) || base.starts_with('-') {
        return Err(WorktreeError::NoBase(base.into()));
    }
    // A branch and a folder of branches can't have one name: `a` is in the way of `a/b`.
    let above: Vec<&str> = branch.match_indices('/').map(|(at, _)| &branch[..at]).collect();
    let mut asked = vec![format!("{base}^{{commit}}"), format!("refs/heads/{branch}")];
    asked.extend(above.iter().map(|b| format!("refs/heads/{b}")));
    let found = source.git().resolve(&asked)?;
    if let Some(at) = found[2..].iter().position(Option::is_some) {
        return Err(WorktreeError::BranchInTheWay { wanted: branch.into(), existing: above[at].into() });
    }
    let Some(tip) = &found[1] else { return Ok((found[0].as_ref().map(|o| o.id.clone()), false)) };
    if wish.base.is_some() {
        return Err(WorktreeError::BranchTaken(branch.into()));
    }
    if let Some(at) = holder(source, branch)? {
        return Err(WorktreeError::BranchInUse { branch: branch.into(), at });
    }
    Ok((Some(tip.id.clone()), true))
}

/// The checkout of this repository that has the branch checked out.
fn holder(source: &Checkout, branch: &str) -> Result<Option<PathBuf>, WorktreeError> {
    let mut all: Vec<Checkout> = source.main()?.into_iter().collect();
    for (root, _) in source.registered()? {
        all.extend(Checkout::at(&root)?);
    }
    for checkout in all {
        if checkout.branch()?.as_deref() == Some(branch) {
            return Ok(Some(checkout.root));
        }
    }
    Ok(None)
}

fn find_ignored(
    source: &Checkout,
    listed: Vec<PathBuf>,
    modules: &[Submodule],
    settings: &Settings,
    store: &Path,
) -> Result<Ignored, WorktreeError> {
    let excluded = settings.excluded(&source.root)?;
    let mut worktrees: Vec<PathBuf> = source.registered()?.into_iter().map(|(root, _)| root).collect();
    worktrees.retain(|w| *w != source.root);
    let mut flat = Vec::new();
    modules.iter().for_each(|m| m.flatten(Path::new(""), &mut flat));
    let included = Included::load(&source.root)?;
    let limits = IgnoredLimits { excluded: &excluded, included: included.as_ref(), store, worktrees: &worktrees };
    Ok(ignored::find(source, listed, &flat, &limits)?)
}

impl CreatePlan {
    /// The worktree that this plan makes, for its record.
    pub fn new_worktree(&self) -> NewWorktree<'_> {
        NewWorktree {
            path: &self.names.path,
            branch: &self.names.branch,
            makes_branch: !self.branch_exists,
            commit: self.commit.as_deref(),
        }
    }

    /// Whether the source has all artifacts of a component that are named without a pattern, and some at all.
    pub fn has_built(&self, declared: &Declared) -> bool {
        let ignored = || self.ignored.directories.iter().chain(&self.ignored.files);
        let is_there = |literal: &Path| {
            let is_shared = ignored().any(|at| literal.starts_with(at) || at.starts_with(literal));
            is_shared && path::is_there(&self.source.root.join(literal))
        };
        declared.literals().all(is_there) && ignored().any(|at| declared.covers(at))
    }

    /// Whether no component declares an artifact directory: then the lock files beside it decide.
    fn is_undeclared(&self, directory: &Path) -> bool {
        self.components.covering(directory).next().is_none()
    }

    /// The output of `--dry-run`; scripts read the path from it.
    pub fn words(&self) -> String {
        format!(
            "Dry run (no changes made):\n  source:   {}\n  path:     {}\n  branch:   {}\n  base-ref: {}\n",
            self.source.root.shown(),
            self.names.path.shown(),
            self.names.branch,
            self.base
        )
    }

    /// Artifacts come from the source: they fit as long as the lock files beside them are the same at the base.
    fn refuse_builds(&self) -> Result<(), WorktreeError> {
        let Some(commit) = &self.commit else { return Ok(()) };
        let mut differ = Vec::new();
        let views = Views::of(&self.source)?;
        for artifact in self.ignored.directories.iter().filter(|d| self.is_undeclared(d)) {
            for (at, hash) in made_with(&self.source, views.as_ref(), artifact)? {
                let there = self.source.git().blob(&format!("{commit}:{}", at.to_string_lossy()))?;
                // A lock file that is not in the commit is no difference.
                let is_same = there.is_none_or(|bytes| blake3::hash(&bytes).to_hex().as_str() == hash);
                if !is_same && !differ.contains(artifact) {
                    differ.push(artifact.clone());
                }
            }
        }
        if differ.is_empty() { Ok(()) } else { Err(WorktreeError::WouldBuild(differ)) }
    }
}
