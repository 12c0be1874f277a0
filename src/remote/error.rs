//! The errors of a remote. An entry that is absent is no error.

use std::path::PathBuf;

use super::secrets::RefusedFile;
use crate::store::StoreError;
use crate::sys::IoError;
use crate::sys::terminal::DisplayName;

/// The bytes of an object; `None` if it is absent.
pub type Fetched = Result<Option<Vec<u8>>, RemoteError>;

/// Why something was not pushed to or read from a remote.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("the remote {} does not answer: {why}", remote.shown())]
    Unreachable { remote: String, why: String },
    #[error("the remote {} refuses access: {why}", remote.shown())]
    Denied { remote: String, why: String },
    #[error("the remote {} is only read: its address is that of a web server", remote.shown())]
    ReadOnly { remote: String },
    #[error("the remote {} has no remote.json: it was not set up", remote.shown())]
    NotSetUp { remote: String },
    #[error("the remote {} has format {found}, this depsfs knows 1", remote.shown())]
    Version { remote: String, found: u32 },
    #[error("the remote {} has a damaged {}: {why}", remote.shown(), key.shown())]
    Damaged { remote: String, key: String, why: String },
    #[error("the entry {} of the remote {} is not used: {why}", key.shown(), remote.shown())]
    Untrusted { remote: String, key: String, why: String },
    #[error("the remote {}: {why}", remote.shown())]
    Spec { remote: String, why: String },
    #[error("no remote is configured")]
    NoRemote,
    #[error("no remote is called {}", .0.shown())]
    UnknownRemote(String),
    #[error("this depsfs was built without remotes (the cargo feature remote)")]
    NotBuilt,
    #[error("files that may hold secrets or paths of this machine are not pushed: {}", first(.0))]
    Refused(Vec<RefusedFile>),
    #[error("{} is not signed: {why}", key.shown())]
    Sign { key: PathBuf, why: String },
    #[error("not all contents are here: {why}")]
    Unfetched { why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("interrupted by a signal")]
    Interrupted,
}

impl From<crate::store::tree::BuildError> for RemoteError {
    fn from(e: crate::store::tree::BuildError) -> RemoteError {
        RemoteError::Store(e.into())
    }
}

/// The first of many, in words.
fn first(refused: &[RefusedFile]) -> String {
    let mut words: Vec<String> = refused.iter().take(8).map(RefusedFile::words).collect();
    if refused.len() > words.len() {
        words.push(format!("and {} more", refused.len() - words.len()));
    }
    words.join(", ")
}
