//! Directories of artifacts in which git tracks a file or two, such as `node_modules/.gitkeep`.
//!
//! git lists the ignored paths in such a directory one by one. The directory is one artifact nevertheless: git would ignore
//! any new name in it. Its tracked files, and those that a pattern of `!` exempts, are the checkout's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::checkout::Checkout;
use super::command::{Git, GitError};
use super::index::Index;

/// With more tracked files than these below it, a directory is the checkout's, and only its ignored paths are artifacts.
const FEW: usize = 16;
/// The mode of a submodule in the index.
const GITLINK: u32 = 0o160_000;
/// A name that no file has, and that no pattern means which does not mean every name.
const NEW_NAME: &str = "a-new-name-in-this-directory";

/// The tracked paths of a checkout, with their modes, sorted by their bytes.
pub struct TrackedPaths(Vec<(Vec<u8>, u32)>);

impl TrackedPaths {
    /// Those of the index; an index that libgit2 declines is read by git.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn read(of: &Checkout) -> Result<TrackedPaths, GitError> {
        let mut all: Vec<(Vec<u8>, u32)> = match Index::read(of) {
            Some(index) => index.tracked().map(|t| (t.path().to_vec(), t.mode())).collect(),
            None => of.git().staged()?.into_iter().map(|(mode, _, at)| (bytes(&at).to_vec(), mode)).collect(),
        };
        all.sort();
        Ok(TrackedPaths(all))
    }

    /// The tracked paths below a directory.
    fn below(&self, dir: &Path) -> &[(Vec<u8>, u32)] {
        let start = [bytes(dir), b"/"].concat();
        let from = self.0.partition_point(|(path, _)| *path < start);
        let count = self.0[from..].iter().take_while(|(path, _)| path.starts_with(&start)).count();
        &self.0[from..from + count]
    }

    /// Whether a tracked path lies below a directory.
    pub fn has_below(&self, dir: &Path) -> bool {
        !self.below(dir).is_empty()
    }

    /// Whether a path is tracked, or one below it.
    pub fn covers(&self, path: &Path) -> bool {
        self.0.binary_search_by(|(at, _)| at.as_slice().cmp(bytes(path))).is_ok() || self.has_below(path)
    }

    /// Whether a directory is an artifact although git tracks a file or two in it.
    pub fn are_some_below(&self, dir: &Path) -> bool {
        self.has_below(dir) && self.are_few_below(dir)
    }

    /// The name to query git for, of a directory that is to be an artifact. With a slash at the end, a pattern for
    /// directories matches one that isn't there yet.
    pub fn name_to_ask(&self, dir: &Path) -> PathBuf {
        dir.join(if self.are_some_below(dir) { NEW_NAME } else { "" })
    }

    /// Whether the tracked files below a directory leave it an artifact: they are few, and none is a submodule.
    pub fn are_few_below(&self, dir: &Path) -> bool {
        let below = self.below(dir);
        below.len() <= FEW && below.iter().all(|(_, mode)| *mode != GITLINK)
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// Puts a partly tracked directory in the place of the listed paths below it. `is_apart` returns `true` for a directory
/// that has to stay in parts.
///
/// # Errors
/// git fails or can't be run.
pub fn join(
    of: &Checkout,
    listed: Vec<PathBuf>,
    is_apart: &dyn Fn(&Path) -> bool,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>), GitError> {
    let above = |path: &PathBuf| path.ancestors().skip(1).map(Path::to_path_buf).collect::<Vec<_>>();
    let mut candidates: BTreeSet<PathBuf> = listed.iter().flat_map(above).collect();
    candidates.remove(Path::new(""));
    if candidates.is_empty() {
        return Ok((listed, Vec::new()));
    }
    let tracked = TrackedPaths::read(of)?;
    candidates.retain(|dir| tracked.has_below(dir) && tracked.are_few_below(dir) && !is_apart(dir));
    let asked: Vec<PathBuf> = candidates.iter().map(|dir| dir.join(NEW_NAME)).collect();
    let ignored: BTreeSet<PathBuf> = of.git().check_ignored(&asked)?.into_iter().collect();
    candidates.retain(|dir| ignored.contains(&dir.join(NEW_NAME)));
    let all = candidates.clone();
    candidates.retain(|dir| !dir.ancestors().skip(1).any(|above| all.contains(above)));
    let is_below = |path: &PathBuf| path.ancestors().skip(1).any(|above| candidates.contains(above));
    let mut joined: Vec<PathBuf> = listed.into_iter().filter(|path| !is_below(path)).collect();
    joined.extend(candidates.iter().map(|dir| dir.join("")));
    Ok((joined, candidates.into_iter().collect()))
}

/// The names to query [`Git::check_ignored`] for, where a directory is partly tracked: these of another checkout's
/// directory that this one doesn't track, and a new one. git ignores the directory if it ignores all of them.
pub fn names_to_ask(tracked: &TrackedPaths, dir: &Path, names: &[PathBuf]) -> Vec<PathBuf> {
    let names = names.iter().map(|name| dir.join(name)).filter(|at| !tracked.covers(at));
    names.chain([dir.join(NEW_NAME)]).collect()
}

/// For each of some directories whether git ignores it: any new name in it, where a file or two in it are tracked.
///
/// # Errors
/// git fails or can't be run.
pub fn ignores(of: &Checkout, dirs: &[PathBuf]) -> Result<Vec<bool>, GitError> {
    let tracked = TrackedPaths::read(of)?;
    let asked: Vec<PathBuf> = dirs.iter().map(|dir| tracked.name_to_ask(dir)).collect();
    let ignored: BTreeSet<PathBuf> = of.git().check_ignored_each(&asked)?.into_iter().collect();
    Ok(dirs.iter().zip(asked).map(|(dir, asked)| tracked.are_few_below(dir) && ignored.contains(&asked)).collect())
}

/// The paths that are the checkout's, of directories in any checkouts. The index of each is read once.
#[derive(Default)]
pub struct OwnPaths(RefCell<Vec<(Checkout, TrackedPaths)>>);

impl OwnPaths {
    /// The paths in `dir` that are those of the checkout around it, relative to it; none if git tracks nothing in it.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn below(&self, dir: &Path) -> Result<Vec<PathBuf>, GitError> {
        let above = dir.parent().map(Checkout::containing).transpose()?.flatten();
        let Some(of) = above else { return Ok(Vec::new()) };
        let Ok(inside) = dir.strip_prefix(&of.root).map(Path::to_path_buf) else { return Ok(Vec::new()) };
        let mut known = self.0.borrow_mut();
        let at = match known.iter().position(|(checkout, _)| *checkout == of) {
            Some(at) => at,
            None => {
                let tracked = TrackedPaths::read(&of)?;
                known.push((of, tracked));
                known.len() - 1
            }
        };
        let (of, tracked) = &known[at];
        if inside.as_os_str().is_empty() || !tracked.has_below(&inside) {
            return Ok(Vec::new());
        }
        let own = of.git().own_of_checkout(std::slice::from_ref(&inside))?;
        Ok(own.iter().filter_map(|at| at.strip_prefix(&inside).ok()).map(Path::to_path_buf).collect())
    }
}

/// Whether one of these paths is `at`, or one above it.
pub fn holds(own: &[PathBuf], at: &Path) -> bool {
    own.iter().any(|own| at.starts_with(own))
}

/// Whether one of these paths lies below `dir`.
pub fn has_below(own: &[PathBuf], dir: &Path) -> bool {
    own.iter().any(|own| own.starts_with(dir))
}

impl Git {
    /// The paths below some directories that are the checkout's: tracked ones, and those that are not ignored.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn own_of_checkout(&self, dirs: &[PathBuf]) -> Result<Vec<PathBuf>, GitError> {
        if dirs.is_empty() {
            return Ok(Vec::new());
        }
        let args = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"].map(std::ffi::OsStr::new);
        let args = args.into_iter().chain(dirs.iter().map(|dir| dir.as_os_str()));
        let listed = self.literal().paths("ls-files", args, None)?;
        Ok(listed.iter().map(|path| super::checkout::plain(path)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracked(paths: &[&str]) -> TrackedPaths {
        let mut all: Vec<_> = paths.iter().map(|path| (path.as_bytes().to_vec(), 0o100_644)).collect();
        all.sort();
        TrackedPaths(all)
    }

    #[test]
    fn a_directory_has_what_lies_below_its_own_name_alone() {
        let all = tracked(&["a", "dist/.gitkeep", "dist-x/b", "dist.c", "src/dist/c"]);
        for (dir, expected) in [("dist", true), ("dist-x", true), ("dist.c", false), ("src", true), ("dis", false)] {
            assert_eq!(all.has_below(Path::new(dir)), expected, "{dir}");
        }
        for (path, expected) in [("dist.c", true), ("dist", true), ("dist/.gitkeep", true), ("dist/x", false)] {
            assert_eq!(all.covers(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_submodule_or_many_tracked_files_leave_a_directory_in_its_parts() {
        let many: Vec<String> = (0..=FEW).map(|n| format!("many/{n}")).collect();
        let mut all =
            tracked(&many.iter().map(String::as_str).chain(["few/.gitkeep", "vendor/lib"]).collect::<Vec<_>>());
        all.0.iter_mut().filter(|(path, _)| path == b"vendor/lib").for_each(|(_, mode)| *mode = GITLINK);
        for (dir, expected) in [("few", true), ("many", false), ("vendor", false)] {
            assert_eq!(all.are_few_below(Path::new(dir)), expected, "{dir}");
        }
    }
}
