//! The settings of the build cache, from environment variables and git's configuration; the command line reads them.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::remote::Team;

/// Resolved at its first use, at most once.
pub type Endpoint = LazyLock<Option<String>, Box<dyn FnOnce() -> Option<String> + Send>>;

/// The settings of one run. `Default`: nothing is set.
pub struct Environment {
    /// `NO_CACHE`: nothing is a hit.
    pub no_cache: bool,
    /// `NO_CACHE_UPLOAD`: nothing is saved.
    pub no_upload: bool,
    /// `CACHE_LOCAL_DIR`: artifacts as files.
    pub local_dir: Option<PathBuf>,
    /// The directory for archives that are only uploaded: packed while there is no `CACHE_LOCAL_DIR`.
    pub temporary: PathBuf,
    /// `CI` is explicitly 0: artifacts that are built here are not uploaded.
    pub is_local: bool,
    /// The remotes whose variables are set, each with the value of its variable. The first one is used.
    pub remotes: Vec<(RemoteRule, String)>,
    /// `DEPSFS_CACHE_URL`, else git's `depsfs.cacheUrl`: the start of a URL.
    pub endpoint: Endpoint,
    /// The team's object stores.
    pub team: Team,
    /// Contents of files may come later, while views show them.
    pub lazy: bool,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            no_cache: false,
            no_upload: false,
            local_dir: None,
            temporary: "/tmp".into(),
            is_local: false,
            remotes: Vec::new(),
            endpoint: LazyLock::new(Box::new(|| None)),
            team: Team::default(),
            lazy: false,
        }
    }
}

/// The remotes that a configuration describes, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteRules {
    #[serde(rename = "remote")]
    pub rules: Vec<RemoteRule>,
}

/// One remote: the environment variable that selects it, and its addresses. None of them ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "program", rename_all = "lowercase", deny_unknown_fields)]
pub enum RemoteRule {
    /// The variable holds the start of a URL; artifacts are below `path` there.
    Curl { variable: String, path: String },
    /// The variable holds the first words of each call of `aws`.
    Aws { variable: String, bucket: String },
    /// The variable holds the host on which `curl` downloads from `url`, and `aws` uploads to `bucket`.
    Ssh { variable: String, bucket: String, url: String },
}

impl RemoteRule {
    /// The environment variable that selects this remote.
    pub fn variable(&self) -> &str {
        match self {
            RemoteRule::Curl { variable, .. } | RemoteRule::Aws { variable, .. } | RemoteRule::Ssh { variable, .. } => {
                variable
            }
        }
    }
}
