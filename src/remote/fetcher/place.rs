//! The files of a fetcher in its store.

pub use crate::store::{FETCHER_DIR as FOLDER, FETCHER_SOCKET as SOCKET};

/// Its output.
pub const LOG: &str = "log";
/// The remotes that do not answer.
pub const STATE: &str = "state.json";
/// Held by the one fetcher of a store.
pub const LOCK: &str = "lock";
