//! Work that only a linked worktree's private git directory holds. It is found without the worktree itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::{Risk, WorktreeError};
use crate::git::command::Git;
use crate::git::submodule;
use crate::store::Manifest;
use crate::store::manifest::ViewSpec;
use crate::sys::path;
use crate::sys::terminal::DisplayName;

/// The git operation in progress, by the files that git keeps during it.
pub fn operation(git_dir: &Path) -> Option<&'static str> {
    let signs = [
        ("rebase-merge", "rebase"),
        ("rebase-apply", "rebase"),
        ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
        ("BISECT_LOG", "bisect"),
    ];
    signs.iter().find(|(file, _)| path::is_there(&git_dir.join(file))).map(|(_, what)| *what)
}

/// Commits of a detached HEAD that no branch, tag or remote has; changes that are staged; an operation in progress;
/// commits of submodules' clones.
pub fn risks(git_dir: &Path) -> Result<Vec<Risk>, WorktreeError> {
    let git = Git::at(git_dir);
    let mut found: Vec<Risk> = operation(git_dir).map(Risk::Operation).into_iter().collect();
    if git.branch()?.is_none() {
        let count = git.count_commits(&["HEAD"], &["--branches", "--remotes", "--tags"])?;
        if count > 0 {
            found.push(Risk::Commits { of: "its HEAD".into(), count });
        }
    }
    if path::stat(&git_dir.join("index"))?.is_some_and(|index| index.size > 0) {
        let staged = git.differing_from_head()?;
        if !staged.is_empty() {
            found.push(Risk::Changes(staged));
        }
    }
    for clone in clones(&git_dir.join("modules"))? {
        let known = ["--remotes", "--tags", submodule::FROM_SOURCE_GLOB];
        let count = Git::at(&clone).count_commits(&["HEAD", "--branches"], &known)?;
        if count > 0 {
            let name = clone.strip_prefix(git_dir.join("modules")).unwrap_or(&clone);
            found.push(Risk::Commits { of: format!("submodule {}", name.shown()), count });
        }
    }
    Ok(found)
}

/// Counts its views whose journal has changes: files of the lower that were deleted, moved or changed. Together with
/// the worktree's own files, even if those were moved, it restores the content of the views.
pub fn journals(git_dir: &Path) -> Result<usize, WorktreeError> {
    let state_dir = git_dir.join("depsfs");
    let manifest = Manifest::load(&crate::views::set::manifest_file(&state_dir))?.into_mounts();
    let mut found = 0;
    for view in &manifest.views {
        let dir = state_dir.join("views").join(&view.id);
        let says_something = path::stat(&dir.join("journal"))?.is_some_and(|journal| journal.size > untouched(view));
        found += usize::from(says_something && path::stat(&dir.join("dropped"))?.is_none());
    }
    Ok(found)
}

/// The most bytes of a journal without changes, which has only the trees of its inode numbers: a header, a frame for
/// the root, one for each graft.
fn untouched(view: &ViewSpec) -> u64 {
    42 + view.grafts.iter().map(|graft| 58 + graft.at.as_os_str().len() as u64).sum::<u64>()
}

/// The git directories below `modules`, which nest as the names of submodules do.
fn clones(modules: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
    let mut found = Vec::new();
    for entry in path::list(modules)? {
        let dir = modules.join(OsStr::from_bytes(&entry.name));
        if path::stat(&dir)?.is_none_or(|stat| !stat.is_dir()) {
            continue;
        }
        if path::is_there(&dir.join("HEAD")) {
            found.extend(clones(&dir.join("modules"))?);
            found.push(dir);
        } else {
            found.extend(clones(&dir)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::fault::{Call, Plan};

    #[test]
    fn a_clone_that_cannot_be_looked_at_is_no_absent_one() {
        let modules = tempfile::tempdir().expect("a directory");
        path::make_dir(&modules.path().join("sub")).expect("made");
        path::replace(&modules.path().join("sub/HEAD"), b"ref: refs/heads/main\n").expect("written");
        assert_eq!(clones(modules.path()).expect("listed"), [modules.path().join("sub")]);
        // The first look is the listing.
        let plan = Plan { calls: |call| call == Call::Look, from: 1, for_ever: false, errno: libc::EIO, torn: false };
        let _guard = plan.lay();
        clones(modules.path()).expect_err("nobody knows what is there");
    }
}
