//! The hint and the exit code of each failure: one function for each layer's errors, without a wildcard arm.

use std::io;

use super::hints;
use super::report::Failure;
use crate::cache::CacheError;
use crate::component;
use crate::daemon::DaemonError;
use crate::git::command::GitError;
use crate::git::ignored::IgnoredError;
use crate::git::submodule::SubmoduleError;
use crate::remote::RemoteError;
use crate::store::import::ImportError;
use crate::store::{FileKind, StoreError};
use crate::worktree::mtime::MtimeError;
use crate::worktree::{self, WorktreeError};
use crate::{git, views};

/// Views can't be mounted on this machine.
const NO_MOUNTS_HINT: &str = "depsfs create --copy and adopt --copy make plain files, without views; depsfs doctor names what is missing for views; nothing was made";

/// The exit code of a failure.
pub const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// The exit code of a refusal: nothing was changed.
pub const REFUSED: u8 = 3;

/// The exit code and the hint of every failure there is.
pub fn judge(failure: &Failure) -> (u8, String) {
    match failure {
        Failure::Worktree(e) => worktree(e),
        Failure::Store(e) => store(e),
        Failure::Import(e) => import(e),
        Failure::Cache(e) => cache(e),
        Failure::Remote(e) => remote(e),
        Failure::Missed => (FAILED, "build it; depsfs cache put saves it for the next worktree".into()),
        Failure::Exited(code) => (*code, String::new()),
        Failure::NotStarted { is_absent: true, .. } => {
            (127, "check its name and PATH: the command runs where the worktree lies at the source's path".into())
        }
        Failure::NotStarted { is_absent: false, .. } => (126, "depsfs doctor checks this machine".into()),
        Failure::Damaged(_) => {
            (FAILED, "depsfs doctor --fix takes damaged objects away and reads the checkouts again".into())
        }
        Failure::ViewsMissing => (FAILED, "depsfs mount mounts those that are not mounted".into()),
        Failure::Declined => (0, String::new()),
        Failure::NotConfirmed => (REFUSED, "give --yes to confirm".into()),
        Failure::NoHome => (USAGE, "set HOME, or DEPSFS_STORE and XDG_STATE_HOME, to absolute paths".into()),
        Failure::RelativeStore(_) => (
            USAGE,
            "set DEPSFS_STORE to an absolute path: a relative one would be another store in each directory".into(),
        ),
        Failure::Refused { hint, .. } => (REFUSED, (*hint).into()),
        Failure::Usage(_, hint) => (USAGE, (*hint).into()),
        Failure::NoHelp { similar, .. } => (USAGE, hints::help(similar.as_deref())),
        Failure::MountOption(_) => (USAGE, "depsfs mount --help lists the options".into()),
        Failure::Unwell(_) => {
            (FAILED, "each line above names its remedy; depsfs doctor --fix applies those marked so".into())
        }
        Failure::NotAll { .. } => (FAILED, "the others are mounted; depsfs doctor names the causes".into()),
        Failure::Systemd(_) => (FAILED, "journalctl --user -u depsfs shows its log".into()),
        Failure::Io(e) => (FAILED, hints::io(&e.source)),
        Failure::Os { source, .. } => (FAILED, hints::io(source)),
        Failure::Output(e) => (FAILED, hints::output(e)),
        Failure::Unreported { source, .. } => {
            (FAILED, format!("{}; the work itself is done and stays", hints::output(source)))
        }
    }
}

fn worktree(e: &WorktreeError) -> (u8, String) {
    match e {
        WorktreeError::Io(e) => (FAILED, hints::io(&e.source)),
        WorktreeError::Git(e) => of_git(e),
        WorktreeError::Views(e) => of_views(e),
        WorktreeError::Mtime(MtimeError::Git(e)) => git(e),
        WorktreeError::Mtime(MtimeError::Io(e)) => (FAILED, hints::io(&e.source)),
        WorktreeError::Component(e) => component(e),
        WorktreeError::Store(e) => store(e),
        WorktreeError::Import(e) => import(e),
        WorktreeError::Daemon(e) => daemon(e),
        WorktreeError::PathTaken(_) => (REFUSED, "choose another name, or move that file or directory away".into()),
        WorktreeError::BeingMade(_) => (REFUSED, "wait until that create has ended, then run it again".into()),
        WorktreeError::BranchTaken(_) => (REFUSED, "omit the base-ref to check it out, or give another name with --branch".into()),
        WorktreeError::BranchInUse { .. } => (REFUSED, "give another branch with --branch".into()),
        WorktreeError::BranchInTheWay { .. } => (REFUSED, "git cannot have both: give another branch with --branch".into()),
        WorktreeError::AtSeveralRemotes { .. } => {
            (REFUSED, "give one as the base-ref, such as origin/NAME, or set git config checkout.defaultRemote".into())
        }
        WorktreeError::NoBase(_) => (REFUSED, "git branch --all lists the branches; a remote's is written origin/main".into()),
        WorktreeError::Fetch { .. } => (FAILED, "nothing was made; git remote -v shows the address of the remote".into()),
        WorktreeError::NoRemote(_) => (REFUSED, "git remote -v lists the remotes; --remote names one".into()),
        WorktreeError::NoPullRequest { .. } => {
            (REFUSED, "look at the number; --remote names another remote; git remote -v lists them".into())
        }
        WorktreeError::Unbuilt(_) => (REFUSED, "build the source first, or give --allow-unbuilt".into()),
        WorktreeError::WouldBuild(_) => {
            (REFUSED, "omit --frozen-only, or choose a base-ref with the same lock files".into())
        }
        WorktreeError::Interrupted(_) => (FAILED, "run it again".into()),
        WorktreeError::Unpublished { source, .. } => worktree(source),
        WorktreeError::Undone { source, left, .. } => {
            let (_, hint) = worktree(source);
            (FAILED, if left.is_empty() { format!("everything made so far has been taken back; {hint}") } else { hint })
        }
        WorktreeError::Broken { .. } => (
            REFUSED,
            "depsfs doctor names the missing parts; git worktree repair or depsfs doctor --fix restores them where possible"
                .into(),
        ),
        WorktreeError::NoWorktree(_) => (REFUSED, "depsfs list shows the worktrees, with their branches".into()),
        WorktreeError::Ambiguous { .. } => {
            (REFUSED, "give a path, such as ./NAME or the whole path of a worktree; refs/heads/NAME is a branch".into())
        }
        WorktreeError::IsMain(_) => (REFUSED, "only linked worktrees have views and can be removed; git worktree list shows them".into()),
        WorktreeError::IsSource(_) => (REFUSED, "name a linked worktree, or another --source".into()),
        WorktreeError::OtherRepository { .. } => (REFUSED, "git worktree list shows the worktrees of a repository".into()),
        WorktreeError::HasViews { .. } => {
            (REFUSED, "depsfs status lists them; omit --source to mount them".into())
        }
        WorktreeError::NoSource(_) => (REFUSED, "name a built worktree of it with --source".into()),
        WorktreeError::WouldLose { risks, .. } => (REFUSED, format!("keep a copy elsewhere first; {} removes the worktree with it", flags(risks))),
        WorktreeError::Locked { .. } => (REFUSED, "git worktree unlock removes the lock".into()),
    }
}

fn of_git(e: &git::RepositoryError) -> (u8, String) {
    use git::RepositoryError as Error;
    match e {
        Error::Command(e) | Error::Ignored(IgnoredError::Git(e)) => git(e),
        Error::Submodule(SubmoduleError::Git(e)) => git(e),
        Error::Io(e) | Error::Ignored(IgnoredError::Io(e)) => (FAILED, hints::io(&e.source)),
        Error::Submodule(SubmoduleError::Io(e)) => (FAILED, hints::io(&e.source)),
        Error::Submodule(SubmoduleError::Nameless(_) | SubmoduleError::Ambiguous(_) | SubmoduleError::Name { .. }) => {
            (REFUSED, "git show COMMIT:.gitmodules shows it; nothing of that submodule was run or fetched".into())
        }
        Error::Naming(_) => (USAGE, "depsfs create --help explains how names are made".into()),
        Error::Pattern(e) if e.place == crate::git::include::FILE => {
            (USAGE, "correct it at the top of the source checkout; its patterns are those of .gitignore".into())
        }
        Error::Pattern(_) => {
            (USAGE, "git config --show-origin --get-all depsfs.exclude names the file to correct".into())
        }
        Error::Setting(_) => (USAGE, "git config --show-origin --get-regexp ^depsfs names the file to correct".into()),
        Error::NotACheckout(_) => (REFUSED, "go to a checkout of the repository first".into()),
        Error::Bare(_) => (REFUSED, "go to one of its worktrees: git worktree list shows them".into()),
    }
}

fn of_views(e: &views::ViewsError) -> (u8, String) {
    use views::ViewsError as Error;
    match e {
        Error::Io(e) => (FAILED, hints::io(&e.source)),
        Error::Git(e) => of_git(e),
        Error::Store(e) => store(e),
        Error::Import(e) => import(e),
        Error::Daemon(e) => daemon(e),
        Error::Interrupted(_) => (FAILED, "run it again".into()),
        Error::Remote(e) => remote(e),
        Error::Overlay(e) => (FAILED, hints::overlay(e)),
        Error::View { hint, .. } => (FAILED, (*hint).into()),
        Error::TooManyViews { .. } => (
            REFUSED,
            "depsfs doctor shows the limit (mount_max); git config --add depsfs.exclude leaves directories out".into(),
        ),
        Error::NoViews(_) => (REFUSED, "depsfs create makes a worktree with views, depsfs adopt gives it some".into()),
        Error::NothingAt(_) => (REFUSED, "findmnt lists every mount; those of depsfs are named so".into()),
        Error::NotInView(_) => (REFUSED, "depsfs status lists the views".into()),
        Error::Absent(_) => (REFUSED, "depsfs diff lists deleted files; depsfs reset restores one of them".into()),
        Error::Busy { .. } => (REFUSED, "end the programs that use it, or leave its directories".into()),
        Error::NotEmpty(_) => (REFUSED, "name an empty directory, or one that is absent".into()),
        Error::Beneath { .. } => (REFUSED, "give a workdir that lies elsewhere".into()),
        Error::Overlap(..) => (REFUSED, "give directories of which none lies in another".into()),
        Error::OtherUpper { .. } => (REFUSED, "give another workdir: it has the journal of one upper".into()),
        Error::NoState => (USAGE, "give a workdir, or set HOME".into()),
        Error::MountedElsewhere(_) => (REFUSED, "depsfs unmount --at that directory, then run it again".into()),
        Error::IsCopy(_) => (REFUSED, "depsfs mount makes views of the plain files; your changes stay".into()),
        Error::NoMounts(_) => (FAILED, NO_MOUNTS_HINT.into()),
        Error::OtherStore(_) => (REFUSED, "set DEPSFS_STORE to that store".into()),
        Error::Unreadable(_) => (FAILED, "depsfs unmount, then depsfs mount, starts the daemon of this version".into()),
    }
}

fn component(e: &component::ComponentError) -> (u8, String) {
    use component::ComponentError as Error;
    match e {
        Error::Config(_) => (USAGE, "depsfs help components lists its keys; so does depsfs init --schema".into()),
        Error::Io(e) => (FAILED, hints::io(&e.source)),
        Error::Git(e) => git(e),
        Error::Views(e) => of_views(e),
        Error::Unapproved { .. } => {
            (REFUSED, "look at them, then run depsfs approve, or give --approve; nothing was run".into())
        }
        Error::Build { hint, .. } => (FAILED, (*hint).into()),
        Error::WouldBuild(_) => (REFUSED, "omit --frozen-only, or choose a base-ref with existing artifacts".into()),
        Error::Fetch { source, .. } => cache(source),
        Error::Publish { hint, .. } => (REFUSED, (*hint).into()),
        Error::Record { .. } => (
            FAILED,
            "move that file away: depsfs sync then compares every component again; nothing else is lost".into(),
        ),
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
            (FAILED, "raise the limits on processes and descriptors (ulimit -a; a container's pids limit)".into())
        }
        GitError::Absent(_) => (FAILED, "install git, or add its directory to PATH".into()),
        GitError::Failed { .. } => {
            (FAILED, "these are git's own words: remove the cause that git names, then run it again".into())
        }
        GitError::TooOld { .. } => (REFUSED, "install a newer git, or put one first in PATH; nothing was made".into()),
        GitError::Unreadable { .. } => (FAILED, "depsfs doctor checks git and its version".into()),
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
            "move it back, or mount the disk that holds it; your own files are in the worktrees themselves".into(),
        ),
        StoreError::OtherOwner { .. } => {
            (REFUSED, "set DEPSFS_STORE to a directory of your own; a store is for one user, also for root".into())
        }
        StoreError::Version { .. } => (REFUSED, "use the depsfs that made it, or set DEPSFS_STORE to another store".into()),
        StoreError::NoTree(_) | StoreError::BadTree { .. } => (
            FAILED,
            "depsfs doctor --fix imports it again from the checkout that it came from, if that is unchanged".into(),
        ),
        StoreError::BadPack { .. } | StoreError::NoObject(_) | StoreError::BadObject { .. } => {
            (FAILED, "depsfs doctor --fix restores it from the checkouts that still have the file".into())
        }
        StoreError::Absent { .. } | StoreError::NotFetched { .. } => {
            (FAILED, "depsfs remote check shows whether the remote answers; then run it again".into())
        }
        StoreError::NoEntry(_) => (REFUSED, "depsfs store list shows the entries".into()),
        StoreError::EntryName(_) => (USAGE, "give another name with --name".into()),
        StoreError::BadFile { kind, .. } => (FAILED, bad_file(*kind).into()),
        StoreError::Away { .. } => (
            REFUSED,
            "mount the disk that it is on, or run git worktree repair in a repository that was moved, then depsfs mount"
                .into(),
        ),
        StoreError::Busy => (REFUSED, "wait until that has ended, then run it again".into()),
        StoreError::Cancelled => (FAILED, "run it again".into()),
        StoreError::Build(_) => (FAILED, "a tree cannot hold that directory: exclude a part of it with depsfs.exclude".into()),
    }
}

fn bad_file(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Manifest => {
            "use the depsfs that wrote it, or restore it from a backup; your own files are in the worktree itself"
        }
        FileKind::Root => "depsfs mount in each worktree writes its root again; gc deletes nothing until then",
        FileKind::Entry => "depsfs store add with the same name replaces it",
        FileKind::Pack => "depsfs doctor --fix removes the damaged objects and reads the checkouts again",
    }
}

fn import(e: &ImportError) -> (u8, String) {
    match e {
        ImportError::Store(e) => store(e),
        ImportError::Io(e) if e.source.kind() == io::ErrorKind::PermissionDenied => (
            FAILED,
            "have its owner make it readable, or exclude its directory with git config --add depsfs.exclude".into(),
        ),
        ImportError::Io(e) => (FAILED, hints::io(&e.source)),
        ImportError::Changed(_) => {
            (FAILED, "end the program that writes there, or wait for it, then run it again".into())
        }
        ImportError::Cancelled => (FAILED, "run it again".into()),
        ImportError::Refused { .. } => (REFUSED, "fetch or make the archive again; nothing of it was kept".into()),
    }
}

fn cache(e: &CacheError) -> (u8, String) {
    match e {
        CacheError::Io(e) => (FAILED, hints::io(&e.source)),
        CacheError::Store(e) => store(e),
        CacheError::Import(e) => import(e),
        CacheError::Name(_) => (FAILED, "give one file name, such as noir-0123456789abcdef.tar.gz".into()),
        CacheError::Absent(_) => (FAILED, "nothing was saved; build it, then run it again".into()),
        CacheError::Outside(_) => (FAILED, "nothing was saved; run it in the directory of the component".into()),
        CacheError::Changed(_) => (FAILED, "wait until nothing writes there, then run it again".into()),
        CacheError::Host { variable, .. } => {
            (FAILED, format!("set {variable} to a host, such as me@build.example.org"))
        }
        CacheError::Upload { .. } => {
            (FAILED, "look at the network and the credentials; with CI=0 nothing is uploaded".into())
        }
        CacheError::Remote(e) => remote(e),
        CacheError::Interrupted => (FAILED, "run it again".into()),
    }
}

fn remote(e: &RemoteError) -> (u8, String) {
    match e {
        RemoteError::Unreachable { .. } => {
            (FAILED, "depsfs remote check tests it; --no-remote goes on without it".into())
        }
        RemoteError::Denied { .. } => (
            FAILED,
            "look at AWS_ACCESS_KEY_ID and AWS_PROFILE (aws sso login renews a session); --no-remote goes on without it"
                .into(),
        ),
        RemoteError::ReadOnly { .. } => {
            (REFUSED, "give a remote of your own its bucket's address, and write there: depsfs help remote".into())
        }
        RemoteError::NotSetUp { .. } => (REFUSED, "depsfs remote init sets it up, once for the whole team".into()),
        RemoteError::Version { .. } => (REFUSED, "take a newer depsfs; --no-remote goes on without it".into()),
        RemoteError::Damaged { .. } | RemoteError::Untrusted { .. } => {
            (FAILED, "nothing of it was used; push the artifact under another commit or key".into())
        }
        RemoteError::Spec { .. } => (USAGE, "depsfs help remote lists the keys of a remote".into()),
        RemoteError::NoRemote => (USAGE, "name one in depsfs.toml or in your own config.toml: depsfs help remote".into()),
        RemoteError::UnknownRemote(_) => (USAGE, "depsfs remote list lists them".into()),
        RemoteError::NotBuilt => (REFUSED, "cargo install --features remote builds one with remotes".into()),
        RemoteError::Refused(_) => {
            (REFUSED, "nothing was pushed; leave them out of the artifact, or allow them by name with --allow".into())
        }
        RemoteError::Sign { .. } => (FAILED, "nothing was named; ssh-add -l lists the keys of your agent".into()),
        RemoteError::Store(e) => store(e),
        RemoteError::Io(e) => (FAILED, hints::io(&e.source)),
        RemoteError::Unfetched { .. } => {
            (FAILED, "depsfs remote check tests the remote; depsfs fetch brings the rest once it answers".into())
        }
        RemoteError::Interrupted => (FAILED, "run it again: what was sent is not sent again".into()),
    }
}

fn daemon(e: &DaemonError) -> (u8, String) {
    match e {
        DaemonError::Io(e) => (FAILED, hints::io(&e.source)),
        DaemonError::Store(e) => store(e),
        DaemonError::Busy { .. } => {
            (REFUSED, "end the programs that use it, or leave its directories; --lazy detaches it all the same".into())
        }
        DaemonError::Stopped { pid, .. } => {
            (FAILED, format!("kill -CONT {pid} lets it go on; depsfs unmount --lazy detaches its views"))
        }
        DaemonError::Protocol { .. } => (REFUSED, "depsfs unmount, then depsfs mount".into()),
        DaemonError::Start { .. } => {
            (FAILED, "the end of its log names the cause; depsfs doctor checks the machine; then depsfs mount".into())
        }
        DaemonError::Hung { .. } => {
            (FAILED, "go to another directory; depsfs doctor --fix there ends the connection and mounts it anew".into())
        }
        DaemonError::Silent { .. } => (
            FAILED,
            "the end of its log names the step it waits for; depsfs unmount --lazy, then depsfs mount, starts another"
                .into(),
        ),
    }
}
