//! A mount namespace in which a worktree lies at its source's path as well: what holds the source's path, be it in a
//! form that cannot be rewritten, means the worktree there.
//!
//! | path in the namespace        | contents                                            |
//! |------------------------------|-----------------------------------------------------|
//! | the worktree's               | the worktree                                        |
//! | the source's                 | the worktree, with its views                        |
//! | `<place>/repository/.git`    | the repository, if the source's path has hidden it  |
//! | `.git` of each worktree      | a file that leads there                             |
//!
//! A submodule's `.git` leads there as well, and so does `core.worktree` of its repository.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::WorktreeError;
use crate::git::checkout::{Checkout, plain};
use crate::git::submodule;
use crate::sys::namespace::Namespace;
use crate::sys::path;

/// Adds the steps to a namespace. `place`: an empty directory for what only the namespace has.
///
/// # Errors
/// A file of git's cannot be read.
pub fn prepare(
    namespace: &mut Namespace,
    checkout: &Checkout,
    source: &Path,
    place: &Path,
) -> Result<(), WorktreeError> {
    let repository = place.join("repository/.git");
    // Of a command in such a namespace, it lies at the place, which a new file system covers.
    let is_hidden = [source, place].iter().any(|above| checkout.common_dir.starts_with(above));
    namespace.keep(&checkout.common_dir);
    namespace.tmpfs(place);
    let mut files = NamespaceFiles { namespace, place, number: 0 };
    let moved = |git_dir: &Path| match git_dir.strip_prefix(&checkout.common_dir) {
        Ok(inside) if is_hidden => repository.join(inside),
        _ => git_dir.to_path_buf(),
    };
    if is_hidden {
        files.namespace.make_dir(&place.join("repository"));
        files.namespace.make_dir(&repository);
        files.namespace.attach(&repository);
    }
    files.namespace.bind(&checkout.root, source);
    if let Ok(inside) = checkout.root.strip_prefix(source) {
        // The own path is hidden: it comes back in a directory of the worktree.
        path::make_dirs(&checkout.root.join(inside))?;
        files.namespace.bind(source, &checkout.root);
    }
    let lead = |git_dir: &Path| [b"gitdir: ", moved(git_dir).as_os_str().as_bytes(), b"\n"].concat();
    files.over(lead(&checkout.git_dir), &[&checkout.root.join(".git"), &source.join(".git")]);
    for (root, git_dir) in checkout.registered()?.into_iter().filter(|_| is_hidden) {
        let (dot_git, pointer) = (root.join(".git"), git_dir.join("gitdir"));
        if path::read_if_there(&pointer)?.is_some_and(|bytes| !bytes.starts_with(b"/")) {
            files.over([dot_git.as_os_str().as_bytes(), b"\n"].concat(), &[&moved(&pointer)]);
        }
        let is_reachable = !root.starts_with(source) && root != checkout.root;
        if is_reachable && path::stat(&dot_git)?.is_some_and(|stat| stat.is_file()) {
            files.over(lead(&git_dir), &[&dot_git]);
        }
    }
    let (modules, mut flat) = (submodule::initialised(checkout)?, Vec::new());
    modules.iter().for_each(|module| module.flatten(Path::new(""), &mut flat));
    for (at, module) in flat {
        let (here, there) = (checkout.root.join(&at), source.join(&at));
        let git_dir = &module.checkout.git_dir;
        if git_dir.starts_with(&here) {
            continue;
        }
        files.over(lead(git_dir), &[&here.join(".git"), &there.join(".git")]);
        if let Some(config) = with_absolute_worktree(&path::read(&git_dir.join("config"))?, git_dir) {
            files.over(config, &[&moved(git_dir).join("config")]);
        }
    }
    Ok(())
}

/// The working directory in the namespace that stands for `here`: the same place of the worktree at the source's path,
/// else its top.
pub fn working_directory(here: &Path, worktree: &Path, source: &Path) -> PathBuf {
    let inside = here.strip_prefix(worktree).or_else(|_| here.strip_prefix(source)).unwrap_or(Path::new(""));
    let is_there = !inside.as_os_str().is_empty() && path::is_dir(&worktree.join(inside));
    if is_there { source.join(inside) } else { source.into() }
}

/// Files of the namespace's own, each over others.
struct NamespaceFiles<'a> {
    namespace: &'a mut Namespace,
    place: &'a Path,
    number: usize,
}

impl NamespaceFiles<'_> {
    /// A new file with this content, over each target.
    fn over(&mut self, content: Vec<u8>, targets: &[&Path]) {
        let file = self.place.join(self.number.to_string());
        self.number += 1;
        self.namespace.make_file(&file, content);
        targets.iter().for_each(|target| self.namespace.bind(&file, target));
    }
}

/// The configuration of a submodule's repository with `core.worktree` absolute; `None` if it is so, or there is none.
fn with_absolute_worktree(config: &[u8], git_dir: &Path) -> Option<Vec<u8>> {
    let mut is_changed = false;
    let line = |line: &[u8]| {
        let value = line.trim_ascii().strip_prefix(b"worktree").map(<[u8]>::trim_ascii_start);
        let value = value.and_then(|rest| rest.strip_prefix(b"=")).map(<[u8]>::trim_ascii);
        match value.filter(|value| !value.is_empty() && !value.starts_with(b"/") && !value.starts_with(b"\"")) {
            Some(value) => {
                is_changed = true;
                let whole = plain(&git_dir.join(OsStr::from_bytes(value)));
                [b"\tworktree = ", whole.as_os_str().as_bytes()].concat()
            }
            None => line.to_vec(),
        }
    };
    let lines: Vec<Vec<u8>> = config.split(|b| *b == b'\n').map(line).collect();
    is_changed.then(|| lines.join(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submodules_work_tree_is_absolute_and_other_lines_stay() {
        let config = b"[core]\n\tbare = false\n\tworktree = ../../../../../fix/sub\n[remote \"origin\"]\n";
        let expected = "[core]\n\tbare = false\n\tworktree = /w/fix/sub\n[remote \"origin\"]\n";
        let git_dir = Path::new("/w/repo/.git/modules/sub/x");
        assert_eq!(with_absolute_worktree(config, git_dir).as_deref(), Some(expected.as_bytes()));
        assert_eq!(with_absolute_worktree(expected.as_bytes(), git_dir), None);
    }

    #[test]
    fn the_working_directory_is_that_of_the_worktree_at_the_sources_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let (fix, repo) = (dir.path().join("fix"), dir.path().join("repo"));
        path::make_dirs(&fix.join("src")).expect("made");
        let at = |here: &Path| working_directory(here, &fix, &repo);
        assert_eq!(at(&fix.join("src")), repo.join("src"));
        assert_eq!(at(&repo.join("src")), repo.join("src"));
        assert_eq!(at(&repo.join("gone")), repo);
        assert_eq!(at(Path::new("/")), repo);
    }
}
