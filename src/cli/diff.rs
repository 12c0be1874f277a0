//! `depsfs diff`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{DiffAnswer, DifferenceAnswer};
use super::report::Failure;
use super::{output, places};
use crate::sys::terminal::DisplayName;
use crate::views::diff::Difference;
use crate::worktree::relocation;

/// Show what a worktree changed in its views
///
/// One line for each path that is added (A), modified (M) or deleted (D) against the store, relative to the
/// worktree. Files that were relocated and not changed since are left out. A deleted directory is one line. A name with control characters stands in quotes, as git prints it.
#[derive(Args)]
pub struct Diff {
    /// Only what is at or below this path [default: all views of the worktree of the working directory]
    path: Option<PathBuf>,
}

impl Diff {
    pub fn run(self) -> Result<(), Failure> {
        let views = places::views(self.path.as_deref())?;
        let place = self.path.as_deref().unwrap_or(&views.manifest.worktree);
        let mut found = Vec::new();
        for (view, inside) in targets(&views, place)? {
            found.extend(relocation::own_changes(&views, &view, &inside)?);
        }
        let answer = DiffAnswer { changes: found.iter().map(DifferenceAnswer::from).collect() };
        let line = |(kind, path): &(Difference, PathBuf)| format!("{} {}\n", kind.letter(), path.shown());
        output::answer(&answer, || found.iter().map(line).collect())
    }
}

/// A worktree without views has no differences; a path that is in none is an error.
fn targets(
    views: &crate::views::set::Views,
    place: &Path,
) -> Result<Vec<(crate::store::manifest::ViewSpec, PathBuf)>, Failure> {
    if views.manifest.views.is_empty() { Ok(Vec::new()) } else { Ok(views.targets(place)?) }
}
