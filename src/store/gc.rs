//! Deletes what nothing needs any more: mark from the worktrees' manifests and from entries used lately, then sweep.
//!
//! | step                                              | a crash right after it leaves                    |
//! |---------------------------------------------------|--------------------------------------------------|
//! | 1. the lock, exclusively: no import, no create    | nothing; the kernel takes the lock back          |
//! | 2. dead roots, old entries, snapshots, `tmp`      | trees that nothing names: the next gc takes them |
//! | 3. trees, then a sync; then their sources         | objects that nothing names: the next gc again    |
//! | 4. objects                                        | the same                                         |
//! | 5. packs, as `repack.rs` says                     | the same                                         |
//!
//! So no tree is ever there without its objects. Trees that a server shows stay, though its manifest is gone (see
//! [`super::roots`]). So do the trees of a worktree that is only away ([`super::Absence`]), until its user lets go of
//! it. A file that can't be parsed (a manifest, an entry, a tree that is to be kept) stops gc before it deletes
//! anything.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::import::snapshot_tree;
use super::pool::{self, JobQueue};
use super::{FileKind, ObjectId, Progress, Root, RootState, Store, StoreError, StoreExclusive, TreeId};
use crate::sys::fs::Timespec;
use crate::sys::path as paths;

const DAY: i64 = 86_400;

/// The caller's choices for one gc. Times are those of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// Only say what would be deleted.
    pub dry_run: bool,
    /// Entries that were not used for so many days lose their name, unless a worktree uses their tree.
    pub keep_days: u32,
    /// The time from which days are counted.
    pub now: Timespec,
}

/// The result of gc: the items that it deleted, or would delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Manifests that were found alive, and those that are gone while their views are still open somewhere.
    pub live_roots: u64,
    /// The manifests that are gone, absolute. Their roots are deleted.
    pub dead_roots: Vec<PathBuf>,
    /// Worktrees that are not there and may come back: their trees are kept.
    pub away: Vec<AwayRoot>,
    /// Manifests of those that were away, and are let go of.
    pub forgotten: Vec<PathBuf>,
    /// By name.
    pub entries: Vec<String>,
    /// Files of `trees`.
    pub trees: u64,
    /// Objects, loose or in packs.
    pub objects: u64,
    /// Files of `snapshots`: the next import of such a directory reads it whole.
    pub snapshots: u64,
    /// Names in `tmp` of imports that have ended.
    pub temporaries: u64,
    /// Disk space of all that.
    pub bytes: u64,
}

/// A worktree that is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwayRoot {
    /// Absolute; it is not there now.
    pub manifest: PathBuf,
    /// The bytes of the files in trees that no worktree that is there and no entry needs, each tree of them in full.
    pub bytes: u64,
}

/// A manifest that is away, and the trees that its root names.
type Needed = (PathBuf, BTreeSet<TreeId>);

/// The trees and objects that stay.
#[derive(Default)]
struct Marked {
    trees: HashSet<TreeId>,
    objects: HashSet<ObjectId>,
}

/// The result of marking roots.
#[derive(Default)]
struct MarkedRoots {
    trees: HashSet<TreeId>,
    away: Vec<Needed>,
    /// The files of roots that are dead or let go of.
    doomed: Vec<PathBuf>,
    live: u64,
    dead: Vec<PathBuf>,
    forgotten: Vec<PathBuf>,
}

/// The result of marking: the trees and objects that stay, the files of roots and entries that don't, and the report of
/// both.
struct Marking {
    marked: Marked,
    doomed: Vec<PathBuf>,
    report: GcReport,
}

impl Store {
    /// Deletes what no worktree and no entry needs.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while an import or create runs, unless it is a dry run. A file that cannot be parsed.
    pub fn gc(&self, options: &GcOptions, progress: &dyn Progress) -> Result<GcReport, StoreError> {
        self.gc_forgetting(options, &[], progress)
    }

    /// As [`Store::gc`], and worktrees that are away lose what they need when their manifests are below one of `forget`.
    ///
    /// # Errors
    /// As [`Store::gc`].
    pub fn gc_forgetting(
        &self,
        options: &GcOptions,
        forget: &[PathBuf],
        progress: &dyn Progress,
    ) -> Result<GcReport, StoreError> {
        if options.dry_run {
            let _share = self.share()?;
            return self.collect(None, options, forget, progress);
        }
        self.collect(Some(&self.try_exclusive()?), options, forget, progress)
    }

    /// Deletes under `lock`; without it, only measures.
    fn collect(
        &self,
        lock: Option<&StoreExclusive>,
        options: &GcOptions,
        forget: &[PathBuf],
        progress: &dyn Progress,
    ) -> Result<GcReport, StoreError> {
        progress.begin("marking", None);
        let Marking { marked, mut doomed, mut report } = self.mark(lock, options, forget)?;
        progress.begin("sweeping", None);
        let snapshots = self.dead_snapshots(&marked)?;
        // Without the lock, some of these may still be needed.
        let temporaries = lock.map_or(Ok(Vec::new()), |lock| self.leftovers(lock))?;
        (report.snapshots, report.temporaries) = (snapshots.len() as u64, temporaries.len() as u64);
        doomed.extend(snapshots.into_iter().chain(temporaries));
        for path in &doomed {
            report.bytes += free(lock, path)?;
        }
        let trees = self.sweep(lock, "trees", |id| marked.trees.contains(&TreeId(id.0)), progress)?;
        if trees.0 > 0 && lock.is_some() {
            self.sync()?;
        }
        for source in self.dead_sources(|id| marked.trees.contains(id))? {
            report.bytes += free(lock, &source)?;
        }
        let objects = self.sweep(lock, "objects", |id| marked.objects.contains(&id), progress)?;
        let packs = self.plan_repacking(|id| marked.objects.contains(id))?;
        (report.trees, report.objects) = (trees.0, objects.0 + packs.objects);
        report.bytes += trees.1 + objects.1 + packs.bytes;
        if let Some(lock) = lock {
            self.repack(lock, packs, progress)?;
            self.drop_bitmaps(lock)?;
            self.drop_notes(lock, |id| marked.objects.contains(id))?;
        }
        Ok(report)
    }

    /// The trees and objects that stay, and the files of roots and entries that don't.
    fn mark(
        &self,
        lock: Option<&StoreExclusive>,
        options: &GcOptions,
        forget: &[PathBuf],
    ) -> Result<Marking, StoreError> {
        let MarkedRoots { mut trees, away, mut doomed, live, dead, forgotten } = self.mark_roots(lock, forget)?;
        let mut report = GcReport { live_roots: live, dead_roots: dead, forgotten, ..GcReport::default() };
        let mut used = trees.clone();
        used.extend(away.iter().flat_map(|(_, named)| named));
        let oldest = options.now.sec.saturating_sub(i64::from(options.keep_days).saturating_mul(DAY));
        for entry in self.entries().list()? {
            if entry.used.sec > oldest || used.contains(&entry.tree) {
                trees.insert(entry.tree);
            } else {
                doomed.push(self.path().join("entries").join(&entry.name));
                doomed.push(self.path().join("received").join(&entry.name));
                report.entries.push(entry.name);
            }
        }
        let mut marked = Marked::default();
        trees.iter().try_for_each(|id| self.mark_tree(*id, &mut marked).map(drop))?;
        for (manifest, named) in away {
            let bytes =
                named.iter().try_fold(0, |sum, id| Ok::<_, StoreError>(sum + self.mark_tree(*id, &mut marked)?))?;
            report.away.push(AwayRoot { manifest, bytes });
        }
        Ok(Marking { marked, doomed, report })
    }

    /// The trees of roots that are alive; the manifests that are away, each with the trees that its root names.
    fn mark_roots(&self, lock: Option<&StoreExclusive>, forget: &[PathBuf]) -> Result<MarkedRoots, StoreError> {
        let mut found = MarkedRoots::default();
        for mut root in self.roots().list()? {
            let is_held = root.held.is_some();
            found.trees.extend(root.held.take().into_iter().flatten());
            let is_let_go = |root: &Root| root.manifest.iter().any(|m| forget.iter().any(|at| m.starts_with(at)));
            match root.state {
                RootState::Live(ref manifest) => {
                    found.live += 1;
                    found.trees.extend(manifest.trees());
                    // Should the manifest be away one day, the root has to say it.
                    if let (Some(file), Some(_)) = (&root.manifest, lock) {
                        self.roots().note(file, &manifest.trees())?;
                    }
                }
                RootState::Dead | RootState::Away if is_held => found.live += 1,
                RootState::Dead => {
                    found.dead.extend(root.manifest);
                    found.doomed.push(root.file);
                }
                RootState::Away if is_let_go(&root) => {
                    found.forgotten.extend(root.manifest);
                    found.doomed.push(root.file);
                }
                RootState::Away => {
                    let named = root.named.ok_or(StoreError::Away { root: root.file })?;
                    found.away.push((root.manifest.unwrap_or_default(), named));
                }
                RootState::Unreadable(why) => {
                    let kind = if root.manifest.is_some() { FileKind::Manifest } else { FileKind::Root };
                    return Err(StoreError::BadFile { kind, path: root.manifest.unwrap_or(root.file), why });
                }
            }
        }
        Ok(found)
    }

    /// Marks a tree and its objects; returns the bytes of its files.
    fn mark_tree(&self, id: TreeId, marked: &mut Marked) -> Result<u64, StoreError> {
        if !marked.trees.insert(id) {
            return Ok(0);
        }
        match self.tree(id) {
            Ok(tree) => {
                marked.objects.extend(tree.objects());
                Ok(tree.content_bytes())
            }
            // Lost already: nothing can be kept for it. `verify` reports it.
            Err(StoreError::NoTree(_)) => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// The snapshots of trees that don't stay.
    fn dead_snapshots(&self, marked: &Marked) -> Result<Vec<PathBuf>, StoreError> {
        let dir = self.path().join("snapshots");
        let mut dead = Vec::new();
        for entry in paths::list(&dir)? {
            let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
            let tree = paths::read_if_there(&path)?.and_then(|bytes| snapshot_tree(&bytes));
            if !tree.is_some_and(|tree| marked.trees.contains(&tree)) {
                dead.push(path);
            }
        }
        Ok(dead)
    }

    /// Has the next import of every directory read all of it again: what is damaged or missing comes back that way.
    pub(crate) fn forget_snapshots(&self) -> Result<(), StoreError> {
        Ok(paths::empty_dir(&self.path().join("snapshots"))?)
    }

    /// The leftovers of interrupted imports. Imports that run have files that look the same: the lock excludes those.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn leftovers(&self, _lock: &StoreExclusive) -> Result<Vec<PathBuf>, StoreError> {
        let dir = self.path().join("tmp");
        let names = paths::list(&dir)?.into_iter();
        Ok(names.map(|e| dir.join(std::ffi::OsStr::from_bytes(&e.name))).collect())
    }

    /// Removes them; returns their disk space.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub fn remove_leftovers(&self, lock: &StoreExclusive) -> Result<u64, StoreError> {
        self.leftovers(lock)?.iter().try_fold(0, |sum, path| Ok(sum + free(Some(lock), path)?))
    }

    /// Deletes the files below `kind` that are not kept (without the lock, only measures them): how many, and their disk
    /// space.
    fn sweep(
        &self,
        lock: Option<&StoreExclusive>,
        kind: &str,
        is_kept: impl Fn(ObjectId) -> bool + Sync,
        progress: &dyn Progress,
    ) -> Result<(u64, u64), StoreError> {
        let work = |bucket: String, sum: &mut (u64, u64), _: &JobQueue<String>| {
            if progress.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            let dir = self.path().join(kind).join(&bucket);
            for entry in paths::list(&dir)? {
                let rest = String::from_utf8_lossy(&entry.name);
                // A name that is no id is no garbage of ours: `verify` reports it.
                if format!("{bucket}{rest}").parse().is_ok_and(|id| !is_kept(id)) {
                    let bytes = free(lock, &dir.join(&*rest))?;
                    progress.advance_file(bytes);
                    *sum = (sum.0 + 1, sum.1 + bytes);
                }
            }
            Ok(())
        };
        let buckets = (0..=255u8).map(|n| format!("{n:02x}")).collect();
        let sums = pool::run(buckets, || (0, 0), work)?;
        Ok(sums.into_iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)))
    }
}

/// Removes a file or directory, unless there is no lock; returns its disk space.
fn free(lock: Option<&StoreExclusive>, path: &Path) -> Result<u64, StoreError> {
    let Some(stat) = paths::stat(path)? else { return Ok(0) };
    let mut bytes = stat.blocks * 512;
    if stat.is_dir() {
        for entry in paths::list(path)? {
            bytes += free(lock, &path.join(std::ffi::OsStr::from_bytes(&entry.name)))?;
        }
    }
    match lock {
        Some(_) if stat.is_dir() => paths::remove_dir(path)?,
        Some(_) => paths::remove_file(path)?,
        None => {}
    }
    Ok(bytes)
}
