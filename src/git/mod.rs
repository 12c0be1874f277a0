//! The user's git as depsfs uses it: repositories, ignored files, the index, submodules, settings and names.
//!
//! | file | contents |
//! |------|----------|
//! | `command`, `command_error`, `environment`, `output`, `version` | the program `git`: how it is started, and its output as values |
//! | `checkout`, `index` | a checkout and its index, read by libgit2 |
//! | `tracked`, `checkout_filters` | tracked files, and whether a checkout writes blobs unchanged |
//! | `ignored`, `include` | ignored paths: those that a new worktree shares, and those that it copies |
//! | `partly_tracked` | artifact directories in which git tracks a file or two |
//! | `submodule`, `submodule_error`, `gitmodules` | initialised submodules, and the names that `.gitmodules` gives them |
//! | `naming` | the directory and the branch of a new worktree |
//! | `hooks` | the directory of hooks, and the list of paths to ignore |
//! | `settings` | the keys `depsfs.*` of git's configuration |

pub mod checkout;
pub mod checkout_filters;
pub mod command;
mod command_error;
pub mod environment;
mod error;
pub mod gitmodules;
pub mod hooks;
pub mod ignored;
pub mod include;
pub mod index;
pub mod naming;
mod output;
pub mod partly_tracked;
pub mod settings;
pub mod submodule;
mod submodule_error;
pub mod tracked;
pub mod version;

pub use error::RepositoryError;
