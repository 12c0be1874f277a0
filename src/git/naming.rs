//! Names of a new worktree and its branch: `depsfs create <name>`.
//!
//! | what   | rule |
//! |--------|------|
//! | path   | `--path`; else by `depsfs.path`; else beside the source checkout, named after the last segment of `<name>`, or, where that is taken, after all of it with `-` for `/` |
//! | branch | `--branch`; else `<name>` if it has a slash; else `<initials>/<name>`; else `<name>` |
//!
//! The initials are git's `user.initials`, else the first letters of `user.name`.

use std::path::{Path, PathBuf};

use crate::sys::path;
use crate::sys::terminal::DisplayName;

/// The longest name of a directory, in bytes: that of Linux file systems.
pub const LONGEST_SEGMENT: usize = 255;
/// A longer name of several segments leaves no room for the paths in the worktree.
const LONGEST: usize = 1024;

/// The two names a new worktree gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorktreeNames {
    pub path: PathBuf,
    pub branch: String,
    /// The directory named after all of the name, if it has several segments.
    pub whole: Option<PathBuf>,
}

/// The reason why no worktree can have the requested name. Nothing was looked up or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    #[error("no directory name can be made of {}", .0.shown())]
    NoDirectory(String),
    #[error("{} is not a name git takes for a branch", .0.shown())]
    NotABranch(String),
    #[error("depsfs.path is {}, and {{{}}} is not one of {{repo}}, {{name}}, {{branch}}", template.shown(), unknown.shown())]
    Template { template: String, unknown: String },
    #[error("the source checkout {} has no parent directory", .0.shown())]
    NoParent(PathBuf),
}

/// Applies the rules of the table above. Nothing is looked up in the file system.
pub fn names(
    source: &Path,
    name: &str,
    branch: Option<&str>,
    initials: Option<&str>,
) -> Result<WorktreeNames, NamingError> {
    let parent = source.parent().ok_or_else(|| NamingError::NoParent(source.into()))?;
    let trimmed = name.trim_end_matches('/');
    let last = trimmed.rsplit('/').next().unwrap_or_default();
    let is_too_long = last.len() > LONGEST_SEGMENT || trimmed.len() > LONGEST;
    if matches!(last, "" | "." | ".." | ".git")
        || last.starts_with('-')
        || last.contains(char::is_control)
        || is_too_long
    {
        return Err(NamingError::NoDirectory(name.into()));
    }
    let branch = match (branch, initials) {
        (Some(given), _) => given.to_owned(),
        (None, Some(initials)) if !trimmed.contains('/') => format!("{initials}/{trimmed}"),
        (None, _) => trimmed.to_owned(),
    };
    if !branch_is_valid(&branch) {
        return Err(NamingError::NotABranch(branch));
    }
    let whole = flat(trimmed).filter(|whole| whole != last).map(|whole| parent.join(whole));
    Ok(WorktreeNames { path: parent.join(last), branch, whole })
}

/// A name as one segment of a path; `None` if it can't be one.
fn flat(name: &str) -> Option<String> {
    let flat = name.split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>().join("-");
    (!flat.starts_with(['-', '.']) && !flat.contains(char::is_control) && !flat.is_empty()).then_some(flat)
}

/// The directory that a template names: `{repo}` is the name of the source checkout, `{name}` and `{branch}` those of the
/// worktree as one segment, and `~/` the home directory. It is relative to the source checkout.
///
/// # Errors
/// [`NamingError::Template`] for other words in braces; [`NamingError::NoDirectory`].
pub fn from_template(
    template: &str,
    source: &Path,
    name: &str,
    branch: &str,
    home: Option<&Path>,
) -> Result<PathBuf, NamingError> {
    // git's configuration is read as UTF-8: other bytes would become another directory than the user's.
    if template.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Err(NamingError::NoDirectory(template.into()));
    }
    let segment = |of: &str| flat(of).ok_or_else(|| NamingError::NoDirectory(of.into()));
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let unknown = |word: &str| NamingError::Template { template: template.into(), unknown: word.into() };
        let (word, after) = after.split_once('}').ok_or_else(|| unknown(after))?;
        path += before;
        path += &match word {
            "repo" => source.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            "name" => segment(name.trim_end_matches('/'))?,
            "branch" => segment(branch)?,
            _ => return Err(unknown(word)),
        };
        rest = after;
    }
    path += rest;
    Ok(source.join(path::at_home(Path::new(&path), home)))
}

/// `user.initials`, else the first letter of each word of `user.name`, in lower case; `None` without either.
pub fn initials(user_initials: Option<&str>, user_name: Option<&str>) -> Option<String> {
    let given = user_initials.map(str::trim).filter(|i| !i.is_empty());
    let letters = |name: &str| -> String {
        let words = name.split_whitespace();
        words.filter_map(|w| w.chars().find(|c| c.is_alphanumeric())).flat_map(char::to_lowercase).collect()
    };
    given.map(str::to_owned).or_else(|| user_name.map(letters)).filter(|i| !i.is_empty())
}

/// The rules of git-check-ref-format(1) for `refs/heads/<branch>`, and of `git branch` (no leading dash, not HEAD).
fn branch_is_valid(branch: &str) -> bool {
    let segment_is_valid = |s: &str| !s.is_empty() && !s.starts_with('.') && !s.ends_with(".lock");
    !branch.starts_with('-')
        && branch != "HEAD"
        && branch != "@"
        && !branch.ends_with('.')
        && !branch.contains("..")
        && !branch.contains("@{")
        && !branch
            .contains(|c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
        && branch.split('/').all(segment_is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_is_named_after_the_last_segment_and_its_branch_after_the_rules() {
        // name, --branch, initials → directory, branch
        let table = [
            ("fix", None, None, "fix", "fix"),
            ("fix", None, Some("al"), "fix", "al/fix"),
            ("al/fix", None, Some("xy"), "fix", "al/fix"),
            ("a/b/c", None, None, "c", "a/b/c"),
            ("fix/", None, Some("al"), "fix", "al/fix"),
            ("fix", Some("main2"), Some("al"), "fix", "main2"),
            ("x/fix", Some("y/z"), None, "fix", "y/z"),
        ];
        for (name, branch, initials, directory, expected) in table {
            let names = names(Path::new("/w/repo"), name, branch, initials).unwrap();
            assert_eq!(names.path, Path::new("/w").join(directory), "{name}");
            assert_eq!(names.branch, expected, "{name}");
        }
    }

    #[test]
    fn initials_come_from_user_initials_then_from_user_name() {
        let table = [
            (None, None, None),
            (Some("cl"), Some("Ada Lovelace"), Some("cl")),
            (None, Some("Ada Lovelace"), Some("al")),
            (Some(" "), Some("Ada"), Some("a")),
            (None, Some("Émile  (the) Zola"), Some("étz")),
            (None, Some("-- !"), None),
            (Some("AL"), None, Some("AL")),
        ];
        for (given, name, expected) in table {
            assert_eq!(initials(given, name).as_deref(), expected, "{given:?} {name:?}");
        }
    }

    #[test]
    fn names_that_git_or_the_file_system_would_refuse_are_refused_first() {
        let long = ["a".repeat(256), format!("b/{}", "a".repeat(256)), "a/".repeat(600)];
        for bad in ["", "/", ".", "a/..", "-x", ".git", "a\nb"].into_iter().chain(long.iter().map(String::as_str)) {
            assert!(matches!(names(Path::new("/w/r"), bad, None, None), Err(NamingError::NoDirectory(_))), "{bad:?}");
        }
        for bad in
            ["a b", "a..b", "a~1", "-a", "a.lock", "x.lock/a", ".a", "a//b", "/a", "a/", "a.", "a@{b", "HEAD", "@", ""]
        {
            let answer = names(Path::new("/w/r"), "ok", Some(bad), None);
            assert_eq!(answer, Err(NamingError::NotABranch(bad.into())));
        }
        assert!(matches!(names(Path::new("/"), "x", None, None), Err(NamingError::NoParent(_))));
    }
}
