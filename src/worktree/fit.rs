//! Which of the source's ignored paths have their place in another worktree.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::conflict;
use super::created::{CopiedFile, Created};
use super::error::WorktreeError;
use super::plan::CreatePlan;
use super::relocation;
use super::undo::Undo;
use super::unfit::UnfitReason;
use crate::git::checkout::Checkout;
use crate::git::ignored::Ignored;
use crate::git::partly_tracked::{TrackedPaths, names_to_ask};
use crate::git::settings::AbsolutePaths;
use crate::sys::interrupt;
use crate::sys::log::OrWarn;
use crate::sys::path;

/// The source's ignored paths that have their place in the new worktree.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fitting {
    pub directories: Vec<PathBuf>,
    pub files: Vec<PathBuf>,
}

/// A path, relative to its checkout, and its state there.
struct Asked {
    path: PathBuf,
    is_dir: bool,
    is_tracked: bool,
    is_ignored: bool,
}

/// Leaves out paths that the new commit tracks or doesn't ignore, or whose submodule isn't there.
pub fn fit(
    plan: &CreatePlan,
    ignored: &Ignored,
    new: &Checkout,
    modules: &[Module],
    created: &mut Created,
    undo: &mut Undo<'_>,
) -> Result<Fitting, WorktreeError> {
    let ignore_files: Vec<PathBuf> = ignored.files.iter().filter(|f| is_ignore_file(f)).cloned().collect();
    let copied = copy_files(plan, new, &ignore_files, undo)?;
    created.copied.extend(copied);
    let (fitting, unfit) = placed(plan, ignored, new, modules, &Patterns::default())?;
    for (path, why) in &unfit {
        if *why == UnfitReason::NotIgnored && is_ignore_file(path) && undo.uncopy(&new.root.join(path))? {
            created.copied.retain(|copy| copy.path != *path);
        }
    }
    created.unfit.extend(unfit);
    Ok(fitting)
}

/// As [`fit`], for a dry run: nothing is copied, and the patterns of ignore files that would be copied are read in the
/// source. Returns the paths that fit, and the others with the reasons.
pub fn look(
    plan: &CreatePlan,
    ignored: &Ignored,
    new: &Checkout,
    modules: &[Module],
) -> Result<(Fitting, Unfit), WorktreeError> {
    let is_new = |at: &&PathBuf| is_ignore_file(at) && !path::is_there(&new.root.join(at));
    let patterns = Patterns::load(&plan.source, ignored.files.iter().filter(is_new))?;
    placed(plan, ignored, new, modules, &patterns)
}

/// A submodule: where it is, and its checkouts in the source and in the worktree.
type Module = (PathBuf, Checkout, Checkout);
type Unfit = Vec<(PathBuf, UnfitReason)>;

fn placed(
    plan: &CreatePlan,
    ignored: &Ignored,
    new: &Checkout,
    modules: &[Module],
    patterns: &Patterns,
) -> Result<(Fitting, Unfit), WorktreeError> {
    let (mut fitting, mut all_unfit) = (Fitting::default(), Unfit::new());
    let mut all: Vec<(&Path, &Checkout)> = modules.iter().map(|(at, _, new)| (at.as_path(), new)).collect();
    all.push((Path::new(""), new));
    let directories = group(&ignored.directories, plan, &all, &mut all_unfit);
    let files = group(&ignored.files, plan, &all, &mut all_unfit);
    for (((above, checkout), directories), files) in all.into_iter().zip(directories).zip(files) {
        let (reachable, blocked) = reachable(&checkout.root, directories);
        all_unfit.extend(blocked.into_iter().map(|(at, why)| (above.join(at), why)));
        let mut asked = asked(checkout, (plan, above), reachable, files)?;
        for one in &mut asked {
            one.is_ignored = patterns.say(&above.join(&one.path), one.is_dir).unwrap_or(one.is_ignored);
        }
        let (fits, unfit) = sorted(asked);
        all_unfit.extend(unfit.into_iter().map(|(path, why)| (above.join(path), why)));
        fitting.directories.extend(fits.directories.into_iter().map(|at| above.join(at)));
        fitting.files.extend(fits.files.into_iter().map(|at| above.join(at)));
    }
    fitting.directories.sort();
    Ok((fitting, all_unfit))
}

/// Patterns of the source's ignore files that are not in the worktree yet; the deepest come first, as in git.
#[derive(Default)]
struct Patterns(Vec<(PathBuf, Gitignore)>);

impl Patterns {
    fn load<'a>(source: &Checkout, files: impl Iterator<Item = &'a PathBuf>) -> Result<Patterns, WorktreeError> {
        let mut all = Vec::new();
        for file in files {
            let dir = file.parent().unwrap_or(Path::new(""));
            let mut patterns = GitignoreBuilder::new(dir);
            for line in String::from_utf8_lossy(&path::read(&source.root.join(file))?).lines() {
                // git passes over a line that it does not understand.
                patterns.add_line(None, line).or_debug("a pattern that git takes is not understood");
            }
            if let Ok(patterns) = patterns.build() {
                all.push((dir.to_path_buf(), patterns));
            }
        }
        all.sort_by_key(|(dir, _)| std::cmp::Reverse(dir.components().count()));
        Ok(Patterns(all))
    }

    /// Whether a path is ignored; `None` if no pattern matches it.
    fn say(&self, at: &Path, is_dir: bool) -> Option<bool> {
        let above = self.0.iter().filter(|(dir, _)| at.starts_with(dir));
        above.map(|(_, patterns)| patterns.matched_path_or_any_parents(at, is_dir)).find_map(|found| match found {
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
            Match::None => None,
        })
    }
}

/// The directories without a conflict, and the others with the reasons.
fn reachable(root: &Path, directories: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<(PathBuf, UnfitReason)>) {
    let (mut free, mut blocked) = (Vec::new(), Vec::new());
    for at in directories {
        match conflict::of_directory(root, &at) {
            Some(conflict) => blocked.push((at, UnfitReason::Conflict(conflict))),
            None => free.push(at),
        }
    }
    (free, blocked)
}

/// Queries the index and git.
fn asked(
    checkout: &Checkout,
    (plan, above): (&CreatePlan, &Path),
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
) -> Result<Vec<Asked>, WorktreeError> {
    let tracked = TrackedPaths::read(checkout)?;
    let mut asked = Vec::new();
    for path in directories {
        let is_partly = tracked.has_below(&path) || plan.ignored.partly_tracked.contains(&above.join(&path));
        let names = match is_partly {
            true => names_to_ask(&tracked, &path, &names_in_source(plan, &above.join(&path))?),
            // With a slash at the end, a pattern for directories fits one that isn't there.
            false => vec![path.join("")],
        };
        asked.push((path, true, names));
    }
    let files = files.into_iter().filter(|at| conflict::in_the_way(&checkout.root, at).is_none());
    asked.extend(files.map(|at| (at.clone(), false, vec![at])));
    let names: Vec<PathBuf> = asked.iter().flat_map(|(_, _, names)| names.clone()).collect();
    let ignored: BTreeSet<PathBuf> = checkout.git().check_ignored(&names)?.into_iter().collect();
    let answered = |(path, is_dir, names): (PathBuf, bool, Vec<PathBuf>)| {
        let is_artifact = is_dir && tracked.are_few_below(&path);
        let is_tracked = tracked.covers(&path) && !(is_artifact && tracked.has_below(&path));
        Asked { path, is_dir, is_tracked, is_ignored: names.iter().all(|name| ignored.contains(name)) }
    };
    Ok(asked.into_iter().map(answered).collect())
}

/// The names in an artifact directory of the source, without those that are the checkout's.
fn names_in_source(plan: &CreatePlan, at: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
    let names = path::list(&plan.source.root.join(at))?;
    let names = names.iter().map(|entry| PathBuf::from(OsStr::from_bytes(&entry.name)));
    Ok(names.filter(|name| !plan.ignored.of_checkout.contains(&at.join(name))).collect())
}

/// The paths that have their place, and the others with the reasons.
fn sorted(asked: Vec<Asked>) -> (Fitting, Vec<(PathBuf, UnfitReason)>) {
    let (mut fitting, mut unfit) = (Fitting::default(), Vec::new());
    for Asked { path, is_dir, is_tracked, is_ignored } in asked {
        match (is_tracked, is_ignored, is_dir) {
            (true, ..) => unfit.push((path, UnfitReason::Tracked)),
            (false, false, _) => unfit.push((path, UnfitReason::NotIgnored)),
            (false, true, true) => fitting.directories.push(path),
            (false, true, false) => fitting.files.push(path),
        }
    }
    (fitting, unfit)
}

/// An ignore file that is ignored itself (of a Python environment, say) has patterns for other paths: it has to exist
/// before git is queried.
fn is_ignore_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == ".gitignore")
}

/// Each path relative to the innermost checkout that holds it; one list for each of `all`.
fn group(paths: &[PathBuf], plan: &CreatePlan, all: &[(&Path, &Checkout)], unfit: &mut Unfit) -> Vec<Vec<PathBuf>> {
    let mut lists = vec![Vec::new(); all.len()];
    let mut modules = Vec::new();
    plan.modules.iter().for_each(|m| m.flatten(Path::new(""), &mut modules));
    for path in paths {
        let home = modules.iter().map(|(at, _)| at.as_path()).filter(|at| path.starts_with(at));
        let home = home.max_by_key(|at| at.as_os_str().len()).unwrap_or(Path::new(""));
        match all.iter().position(|(at, _)| *at == home) {
            Some(number) => lists[number].push(path.strip_prefix(home).unwrap_or(path).to_path_buf()),
            None => unfit.push((path.clone(), UnfitReason::NoSubmodule)),
        }
    }
    lists
}

/// Copies single files that are not in the worktree yet. Returns those that were copied.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy_files(
    plan: &CreatePlan,
    new: &Checkout,
    files: &[PathBuf],
    undo: &mut Undo<'_>,
) -> Result<Vec<CopiedFile>, WorktreeError> {
    let mut copied = Vec::new();
    for file in files {
        interrupt::check()?;
        let to = new.root.join(file);
        if conflict::in_the_way(&new.root, file).is_some() || !undo.copy(&plan.source.root.join(file), &to)? {
            continue;
        }
        let relocates = plan.policies.of(file) == AbsolutePaths::Relocate;
        let relocated = relocates && relocation::copied::relocate(&to, &plan.source.root, &new.root)?;
        copied.push(CopiedFile { path: file.clone(), relocated });
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_place_where_git_ignores_it_and_does_not_track_it() {
        let table = [
            (true, false, true, Ok(true)),
            (false, false, true, Ok(false)),
            (true, false, false, Err(UnfitReason::NotIgnored)),
            (false, false, false, Err(UnfitReason::NotIgnored)),
            (true, true, true, Err(UnfitReason::Tracked)),
            (false, true, true, Err(UnfitReason::Tracked)),
            (true, true, false, Err(UnfitReason::Tracked)),
            (false, true, false, Err(UnfitReason::Tracked)),
        ];
        for (is_dir, is_tracked, is_ignored, expected) in table {
            let at = || vec![PathBuf::from("at")];
            let (fits, unfit) = sorted(vec![Asked { path: "at".into(), is_dir, is_tracked, is_ignored }]);
            let (fitting, why) = match expected {
                Ok(true) => (Fitting { directories: at(), files: Vec::new() }, None),
                Ok(false) => (Fitting { directories: Vec::new(), files: at() }, None),
                Err(why) => (Fitting::default(), Some((PathBuf::from("at"), why))),
            };
            assert_eq!((fits, unfit), (fitting, why.into_iter().collect()), "{is_dir} {is_tracked} {is_ignored}");
        }
    }
}
