//! An upper as a lower of another view: its content depends on its journal, too, so its merged view is imported.
//!
//! A note with the location of each upper's state directory leads to that view. It is mounted while it is read, unless
//! it is mounted already. Its own lowers have to follow it in the list, and are part of the import.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ViewsError;
use super::origin::GraftOrigin;
use super::set::{self, ManifestLock, Views};
use crate::store::import::{self, Imported};
use crate::store::manifest::{Graft, Manifest, ViewSpec};
use crate::store::{Progress, Store, escape};
use crate::sys::fs::{self, OpenFlags};
use crate::sys::interrupt;
use crate::sys::lock::Lock;
use crate::sys::single_flight::SingleFlight;
use crate::sys::{IoError, path};

/// In the directory that stands for an upper: the path of its state directory.
const STATE: &str = "upper-of";
/// In a state directory: the mount point of its view while it is read.
const SHOWN: &str = "shown";
/// In a state directory: the lock for mounting it there.
const TURN: &str = "shown.lock";
/// How long others may read it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The origin of a graft of these directories, the first on top: their paths, escaped so that two lists never give one
/// text.
pub fn origin(dirs: &[PathBuf]) -> String {
    let escaped = dirs.iter().map(|dir| escape::escape(dir.as_os_str().as_bytes()).replace(':', "%3A"));
    GraftOrigin::Directories(&escaped.collect::<Vec<_>>().join(":")).to_string()
}

/// The unescaped form of [`origin`] in older manifests; `None` if that text can mean several lists.
fn plain_origin(dirs: &[PathBuf]) -> Option<String> {
    let plain: Option<Vec<&str>> = dirs.iter().map(|dir| dir.to_str().filter(|text| !text.contains(':'))).collect();
    plain.map(|dirs| GraftOrigin::Directories(&dirs.join(":")).to_string())
}

/// Notes the location of an upper's state directory.
pub fn note(states: &Path, upper: &Path, state_dir: &Path) -> Result<(), ViewsError> {
    let here = set::state_dir_at(states, upper);
    path::make_private_dirs(&here)?;
    Ok(path::replace(&here.join(STATE), state_dir.as_os_str().as_bytes())?)
}

/// The view whose upper is the first of `dirs`, and how many of the others are its lowers; `None` for a directory that
/// is no view's upper, or is not followed by that view's lowers.
pub fn find(states: Option<&Path>, dirs: &[PathBuf]) -> Result<Option<(Views, usize)>, ViewsError> {
    let (Some(states), Some((upper, rest))) = (states, dirs.split_first()) else { return Ok(None) };
    let noted = path::read_if_there(&set::state_dir_at(states, upper).join(STATE))?;
    let Some(state_dir) = noted.map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes))) else { return Ok(None) };
    if !path::is_there(&set::manifest_file(&state_dir)) {
        return Ok(None);
    }
    let views = Views::load(&state_dir)?;
    let Some(view) = views.manifest.views.first().filter(|v| v.upper.as_ref() == Some(upper)) else { return Ok(None) };
    let own: Option<Vec<&str>> = live(&view.grafts).rev().map(|g| directories(&g.origin)).collect();
    let own = GraftOrigin::Directories(&own.unwrap_or_default().join(":")).to_string();
    let is_own = |dirs: &[PathBuf]| origin(dirs) == own || plain_origin(dirs).is_some_and(|origin| origin == own);
    let count = (1..=rest.len()).find(|n| is_own(&rest[..*n]));
    Ok(count.map(|count| (views, count)))
}

/// The tree of a merged view. One process at a time mounts it for that; the others wait, with a time limit.
///
/// | step                                | a crash right after it leaves                              |
/// |-------------------------------------|------------------------------------------------------------|
/// | 1. the manifest names another place | a view there, which the next to read it unmounts           |
/// | 2. it is mounted there and read     | the same                                                   |
/// | 3. the manifest is restored         | the same                                                   |
/// | 4. it is unmounted                  | nothing                                                    |
pub fn import(store: &Store, views: &mut Views, progress: &dyn Progress) -> Result<Imported, ViewsError> {
    let shown = views.state_dir.join(SHOWN);
    let _flight = single_flight(&views.state_dir, &shown)?;
    *views = Views::load(&views.state_dir)?;
    let Some(view) = views.manifest.views.first().cloned() else { return Err(ViewsError::NoState) };
    match mounted_at(views, &view) {
        // The process that mounted it there for an import has ended.
        Some(at) if at == shown => views.unmount(false)?,
        Some(at) => return Ok(import::import_dir(store, &at, progress)?.complete()?),
        None => {}
    }
    path::make_private_dirs(&shown)?;
    let mut before = None;
    let read = loop {
        let read = views.mount_if(|views| {
            if let Some(at) = mounted_at(views, &view) {
                return Err(ViewsError::MountedElsewhere(at));
            }
            before = Some(views.manifest.clone());
            views.manifest.worktree = views.state_dir.clone();
            let all = views.manifest.views.iter_mut();
            all.for_each(|view| (view.path, view.read_only) = (PathBuf::from(SHOWN), true));
            Ok(())
        });
        match read {
            // An earlier import died while its daemon was starting: the daemon was not up at the check above.
            Err(ViewsError::MountedElsewhere(at)) if at == shown => views.unmount(false)?,
            read => break read,
        }
        interrupt::check()?;
    };
    let read = read.and_then(|()| Ok(import::import_dir(store, &shown, progress)?.complete()?));
    let Some(before) = before else { return read };
    let is_still_shown = end(views, &before)?;
    // If the view was unmounted during the import, the imported tree is not the view's.
    if is_still_shown { read } else { Err(ViewsError::MountedElsewhere(views.place(&view))) }
}

/// The lock of the process that imports the view.
fn single_flight(state_dir: &Path, shown: &Path) -> Result<SingleFlight, ViewsError> {
    let (file, until) = (state_dir.join(TURN), Instant::now() + PATIENCE);
    let attempt = || {
        let open = fs::open_path(&file, OpenFlags::RDWR | OpenFlags::CREATE, 0o600);
        let open = open.map_err(IoError::of("open", &file))?;
        Ok(Lock::try_exclusive(open).map_err(IoError::of("lock", &file))?)
    };
    SingleFlight::wait(attempt, || {
        if Instant::now() > until {
            let why = "another depsfs is reading it".into();
            return Err(ViewsError::View {
                view: shown.into(),
                why,
                hint: "wait until that has ended, then run it again",
            });
        }
        Ok(interrupt::check()?)
    })
}

fn mounted_at(views: &Views, view: &ViewSpec) -> Option<PathBuf> {
    views.state()?.views.into_iter().find(|v| v.id == view.id && v.mounted).map(|v| v.path)
}

fn is_shown(views: &Views) -> bool {
    views.manifest.worktree == views.state_dir && views.manifest.views.iter().all(|v| v.path == Path::new(SHOWN))
}

/// Steps 3 and 4; changes of the manifest by other processes are kept. Whether the view was mounted there until now.
fn end(views: &mut Views, before: &Manifest) -> Result<bool, ViewsError> {
    let _lock = ManifestLock::wait(&views.state_dir)?;
    *views = Views::load(&views.state_dir)?;
    if !is_shown(views) {
        return Ok(false);
    }
    views.manifest.worktree = before.worktree.clone();
    for view in &mut views.manifest.views {
        if let Some(was) = before.views.iter().find(|was| was.id == view.id) {
            (view.path, view.read_only) = (was.path.clone(), was.read_only);
        }
    }
    views.save()?;
    views.unmount(false)?;
    path::remove_tree(&views.state_dir.join(SHOWN))?;
    Ok(true)
}

fn directories(origin: &str) -> Option<&str> {
    match GraftOrigin::of(origin) {
        GraftOrigin::Directories(list) => Some(list),
        GraftOrigin::Artifact { .. } | GraftOrigin::Other(_) => None,
    }
}

fn live(grafts: &[Graft]) -> impl DoubleEndedIterator<Item = &Graft> {
    grafts.iter().filter(|graft| !graft.retired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_of_directories_never_have_one_origin() {
        let lists: [&[&[u8]]; 6] =
            [&[b"/a:/b"], &[b"/a", b"/b"], &[b"/\xff"], &[b"/\xfe"], &["/\u{fffd}".as_bytes()], &[b"/a%3A/b"]];
        let list = |dirs: &[&[u8]]| dirs.iter().map(|dir| OsStr::from_bytes(dir).into()).collect::<Vec<PathBuf>>();
        let origins: std::collections::BTreeSet<String> = lists.iter().map(|dirs| origin(&list(dirs))).collect();
        assert_eq!(origins.len(), lists.len());
        // An unescaped origin of an older manifest is accepted if it is unambiguous.
        assert_eq!(plain_origin(&list(&[b"/50%", b"/b"])).as_deref(), Some("directory /50%:/b"));
        assert_eq!(plain_origin(&list(&[b"/a:/b"])), None);
    }
}
