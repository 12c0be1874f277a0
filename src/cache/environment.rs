//! What the build cache's own variables say; the command line reads them.

use std::path::PathBuf;
use std::sync::LazyLock;

/// Found out when it is needed, at most once.
pub type Endpoint = LazyLock<Option<String>, Box<dyn FnOnce() -> Option<String> + Send>>;

/// The settings of one run. `Default`: nothing is set.
pub struct Environment {
    /// `NO_CACHE`: nothing is a hit.
    pub no_cache: bool,
    /// `NO_CACHE_UPLOAD`: nothing is saved.
    pub no_upload: bool,
    /// `CACHE_LOCAL_DIR`: artifacts as files.
    pub local_dir: Option<PathBuf>,
    /// Where what is only uploaded is packed.
    pub temporary: PathBuf,
    /// `CI` is 0 said aloud: what is built here goes to no remote.
    pub is_local: bool,
    /// `CI3_SERVER`: the start of a URL.
    pub server: Option<String>,
    /// `S3_BUILD_CACHE_AWS_PARAMS`: words for `aws`.
    pub aws_params: Option<String>,
    /// `CACHE_SSH_HOST`: what is downloaded is downloaded there.
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
