//! The disk space of a worktree's own files in its views.
//!
//! The upper of a mounted view is read through the keeper's descriptor of it, not through the mount: no request waits for
//! a server, and a file whose mode or times alone differ takes no space.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::set::Views;
use crate::store::manifest::joined;
use crate::sys::fs::FileType;
use crate::sys::log::OrWarn;
use crate::sys::{IoError, path, spawn};

/// The time limit for all worktrees together.
const LIMIT: Duration = Duration::from_secs(3);
/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// The bytes of each of some worktrees; `None` if they can't be counted, or not in time. A directory that hangs leaves a
/// thread behind, which ends with this process.
pub fn of_all(all: &[&Views]) -> Vec<Option<u64>> {
    let (sender, counted) = mpsc::channel();
    for (at, views) in all.iter().enumerate() {
        let (views, sender) = (Views::clone(views), sender.clone());
        spawn::detached(move || {
            sender.send((at, of(&views).ok())).or_debug("the bytes come late");
        });
    }
    drop(sender);
    let until = Instant::now() + LIMIT;
    let mut bytes = vec![None; all.len()];
    while let Ok((at, found)) = counted.recv_timeout(until.saturating_duration_since(Instant::now())) {
        bytes[at] = found;
    }
    bytes
}

/// The bytes of one worktree.
///
/// # Errors
/// An upper can't be read.
fn of(views: &Views) -> Result<u64, IoError> {
    let keeper = views.state().map(|state| PathBuf::from(format!("/proc/{}/fd", state.pid)));
    let mounted: HashSet<&Path> = views.mounted().map(|view| view.path.as_path()).collect();
    let mut bytes = 0;
    for view in &views.manifest.views {
        let mount_upper = view.upper.clone().unwrap_or_else(|| views.mount_place(view));
        let upper = match keeper.as_deref().filter(|_| mounted.contains(view.path.as_path())) {
            Some(open) => joined(&descriptor_of(open, &mount_upper)?, views.inside_mount(view)),
            None => joined(&mount_upper, views.inside_mount(view)),
        };
        bytes += below(&upper)?;
    }
    Ok(bytes)
}

/// The descriptor, as a path, that a process has of a directory.
fn descriptor_of(open: &Path, dir: &Path) -> Result<PathBuf, IoError> {
    for entry in path::list(open)? {
        let number = path::child(open, &entry.name);
        let Ok(target) = path::read_link(&number) else { continue };
        if Path::new(&OsString::from_vec(target)) == dir {
            // A link is not followed where it is the last component.
            return Ok(number.join("."));
        }
    }
    Err(IoError::of("find the descriptor of", dir)(std::io::ErrorKind::NotFound.into()))
}

/// The disk space of all files below a directory.
///
/// # Errors
/// A directory can't be read.
pub fn below(dir: &Path) -> Result<u64, IoError> {
    let mut bytes = 0;
    for entry in path::list(dir)? {
        let at = path::child(dir, &entry.name);
        match entry.kind {
            FileType::Directory => bytes += below(&at)?,
            _ => bytes += path::stat(&at)?.map_or(0, |stat| stat.blocks * BLOCK),
        }
    }
    Ok(bytes)
}
