//! Whether a missing file or directory is gone for good, or only away: on a disk that is not mounted, in a directory
//! that was moved. If it may come back, its trees are kept.
//!
//! This is the one place that decides it, for `gc`, `doctor` and `list`.
//!
//! | what is there                                                        | then it is |
//! |----------------------------------------------------------------------|------------|
//! | the directory that held it, with something else in it                | gone       |
//! | of a linked worktree: the repository, without that worktree's git directory | gone |
//! | nothing of that, or an empty directory (a mount point without its disk) | away    |

use std::ffi::OsStr;
use std::path::Path;

use crate::sys::{IoError, path as paths};

/// Why nothing is at a path: a guess from the directory around it (the table above). Nothing is deleted for
/// [`Absence::Away`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It was deleted.
    Gone,
    /// It may come back.
    Away,
}

impl Absence {
    /// Of a path at which nothing is.
    pub fn of(path: &Path) -> Result<Absence, IoError> {
        Ok(match path.parent().map(holds_something).transpose()? {
            Some(true) => Absence::Gone,
            _ => Absence::Away,
        })
    }

    /// Of a manifest that is not there: `<git directory>/depsfs/manifest.json`, or one in a directory of depsfs's own.
    pub(super) fn of_manifest(manifest: &Path) -> Result<Absence, IoError> {
        let Some(state_dir) = manifest.parent() else { return Ok(Absence::Away) };
        for dir in [Some(state_dir), state_dir.parent()].into_iter().flatten() {
            if holds_something(dir)? {
                return Ok(Absence::Gone);
            }
        }
        match repository(manifest) {
            Some(common) if paths::stat(&common.join("HEAD"))?.is_some() => Ok(Absence::Gone),
            _ => Ok(Absence::Away),
        }
    }
}

/// The repository of a linked worktree's manifest, `<repository>/worktrees/<name>/depsfs/manifest.json`.
fn repository(manifest: &Path) -> Option<&Path> {
    let all = manifest.parent()?.parent()?.parent()?;
    all.parent().filter(|_| all.file_name() == Some(OsStr::new("worktrees")))
}

/// Whether this is a directory, and not an empty one.
fn holds_something(dir: &Path) -> Result<bool, IoError> {
    match paths::stat(dir)? {
        Some(stat) if stat.is_dir() => Ok(!paths::list(dir)?.is_empty()),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_back_is_told_from_what_was_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |path: &str| dir.path().join(path);
        for made in ["repo/.git/worktrees/other", "bare", "disk", "state/at/other", "main/.git"] {
            paths::make_dirs(&at(made)).expect("made");
        }
        for file in ["repo/.git/HEAD", "main/.git/HEAD"] {
            paths::replace(&at(file), b"ref: refs/heads/main\n").expect("written");
        }
        let table = [
            ("repo/.git/worktrees/fix/depsfs/manifest.json", Absence::Gone),
            ("main/.git/worktrees/fix/depsfs/manifest.json", Absence::Gone),
            ("main/.git/depsfs/manifest.json", Absence::Gone),
            ("state/at/0123/manifest.json", Absence::Gone),
            ("moved/.git/worktrees/fix/depsfs/manifest.json", Absence::Away),
            ("moved/.git/depsfs/manifest.json", Absence::Away),
            ("bare/worktrees/fix/depsfs/manifest.json", Absence::Away),
            ("disk/repo/.git/worktrees/fix/depsfs/manifest.json", Absence::Away),
            ("disk/.own.depsfs/manifest.json", Absence::Away),
            ("nowhere/.own.depsfs/manifest.json", Absence::Away),
        ];
        for (manifest, want) in table {
            assert_eq!(Absence::of_manifest(&at(manifest)).expect("told"), want, "{manifest}");
        }
        let table = [("repo/fix", Absence::Gone), ("disk/fix", Absence::Away), ("nowhere/fix", Absence::Away)];
        for (place, want) in table {
            assert_eq!(Absence::of(&at(place)).expect("told"), want, "{place}");
        }
    }
}
