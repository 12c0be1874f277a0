//! `depsfs mount`.

use std::path::PathBuf;

use clap::Args;

use super::output::{self, count};
use super::places;
use super::report::Failure;
use crate::worktree::at;

/// Mount the views of a worktree, or entries of the store at a directory
///
/// Ready when the command returns; harmless when all is mounted already. With --at, the named entries are mounted as
/// one view at a directory, without git; where they hold the same path, the later one wins.
#[derive(Args)]
pub struct Mount {
    /// The worktree [default: the one of the working directory]; with --at, names of entries
    #[arg(value_name = "WORKTREE|ENTRY")]
    what: Vec<PathBuf>,
    /// Mount entries here; the directory is made when absent
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
}

impl Mount {
    pub fn run(self) -> Result<(), Failure> {
        let Some(dir) = &self.at else {
            if self.what.len() > 1 {
                return Err(Failure::Usage("several entries need a directory", "give --at <dir>"));
            }
            let views = places::views(self.what.first().map(PathBuf::as_path))?;
            views.mount()?;
            let (n, root) = (views.manifest.views.len() as u64, views.manifest.worktree.display());
            return output::print(&format!("mounted {} in {root}\n", count(n, "view")));
        };
        if self.what.is_empty() {
            return Err(Failure::Usage("no entry is named", "depsfs store list shows the entries"));
        }
        let names: Vec<String> = self.what.iter().map(|n| n.to_string_lossy().into_owned()).collect();
        at::mount(&places::store()?, &names, dir, &places::states()?)?;
        output::print(&format!("mounted {} at {}\n", names.join(", "), dir.display()))
    }
}
