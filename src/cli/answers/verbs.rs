//! The answers of verbs that look: at worktrees, at views, at the machine.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::{ComponentAnswer, JsonPath};
use crate::doctor::Row;
use crate::store::{AwayRoot, GcReport};
use crate::views::diff::Difference;
use crate::views::sharing::SavedBytes;
use crate::worktree::artifacts::materialize::Brought;
use crate::worktree::list::ListedWorktree;
use crate::worktree::sync::Synced;

/// `depsfs list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    pub worktrees: Vec<ListedWorktree>,
}

/// `depsfs path`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PathAnswer {
    /// The top of the worktree.
    pub path: JsonPath,
}

/// `depsfs diff`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffAnswer {
    /// Parents before what is below them.
    pub changes: Vec<DifferenceAnswer>,
}

/// A path that differs from the store.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DifferenceAnswer {
    pub kind: Difference,
    /// Relative to the worktree.
    pub path: JsonPath,
}

impl From<&(Difference, PathBuf)> for DifferenceAnswer {
    fn from((kind, path): &(Difference, PathBuf)) -> DifferenceAnswer {
        DifferenceAnswer { kind: *kind, path: path.as_path().into() }
    }
}

/// `depsfs doctor`.
#[derive(Serialize, JsonSchema)]
pub struct DoctorAnswer {
    pub checks: Vec<Row>,
}

/// `depsfs gc`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GcAnswer {
    /// Nothing was deleted; the numbers are of what would be.
    pub dry_run: bool,
    /// The disk space that was freed.
    pub bytes: u64,
    pub objects: u64,
    pub trees: u64,
    /// Names of the entries that were deleted.
    pub entries: Vec<String>,
    /// Manifests of worktrees that are gone.
    pub dead_roots: Vec<JsonPath>,
    /// Worktrees that are not there and may come back.
    pub away: Vec<AwayAnswer>,
    /// Worktrees that were away and are let go of.
    pub forgotten: Vec<JsonPath>,
    /// Worktrees that the rest is kept for.
    pub live_roots: u64,
    pub snapshots: u64,
    pub temporaries: u64,
    /// Names of the tarballs in `CACHE_LOCAL_DIR` that were deleted.
    pub tarballs: Vec<String>,
    /// The disk space that copies in all known worktrees would take, less what the store takes for them.
    pub saved_bytes: u64,
    /// How many worktrees have views.
    pub saved_worktrees: u64,
}

impl GcAnswer {
    /// A report, with the names of the tarballs that were deleted besides.
    pub fn of(report: &GcReport, dry_run: bool, tarballs: &[String], saved: SavedBytes) -> GcAnswer {
        let away = |away: &AwayRoot| AwayAnswer { path: git_dir(&away.manifest).into(), bytes: away.bytes };
        GcAnswer {
            dry_run,
            bytes: report.bytes,
            objects: report.objects,
            trees: report.trees,
            entries: report.entries.clone(),
            dead_roots: JsonPath::list(&report.dead_roots),
            away: report.away.iter().map(away).collect(),
            forgotten: report.forgotten.iter().map(|manifest| git_dir(manifest).into()).collect(),
            live_roots: report.live_roots,
            snapshots: report.snapshots,
            temporaries: report.temporaries,
            tarballs: tarballs.to_vec(),
            saved_bytes: saved.bytes,
            saved_worktrees: saved.worktrees,
        }
    }
}

/// The name of a worktree that is away: the parent of its state directory.
pub fn git_dir(manifest: &Path) -> &Path {
    manifest.parent().and_then(Path::parent).unwrap_or(manifest)
}

/// A worktree that is away.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AwayAnswer {
    /// The private git directory that it had.
    pub path: JsonPath,
    /// The size of the trees that are kept for it alone.
    pub bytes: u64,
}

/// `depsfs sync`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SyncAnswer {
    pub components: Vec<ComponentAnswer>,
    /// Views that show what the source has now.
    pub views: Vec<JsonPath>,
    /// Views of directories that only the source had.
    pub added: Vec<JsonPath>,
    /// Directories of the source that do not fit.
    pub unfit: Vec<JsonPath>,
    /// Changes of the worktree that hide something newer.
    pub hidden: Vec<JsonPath>,
}

impl SyncAnswer {
    /// The outcome for components, and for artifacts of the source.
    pub fn of(brought: &[Brought], synced: &Synced) -> SyncAnswer {
        let kept = brought.iter().flat_map(|b| &b.kept);
        SyncAnswer {
            components: brought.iter().map(ComponentAnswer::from).collect(),
            views: JsonPath::list(&synced.changed),
            added: JsonPath::list(&synced.added),
            unfit: JsonPath::list(synced.unfit.iter().map(|(at, _)| at)),
            hidden: JsonPath::list(synced.hidden.iter().map(|(_, at)| at).chain(kept)),
        }
    }
}

/// `depsfs service status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServiceAnswer {
    pub unit: JsonPath,
    pub installed: bool,
    /// As `systemctl` has it; null without systemd.
    pub enabled: Option<String>,
    pub active: Option<String>,
}
