//! The options of a verb that makes a worktree: of `depsfs create`, and of `depsfs pr`.

use std::path::PathBuf;

use clap::Args;

use super::components::{Preview, RemoteArgs};
use super::view_option::ViewOption;

/// How a worktree is made.
#[derive(Args, Clone, Debug, Default)]
pub struct MakeOptions {
    /// Directory of the worktree [default: as git config depsfs.path says, else beside the source checkout]
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Refuse when an artifact would have to be built: lock files differ at BASE-REF, or there is nothing to share
    #[arg(long)]
    pub frozen_only: bool,
    /// Print what would be made, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Prepare the views, but don't mount them
    #[arg(long)]
    pub no_mount: bool,
    /// Copy the artifacts as plain files instead of mounting views: needs no FUSE [default: git config depsfs.mode, else
    /// views]
    #[arg(long, conflicts_with_all = ["no_mount", "allow_other", "view"])]
    pub copy: bool,
    /// Let other users into the views, with the permissions that files have (else they get EACCES)
    #[arg(long)]
    pub allow_other: bool,
    /// Mount one view of the whole worktree, or one for each artifact directory [default: git config depsfs.view, else
    /// worktree if there are more than 16 of them or fusermount3 mounts fewer, else directories]
    #[arg(long, value_enum)]
    pub view: Option<ViewOption>,
    /// Leave tracked files the time of their checkout (git config depsfs.mtimes=false does so always)
    #[arg(long)]
    pub no_mtimes: bool,
    /// Go on when the source has no ignored directory to share
    #[arg(long)]
    pub allow_unbuilt: bool,
    /// Approve the commands that depsfs.toml names, as depsfs approve does
    #[arg(long)]
    pub approve: bool,
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Print the path of the worktree alone on stdout, for scripts; the report is on stderr
    #[arg(long)]
    pub print_path: bool,
}

impl MakeOptions {
    /// As a look at the components of the worktree takes them.
    pub fn preview(&self) -> Preview {
        Preview {
            approve: self.approve,
            no_mount: self.no_mount,
            must_share: !self.allow_unbuilt || self.frozen_only,
            remote: self.remote,
        }
    }
}
