//! git's own lock of a linked worktree (git-worktree(1), "lock"): while views are mounted, `git worktree remove` and
//! `prune` refuse, and say why.

use std::path::Path;

use crate::sys::{IoError, path as paths};

/// The reason that git prints when it refuses.
const REASON: &[u8] = b"depsfs: artifact views are mounted; `depsfs unmount` first\n";

/// Makes or removes the lock beside the state directory. A lock that the user set stays as it is; a main checkout,
/// or a directory without git, has none.
pub fn keep(state_dir: &Path, wanted: bool) -> Result<(), IoError> {
    let Some(git_dir) = state_dir.parent().filter(|dir| paths::is_there(&dir.join("gitdir"))) else { return Ok(()) };
    let file = git_dir.join("locked");
    match paths::read_if_there(&file)? {
        None if wanted => paths::write_new(&file, REASON).map(drop),
        Some(reason) if !wanted && reason == REASON => paths::remove_file(&file),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_linked_worktrees_are_locked_and_only_our_own_lock_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (state, file) = (dir.path().join("depsfs"), dir.path().join("locked"));
        keep(&state, true).expect("kept");
        assert!(!paths::is_there(&file));
        paths::replace(&dir.path().join("gitdir"), b"/w/.git\n").expect("written");
        keep(&state, true).expect("kept");
        assert_eq!(paths::read(&file).expect("there"), REASON);
        keep(&state, false).expect("kept");
        assert!(!paths::is_there(&file));
        paths::replace(&file, b"on a stick\n").expect("written");
        keep(&state, true).expect("kept");
        keep(&state, false).expect("kept");
        assert_eq!(paths::read(&file).expect("there"), b"on a stick\n");
    }
}
