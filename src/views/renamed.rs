//! Directories of artifacts that the worktree renamed: the paths that show them now.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ViewsError;
use super::access::Access;
use super::mounted::{moved_through, set_xattr, wait_for_notices};
use super::set::Views;
use crate::overlay::MovedDirectory;
use crate::store::manifest::{ViewSpec, joined};

impl Access {
    /// The directories of the store that the mount shows at other paths; all paths are those in the mount.
    ///
    /// # Errors
    /// A mount that does not answer, or an upper that can't be read.
    pub fn moved_directories(&self) -> Result<Vec<MovedDirectory>, ViewsError> {
        match self {
            Access::Mounted { root, .. } => moved_through(root),
            Access::Direct { overlay, .. } => Ok(overlay.moved_directories()?),
            Access::Copied(_) => Ok(Vec::new()),
        }
    }

    /// If the view's directory, or one above it, was renamed: what shows there now is the worktree's own from now on, so
    /// that the store's can come back.
    ///
    /// # Errors
    /// The copies can't be written.
    pub fn disown_moved(&self) -> Result<(), ViewsError> {
        match self {
            Access::Mounted { root, at } => {
                set_xattr(root, b"user.depsfs.disown", at.as_os_str().as_bytes())?;
                wait_for_notices(root)
            }
            Access::Direct { overlay, at, .. } => Ok(overlay.disown_moved(at).map(drop)?),
            Access::Copied(_) => Ok(()),
        }
    }
}

/// The path that shows what the store has at `path`, if a directory was renamed. `None` if none on the way was.
pub(super) fn path_now(moved: &[MovedDirectory], path: &Path) -> Option<PathBuf> {
    let on_the_way = moved.iter().filter(|moved| path.starts_with(&moved.from));
    let nearest = on_the_way.max_by_key(|moved| moved.from.components().count())?;
    let below = path.strip_prefix(&nearest.from).ok()?;
    Some(joined(&nearest.to, below)).filter(|now| now != path)
}

/// The paths in the worktree that keep what was moved out of a path of a view, when that path is reset.
///
/// # Errors
/// The view does not answer, or can't be read.
pub fn kept_elsewhere(views: &Views, view: &ViewSpec, inside: &Path) -> Result<Vec<PathBuf>, ViewsError> {
    if view.is_copy() || views.is_dropped(view) {
        return Ok(Vec::new());
    }
    let is_root = !views.is_whole() && inside.as_os_str().is_empty();
    if is_root {
        // Such a mount is made anew, and nothing of it is outside.
        return Ok(Vec::new());
    }
    let path = joined(views.inside_mount(view), inside);
    let moved = Access::open(views, view)?.moved_directories()?;
    let is_kept = |moved: &&MovedDirectory| {
        (moved.from.starts_with(&path) || path.starts_with(&moved.from)) && !moved.to.starts_with(&path)
    };
    let mut kept: Vec<PathBuf> = moved.iter().filter(is_kept).map(|moved| moved.to.clone()).collect();
    kept.sort();
    kept.dedup();
    let all = kept.clone();
    kept.retain(|at| !all.iter().any(|above| above != at && at.starts_with(above)));
    let top = if views.is_whole() { Path::new("") } else { &view.path };
    Ok(kept.into_iter().map(|at| joined(top, &at)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_where_the_nearest_renamed_directory_above_it_is_now() {
        let moved = |from: &str, to: &str| MovedDirectory { from: from.into(), to: to.into() };
        let all = [moved("a", "z"), moved("a/build", "old"), moved("dist", "z/dist")];
        let table = [
            ("a", Some("z")),
            ("a/src", Some("z/src")),
            ("a/build", Some("old")),
            ("a/build/x", Some("old/x")),
            ("dist", Some("z/dist")),
            ("ab", None),
            ("", None),
        ];
        for (path, now) in table {
            assert_eq!(path_now(&all, Path::new(path)), now.map(PathBuf::from), "{path}");
        }
    }
}
