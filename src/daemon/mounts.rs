//! Which mounts are whose, told from the kernel's table and never by touching a path inside one.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::manifest::{Manifest, ViewSpec};
use crate::sys::mount;
use crate::sys::mountinfo::{self, MountPoint};

/// Where a view is mounted.
pub fn place(worktree: &Path, view: &ViewSpec) -> PathBuf {
    if view.path.as_os_str().is_empty() { worktree.to_path_buf() } else { worktree.join(&view.path) }
}

/// How a view is mounted.
pub fn options(manifest: &Manifest, view: &ViewSpec) -> mount::Options {
    mount::Options {
        allow_other: manifest.allow_other,
        read_only: view.read_only,
        no_exec: view.no_exec,
        fsname: view.fsname.clone(),
    }
}

/// Whether the view that is `device` is mounted at `path`, be it under another mount.
pub fn is_attached(mounts: &[MountPoint], path: &Path, device: Option<(u32, u32)>) -> bool {
    // Numbers first: with many views this is asked of every pair of a view and a mount.
    mounts.iter().any(|m| Some(m.device) == device && m.path == path)
}

/// What lies on top at `path`, if that is a view of ours or of a daemon before us.
pub fn top_view(mounts: &[MountPoint], path: &Path) -> Option<(u32, u32)> {
    let top = mounts.iter().rfind(|m| m.path == path)?;
    (top.kind == mount::KIND).then_some(top.device)
}

/// Detaches the view that is `device` from `path`, in use or not; nothing when it isn't what lies on top there.
pub fn detach(path: &Path, device: Option<(u32, u32)>) -> io::Result<()> {
    let mounts = mountinfo::read().map_err(|e| e.source)?;
    match top_view(&mounts, path) {
        Some(top) if Some(top) == device => mount::unmount(path, true),
        _ => Ok(()),
    }
}

/// Detaches whatever views a daemon that is gone has left at `path`: nobody answers for them.
pub fn detach_dead(mounts: &[MountPoint], path: &Path) -> io::Result<()> {
    let ours = mounts.iter().rev().filter(|m| m.path == path).take_while(|m| m.kind == mount::KIND).count();
    (0..ours).try_for_each(|_| mount::unmount(path, true))
}
