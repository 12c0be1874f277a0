//! The views of one worktree, as the commands see them: its manifest, what is mounted, where a path lies.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::error::{NOT_MOUNTED_HINT, ViewsError};
pub use super::manifest_lock::ManifestLock;
use crate::daemon::{DaemonError, DaemonState, Released, SETTLED, client};
use crate::git;
use crate::git::checkout::Checkout;
use crate::overlay::journal::DAMAGED;
use crate::store::manifest::{Graft, Manifest, Shape, ViewSpec, joined};
use crate::store::{Store, frame};
use crate::sys::fs::Timespec;
use crate::sys::mountinfo::MountTable;
use crate::sys::{path, time};

/// In a state directory: the path of the one that is meant.
const ELSEWHERE: &str = "elsewhere";

/// A worktree (or a directory with entries mounted at it) that has a manifest.
#[derive(Clone, Debug)]
pub struct Views {
    pub state_dir: PathBuf,
    pub manifest: Manifest,
}

impl Views {
    /// Those of the worktree that holds `place`, or of the directory that entries were mounted at.
    pub fn containing(place: &Path, states: &Path) -> Result<Views, ViewsError> {
        let (place, real) = places(place)?;
        for dir in place.ancestors().chain(real.iter().flat_map(|real| real.ancestors())) {
            if let Some(state_dir) = known_at(states, dir)? {
                return Views::load(&state_dir);
            }
        }
        let innermost =
            Checkout::containing(&place)?.ok_or_else(|| git::RepositoryError::NotACheckout(place.clone()))?;
        // A submodule, or a clone inside a view, lies in a worktree that has the views.
        let mut next = Some(innermost.clone());
        while let Some(checkout) = next {
            if let Some(views) = Views::of(&checkout)? {
                return Ok(views);
            }
            next = checkout.root.parent().map(Checkout::containing).transpose()?.flatten();
        }
        Err(ViewsError::NoViews(innermost.root))
    }

    /// Those of the directory that entries were mounted at.
    ///
    /// # Errors
    /// [`ViewsError::NothingAt`] if nothing was mounted there; as [`Views::containing`].
    pub fn mounted_at(dir: &Path, states: &Path) -> Result<Views, ViewsError> {
        match Views::containing(dir, states) {
            Err(ViewsError::Git(git::RepositoryError::NotACheckout(dir)) | ViewsError::NoViews(dir)) => {
                Err(ViewsError::NothingAt(dir))
            }
            found => found,
        }
    }

    /// Those of a checkout; `None` when depsfs never made any.
    pub fn of(checkout: &Checkout) -> Result<Option<Views>, ViewsError> {
        let state_dir = checkout.state_dir();
        if path::is_there(&manifest_file(&state_dir)) { Views::load(&state_dir).map(Some) } else { Ok(None) }
    }

    /// Those of an absolute state directory, with the worktree's present path: after `git worktree move` the manifest is
    /// corrected, if no other process has its lock.
    pub fn load(state_dir: &Path) -> Result<Views, ViewsError> {
        let manifest = Manifest::load(&manifest_file(state_dir))?;
        let mut views = Views { state_dir: state_dir.into(), manifest };
        // `git worktree move` updates git's registration, not the manifest.
        if let Some(moved) = moved_to(state_dir)?.filter(|to| *to != views.manifest.worktree) {
            // If another process holds the lock, its own save records the move.
            if let Some(_lock) = ManifestLock::attempt(state_dir)? {
                views.manifest = Manifest::load(&manifest_file(state_dir))?;
                views.manifest.worktree = moved;
                views.save()?;
            } else {
                views.manifest.worktree = moved;
            }
        }
        Ok(views)
    }

    /// The daemon's state, if a daemon is alive.
    pub fn state(&self) -> Option<DaemonState> {
        client::state(&self.state_dir)
    }

    /// Whether a living daemon has mounted it, or the mount that shows it. False for plain files and dead mounts.
    pub fn is_mounted(&self, view: &ViewSpec) -> bool {
        client::is_mounted(&self.state_dir, self.manifest.mount_id(view))
    }

    /// The views of which [`Views::is_mounted`] is true, looked up once for all of them.
    pub fn mounted(&self) -> impl Iterator<Item = &ViewSpec> {
        let ids = client::mounted(&self.state_dir);
        self.manifest.views.iter().filter(move |view| ids.contains(self.manifest.mount_id(view)))
    }

    /// Whether a view needs no mount: it is mounted, the user deleted it, or it is plain files.
    pub fn is_settled(&self, view: &ViewSpec) -> bool {
        view.is_copy() || self.is_mounted(view) || self.is_dropped(view)
    }

    /// Whether the user deleted the directory of a view, or all that was in it; it is plain since.
    pub fn is_dropped(&self, view: &ViewSpec) -> bool {
        path::is_there(&self.view_dir(view).join("dropped"))
    }

    /// Copies of this view's journal that were kept because it was damaged, until they are deleted.
    pub fn damaged(&self, view: &ViewSpec) -> Vec<PathBuf> {
        let dir = self.view_dir(view);
        // If the directory can't be listed, mounting reports the error.
        let mut names = path::list(&dir).unwrap_or_default();
        names.retain(|entry| entry.name.starts_with(DAMAGED.as_bytes()));
        let mut copies: Vec<PathBuf> = names.iter().map(|entry| dir.join(OsStr::from_bytes(&entry.name))).collect();
        copies.sort();
        copies
    }

    /// Mounts all views of the manifest; an error names the first view that was not mounted.
    pub fn mount(&self) -> Result<(), ViewsError> {
        let mounts = self.manifest.clone().into_mounts();
        let missing = mounts.views.iter().filter(|v| !self.is_mounted(v) && !self.is_dropped(v));
        refuse_too_many(missing.count())?;
        // Copies alone need no daemon.
        if mounts.views.is_empty() && self.manifest.is_copy() && self.state().is_none() {
            return Ok(());
        }
        all_mounted(client::mount(&self.state_dir)?)
    }

    /// Mounts with a changed manifest; changes that other processes made meanwhile are kept. If a view that has to be
    /// mounted again for that is in use, nothing changes.
    pub fn mount_changed(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), ViewsError> {
        self.mount_if(|views| {
            change(&mut views.manifest);
            Ok(())
        })
    }

    /// As [`Views::mount_changed`], when the change, which sees what others have made of it, is not refused.
    pub fn mount_if(&mut self, change: impl FnOnce(&mut Views) -> Result<(), ViewsError>) -> Result<(), ViewsError> {
        let lock = ManifestLock::wait(&self.state_dir)?;
        if path::is_there(&manifest_file(&self.state_dir)) {
            *self = Views::load(&self.state_dir)?;
        }
        let before = self.manifest.clone();
        if let Err(refused) = change(self) {
            self.manifest = before;
            return Err(refused);
        }
        if self.manifest == before {
            drop(lock);
            return self.mount();
        }
        self.save()?;
        let done = self.mount();
        if let Err(ViewsError::Daemon(DaemonError::Busy { .. })) = &done {
            let generation = self.manifest.generation;
            self.manifest = Manifest { generation, ..before };
            self.save()?;
        }
        done
    }

    /// Unmounts all views. `lazy`: those in use are detached, and live on for their users; else nothing is unmounted.
    pub fn unmount(&self, lazy: bool) -> Result<(), ViewsError> {
        self.release(lazy).map(drop)
    }

    /// As [`Views::unmount`]; returns whether views are still open, or mounted in other mount namespaces.
    pub fn release(&self, lazy: bool) -> Result<Released, ViewsError> {
        match client::release(&self.state_dir, lazy) {
            Err(DaemonError::Busy { .. }) if self.only_callers_stand_in_it() => {
                client::release(&self.state_dir, true)?;
                Ok(Released::Left)
            }
            released => Ok(released?),
        }
    }

    /// Waits until a daemon has ended whose last view another program has unmounted.
    pub fn wait_for_end(&self) -> Result<(), ViewsError> {
        Ok(client::wait_for_end(&self.state_dir)?)
    }

    /// Replaces the manifest.
    pub fn save(&mut self) -> Result<(), ViewsError> {
        if self.manifest.shape == Shape::Worktree {
            frame::complete(&Store::existing(&self.manifest.store)?, &mut self.manifest)?;
        }
        self.manifest.update_version();
        self.manifest.generation += 1;
        Ok(self.manifest.save(&manifest_file(&self.state_dir))?)
    }

    /// The grafts of a view that shows `live` from now on. Those it showed before are kept, retired, as long as its
    /// journal may speak of them: until it has been opened afresh with them.
    pub fn grafts(&self, view: &ViewSpec, live: Vec<Graft>) -> Result<Vec<Graft>, ViewsError> {
        let settled = path::read_if_there(&self.view_dir(view).join(SETTLED))?;
        let is_settled = settled.is_some_and(|g| g == self.manifest.generation.to_string().as_bytes());
        let shown = |g: &&Graft| live.iter().any(|l| l.tree == g.tree && l.at == g.at);
        let kept = view.grafts.iter().filter(|g| !shown(g) && !(g.retired && is_settled));
        let kept: Vec<Graft> = kept.map(|g| Graft { retired: true, ..g.clone() }).collect();
        Ok(live.into_iter().chain(kept).collect())
    }

    /// The worktree; when entries are mounted at a directory, that.
    pub fn top(&self) -> PathBuf {
        let is_git = self.state_dir.parent().is_some_and(|dir| path::is_there(&dir.join("HEAD")));
        match self.manifest.views.as_slice() {
            [view] if !is_git => self.place(view),
            _ => self.manifest.worktree.clone(),
        }
    }

    /// The place of a view in the file system.
    pub fn place(&self, view: &ViewSpec) -> PathBuf {
        joined(&self.manifest.worktree, &view.path)
    }

    /// The overlay's own directory of the mount that shows a view: its journal, whether it was dropped.
    pub fn view_dir(&self, view: &ViewSpec) -> PathBuf {
        self.state_dir.join("views").join(self.manifest.mount_id(view))
    }

    /// The location of a view's own files: its upper, or the part of it that is in the view.
    pub fn upper(&self, view: &ViewSpec) -> PathBuf {
        view.upper.clone().unwrap_or_else(|| self.place(view))
    }

    /// Deletes what depsfs keeps for a view that is not mounted, and that is a mount of its own.
    pub fn forget(&self, view: &ViewSpec) -> Result<(), ViewsError> {
        path::remove_tree(&self.view_dir(view))?;
        let upper = view.upper.clone().unwrap_or_else(|| self.mount_place(view));
        Ok(path::remove_tree(&upper.join(crate::overlay::IN_UPPER))?)
    }

    /// The views that `place` speaks of, each with the path inside it: the one it is in, or all that are below it.
    pub fn targets(&self, place: &Path) -> Result<Vec<(ViewSpec, PathBuf)>, ViewsError> {
        if let Ok((view, inside)) = self.locate(place) {
            return Ok(vec![(view.clone(), inside)]);
        }
        let above = self.relative(place)?;
        let below = self.manifest.views.iter().filter(|v| v.path.starts_with(&above));
        let found: Vec<_> = below.map(|v| (v.clone(), PathBuf::new())).collect();
        if found.is_empty() { Err(ViewsError::NotInView(place.into())) } else { Ok(found) }
    }

    /// The view that `place` (absolute or relative to the working directory) is in, and the path inside it.
    pub fn locate(&self, place: &Path) -> Result<(&ViewSpec, PathBuf), ViewsError> {
        let inside = self.relative(place)?;
        let view = self.manifest.views.iter().filter(|v| inside.starts_with(&v.path));
        let view =
            view.max_by_key(|v| v.path.components().count()).ok_or_else(|| ViewsError::NotInView(place.into()))?;
        Ok((view, inside.strip_prefix(&view.path).unwrap_or(&inside).to_path_buf()))
    }

    /// The path relative to the worktree. Its last component may be absent, and is never followed.
    pub fn relative(&self, place: &Path) -> Result<PathBuf, ViewsError> {
        let absolute = path::absolute(place)?;
        let absolute = crate::git::checkout::plain(&absolute);
        let whole = match (absolute.parent(), absolute.file_name()) {
            (Some(parent), Some(name)) => path::canonical(parent).map(|p| p.join(name)).unwrap_or(absolute.clone()),
            _ => absolute.clone(),
        };
        let inside =
            whole.strip_prefix(&self.manifest.worktree).or_else(|_| absolute.strip_prefix(&self.manifest.worktree));
        inside.map(Path::to_path_buf).map_err(|_| ViewsError::NotInView(place.into()))
    }
}

/// The absolute path of a place, without `..`, and the one without symlinks. A mount at the place itself is not looked at:
/// it may be a view that is dead or hangs.
fn places(place: &Path) -> Result<(PathBuf, Option<PathBuf>), ViewsError> {
    let mut absolute = path::absolute(place)?;
    let components: Vec<_> = absolute.components().collect();
    if let Some(last) = components.iter().rposition(|c| matches!(c, Component::ParentDir)) {
        // The file system resolves `..`: the component before it may be a symlink.
        let (above, below) = components.split_at(last + 1);
        let above = path::canonical(&above.iter().collect::<PathBuf>())?;
        absolute = below.iter().fold(above, |whole, component| whole.join(component));
    }
    let beside = match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => path::canonical(parent).ok().map(|parent| parent.join(name)),
        _ => None,
    };
    let is_mounted = |at: &PathBuf| MountTable::current().is_ok_and(|table| table.at(at).next().is_some());
    let real = beside.map(|at| if is_mounted(&at) { at } else { path::canonical(&at).unwrap_or(at) });
    Ok((absolute, real))
}

/// The new location of a moved worktree (`git worktree move`), from its registration.
fn moved_to(state_dir: &Path) -> Result<Option<PathBuf>, ViewsError> {
    let Some(git_dir) = state_dir.parent() else { return Ok(None) };
    let pointer = path::read_if_there(&git_dir.join("gitdir"))?;
    let dot_git = pointer.and_then(|bytes| crate::git::checkout::pointed_at(git_dir, &bytes));
    let root = dot_git.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    root.filter(|r| path::is_dir(r)).map(|r| path::canonical(&r)).transpose().map_err(ViewsError::from)
}

/// The path of the manifest in a state directory, there or not.
pub fn manifest_file(state_dir: &Path) -> PathBuf {
    state_dir.join("manifest.json")
}

/// The state directory of a directory without git, below `states`.
pub fn state_dir_at(states: &Path, dir: &Path) -> PathBuf {
    states.join("at").join(id_of(dir))
}

/// Notes that the state of a directory without git is elsewhere (in a workdir).
pub fn note_elsewhere(states: &Path, dir: &Path, state_dir: &Path) -> Result<(), ViewsError> {
    let here = state_dir_at(states, dir);
    path::make_private_dirs(&here)?;
    Ok(path::replace(&here.join(ELSEWHERE), state_dir.as_os_str().as_bytes())?)
}

/// The state of a directory without git, if anything was mounted there.
fn known_at(states: &Path, dir: &Path) -> Result<Option<PathBuf>, ViewsError> {
    let here = state_dir_at(states, dir);
    let elsewhere = path::read_if_there(&here.join(ELSEWHERE))?.map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
    let mut candidates = elsewhere.into_iter().chain([here]);
    Ok(candidates.find(|state_dir| path::is_there(&manifest_file(state_dir))))
}

/// The state directories, below `states`, of all directories without git that were mounted at.
///
/// # Errors
/// [`ViewsError::Io`] if one can't be listed or read.
pub fn all_at(states: &Path) -> Result<Vec<PathBuf>, ViewsError> {
    let at = states.join("at");
    let mut all = Vec::new();
    for name in path::list(&at)? {
        let dir = at.join(std::ffi::OsStr::from_bytes(&name.name));
        let elsewhere = path::read_if_there(&dir.join(ELSEWHERE))?;
        let dir = elsewhere.map_or(dir, |bytes| PathBuf::from(OsString::from_vec(bytes)));
        if path::is_there(&manifest_file(&dir)) {
            all.push(dir);
        }
    }
    Ok(all)
}

/// 16 hex digits that stand for a path.
pub fn id_of(path: &Path) -> String {
    blake3::hash(path.as_os_str().as_bytes()).to_hex()[..16].to_owned()
}

/// An error when this user may not mount so many views.
pub fn refuse_too_many(views: usize) -> Result<(), ViewsError> {
    match crate::sys::mount::room() {
        Some(room) if room < views => Err(ViewsError::TooManyViews { views, room }),
        _ => Ok(()),
    }
}

/// An error when a view isn't mounted.
pub fn all_mounted(state: DaemonState) -> Result<(), ViewsError> {
    match state.views.into_iter().find(|v| v.error.is_some()) {
        Some(view) => {
            Err(ViewsError::View { view: view.path, why: view.error.unwrap_or_default(), hint: NOT_MOUNTED_HINT })
        }
        None => Ok(()),
    }
}

/// The time, as RFC 3339 in UTC.
pub fn now() -> String {
    time::rfc3339(Timespec::now())
}
