//! Errors of submodules and of the names that `.gitmodules` gives them.

use std::ffi::OsString;
use std::path::PathBuf;

use super::command::GitError;
use crate::sys::IoError;
use crate::sys::terminal::DisplayName;

/// The reason why the submodules of a checkout cannot be taken over. Paths are relative to the checkout that holds the
/// submodule.
#[derive(Debug, thiserror::Error)]
pub enum SubmoduleError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("submodule {} has no name in .gitmodules", .0.shown())]
    Nameless(PathBuf),
    #[error("submodule {} has several names in .gitmodules, or its name several paths", .0.shown())]
    Ambiguous(PathBuf),
    #[error("submodule {} has the name {} in .gitmodules, which git or another program could misread", path.shown(), name.word())]
    Name { path: PathBuf, name: OsString },
}
