//! Errors of git and of what it stores, as one type.

use std::path::PathBuf;

use super::command::GitError;
use super::ignored::IgnoredError;
use super::include::IncludeError;
use super::naming::NamingError;
use super::settings::{BadPattern, BadSetting};
use super::submodule::SubmoduleError;
use crate::sys::IoError;
use crate::sys::terminal::DisplayName;

/// The reason why a repository could not be read as depsfs needs it. Reading changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Command(#[from] GitError),
    #[error(transparent)]
    Naming(#[from] NamingError),
    #[error(transparent)]
    Ignored(#[from] IgnoredError),
    #[error(transparent)]
    Submodule(#[from] SubmoduleError),
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    #[error(transparent)]
    Setting(#[from] BadSetting),
    #[error("{} is in no git checkout", .0.shown())]
    NotACheckout(PathBuf),
    #[error("{} is the directory of a bare repository, which has no files checked out", .0.shown())]
    Bare(PathBuf),
}

impl From<IncludeError> for RepositoryError {
    fn from(e: IncludeError) -> RepositoryError {
        match e {
            IncludeError::Io(e) => RepositoryError::Io(e),
            IncludeError::Pattern(e) => RepositoryError::Pattern(e),
        }
    }
}
