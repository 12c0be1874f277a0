//! The record of a create that has begun. If the create is killed (SIGKILL, a power cut), a later command reads from
//! the record what was made, and takes it back.
//!
//! `<repository>/depsfs/creating/<16 hex digits of the worktree's path>.json`, JSON, version 1. Its creator holds the
//! file's lock as long as it lives.
//!
//! | step of `create`                         | a kill right after it leaves                                          |
//! |------------------------------------------|-----------------------------------------------------------------------|
//! | 1. the record is made, locked, written   | an empty record: nothing was made                                     |
//! | 2. it is synced                          | the record alone                                                      |
//! | 3. all else                              | what the record names: the directory, the branch, the registration    |
//! | 4. the record is removed                 | a whole worktree                                                      |
//!
//! The next `create` of the name, `remove` and `doctor --fix` take back what step 3 left, unless it has changed
//! since; `adopt` completes it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::WorktreeError;
use super::{copy_checkout, sole_holder, undo};
use crate::git::checkout::Checkout;
use crate::git::command::{Git, GitError};
use crate::store::{Store, escape};
use crate::sys::fs::{self, OpenFlags, open_path};
use crate::sys::lock::Lock;
use crate::sys::log::OrWarn;
use crate::sys::process::ProcessId;
use crate::sys::{IoError, path, proc, process};
use crate::views::ViewsError;
use crate::views::diff::Differences;
use crate::views::set::{self, Views};

const VERSION: u32 = 1;
/// How long a daemon that ends may hold its root.
const LET_GO_WITHIN: Duration = Duration::from_secs(3);
/// How long a git that goes on without its parent is waited for.
const GIT_ENDS_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct CreateRecord {
    version: u32,
    #[serde(with = "escape::path")]
    worktree: PathBuf,
    branch: String,
    /// The branch is of this create's making.
    makes_branch: bool,
    /// The commit it starts at.
    commit: Option<String>,
    /// The store that its root is in.
    #[serde(with = "escape::path")]
    store: PathBuf,
    /// The creator, and when it was started, in clock ticks since the boot.
    pid: ProcessId,
    started: Option<u64>,
}

/// A worktree that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewWorktree<'a> {
    pub path: &'a Path,
    pub branch: &'a str,
    /// The branch does not exist yet.
    pub makes_branch: bool,
    /// The commit that it starts at.
    pub commit: Option<&'a str>,
}

/// The record and lock of a running create. It holds them until everything is made or taken back.
#[derive(Debug)]
pub struct Unfinished {
    file: PathBuf,
    _lock: Lock,
}

impl Unfinished {
    /// Writes the record of a create that is about to begin.
    ///
    /// # Errors
    /// [`WorktreeError::BeingMade`] while another create makes a worktree at the same path.
    pub fn begin(source: &Checkout, new: &NewWorktree<'_>, store: &Store) -> Result<Unfinished, WorktreeError> {
        let (dir, worktree) = (dir_of(&source.common_dir), new.path);
        path::make_private_dirs(&dir)?;
        let record = CreateRecord {
            version: VERSION,
            worktree: worktree.into(),
            branch: new.branch.into(),
            makes_branch: new.makes_branch,
            commit: new.commit.map(str::to_owned),
            store: store.path().into(),
            pid: process::id(),
            started: proc::started(process::id()),
        };
        let file = dir.join(name_of(worktree));
        let flags = OpenFlags::RDWR | OpenFlags::CREATE;
        let opened = open_path(&file, flags, 0o600).map_err(IoError::of("create", &file))?;
        let lock = Lock::try_exclusive(opened).map_err(IoError::of("lock", &file))?;
        let Some(lock) = lock.filter(|lock| is_at(lock, &file)) else {
            return Err(WorktreeError::BeingMade(worktree.into()));
        };
        let bytes = serde_json::to_vec(&record).expect("strings and numbers are always JSON");
        lock.write(&bytes).and_then(|()| fs::fdatasync(&lock)).map_err(IoError::of("write", &file))?;
        Ok(Unfinished { file, _lock: lock })
    }

    /// Everything was made, or nothing is left of it.
    pub fn end(self) -> Result<(), IoError> {
        remove(&self.file)
    }
}

/// A create that ended before it was done.
#[derive(Debug)]
pub struct Killed {
    file: PathBuf,
    record: CreateRecord,
    common_dir: PathBuf,
    _lock: Lock,
}

/// The outcome of taking one back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoOutcome {
    TakenBack,
    /// The user has worked in it: it stays, as any other worktree.
    Kept,
}

impl Killed {
    /// The create that was killed while it made the worktree at this path; an error while it lives.
    pub fn at(common_dir: &Path, worktree: &Path) -> Result<Option<Killed>, WorktreeError> {
        match Killed::read(common_dir, &dir_of(common_dir).join(name_of(worktree)))? {
            FoundWork::Living => Err(WorktreeError::BeingMade(worktree.into())),
            FoundWork::Nothing => Ok(None),
            FoundWork::Killed(killed) => Ok(Some(killed)),
        }
    }

    /// Those of a repository.
    pub fn all(common_dir: &Path) -> Result<Vec<Killed>, WorktreeError> {
        let mut found = Vec::new();
        for entry in path::list(&dir_of(common_dir))? {
            if let FoundWork::Killed(killed) =
                Killed::read(common_dir, &dir_of(common_dir).join(OsStr::from_bytes(&entry.name)))?
            {
                found.push(killed);
            }
        }
        Ok(found)
    }

    fn read(common_dir: &Path, file: &Path) -> Result<FoundWork, WorktreeError> {
        let opened = match open_path(file, OpenFlags::RDWR, 0) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(FoundWork::Nothing),
            opened => opened.map_err(IoError::of("open", file))?,
        };
        let Some(lock) = lock_of_ended(opened, file)? else { return Ok(FoundWork::Living) };
        let bytes = path::read_if_there(file)?.unwrap_or_default();
        match serde_json::from_slice::<CreateRecord>(&bytes) {
            Ok(record) if record.version == VERSION && is_at(&lock, file) => {
                Ok(FoundWork::Killed(Killed { file: file.into(), record, common_dir: common_dir.into(), _lock: lock }))
            }
            // Killed before it was synced: nothing was made.
            Err(_) if is_at(&lock, file) && !bytes.trim_ascii_end().ends_with(b"}") => {
                remove(file)?;
                Ok(FoundWork::Nothing)
            }
            _ => Ok(FoundWork::Nothing),
        }
    }

    /// The absolute path of the worktree that was to be made; it may not be there.
    pub fn worktree(&self) -> &Path {
        &self.record.worktree
    }

    /// The branch that was to be checked out, without `refs/heads/`; there or not.
    pub fn branch(&self) -> &str {
        &self.record.branch
    }

    /// The process that was killed: another one may have its number by now.
    pub fn pid(&self) -> ProcessId {
        self.record.pid
    }

    /// Whether [`Self::take_back`] would take it back.
    ///
    /// # Errors
    /// The worktree can't be read.
    pub fn is_unchanged(&self) -> Result<bool, WorktreeError> {
        let git_dir = self.git_dir(&repository(&self.common_dir))?;
        Ok(!self.is_somebodys(git_dir.as_deref())?)
    }

    /// Whether the user has worked in it. git registers a worktree before it writes into its directory: without a
    /// registration, other files are a user's.
    fn is_somebodys(&self, git_dir: Option<&Path>) -> Result<bool, WorktreeError> {
        let is_foreign = git_dir.is_none() && !path::list(&self.record.worktree)?.is_empty();
        Ok(is_foreign || self.was_worked_in(git_dir)?)
    }

    /// Takes back what was made, unless the worktree has changed since.
    pub fn take_back(self) -> Result<UndoOutcome, WorktreeError> {
        let repository = repository(&self.common_dir);
        let git_dir = self.git_dir(&repository)?;
        git_dir.iter().for_each(|git_dir| wait_for_git(git_dir, Instant::now() + GIT_ENDS_WITHIN));
        if self.is_somebodys(git_dir.as_deref())? {
            remove(&self.file)?;
            return Ok(UndoOutcome::Kept);
        }
        if let Some(git_dir) = &git_dir {
            undo::unmount(&git_dir.join("depsfs"))?;
        }
        undo::remove_worktree(&repository, &self.record.worktree)?;
        // The root is there before the manifest is.
        if let Some(git_dir) = git_dir.filter(|_| path::is_dir(&self.record.store)) {
            forget(&Store::open(&self.record.store)?, &set::manifest_file(&git_dir.join("depsfs")))?;
        }
        let tip = Git::at(&self.common_dir).resolve(&[format!("refs/heads/{}", self.record.branch)])?.pop().flatten();
        let is_ours = self.record.makes_branch && tip.is_some_and(|tip| Some(&tip.id) == self.record.commit.as_ref());
        if is_ours {
            undo::delete_branch(&repository, &self.record.branch)?;
        }
        remove(&self.file)?;
        Ok(UndoOutcome::TakenBack)
    }

    /// Completes git's part, before the views: makes tracked files that are absent, or written in part, and no others.
    ///
    /// # Errors
    /// git fails, or a file can't be read.
    pub fn complete(self, target: &Checkout) -> Result<(), WorktreeError> {
        let until = Instant::now() + GIT_ENDS_WITHIN;
        loop {
            wait_for_git(&target.git_dir, until);
            let completed = target.git().complete_checkout(!path::is_there(&target.git_dir.join("index")));
            let is_locked = path::is_there(&target.git_dir.join("index.lock"));
            match completed {
                // That git has begun to write the index just now.
                Err(GitError::Failed { .. }) if is_locked && Instant::now() < until => {}
                completed => {
                    completed?;
                    self.make_parts_whole(target)?;
                    return Ok(remove(&self.file)?);
                }
            }
        }
    }

    /// Makes the tracked files anew that were being written when the create was killed.
    fn make_parts_whole(&self, target: &Checkout) -> Result<(), WorktreeError> {
        let mut removed = false;
        for (_, at) in target.git().status()?.into_iter().filter(|(letters, _)| letters == " M") {
            if copy_checkout::is_part(target, &at)? {
                path::remove_file(&target.root.join(at))?;
                removed = true;
            }
        }
        if removed {
            target.git().complete_checkout(false)?;
        }
        Ok(())
    }

    /// The private git directory that was registered for it.
    fn git_dir(&self, repository: &Checkout) -> Result<Option<PathBuf>, IoError> {
        let all = repository.registered()?.into_iter();
        Ok(all.filter(|(root, _)| *root == self.record.worktree).map(|(_, git_dir)| git_dir).next())
    }

    /// Commits, staged or untracked files, changes other than missing files and files that are written in part; changes in
    /// views.
    fn was_worked_in(&self, git_dir: Option<&Path>) -> Result<bool, WorktreeError> {
        let Some(git_dir) = git_dir else { return Ok(false) };
        // Without both no command of git's could be given in it.
        if !path::is_there(&git_dir.join("index")) || !path::is_there(&self.record.worktree.join(".git")) {
            return Ok(false);
        }
        let head = Git::at(git_dir).resolve(&["HEAD^{commit}".into()])?.pop().flatten();
        if head.is_some_and(|head| Some(&head.id) != self.record.commit.as_ref())
            || sole_holder::operation(git_dir).is_some()
        {
            return Ok(true);
        }
        let Some(worktree) = Checkout::at(&self.record.worktree)? else { return Ok(false) };
        // A manifest is written when all but the mounting was done.
        if let Some(views) = Views::of(&worktree)? {
            let differences = Differences::of(&views);
            for view in &views.manifest.views {
                match differences.since_made(view) {
                    // Killed before it was mounted: no program was in it.
                    Err(ViewsError::View { .. }) => {}
                    Ok(found) if found.is_empty() => {}
                    found => return Ok(found.map(|_| true)?),
                }
            }
        }
        for (letters, at) in worktree.git().status()? {
            if letters == "??"
                || (letters.contains('M') && !copy_checkout::is_part(&worktree, &at)?)
                || letters.contains('A')
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Removes a root. A daemon that has not noticed yet that its manifest is gone holds it for a moment.
fn forget(store: &Store, manifest: &Path) -> Result<(), WorktreeError> {
    let until = Instant::now() + LET_GO_WITHIN;
    loop {
        store.roots().remove(manifest)?;
        let is_there = store.roots().list()?.iter().any(|root| root.manifest.as_deref() == Some(manifest));
        // gc finds it later.
        if !is_there || Instant::now() > until {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

enum FoundWork {
    Nothing,
    Living,
    Killed(Killed),
}

/// The repository itself as a place to run git in.
fn repository(common_dir: &Path) -> Checkout {
    let dir = common_dir.to_path_buf();
    Checkout { root: dir.clone(), git_dir: dir.clone(), common_dir: dir }
}

fn dir_of(common_dir: &Path) -> PathBuf {
    common_dir.join("depsfs/creating")
}

fn name_of(worktree: &Path) -> String {
    format!("{}.json", set::id_of(worktree))
}

/// The lock of the record, `None` while its creator lives. A program that one which was killed was just starting has
/// it for a moment longer.
fn lock_of_ended(opened: OwnedFd, file: &Path) -> Result<Option<Lock>, WorktreeError> {
    let mut opened = Some(opened);
    let until = Instant::now() + LET_GO_WITHIN;
    loop {
        let next = opened.take().map_or_else(|| open_path(file, OpenFlags::RDWR, 0), Ok);
        let lock = match next {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            next => next.and_then(Lock::try_exclusive).map_err(IoError::of("lock", file))?,
        };
        let is_over = || {
            let record = path::read_if_there(file).ok().flatten().unwrap_or_default();
            let creator = serde_json::from_slice::<CreateRecord>(&record).ok();
            creator.is_none_or(|r| r.started.is_none() || proc::started(r.pid) == r.started) || Instant::now() > until
        };
        if lock.is_some() || is_over() {
            return Ok(lock);
        }
        std::thread::sleep(PAUSE);
    }
}

/// A git that the killed create has started goes on without it: waits until that has ended, at most until then. One
/// that was killed, too, has left its locks.
fn wait_for_git(git_dir: &Path, until: Instant) {
    let mark = || path::read_if_there(&git_dir.join("locked")).ok().flatten().unwrap_or_default();
    // git's own mark of a `worktree add` that is under way.
    let is_locked = || path::is_there(&git_dir.join("index.lock")) || mark().trim_ascii() == b"initializing";
    while is_locked() && Instant::now() < until && proc::is_any_called("git") {
        std::thread::sleep(PAUSE);
    }
}

/// Whether the locked file still has its name: another may have removed it meanwhile.
fn is_at(lock: &Lock, file: &Path) -> bool {
    let there = path::stat(file).ok().flatten();
    fs::stat(lock).is_ok_and(|locked| there.is_some_and(|there| (there.dev, there.ino) == (locked.dev, locked.ino)))
}

/// The record, and the directories around it that are empty then.
fn remove(file: &Path) -> Result<(), IoError> {
    path::remove_file(file)?;
    for dir in file.ancestors().skip(1).take(2) {
        // A directory with another create's record stays.
        path::remove_dir(dir).or_debug("another record is there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_it_was_in_version_1() {
        let golden = br#"{"version":1,"worktree":"/src/f%25x","branch":"al/fix","makes_branch":true,"commit":"01","store":"/s","pid":7,"started":99}"#;
        let record = CreateRecord {
            version: 1,
            worktree: "/src/f%x".into(),
            branch: "al/fix".into(),
            makes_branch: true,
            commit: Some("01".into()),
            store: "/s".into(),
            pid: 7,
            started: Some(99),
        };
        assert_eq!(serde_json::to_vec(&record).expect("JSON"), golden);
        assert_eq!(serde_json::from_slice::<CreateRecord>(golden).expect("read"), record);
    }
}
