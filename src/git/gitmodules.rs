//! The .gitmodules of a commit: only the names of submodules, by path, are used.
//!
//! git's configuration speaks of a submodule by its name, so the name becomes a part of configuration keys and of a path
//! in the git directory. A name is refused that git refuses (empty, a component `..`), and one that could be read as
//! something else: with `=`, with control characters, with a dash at its start. So are two names for one path: git takes
//! the last of them, another reader may take the first.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::checkout::Checkout;
use super::command::{Git, GitError};
use super::submodule_error::SubmoduleError;
use crate::sys::path;

/// A key and its value.
type KeyValue = (Vec<u8>, Vec<u8>);

/// The settings of one .gitmodules, in their order.
pub(crate) struct GitModules(Vec<KeyValue>);

impl GitModules {
    /// That of a checkout, as it lies there.
    fn on_disk(checkout: &Checkout) -> Result<GitModules, SubmoduleError> {
        let file = checkout.root.join(".gitmodules");
        let text = path::read_if_there(&file)?.unwrap_or_default();
        Ok(GitModules(checkout.git().settings_of(text)?))
    }

    /// That of a commit.
    fn at(git: &Git, commit: &str) -> Result<GitModules, SubmoduleError> {
        let text = git.blob(format!("{commit}:.gitmodules"))?.unwrap_or_default();
        Ok(GitModules(git.settings_of(text)?))
    }

    /// The name of the submodule at a path.
    pub fn name_of(&self, wanted: &Path) -> Result<OsString, SubmoduleError> {
        let name = |key: &[u8]| key.strip_prefix(b"submodule.")?.strip_suffix(b".path").map(<[u8]>::to_vec);
        let paths = || self.0.iter().filter_map(|(key, value)| Some((name(key)?, value)));
        let mut names: Vec<Vec<u8>> =
            paths().filter(|(_, at)| *at == wanted.as_os_str().as_bytes()).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        let [name] = names.as_slice() else {
            return Err(match names.len() {
                0 => SubmoduleError::Nameless(wanted.into()),
                _ => SubmoduleError::Ambiguous(wanted.into()),
            });
        };
        if paths().filter(|(other, _)| other == name).count() > 1 {
            return Err(SubmoduleError::Ambiguous(wanted.into()));
        }
        let name = OsString::from_vec(name.clone());
        if is_harmless(&name) { Ok(name) } else { Err(SubmoduleError::Name { path: wanted.into(), name }) }
    }
}

fn is_harmless(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty()
        && bytes[0] != b'-'
        && !bytes.iter().any(|b| *b == b'=' || b.is_ascii_control())
        && !bytes.split(|b| matches!(b, b'/' | b'\\')).any(|component| component == b"..")
}

/// That of a commit.
pub(crate) fn at(git: &Git, commit: &str) -> Result<GitModules, SubmoduleError> {
    GitModules::at(git, commit)
}

/// The name of the submodule at a path of a checkout.
pub(crate) fn name_of(of: &Checkout, path: &Path) -> Result<OsString, SubmoduleError> {
    GitModules::on_disk(of)?.name_of(path)
}

/// As [`super::submodule::check`], for a worktree that is there.
pub fn check_on_disk(of: &Checkout, paths: &[PathBuf]) -> Result<(), SubmoduleError> {
    if paths.is_empty() {
        return Ok(());
    }
    let named = GitModules::on_disk(of)?;
    paths.iter().try_for_each(|at| named.name_of(at).map(drop))
}

/// The commands that clone and configure a submodule.
impl Git {
    /// The settings of a text in the format of git's configuration. Files that it includes are not read.
    fn settings_of(&self, text: Vec<u8>) -> Result<Vec<KeyValue>, GitError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let args = ["config", "-z", "--no-includes", "--list", "--file", "-"];
        let out = self.run("config --list", args, Some(text))?;
        let entries = out.split(|b| *b == 0).filter(|e| !e.is_empty());
        let pair = |entry: &[u8]| match entry.iter().position(|b| *b == b'\n') {
            Some(at) => (entry[..at].to_vec(), entry[at + 1..].to_vec()),
            None => (entry.to_vec(), Vec::new()),
        };
        Ok(entries.map(pair).collect())
    }

    /// Clones and checks out one submodule, from `url` when given instead of the configured place.
    pub(crate) fn update_submodule(&self, name: &OsStr, at: &Path, url: Option<&Path>) -> Result<(), GitError> {
        let key = |last: &str| [OsStr::new("submodule."), name, OsStr::new(last)].into_iter().collect::<OsString>();
        // These override any configuration: no update command, no merge, no recursion into inner submodules.
        let mut git = self.clone().with(key(".update"), "checkout").with("submodule.recurse", "false");
        if let Some(url) = url {
            // The user's own repository on this machine: safe where a URL from a foreign .gitmodules isn't.
            git = git.with(key(".url"), url).with("protocol.file.allow", "always");
        }
        let args = ["submodule", "--quiet", "update", "--init", "--checkout", "--no-recommend-shallow", "--"];
        // A path may hold characters that are wildcards in a pattern.
        let at = [OsStr::new(":(literal)"), at.as_os_str()].into_iter().collect::<OsString>();
        git.run("submodule update", args.iter().map(OsStr::new).chain([at.as_os_str()]), None).map(drop)
    }

    /// Sets one value in the repository's own configuration.
    pub(crate) fn set_config(&self, key: &str, value: &OsStr) -> Result<(), GitError> {
        self.run("config", ["config", "--", key].map(OsStr::new).into_iter().chain([value]), None).map(drop)
    }

    /// Makes a ref point where another name does.
    pub(crate) fn set_ref(&self, name: &str, to: &str) -> Result<(), GitError> {
        self.run("update-ref", ["update-ref", "--", name, to], None).map(drop)
    }

    /// Fetches from another repository on this machine, with given refspecs.
    pub(crate) fn fetch_local(&self, from: &Path, refspec: &str) -> Result<(), GitError> {
        let args = ["fetch", "--quiet", "--no-recurse-submodules", "--"].map(OsStr::new);
        let args = args.into_iter().chain([from.as_os_str(), OsStr::new(refspec)]);
        self.clone().with("protocol.file.allow", "always").run("fetch", args, None).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pairs: &[(&str, &str)], path: &str) -> Result<String, String> {
        let pairs = pairs.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        let name = GitModules(pairs).name_of(Path::new(path));
        name.map(|n| n.into_string().unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_path_has_one_name_and_that_is_harmless() {
        let one = |name: &str| named(&[(&format!("submodule.{name}.path"), "sub")], "sub");
        for name in ["sub", "libs/sub", "a.b", "a b", "grün", "..a", "[x]"] {
            assert_eq!(one(name).as_deref(), Ok(name));
        }
        for name in ["", "a=b", "sub.update=!id #", "a\nb", "\u{1b}", "-c", "..", "../x", "a/..", "a\\..\\b"] {
            let why = one(name).unwrap_err();
            assert!(why.starts_with("submodule sub has the name "), "{name:?}: {why}");
        }
        let twice = [("submodule.a.path", "sub"), ("submodule.b.path", "sub")];
        assert!(named(&twice, "sub").unwrap_err().contains("several names"));
        let moved = [("submodule.a.path", "sub"), ("submodule.a.path", "other")];
        assert!(named(&moved, "sub").is_err() && named(&moved, "other").is_err());
        assert!(named(&twice, "none").unwrap_err().contains("no name"));
        let others = [("submodule.a=.path", "x"), ("submodule.b.path", "sub"), ("submodule.b.url", "sub")];
        assert_eq!(named(&others, "sub").as_deref(), Ok("b"));
    }
}
