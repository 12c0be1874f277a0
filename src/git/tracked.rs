//! Lists of files from git: tracked, committed and untracked paths, and the ids of their contents.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::command::{Git, GitError};
use super::output::staged_line;

/// One path of a commit: mode (100644, 120000, 160000…), id, path from the top.
pub type Committed = (u32, String, PathBuf);

impl Git {
    /// Paths that the index has otherwise than HEAD.
    pub fn differing_from_head(&self) -> Result<Vec<PathBuf>, GitError> {
        let args = ["diff-index", "--cached", "--name-only", "--no-renames", "-z", "HEAD", "--"];
        self.paths("diff-index", args, None)
    }

    /// A commit and its first parents, at most `count` in all, the nearest first.
    ///
    /// # Errors
    /// git fails, or there is no such commit.
    pub fn first_parents(&self, commit: &str, count: usize) -> Result<Vec<String>, GitError> {
        let count = format!("--max-count={count}");
        let out =
            self.run("rev-list", ["rev-list", "--first-parent", &count, "--end-of-options", commit, "--"], None)?;
        Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
    }

    /// Makes tracked files that are not there, as the index has them; `anew`: as `HEAD` has them.
    pub fn complete_checkout(&self, anew: bool) -> Result<(), GitError> {
        if anew {
            self.read_head_into_index()?;
        }
        match self.in_new_worktree().run("checkout-index", ["checkout-index", "--all", "--quiet"], None) {
            // Some are there, and stay as they are.
            Err(GitError::Failed { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Every tracked path of stage 0 with mode and blob id, for an index libgit2 declines.
    pub fn staged(&self) -> Result<Vec<(u32, String, PathBuf)>, GitError> {
        let what = "ls-files";
        let lines = self.paths(what, ["ls-files", "--stage", "-z"], None)?;
        lines.iter().filter_map(|l| staged_line(l.as_os_str().as_bytes()).transpose()).collect()
    }

    /// Every path of a commit.
    pub fn committed(&self, commit: &str) -> Result<Vec<Committed>, GitError> {
        let what = "ls-tree";
        let out = self.run(what, ["ls-tree", "-r", "-z", "--full-tree", commit], None)?;
        let lines = out.split(|b| *b == 0).filter(|line| !line.is_empty());
        lines.map(|line| committed_line(line).ok_or(GitError::Unreadable { what })).collect()
    }

    /// Those of some paths that a commit has, with what they are there.
    pub fn committed_at(&self, commit: &str, paths: &[PathBuf]) -> Result<Vec<Committed>, GitError> {
        let what = "ls-tree";
        let args = [what, "-z", "--full-tree", commit, "--"].map(OsStr::new);
        let out = self.literal().run(what, args.into_iter().chain(paths.iter().map(|p| p.as_os_str())), None)?;
        let lines = out.split(|b| *b == 0).filter(|line| !line.is_empty());
        lines.map(|line| committed_line(line).ok_or(GitError::Unreadable { what })).collect()
    }

    /// Paths that are neither tracked nor ignored.
    pub fn untracked(&self) -> Result<Vec<PathBuf>, GitError> {
        self.paths("ls-files", ["ls-files", "-o", "--exclude-standard", "-z"], None)
    }

    /// The ids that the contents of files would have as blobs, in their order.
    pub fn blob_ids(&self, files: &[&Path]) -> Result<Vec<String>, GitError> {
        let what = "hash-object";
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let asked = files.iter().flat_map(|p| line(p.as_os_str().as_bytes())).collect();
        let out = self.run(what, [what, "--stdin-paths"], Some(asked))?;
        let ids: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        if ids.len() == files.len() { Ok(ids) } else { Err(GitError::Unreadable { what }) }
    }

    /// A worktree without a branch, of which git writes down that it is there; for a moment only.
    pub fn add_detached(&self, path: &Path, commit: &str) -> Result<(), GitError> {
        let args = ["worktree", "add", "--quiet", "--detach", "--"].map(OsStr::new);
        let args = args.into_iter().chain([path.as_os_str(), OsStr::new(commit)]);
        self.apart().run("worktree add", args, None).map(drop)
    }
}

/// A path as one line of git's input: in C's quotes where a byte of it would end the line or is lost at its end.
fn line(path: &[u8]) -> Vec<u8> {
    let is_plain = |b: &u8| !b.is_ascii_control();
    if path.iter().all(is_plain) && !path.starts_with(b"\"") {
        return [path, b"\n"].concat();
    }
    let mut out = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b if is_plain(b) => out.push(*b),
            b => out.extend(format!("\\{b:03o}").bytes()),
        }
    }
    out.extend(b"\"\n");
    out
}

/// `<mode> <type> <id>\t<path>`
fn committed_line(line: &[u8]) -> Option<Committed> {
    let tab = line.iter().position(|b| *b == b'\t')?;
    let head = std::str::from_utf8(&line[..tab]).ok()?;
    let mut fields = head.split(' ');
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    Some((mode, fields.nth(1)?.to_owned(), OsStr::from_bytes(&line[tab + 1..]).into()))
}
