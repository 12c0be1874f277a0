//! One mount that shows all views of a worktree, or a mount for each: where a view is, and in which mount.

use std::path::{Path, PathBuf};

use super::set::Views;
use crate::store::manifest::{Shape, ViewSpec, joined};
use crate::sys::{mount_use, path};

impl Views {
    /// The place of the mount that shows a view: its own, or the worktree's.
    pub fn mount_place(&self, view: &ViewSpec) -> PathBuf {
        joined(&self.manifest.worktree, self.manifest.mount_path(view))
    }

    /// The path of a view in the mount that shows it.
    pub fn inside_mount<'a>(&self, view: &'a ViewSpec) -> &'a Path {
        if self.is_whole() { &view.path } else { Path::new("") }
    }

    /// Whether all views are one mount.
    pub fn is_whole(&self) -> bool {
        self.manifest.shape == Shape::Worktree
    }

    /// Whether the worktree is one view, which nothing uses but the shells that this command was called from: they stand in
    /// it, as in any worktree, and wait for the command.
    pub fn only_callers_stand_in_it(&self) -> bool {
        self.is_whole() && mount_use::only_callers_stand_in(&self.manifest.worktree)
    }

    /// Whether the user deleted the directory of a view in a mount of the whole worktree.
    pub fn is_deleted(&self, view: &ViewSpec) -> bool {
        self.is_whole() && self.is_mounted(view) && path::stat(&self.place(view)).is_ok_and(|stat| stat.is_none())
    }
}
