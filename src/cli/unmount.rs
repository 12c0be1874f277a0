//! `depsfs unmount`.

use std::path::PathBuf;

use clap::Args;

use super::answers::UnmountAnswer;
use super::report::Failure;
use super::{named, output, places, record};
use crate::daemon::Released;
use crate::sys::proc;
use crate::sys::terminal::DisplayName;
use crate::views::set::Views;

const EXAMPLES: &str = "Examples:
  depsfs unmount
  depsfs unmount fix-login --lazy          # also while a program uses a view
  depsfs unmount --at ./out";

/// Unmount all views of a worktree, or of a directory
///
/// Files that were written stay in the upper directory, as plain files. Refused, with all views still there, while a
/// program uses one.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Unmount {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    #[arg(conflicts_with = "at")]
    worktree: Option<PathBuf>,
    /// A directory that entries are mounted at
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Detach views that are in use: programs that use them can go on
    #[arg(long)]
    lazy: bool,
    /// Print what would be unmounted, and change nothing (that a program uses a view, only root is told)
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Unmount nothing: return when the daemon has ended, after umount(8) has unmounted its last view
    #[arg(long, hide = true, conflicts_with = "lazy")]
    wait: bool,
}

impl Unmount {
    /// Unmounts one worktree's views, or one directory's, and ends its daemon. A view in use refuses all of it, unless
    /// `--lazy`.
    pub fn run(self) -> Result<(), Failure> {
        let views = match &self.at {
            Some(dir) => Views::mounted_at(dir, &places::states()?)?,
            None => named::views(self.worktree.as_deref())?,
        };
        if self.wait {
            return Ok(views.wait_for_end()?);
        }
        let released = match self.dry_run {
            true => views.refuse_all_busy(self.lazy).map(|()| Released::Gone)?,
            false => {
                if views.manifest.views.iter().any(|view| views.is_mounted(view)) {
                    record::begin("unmount", &views.manifest.store);
                    record::concerns(&views.top());
                }
                views.release(self.lazy)?
            }
        };
        let is_copy = views.manifest.is_copy();
        let place = self.at.unwrap_or(views.manifest.worktree);
        let text = match is_copy {
            true => format!("nothing is mounted in {}: its artifacts are plain files\n", place.shown()),
            false => format!("unmounted the views of {}\n", place.shown()),
        };
        let answer = UnmountAnswer { dry_run: self.dry_run, path: place.as_path().into() };
        if self.dry_run {
            return output::answer(&answer, || output::dry(true, text));
        }
        if !self.lazy {
            say_held(released, "it goes on with them as they were");
        }
        output::done_answer("the views were unmounted", &answer, || text)
    }
}

/// Says on stderr who has views all the same, and what becomes of them there.
pub(super) fn say_held(released: Released, then: &str) {
    let holder = match released {
        Released::Gone => return,
        Released::Left => {
            return output::note("note: this shell still shows the views; cd \"$PWD\" shows the plain directory");
        }
        Released::Held(holder) => holder,
    };
    let who = match holder {
        Some(pid) => format!("process {pid} ({})", proc::name(pid).unwrap_or_default().shown()),
        None => "an unknown process".into(),
    };
    output::note(&format!("note: {who} has a copy of the mount in a mount namespace of its own; {then}"));
}
