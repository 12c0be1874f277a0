//! `depsfs fetcher`, which other processes of depsfs start: it brings contents of files that are not here yet.

use std::path::{Path, PathBuf};

use clap::Args;

use super::places;
use super::report::Failure;
use crate::component::declared::limits_of_remotes;
use crate::remote::fetcher::{self, FetcherOptions};
use crate::sys::log::OrWarn;
use crate::sys::{interrupt, memory, process};

/// Bring contents that views wait for, until there is nothing to do
#[derive(Args)]
pub struct FetcherCommand {
    /// The store that they come into
    #[arg(long, value_name = "PATH")]
    store: PathBuf,
}

impl FetcherCommand {
    /// Runs it.
    ///
    /// # Errors
    /// The store cannot be opened, or the fetcher's socket not be made.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        process::set_name(c"depsfs-fetcher");
        memory::keep_little();
        // No mount and no worktree is in use by it.
        process::enter(Path::new("/")).map_err(crate::remote::RemoteError::from)?;
        // Without its configuration, the defaults are better than no contents.
        let file = places::user().config;
        let limits = file.and_then(|file| limits_of_remotes(&file).or_warn("the limits of remotes are not known"));
        Ok(fetcher::run(&self.store, FetcherOptions::from_environment(limits.unwrap_or_default()))?)
    }
}
