//! `depsfs diff`: what is added, modified or deleted in the views of a worktree, against the store.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ViewsError;
use super::access::Access;
use super::changed_source::{Changed, ChangedMount};
use super::embedded_paths::EmbeddedPaths;
use super::lower::{GraftedTrees, live};
use super::set::Views;
use crate::daemon::client;
use crate::git::partly_tracked::{self, OwnPaths};
use crate::overlay::ChangeKind;
use crate::store::Store;
use crate::store::manifest::{ViewSpec, joined};
use crate::sys::path;

/// How a path differs from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    Added,
    Modified,
    Deleted,
}

impl Difference {
    /// The letter before the path, as git has it: A, M or D.
    pub fn letter(self) -> char {
        match self {
            Difference::Added => 'A',
            Difference::Modified => 'M',
            Difference::Deleted => 'D',
        }
    }
}

/// As [`Differences::of_view`], of one view.
///
/// # Errors
/// As [`Differences::of_view`].
pub fn of_view(views: &Views, view: &ViewSpec, inside: &Path) -> Result<Vec<(Difference, PathBuf)>, ViewsError> {
    Differences::of(views).of_view(view, inside)
}

/// The differences of the views of a worktree. Facts about all of its mounts are queried once.
pub struct Differences<'a> {
    pub views: &'a Views,
    /// Of the one mount: the access to one of its views.
    access: OnceCell<Access>,
    mount: OnceCell<Option<Arc<ChangedMount>>>,
    /// The ids of the views that a daemon serves.
    mounted: OnceCell<HashSet<String>>,
    /// The paths in views that are the checkout's.
    own: OwnPaths,
}

impl<'a> Differences<'a> {
    /// Those of this worktree; nothing is opened yet.
    pub fn of(views: &'a Views) -> Differences<'a> {
        Differences {
            views,
            access: OnceCell::new(),
            mount: OnceCell::new(),
            mounted: OnceCell::new(),
            own: OwnPaths::default(),
        }
    }

    fn access(&self, view: &ViewSpec) -> Result<Access, ViewsError> {
        if !self.views.is_whole() || view.is_copy() {
            let mounted = self.mounted.get_or_init(|| client::mounted(&self.views.state_dir));
            let is_mounted = !view.is_copy() && mounted.contains(self.views.manifest.mount_id(view));
            return if is_mounted { Ok(Access::mounted(self.views, view)) } else { Access::open(self.views, view) };
        }
        if let Some(access) = self.access.get().and_then(|access| access.to_other(self.views, view)) {
            return Ok(access);
        }
        let access = Access::open(self.views, view)?;
        if let Some(again) = access.to_other(self.views, view) {
            self.access.get_or_init(|| again);
        }
        Ok(access)
    }

    /// Whether a view of the one mount has no difference, as two requests to it show. `false` where more are needed.
    fn is_unchanged(&self, access: &Access, view: &ViewSpec) -> bool {
        if !self.views.is_whole() || !matches!(access, Access::Mounted { .. }) {
            return false;
        }
        let open = || {
            let store = Store::existing(&self.views.manifest.store).ok()?;
            ChangedMount::of(&store, &self.views.manifest.worktree).map(Arc::new)
        };
        let mount = self.mount.get_or_init(open).as_ref();
        mount.and_then(|mount| Changed::in_mount(mount, &self.views.place(view))).is_some_and(|view| view.is_clean())
    }

    /// All differences at and below `inside` of one view, with paths relative to the worktree, parents first. The
    /// checkout's own files are none.
    ///
    /// # Errors
    /// The view does not answer, or can't be read.
    pub fn of_view(&self, view: &ViewSpec, inside: &Path) -> Result<Vec<(Difference, PathBuf)>, ViewsError> {
        let (views, mut found) = (self.views, Vec::new());
        if views.is_dropped(view) {
            let replaced = path::stat(&views.place(view))?.is_some_and(|stat| !stat.is_dir());
            let kind = if replaced { Difference::Modified } else { Difference::Deleted };
            found.push((kind, view.path.clone()));
            if !replaced {
                plain(&views.manifest.worktree, &view.path.join(inside), &mut found)?;
            }
            self.drop_own(view, &mut found)?;
            return Ok(found);
        }
        let access = self.access(view)?;
        if !self.is_unchanged(&access, view) {
            through(&access, view, inside, &mut found)?;
        }
        self.drop_own(view, &mut found)?;
        Ok(found)
    }

    /// Drops what git tracks or doesn't ignore, and directories that hold it.
    fn drop_own(&self, view: &ViewSpec, found: &mut Vec<(Difference, PathBuf)>) -> Result<(), ViewsError> {
        if found.is_empty() {
            return Ok(());
        }
        let own = self.own.below(&self.views.place(view))?;
        found.retain(|(kind, at)| {
            let inside = at.strip_prefix(&view.path).unwrap_or(at);
            let is_above = *kind == Difference::Added && partly_tracked::has_below(&own, inside);
            !is_above && !partly_tracked::holds(&own, inside)
        });
        Ok(())
    }

    /// As [`Differences::of_view`] of a whole view, without the files that relocation wrote: they have the times of the files they hide.
    ///
    /// # Errors
    /// As [`Differences::of_view`].
    pub fn since_made(&self, view: &ViewSpec) -> Result<Vec<(Difference, PathBuf)>, ViewsError> {
        let (views, mut found) = (self.views, self.of_view(view, Path::new(""))?);
        if found.is_empty() {
            return Ok(found);
        }
        let record = EmbeddedPaths::load(&views.state_dir)?;
        let Some(traced) = record.of(&view.path).filter(|traced| traced.relocated() > 0) else { return Ok(found) };
        let lower = GraftedTrees::of(&Store::existing(&views.manifest.store)?, live(view))?;
        let is_as_made = |at: &Path| {
            let inside = at.strip_prefix(&view.path).unwrap_or(at);
            let made = lower.find(inside).map(|(tree, node)| tree.stat(node).mtime);
            let now = path::stat(&views.manifest.worktree.join(at)).ok().flatten().map(|stat| stat.mtime);
            traced.traces.iter().any(|trace| trace.relocated && trace.path == inside) && made.is_some() && made == now
        };
        found.retain(|(kind, at)| *kind != Difference::Modified || !is_as_made(at));
        Ok(found)
    }
}

fn through(
    access: &Access,
    view: &ViewSpec,
    inside: &Path,
    found: &mut Vec<(Difference, PathBuf)>,
) -> Result<(), ViewsError> {
    if inside.as_os_str().is_empty()
        && let Some(change) = access.change_of_all()?
    {
        one(access, view, inside, change.kind, change.is_dir, found)?;
        return Ok(());
    }
    match (inside.parent(), inside.file_name()) {
        (Some(parent), Some(name)) => {
            let is_it = |c: &&crate::overlay::Change| c.name.bytes() == std::os::unix::ffi::OsStrExt::as_bytes(name);
            // Below an added or deleted directory the parent has no changes of its own.
            if let Some(change) = changes_if_there(access, parent)?.iter().find(is_it) {
                one(access, view, inside, change.kind, change.is_dir, found)?;
            }
        }
        _ => below(access, view, inside, found)?,
    }
    Ok(())
}

/// All that is in a directory that took a deleted view's place.
fn plain(root: &Path, dir: &Path, found: &mut Vec<(Difference, PathBuf)>) -> Result<(), ViewsError> {
    let mut names = path::list(&root.join(dir))?;
    names.sort_by(|a, b| a.name.cmp(&b.name));
    for name in names {
        let at = path::child(dir, &name.name);
        found.push((Difference::Added, at.clone()));
        if path::is_dir(&root.join(&at)) {
            plain(root, &at, found)?;
        }
    }
    Ok(())
}

fn changes_if_there(access: &Access, dir: &Path) -> Result<Vec<crate::overlay::Change>, ViewsError> {
    match access.changes(dir) {
        Err(ViewsError::Io(e)) if e.source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn below(
    access: &Access,
    view: &ViewSpec,
    dir: &Path,
    found: &mut Vec<(Difference, PathBuf)>,
) -> Result<(), ViewsError> {
    let mut changes = access.changes(dir)?;
    changes.sort_by(|a, b| a.name.bytes().cmp(b.name.bytes()));
    for change in changes {
        one(access, view, &path::child(dir, change.name.bytes()), change.kind, change.is_dir, found)?;
    }
    Ok(())
}

fn one(
    access: &Access,
    view: &ViewSpec,
    at: &Path,
    kind: ChangeKind,
    is_dir: bool,
    found: &mut Vec<(Difference, PathBuf)>,
) -> Result<(), ViewsError> {
    let whole = joined(&view.path, at);
    match kind {
        ChangeKind::Added => found.push((Difference::Added, whole)),
        ChangeKind::Modified => found.push((Difference::Modified, whole)),
        ChangeKind::Deleted => found.push((Difference::Deleted, whole)),
        ChangeKind::Below => {}
    }
    if is_dir && kind != ChangeKind::Deleted { below(access, view, at, found) } else { Ok(()) }
}
