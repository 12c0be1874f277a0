//! depsfs gives a git worktree its artifact directories at once: FUSE views of one shared store.
//!
//! Layers look one way only; a layer may skip down, never up (`tests/layers.rs` holds this):
//!
//! ```text
//! cli → {worktree, cache} → daemon → fuse → overlay → store → sys
//! ```

pub mod cli;
pub mod daemon;
pub mod fuse;
pub mod overlay;
pub mod store;
pub mod sys;
pub mod worktree;
