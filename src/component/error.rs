//! Errors of components: their file, their keys, their builds.

use std::path::PathBuf;

use super::config::ConfigError;
use super::foreign::Foreign;
use crate::cache::CacheError;
use crate::git::command::GitError;
use crate::sys::IoError;
use crate::sys::terminal::DisplayName;

/// The reason why components could not be read, keyed, built or approved.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Views(#[from] crate::views::ViewsError),
    /// Commands of a repository that the user has not approved.
    #[error("{} runs commands that were not approved: {}", file.shown(), first(.commands))]
    Unapproved { file: PathBuf, commands: Vec<Foreign> },
    #[error("component {} was not built: {why}", component.shown())]
    Build { component: String, why: String, hint: &'static str },
    /// Builds would be needed where none may be.
    #[error("components would have to be built: {}", .0.join(", "))]
    WouldBuild(Vec<String>),
    #[error("the artifact {} of component {} cannot be obtained: {source}", name.shown(), component.shown())]
    Fetch { component: String, name: String, source: Box<CacheError> },
    #[error("component {} cannot be published: {why}", component.shown())]
    Publish { component: String, why: &'static str, hint: &'static str },
    #[error("the record of components {} cannot be read: {why}", file.shown())]
    Record { file: PathBuf, why: String },
}

fn first(commands: &[Foreign]) -> String {
    let mut words: Vec<String> = commands.iter().take(3).map(Foreign::words).collect();
    if commands.len() > 3 {
        words.push(format!("and {} more", commands.len() - 3));
    }
    words.join("; ")
}

/// The hint for a component whose directory does not exist.
pub const NO_DIRECTORY_HINT: &str = "correct dir in depsfs.toml, or take a commit that has that directory";
