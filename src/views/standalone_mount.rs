//! `depsfs mount --at <dir>`: entries of the store, or plain directories, as one view without git.
//!
//! | the upper is  | its journal is in                                                             |
//! |---------------|-------------------------------------------------------------------------------|
//! | `dir` itself  | the user's state directory, under a name that stands for `dir`                |
//! | elsewhere     | `<workdir>/depsfs`, or without a workdir `.<name>.depsfs` beside the upper     |
//!
//! In the second case upper and journal may be moved together, and mounted at another directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::ViewsError;
use super::mount_undo::MountUndo;
use super::set::{self, ManifestLock, Views};
use super::{nested_upper, thaw};
use crate::store::import::{self, Skipped};
use crate::store::manifest::{Graft, Manifest, ViewSpec};
use crate::store::{Progress, Store, StoreError};
use crate::sys::{IoError, mount, mountinfo, path};

/// The view's name in a state directory that is not named after the mount point.
const ONLY_VIEW: &str = "0000000000000001";

/// The lower of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LowerSource {
    /// Names of the store; a later one wins.
    Entries(Vec<String>),
    /// Directories, of which trees are made; an earlier one wins, as in overlayfs.
    Directories(Vec<PathBuf>),
}

/// Lower, upper, work directory and options of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandaloneMount {
    pub lower: LowerSource,
    /// `None`: the directory that is mounted over.
    pub upper: Option<PathBuf>,
    pub workdir: Option<PathBuf>,
    /// `None`: as it was before, at first not.
    pub allow_other: Option<bool>,
    pub read_only: bool,
    pub no_exec: bool,
    pub fsname: Option<String>,
}

/// Mounts at `dir`, which is made when absent. `states` is where the state of such directories is kept, if there is
/// such a place. Mounting the same again is harmless; another lower replaces the first. Answers what of plain
/// directories can't be in a tree. When it fails, nothing is left that was not there before.
pub fn mount(
    store: &Store,
    wish: &StandaloneMount,
    dir: &Path,
    states: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Vec<Skipped>, ViewsError> {
    let _share = store.share()?;
    is_there(store, &wish.lower)?;
    detach_stale(dir)?;
    let mut made = MountUndo::default();
    let mounted = mount_made(store, wish, dir, states, progress, &mut made);
    if mounted.is_err() {
        made.undo(store);
    }
    mounted
}

fn mount_made(
    store: &Store,
    wish: &StandaloneMount,
    dir: &Path,
    states: Option<&Path>,
    progress: &dyn Progress,
    made: &mut MountUndo,
) -> Result<Vec<Skipped>, ViewsError> {
    let dir = made.dir(dir)?;
    let place = StandalonePlace::of(wish, &dir, states, made)?;
    made.state(&place.state_dir);
    let known = place.known()?;
    let (grafts, skipped) = place.grafts(store, &wish.lower, known.as_ref(), states, progress)?;
    let mut views = match known {
        Some(views) => views,
        None => place.first(store)?,
    };
    let before = views.manifest.views.first().filter(|view| view.id == place.id).cloned();
    if let Some(view) = before.as_ref().filter(|view| views.is_dropped(view)) {
        // The user cleared the view and mounts it again: it starts anew, over the directory's content.
        thaw::release(&views, view)?;
        views.forget(view)?;
    }
    let grafts = before.map_or(Ok(grafts.clone()), |view| views.grafts(&view, grafts))?;
    let trees = views.manifest.trees().into_iter().chain(grafts.iter().map(|g| g.tree)).collect();
    store.roots().add(&set::manifest_file(&place.state_dir), &trees)?;
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Err(ViewsError::NotEmpty(dir)) };
    views.mount_changed(|manifest| {
        manifest.worktree = parent.into();
        manifest.store = store.path().into();
        manifest.allow_other = wish.allow_other.unwrap_or(manifest.allow_other);
        manifest.views = vec![ViewSpec {
            id: place.id.clone(),
            path: PathBuf::from(name),
            grafts,
            lockfiles: Vec::new(),
            upper: place.upper.clone(),
            read_only: wish.read_only,
            no_exec: wish.no_exec,
            fsname: wish.fsname.clone(),
            copy: None,
        }];
    })?;
    if let (Some(states), Some(upper)) = (states, &place.upper) {
        nested_upper::note(states, upper, &place.state_dir)?;
    }
    if let Some(states) = states.filter(|states| set::state_dir_at(states, &dir) != place.state_dir) {
        set::note_elsewhere(states, &dir, &place.state_dir)?;
    }
    Ok(skipped)
}

/// Detaches dead views at `dir`: `stat(2)` of `dir` fails while one is mounted there.
fn detach_stale(dir: &Path) -> Result<(), ViewsError> {
    let (Some(name), Ok(parent)) =
        (dir.file_name(), path::canonical(dir.parent().unwrap_or(Path::new("")).join(".").as_path()))
    else {
        return Ok(());
    };
    let place = parent.join(name);
    while path::is_disconnected(&place) {
        let mounts = mountinfo::read()?;
        match mounts.iter().rfind(|m| m.path == place) {
            Some(top) if top.kind == mount::KIND => {
                mount::unmount(&place, true).map_err(IoError::of("detach the dead mount at", &place))?;
            }
            _ => break,
        }
    }
    Ok(())
}

/// Before anything is made: whether the lower can be had.
fn is_there(store: &Store, lower: &LowerSource) -> Result<(), ViewsError> {
    match lower {
        LowerSource::Entries(names) => names.iter().try_for_each(|name| match store.entries().get(name)? {
            Some(_) => Ok(()),
            None => Err(StoreError::NoEntry(name.into()).into()),
        }),
        LowerSource::Directories(dirs) => dirs.iter().try_for_each(|dir| Ok(path::open_dir(dir).map(drop)?)),
    }
}

/// The locations of a view's mount point, state directory and upper.
struct StandalonePlace<'a> {
    dir: &'a Path,
    state_dir: PathBuf,
    upper: Option<PathBuf>,
    id: String,
}

impl<'a> StandalonePlace<'a> {
    fn of(
        wish: &StandaloneMount,
        dir: &'a Path,
        states: Option<&Path>,
        made: &mut MountUndo,
    ) -> Result<StandalonePlace<'a>, ViewsError> {
        let upper = wish.upper.as_deref().map(|upper| made.dir(upper)).transpose()?;
        let workdir = wish.workdir.as_deref().map(|workdir| made.dir(workdir)).transpose()?;
        are_apart(wish, upper.as_deref(), workdir.as_deref())?;
        let state_dir = match (&workdir, &upper, states) {
            (Some(workdir), ..) => workdir.join("depsfs"),
            (None, Some(upper), _) => {
                let name = upper.file_name().ok_or_else(|| ViewsError::NotEmpty(upper.clone()))?;
                let mut hidden = OsString::from(".");
                hidden.push(name);
                hidden.push(".depsfs");
                upper.with_file_name(hidden)
            }
            (None, None, Some(states)) => set::state_dir_at(states, dir),
            (None, None, None) => return Err(ViewsError::NoState),
        };
        if state_dir.starts_with(dir) {
            return Err(ViewsError::Beneath { state: state_dir, dir: dir.into() });
        }
        // As in overlayfs, a read-only mount without an upper hides the directory's content.
        let is_known = path::is_there(&set::manifest_file(&state_dir));
        if wish.read_only && upper.is_none() && !is_known && !path::list(dir)?.is_empty() {
            let state_dir = state_dir.join("read-only");
            return Ok(StandalonePlace { dir, upper: Some(state_dir.join("upper")), state_dir, id: ONLY_VIEW.into() });
        }
        let by_dir = states.is_some_and(|states| set::state_dir_at(states, dir) == state_dir);
        let id = if by_dir { set::id_of(dir) } else { ONLY_VIEW.into() };
        Ok(StandalonePlace { dir, upper, state_dir, id })
    }

    /// The views mounted with this state before. Refused if they have another upper, or are mounted elsewhere now.
    fn known(&self) -> Result<Option<Views>, ViewsError> {
        if !path::is_there(&set::manifest_file(&self.state_dir)) {
            return Ok(None);
        }
        let views = Views::load(&self.state_dir)?;
        let Some(view) = views.manifest.views.first() else { return Ok(Some(views)) };
        let (was, is) = (view.upper.clone(), self.upper.clone());
        let upper = was.clone().unwrap_or_else(|| views.place(view));
        // One that is no longer there was moved, together with this directory.
        if was != is && (was.is_some() || self.id == ONLY_VIEW) && path::is_there(&upper) {
            return Err(ViewsError::OtherUpper { state: self.state_dir.clone(), upper });
        }
        let there = views.state().and_then(|s| s.views.into_iter().find(|v| v.mounted && v.path != self.dir));
        there.map_or(Ok(Some(views)), |view| Err(ViewsError::MountedElsewhere(view.path)))
    }

    /// A manifest of no view yet.
    fn first(&self, store: &Store) -> Result<Views, ViewsError> {
        match &self.upper {
            Some(upper) => path::make_private_dirs(upper)?,
            None if !path::list(self.dir)?.is_empty() => return Err(ViewsError::NotEmpty(self.dir.into())),
            None => {}
        }
        path::make_private_dirs(&self.state_dir)?;
        let manifest = Manifest { created: set::now(), ..Manifest::new(self.dir, store.path()) };
        let _lock = ManifestLock::wait(&self.state_dir)?;
        // If another process has created it meanwhile, that one is used.
        if path::is_there(&set::manifest_file(&self.state_dir)) {
            return Views::load(&self.state_dir);
        }
        manifest.save(&set::manifest_file(&self.state_dir))?;
        Ok(Views { state_dir: self.state_dir.clone(), manifest })
    }

    fn grafts(
        &self,
        store: &Store,
        lower: &LowerSource,
        known: Option<&Views>,
        states: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<(Vec<Graft>, Vec<Skipped>), ViewsError> {
        let mut skipped = Vec::new();
        let grafts = match lower {
            LowerSource::Entries(names) => names.iter().map(|name| entry(store, name)).collect::<Result<_, _>>()?,
            LowerSource::Directories(dirs) => {
                let dirs = dirs.iter().map(|dir| path::canonical(dir)).collect::<Result<Vec<_>, _>>()?;
                let (mut grafts, mut rest) = (Vec::with_capacity(dirs.len()), dirs.as_slice());
                while !rest.is_empty() {
                    let (graft, taken) = self.directory(store, rest, known, states, &mut skipped, progress)?;
                    grafts.push(graft);
                    rest = &rest[taken..];
                }
                grafts.reverse();
                grafts
            }
        };
        Ok((grafts, skipped))
    }

    /// The tree of the first of these directories, which may be the upper of a view whose lowers follow it; and of how
    /// many it is. One that lies under this view can't be read while that is mounted, and stays as it was.
    fn directory(
        &self,
        store: &Store,
        lowers: &[PathBuf],
        known: Option<&Views>,
        states: Option<&Path>,
        skipped: &mut Vec<Skipped>,
        progress: &dyn Progress,
    ) -> Result<(Graft, usize), ViewsError> {
        let graft = |tree, origin| Graft { at: PathBuf::new(), tree, entry: None, origin, retired: false };
        if let Some((mut views, below)) = nested_upper::find(states, lowers)? {
            let imported = nested_upper::import(store, &mut views, progress)?;
            return Ok((graft(imported.tree, nested_upper::origin(&lowers[..=below])), 1 + below));
        }
        let lower = &lowers[0];
        let origin = nested_upper::origin(&lowers[..1]);
        let mounted = known.filter(|views| views.manifest.views.iter().any(|v| views.is_mounted(v)));
        if lower.starts_with(self.dir)
            && let Some(views) = mounted
        {
            let before = views.manifest.views.iter().flat_map(|v| &v.grafts).find(|g| g.origin == origin);
            return before
                .cloned()
                .map(|g| (g, 1))
                .ok_or(ViewsError::Beneath { state: lower.clone(), dir: self.dir.into() });
        }
        let imported = import::import_dir(store, lower, progress)?;
        skipped.extend(imported.skipped.into_iter().map(|s| Skipped { path: lower.join(s.path), ..s }));
        Ok((graft(imported.tree, origin), 1))
    }
}

/// The entry's tree; gc counts its last use from now.
fn entry(store: &Store, name: &str) -> Result<Graft, ViewsError> {
    let entry = store.entries().get(name)?.ok_or_else(|| StoreError::NoEntry(name.into()))?;
    store.entries().touch(name)?;
    Ok(Graft {
        at: PathBuf::new(),
        tree: entry.tree,
        entry: Some(name.into()),
        origin: entry.provenance.source,
        retired: false,
    })
}

/// As in overlayfs: neither of upper and workdir lies in the other, nor in a lower, nor a lower in them. A workdir in
/// the upper would show in the view, where the journal could be deleted. An upper or workdir in a lower would be
/// imported into the store with it.
fn are_apart(wish: &StandaloneMount, upper: Option<&Path>, workdir: Option<&Path>) -> Result<(), ViewsError> {
    let overlap = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let refuse = |a: &Path, b: &Path| Err(ViewsError::Overlap(a.into(), b.into()));
    if let (Some(upper), Some(workdir)) = (upper, workdir)
        && overlap(upper, workdir)
    {
        return refuse(workdir, upper);
    }
    let LowerSource::Directories(lowers) = &wish.lower else { return Ok(()) };
    for lower in lowers {
        let lower = path::canonical(lower)?;
        if let Some(own) = [upper, workdir].into_iter().flatten().find(|own| overlap(own, &lower)) {
            return refuse(own, &lower);
        }
    }
    Ok(())
}
