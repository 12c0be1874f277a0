//! The answers of verbs about the team's remotes.

use schemars::JsonSchema;
use serde::Serialize;

use super::{ComponentAnswer, JsonPath};

/// `depsfs push`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PushAnswer {
    /// Nothing was sent.
    pub dry_run: bool,
    /// The remote's address, without credentials, and the line.
    pub to: String,
    pub line: String,
    pub entries: Vec<PushedAnswer>,
    pub requests: u64,
    pub bytes_sent: u64,
}

/// One entry of a push.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PushedAnswer {
    pub name: String,
    /// It was there, and stays as it is.
    pub was_there: bool,
    /// The reason why the entry that is there cannot be used; its name stays taken.
    pub unusable: Option<String>,
    /// Files whose bytes the remote did not have.
    pub new_files: u64,
    pub new_bytes: u64,
}

/// `depsfs fetch`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FetchAnswer {
    pub components: Vec<ComponentAnswer>,
    /// The commit whose artifact directories were brought, if any, and these.
    pub commit: Option<String>,
    pub directories: Vec<JsonPath>,
    pub requests: u64,
    pub bytes_received: u64,
}

/// `depsfs remote list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoteListAnswer {
    pub remotes: Vec<RemoteAnswer>,
}

/// One remote.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoteAnswer {
    pub name: String,
    /// Its address, without credentials.
    pub url: String,
    /// It stands in the user's own configuration.
    pub own: bool,
    /// It may be used.
    pub approved: bool,
}

/// `depsfs remote init`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoteInitAnswer {
    pub name: String,
    pub url: String,
    /// It was set up before.
    pub was_there: bool,
}

/// `depsfs remote check`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoteCheckAnswer {
    pub name: String,
    pub url: String,
    pub writable: bool,
    /// Why it is not writable.
    pub because: Option<String>,
    pub keep_days: u32,
    /// Entries without a signature by an allowed signer are not used.
    pub signed: bool,
}

/// `depsfs remote prune`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemotePruneAnswer {
    /// Nothing was deleted.
    pub dry_run: bool,
    pub objects: u64,
    pub bytes: u64,
}
