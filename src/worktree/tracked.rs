//! What git says of files by name: which there are, and the ids of their contents.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::git::{Git, GitError};
use super::git_output::staged_line;

/// One path of a commit: mode (100644, 120000, 160000…), id, path from the top.
pub type Committed = (u32, String, PathBuf);

impl Git {
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

    /// Paths that are neither tracked nor ignored.
    pub fn untracked(&self) -> Result<Vec<PathBuf>, GitError> {
        self.paths("ls-files", ["ls-files", "-o", "--exclude-standard", "-z"], None)
    }

    /// The ids that the contents of files would have as blobs, in their order. No name may hold a newline.
    pub fn blob_ids(&self, files: &[&Path]) -> Result<Vec<String>, GitError> {
        let what = "hash-object";
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let asked = files.iter().flat_map(|p| [p.as_os_str().as_bytes(), b"\n"].concat()).collect();
        let out = self.run(what, [what, "--stdin-paths"], Some(asked))?;
        let ids: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        if ids.len() == files.len() { Ok(ids) } else { Err(GitError::Unreadable { what }) }
    }

    /// A worktree without a branch, of which git writes down that it is there; for a moment only.
    pub fn add_detached(&self, path: &Path, commit: &str) -> Result<(), GitError> {
        let args = [OsStr::new("worktree"), "add".as_ref(), "--quiet".as_ref(), "--detach".as_ref(), path.as_os_str()];
        self.apart().run("worktree add", args.into_iter().chain([OsStr::new(commit)]), None).map(drop)
    }
}

/// `<mode> <type> <id>\t<path>`
fn committed_line(line: &[u8]) -> Option<Committed> {
    let tab = line.iter().position(|b| *b == b'\t')?;
    let head = std::str::from_utf8(&line[..tab]).ok()?;
    let mut fields = head.split(' ');
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    Some((mode, fields.nth(1)?.to_owned(), OsStr::from_bytes(&line[tab + 1..]).into()))
}
