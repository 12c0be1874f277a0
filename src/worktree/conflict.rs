//! Files in an artifact's place: no view is mounted over them, and nothing is written through a symlink.

use std::path::Path;

use crate::sys::fs::FileType;
use crate::sys::path;

/// Something in the place of an artifact, or above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    Symlink,
    File,
    Repository,
    OtherFileSystem,
    SymlinkAbove,
    FileAbove,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Conflict::Symlink => "a symlink is there",
            Conflict::File => "a file is there",
            Conflict::Repository => "a repository of its own is there",
            Conflict::OtherFileSystem => "another file system is mounted there",
            Conflict::SymlinkAbove => "a symlink is above it",
            Conflict::FileAbove => "a file is above it",
        })
    }
}

/// Why no view can be at `at` below `root`. A directory with files in it is no obstacle: they stay on top.
pub fn of_directory(root: &Path, at: &Path) -> Option<Conflict> {
    if let Some(why) = in_the_way(root, at) {
        return Some(why);
    }
    let place = root.join(at);
    let (Ok(Some(top)), Ok(Some(there))) = (path::stat(root), path::stat(&place)) else { return None };
    if there.kind() == FileType::Symlink {
        Some(Conflict::Symlink)
    } else if !there.is_dir() {
        Some(Conflict::File)
    } else if path::is_there(&place.join(".git")) {
        Some(Conflict::Repository)
    } else if there.dev != top.dev {
        Some(Conflict::OtherFileSystem)
    } else {
        None
    }
}

/// Why `at` can't be reached below `root`: every directory above it has to be one, and none a symlink that leads away.
pub fn in_the_way(root: &Path, at: &Path) -> Option<Conflict> {
    let above = at.ancestors().skip(1).filter(|a| !a.as_os_str().is_empty());
    let found = above.filter_map(|a| path::stat(&root.join(a)).ok().flatten()).find(|stat| !stat.is_dir())?;
    Some(if found.kind() == FileType::Symlink { Conflict::SymlinkAbove } else { Conflict::FileAbove })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_on_the_way_and_no_repository_at_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        for made in ["plain/full/x", "clone/.git", "a/b"] {
            path::make_dirs(&root.join(made)).expect("made");
        }
        path::replace(&root.join("file"), b"").expect("written");
        std::os::unix::fs::symlink("plain", root.join("link")).expect("linked");
        let table = [
            ("absent", None),
            ("absent/below", None),
            ("plain/full", None),
            ("a/b/c", None),
            ("link", Some(Conflict::Symlink)),
            ("link/full", Some(Conflict::SymlinkAbove)),
            ("file", Some(Conflict::File)),
            ("file/x", Some(Conflict::FileAbove)),
            ("clone", Some(Conflict::Repository)),
        ];
        for (at, expected) in table {
            assert_eq!(of_directory(root, Path::new(at)), expected, "{at}");
        }
    }
}
