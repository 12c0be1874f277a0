//! Settings of depsfs in git's configuration.
//!
//! | key               | meaning |
//! |-------------------|---------|
//! | `depsfs.exclude`  | a pattern as in .gitignore; ignored directories and files it matches are not shared (may be given often) |
//! | `depsfs.path`     | the directory of a new worktree, with `{repo}`, `{name}` and `{branch}`; relative to the source checkout |
//! | `depsfs.mtimes`   | `false`: tracked files keep the time of their checkout |
//! | `depsfs.mode`     | how a new worktree gets its artifacts: `views` (the default), `copy` (plain files), `auto` (plain files where no view can be mounted) |
//! | `depsfs.view`     | how the views of a new worktree are mounted: `directories`, `worktree`, `auto` |
//! | `depsfs.absolutePaths` | the policy for artifacts that hold the source's absolute path: `relocate` (the default), `leave`, `exclude` |
//! | `user.initials`, `user.name` | the prefix of new branches |

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::command::{Git, GitError};
use crate::store::manifest::Shape;
use crate::sys::terminal::DisplayName;

/// The policy for artifacts that contain the source checkout's absolute path (CMakeCache.txt, scripts of a .venv).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AbsolutePaths {
    /// They are shared as they are, and named.
    Leave,
    /// In text files the path is rewritten to the new worktree's; those become its own.
    #[default]
    Relocate,
    /// The artifact directory isn't shared.
    Exclude,
}

/// How a new worktree gets its artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Views,
    /// As plain files.
    Copy,
    /// As plain files if no view can be mounted.
    Auto,
}

/// Configuration as `git config --list` gives it.
pub struct Settings {
    pairs: Vec<(String, String)>,
}

/// A pattern in `.gitignore` syntax that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {why}")]
pub struct BadPattern {
    /// The key or file that holds the pattern.
    pub place: &'static str,
    pub why: ignore::Error,
}

/// A value of a configuration key that depsfs does not know. There is no default for it: the command fails.
#[derive(Debug, thiserror::Error)]
#[error("{key} is {}, and not one of {known}", value.shown())]
pub struct BadSetting {
    key: &'static str,
    value: String,
    known: &'static str,
}

impl Settings {
    /// The configuration of system, user and repository, in git's order of precedence. One git process; later changes
    /// are not seen.
    pub fn load(git: &Git) -> Result<Settings, GitError> {
        git.config().map(|pairs| Settings { pairs })
    }

    /// The last value of a key, written as git lists it (section and name in lower case).
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Whether a hook is configured otherwise than as a file.
    pub fn has_hooks(&self) -> bool {
        self.pairs.iter().any(|(key, _)| key.starts_with("hook."))
    }

    /// Whether tracked files get the source's times.
    pub fn mtimes(&self) -> bool {
        !matches!(
            self.value("depsfs.mtimes").map(str::to_lowercase).as_deref(),
            Some("false" | "no" | "off" | "0" | "")
        )
    }

    /// The policy for artifacts that hold the source's absolute path, unless `depsfs.toml` sets one.
    pub fn absolute_paths(&self) -> Result<AbsolutePaths, BadSetting> {
        let key = "depsfs.absolutepaths";
        match self.value(key) {
            None | Some("relocate") => Ok(AbsolutePaths::Relocate),
            Some("leave") => Ok(AbsolutePaths::Leave),
            Some("exclude") => Ok(AbsolutePaths::Exclude),
            Some(value) => Err(BadSetting { key, value: value.into(), known: "relocate, leave, exclude" }),
        }
    }

    /// How the views of a new worktree are mounted; `None`: not set, or `auto`.
    ///
    /// # Errors
    /// Another word.
    pub fn view(&self) -> Result<Option<Shape>, BadSetting> {
        let key = "depsfs.view";
        match self.value(key) {
            None | Some("auto") => Ok(None),
            Some("directories") => Ok(Some(Shape::Directories)),
            Some("worktree") => Ok(Some(Shape::Worktree)),
            Some(value) => Err(BadSetting { key, value: value.into(), known: "directories, worktree, auto" }),
        }
    }

    /// How a new worktree gets its artifacts.
    ///
    /// # Errors
    /// A word that is none of the known ones.
    pub fn mode(&self) -> Result<Mode, BadSetting> {
        let key = "depsfs.mode";
        match self.value(key) {
            None | Some("views") => Ok(Mode::Views),
            Some("copy") => Ok(Mode::Copy),
            Some("auto") => Ok(Mode::Auto),
            Some(value) => Err(BadSetting { key, value: value.into(), known: "views, copy, auto" }),
        }
    }

    /// Whether `remote.<name>.url` is set, whatever its value.
    pub fn has_remote(&self, name: &str) -> bool {
        self.value(&format!("remote.{name}.url")).is_some()
    }

    /// The names of the remotes.
    pub fn remotes(&self) -> impl Iterator<Item = &str> {
        let names = self.pairs.iter().filter_map(|(k, _)| k.strip_prefix("remote.")?.strip_suffix(".url"));
        let mut seen = std::collections::HashSet::new();
        names.filter(move |name| seen.insert(*name))
    }

    /// The URLs of the remotes.
    pub fn remote_urls(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(|(k, _)| k.starts_with("remote.") && k.ends_with(".url")).map(|(_, v)| v.as_str())
    }

    /// The patterns of paths that are not shared, relative to the top of the checkout.
    pub fn excluded(&self, root: &Path) -> Result<Gitignore, BadPattern> {
        let bad = |why| BadPattern { place: "depsfs.exclude", why };
        let mut patterns = GitignoreBuilder::new(root);
        for pattern in self.values("depsfs.exclude") {
            patterns.add_line(None, pattern).map_err(bad)?;
        }
        patterns.build().map_err(bad)
    }
}
