//! Components: what a repository builds, named by `depsfs.toml` and by the user's own configuration.
//!
//! | file | what it does |
//! |------|--------------|
//! | `config`, `pattern`, `template`, `order` | `depsfs.toml`: its keys, patterns and names |

pub mod config;
mod order;
mod pattern;
mod template;

pub use config::{AbsolutePaths, Component, Config, ConfigError, FILE, Key, Undeclared};
