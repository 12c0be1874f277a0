//! git's hook post-checkout, beside the hooks of the user and of hook managers.
//!
//! | the directory of hooks                        | the hook of depsfs                                    | a hook that was there |
//! |-----------------------------------------------|-------------------------------------------------------|-----------------------|
//! | in the git directory, or outside the checkout | the script, as `post-checkout`                        | is `post-checkout.local`, and called first |
//! | the same, after pre-commit(1) was installed   | the script, which that has renamed to `post-checkout.legacy` and calls | the same |
//! | `.husky/_`, which husky writes anew           | a line in `.husky/post-checkout`                      | its other lines |
//! | elsewhere in the checkout (`core.hooksPath`)  | a line in `post-checkout` there                       | its other lines |
//!
//! The line runs the script in the repository's git directory. A file that has the line alone is ignored by git.

use std::path::{Path, PathBuf};

use super::kept::KeptFile;
use crate::cli::report::Failure;
use crate::git::checkout::Checkout;
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, path};
use crate::worktree::WorktreeError;

/// The hook itself.
pub const SCRIPT: &str = include_str!("../../../mount-helpers/post-checkout");
/// The second line of the script, of every version. A hook of the user may run `depsfs adopt`, and is still the user's.
const TITLE: &str = "# git hook: a worktree that plain `git worktree add` makes gets its artifact directories at once (`depsfs adopt`).";
/// The parts of the line, of every version: the name of the script, and the end.
const LINE_MARKS: (&str, &str) = ("/depsfs-post-checkout", " # depsfs adopt");
const LINE: &str =
    "f=$(git rev-parse --git-common-dir)/depsfs-post-checkout; [ ! -f \"$f\" ] || sh \"$f\" \"$@\" # depsfs adopt\n";
const NAME: &str = "post-checkout";
const EXECUTABLE: u32 = 0o755;

/// The state of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    Absent,
    Current,
    Outdated,
    /// Another program has put its own in the place.
    Replaced,
}

/// The hook of one repository.
pub struct GitHook {
    checkout: Checkout,
    /// The file that git or husky runs.
    file: KeptFile,
    is_line: bool,
}

impl GitHook {
    /// Looks where git runs the hooks of a repository from.
    ///
    /// # Errors
    /// git fails.
    pub fn of(checkout: &Checkout, states: &Path) -> Result<GitHook, Failure> {
        let mut dir = checkout.git().hooks_dir()?;
        let is_husky = dir.file_name().is_some_and(|name| name == "_") && path::is_there(&dir.join("h"));
        if is_husky {
            dir.pop();
        }
        let is_line = dir.starts_with(&checkout.root) && !dir.starts_with(&checkout.common_dir);
        let file = KeptFile::new(dir.join(NAME), states);
        Ok(GitHook { checkout: checkout.clone(), file, is_line })
    }

    /// The file that git or husky runs.
    pub fn file(&self) -> &Path {
        &self.file.file
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.file.file.with_file_name(format!("{NAME}.{ending}"))
    }

    fn script(&self) -> PathBuf {
        self.checkout.common_dir.join("depsfs-post-checkout")
    }

    /// The script, where it is now.
    fn installed(&self) -> Result<Option<PathBuf>, IoError> {
        let all = [self.file.file.clone(), self.beside("legacy")];
        for at in all {
            if path::read_if_there(&at)?.is_some_and(|text| is_script(&text)) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Whether it is installed, and is the one of this version.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn state(&self) -> Result<HookState, Failure> {
        if self.is_line {
            let text = self.file.bytes()?.unwrap_or_default();
            let script = path::read_if_there(&self.script())?;
            return Ok(match (has_line(&text), script) {
                (false, None) => HookState::Absent,
                (false, Some(_)) => HookState::Replaced,
                (true, Some(script)) if script == SCRIPT.as_bytes() => HookState::Current,
                (true, _) => HookState::Outdated,
            });
        }
        Ok(match self.installed()? {
            Some(at) if path::read(&at)? == SCRIPT.as_bytes() => HookState::Current,
            Some(_) => HookState::Outdated,
            None if path::read_if_there(&self.beside("old"))?.is_some_and(|text| is_script(&text)) => {
                HookState::Replaced
            }
            None if path::is_there(&self.beside("local")) => HookState::Replaced,
            None => HookState::Absent,
        })
    }

    /// Installs or renews it. Lines for the user.
    ///
    /// # Errors
    /// The hook that is there cannot be kept; a file cannot be written.
    pub fn install(&self) -> Result<Vec<String>, Failure> {
        if self.is_line {
            return self.install_line();
        }
        let mut notes = Vec::new();
        let at = match self.installed()? {
            Some(at) => at,
            None => {
                let (file, local) = (&self.file.file, self.beside("local"));
                path::make_dirs(file.parent().unwrap_or(file))?;
                if path::is_there(file) {
                    if path::is_there(&local) {
                        let kept = free_name(&local);
                        path::rename(&local, &kept)?;
                        notes.push(format!("  kept:   {}, which another program's hook replaced", kept.shown()));
                    }
                    path::rename(file, &local)?;
                    notes.push(format!("  calls:  {}, which was there", local.shown()));
                }
                file.clone()
            }
        };
        path::replace_with_mode(&at, SCRIPT.as_bytes(), EXECUTABLE)?;
        if !at.starts_with(&self.checkout.common_dir) {
            notes.push("  scope:  core.hooksPath is for all your repositories, and so is this hook".into());
        }
        Ok(notes)
    }

    fn install_line(&self) -> Result<Vec<String>, Failure> {
        let now = self.file.bytes()?.unwrap_or_default();
        let before = self.file.before(without_line(&now), is_blank(&without_line(&now)))?;
        if before.as_deref().is_some_and(|text| !is_shell(text)) {
            return Err(Failure::Refused {
                what: "the hook was not installed",
                why: format!("{} is no shell script, so no line can be added to it", self.file().shown()),
                hint: "have it run depsfs adopt itself when git has made a worktree (depsfs hook print git)",
            });
        }
        path::replace_with_mode(&self.script(), SCRIPT.as_bytes(), EXECUTABLE)?;
        let is_new = before.is_none();
        let after = with_line(before.as_deref().unwrap_or_default());
        self.file.put(before.as_deref(), &after)?;
        let mut notes = Vec::new();
        let below = self.file().strip_prefix(&self.checkout.root).unwrap_or(self.file());
        if is_new {
            path::replace_with_mode(self.file(), &after, EXECUTABLE)?;
            self.file.ignore(&self.checkout, below)?;
        } else if self.checkout.git().is_tracked(below).map_err(WorktreeError::from)? {
            let file = self.file().shown();
            notes.push(format!("  change: {file} is tracked, and has a line more; without depsfs it does nothing"));
        }
        Ok(notes)
    }

    /// Takes it out again; whether it was there.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn uninstall(&self) -> Result<bool, Failure> {
        if self.is_line {
            let now = self.file.bytes()?.unwrap_or_default();
            let is_there = has_line(&now);
            if is_there {
                let rest = without_line(&now);
                let before = self.file.before(rest.clone(), is_blank(&rest))?;
                self.file.restore(before.as_deref())?;
            }
            self.file.include_again(&self.checkout, |_| false)?;
            let had_script = path::is_there(&self.script());
            path::remove_file(&self.script())?;
            return Ok(is_there || had_script);
        }
        let local = self.beside("local");
        match self.installed()? {
            Some(at) if path::is_there(&local) => path::rename(&local, &at)?,
            Some(at) => path::remove_file(&at)?,
            None => return Ok(false),
        }
        Ok(true)
    }
}

/// Whether a hook is the script, of this version or of another.
fn is_script(text: &[u8]) -> bool {
    text.starts_with(b"#!") && text.split(|b| *b == b'\n').nth(1) == Some(TITLE.as_bytes())
}

/// Whether a line of a hook is the one that depsfs adds.
fn is_line(line: &[u8]) -> bool {
    let (script, end) = LINE_MARKS;
    line.trim_ascii_end().ends_with(end.as_bytes()) && memchr::memmem::find(line, script.as_bytes()).is_some()
}

fn has_line(text: &[u8]) -> bool {
    text.split(|b| *b == b'\n').any(is_line)
}

fn is_blank(text: &[u8]) -> bool {
    text.is_empty() || text == b"#!/bin/sh\n"
}

/// A script without a first line for another program is one of the shell.
fn is_shell(text: &[u8]) -> bool {
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first).into_owned();
    let Some(command) = first.strip_prefix("#!") else { return true };
    let mut words = command.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or_default());
    let program = words.find(|word| *word != "env" && !word.starts_with('-')).unwrap_or_default();
    ["sh", "bash", "dash", "zsh", "ksh"].contains(&program)
}

/// The line of depsfs behind the first line, if that names a shell, else before all.
fn with_line(text: &[u8]) -> Vec<u8> {
    let text = if text.is_empty() { b"#!/bin/sh\n" } else { text };
    let first = text.starts_with(b"#!").then(|| memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1));
    let (first, rest) = text.split_at(first.unwrap_or(0));
    let end: &[u8] = if first.is_empty() || first.ends_with(b"\n") { b"" } else { b"\n" };
    [first, end, LINE.as_bytes(), rest].concat()
}

fn without_line(text: &[u8]) -> Vec<u8> {
    text.split_inclusive(|b| *b == b'\n').filter(|line| !is_line(line)).flatten().copied().collect()
}

/// The first name beside `of` with a number that is free.
fn free_name(of: &Path) -> PathBuf {
    let named = |n: u32| PathBuf::from(format!("{}.{n}", of.to_string_lossy()));
    (1..).map(named).find(|name| !path::is_there(name)).unwrap_or_else(|| named(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_behind_the_name_of_the_shell_and_out_again() {
        for text in ["#!/usr/bin/env sh\necho own\n", "echo own", "#!/bin/bash -e\n", "\n"] {
            let with = with_line(text.as_bytes());
            assert_eq!(with.starts_with(b"#!"), text.starts_with("#!"), "{text:?}");
            assert_eq!(without_line(&with), text.as_bytes(), "{text:?}");
        }
        assert_eq!(with_line(b""), ["#!/bin/sh\n", LINE].concat().as_bytes());
    }

    #[test]
    fn a_script_or_a_line_that_runs_depsfs_adopt_is_the_users_unless_depsfs_wrote_it() {
        let title = SCRIPT.lines().nth(1).unwrap();
        assert!(is_script(SCRIPT.as_bytes()) && is_script(format!("#!/bin/sh\n{title}\n# older\n").as_bytes()));
        assert!(has_line(LINE.as_bytes()) && has_line(LINE.trim_end().as_bytes()));
        for own in [
            "#!/bin/sh\ndepsfs adopt --allow-unbuilt\n",
            "#!/bin/sh\necho # depsfs adopt\n",
            "#!/bin/sh\nsh \"$(git rev-parse --git-common-dir)/depsfs-post-checkout\" \"$@\"\n",
            &format!("#!/bin/sh\n# as of\n{title}\n"),
        ] {
            assert!(!is_script(own.as_bytes()) && !has_line(own.as_bytes()), "{own}");
            assert_eq!(without_line(&with_line(own.as_bytes())), own.as_bytes());
        }
    }

    #[test]
    fn only_scripts_of_a_shell_take_a_line() {
        for (text, expected) in [
            ("#!/bin/sh\n", true),
            ("#!/usr/bin/env -S bash -e\n", true),
            ("npx x\n", true),
            ("#!/usr/bin/env python3\n", false),
            ("#!/usr/bin/node", false),
        ] {
            assert_eq!(is_shell(text.as_bytes()), expected, "{text}");
        }
    }
}
