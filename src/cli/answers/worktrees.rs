//! The answers of verbs that make, mount and remove worktrees.

use schemars::JsonSchema;
use serde::Serialize;

use super::{ComponentAnswer, DifferenceAnswer, JsonPath, PushAnswer, ReasonAnswer};
use crate::git::ignored::LeftOut;
use crate::views::embedded_paths::Traced;
use crate::worktree::create::{CopiedFile, Created};
use crate::worktree::plan::CreatePlan;

/// `depsfs create`. Of a dry run, and of a create that was resumed, only what is known is there.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct CreateAnswer {
    /// Nothing was made.
    pub dry_run: bool,
    pub worktree: JsonPath,
    pub source: Option<JsonPath>,
    pub branch: Option<String>,
    pub base_ref: Option<String>,
    pub commit: Option<String>,
    pub mounted: bool,
    /// Relative to the worktree, as all paths below.
    pub views: Vec<JsonPath>,
    pub shared_files: u64,
    pub shared_bytes: u64,
    /// Single ignored files that were copied.
    pub copied: Vec<CopiedAnswer>,
    pub submodules: u64,
    /// Ignored directories of the source that are not shared.
    pub left_out: Vec<ReasonAnswer>,
    /// Artifact directories that had files of their own, which stay on top.
    pub kept: Vec<KeptAnswer>,
    /// Artifacts with files that hold, or held, the absolute path of the source.
    pub absolute_paths: Vec<Traced>,
    /// Files of the source's views whose bytes the store has lost.
    pub lost: Vec<JsonPath>,
    /// Lock files that differ from those the artifacts were made with.
    pub drift: Vec<JsonPath>,
    /// Null when they were not looked at: their commands are not approved, or the base-ref is not fetched.
    pub components: Option<Vec<ComponentAnswer>>,
}

/// A single ignored file that was copied.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CopiedAnswer {
    pub path: JsonPath,
    /// It held the source's path, and the copy holds the worktree's.
    pub relocated: bool,
}

/// An artifact directory with files of its own.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptAnswer {
    pub path: JsonPath,
    /// Their number; counting ends at some thousands.
    pub files: u64,
}

impl CreateAnswer {
    /// Everything that is known before anything is made.
    pub fn planned(plan: &CreatePlan) -> CreateAnswer {
        let left_out = plan.ignored.left_out.iter().filter(|(_, why)| *why != LeftOut::Empty);
        CreateAnswer {
            dry_run: true,
            worktree: plan.names.path.as_path().into(),
            source: Some(plan.source.root.as_path().into()),
            branch: Some(plan.names.branch.clone()),
            base_ref: Some(plan.base.clone()),
            commit: plan.commit.clone(),
            views: JsonPath::list(&plan.ignored.directories),
            left_out: left_out.map(|(at, why)| ReasonAnswer::new(at, why.words())).collect(),
            ..CreateAnswer::default()
        }
    }

    /// The outcome of a create or an adopt.
    pub fn made(plan: &CreatePlan, created: &Created, mounted: bool) -> CreateAnswer {
        let planned = CreateAnswer::planned(plan);
        let unfit = created.unfit.iter().map(|(at, why)| ReasonAnswer::new(at, &why.to_string()));
        let copied = |file: &CopiedFile| CopiedAnswer { path: file.path.as_path().into(), relocated: file.relocated };
        CreateAnswer {
            dry_run: false,
            worktree: created.worktree.as_path().into(),
            branch: Some(created.branch.clone()),
            commit: Some(created.commit.clone()),
            mounted,
            views: JsonPath::list(&created.views),
            shared_files: created.shared_files,
            shared_bytes: created.shared_bytes,
            copied: created.copied.iter().map(copied).collect(),
            submodules: created.submodules as u64,
            left_out: unfit.chain(planned.left_out).collect(),
            kept: created
                .kept
                .iter()
                .map(|(at, n)| KeptAnswer { path: at.as_path().into(), files: *n as u64 })
                .collect(),
            absolute_paths: created.traced.clone(),
            lost: JsonPath::list(&created.lost),
            drift: JsonPath::list(&created.drifted),
            components: Some(created.decisions.iter().map(ComponentAnswer::from).collect()),
            ..planned
        }
    }

    /// With the outcome for components that were fetched or built afterwards.
    pub fn with_done(self, done: Vec<ComponentAnswer>) -> CreateAnswer {
        let mut all = self.components.unwrap_or_default();
        all.retain(|component| done.iter().all(|d| d.name != component.name));
        all.extend(done);
        CreateAnswer { components: Some(all), ..self }
    }
}

/// `depsfs adopt`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AdoptAnswer {
    /// It had its views before; they were mounted, and nothing else was done.
    pub had_views: bool,
    #[serde(flatten)]
    pub made: CreateAnswer,
}

/// `depsfs remove`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoveAnswer {
    /// Nothing was removed.
    pub dry_run: bool,
    pub worktree: JsonPath,
    /// Paths of its views that were its own, and went with it.
    pub private_paths: u64,
    pub branch_deleted: Option<String>,
    /// It is what a create that was killed had left.
    pub was_unfinished: bool,
}

/// `depsfs mount`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MountAnswer {
    pub places: Vec<MountedAnswer>,
}

/// A worktree, or a directory that entries are mounted at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MountedAnswer {
    pub path: JsonPath,
    pub state: MountedState,
    /// How many views it has; null when not counted.
    pub views: Option<u64>,
}

/// The outcome for one worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountedState {
    Mounted,
    /// It is deleted; `depsfs doctor --fix` forgets it.
    Gone,
    /// It is on a disk that is not mounted, or was moved.
    Away,
    /// An object on stderr names the cause.
    Failed,
}

/// `depsfs unmount`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UnmountAnswer {
    /// Nothing was unmounted.
    pub dry_run: bool,
    pub path: JsonPath,
}

/// `depsfs reset`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ResetAnswer {
    /// Nothing was dropped.
    pub dry_run: bool,
    /// False when the question was answered with no.
    pub confirmed: bool,
    /// The changes that are dropped, parents before what is below them.
    pub changes: Vec<DifferenceAnswer>,
}

/// `depsfs thaw`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ThawAnswer {
    /// Nothing was thawed.
    pub dry_run: bool,
    pub thawed: Vec<ThawedAnswer>,
}

/// A path that is plain now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ThawedAnswer {
    /// Relative to the worktree.
    pub path: JsonPath,
    /// How many paths were copied out of the store.
    pub paths: u64,
    /// The whole artifact directory is plain, and no view any more.
    pub whole: bool,
}

/// `depsfs publish`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PublishAnswer {
    pub published: Vec<PublishedAnswer>,
    /// With `--push`, what was sent; null if nothing was.
    pub pushed: Option<PushAnswer>,
}

/// An entry that was published.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PublishedAnswer {
    /// Null for an entry with a name of its own.
    pub component: Option<String>,
    pub entry: String,
    pub files: u64,
    pub bytes: u64,
}
