//! Whether the views of a new worktree are mounted one by one, or as one view of all of it.

use super::error::WorktreeError;
use crate::git::settings::Settings;
use crate::store::manifest::Shape;
use crate::sys::{fusermount, process};

/// The shape of a new worktree: by the command's option, else by the configuration, else the default.
///
/// # Errors
/// A configuration that is none of the known words.
pub fn wanted(option: Option<Shape>, settings: &Settings) -> Result<Shape, WorktreeError> {
    Ok(match option {
        Some(shape) => shape,
        None => settings.view()?.unwrap_or_default(),
    })
}

/// Whether a mount of this shape lets other users in without being asked to: with it, root and containers would see none
/// of the sources. The kernel checks permissions as on other file systems. An ordinary user needs `user_allow_other`.
pub fn lets_others_in(shape: Shape) -> bool {
    shape == Shape::Worktree && (process::user() == 0 || fusermount::allows_other() == Some(true))
}
