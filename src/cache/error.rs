//! The errors of the build cache. A miss is no error.

use std::path::PathBuf;

use crate::remote::RemoteError;
use crate::store::StoreError;
use crate::store::import::ImportError;
use crate::sys::IoError;
use crate::sys::terminal::DisplayName;

/// The reason why an artifact was not fetched, imported or uploaded. The store keeps what was complete before.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("{} cannot be an artifact's name", .0.shown())]
    Name(String),
    #[error("{} does not exist", .0.shown())]
    Absent(PathBuf),
    #[error("{} does not lie in the working directory", .0.shown())]
    Outside(PathBuf),
    #[error("{} changed while it was read", .0.shown())]
    Changed(PathBuf),
    #[error("{variable} is {}, which is no host: it begins as an option does", .host.shown())]
    Host { variable: String, host: String },
    #[error("{program} could not upload the artifact: {words}")]
    Upload { program: &'static str, words: String },
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("interrupted by a signal")]
    Interrupted,
}
