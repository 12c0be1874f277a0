//! Components: what a repository builds, named by `depsfs.toml` and by the user's own configuration.
//!
//! | file | what it does |
//! |------|--------------|
//! | `config`, `pattern`, `template`, `order` | `depsfs.toml`: its keys, patterns and names |
//! | `load`, `declared`, `approve` | those of a checkout and of its user; which commands may run |
//! | `key`, `files` | what artifacts depend on |

pub mod approve;
pub mod config;
pub mod declared;
mod error;
mod files;
pub mod key;
pub mod load;
mod order;
mod pattern;
mod template;

pub use config::{AbsolutePaths, Component, Config, ConfigError, FILE, Key, Undeclared};
pub use declared::{Components, Declared, Identity};
pub use error::Error;
pub use files::Files;
pub use key::{Keyed, Keys};
