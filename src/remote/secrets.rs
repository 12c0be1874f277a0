//! Files that are not pushed: their names are those of secrets, or they hold a path of this machine.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::store::{Node, Tree};
use crate::sys::fs::FileType;
use crate::sys::terminal::DisplayName;

/// A file that is not pushed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedFile {
    /// Relative to the artifact.
    pub path: PathBuf,
    pub holds_path: bool,
}

impl RefusedFile {
    /// For the message.
    pub fn words(&self) -> String {
        let path = self.path.shown();
        if self.holds_path { format!("{path} (holds a path of this machine)") } else { path.to_string() }
    }
}

/// The patterns of files that may be pushed all the same.
///
/// # Errors
/// One of them is no pattern of .gitignore, in words.
pub fn allowed(patterns: &[String]) -> Result<Gitignore, String> {
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        builder.add_line(None, pattern).map_err(|_| format!("{pattern:?} is no pattern"))?;
    }
    builder.build().map_err(|_| "its patterns are too many".into())
}

/// Whether a file of this name is one of those that hold secrets.
pub fn is_secret(name: &[u8]) -> bool {
    let is_key = name.starts_with(b"id_") && (!name.contains(&b'.') || name.ends_with(b".pub"));
    name.starts_with(b".env") || name.ends_with(b".pem") || is_key || matches!(name, b".npmrc" | b".netrc")
}

/// The files of a tree whose names are those of secrets, without those that `allow` names.
pub fn named(tree: &Tree, allow: &Gitignore) -> Vec<RefusedFile> {
    let mut found = Vec::new();
    each_file(tree, |path, name, _| {
        if is_secret(name) && !is_allowed(allow, path) {
            found.push(RefusedFile { path: path.into(), holds_path: false });
        }
    });
    found
}

/// Whether the patterns name a path, or a directory above it.
pub fn is_allowed(allow: &Gitignore, path: &Path) -> bool {
    !path.has_root() && allow.matched_path_or_any_parents(path, false).is_ignore()
}

/// Calls `each` with every file and symlink of a tree: its path, its name, its node.
pub fn each_file(tree: &Tree, mut each: impl FnMut(&Path, &[u8], Node)) {
    let mut open = vec![(Node::ROOT, PathBuf::new())];
    // A damaged tree may have a circle of directories; a sound one names each once.
    let mut left = tree.node_count();
    while let Some((dir, path)) = open.pop() {
        for entry in tree.entries(dir, 0) {
            let at = path.join(OsStr::from_bytes(entry.name));
            match tree.kind(entry.node) {
                Some(FileType::Directory) if left > 0 => {
                    left -= 1;
                    open.push((entry.node, at));
                }
                Some(FileType::RegularFile | FileType::Symlink) => each(&at, entry.name, entry.node),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for bad in [".env", ".env.local", "key.pem", "id_rsa", "id_ed25519", "id_ed25519.pub", ".npmrc", ".netrc"] {
            assert!(is_secret(bad.as_bytes()), "{bad}");
        }
        for good in ["environment", "a.env", "pem", "id_ID.js", "identity", "npmrc", "x.pem.txt"] {
            assert!(!is_secret(good.as_bytes()), "{good}");
        }
        let allow = allowed(&["**/certifi/*.pem".into()]).unwrap();
        assert!(is_allowed(&allow, Path::new("a/certifi/cacert.pem")) && !is_allowed(&allow, Path::new("a/x.pem")));
        let allow = allowed(&["target/".into()]).unwrap();
        assert!(is_allowed(&allow, Path::new("target/debug/x.d")) && !is_allowed(&allow, Path::new("a/target.d")));
    }
}
