//! `depsfs status`: one line of truth for each view of a worktree.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::ViewsError;
use super::embedded_paths::{EmbeddedPaths, Traced};
use super::lockfile;
use super::mounted::moved_through;
use super::renamed::path_now;
use super::set::Views;
use super::stats::{self, Stats};
use crate::daemon::{self, DaemonState};
use crate::remote::fetcher::IncompleteTrees;
use crate::store::manifest::{CopyState, Shape, ViewSpec};
use crate::store::{Manifest, ObjectId, Store};
use crate::sys::log::OrWarn;
use crate::sys::{path, thread};

/// The time limit for looking at all views of one mount.
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// The status of a worktree's views. Serialised as `--json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorktreeStatus {
    #[serde(serialize_with = "super::json_path::path")]
    pub worktree: PathBuf,
    #[serde(serialize_with = "super::json_path::optional")]
    pub source: Option<PathBuf>,
    pub commit: Option<String>,
    pub created: String,
    #[serde(serialize_with = "super::json_path::path")]
    pub store: PathBuf,
    /// Parts of the store that the views need and that are missing, in words.
    pub store_trouble: Option<String>,
    /// `None`: no daemon is alive.
    pub daemon: Option<Daemon>,
    /// How its views are mounted.
    pub shape: Shape,
    /// Objects of its views that the store has lost, as far as they were read: files with them answer EIO.
    pub lost_objects: Vec<String>,
    pub views: Vec<ViewStatus>,
    /// Lock files that differ from those the artifacts were made with.
    #[serde(serialize_with = "super::json_path::list")]
    pub drift: Vec<PathBuf>,
    /// Artifacts with files that hold the absolute path of another checkout.
    pub absolute_paths: Vec<Traced>,
    /// Only if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
}

/// The daemon of a worktree, which answers the requests to its views.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Daemon {
    /// The keeper.
    pub pid: i64,
    pub server_pid: Option<i64>,
    pub version: String,
    /// A fault of the whole daemon, in words.
    pub trouble: Option<String>,
}

/// One artifact of a worktree, and how its directory shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ViewStatus {
    #[serde(serialize_with = "super::json_path::path")]
    pub path: PathBuf,
    pub mounted: bool,
    /// It returns EIO for every request.
    pub refusing: bool,
    /// Requests wait for an answer that no server will give.
    pub hung: bool,
    /// Its directory, or all in it, was deleted; `depsfs reset` brings the store's back.
    pub dropped: bool,
    /// It is plain files: `complete`, or `begun` when files may be absent.
    pub copy: Option<&'static str>,
    /// Its directory was renamed, in a worktree that is one view: the path that shows it now.
    #[serde(serialize_with = "super::json_path::optional")]
    pub renamed_to: Option<PathBuf>,
    /// It was dropped, and since then has plain files of the worktree's own.
    pub remade: bool,
    /// How its files are opened: `zero-message`, or `passthrough` where big files are read without the server.
    pub mode: Option<&'static str>,
    /// The reason why it is not mounted, if it is known.
    pub error: Option<String>,
    /// Contents of its files are not all here yet.
    pub incomplete: Option<IncompleteView>,
    /// The origins of its grafts.
    pub origin: Vec<String>,
    /// Copies of its journal that was damaged, until they are deleted.
    #[serde(serialize_with = "super::json_path::list")]
    pub damaged_journals: Vec<PathBuf>,
}

/// A view whose contents are not all here: files that are not are fetched when they are read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IncompleteView {
    /// The share of the bytes that is here.
    pub percent: u64,
    pub bytes_here: u64,
    pub bytes: u64,
    pub remote: String,
    /// Since when the remote does not answer, if it does not.
    pub silent_since: Option<String>,
    pub because: Option<String>,
}

impl IncompleteView {
    /// Of a view; nothing if all is here, or it is not known.
    fn of(store: Option<&Store>, view: &ViewSpec) -> Option<IncompleteView> {
        let trees = view.grafts.iter().map(|graft| graft.tree);
        let found = IncompleteTrees::of(store?, trees).or_debug("the contents of a view are not counted").flatten()?;
        let (silent_since, because) = found.silent.clone().map(|silent| (silent.since, silent.why)).unzip();
        Some(IncompleteView {
            percent: found.percent(),
            bytes_here: found.here,
            bytes: found.all,
            remote: found.remote,
            silent_since,
            because,
        })
    }
}

impl WorktreeStatus {
    /// The views that don't show what they should.
    pub fn missing(&self) -> impl Iterator<Item = &ViewStatus> {
        self.views.iter().filter(|v| !((v.mounted && !v.refusing && !v.hung) || v.remade || v.is_whole_copy()))
    }
}

impl ViewStatus {
    /// Whether it is plain files, all of which were made.
    pub fn is_whole_copy(&self) -> bool {
        self.copy == Some("complete") && !self.dropped
    }
}

/// Checks the store's version file and the trees that the views need by name. Opening the store would report less.
pub(crate) fn store_trouble(manifest: &Manifest) -> Result<Option<String>, ViewsError> {
    let store = &manifest.store;
    if path::stat(&store.join("version"))?.is_none() {
        return Ok(Some("it is gone".into()));
    }
    let mut missing = 0;
    for tree in manifest.trees() {
        missing += usize::from(path::stat(&store.join("trees").join(tree.place()))?.is_none());
    }
    Ok((missing > 0).then(|| format!("it has lost {missing} of the trees that the views show")))
}

/// Those that are noted in the store, of the trees of these views.
fn lost_objects(manifest: &Manifest) -> Vec<String> {
    let Ok(store) = Store::existing(&manifest.store) else { return vec![] };
    let noted = store.lost_objects().unwrap_or_default();
    if noted.is_empty() {
        return vec![];
    }
    let trees = manifest.trees().into_iter().filter_map(|tree| store.tree(tree).ok());
    let needed: HashSet<ObjectId> = trees.flat_map(|tree| tree.objects().collect::<Vec<_>>()).collect();
    noted.into_iter().filter(|id| needed.contains(id)).map(|id| id.hex()).collect()
}

/// The files of a worktree that hold the absolute path of a checkout, or held it before they were relocated.
///
/// # Errors
/// The record or a tree can't be read.
pub fn absolute_paths(views: &Views) -> Result<Vec<Traced>, ViewsError> {
    Ok(EmbeddedPaths::load(&views.state_dir)?.artifacts)
}

/// As [`status`], with the daemon's counters, which are read from each view.
///
/// # Errors
/// As those of [`status`]. A view that does not answer is an error of its own, in the statistics.
pub fn with_stats(views: &Views) -> Result<WorktreeStatus, ViewsError> {
    Ok(WorktreeStatus { stats: Some(stats::stats(views)), ..status(views)? })
}

/// The views of a mount of the whole worktree whose directories were deleted. A mount that does not answer hides nothing.
///
/// Each with the path that shows it now, if it was renamed.
fn absent(views: &Views, state: Option<&DaemonState>) -> HashMap<PathBuf, Option<PathBuf>> {
    let is_served = state.is_some_and(|state| !state.refusing);
    if !views.is_whole() || !is_served || !views.manifest.views.iter().any(|view| views.is_mounted(view)) {
        return HashMap::new();
    }
    let top = views.manifest.worktree.clone();
    let places: Vec<_> = views.manifest.views.iter().map(|v| (v.path.clone(), views.place(v))).collect();
    let look = move || {
        let is_gone = |place: &PathBuf| path::stat(place).is_ok_and(|stat| stat.is_none_or(|stat| !stat.is_dir()));
        let gone: Vec<PathBuf> = places.into_iter().filter(|(_, place)| is_gone(place)).map(|(path, _)| path).collect();
        // Without an answer they count as deleted.
        let moved = if gone.is_empty() { Vec::new() } else { moved_through(&top).unwrap_or_default() };
        let now = |path: &PathBuf| path_now(&moved, path).filter(|now| !is_gone(&top.join(now)));
        gone.into_iter().map(|path| (path.clone(), now(&path))).collect()
    };
    thread::within(LOOKED_FOR, look).unwrap_or_default()
}

/// Looks at state files and lock files only: nothing inside a view is touched, so a hung one hangs nothing.
///
/// # Errors
/// A state file can't be read.
pub fn status(views: &Views) -> Result<WorktreeStatus, ViewsError> {
    let state = views.state();
    let manifest = &views.manifest;
    let hung = daemon::hung(&views.state_dir);
    let all = state.as_ref().map(DaemonState::by_id).unwrap_or_default();
    // If a request hangs, each look at the worktree may hang too, and the thread that looks would keep this process alive.
    let may_look = hung.is_empty() || !views.is_whole();
    let gone = if may_look { absent(views, state.as_ref()) } else { HashMap::new() };
    let store = Store::existing(&manifest.store).ok();
    let seen = manifest.views.iter().map(|view| {
        let known = all.get(manifest.mount_id(view));
        let is_copy = view.is_copy();
        ViewStatus {
            path: view.path.clone(),
            mounted: known.is_some_and(|v| v.mounted) && !gone.contains_key(&view.path),
            refusing: state.as_ref().is_some_and(|s| s.refusing) && known.is_some_and(|v| v.mounted),
            hung: hung.iter().any(|v| v.id == manifest.mount_id(view)),
            dropped: match is_copy {
                true => !path::is_dir(&views.place(view)),
                false => views.is_dropped(view) || gone.contains_key(&view.path),
            },
            copy: view.copy.map(|state| if state == CopyState::Begun { "begun" } else { "complete" }),
            renamed_to: gone.get(&view.path).cloned().flatten(),
            remade: !is_copy
                && views.is_dropped(view)
                && path::is_dir(&views.place(view))
                && path::list(&views.place(view)).is_ok_and(|names| !names.is_empty()),
            mode: known.filter(|v| v.mounted).map(|v| if v.passes.is_some() { "passthrough" } else { "zero-message" }),
            error: known.and_then(|v| v.error.clone()),
            incomplete: IncompleteView::of(store.as_ref(), view).filter(|_| !is_copy),
            origin: view.grafts.iter().map(|g| g.origin.clone()).collect(),
            damaged_journals: views.damaged(view),
        }
    });
    let seen = seen.collect();
    let recorded = manifest.views.iter().filter(|_| may_look).flat_map(|v| &v.lockfiles);
    let drift = lockfile::drifted(&manifest.worktree, recorded.map(|l| (l.path.as_path(), l.blake3.as_str())))?;
    Ok(WorktreeStatus {
        worktree: manifest.worktree.clone(),
        source: manifest.source.clone(),
        commit: manifest.commit.clone(),
        created: manifest.created.clone(),
        store: manifest.store.clone(),
        store_trouble: store_trouble(manifest)?,
        daemon: state.map(|s| Daemon {
            pid: i64::from(s.pid),
            server_pid: s.server_pid.map(i64::from),
            version: s.version,
            trouble: s.trouble,
        }),
        shape: manifest.shape,
        lost_objects: lost_objects(manifest),
        views: seen,
        drift: drift.into_iter().collect(),
        absolute_paths: absolute_paths(views)?,
        stats: None,
    })
}
