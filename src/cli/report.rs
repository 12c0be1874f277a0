//! What went wrong, for people (what, because, hint) and for scripts (the exit code).
//!
//! | code | meaning |
//! |------|---------|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage |
//! | 3 | refused, and nothing was changed |

use std::io;
use std::path::PathBuf;

use super::{hints, output};
use crate::cache::CacheError;
use crate::component;
use crate::daemon::DaemonError;
use crate::git::command::GitError;
use crate::git::ignored::IgnoredError;
use crate::git::submodule::SubmoduleError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::terminal::Shown;
use crate::worktree::mtime::MtimeError;
use crate::worktree::{self, Error};
use crate::{git, views};

/// Whatever ends a verb without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Worktree(#[from] worktree::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The answer is no, and has been said.
    #[error("it is not there")]
    Missed,
    #[error("{0} of its files are damaged or missing, as listed")]
    Damaged(usize),
    #[error("there is no terminal to ask on")]
    NotConfirmed,
    #[error("neither HOME nor the XDG variables are set")]
    NoHome,
    #[error("DEPSFS_STORE is {}, which is a relative path", .0.shown())]
    RelativeStore(PathBuf),
    #[error("{0}")]
    Usage(&'static str, &'static str),
    /// `what` was not done.
    #[error("{why}")]
    Refused { what: &'static str, why: String, hint: &'static str },
    #[error("option {0:?} is not known")]
    MountOption(String),
    #[error("{0} checks failed, as told")]
    Unwell(usize),
    #[error("{0} worktrees could not be mounted, as told")]
    NotAll(usize),
    #[error("systemctl: {0}")]
    Systemd(String),
    #[error(transparent)]
    Io(#[from] crate::sys::IoError),
    /// A call that concerns no file.
    #[error("cannot {verb}: {source}")]
    Os { verb: &'static str, source: io::Error },
    #[error("cannot write to the standard output: {0}")]
    Output(io::Error),
    /// The work is done, as `done` puts it; its report could not be written.
    #[error("cannot write to the standard output: {source}")]
    Unreported { done: String, source: io::Error },
}

impl Failure {
    /// For `map_err(Failure::os("read the standard input"))`.
    pub fn os(verb: &'static str) -> impl FnOnce(io::Error) -> Failure {
        move |source| Failure::Os { verb, source }
    }
}

macro_rules! of_a_worktree {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(e: $error) -> Failure {
                Failure::Worktree(e.into())
            }
        })*
    };
}

of_a_worktree!(component::Error, views::Error, git::Error, GitError);

/// Prints a failure on stderr; answers the exit code.
pub fn print(what: &str, failure: &Failure) -> u8 {
    let (code, hint) = judge(failure);
    // A worktree was made, and stays.
    let kept = matches!(failure, Failure::Worktree(Error::Component(component::Error::Build { .. })));
    let unreported;
    let what = match failure {
        _ if kept => "not everything was built; the worktree is kept",
        Failure::Unreported { done, .. } => {
            unreported = format!("{done}, but the report of it could not be written");
            &unreported
        }
        Failure::Output(_) => "the answer could not be written",
        Failure::Refused { what, .. } => what,
        _ => what,
    };
    output::note(&format!("depsfs: {what}"));
    output::note(&format!("  because: {failure}"));
    output::note(&format!("  hint: {hint}"));
    if let Failure::Worktree(Error::Undone { left, log, .. }) = failure {
        log.iter().for_each(|line| output::note(&format!("  its log: {line}")));
        left.iter().for_each(|words| output::note(&format!("  left behind: {words}")));
    }
    code
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const REFUSED: u8 = 3;

/// The exit code and the hint of every failure there is.
fn judge(failure: &Failure) -> (u8, String) {
    match failure {
        Failure::Worktree(e) => worktree(e),
        Failure::Store(e) => store(e),
        Failure::Import(e) => import(e),
        Failure::Cache(e) => cache(e),
        Failure::Missed => (FAILED, "it has to be built".into()),
        Failure::Damaged(_) => {
            (FAILED, "depsfs doctor --fix takes damaged objects away and reads the checkouts again".into())
        }
        Failure::NotConfirmed => (REFUSED, "give --yes".into()),
        Failure::NoHome => (USAGE, "set HOME, or DEPSFS_STORE and XDG_STATE_HOME, to absolute paths".into()),
        Failure::RelativeStore(_) => (
            USAGE,
            "set DEPSFS_STORE to an absolute path: a relative one would be another store in each directory".into(),
        ),
        Failure::Refused { hint, .. } => (REFUSED, (*hint).into()),
        Failure::Usage(_, hint) => (USAGE, (*hint).into()),
        Failure::MountOption(_) => (USAGE, "depsfs mount --help lists the options".into()),
        Failure::Unwell(_) => (FAILED, "depsfs doctor --fix does what is marked so; the rest is yours".into()),
        Failure::NotAll(_) => (FAILED, "the others are mounted; depsfs doctor tells more".into()),
        Failure::Systemd(_) => (FAILED, "journalctl --user -u depsfs tells more".into()),
        Failure::Io(e) => (FAILED, hints::io(&e.source)),
        Failure::Os { source, .. } => (FAILED, hints::io(source)),
        Failure::Output(e) => (FAILED, hints::output(e)),
        Failure::Unreported { source, .. } => (FAILED, format!("{}; what was done stays", hints::output(source))),
    }
}

fn worktree(e: &Error) -> (u8, String) {
    match e {
        Error::Io(e) => (FAILED, hints::io(&e.source)),
        Error::Git(e) => of_git(e),
        Error::Views(e) => of_views(e),
        Error::Mtime(MtimeError::Git(e)) => git(e),
        Error::Mtime(MtimeError::Io(e)) => (FAILED, hints::io(&e.source)),
        Error::Component(e) => component(e),
        Error::Store(e) => store(e),
        Error::Import(e) => import(e),
        Error::Daemon(e) => daemon(e),
        Error::PathTaken(_) => (REFUSED, "take another name, or remove what is there".into()),
        Error::BeingMade(_) => (REFUSED, "wait until it is done".into()),
        Error::BranchTaken(_) => (REFUSED, "leave the base-ref away to check it out, or give --branch".into()),
        Error::BranchInUse { .. } => (REFUSED, "give another branch with --branch".into()),
        Error::BranchInTheWay { .. } => (REFUSED, "git cannot have both: give another branch with --branch".into()),
        Error::NoBase(_) => (REFUSED, "git branch --all lists the branches; a remote's is written origin/main".into()),
        Error::Fetch { .. } => (FAILED, "nothing was made; git remote -v tells where the remote is".into()),
        Error::Unbuilt(_) => (REFUSED, "build the source first, or give --allow-unbuilt".into()),
        Error::WouldBuild(_) => {
            (REFUSED, "leave --frozen-only away, or take a base-ref with the same lock files".into())
        }
        Error::Interrupted(_) => (FAILED, "run it again".into()),
        Error::Undone { source, left, .. } => {
            let (_, hint) = worktree(source);
            (FAILED, if left.is_empty() { format!("what was made has been taken back; {hint}") } else { hint })
        }
        Error::Broken { .. } => (
            REFUSED,
            "depsfs doctor names what is gone; git worktree repair or depsfs doctor --fix brings back what can be"
                .into(),
        ),
        Error::NoWorktree(_) => (REFUSED, "git worktree list shows them".into()),
        Error::Ambiguous { .. } => (REFUSED, "give the path".into()),
        Error::IsMain(_) => (REFUSED, "only linked worktrees get views, and can be removed".into()),
        Error::IsSource(_) => (REFUSED, "name a linked worktree, or another --source".into()),
        Error::OtherRepository { .. } => (REFUSED, "git worktree list shows the worktrees of a repository".into()),
        Error::HasViews { .. } => {
            (REFUSED, "depsfs status lists them; leave --source away to have them mounted".into())
        }
        Error::NoSource(_) => (REFUSED, "name a built worktree of it with --source".into()),
        Error::WouldLose { risks, .. } => (REFUSED, format!("keep it elsewhere, or give {}", flags(risks))),
        Error::Locked { .. } => (REFUSED, "git worktree unlock takes the lock away".into()),
    }
}

fn of_git(e: &git::Error) -> (u8, String) {
    use git::Error;
    match e {
        Error::Command(e) | Error::Ignored(IgnoredError::Git(e)) => git(e),
        Error::Submodule(SubmoduleError::Git(e)) => git(e),
        Error::Io(e) | Error::Ignored(IgnoredError::Io(e)) => (FAILED, hints::io(&e.source)),
        Error::Submodule(SubmoduleError::Io(e)) => (FAILED, hints::io(&e.source)),
        Error::Submodule(SubmoduleError::Nameless(_) | SubmoduleError::Ambiguous(_) | SubmoduleError::Name { .. }) => {
            (REFUSED, "git show COMMIT:.gitmodules shows it; nothing of that submodule was run or fetched".into())
        }
        Error::Naming(_) => (USAGE, "depsfs create --help tells how names are made".into()),
        Error::Pattern(e) if e.place == crate::git::include::FILE => {
            (USAGE, "it stands at the top of the source checkout; its patterns are those of .gitignore".into())
        }
        Error::Pattern(_) => (USAGE, "git config --show-origin --get-all depsfs.exclude tells where it stands".into()),
        Error::Setting(_) => (USAGE, "git config --show-origin --get-regexp ^depsfs tells where it stands".into()),
        Error::NotACheckout(_) => (REFUSED, "go to a checkout of the repository first".into()),
        Error::Bare(_) => (REFUSED, "go to one of its worktrees: git worktree list shows them".into()),
    }
}

fn of_views(e: &views::Error) -> (u8, String) {
    use views::Error;
    match e {
        Error::Io(e) => (FAILED, hints::io(&e.source)),
        Error::Git(e) => of_git(e),
        Error::Store(e) => store(e),
        Error::Import(e) => import(e),
        Error::Daemon(e) => daemon(e),
        Error::Interrupted(_) => (FAILED, "run it again".into()),
        Error::Overlay(e) => (FAILED, hints::overlay(e)),
        Error::View { .. } => (FAILED, "depsfs status tells more; so does daemon.log in the git directory".into()),
        Error::TooManyViews { .. } => {
            (REFUSED, "set mount_max in /etc/fuse.conf, or leave some out with git config --add depsfs.exclude".into())
        }
        Error::NoViews(_) => (REFUSED, "depsfs create makes a worktree with views, depsfs adopt gives it some".into()),
        Error::NotInView(_) => (REFUSED, "depsfs status lists the views".into()),
        Error::Absent(_) => (REFUSED, "depsfs diff lists what was deleted; depsfs reset brings that back".into()),
        Error::Busy { .. } => (REFUSED, "end the programs that use it, or leave its directories".into()),
        Error::NotEmpty(_) => (REFUSED, "name an empty directory, or one that is absent".into()),
        Error::Beneath { .. } => (REFUSED, "give a workdir that lies elsewhere".into()),
        Error::Overlap(..) => (REFUSED, "give directories of which none lies in another".into()),
        Error::OtherUpper { .. } => (REFUSED, "give another workdir: it has the journal of one upper".into()),
        Error::NoState => (USAGE, "give a workdir, or set HOME".into()),
        Error::MountedElsewhere(_) => (REFUSED, "unmount it there first".into()),
        Error::NoMounts(_) => (FAILED, "depsfs doctor says what is missing, and what to do; nothing was made".into()),
        Error::OtherStore(_) => (REFUSED, "set DEPSFS_STORE to that one".into()),
        Error::Unreadable(_) => (FAILED, "depsfs unmount and mount start the daemon of this version".into()),
    }
}

fn component(e: &component::Error) -> (u8, String) {
    use component::Error;
    match e {
        Error::Config(_) => {
            (USAGE, "depsfs help components has the table of its keys; so has depsfs init --schema".into())
        }
        Error::Io(e) => (FAILED, hints::io(&e.source)),
        Error::Git(e) => git(e),
        Error::Views(e) => of_views(e),
        Error::Unapproved { .. } => {
            (REFUSED, "look at them, then run depsfs approve, or give --approve; nothing was run".into())
        }
        Error::Key { .. } => (FAILED, "run the command by hand in the worktree; its words are above".into()),
        Error::Build { .. } => (FAILED, "mend it, then go on with depsfs create --resume".into()),
        Error::WouldBuild(_) => {
            (REFUSED, "leave --frozen-only away, or take a base-ref whose artifacts are there".into())
        }
        Error::Fetch { .. } => (FAILED, "depsfs cache get NAME tells more".into()),
        Error::Publish { .. } => (REFUSED, "build it first, or give --name".into()),
        Error::Record { .. } => (FAILED, "remove that file: depsfs sync then looks at everything again".into()),
    }
}

fn flags(risks: &[worktree::Risk]) -> String {
    let mut flags: Vec<&str> = risks.iter().map(worktree::Risk::flag).collect();
    flags.sort();
    flags.dedup();
    flags.join(" ")
}

fn git(e: &GitError) -> (u8, String) {
    match e {
        GitError::Absent(e) if e.kind() != io::ErrorKind::NotFound => {
            (FAILED, "look at the limits on processes and descriptors (ulimit -a; a container's pids limit)".into())
        }
        GitError::Absent(_) => (FAILED, "git has to be installed and in PATH".into()),
        GitError::Failed { .. } => (FAILED, "these are git's own words: what stops git has to be settled first".into()),
        GitError::TooOld { .. } => (REFUSED, "install a newer git, or put one first in PATH; nothing was made".into()),
        GitError::Unreadable { .. } => (FAILED, "depsfs doctor looks at git".into()),
        GitError::Interrupted(_) => (FAILED, "run it again".into()),
        GitError::Io(e) => (FAILED, hints::io(&e.source)),
    }
}

fn store(e: &StoreError) -> (u8, String) {
    match e {
        StoreError::Io(e) => (FAILED, hints::io(&e.source)),
        StoreError::NotAStore { .. } => (REFUSED, "set DEPSFS_STORE to a store, or to a directory to be made".into()),
        StoreError::Gone { .. } => (
            REFUSED,
            "put it back there, or mount the disk that holds it; what you wrote is in the worktrees themselves".into(),
        ),
        StoreError::OtherOwner { .. } => {
            (REFUSED, "set DEPSFS_STORE to a directory of your own; a store is for one user, also for root".into())
        }
        StoreError::Version { .. } => (REFUSED, "use the depsfs that made it, or another store".into()),
        StoreError::NoTree(_) | StoreError::BadTree { .. } => (
            FAILED,
            "depsfs doctor --fix makes it again from the checkout that it came from, if that is unchanged".into(),
        ),
        StoreError::BadPack { .. } | StoreError::NoObject(_) | StoreError::BadObject { .. } => {
            (FAILED, "depsfs doctor --fix brings back what the checkouts still have".into())
        }
        StoreError::NoEntry(_) => (REFUSED, "depsfs store list shows the entries".into()),
        StoreError::EntryName(_) => (USAGE, "give --name".into()),
        StoreError::BadFile { .. } => (FAILED, "move that file away".into()),
        StoreError::Away { .. } => (
            REFUSED,
            "mount the disk that it is on, or run git worktree repair in a repository that was moved, then depsfs mount"
                .into(),
        ),
        StoreError::Busy => (REFUSED, "wait until it is done, then run it again".into()),
        StoreError::Cancelled => (FAILED, "run it again".into()),
        StoreError::Build(_) => (FAILED, "that directory can't be shared as it is".into()),
    }
}

fn import(e: &ImportError) -> (u8, String) {
    match e {
        ImportError::Store(e) => store(e),
        ImportError::Io(e) if e.source.kind() == io::ErrorKind::PermissionDenied => (
            FAILED,
            "have its owner make it readable, or leave its directory out with git config --add depsfs.exclude".into(),
        ),
        ImportError::Io(e) => (FAILED, hints::io(&e.source)),
        ImportError::Changed(_) => (FAILED, "wait until nothing writes there, then run it again".into()),
        ImportError::Cancelled => (FAILED, "run it again".into()),
        ImportError::Refused { .. } => (REFUSED, "fetch or make the archive again; nothing of it was kept".into()),
    }
}

fn cache(e: &CacheError) -> (u8, String) {
    match e {
        CacheError::Io(e) => (FAILED, hints::io(&e.source)),
        CacheError::Store(e) => store(e),
        CacheError::Import(e) => import(e),
        CacheError::Name(_) => (FAILED, "it is one file name, such as noir-0123456789abcdef.tar.gz".into()),
        CacheError::Absent(_) => (FAILED, "nothing was saved; build it first".into()),
        CacheError::Outside(_) => (FAILED, "nothing was saved; go to the directory of the component first".into()),
        CacheError::Changed(_) => (FAILED, "wait until nothing writes there, then run it again".into()),
        CacheError::Host(_) => (FAILED, "set CACHE_SSH_HOST to a host, such as me@build.example.org".into()),
        CacheError::Upload { .. } => (FAILED, "NO_CACHE_UPLOAD=1 saves nothing; CI=0 uploads nothing".into()),
        CacheError::Interrupted => (FAILED, "run it again".into()),
    }
}

fn daemon(e: &DaemonError) -> (u8, String) {
    match e {
        DaemonError::Io(e) => (FAILED, hints::io(&e.source)),
        DaemonError::Store(e) => store(e),
        DaemonError::Busy { .. } => {
            (REFUSED, "end the programs that use it or leave its directories; --lazy detaches all the same".into())
        }
        DaemonError::Stopped { pid, .. } => {
            (FAILED, format!("kill -CONT {pid}; depsfs unmount --lazy takes its views away from everybody"))
        }
        DaemonError::Protocol { .. } => (REFUSED, "depsfs unmount, then depsfs mount".into()),
        DaemonError::Start { .. } | DaemonError::Silent { .. } => (FAILED, "its log says more".into()),
    }
}
