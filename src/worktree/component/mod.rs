//! Components: what a repository builds, named by `depsfs.toml` and by the user's own configuration.
//!
//! | file | what it does |
//! |------|--------------|
//! | `config`, `pattern`, `template`, `order` | `depsfs.toml`: its keys, patterns and names |
//! | `init` | a first `depsfs.toml`, of what lies in a checkout |
//! | `load`, `declared`, `approve` | those of a checkout and of its user; which commands may run |
//! | `key`, `files` | what artifacts depend on |
//! | `decide`, `choose`, `foresee` | which way each comes to its artifacts, in a worktree and before there is one |
//! | `bring`, `build`, `freeze`, `give_up`, `record` | it is done, kept for the next worktree, and remembered |

pub mod approve;
pub mod bring;
mod build;
pub mod choose;
pub mod config;
pub mod decide;
pub mod declared;
mod error;
mod files;
pub mod foresee;
pub mod freeze;
pub mod give_up;
pub mod init;
pub mod key;
pub mod load;
mod order;
mod pattern;
pub mod record;
mod template;

pub use config::{AbsolutePaths, Component, Config, ConfigError, FILE, Key, Undeclared};
pub use declared::{Components, Declared, Identity};
pub use error::Error;
pub use files::Files;
pub use key::{Keyed, Keys};
