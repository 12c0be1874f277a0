//! git's own hooks: the directory that it runs them from, and its list of paths to ignore.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::checkout::Checkout;
use super::command::{Git, GitError};
use crate::sys::{IoError, path};

impl Git {
    /// The directory of hooks, absolute: `core.hooksPath`, else that of the repository.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn hooks_dir(&self) -> Result<PathBuf, GitError> {
        let what = "rev-parse";
        let out = self.run(what, [what, "--path-format=absolute", "--git-path", "hooks"], None)?;
        let line = out.strip_suffix(b"\n").unwrap_or(&out);
        if line.contains(&b'\n') { Err(GitError::Unreadable { what }) } else { Ok(OsStr::from_bytes(line).into()) }
    }

    /// Whether the index has this path, or a path below it.
    ///
    /// # Errors
    /// As of [`Git::hooks_dir`].
    pub fn is_tracked(&self, file: &Path) -> Result<bool, GitError> {
        let args = ["ls-files", "-z", "--"].map(OsStr::new).into_iter().chain([file.as_os_str()]);
        Ok(!self.literal().run("ls-files", args, None)?.is_empty())
    }

    /// The branch that a remote calls its default, as `origin/main`; `None` if that is not known here.
    ///
    /// # Errors
    /// As of [`Git::hooks_dir`].
    pub fn default_branch(&self, remote: &str) -> Result<Option<String>, GitError> {
        let name = format!("refs/remotes/{remote}/HEAD");
        match self.run("symbolic-ref", ["symbolic-ref", "--quiet", "--short", &name], None) {
            Ok(out) => Ok(Some(String::from_utf8_lossy(&out).trim().to_owned()).filter(|branch| !branch.is_empty())),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The repository's own list of paths to ignore, which no commit has.
pub fn exclude_file(of: &Checkout) -> PathBuf {
    of.common_dir.join("info/exclude")
}

/// Has git ignore a path below the checkout, unless it does already or has the line; whether a line was added.
///
/// # Errors
/// git fails; the list cannot be read or written.
pub fn exclude(of: &Checkout, below: &Path) -> Result<bool, GitError> {
    if !of.git().check_ignored(&[below.to_path_buf()])?.is_empty() {
        return Ok(false);
    }
    let file = exclude_file(of);
    let mut bytes = path::read_if_there(&file)?.unwrap_or_default();
    let line = pattern(below);
    // git does not ignore a tracked file, whatever the list has.
    if bytes.split(|b| *b == b'\n').any(|there| there == line) {
        return Ok(false);
    }
    match bytes.is_empty() || bytes.ends_with(b"\n") {
        true => bytes.extend([&line[..], b"\n"].concat()),
        // The last line had no end, and has none again once this one is taken out.
        false => bytes.extend([b"\n", &line[..]].concat()),
    }
    path::make_dirs(file.parent().unwrap_or(&file))?;
    path::rewrite(&file, &bytes)?;
    Ok(true)
}

/// Takes the line that [`exclude`] has added out again: one line, as the user may have added the same since.
///
/// # Errors
/// The list cannot be read or written.
pub fn include_again(of: &Checkout, below: &Path) -> Result<(), IoError> {
    let file = exclude_file(of);
    let Some(bytes) = path::read_if_there(&file)? else { return Ok(()) };
    let line = pattern(below);
    let whole = [&line[..], b"\n"].concat();
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    let kept = match lines.iter().position(|l| *l == whole) {
        Some(at) => {
            lines.remove(at);
            lines.concat()
        }
        None => match bytes.strip_suffix(&[b"\n", &line[..]].concat()[..]) {
            Some(rest) => rest.to_vec(),
            None => return Ok(()),
        },
    };
    path::rewrite(&file, &kept)
}

/// The line for a path, with what gitignore(5) takes for a pattern escaped.
fn pattern(below: &Path) -> Vec<u8> {
    let mut line = vec![b'/'];
    for byte in below.as_os_str().as_bytes() {
        if b"*?[\\ ".contains(byte) {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_line_that_matches_it_alone() {
        assert_eq!(pattern(Path::new(".claude/worktrees/")), b"/.claude/worktrees/");
        assert_eq!(pattern(Path::new("a b/[x]*")), b"/a\\ b/\\[x]\\*");
    }
}
