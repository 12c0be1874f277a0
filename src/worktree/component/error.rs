//! What can be wrong with components: their file, their keys, their builds.

use std::path::PathBuf;

use super::config::ConfigError;
use crate::sys::IoError;
use crate::worktree::git::GitError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] GitError),
    /// Commands of a repository that nobody has approved: where each runs, and what.
    #[error("{} runs commands that were not approved: {}", file.display(), first(.commands))]
    Unapproved { file: PathBuf, commands: Vec<(PathBuf, String)> },
    #[error("the key of component {component} could not be told: {why}")]
    Key { component: String, why: String },
    #[error("component {component} was not built: {why}")]
    Build { component: String, why: String },
    /// Builds would be needed where none may be.
    #[error("components would have to be built: {}", .0.join(", "))]
    WouldBuild(Vec<String>),
    #[error("the artifact {name} of component {component} could not be had: {why}")]
    Fetch { component: String, name: String, why: String },
    #[error("component {component} cannot be published: {why}")]
    Publish { component: String, why: &'static str },
    #[error("{} says what this program does not understand: {why}", file.display())]
    Record { file: PathBuf, why: String },
}

fn first(commands: &[(PathBuf, String)]) -> String {
    let mut words: Vec<&str> = commands.iter().map(|(_, command)| command.as_str()).take(3).collect();
    if commands.len() > 3 {
        words.push("…");
    }
    words.join("; ")
}
