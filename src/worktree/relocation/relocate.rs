//! Relocates text files and symlinks: the new worktree gets its own, in which its path stands in the other's place.
//!
//! They are written into the upper, before anything is mounted over it, with the permissions and times of the files they
//! hide; so are the directories above them. A file with a zero byte in it is binary and stays as it is: another path
//! would break stored lengths or offsets. Nothing is synced, as git does not sync the files that it checks out.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{OccurrenceKind, Trace, Traced, served};
use crate::store::import::PathScan;
use crate::store::manifest::{Graft, ViewSpec};
use crate::store::{Node, NodeStat, ObjectId, Store, Tree};
use crate::sys::fs::{self, OpenFlags, SetTime, Stat, Timespec};
use crate::sys::interrupt;
use crate::sys::{IoError, path, spawn};
use crate::views::access::Access;
use crate::views::drop_unchanged;
use crate::views::lower::GraftedTrees;
use crate::views::set::Views;
use crate::worktree::conflict;
use crate::worktree::error::WorktreeError;
use crate::worktree::snapshot::Snapshot;
use crate::worktree::undo::Undo;

/// How many files are read and written at once.
const AT_ONCE: usize = 4;
/// A text that is longer is left as it is.
pub(super) const LONGEST: u64 = 256 << 20;

/// Relocates what can be in a directory of the worktree that no view is mounted over, and notes it. Files that the view
/// relocates itself ([`super::served`]) are noted alone.
///
/// # Errors
/// A tree or an object can't be read; a file can't be written.
pub fn all(
    store: &Store,
    root: &Path,
    (at, grafts): (&Path, &[Graft]),
    traces: &mut [Trace],
    undo: &mut Undo<'_>,
) -> Result<(), WorktreeError> {
    if traces.iter().all(|t| t.kind == OccurrenceKind::Binary || t.served.is_some()) {
        return Ok(());
    }
    let place = root.join(at);
    let lower = GraftedTrees::of(store, live(grafts))?;
    let mut dressed = BTreeMap::new();
    // In one view of all, it is made with the first file in it.
    if path::is_dir(&place) && path::list(&place)?.is_empty() {
        dressed.insert(PathBuf::new(), lower.find(Path::new("")).map(|(tree, node)| tree.stat(node)));
    }
    let mut free = Vec::new();
    for trace in traces.iter_mut().filter(|t| t.kind != OccurrenceKind::Binary && t.served.is_none()) {
        interrupt::check()?;
        let to = place.join(&trace.path);
        // The worktree's own files stay.
        let is_free = conflict::in_the_way(&place, &trace.path).is_none() && !path::is_there(&to);
        let Some((tree, node)) = lower.find(&trace.path).filter(|_| is_free) else { continue };
        let above = trace.path.ancestors().skip(1).filter(|a| !dressed.contains_key(*a));
        let above: Vec<&Path> = above.filter(|a| !path::is_there(&place.join(a))).collect();
        if !above.is_empty() {
            undo.make_dirs(to.parent().unwrap_or(&place))?;
        }
        for dir in above {
            dressed.insert(dir.into(), lower.find(dir).map(|(tree, node)| tree.stat(node)));
        }
        undo.file(&to);
        free.push((trace, to, tree, node));
    }
    let done = spawn::try_map(&free, AT_ONCE, |(trace, to, tree, node)| {
        interrupt::check()?;
        let Some(content) = relocated(store, tree, *node, trace, root)? else { return Ok(false) };
        write(to, trace.kind, &content, &tree.stat(*node))?;
        Ok::<_, WorktreeError>(true)
    })?;
    free.into_iter().zip(done).for_each(|((trace, ..), done)| trace.relocated = done);
    // The deepest first: a directory's time changes with what is made in it.
    for (dir, stat) in dressed.into_iter().rev() {
        if let Some(stat) = stat {
            dress(&place.join(dir), &stat)?;
        }
    }
    Ok(())
}

/// The way in which the trees of an artifact show in a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownBy {
    View,
    /// Copies of the trees' files.
    PlainFiles,
}

/// The file or symlink that relocation makes of an embedded path.
pub(super) struct Expected {
    content: Vec<u8>,
    stat: NodeStat,
    kind: OccurrenceKind,
}

impl Expected {
    /// That of a worktree at `to`; `None` if there is nothing to relocate.
    ///
    /// # Errors
    /// The object can't be read.
    pub fn of(
        store: &Store,
        lower: &GraftedTrees,
        trace: &Trace,
        to: &Path,
    ) -> Result<Option<Expected>, WorktreeError> {
        let Some((tree, node)) = lower.find(&trace.path) else { return Ok(None) };
        let content = relocated(store, tree, node, trace, to)?;
        Ok(content.map(|content| Expected { content, stat: tree.stat(node), kind: trace.kind }))
    }

    /// Whether it is at a path, with its mode.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn is_at(&self, at: &Path) -> Result<bool, IoError> {
        let has_mode = |s: &Stat| self.kind == OccurrenceKind::Link || s.mode & 0o777 == self.stat.perm & 0o777;
        Ok(path::stat(at)?.is_some_and(|s| has_mode(&s)) && holds(at, self.kind, &self.content)?)
    }
}

/// A file of the worktree's own that is just as it was made when it was relocated.
pub struct Relocated {
    /// Relative to its artifact.
    pub path: PathBuf,
    content: ObjectId,
    perm: u32,
}

/// Those of a view, while it shows what they were made of.
///
/// # Errors
/// A tree or an object can't be read.
pub fn still(store: &Store, views: &Views, view: &ViewSpec, traced: &Traced) -> Result<Vec<Relocated>, WorktreeError> {
    let lower = GraftedTrees::of(store, live(&view.grafts))?;
    let place = views.place(view);
    let mut found = Vec::new();
    for trace in traced.traces.iter().filter(|t| t.relocated && t.kind == OccurrenceKind::Text) {
        let Some((tree, node)) = lower.find(&trace.path) else { continue };
        let Some(content) = relocated(store, tree, node, trace, &views.manifest.worktree)? else { continue };
        if holds(&place.join(&trace.path), trace.kind, &content)? {
            let perm = tree.stat(node).perm & 0o777;
            found.push(Relocated { path: trace.path.clone(), content: ObjectId::of(&content), perm });
        }
    }
    Ok(found)
}

/// Before a view shows other trees: drops relocated files of the old ones, if they are unchanged since.
///
/// # Errors
/// As [`still`]; a file can't be removed.
pub fn give_up(store: &Store, views: &Views, view: &ViewSpec, traced: &Traced) -> Result<(), WorktreeError> {
    let access = Access::open(views, view)?;
    for file in still(store, views, view, traced)? {
        access.give_up(&file.path, &file.content, file.perm)?;
    }
    Ok(access.told()?)
}

/// As [`all`], in a mounted view or in a copy: files that it shows from the snapshot are replaced, its own files stay. Returns
/// whether a file was replaced. An interrupted earlier run is completed; no signal ends this one half-way.
///
/// # Errors
/// As [`all`]; a file of the view can't be replaced.
pub fn shown(
    store: &Store,
    (root, shown_by): (&Path, ShownBy),
    (at, grafts): (&Path, &[Graft]),
    traces: &mut [Trace],
) -> Result<bool, WorktreeError> {
    let place = root.join(at);
    let lower = GraftedTrees::of(store, live(grafts))?;
    let mut changed = false;
    if shown_by == ShownBy::View {
        // One that an earlier program has relocated in a file of the worktree's own stays so.
        let mut open: Vec<Trace> = traces.iter().filter(|t| !t.relocated || t.served.is_some()).cloned().collect();
        let is_free = |trace: &Trace, tree: &Tree, node| is_stored(&place.join(&trace.path), tree, node, shown_by);
        changed = served::note(store, grafts, &mut open, &is_free)?;
        let mut noted = open.into_iter();
        for trace in traces.iter_mut().filter(|t| !t.relocated || t.served.is_some()) {
            *trace = noted.next().unwrap_or_else(|| trace.clone());
        }
    }
    for trace in traces.iter_mut().filter(|t| t.kind != OccurrenceKind::Binary && t.served.is_none()) {
        let to = place.join(&trace.path);
        let Some((tree, node)) = lower.find(&trace.path) else { continue };
        let is_stored = is_stored(&to, tree, node, shown_by);
        if trace.relocated && !is_stored {
            continue;
        }
        let Some(content) = relocated(store, tree, node, trace, root)? else { continue };
        if is_stored {
            trace.relocated = replace(&to, trace.kind, &content, (tree, node), shown_by)?;
            changed |= trace.relocated;
        } else {
            trace.relocated = holds(&to, trace.kind, &content)?;
        }
    }
    Ok(changed)
}

/// Whether there is something to relocate in one of these files of a snapshot, as the store has them.
pub fn can<'a>(
    store: &Store,
    root: &Path,
    snapshot: &Snapshot,
    mut traces: impl Iterator<Item = &'a Trace>,
) -> Result<bool, WorktreeError> {
    let lower = GraftedTrees::of(store, live(&snapshot.grafts))?;
    let found = traces.find_map(|trace| {
        let (tree, node) = lower.find(&trace.path).filter(|_| trace.kind != OccurrenceKind::Binary)?;
        relocated(store, tree, node, trace, root).transpose()
    });
    Ok(found.transpose()?.is_some())
}

/// A file or symlink has been relocated, and is so still.
fn holds(at: &Path, kind: OccurrenceKind, content: &[u8]) -> Result<bool, IoError> {
    match kind {
        OccurrenceKind::Link => Ok(path::read_link(at).is_ok_and(|now| now == content)),
        _ => {
            let is_file = path::stat(at)?.is_some_and(|s| s.is_file() && s.size == content.len() as u64);
            Ok(is_file && path::read(at)? == content)
        }
    }
}

/// Whether relocation made the file at a path, of an embedded path of these grafts.
///
/// # Errors
/// A tree, an object or the file can't be read.
pub fn is_made(store: &Store, grafts: &[Graft], trace: &Trace, to: &Path, at: &Path) -> Result<bool, WorktreeError> {
    let lower = GraftedTrees::of(store, live(grafts))?;
    let Some((tree, node)) = lower.find(&trace.path) else { return Ok(false) };
    let content = relocated(store, tree, node, trace, to)?;
    Ok(content.map(|content| holds(at, trace.kind, &content)).transpose()?.unwrap_or(false))
}

/// Whether a file or symlink of a view is that of the lower.
pub fn is_stored(at: &Path, tree: &Tree, node: Node, shown_by: ShownBy) -> bool {
    match tree.object(node) {
        Some(object) if shown_by == ShownBy::PlainFiles => {
            path::stat(at).is_ok_and(|s| s.is_some_and(|s| s.is_file() && s.size == tree.stat(node).size))
                && drop_unchanged::content_of(at).is_ok_and(|now| now == object)
        }
        // The attribute would be that of what a symlink leads to.
        Some(object) => {
            path::stat(at).is_ok_and(|s| s.is_some_and(|s| s.is_file()))
                && fs::xattr_of_path(at, b"user.depsfs.object").is_ok_and(|now| now == object.to_string().as_bytes())
        }
        None => path::read_link(at).is_ok_and(|now| now == tree.target(node)),
    }
}

fn replace(
    to: &Path,
    kind: OccurrenceKind,
    content: &[u8],
    (tree, node): (&Tree, Node),
    shown_by: ShownBy,
) -> Result<bool, WorktreeError> {
    let make = |aside: &Path| write(aside, kind, content, &tree.stat(node));
    Ok(exchange(to, make, |aside| is_stored(aside, tree, node, shown_by))?)
}

/// Puts a new file in another one's place and keeps the time of the directory. The two names are exchanged, so that the
/// replaced file can be checked: if it is not the old one (another program has written to it), it is restored. Returns
/// whether the new one is there. A crash leaves one of the two, and perhaps the other under a temporary name.
///
/// # Errors
/// The new file can't be made, or a name can't be changed.
pub(super) fn exchange(
    to: &Path,
    make: impl FnOnce(&Path) -> Result<(), IoError>,
    is_old: impl FnOnce(&Path) -> bool,
) -> Result<bool, IoError> {
    let Some(dir) = to.parent() else { return Ok(false) };
    let aside = aside(to);
    let kept = path::stat(dir)?;
    path::remove_file(&aside)?;
    make(&aside)?;
    let exchanged = match path::exchange(&aside, to) {
        // A file system that can't exchange names.
        Err(e) if matches!(e.errno(), libc::EINVAL | libc::EOPNOTSUPP) => {
            if is_old(to) {
                path::rename(&aside, to).map(|()| true)
            } else {
                Ok(false)
            }
        }
        // The user has deleted it.
        Err(e) if e.errno() == libc::ENOENT => Ok(false),
        Err(e) => path::remove_file(&aside).and(Err(e)),
        Ok(()) if is_old(&aside) => Ok(true),
        // If that fails, the written file is still there, under the temporary name.
        Ok(()) => path::exchange(&aside, to).map(|()| false),
    };
    if exchanged.is_ok() {
        path::remove_file(&aside)?;
    }
    if let Some(kept) = kept {
        path::set_mtime(dir, kept.mtime)?;
    }
    exchanged
}

/// The temporary name of a file that takes another one's place.
fn aside(to: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(format!(".depsfs-{}", std::process::id()));
    to.with_file_name(name)
}

/// The grafts that are shown.
pub(super) fn live(grafts: &[Graft]) -> impl Iterator<Item = &Graft> {
    grafts.iter().filter(|g| !g.retired)
}

/// The content, or the target, with the new worktree's path; nothing when there is nothing to put in its place.
fn relocated(
    store: &Store,
    tree: &Tree,
    node: Node,
    trace: &Trace,
    to: &Path,
) -> Result<Option<Vec<u8>>, WorktreeError> {
    let Some(watched) = PathScan::new(trace.root.as_os_str().as_bytes()) else { return Ok(None) };
    let to = to.as_os_str().as_bytes();
    if trace.kind == OccurrenceKind::Link {
        return Ok(watched.relocated_target(tree.target(node), to));
    }
    let size = tree.stat(node).size;
    let Some(object) = tree.object(node).filter(|_| size <= LONGEST) else { return Ok(None) };
    Ok(watched.relocated_text(&served::text_of(store, &object, size)?, to))
}

fn write(to: &Path, kind: OccurrenceKind, content: &[u8], stat: &NodeStat) -> Result<(), IoError> {
    match kind {
        OccurrenceKind::Link => write_link(to, content, stat.mtime),
        _ => write_file(to, content, stat.perm & 0o777, stat.mtime),
    }
}

/// Makes a symlink where nothing is, with its time.
///
/// # Errors
/// It can't be made.
pub(super) fn write_link(to: &Path, target: &[u8], mtime: Timespec) -> Result<(), IoError> {
    path::symlink(target, to)?;
    path::set_mtime(to, mtime)
}

/// Makes a file where none is, which at no time other users can read that may not read it in the end.
///
/// # Errors
/// It can't be made.
pub(super) fn write_file(to: &Path, content: &[u8], perm: u32, mtime: Timespec) -> Result<(), IoError> {
    let flags = OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::EXCL;
    let file = fs::open_path(to, flags, perm & 0o700 | 0o200).map_err(IoError::of("create", to))?;
    fs::write_all(&file, content).map_err(IoError::of("write", to))?;
    fs::chmod(&file, perm).map_err(IoError::of("set the mode of", to))?;
    fs::utimens(&file, SetTime::Keep, SetTime::At(mtime)).map_err(IoError::of("set the time of", to))
}

fn dress(dir: &Path, stat: &NodeStat) -> Result<(), IoError> {
    let fd = fs::open_path(dir, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0).map_err(IoError::of("open", dir))?;
    fs::chmod(&fd, stat.perm & 0o1777).map_err(IoError::of("set the mode of", dir))?;
    fs::utimens(&fd, SetTime::Keep, SetTime::At(stat.mtime)).map_err(IoError::of("set the time of", dir))
}
