//! The environment of a git process: no variables of the caller's repository, and settings that need no quoting.
//!
//! A setting is never passed as `-c key=value`: git ends the key at the first `=`, and a submodule's name in the key
//! comes from a commit and may hold one. `GIT_CONFIG_KEY_<n>` and `GIT_CONFIG_VALUE_<n>` (git-config(1)) aren't parsed.

use std::ffi::OsString;
use std::path::Path;

use crate::sys::invocation::Invocation;

/// A key of git's configuration, and its value.
pub(crate) type Setting = (OsString, OsString);

/// Variables that tie git to one repository (`git rev-parse --local-env-vars`), less the two that hold `-c` settings.
pub(crate) const LOCAL_VARIABLES: [&str; 13] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// They change what a path that git is given means.
const PATHSPECS: [&str; 4] =
    ["GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"];

/// Prepares a git that is started in `dir`. `literal`: the paths it is given are names, and no patterns or magic.
pub(crate) fn prepare(git: &mut Invocation<'_>, dir: &Path, settings: &[Setting], literal: bool) {
    for variable in LOCAL_VARIABLES.iter().chain(&PATHSPECS) {
        git.env_remove(variable);
    }
    // The post-checkout hook (mount-helpers/post-checkout) does not adopt: the caller does that itself.
    git.env("DEPSFS_ADOPT", "0");
    if let Some(above) = dir.parent() {
        // A broken `.git` is an error, never a reason to act on the repository around it.
        git.env("GIT_CEILING_DIRECTORIES", above);
    }
    if literal {
        git.env("GIT_LITERAL_PATHSPECS", "1");
    }
    if !settings.is_empty() {
        let callers = std::env::var("GIT_CONFIG_COUNT").ok();
        for (name, value) in numbered(callers.as_deref(), settings) {
            git.env(name, value);
        }
    }
}

/// The variables that add settings after those that the caller has given in the same way.
fn numbered(callers: Option<&str>, settings: &[Setting]) -> Vec<(String, OsString)> {
    let first: usize = callers.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    let mut all = vec![("GIT_CONFIG_COUNT".to_owned(), (first + settings.len()).to_string().into())];
    for (n, (key, value)) in (first..).zip(settings) {
        all.push((format!("GIT_CONFIG_KEY_{n}"), key.clone()));
        all.push((format!("GIT_CONFIG_VALUE_{n}"), value.clone()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_after_the_callers_own_and_are_not_parsed() {
        let settings = [("submodule.a=b.url".into(), "/x=y".into())];
        let text = |callers| {
            let all = numbered(callers, &settings).into_iter();
            all.map(|(k, v)| format!("{k} {}", v.to_str().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(
            text(Some("2")),
            ["GIT_CONFIG_COUNT 3", "GIT_CONFIG_KEY_2 submodule.a=b.url", "GIT_CONFIG_VALUE_2 /x=y"]
        );
        assert_eq!(text(None)[0], "GIT_CONFIG_COUNT 1");
    }
}
