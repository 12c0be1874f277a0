//! `.worktreeinclude`: the files that new worktrees of a repository get as copies, from every tool that makes them.
//!
//! Patterns as in .gitignore, in a file at the top of the source, tracked or not. Of the paths that git ignores those are
//! copied that a pattern names, and no others: the list decides, also in directories that are not shared because
//! `depsfs.exclude` names them or a worktree lies in them. Directories become views all the same: they hold all there is, at no cost.

use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::settings::BadPattern;
use crate::sys::fs::FileType;
use crate::sys::{IoError, path};

/// `.worktreeinclude` could not be read, or holds no patterns.
#[derive(Debug, thiserror::Error)]
pub enum IncludeError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Pattern(#[from] BadPattern),
}

/// The name of the file in the top directory of a checkout. Its syntax is that of `.gitignore`.
pub const FILE: &str = ".worktreeinclude";

/// The patterns of a `.worktreeinclude`.
pub struct Included(Gitignore);

impl Included {
    /// Those of the checkout whose top is `root`; `None` without a file.
    pub fn load(root: &Path) -> Result<Option<Included>, IncludeError> {
        let Some(bytes) = path::read_if_there(&root.join(FILE))? else { return Ok(None) };
        Ok(Some(Included::parse(root, &bytes)?))
    }

    fn parse(root: &Path, bytes: &[u8]) -> Result<Included, BadPattern> {
        let bad = |why| BadPattern { place: FILE, why };
        let mut patterns = GitignoreBuilder::new(root);
        for line in String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}').lines() {
            patterns.add_line(None, line).map_err(bad)?;
        }
        patterns.build().map(Included).map_err(bad)
    }

    /// Whether a file, relative to the top, is to be copied.
    pub fn names(&self, file: &Path) -> bool {
        self.0.matched_path_or_any_parents(file, false).is_ignore()
    }

    /// The files and symlinks below a directory that are to be copied; `at` is its path from the top. Other worktrees
    /// and repositories below it are skipped.
    pub fn below(&self, root: &Path, at: &Path, found: &mut Vec<PathBuf>) -> Result<(), IoError> {
        let mut todo = vec![at.to_path_buf()];
        while let Some(dir) = todo.pop() {
            let names = path::list(&root.join(&dir))?;
            if names.iter().any(|n| n.name == b".git") {
                continue;
            }
            for entry in names {
                let child = path::child(&dir, &entry.name);
                match entry.kind {
                    FileType::Directory => todo.push(child),
                    FileType::RegularFile | FileType::Symlink if self.names(&child) => found.push(child),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_a_gitignore() {
        let text = b"\xef\xbb\xbf# secrets\n.env\n.env.*\n!.env.example\n/only-here\nconfig/\n\n*.pem\r\na/**/z\n";
        let included = Included::parse(Path::new("/src/repo"), text).expect("patterns");
        let named = [".env", "sub/.env", ".env.local", "only-here", "config/a/b", "x/config/c", "k.pem", "a/b/c/z"];
        let not = [".env.example", "sub/only-here", "configs/a", "# secrets", "other", "pem"];
        named.iter().for_each(|path| assert!(included.names(Path::new(path)), "{path}"));
        not.iter().for_each(|path| assert!(!included.names(Path::new(path)), "{path}"));
        assert!(!Included::parse(Path::new("/"), b"").expect("none").names(Path::new("x")));
    }
}
