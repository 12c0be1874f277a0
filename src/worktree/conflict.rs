//! Files in an artifact's place: no view is mounted over them, and nothing is written through a symlink.

use std::path::Path;

use crate::sys::fs::FileType;
use crate::sys::path;

/// Why no view can be at `at` below `root`. A directory with files in it is no obstacle: they stay on top.
pub fn of_directory(root: &Path, at: &Path) -> Option<&'static str> {
    if let Some(why) = in_the_way(root, at) {
        return Some(why);
    }
    let place = root.join(at);
    let (Ok(Some(top)), Ok(Some(there))) = (path::stat(root), path::stat(&place)) else { return None };
    if there.kind() == FileType::Symlink {
        Some("a symlink is there")
    } else if !there.is_dir() {
        Some("a file is there")
    } else if path::is_there(&place.join(".git")) {
        Some("a repository of its own is there")
    } else if there.dev != top.dev {
        Some("another file system is mounted there")
    } else {
        None
    }
}

/// Why `at` can't be reached below `root`: every directory above it has to be one, and none a symlink that leads away.
pub fn in_the_way(root: &Path, at: &Path) -> Option<&'static str> {
    let above = at.ancestors().skip(1).filter(|a| !a.as_os_str().is_empty());
    let found = above.filter_map(|a| path::stat(&root.join(a)).ok().flatten()).find(|stat| !stat.is_dir())?;
    Some(if found.kind() == FileType::Symlink { "a symlink is above it" } else { "a file is above it" })
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
            ("link", Some("a symlink is there")),
            ("link/full", Some("a symlink is above it")),
            ("file", Some("a file is there")),
            ("file/x", Some("a file is above it")),
            ("clone", Some("a repository of its own is there")),
        ];
        for (at, expected) in table {
            assert_eq!(of_directory(root, Path::new(at)), expected, "{at}");
        }
    }
}
