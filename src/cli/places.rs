//! Paths: the store, the state of directories without git, the worktree that holds a path.

use std::path::{Path, PathBuf};

use super::report::Failure;
use crate::component::load::UserConfigPaths;
use crate::git;
use crate::git::checkout::Checkout;
use crate::store::Store;
use crate::views::set::Views;
use crate::worktree::WorktreeError;

/// `$DEPSFS_STORE`, else `$XDG_DATA_HOME/depsfs/store`, else `~/.local/share/depsfs/store`. A relative `DEPSFS_STORE` is
/// refused: it would be another store in each working directory.
pub fn store_path() -> Result<PathBuf, Failure> {
    match std::env::var_os("DEPSFS_STORE").filter(|v| !v.is_empty()) {
        Some(path) if Path::new(&path).is_absolute() => Ok(path.into()),
        Some(path) => Err(Failure::RelativeStore(path.into())),
        None => Ok(xdg("XDG_DATA_HOME", ".local/share")?.join("depsfs/store")),
    }
}

/// The store at [`store_path`], made if it is not there.
pub fn store() -> Result<Store, Failure> {
    Ok(Store::open(&store_path()?)?)
}

/// The store that a worktree has its views of, whatever the environment has.
pub fn store_of(views: &Views) -> Result<Store, Failure> {
    Ok(Store::existing(&views.manifest.store)?)
}

/// The state of directories that entries are mounted at.
pub fn states() -> Result<PathBuf, Failure> {
    Ok(xdg("XDG_STATE_HOME", ".local/state")?.join("depsfs"))
}

/// The directory of the user's configuration.
pub fn configuration() -> Result<PathBuf, Failure> {
    xdg("XDG_CONFIG_HOME", ".config")
}

/// The user's own configuration, `$XDG_CONFIG_HOME/depsfs/config.toml`, else `~/.config/depsfs/config.toml`, and the home
/// that a `~` in it means. A user without a home has none.
pub fn user() -> UserConfigPaths {
    let config = configuration().ok().map(|dir| dir.join("depsfs/config.toml"));
    UserConfigPaths { config, home: std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute()) }
}

/// A base directory; as the XDG specification has it, a relative one counts as unset.
fn xdg(variable: &str, below_home: &str) -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    set(variable).or_else(|| set("HOME").map(|home| home.join(below_home))).ok_or(Failure::NoHome)
}

/// The views of the worktree that holds `place`.
///
/// # Errors
/// It lies in no checkout, or in one without views.
pub fn views_at(place: &Path) -> Result<Views, Failure> {
    Ok(Views::containing(place, &states()?)?)
}

/// The checkout of the working directory; in a submodule, the project it is part of.
pub fn checkout() -> Result<Checkout, Failure> {
    checkout_at(Path::new("."))
}

/// As [`checkout`], of any path.
pub fn checkout_at(here: &Path) -> Result<Checkout, Failure> {
    let found = Checkout::containing(here).map_err(WorktreeError::from)?;
    let absent = || git::RepositoryError::NotACheckout(std::path::absolute(here).unwrap_or(here.into()));
    let checkout = found.ok_or_else(absent)?.outermost().map_err(WorktreeError::from)?;
    if checkout.is_bare() { Err(git::RepositoryError::Bare(checkout.root).into()) } else { Ok(checkout) }
}
