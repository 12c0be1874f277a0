//! How a view is mounted, beside where.

use serde::{Deserialize, Serialize};

/// The mount's source, which has no meaning but is shown beside it, and the type's second half.
pub(super) const SOURCE: &str = "depsfs";

/// How a view is mounted, beside where. Set-user-id bits and devices never have an effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Other users may enter, with the permissions that files have.
    pub allow_other: bool,
    pub read_only: bool,
    /// Programs in it can't be run.
    pub no_exec: bool,
    /// The source that the kernel's table shows instead of `depsfs`.
    pub fsname: Option<String>,
}

impl Options {
    /// The source field of the kernel's mount table: `fsname` if the caller set one, else [`SOURCE`].
    pub(super) fn source(&self) -> &str {
        self.fsname.as_deref().unwrap_or(SOURCE)
    }
}
