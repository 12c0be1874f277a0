//! The owners of mounts, read from the kernel's table and never by touching a path inside one.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::manifest::{Manifest, ViewSpec, joined};
use crate::sys::mount;
use crate::sys::mountinfo::{MountPoint, MountTable};

/// The path at which a view is mounted.
pub fn place(worktree: &Path, view: &ViewSpec) -> PathBuf {
    joined(worktree, &view.path)
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

/// The path at which the view with the number `device` is mounted: `path`, even under another mount, or, if a directory
/// above it was renamed since, its present path.
pub fn whereabouts<'a>(mounts: &'a MountTable, path: &'a Path, device: Option<(u32, u32)>) -> Option<&'a Path> {
    let device = device?;
    if mounts.at(path).any(|m| m.device == device) {
        return Some(path);
    }
    // The mount point itself can't be renamed: its own name is the same.
    let is_it = |m: &&MountPoint| m.kind == mount::KIND && m.path.file_name() == path.file_name();
    let mut moved = mounts.of_device(device).filter(is_it).map(|m| m.path.as_path());
    // At several paths: a copy (a bind mount) can't be distinguished from its original.
    moved.next().filter(|_| moved.next().is_none())
}

/// The device of the topmost mount at `path`, if that is a view of this daemon or of an earlier one.
pub fn top_view(mounts: &MountTable, path: &Path) -> Option<(u32, u32)> {
    let top = mounts.at(path).next_back()?;
    (top.kind == mount::KIND).then_some(top.device)
}

/// Detaches the view that is `device` from `path`, or from where that was moved, in use or not; nothing when it isn't
/// what lies on top there.
pub fn detach(mounts: &MountTable, path: &Path, device: Option<(u32, u32)>) -> io::Result<()> {
    match whereabouts(mounts, path, device) {
        Some(place) if top_view(mounts, place) == device => mount::unmount(place, true),
        _ => Ok(()),
    }
}

/// Detaches whatever views a daemon that is gone has left at `path`: no server answers for them.
pub fn detach_dead(mounts: &MountTable, path: &Path) -> io::Result<()> {
    let ours = mounts.at(path).rev().take_while(|m| m.kind == mount::KIND).count();
    (0..ours).try_for_each(|_| mount::unmount(path, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_found_where_it_was_mounted_or_where_a_directory_above_it_was_moved_to() {
        let mount = |path: &str, kind: &str, minor| MountPoint {
            path: path.into(),
            kind: kind.into(),
            device: (0, minor),
            user: None,
        };
        let mounts = MountTable::new(vec![
            mount("/one/w/dist", mount::KIND, 7),
            mount("/two/w/out", mount::KIND, 8),
            mount("/two/w/out", "tmpfs", 9),
            mount("/a/dist", mount::KIND, 10),
            mount("/b/dist", mount::KIND, 10),
        ]);
        let found = |path: &str, minor| whereabouts(&mounts, Path::new(path), Some((0, minor))).map(Path::to_path_buf);
        assert_eq!(found("/one/w/dist", 7), Some("/one/w/dist".into()));
        assert_eq!(found("/one/w/out", 8), Some("/two/w/out".into()), "moved");
        assert_eq!(found("/two/w/out", 8), Some("/two/w/out".into()), "beneath another mount");
        assert_eq!(found("/one/w/dist", 8), None, "another name: another view's by now");
        assert_eq!(found("/one/w/out", 9), None, "no view");
        assert_eq!(found("/c/dist", 10), None, "at two places");
        assert_eq!(found("/b/dist", 10), Some("/b/dist".into()));
        assert_eq!(whereabouts(&mounts, Path::new("/one/w/dist"), None), None);
        assert_eq!(top_view(&mounts, Path::new("/two/w/out")), None);
    }
}
