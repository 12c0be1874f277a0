//! `depsfs diff`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{DiffAnswer, DifferenceAnswer};
use super::report::Failure;
use super::{named, output, places};
use crate::sys::terminal::DisplayName;
use crate::views::diff::{Difference, Differences};
use crate::views::set::Views;
use crate::worktree::relocation;

const EXAMPLES: &str = "Examples:
  depsfs diff
  depsfs diff node_modules                 # below one path
  depsfs diff fix-login build              # in another worktree";

/// Show what a worktree changed in its views
///
/// One line for each path that is added (A), modified (M) or deleted (D) against the store, relative to the
/// worktree. Files that were relocated and not changed since are left out. A deleted directory is one line. A name with control characters stands in quotes, as git prints it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Diff {
    /// A worktree (its name or branch), then paths in it; or paths as seen from the working directory [default: all
    /// views of the working directory's worktree]
    #[arg(value_name = "WORKTREE|PATH")]
    paths: Vec<PathBuf>,
}

impl Diff {
    /// Each path with the views that it is in.
    fn places(&self) -> Result<Vec<(Views, PathBuf)>, Failure> {
        if self.paths.is_empty() {
            let views = places::views_at(Path::new("."))?;
            let top = views.manifest.worktree.clone();
            return Ok(vec![(views, top)]);
        }
        let places = named::paths(&self.paths)?.or_top();
        places.into_iter().map(|place| Ok((places::views_at(&place)?, place))).collect()
    }

    /// Prints one line for each difference: a letter, and the path from the top of the worktree. No difference is no
    /// line, and exit code 0.
    pub fn run(self) -> Result<(), Failure> {
        let mut found = Vec::new();
        for (views, place) in self.places()? {
            let differences = Differences::of(&views);
            for (view, inside) in targets(&views, &place)? {
                found.extend(relocation::own_changes(&differences, &view, &inside)?);
            }
        }
        let answer = DiffAnswer { changes: found.iter().map(DifferenceAnswer::from).collect() };
        let line = |(kind, path): &(Difference, PathBuf)| format!("{} {}\n", kind.letter(), path.shown());
        output::answer(&answer, || found.iter().map(line).collect())
    }
}

/// A worktree without views has no differences; a path that is in none is an error.
fn targets(views: &Views, place: &Path) -> Result<Vec<(crate::store::manifest::ViewSpec, PathBuf)>, Failure> {
    if views.manifest.views.is_empty() { Ok(Vec::new()) } else { Ok(views.targets(place)?) }
}
