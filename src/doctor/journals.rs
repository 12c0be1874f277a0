//! Journals that were damaged: their copies are there until the user removes them.

use std::path::PathBuf;

use super::{DoctorFacts, Row, is_in_fuse};
use crate::store::Manifest;
use crate::sys::terminal::{DisplayName, shell_word};
use crate::views::set::{self, Views};

/// A row for each journal that was found damaged, by the copy that was kept of it; one row if there is none.
pub fn rows(sight: &DoctorFacts) -> Vec<Row> {
    let mut dirs: Vec<PathBuf> = sight.worktrees().map(|(dir, _)| dir).collect();
    let mut rows = Vec::new();
    for at in sight.states.iter().map(|states| set::all_at(states)) {
        match at {
            Ok(at) => dirs.extend(at),
            Err(e) => rows.push(Row::fail("journals", e.to_string(), "look at that file or directory")),
        }
    }
    dirs.sort();
    dirs.dedup();
    dirs.retain(|dir| !is_in_fuse(&sight.mounts, dir));
    for state_dir in dirs {
        // An unreadable manifest is the subject of another check.
        let Ok(manifest) = Manifest::load(&set::manifest_file(&state_dir)) else { continue };
        let views = Views { state_dir, manifest };
        for view in &views.manifest.views {
            rows.extend(views.damaged(view).into_iter().map(|copy| row(&views.place(view), &copy)));
        }
    }
    if rows.is_empty() { vec![Row::ok("journals", "none was damaged")] } else { rows }
}

fn row(place: &std::path::Path, copy: &std::path::Path) -> Row {
    let words = format!(
        "the journal of {} was damaged: files that were deleted, moved or changed there may be as in the store again",
        place.shown()
    );
    let remedy = format!(
        "depsfs diff {} shows the changes that are left; when you have compared them: rm {}",
        shell_word(place),
        shell_word(copy)
    );
    Row::warn("journals", words, remedy)
}
