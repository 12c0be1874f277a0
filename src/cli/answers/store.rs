//! The answers of verbs about the store, the build cache, and the configuration.

use schemars::JsonSchema;
use serde::Serialize;

use super::{JsonPath, ReasonAnswer};
use crate::store::Entry;
use crate::sys::url;

/// `depsfs store add`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoreAddAnswer {
    pub name: String,
    pub files: u64,
    pub bytes: u64,
    /// Members that are not in the entry.
    pub left_out: Vec<ReasonAnswer>,
}

/// `depsfs store list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoreListAnswer {
    pub entries: Vec<EntryAnswer>,
}

/// An entry of the store.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntryAnswer {
    pub name: String,
    /// The id of its tree.
    pub tree: String,
    pub files: u64,
    pub bytes: u64,
    /// A path, percent-encoded, or an address without its credentials.
    pub source: String,
    /// RFC 3339, UTC.
    pub created: String,
}

impl From<&Entry> for EntryAnswer {
    fn from(entry: &Entry) -> EntryAnswer {
        let of = &entry.provenance;
        EntryAnswer {
            name: entry.name.clone(),
            tree: entry.tree.hex(),
            files: of.files,
            bytes: of.bytes,
            source: url::public(&of.source),
            created: of.created.clone(),
        }
    }
}

/// `depsfs store remove`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoreRemoveAnswer {
    /// The names of the entries.
    pub removed: Vec<String>,
}

/// `depsfs store verify`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoreVerifyAnswer {
    pub sound: bool,
    pub damaged: Vec<DamageAnswer>,
    /// Objects that trees need, that are not here yet, and that a remote has.
    pub absent: u64,
}

/// A part of the store that is damaged or missing.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DamageAnswer {
    pub path: JsonPath,
    /// The path and the damage, for people.
    pub words: String,
}

/// `depsfs cache get`, when it is no miss.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CacheGetAnswer {
    pub name: String,
    /// Views that show members now.
    pub views: Vec<JsonPath>,
    /// Plain files that were written.
    pub files: u64,
    /// Paths of members that stay as they are: something else was there.
    pub kept: Vec<JsonPath>,
}

/// `depsfs cache put`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CachePutAnswer {
    pub name: String,
    /// The reason why nothing was saved.
    pub skipped: Option<String>,
    /// The tarball in `CACHE_LOCAL_DIR`.
    pub file: Option<JsonPath>,
    pub uploaded: bool,
}

/// `depsfs cache exists`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CacheExistsAnswer {
    pub name: String,
    pub found: bool,
}

/// `depsfs approve`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApproveAnswer {
    /// The approval was taken back.
    pub withdrawn: bool,
    /// Commands that need approval, each with the directory that it runs in.
    pub commands: Vec<String>,
}

/// `depsfs init`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InitAnswer {
    pub file: JsonPath,
    /// False with `--print`.
    pub written: bool,
    /// The file's text.
    pub text: String,
}

/// `depsfs service install`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServiceInstallAnswer {
    pub unit: JsonPath,
    /// Whether systemd runs it now and at each login.
    pub enabled: bool,
}

/// `depsfs service uninstall`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServiceUninstallAnswer {
    pub unit: JsonPath,
    /// The unit was there, and is removed.
    pub removed: bool,
}
