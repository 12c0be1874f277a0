//! `depsfs exec` and `depsfs shell`: a program where the worktree lies at its source's path as well.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;

use super::report::Failure;
use super::{named, places};
use crate::git::checkout::Checkout;
use crate::git::command::LOCAL_VARIABLES;
use crate::sys::namespace::{self, CommandEnd, Namespace, NamespaceError, Started};
use crate::sys::terminal::DisplayName;
use crate::sys::{interrupt, path, reason};
use crate::views::set::Views;
use crate::worktree::at_source;
use crate::worktree::relocation::AtPath;

/// In the directory for the state of depsfs: where each namespace mounts what only it has.
const PLACE: &str = "namespace";

const EXAMPLES: &str = "Examples:
  depsfs exec fix-login -- ninja -C build
  depsfs exec -- gdb build/app";

/// Run a command where the worktree lies at the source's path as well
///
/// Some formats hold absolute paths in a form that nobody can rewrite: ninja compares hashes of command lines, programs
/// hold the paths of their libraries. In a mount namespace of its own the command finds the worktree at the source's
/// path, with its views and its git: what was built in the source is up to date, an edit rebuilds what depends on it, and
/// the source is out of reach. User, terminal, signals and exit code are those of the command; DEPSFS_WORKTREE is the
/// worktree's own path. An ordinary user needs user namespaces.
///
/// While it runs, relocated text files of the artifacts hold the source's path, and afterwards the worktree's again.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Exec {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    worktree: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const SHELL_EXAMPLES: &str = "Examples:
  depsfs shell fix-login";

/// Start a shell where the worktree lies at the source's path as well
///
/// As depsfs exec with $SHELL, else /bin/sh.
#[derive(Args)]
#[command(after_help = SHELL_EXAMPLES)]
pub struct ShellCommand {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    worktree: Option<PathBuf>,
}

impl Exec {
    /// Runs the command.
    ///
    /// # Errors
    /// As [`execute`].
    pub fn run(self) -> Result<(), Failure> {
        execute(self.worktree.as_deref(), &self.command)
    }
}

impl ShellCommand {
    /// Runs the shell.
    ///
    /// # Errors
    /// As [`execute`].
    pub fn run(self) -> Result<(), Failure> {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh".into());
        execute(self.worktree.as_deref(), &[shell])
    }
}

/// Runs a command in a worktree.
///
/// # Errors
/// [`Failure::Exited`] with its exit code unless that is 0; it could not be started.
pub(super) fn execute(worktree: Option<&Path>, command: &[OsString]) -> Result<(), Failure> {
    interrupt::catch().map_err(Failure::os("catch signals"))?;
    let checkout = named::checkout(worktree)?;
    let views = Views::of(&checkout)?.ok_or_else(|| crate::views::ViewsError::NoViews(checkout.root.clone()))?;
    let source = source_of(&views)?;
    if !views.manifest.views.iter().all(|v| views.is_settled(v)) {
        views.mount()?;
    }
    let place = places::states()?.join(PLACE);
    path::make_private_dirs(&place)?;
    if place.starts_with(&source) {
        let hint = "set XDG_STATE_HOME to a directory outside the source";
        return Err(Failure::Usage("the directory for the state of depsfs lies in the source", hint));
    }
    let here = path::absolute(Path::new("."))?;
    let here = path::canonical(&here).unwrap_or(here);
    let dir = at_source::working_directory(&here, &checkout.root, &source);
    let relocated = AtPath::begin(views, &source)?;
    let ended = start(&checkout, &source, &place, &dir, command)
        .and_then(|mut started| started.wait().map_err(Failure::os("wait for the command")));
    relocated.end()?;
    match ended? {
        CommandEnd::Code(0) => Ok(()),
        CommandEnd::Code(code) => Err(Failure::Exited(code)),
        CommandEnd::Signal(signal) => {
            namespace::end_by(signal);
            Err(Failure::Exited(u8::try_from(signal).unwrap_or(0).saturating_add(128)))
        }
    }
}

/// The path that the worktree gets: that of the checkout its artifacts come from.
fn source_of(views: &Views) -> Result<PathBuf, Failure> {
    let source = views.manifest.source.clone().filter(|source| *source != views.manifest.worktree);
    let hint = "run the command in the worktree itself: it is its own source";
    let source = source.ok_or(Failure::Usage("the worktree has no other checkout as its source", hint))?;
    if !path::is_dir(&source) {
        let why = format!("its source {} is gone", source.shown());
        let hint = "make an empty directory there, or run the command in the worktree itself";
        return Err(Failure::Refused { what: "the command was not started", why, hint });
    }
    Ok(source)
}

fn start(
    checkout: &Checkout,
    source: &Path,
    place: &Path,
    dir: &Path,
    command: &[OsString],
) -> Result<Started, Failure> {
    let attempt = |in_user_namespace| {
        let mut namespace = Namespace::new(in_user_namespace);
        at_source::prepare(&mut namespace, checkout, source, place)?;
        namespace.enter(dir);
        let set: [(&str, &OsStr); 2] = [("DEPSFS_WORKTREE", checkout.root.as_os_str()), ("PWD", dir.as_os_str())];
        Ok::<_, Failure>(namespace.start(command, &set, &LOCAL_VARIABLES))
    };
    let mut started = attempt(false)?;
    // Root in a container may lack the privilege, and still may make a user namespace.
    if let Err(NamespaceError { source, forbidden: None, .. }) = &started
        && source.kind() == std::io::ErrorKind::PermissionDenied
        && crate::sys::process::user() == 0
    {
        started = attempt(true)?;
    }
    started.map_err(|e| {
        let why = format!("cannot {}: {}", e.step.shown(), reason(&e.source));
        match e.forbidden {
            Some(hint) => Failure::Refused { what: "the command was not started", why, hint },
            None => Failure::NotStarted { why, is_absent: e.source.kind() == std::io::ErrorKind::NotFound },
        }
    })
}
