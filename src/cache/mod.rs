//! The build cache: artifacts by name, in the store, in a directory of tarballs, at a remote.
//!
//! | file | what it does |
//! |------|--------------|
//! | `name` | an artifact's name, and its entry's |
//! | `environment` | the variables that steer it |
//! | `fetch` | an artifact becomes an entry of the store: found, or downloaded once for all callers |
//! | `local`, `remote`, `program` | the other locations of artifacts |
//! | `put`, `pack` | files that were built become an artifact |
//!
//! The layer above chooses the paths of an artifact's members in a worktree.

mod environment;
mod error;
mod fetch;
mod local;
mod name;
mod pack;
mod program;
mod put;
mod remote;

pub use environment::{Environment, RemoteRule, RemoteRules};
pub use error::CacheError;
pub use fetch::{exists, fetch, from_team, team_has};
pub use local::sweep;
pub use name::{ArtifactName, Compression};
pub use put::{Put, put};

use crate::store::{Progress, TreeId};

/// Gets each sentence for the user, without a newline at its end.
pub type Say<'a> = dyn Fn(&str) + 'a;

/// The messages and the progress of a run, for the user.
pub struct Reporting<'a> {
    pub say: &'a Say<'a>,
    /// Whether a hit in the local cache is a message.
    pub reports_hits: bool,
    pub progress: &'a dyn Progress,
}

impl Reporting<'_> {
    fn hit(&self, name: &ArtifactName) {
        if self.reports_hits {
            (self.say)(&format!("Local cache hit for {name}."));
        }
    }
}

/// An artifact in the store. Its members are relative to the directory that it was saved from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub name: ArtifactName,
    pub tree: TreeId,
    /// The store's name for it.
    pub entry: String,
}
