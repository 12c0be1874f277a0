//! Imports the source's ignored directories as trees of the store, on a thread beside `git worktree add`.
//!
//! A directory that is a clean view itself isn't read at all: its grafts are taken over. In a changed view only the
//! changed paths are read (`unchanged.rs`); the others are copied from its trees.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};

use ignore::gitignore::Gitignore;

use super::error::WorktreeError;
use super::plan::CreatePlan;
use super::relocation::policy;
use crate::remote::{inherit_source, inherit_sources};
use crate::store::import::{Imported, SkipReason, files_lost, import_dir_watching};
use crate::store::manifest::{Graft, LockFile, ViewSpec};
use crate::store::{Progress, Store, Tree, TreeBuilder};
use crate::sys::interrupt::Interrupted;
use crate::sys::log::OrWarn;
use crate::sys::{fs, interrupt, spawn};
use crate::views::ViewsError;
use crate::views::changed_source::{Changed, ChangedMount};
use crate::views::embedded_paths::{EmbeddedPaths, Trace, Traced};
use crate::views::lockfile::{Beside, LockFiles};
use crate::views::set::{self, Views};

/// How many directories are taken at once.
const AT_ONCE: usize = 4;

/// One directory of the source, shared.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Relative to the source's top.
    pub path: PathBuf,
    pub grafts: Vec<Graft>,
    pub files: u64,
    pub bytes: u64,
    /// Lock files beside it, with the hash of their content.
    pub lockfiles: Beside,
    /// Its files that hold the absolute path of the source.
    pub traces: Vec<Trace>,
    /// Its files whose bytes the store has lost, relative to the source's top.
    pub lost: Vec<PathBuf>,
    /// Directories and files in it that are left out, because this user may not read them; without those that `depsfs.exclude`
    /// names. Relative to the source's top.
    pub closed: Vec<PathBuf>,
}

impl Snapshot {
    /// The view that shows it in another worktree.
    pub fn into_view(self) -> ViewSpec {
        let lockfiles = self.lockfiles.into_iter().map(|(path, blake3)| LockFile { path, blake3 }).collect();
        ViewSpec { id: set::id_of(&self.path), path: self.path, grafts: self.grafts, lockfiles, ..ViewSpec::default() }
    }
}

/// Work that goes on elsewhere.
pub struct Snapshots {
    answer: mpsc::Receiver<Result<Vec<Snapshot>, WorktreeError>>,
    stop: Arc<AtomicBool>,
}

impl Snapshots {
    /// Begins with these directories of the plan's source.
    pub fn start(
        plan: &CreatePlan,
        directories: &[PathBuf],
        store: &Arc<Store>,
        progress: Arc<dyn Progress + Send + Sync>,
    ) -> Result<Snapshots, WorktreeError> {
        let (sender, answer) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let inner = Arc::new(WatchedProgress { progress, stop: stop.clone() });
        let root = plan.source.root.clone();
        let of_checkout = plan.ignored.of_checkout.clone();
        let excluded = plan.settings.excluded(&root)?;
        let directories = directories.to_vec();
        let views = Views::of(&plan.source)?;
        let record = views.as_ref().map(|v| EmbeddedPaths::load(&v.state_dir)).transpose()?.unwrap_or_default();
        let store = store.clone();
        spawn::detached(move || {
            let source = SourceViews::new(&store, &root, views.as_ref(), of_checkout, excluded);
            let take = |at: &PathBuf| take(&store, &root, at, &source, record.of(at), &*inner);
            // No thread receives it any more when the create has failed meanwhile.
            // The cost of a small one is the wait for the disk.
            sender.send(spawn::try_map(&directories, AT_ONCE, take)).or_debug("the create has failed");
        });
        Ok(Snapshots { answer, stop })
    }

    /// All of them, or the first error. A signal ends the waiting.
    pub fn wait(&self) -> Result<Vec<Snapshot>, WorktreeError> {
        loop {
            match self.answer.recv_timeout(std::time::Duration::from_millis(50)) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Some(signal) = interrupt::raised() {
                        return Err(WorktreeError::Interrupted(Interrupted(signal)));
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => panic!("taking snapshots does not panic"),
            }
        }
    }
}

/// How long an import that was stopped may take to remove what it staged; gc removes the rest.
const TAKEN_BACK_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A stopped import takes back the objects that it staged. The wait is short, as the disk may hang.
        self.answer.recv_timeout(TAKEN_BACK_WITHIN).or_debug("an import still takes back what it staged");
    }
}

/// The caller's progress. A signal ends the import, and so does the drop of its [`Snapshots`].
struct WatchedProgress {
    progress: Arc<dyn Progress + Send + Sync>,
    stop: Arc<AtomicBool>,
}

impl Progress for WatchedProgress {
    fn begin(&self, step: &'static str, bytes: Option<u64>) {
        self.progress.begin(step, bytes);
    }

    fn expect(&self, files: u64, bytes: u64) {
        self.progress.expect(files, bytes);
    }

    fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }

    fn advance_file(&self, bytes: u64) {
        self.progress.advance_file(bytes);
    }

    fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || interrupt::raised().is_some() || self.progress.is_cancelled()
    }
}

fn take(
    store: &Store,
    root: &Path,
    at: &Path,
    views: &SourceViews<'_>,
    inherited: Option<&Traced>,
    progress: &dyn Progress,
) -> Result<Snapshot, WorktreeError> {
    let mut lockfiles = views.lock_files.beside(at)?;
    let whole = root.join(at);
    if let Some((grafts, made_with)) = views.clean(&whole, at) {
        // The artifacts were made with the lock files that the first source had beside them.
        if !made_with.is_empty() {
            lockfiles = made_with;
        }
        let (mut files, mut bytes, mut lost) = (0, 0, Vec::new());
        for graft in &grafts {
            let Ok(tree) = store.tree(graft.tree) else { continue };
            let (more_files, more_bytes) = size_of(&tree);
            (files, bytes) = (files + more_files, bytes + more_bytes);
            lost.extend(files_lost(store, &tree)?.iter().map(|file| at.join(&graft.at).join(file)));
        }
        let traces = policy::of(Vec::new(), root, inherited);
        return Ok(Snapshot { path: at.into(), grafts, files, bytes, lockfiles, traces, lost, closed: Vec::new() });
    }
    let mut imported = import(store, &whole, root, views.changed(&whole, at), progress)?;
    leave_out(store, &mut imported, views.of_checkout.iter().filter_map(|path| path.strip_prefix(at).ok()))?;
    let origin = format!("snapshot of {}", whole.to_string_lossy());
    let graft = Graft { at: PathBuf::new(), tree: imported.tree, entry: None, origin, retired: false };
    let (files, bytes) = (imported.stats.files, imported.stats.bytes);
    let traces = policy::of(imported.holding, root, inherited);
    let lost = imported.lost.iter().map(|file| at.join(file)).collect();
    let unreadable = imported.skipped.iter().filter(|skipped| skipped.why == SkipReason::Unreadable);
    let closed = unreadable.map(|skipped| skipped.path.strip_prefix(root).unwrap_or(&skipped.path).to_path_buf());
    let closed = closed.filter(|at| !views.excluded.matched_path_or_any_parents(at, true).is_ignore()).collect();
    Ok(Snapshot { path: at.into(), grafts: vec![graft], files, bytes, lockfiles, traces, lost, closed })
}

/// Takes some paths out of an imported tree.
fn leave_out<'a>(
    store: &Store,
    imported: &mut Imported,
    paths: impl Iterator<Item = &'a Path>,
) -> Result<(), WorktreeError> {
    let paths: Vec<&Path> = paths.collect();
    if paths.is_empty() {
        return Ok(());
    }
    let mut builder = TreeBuilder::from_tree(&*store.tree(imported.tree)?);
    paths.iter().for_each(|path| builder.remove(path));
    let whole = std::mem::replace(&mut imported.tree, store.put_tree(&builder)?);
    inherit_source(store, whole, imported.tree)?;
    let is_in = |at: &Path| !paths.iter().any(|path| at.starts_with(path));
    imported.holding.retain(|holding| is_in(&holding.path));
    imported.lost.retain(|at| is_in(at));
    (imported.stats.files, imported.stats.bytes) = size_of(&*store.tree(imported.tree)?);
    Ok(())
}

/// A directory is read whole, once; a view of trees of this store where it was changed.
fn import(
    store: &Store,
    whole: &Path,
    root: &Path,
    view: Option<Changed>,
    progress: &dyn Progress,
) -> Result<Imported, WorktreeError> {
    if let Some(view) = view
        && let Some(imported) = view.import(store, whole, root, progress)?
    {
        inherit_sources(store, &view.trees(), imported.tree, progress).map_err(ViewsError::from)?;
        return Ok(imported);
    }
    Ok(import_dir_watching(store, whole, root, progress)?)
}

/// The source: its lock files, and its views, as far as they are of this very store.
struct SourceViews<'a> {
    lock_files: LockFiles<'a>,
    views: Option<&'a Views>,
    /// Those that are mounted, by path.
    mounted: HashMap<&'a Path, &'a ViewSpec>,
    store: &'a Store,
    /// The mount of all of them, where they are one.
    mount: OnceLock<Option<Arc<ChangedMount>>>,
    /// Paths that are the checkout's, and no artifact has.
    of_checkout: Vec<PathBuf>,
    /// Paths that the user's configuration leaves out.
    excluded: Gitignore,
}

impl<'a> SourceViews<'a> {
    fn new(
        store: &'a Store,
        root: &'a Path,
        views: Option<&'a Views>,
        of_checkout: Vec<PathBuf>,
        excluded: Gitignore,
    ) -> SourceViews<'a> {
        let views = views.filter(|views| views.manifest.store == store.path());
        let mounted = views.iter().flat_map(|views| views.mounted());
        let mounted = mounted.map(|view| (view.path.as_path(), view)).collect();
        SourceViews {
            lock_files: LockFiles::of(root),
            views,
            mounted,
            store,
            mount: OnceLock::new(),
            of_checkout,
            excluded,
        }
    }

    /// The view at a directory, when it is mounted.
    fn at(&self, at: &Path) -> Option<(&'a Views, &'a ViewSpec)> {
        Some((self.views?, *self.mounted.get(at)?))
    }

    /// The mounted view at a directory, with its changes, if it reports them.
    fn changed(&self, whole: &Path, at: &Path) -> Option<Changed> {
        let (views, view) = self.at(at)?;
        let open = || ChangedMount::of(self.store, &views.mount_place(view)).map(Arc::new);
        match views.is_whole() {
            true => Changed::in_mount(self.mount.get_or_init(open).as_ref()?, whole),
            false => Changed::of(self.store, whole),
        }
    }

    /// The live grafts of the mounted view at a directory, and its lock files, if it is unchanged.
    fn clean(&self, whole: &Path, at: &Path) -> Option<(Vec<Graft>, Beside)> {
        let (views, view) = self.at(at)?;
        let is_clean = match views.is_whole() {
            true => self.changed(whole, at).is_some_and(|view| view.is_clean()),
            false => reports_clean(whole).unwrap_or(false),
        };
        let lockfiles = view.lockfiles.iter().map(|l| (l.path.clone(), l.blake3.clone())).collect();
        // Retired grafts are left out: only the view's own journal may refer to them.
        let live = view.grafts.iter().filter(|g| !g.retired).cloned();
        is_clean.then(|| (live.collect(), lockfiles))
    }
}

/// Whether a view that is a mount of its own reports that it is unchanged.
fn reports_clean(whole: &Path) -> Option<bool> {
    let answer = fs::xattr_of_path(whole, b"user.depsfs.view").ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).ok()?;
    answer.get("clean").and_then(serde_json::Value::as_bool)
}

/// Files and bytes of a tree, roughly: the sum over its nodes.
fn size_of(tree: &Tree) -> (u64, u64) {
    let nodes = (0..tree.node_count()).map(|n| tree.stat(crate::store::Node(n)));
    nodes.filter(|s| s.kind == fs::FileType::RegularFile).fold((0, 0), |(files, bytes), s| (files + 1, bytes + s.size))
}
