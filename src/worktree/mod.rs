//! The life of a worktree: planned, created, adopted, synced and removed, with git's worktrees as the base.
//!
//! | file | contents |
//! |------|----------|
//! | `plan`, `create`, `created`, `fit`, `snapshot`, `mtime`, `manifest_builder` | `create`: first everything is checked, then made |
//! | `adopt`, `conflict` | the same for a worktree that exists, and the files in its way |
//! | `branch` | the commit and the branch of a new worktree |
//! | `unfit`, `shape` | artifacts that are not taken, and one view or several |
//! | `copies` | artifacts as plain files (`--copy`) |
//! | `pull_request` | `pr`: the commits of a pull request as the start of a worktree |
//! | `undo`, `unfinished` | a failed create is taken back; the record of a create that was killed |
//! | `copy_checkout` | tracked files copied from the source, if a checkout would write the same bytes |
//! | `recorded_times` | the times of tracked files, as another machine has recorded them |
//! | `at_source` | a mount namespace in which a worktree lies at its source's path |
//! | `relocation/` | files of artifacts that hold the source's absolute path |
//! | `artifacts/` | how components get their artifacts |
//! | `placement/` | where an artifact of the build cache goes |
//! | `sync/` | a worktree's views get what the source has now |
//! | `remove`, `broken`, `sole_holder` | removal, also of broken worktrees, and the work that only one worktree holds |
//! | `find`, `list`, `roots` | the worktrees of a repository: by name or branch, and all; their paths |

pub mod adopt;
pub mod artifacts;
pub mod at_source;
pub mod branch;
pub mod broken;
mod conflict;
pub(crate) mod copies;
mod copy_checkout;
pub mod create;
mod created;
mod error;
pub mod find;
mod fit;
pub mod list;
mod manifest_builder;
pub mod mtime;
pub mod placement;
pub mod plan;
pub mod pull_request;
pub mod recorded_times;
pub mod relocation;
pub mod remove;
pub mod roots;
pub(crate) mod shape;
pub mod snapshot;
pub mod sole_holder;
pub mod sync;
mod undo;
pub mod unfinished;
mod unfit;

pub use error::{Risk, WorktreeError};
