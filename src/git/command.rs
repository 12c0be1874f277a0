//! The one place that starts `git`: each question and each change is a method with a typed answer.
//!
//! Reads through libgit2, without a process (discovery, HEAD, the index), are in [`super::checkout`] and
//! [`super::index`]. If libgit2 declines (sha256, split index, reftable), the binary reads instead.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

pub use super::command_error::GitError;
pub(crate) use super::environment::LOCAL_VARIABLES;
use super::environment::{self, Setting};
use super::output::{Object, objects, settings};
use super::version::refuse_old;
use crate::sys::invocation::{ALL, Ended, Invocation, Sink, Stop};
use crate::sys::spawn;

/// git, in one directory that must be the top of a checkout (or a git directory).
#[derive(Clone, Debug)]
pub struct Git {
    dir: PathBuf,
    /// A signal ends the git process and the call answers [`GitError::Interrupted`]. Off where the end must be known.
    interruptible: bool,
    /// git and whatever it starts are a process group of their own. They end together, and a terminal's Ctrl-C does
    /// not reach them; nor could they ask for a password.
    apart: bool,
    /// A signal ends git at once: for what changes nothing but a worktree that is then removed. git's own end on a
    /// signal may never come, or leave locks behind.
    killed: bool,
    /// Paths are names, and no patterns or magic.
    literal: bool,
    /// Configuration of this one git, over all other.
    settings: Vec<Setting>,
}

/// Whether a new branch tracks the branch that it starts at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// As git decides by `branch.autoSetupMerge`.
    AsConfigured,
    Yes,
    No,
}

impl Tracking {
    fn option(self) -> Option<&'static str> {
        match self {
            Tracking::AsConfigured => None,
            Tracking::Yes => Some("--track"),
            Tracking::No => Some("--no-track"),
        }
    }
}

/// The `HEAD` of a new worktree.
#[derive(Clone, Copy, Debug)]
pub enum NewHead<'a> {
    Branch(&'a str),
    Detached(&'a str),
}

impl Git {
    /// git in this directory, with the user's configuration; a signal ends it. Nothing is run yet.
    pub fn at(dir: &Path) -> Git {
        Git {
            dir: dir.to_path_buf(),
            interruptible: true,
            apart: false,
            killed: false,
            literal: false,
            settings: Vec::new(),
        }
    }

    /// As [`Git::at`], deaf to Ctrl-C: for what must end one way or the other, and for undoing.
    pub fn deaf(dir: &Path) -> Git {
        Git { interruptible: false, apart: true, ..Git::at(dir) }
    }

    /// The same, with a setting over all other configuration. Neither key nor value is parsed, whatever is in them.
    pub fn with(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Git {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// All configuration, in git's own order: later wins.
    pub fn config(&self) -> Result<Vec<(String, String)>, GitError> {
        self.run("config --list", ["config", "-z", "--list"], None).map(|out| settings(&out))
    }

    /// The private git directory of the checkout, and the one it shares with its sibling worktrees.
    pub fn directories(&self) -> Result<(PathBuf, PathBuf), GitError> {
        let what = "rev-parse";
        let args = [what, "--path-format=absolute", "--git-dir", "--git-common-dir"];
        let out = self.run(what, args, None)?;
        let lines = out.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let lines: Vec<PathBuf> = lines.map(|l| PathBuf::from(OsStr::from_bytes(l))).collect();
        // More: one of them holds a line end.
        let [own, common] = <[PathBuf; 2]>::try_from(lines).map_err(|_| GitError::Unreadable { what })?;
        Ok((own, common))
    }

    /// The object that each name resolves to; names must hold no newline. One process for all.
    pub fn resolve(&self, names: &[String]) -> Result<Vec<Option<Object>>, GitError> {
        let what = "cat-file";
        let asked = names.join("\n") + "\n";
        let out =
            self.run(what, ["cat-file", "--batch-check=%(objectname) %(objecttype)"], Some(asked.into_bytes()))?;
        let answers = objects(&out);
        if answers.len() == names.len() { Ok(answers) } else { Err(GitError::Unreadable { what }) }
    }

    /// The bytes of a blob such as `HEAD:Cargo.lock`; `None` when there is none.
    pub fn blob(&self, name: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>, GitError> {
        match self.run("cat-file", ["cat-file".as_ref(), "blob".as_ref(), name.as_ref()], None) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Ignored paths of the checkout; a directory ends with a slash and stands for all below it, unless paths
    /// below it are listed as well.
    pub fn ignored(&self) -> Result<Vec<PathBuf>, GitError> {
        std::thread::scope(|scope| {
            let version = spawn::scoped(scope, || refuse_old(version));
            let args = ["ls-files", "-o", "-i", "--exclude-standard", "--directory", "-z"];
            let listed = self.paths("ls-files", args, None);
            version.join()?;
            listed
        })
    }

    /// Those of `paths` that git ignores. A path with a slash at its end is looked at as a directory.
    pub fn check_ignored(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>, GitError> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        // With a colon at its start it would be magic, which this command can't be kept from otherwise.
        let is_magic = |path: &Path| path.as_os_str().as_bytes().starts_with(b":");
        let name = |path: &PathBuf| if is_magic(path) { Path::new(".").join(path) } else { path.clone() };
        let asked = paths.iter().flat_map(|p| [name(p).as_os_str().as_bytes(), b"\0"].concat()).collect();
        match self.paths("check-ignore", ["check-ignore", "-z", "--stdin"], Some(asked)) {
            // 1: none of them is ignored.
            Err(GitError::Failed { code: Some(1), .. }) => Ok(Vec::new()),
            found => Ok(found?.into_iter().map(|p| p.strip_prefix(".").map_or(p.clone(), Path::to_path_buf)).collect()),
        }
    }

    /// As [`Git::check_ignored`], for paths of which git may refuse some: one in a submodule that isn't initialised, or
    /// beyond a symlink. Those count as not ignored, and don't spoil the others' answer.
    ///
    /// # Errors
    /// git can't be run, or a signal came.
    pub fn check_ignored_each(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>, GitError> {
        match self.check_ignored(paths) {
            Err(GitError::Failed { .. }) if paths.len() > 1 => {
                let one = |path: &PathBuf| self.check_ignored_each(std::slice::from_ref(path));
                let all: Result<Vec<Vec<PathBuf>>, GitError> = paths.iter().map(one).collect();
                Ok(all?.concat())
            }
            Err(GitError::Failed { .. }) => Ok(Vec::new()),
            found => found,
        }
    }

    /// Brings the index's stat data up to date with the files.
    pub fn refresh_index(&self) -> Result<(), GitError> {
        match self.run("update-index", ["update-index", "-q", "--refresh"], None) {
            // 1: a file differs from the index, which is no error.
            Err(GitError::Failed { code: Some(1), .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Fetches one branch of a remote.
    pub fn fetch(&self, remote: &str, branch: &str) -> Result<(), GitError> {
        self.run("fetch", ["fetch", "--quiet", "--no-recurse-submodules", "--", remote, branch], None).map(drop)
    }

    /// Those of some references that a remote has: the object and the name of each.
    ///
    /// # Errors
    /// git fails or can't be run; the remote can't be reached.
    pub fn remote_references(&self, remote: &str, names: &[String]) -> Result<Vec<(String, String)>, GitError> {
        let args = ["ls-remote", "--quiet", "--", remote].into_iter().chain(names.iter().map(String::as_str));
        let out = self.run("ls-remote", args, None)?;
        let text = String::from_utf8_lossy(&out);
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(pairs.map(|(object, name)| (object.to_owned(), name.to_owned())).collect())
    }

    /// Has a branch track a reference of a remote that is no branch.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn set_upstream(&self, branch: &str, remote: &str, reference: &str) -> Result<(), GitError> {
        for (key, value) in [("remote", remote), ("merge", reference)] {
            let key = format!("branch.{branch}.{key}");
            self.run("config", ["config", "--local", "--replace-all", &key, value], None)?;
        }
        Ok(())
    }

    /// The names of branches, and of those of the remotes (`origin/main`), at most `most` of them.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn branches(&self, most: usize) -> Result<Vec<String>, GitError> {
        let count = format!("--count={most}");
        let args = ["for-each-ref", "--format=%(refname)", &count, "refs/heads", "refs/remotes"];
        let out = self.run("for-each-ref", args, None)?;
        let text = String::from_utf8_lossy(&out);
        let short =
            |name: &str| name.strip_prefix("refs/heads/").or(name.strip_prefix("refs/remotes/")).map(str::to_owned);
        Ok(text.lines().filter_map(short).filter(|name| !name.ends_with("/HEAD")).collect())
    }

    /// Makes a branch; fails when it exists, also when another process made it just now.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn make_branch(&self, branch: &str, base: &str, tracking: Tracking) -> Result<(), GitError> {
        let args = ["branch", "--quiet"].into_iter().chain(tracking.option()).chain(["--", branch, base]);
        self.run("branch", args, None).map(drop)
    }

    /// Moves a branch that no worktree has checked out.
    ///
    /// # Errors
    /// As [`Git::make_branch`].
    pub fn move_branch(&self, branch: &str, to: &str, tracking: Tracking) -> Result<(), GitError> {
        let args = ["branch", "--quiet", "--force"].into_iter().chain(tracking.option()).chain(["--", branch, to]);
        self.run("branch", args, None).map(drop)
    }

    /// Deletes a branch and its configuration, merged or not.
    pub fn delete_branch(&self, branch: impl AsRef<OsStr>) -> Result<(), GitError> {
        let args = ["branch", "--quiet", "-D", "--"].map(OsStr::new);
        self.run("branch -D", args.into_iter().chain([branch.as_ref()]), None).map(drop)
    }

    /// Makes a worktree at `path`, which may be an empty directory, with its files or without.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub fn add_worktree(&self, path: &Path, head: NewHead<'_>, checkout: bool) -> Result<(), GitError> {
        let how = if checkout { "--checkout" } else { "--no-checkout" };
        let (detach, start) = match head {
            NewHead::Branch(branch) => (None, branch),
            NewHead::Detached(commit) => (Some("--detach"), commit),
        };
        let args = ["worktree", "add", "--quiet", how].into_iter().chain(detach).chain(["--"]).map(OsStr::new);
        let args = args.chain([path.as_os_str(), start.as_ref()]);
        // `git worktree add` starts a `git reset`, which would go on writing after it was ended alone.
        self.apart().run("worktree add", args, None).map(drop)
    }

    /// Reads the tree of `HEAD` into the index, without stat data.
    pub fn read_head_into_index(&self) -> Result<(), GitError> {
        self.in_new_worktree().run("read-tree", ["read-tree", "HEAD"], None).map(drop)
    }

    /// Checks out all tracked files of `HEAD`; files that are unchanged by the index's stat data are skipped.
    /// `git reset --hard` does the same, but then also locks refs, and leaves the lock files behind if it is killed.
    pub fn check_out_head(&self) -> Result<(), GitError> {
        let args = ["read-tree", "--reset", "-u", "--no-recurse-submodules", "HEAD"];
        self.in_new_worktree().run("read-tree", args, None).map(drop)
    }

    /// The same for commands that write only to a worktree which is removed if they fail: a signal kills them at once.
    pub(crate) fn in_new_worktree(&self) -> Git {
        Git { killed: true, ..self.apart() }
    }

    /// The same, to which paths are names, and no patterns or magic.
    pub(crate) fn literal(&self) -> Git {
        Git { literal: true, ..self.clone() }
    }

    /// The same in a process group of its own: the terminal's Ctrl-C does not reach it, and it can ask for no password.
    pub(crate) fn apart(&self) -> Git {
        Git { apart: true, ..self.clone() }
    }

    /// One of git's own variables, such as where it looks for attributes.
    pub fn variable(&self, name: &str) -> Result<Option<OsString>, GitError> {
        match self.run("var", ["var", name], None) {
            Ok(out) => Ok(Some(OsString::from_vec(out.trim_ascii_end().to_vec()))),
            // There is none.
            Err(GitError::Failed { code: Some(1), .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Removes a worktree and its registration, whatever is in it: its caller has looked.
    pub fn remove_worktree(&self, path: &Path) -> Result<(), GitError> {
        let args = ["worktree", "remove", "--force", "--"].map(OsStr::new).into_iter().chain([path.as_os_str()]);
        self.run("worktree remove", args, None).map(drop)
    }

    /// `git status --porcelain -z`: two letters and a path each, renames off; submodules with what is in them.
    pub fn status(&self) -> Result<Vec<(String, PathBuf)>, GitError> {
        let args = ["--no-optional-locks", "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=none"];
        let lines = self.paths("status", args, None)?;
        Ok(lines
            .iter()
            .filter_map(|line| line.as_os_str().as_bytes().split_at_checked(3))
            .map(|(letters, path)| {
                (String::from_utf8_lossy(&letters[..2]).into_owned(), OsStr::from_bytes(path).into())
            })
            .collect())
    }

    /// How many commits `of` reaches that none of the `known` revision arguments does.
    pub fn count_commits<S: AsRef<OsStr>>(&self, of: &[&str], known: &[S]) -> Result<u64, GitError> {
        let what = "rev-list";
        let args = ["rev-list", "--count"].iter().chain(of).chain(&["--not"]).map(OsStr::new);
        let args = args.chain(known.iter().map(AsRef::as_ref)).chain([OsStr::new("--")]);
        let out = self.run(what, args, None)?;
        String::from_utf8_lossy(&out).trim().parse().map_err(|_| GitError::Unreadable { what })
    }

    /// The branch HEAD stands for (`None`: detached), for a repository libgit2 declines.
    pub fn branch(&self) -> Result<Option<OsString>, GitError> {
        match self.run("symbolic-ref", ["symbolic-ref", "--quiet", "HEAD"], None) {
            Ok(out) => {
                let branch = out.trim_ascii_end().strip_prefix(b"refs/heads/");
                Ok(branch.map(|branch| OsString::from_vec(branch.to_vec())))
            }
            Err(GitError::Failed { code: Some(1), .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Runs git with an option that ends each path by NUL (`-z`). The paths are those that git prints, mostly relative
    /// to the checkout's top; empty ones are dropped. `what` is the subcommand, for the error.
    pub(crate) fn paths<I, S>(
        &self,
        what: &'static str,
        args: I,
        stdin: Option<Vec<u8>>,
    ) -> Result<Vec<PathBuf>, GitError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let out = self.run(what, args, stdin)?;
        let names = out.split(|b| *b == 0).filter(|p| !p.is_empty());
        Ok(names.map(|p| PathBuf::from(OsString::from_vec(p.to_vec()))).collect())
    }

    /// Runs git to its end; its output when it succeeds.
    pub(crate) fn run<I, S>(&self, what: &'static str, args: I, stdin: Option<Vec<u8>>) -> Result<Vec<u8>, GitError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut git = Invocation::new("git");
        git.args(args).dir(&self.dir).stdout(Sink::Keep(ALL)).stderr(Sink::Keep(ALL));
        environment::prepare(&mut git, &self.dir, &self.settings, self.literal);
        git.stop(if self.killed { Stop::Kill } else { Stop::LeaderFirst });
        if let Some(bytes) = stdin {
            git.input(bytes);
        }
        if self.apart {
            git.own_group();
        }
        if self.interruptible {
            git.interruptible();
        }
        let finished = git.run().map_err(GitError::Absent)?;
        match finished.ended {
            Ended::Code(0) => return Ok(finished.stdout),
            Ended::Interrupted(signal) => return Err(GitError::Interrupted(signal)),
            Ended::Code(_) | Ended::Killed(_) | Ended::TookTooLong(_) => {}
        }
        let stderr = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
        if !stderr.is_empty() {
            refuse_old(version)?;
        }
        Err(GitError::Failed { what, code: finished.ended.code(), stderr })
    }
}

/// The output of `git version`; `None` if git can't be run.
pub(crate) fn version() -> Option<String> {
    let mut git = Invocation::new("git");
    git.arg("version").stdout(Sink::Keep(ALL));
    Some(String::from_utf8_lossy(&git.run().ok()?.stdout).into_owned())
}
