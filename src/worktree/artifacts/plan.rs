//! The decisions of a create, before anything is created: for `--frozen-only` and `--dry-run`.
//!
//! Keys of files are computed from the commit itself. Key commands need a checkout: the source, if it is at that commit
//! and unchanged; else a temporary worktree in the directory for temporary files.

use std::path::{Path, PathBuf};

use super::resolve::{self, ArtifactSources, BuiltCheckout, Decision};
use crate::component::ComponentError;
use crate::component::files::Files;
use crate::component::key::{self, Keys};
use crate::git::checkout::Checkout;
use crate::git::submodule;
use crate::sys::log::OrWarn;
use crate::sys::path;
use crate::worktree;
use crate::worktree::plan::CreatePlan;
use crate::worktree::undo;

/// The decisions for a plan; `None` when its commit isn't known yet.
pub fn foresee(
    plan: &CreatePlan,
    supply: &ArtifactSources<'_>,
) -> Result<Option<Vec<Decision>>, worktree::WorktreeError> {
    let Some(commit) = &plan.commit else { return Ok(None) };
    let keys = keys_at(plan, commit)?;
    let has = |declared: &crate::component::Declared| plan.has_built(declared);
    let source = BuiltCheckout { checkout: &plan.source, has: &has };
    Ok(Some(resolve::decide(&plan.components, &keys, Some(&source), supply, &|_| true)?))
}

/// Refuses when one of them would have to be built.
pub fn refuse_builds(decisions: &[Decision]) -> Result<(), ComponentError> {
    let built: Vec<String> = decisions.iter().filter(|d| d.needs_build()).map(Decision::named_failure).collect();
    if built.is_empty() { Ok(()) } else { Err(ComponentError::WouldBuild(built)) }
}

fn keys_at(plan: &CreatePlan, commit: &str) -> Result<Keys, worktree::WorktreeError> {
    let source = &plan.source;
    let at = Files::At { git: source.git(), commit, modules: &plan.modules };
    if !key::need_commands(&plan.components) {
        return Ok(key::keys(&plan.components, &at, &source.root)?);
    }
    let head = source.git().resolve(&["HEAD^{commit}".into()])?.pop().flatten();
    if head.is_some_and(|h| h.id == commit) && source.git().status()?.is_empty() {
        return Ok(key::keys(&plan.components, &at, &source.root)?);
    }
    let away = ThrowAway::new(source)?;
    source.git().add_detached(&away.at, commit)?;
    let made = Checkout::at(&away.at)?.ok_or_else(|| crate::git::RepositoryError::NotACheckout(away.at.clone()))?;
    submodule::initialise(&plan.modules, &made, Path::new(""), &mut |_| {})?;
    Ok(key::keys(&plan.components, &at, &made.root)?)
}

/// A directory for a temporary checkout.
struct ThrowAway<'a> {
    source: &'a Checkout,
    at: PathBuf,
}

impl ThrowAway<'_> {
    fn new(source: &Checkout) -> Result<ThrowAway<'_>, worktree::WorktreeError> {
        let dir = path::canonical(&std::env::temp_dir())?;
        for n in 0..100 {
            let at = dir.join(format!("depsfs-keys-{}-{n}", std::process::id()));
            if path::make_private_dir(&at)? {
                return Ok(ThrowAway { source, at });
            }
        }
        Err(worktree::WorktreeError::PathTaken(dir.join("depsfs-keys")))
    }
}

impl Drop for ThrowAway<'_> {
    fn drop(&mut self) {
        // If it can't be removed, it stays a plain worktree in the directory for temporary files, which git lists.
        undo::remove_worktree(self.source, &self.at).or_warn("a temporary worktree stays");
    }
}
