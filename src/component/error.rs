//! What can be wrong with components: their file, their keys, their builds.

use std::path::PathBuf;

use super::config::ConfigError;
use super::declared::Foreign;
use crate::git::command::GitError;
use crate::sys::IoError;
use crate::sys::terminal::Shown;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Views(#[from] crate::views::Error),
    /// Commands of a repository that nobody has approved.
    #[error("{} runs commands that were not approved: {}", file.shown(), first(.commands))]
    Unapproved { file: PathBuf, commands: Vec<Foreign> },
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
    #[error("{} says what this program does not understand: {why}", file.shown())]
    Record { file: PathBuf, why: String },
}

fn first(commands: &[Foreign]) -> String {
    let mut words: Vec<String> = commands.iter().take(3).map(Foreign::words).collect();
    if commands.len() > 3 {
        words.push(format!("and {} more", commands.len() - 3));
    }
    words.join("; ")
}
