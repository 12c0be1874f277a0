//! Ignored paths of the source checkout: `create` shares or copies them.
//!
//! git lists them, in the checkout and in each initialised submodule by its own rules. A directory that is ignored
//! as a whole becomes a view; ignored files outside such directories are copied, all or those that the repository lists
//! ([`super::include`]). Directories are not shared if they are empty, hold a `.git`, hold the store or a worktree of
//! this repository, or are excluded by configuration.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::Gitignore;

use super::checkout::Checkout;
use super::command::GitError;
use super::include::Included;
use super::partly_tracked;
use super::submodule::Submodule;
use crate::sys::fs::{FileType, OpenFlags, open_path};
use crate::sys::{IoError, path};

/// The ignored paths of a source, relative to its top, sorted; no directory lies in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    pub directories: Vec<PathBuf>,
    pub files: Vec<PathBuf>,
    /// Directories that are left out, and why, for `--dry-run` and the summary.
    pub left_out: Vec<(PathBuf, LeftOut)>,
    /// Those of `directories` in which git tracks a file or two ([`super::partly_tracked`]).
    pub partly_tracked: Vec<PathBuf>,
    /// Paths below them that are the source checkout's: no artifact has them.
    pub of_checkout: Vec<PathBuf>,
}

/// Why an ignored directory is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    Empty,
    Repository,
    Store,
    Worktree,
    Excluded,
    /// This user may not list it, or not read it.
    Unreadable,
}

impl LeftOut {
    /// The reason as a clause that follows the path in a message.
    pub fn words(self) -> &'static str {
        match self {
            LeftOut::Empty => "it is empty",
            LeftOut::Repository => "it is a repository of its own",
            LeftOut::Store => "it holds the store",
            LeftOut::Worktree => "it holds a worktree of this repository",
            LeftOut::Excluded => "depsfs.exclude names it",
            LeftOut::Unreadable => "you may not read it (git config --add depsfs.exclude leaves it out without asking)",
        }
    }
}

/// The ignored paths of a checkout could not be listed, or one of them could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IgnoredError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Paths that are never shared or copied, and the repository's list of files to copy.
pub struct IgnoredLimits<'a> {
    pub excluded: &'a Gitignore,
    /// The repository's list of files to copy, if it has one.
    pub included: Option<&'a Included>,
    pub store: &'a Path,
    /// The tops of all worktrees of the repository.
    pub worktrees: &'a [PathBuf],
    /// Paths in the checkout that are views of their own already: a directory above one stays in its parts.
    pub views: &'a [PathBuf],
}

impl IgnoredLimits<'_> {
    /// Whether a single ignored file is copied. A `.gitignore` has patterns for other paths, so it always is.
    fn copy(&self, at: &Path) -> bool {
        match self.included {
            Some(included) => included.names(at) || at.file_name().is_some_and(|name| name == ".gitignore"),
            None => !self.excluded.matched(at, false).is_ignore(),
        }
    }
}

/// Sorts what git listed in the source, and what it lists in each of its submodules.
pub fn find(
    source: &Checkout,
    listed: Vec<PathBuf>,
    modules: &[(PathBuf, &Submodule)],
    limits: &IgnoredLimits<'_>,
) -> Result<Ignored, IgnoredError> {
    let mut found = Ignored::default();
    let parts = ListedParts { source, modules, limits };
    let mut all = parts.joined(Path::new(""), source, listed, &mut found)?;
    for (at, module) in modules {
        all.extend(parts.joined(at, &module.checkout, module.checkout.git().ignored()?, &mut found)?);
    }
    for listed in all {
        let at = without_slash(&listed);
        let is_dir = at.as_os_str().len() < listed.as_os_str().len();
        let whole = source.root.join(&at);
        if !is_dir {
            if !limits.copy(&at) {
                continue;
            }
            match is_copied(&whole) {
                Ok(true) => found.files.push(at),
                Ok(false) => {}
                Err(e) if is_denied(&e) => found.left_out.push((at, LeftOut::Unreadable)),
                Err(e) => return Err(e.into()),
            }
        } else if let Some(why) = left_out(&whole, &at, limits)? {
            if let Some(included) = limits.included.filter(|_| matches!(why, LeftOut::Excluded | LeftOut::Worktree)) {
                match included.below(&source.root, &at, &mut found.files) {
                    Err(e) if is_denied(&e) => {}
                    done => done?,
                }
            }
            found.left_out.push((at, why));
        } else {
            found.directories.push(at);
        }
    }
    found.directories.sort();
    found.files.sort();
    found.partly_tracked.retain(|at| found.directories.contains(at));
    Ok(found)
}

/// The listed paths of a source and its submodules, while partly tracked directories are put in the place of their parts.
struct ListedParts<'a> {
    source: &'a Checkout,
    modules: &'a [(PathBuf, &'a Submodule)],
    limits: &'a IgnoredLimits<'a>,
}

impl ListedParts<'_> {
    /// The listed paths of the checkout at `at`, relative to the source.
    fn joined(
        &self,
        at: &Path,
        of: &Checkout,
        listed: Vec<PathBuf>,
        found: &mut Ignored,
    ) -> Result<Vec<PathBuf>, IgnoredError> {
        let listed = topmost(listed);
        let below: BTreeSet<PathBuf> = listed.iter().map(|path| at.join(without_slash(path))).collect();
        let (listed, partly) = partly_tracked::join(of, listed, &|dir| self.stays_apart(&at.join(dir), &below))?;
        found.of_checkout.extend(of.git().own_of_checkout(&partly)?.into_iter().map(|path| at.join(path)));
        found.partly_tracked.extend(partly.into_iter().map(|dir| at.join(dir)));
        Ok(listed.into_iter().map(|path| at.join(path)).collect())
    }

    /// Whether a part of a directory is no part of an artifact.
    fn stays_apart(&self, dir: &Path, listed: &BTreeSet<PathBuf>) -> bool {
        let whole = self.source.root.join(dir);
        let is_excluded = |at: &Path| self.limits.excluded.matched_path_or_any_parents(at, true).is_ignore();
        let is_other = |at: &PathBuf| is_excluded(at) || path::is_there(&self.source.root.join(at).join(".git"));
        // By components: what is below a directory follows it.
        let mut below = listed.range(dir.to_path_buf()..).take_while(|at| at.starts_with(dir));
        self.limits.views.iter().any(|view| view != dir && view.starts_with(dir))
            || self.modules.iter().any(|(module, _)| module.starts_with(dir))
            || self.limits.store.starts_with(&whole)
            || self.limits.worktrees.iter().any(|worktree| worktree.starts_with(&whole))
            || (!is_excluded(dir) && below.any(is_other))
    }
}

/// Drops each directory of which git lists something below: it isn't ignored itself, only all it holds is.
fn topmost(listed: Vec<PathBuf>) -> Vec<PathBuf> {
    let parents: BTreeSet<PathBuf> = listed
        .iter()
        .flat_map(|p| p.ancestors().skip(1).map(Path::to_path_buf))
        .filter(|p| p != Path::new(""))
        .collect();
    listed.into_iter().filter(|p| !parents.contains(&without_slash(p))).collect()
}

fn without_slash(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes.strip_suffix(b"/").unwrap_or(bytes)))
}

/// Whether a single file is one to copy; an error when this user may not.
fn is_copied(file: &Path) -> Result<bool, IoError> {
    match path::stat(file)?.map(|s| s.kind()) {
        Some(FileType::RegularFile) => {
            open_path(file, OpenFlags::RDONLY | OpenFlags::NONBLOCK, 0).map_err(IoError::of("open", file))?;
            Ok(true)
        }
        kind => Ok(kind == Some(FileType::Symlink)),
    }
}

fn is_denied(e: &IoError) -> bool {
    e.source.kind() == std::io::ErrorKind::PermissionDenied
}

fn left_out(whole: &Path, at: &Path, limits: &IgnoredLimits<'_>) -> Result<Option<LeftOut>, IoError> {
    if limits.excluded.matched_path_or_any_parents(at, true).is_ignore() {
        return Ok(Some(LeftOut::Excluded));
    }
    let names = match path::list(whole) {
        Err(e) if is_denied(&e) => return Ok(Some(LeftOut::Unreadable)),
        names => names?,
    };
    Ok(if names.is_empty() {
        Some(LeftOut::Empty)
    } else if names.iter().any(|n| n.name == b".git") {
        Some(LeftOut::Repository)
    } else if limits.store.starts_with(whole) {
        Some(LeftOut::Store)
    } else if limits.worktrees.iter().any(|w| w.starts_with(whole)) {
        Some(LeftOut::Worktree)
    } else if names.first().is_some_and(|n| is_closed(&whole.join(OsStr::from_bytes(&n.name)))) {
        // It may be listed, and not be entered.
        Some(LeftOut::Unreadable)
    } else {
        None
    })
}

/// Whether even the metadata of a name can't be had: its directory may not be entered.
fn is_closed(at: &Path) -> bool {
    path::stat(at).is_err_and(|e| is_denied(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_something_listed_below_it_is_not_ignored_itself() {
        // As git 2.47 answers for a `.venv` with a .gitignore of `*` inside, and for `logs` that holds only logs.
        let listed =
            [".env", ".venv/", ".venv/.gitignore", ".venv/lib/", "build/", "logs/", "logs/a.log", "x/y/build2/"];
        let kept = topmost(listed.iter().map(PathBuf::from).collect());
        let expected = [".env", ".venv/.gitignore", ".venv/lib/", "build/", "logs/a.log", "x/y/build2/"];
        assert_eq!(kept, expected.map(PathBuf::from));
    }
}
