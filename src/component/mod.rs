//! Components: what a repository builds, as `depsfs.toml` and the user's own configuration declare it, and their keys.
//!
//! | file | contents |
//! |------|----------|
//! | `config`, `pattern`, `template`, `order` | `depsfs.toml`: its keys, patterns and names |
//! | `init`, `tools` | a first `depsfs.toml`, from the files of a checkout |
//! | `load`, `declared`, `foreign`, `approve` | the components of a checkout and of its user, and which commands may run |
//! | `key`, `files` | the inputs of artifacts, as a key |
//! | `record` | `components.json`: the artifacts that a worktree's components have |
//!
//! Nothing is built or fetched here: that is `worktree/artifacts`.

pub(crate) mod approve;
pub(crate) mod config;
pub(crate) mod declared;
mod error;
pub(crate) mod files;
mod foreign;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod load;
mod order;
mod pattern;
pub mod record;
pub(crate) mod template;
mod tools;

pub(crate) use config::{BuildPaths, Config, ConfigError, Undeclared};
pub(crate) use declared::{Components, Declared, Identity};
pub(crate) use error::{ComponentError, NO_DIRECTORY_HINT};
