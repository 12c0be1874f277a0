//! Submodules: those initialised in the source are initialised in the new worktree too, from the source's own
//! clones, so offline and fast.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::checkout::Checkout;
use super::command::GitError;
use super::gitmodules::{self, name_of};
use super::index::Index;
use super::settings::Settings;
pub use super::submodule_error::SubmoduleError;
use crate::sys::path;

/// The commit of the source's clone when the new worktree's was cloned from it: `remove` counts only commits beyond it.
const FROM_SOURCE: &str = "refs/depsfs/source";
/// As an argument of `git rev-list`: the commits that a submodule's clone has from the source.
pub const FROM_SOURCE_GLOB: &str = "--glob=refs/depsfs/*";

/// An initialised submodule of a checkout, with those inside it.
#[derive(Clone, Debug)]
pub struct Submodule {
    /// Relative to the checkout that holds it.
    pub path: PathBuf,
    pub checkout: Checkout,
    pub inner: Vec<Submodule>,
}

impl Submodule {
    /// This one and all inside it, each with its path relative to the topmost checkout.
    pub fn flatten<'a>(&'a self, above: &Path, out: &mut Vec<(PathBuf, &'a Submodule)>) {
        let path = above.join(&self.path);
        out.push((path.clone(), self));
        self.inner.iter().for_each(|s| s.flatten(&path, out));
    }
}

/// The initialised submodules of a checkout: tracked as such, and holding a `.git` that leads somewhere.
pub fn initialised(of: &Checkout) -> Result<Vec<Submodule>, SubmoduleError> {
    let mut found = Vec::new();
    for path in gitlinks(of)? {
        if let Some(checkout) = Checkout::at(&of.root.join(&path))? {
            let inner = initialised(&checkout)?;
            found.push(Submodule { path, checkout, inner });
        }
    }
    Ok(found)
}

fn gitlinks(of: &Checkout) -> Result<Vec<PathBuf>, SubmoduleError> {
    // Without .gitmodules there is no submodule, and nearly always no need to read the index.
    if !path::is_there(&of.root.join(".gitmodules")) {
        return Ok(Vec::new());
    }
    if let Some(index) = Index::read(of) {
        return Ok(index.gitlinks().map(|t| OsStr::from_bytes(t.path()).into()).collect());
    }
    let staged = of.git().staged()?;
    Ok(staged.into_iter().filter(|e| e.0 == 0o160000).map(|e| e.2).collect())
}

/// Initialises in `new` what is initialised in the source, all levels. A submodule that `new`'s commit doesn't have
/// is passed over, one that is initialised there stays as it is. Returns the pairs of checkouts, source's and new
/// one's, with the path from the top; `made` is called for each that was made.
pub fn initialise(
    of_source: &[Submodule],
    new: &Checkout,
    above: &Path,
    made: &mut dyn FnMut(&Checkout),
) -> Result<Vec<(PathBuf, Checkout, Checkout)>, SubmoduleError> {
    if of_source.is_empty() {
        return Ok(Vec::new());
    }
    let tracked = gitlinks(new)?;
    let mut done = Vec::new();
    for module in of_source.iter().filter(|m| tracked.contains(&m.path)) {
        let checkout = match Checkout::at(&new.root.join(&module.path))? {
            Some(there) => there,
            // The user's files lie where it would be checked out.
            None if !path::list(&new.root.join(&module.path))?.is_empty() => continue,
            None => initialise_one(module, new, made)?,
        };
        let path = above.join(&module.path);
        done.push((path.clone(), module.checkout.clone(), checkout.clone()));
        done.extend(initialise(&module.inner, &checkout, &path, made)?);
    }
    Ok(done)
}

/// Refuses names that [`initialise`] would refuse in an existing worktree, before anything is created.
pub fn check_names(of_source: &[Submodule], new: &Checkout) -> Result<(), SubmoduleError> {
    if of_source.is_empty() {
        return Ok(());
    }
    let tracked = gitlinks(new)?;
    let mut wanted = Vec::new();
    for module in of_source.iter().filter(|m| tracked.contains(&m.path)) {
        if Checkout::at(&new.root.join(&module.path))?.is_none() {
            wanted.push(module.path.clone());
        }
    }
    super::gitmodules::check_on_disk(new, &wanted)
}

/// Those of the source's that `new` has initialised, all levels, as [`initialise`] answers them.
pub fn there(
    of_source: &[Submodule],
    new: &Checkout,
    above: &Path,
) -> Result<Vec<(PathBuf, Checkout, Checkout)>, SubmoduleError> {
    let mut found = Vec::new();
    for module in of_source {
        let Some(checkout) = Checkout::at(&new.root.join(&module.path))? else { continue };
        let path = above.join(&module.path);
        found.push((path.clone(), module.checkout.clone(), checkout.clone()));
        found.extend(there(&module.inner, &checkout, &path)?);
    }
    Ok(found)
}

/// Clones from the source's git directory (git links the object files: no copy, no dependence), then makes the
/// clone speak of the same remote as the source's does. A commit the source's clone lacks comes from the remote.
fn initialise_one(
    module: &Submodule,
    new: &Checkout,
    made: &mut dyn FnMut(&Checkout),
) -> Result<Checkout, SubmoduleError> {
    let name = name_of(new, &module.path)?;
    let local = new.git().update_submodule(&name, &module.path, Some(&module.checkout.common_dir));
    let at = new.root.join(&module.path);
    let Some(checkout) = Checkout::at(&at)? else {
        local?;
        return Err(SubmoduleError::Nameless(module.path.clone()));
    };
    made(&checkout);
    let remote = Settings::load(&module.checkout.git())?;
    if let Some(url) = remote.value("remote.origin.url") {
        let url = absolute_url(&module.checkout, url);
        checkout.git().set_config("remote.origin.url", &url)?;
        // The clone has the source's local branches as the remote's: fetch the source's own remote branches instead.
        checkout.git().fetch_local(&module.checkout.common_dir, "+refs/remotes/origin/*:refs/remotes/origin/*")?;
    }
    match local {
        Ok(()) => {}
        Err(GitError::Failed { .. }) => new.git().update_submodule(&name, &module.path, None)?,
        Err(e) => return Err(e.into()),
    }
    checkout.git().set_ref(FROM_SOURCE, "HEAD")?;
    Ok(checkout)
}

/// A remote given as a relative path means a place seen from the source's checkout.
fn absolute_url(from: &Checkout, url: &str) -> OsString {
    if url.starts_with("./") || url.starts_with("../") {
        return super::checkout::plain(&from.root.join(url)).into_os_string();
    }
    url.into()
}

/// Checks the names that [`initialise`] will use in a worktree of `commit`, as far as they can be read before it
/// exists: those of submodules in submodules only if the source has their commit.
pub fn check(source: &Checkout, commit: &str, modules: &[Submodule]) -> Result<(), SubmoduleError> {
    if modules.is_empty() {
        return Ok(());
    }
    let git = source.git();
    let paths: Vec<PathBuf> = modules.iter().map(|module| module.path.clone()).collect();
    let tracked = git.committed_at(commit, &paths)?;
    let gitlink = |at: &Path| tracked.iter().find(|(mode, _, path)| *mode == 0o160000 && path == at);
    let there: Vec<_> = modules.iter().filter_map(|m| Some((m, gitlink(&m.path)?.1.clone()))).collect();
    if there.is_empty() {
        return Ok(());
    }
    let named = gitmodules::at(&git, commit)?;
    for (module, id) in there {
        named.name_of(&module.path)?;
        if !module.inner.is_empty() && module.checkout.git().resolve(&[format!("{id}^{{commit}}")])?[0].is_some() {
            check(&module.checkout, &id, &module.inner)?;
        }
    }
    Ok(())
}
