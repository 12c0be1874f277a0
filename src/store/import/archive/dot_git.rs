//! Names that git takes for its own directory: a member of such a name would be configuration and hooks, which git runs.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::store::{Node, Tree};
use crate::sys::fs::FileType;

/// Whether git refuses a file of this name in a commit, as it does on every system (`core.protectNTFS`): `.git` in any
/// case, and what NTFS would make of it (`git~1`, `.git.`, `.git::$DATA`, a part between backslashes).
pub(super) fn is_git(name: &[u8]) -> bool {
    name.split(|b| *b == b'\\').any(|part| {
        let part = part.to_ascii_lowercase();
        let rest = part.strip_prefix(b".git").or_else(|| part.strip_prefix(b"git~1"));
        let rest = rest.map(|rest| rest.split(|b| *b == b':').next().unwrap_or_default());
        rest.is_some_and(|rest| rest.iter().all(|b| matches!(b, b' ' | b'.')))
    })
}

/// A member of a tree that [`is_git`]: trees of archives that an earlier depsfs has imported may hold one.
pub fn git_member(tree: &Tree) -> Option<PathBuf> {
    let mut todo = vec![(Node::ROOT, PathBuf::new())];
    while let Some((dir, at)) = todo.pop() {
        for entry in tree.entries(dir, 0) {
            if is_git(entry.name) {
                return Some(at.join(std::ffi::OsStr::from_bytes(entry.name)));
            }
            if tree.kind(entry.node) == Some(FileType::Directory) {
                todo.push((entry.node, at.join(Path::new(std::ffi::OsStr::from_bytes(entry.name)))));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_git_refuses_are_known() {
        for name in [".git", ".GIT", ".Git", "git~1", "GIT~1", ".git.", ".git ", ".git . .", ".git::$INDEX", "a\\.git"]
        {
            assert!(is_git(name.as_bytes()), "{name:?}");
        }
        for name in [".gitignore", ".gitmodules", "git", "x.git", ".git-x", "git~2", ".gi", "a\\b", ".gitx:y", "é.git"]
        {
            assert!(!is_git(name.as_bytes()), "{name:?}");
        }
    }
}
