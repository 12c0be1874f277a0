//! The files that declare the components of a checkout: its own file, or one that git doesn't track yet.
//!
//! | requested    | the file                                                                             |
//! |--------------|--------------------------------------------------------------------------------------|
//! | a commit     | the commit's; where HEAD has none either, the one that lies in the source, untracked |
//! | a worktree   | its own; else the untracked one of the main checkout                                 |

use std::path::{Path, PathBuf};

use super::config::FILE;
use super::{ComponentError, Components, Identity};
use crate::git::checkout::Checkout;
use crate::git::settings::Settings;
use crate::sys::path;

/// The user's own configuration: files that are read beside the repository's.
#[derive(Clone, Debug, Default)]
pub struct UserConfigPaths {
    /// `config.toml`, which may be absent.
    pub config: Option<PathBuf>,
    /// The directory that a `~` in it stands for.
    pub home: Option<PathBuf>,
}

/// The components that a commit declares, in the repository of `source`.
pub fn at_commit(
    source: &Checkout,
    settings: &Settings,
    commit: Option<&str>,
    user: &UserConfigPaths,
) -> Result<Components, ComponentError> {
    let text = match commit {
        Some(commit) => source.git().blob(format!("{commit}:{FILE}"))?,
        None => None,
    };
    let text = match text {
        Some(text) => Some(text),
        None => untracked(source)?,
    };
    of(source, settings, text.as_deref(), user)
}

/// The components of a checkout as it is.
pub fn on_disk(checkout: &Checkout, user: &UserConfigPaths) -> Result<Components, ComponentError> {
    let own = path::read_if_there(&checkout.root.join(FILE))?;
    let text = match (own, checkout.main()?) {
        (Some(text), _) => Some(text),
        (None, Some(main)) => untracked(&main)?,
        (None, None) => None,
    };
    of(checkout, &Settings::load(&checkout.git())?, text.as_deref(), user)
}

/// The file of a checkout whose HEAD has none.
fn untracked(checkout: &Checkout) -> Result<Option<Vec<u8>>, ComponentError> {
    let Some(text) = path::read_if_there(&checkout.root.join(FILE))? else { return Ok(None) };
    let is_known = checkout.git().resolve(&[format!("HEAD:{FILE}")])?.iter().any(Option::is_some);
    Ok((!is_known).then_some(text))
}

fn of(
    checkout: &Checkout,
    settings: &Settings,
    text: Option<&[u8]>,
    user: &UserConfigPaths,
) -> Result<Components, ComponentError> {
    let main = checkout.main()?.map(|main| main.root);
    let root: &Path = main.as_deref().unwrap_or(&checkout.common_dir);
    let identity = Identity { root, remotes: settings.remote_urls().collect(), home: user.home.as_deref() };
    Components::of(text, user.config.as_deref(), &identity)
}
