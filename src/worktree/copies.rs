//! `--copy`: the artifacts of a worktree become plain files. When that is wanted, and the copying.

use super::created::Created;
use super::error::WorktreeError;
use super::undo::Undo;
use crate::git::checkout::Checkout;
use crate::git::settings::{Mode, Settings};
use crate::store::plain_copy::CopyMode;
use crate::store::{Progress, Store};
use crate::sys::{interrupt, mount};
use crate::views::copied;
use crate::views::set::Views;

/// Whether the artifacts of a new worktree become plain files: by the command's option, else by the configuration.
///
/// # Errors
/// A configuration that is none of the known words.
pub fn wanted(option: bool, settings: &Settings) -> Result<bool, WorktreeError> {
    Ok(option
        || match settings.mode()? {
            Mode::Views => false,
            Mode::Copy => true,
            Mode::Auto => mount::is_possible().is_err(),
        })
}

/// Copies the artifacts of a worktree whose manifest was written.
///
/// # Errors
/// As [`copied::complete`]; an interruption.
pub fn make(
    store: &Store,
    new: &Checkout,
    created: &Created,
    progress: &dyn Progress,
    undo: &mut Undo<'_>,
) -> Result<(), WorktreeError> {
    if created.views.is_empty() {
        return Ok(());
    }
    let Some(mut views) = Views::of(new)? else { return Ok(()) };
    undo.copies(&views)?;
    let done = copied::complete(&mut views, store, CopyMode::New, progress);
    interrupt::check()?;
    Ok(done?)
}
