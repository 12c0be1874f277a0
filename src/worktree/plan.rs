//! Everything a create needs to know, and every reason to refuse it, found before anything is made.

use std::path::{Path, PathBuf};

use super::branch::{self, BranchRequest, BranchUse, Start, StartRequest};
use super::error::WorktreeError;
use super::relocation::Policies;
use super::unfinished::{Killed, NewWorktree};
use crate::component::load::{self, UserConfigPaths};
use crate::component::{Components, Declared, Undeclared};
use crate::git::checkout::{self, Checkout};
use crate::git::command::{Git, Tracking};
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

/// Printed for a worktree without a branch.
const DETACHED: &str = "(detached)";

/// The user's request.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    pub name: String,
    pub base: Option<String>,
    pub branch: BranchRequest,
    /// A new branch tracks nothing.
    pub no_track: bool,
    /// The directory of the worktree, where it was given.
    pub path: Option<PathBuf>,
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
    pub branch: BranchUse,
    /// A branch that has the worktree's name without the initials.
    pub beside: Option<String>,
    pub settings: Settings,
    /// The components in the commit's `depsfs.toml` and the user's configuration.
    pub components: Components,
    /// The policies for artifacts that hold the source's absolute path.
    pub policies: Policies,
    pub modules: Vec<Submodule>,
    pub ignored: Ignored,
    /// The source has nothing to share, and no component is declared: a remote of the team has to have it.
    pub is_unbuilt: bool,
}

/// Looks at everything. Only a fetch changes anything: the repository's knowledge of its remote.
pub fn plan(source: Checkout, wish: &CreateRequest, store: &Path) -> Result<CreatePlan, WorktreeError> {
    let (listed, settings) = look(&source)?;
    settings.absolute_paths()?;
    let initials = naming::initials(settings.value("user.initials"), settings.value("user.name"));
    let mut names = naming::names(&source.root, &wish.name, wish.branch.name(), initials.as_deref())?;
    place(&source, &settings, wish, &mut names)?;
    if let Some(base) = wish.base.as_deref().filter(|_| !wish.dry_run) {
        fetch(&source.git(), &settings, base)?;
    }
    let (derived, name) = (&names.branch, wish.name.trim_end_matches('/'));
    let (base, no_track) = (wish.base.as_deref(), wish.no_track);
    let asked = StartRequest { branch: &wish.branch, name, derived, base, no_track };
    let Start { used: branch, base, commit, beside } = branch::start(&source, &settings, &asked)?;
    if commit.is_none() && !(wish.dry_run && remote_of(&settings, &base).is_some()) {
        return Err(WorktreeError::NoBase(base));
    }
    if branch == BranchUse::Detached {
        names.branch = DETACHED.into();
    }
    let modules = submodule::initialised(&source)?;
    if let Some(commit) = &commit {
        submodule::check(&source, commit, &modules)?;
    }
    let ignored = find_ignored(&source, listed, &modules, &settings, (store, &[]))?;
    let components = load::at_commit(&source, &settings, commit.as_deref(), &wish.user)?;
    // Fetched or built artifacts need no files of the source.
    let is_unbuilt = ignored.directories.is_empty() && components.is_empty();
    let may_come = !components.remotes.is_empty();
    if is_unbuilt && !may_come && (!wish.allow_unbuilt || wish.frozen_only) {
        return Err(WorktreeError::Unbuilt(source.root));
    }
    let policies = Policies::new(&settings, components.clone())?;
    let plan = CreatePlan {
        source,
        names,
        base,
        commit,
        branch,
        beside,
        settings,
        components,
        policies,
        modules,
        ignored,
        is_unbuilt,
    };
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
    let shown = Views::of(target)?.map(|views| views.manifest.views).unwrap_or_default();
    let shown: Vec<PathBuf> = shown.into_iter().map(|view| view.path).collect();
    let ignored = find_ignored(&source, listed, &modules, &settings, (store, &shown))?;
    if ignored.directories.is_empty() && !allow_unbuilt {
        return Err(WorktreeError::Unbuilt(source.root));
    }
    let head = target.git().resolve(&["HEAD^{commit}".into()])?.pop().flatten();
    let branch = target.branch()?.map_or_else(|| DETACHED.into(), |branch| branch.to_string_lossy().into_owned());
    let names = WorktreeNames { path: target.root.clone(), branch, whole: None };
    let (base, commit) = (String::from("HEAD"), head.map(|object| object.id));
    let components = Components::default();
    Ok(CreatePlan {
        source,
        names,
        base,
        commit,
        branch: BranchUse::New(Tracking::AsConfigured),
        beside: None,
        settings,
        components,
        policies,
        modules,
        ignored,
        is_unbuilt: false,
    })
}

/// Decides the directory, and takes back what a killed create left there.
fn place(
    source: &Checkout,
    settings: &Settings,
    wish: &CreateRequest,
    names: &mut WorktreeNames,
) -> Result<(), WorktreeError> {
    let is_free = |at: &Path| -> Result<bool, WorktreeError> {
        if !wish.dry_run
            && let Some(killed) = Killed::at(&source.common_dir, at)?
        {
            killed.take_back()?;
        }
        Ok(!path::is_there(at))
    };
    let candidates = match (&wish.path, settings.value("depsfs.path").filter(|template| !template.is_empty())) {
        (Some(given), _) => vec![checkout::destination(given)?],
        (None, Some(template)) => {
            let home = wish.user.home.as_deref();
            let named = naming::from_template(template, &source.root, &wish.name, &names.branch, home)?;
            vec![checkout::destination(&named)?]
        }
        (None, None) => [Some(names.path.clone()), names.whole.clone()].into_iter().flatten().collect(),
    };
    for candidate in &candidates {
        if is_free(candidate)? {
            names.path.clone_from(candidate);
            return Ok(());
        }
    }
    Err(WorktreeError::PathTaken(candidates[0].clone()))
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

/// The ignored paths of a checkout that no component declares, as a create would share them.
///
/// # Errors
/// git fails, or a pattern of the configuration is unsound.
pub fn undeclared(checkout: &Checkout, components: &Components, store: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
    let (listed, settings) = look(checkout)?;
    let modules = submodule::initialised(checkout)?;
    let mut ignored = find_ignored(checkout, listed, &modules, &settings, (store, &[]))?;
    ignored.directories.retain(|at| components.covering(at).next().is_none());
    Ok(ignored.directories)
}

fn find_ignored(
    source: &Checkout,
    listed: Vec<PathBuf>,
    modules: &[Submodule],
    settings: &Settings,
    (store, views): (&Path, &[PathBuf]),
) -> Result<Ignored, WorktreeError> {
    let excluded = settings.excluded(&source.root)?;
    let mut worktrees: Vec<PathBuf> = source.registered()?.into_iter().map(|(root, _)| root).collect();
    worktrees.retain(|w| *w != source.root);
    let mut flat = Vec::new();
    modules.iter().for_each(|m| m.flatten(Path::new(""), &mut flat));
    let included = Included::load(&source.root)?;
    let limits =
        IgnoredLimits { excluded: &excluded, included: included.as_ref(), store, worktrees: &worktrees, views };
    Ok(ignored::find(source, listed, &flat, &limits)?)
}

impl CreatePlan {
    /// The worktree that this plan makes, for its record.
    pub fn new_worktree(&self) -> NewWorktree<'_> {
        NewWorktree {
            path: &self.names.path,
            branch: &self.names.branch,
            makes_branch: matches!(self.branch, BranchUse::New(_)),
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

    /// Whether a remote of the team is looked at for artifact directories that no component declares: the source has
    /// none of them.
    pub fn needs_commit_artifact(&self) -> bool {
        let is_shared = self.components.undeclared == Undeclared::Share;
        is_shared && self.ignored.directories.iter().all(|at| !self.is_undeclared(at))
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
                let there = self.source.git().blob(format!("{commit}:{}", at.to_string_lossy()))?;
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
