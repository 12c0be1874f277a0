//! An upper as a lower of another view: what it stands for is in its journal, too, so what its view shows is taken.
//!
//! That view is found by a note of where each upper's state is, and mounted for as long as it is read, unless it is
//! mounted anyway. Its own lowers have to follow it in the list, and are in what it shows.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::views::{self, Views};
use crate::store::import::{self, Imported};
use crate::store::manifest::{Graft, Manifest};
use crate::store::{Progress, Store};
use crate::sys::path;

/// In the directory that stands for an upper: the path of its state directory.
const STATE: &str = "upper-of";
/// In a state directory: where its view is mounted to be read.
const SHOWN: &str = "shown";
/// What the origin of a directory's graft begins with.
const DIRECTORY: &str = "directory ";

/// The origin of a graft of these directories, the first on top.
pub fn origin(dirs: &[PathBuf]) -> String {
    format!("{DIRECTORY}{}", joined(dirs).to_string_lossy())
}

/// Notes where the state of an upper is.
pub fn note(states: &Path, upper: &Path, state_dir: &Path) -> Result<(), Error> {
    let here = views::state_dir_at(states, upper);
    path::make_private_dirs(&here)?;
    Ok(path::replace(&here.join(STATE), state_dir.as_os_str().as_bytes())?)
}

/// The view whose upper is the first of `dirs`, and how many of the others are its lowers; `None` for a directory that
/// is nobody's upper, or is followed by something else.
pub fn find(states: Option<&Path>, dirs: &[PathBuf]) -> Result<Option<(Views, usize)>, Error> {
    let (Some(states), Some((upper, rest))) = (states, dirs.split_first()) else { return Ok(None) };
    let noted = path::read_if_there(&views::state_dir_at(states, upper).join(STATE))?;
    let Some(state_dir) = noted.map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes))) else { return Ok(None) };
    if !path::is_there(&views::manifest_file(&state_dir)) {
        return Ok(None);
    }
    let views = Views::load(&state_dir)?;
    let Some(view) = views.manifest.views.first().filter(|v| v.upper.as_ref() == Some(upper)) else { return Ok(None) };
    let own: Option<Vec<&str>> = live(&view.grafts).rev().map(|g| g.origin.strip_prefix(DIRECTORY)).collect();
    let own = own.unwrap_or_default().join(":");
    let count = (1..=rest.len()).find(|n| joined(&rest[..*n]).to_string_lossy() == own);
    Ok(count.map(|count| (views, count)))
}

/// The tree of what a view shows.
pub fn import(store: &Store, views: &mut Views, progress: &dyn Progress) -> Result<Imported, Error> {
    let Some(view) = views.manifest.views.first().cloned() else { return Err(Error::NoState) };
    if views.is_mounted(&view) {
        return Ok(import::import_dir(store, &views.place(&view), progress)?);
    }
    let before = views.manifest.clone();
    let shown = views.state_dir.join(SHOWN);
    path::make_private_dirs(&shown)?;
    let top = views.state_dir.clone();
    let read = views.mount_changed(|manifest| {
        manifest.worktree = top;
        manifest.views.iter_mut().for_each(|view| (view.path, view.read_only) = (PathBuf::from(SHOWN), true));
    });
    let read = read.and_then(|()| Ok(import::import_dir(store, &shown, progress)?));
    let unmounted = views.unmount(false);
    views.manifest = Manifest { generation: views.manifest.generation, ..before };
    views.save()?;
    unmounted?;
    path::remove_tree(&shown)?;
    read
}

fn live(grafts: &[Graft]) -> impl DoubleEndedIterator<Item = &Graft> {
    grafts.iter().filter(|graft| !graft.retired)
}

fn joined(dirs: &[PathBuf]) -> OsString {
    let names: Vec<&OsStr> = dirs.iter().map(|dir| dir.as_os_str()).collect();
    names.join(OsStr::new(":"))
}
