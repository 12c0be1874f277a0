//! The settings of the build cache, from environment variables and git's configuration; the command line reads them.

use std::path::PathBuf;
use std::sync::LazyLock;

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
    /// `CI3_SERVER`: the start of a URL.
    pub server: Option<String>,
    /// `S3_BUILD_CACHE_AWS_PARAMS`: words for `aws`.
    pub aws_params: Option<String>,
    /// `CACHE_SSH_HOST`: the host on which downloads run.
    pub ssh_host: Option<String>,
    /// `DEPSFS_CACHE_URL`, else git's `depsfs.cacheUrl`: the start of a URL.
    pub endpoint: Endpoint,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            no_cache: false,
            no_upload: false,
            local_dir: None,
            temporary: "/tmp".into(),
            is_local: false,
            server: None,
            aws_params: None,
            ssh_host: None,
            endpoint: LazyLock::new(Box::new(|| None)),
        }
    }
}
