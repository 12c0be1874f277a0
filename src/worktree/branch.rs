//! The branch of a new worktree, and the commit it starts at: as `git worktree add` decides.
//!
//! | the branch                                   | no base-ref                    | a base-ref             |
//! |----------------------------------------------|--------------------------------|------------------------|
//! | exists                                       | it is checked out              | refused                |
//! | exists at one remote only (or at `checkout.defaultRemote`) | made, and tracks that one | made at the base-ref |
//! | exists at several remotes                    | refused                        | made at the base-ref   |
//! | is nowhere                                   | made at `HEAD`                 | made at the base-ref   |
//!
//! `-b` refuses a branch that exists; `-B` moves it; `--detach` needs none. A branch that another worktree has checked
//! out is always refused.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::error::WorktreeError;
use crate::git::checkout::Checkout;
use crate::git::command::Tracking;
use crate::git::settings::Settings;

/// The user's wish for a branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BranchRequest {
    /// Named after the worktree.
    #[default]
    Derived,
    /// Of this name; one that exists is checked out.
    Named(String),
    /// A new one of this name.
    New(String),
    /// Of this name; one that exists is moved to the base.
    Reset(String),
    /// None: a detached `HEAD`.
    Detached,
}

impl BranchRequest {
    /// The name, if it was given.
    pub fn name(&self) -> Option<&str> {
        match self {
            BranchRequest::Named(name) | BranchRequest::New(name) | BranchRequest::Reset(name) => Some(name),
            BranchRequest::Derived | BranchRequest::Detached => None,
        }
    }
}

/// The use that a create makes of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BranchUse {
    /// It is made.
    New(Tracking),
    /// It is there already, is checked out nowhere, and is used as it is.
    Existing,
    /// It is there already, at this commit, and is moved.
    Reset { from: String, tracking: Tracking },
    /// A detached `HEAD`.
    Detached,
}

/// The branch and commit that a create starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub used: BranchUse,
    /// The name of the commit to start at, as given or found; `HEAD` without one.
    pub base: String,
    /// `None` if there is no such commit here.
    pub commit: Option<String>,
    /// A branch has the worktree's name without the initials before it.
    pub beside: Option<String>,
}

/// The wish for a branch, and for its start.
pub struct StartRequest<'a> {
    pub branch: &'a BranchRequest,
    pub name: &'a str,
    /// The branch's name by the rules.
    pub derived: &'a str,
    pub base: Option<&'a str>,
    pub no_track: bool,
}

/// Applies the table above.
///
/// # Errors
/// The branch is taken, in use, in the way, or at several remotes; the base-ref is no name of a commit.
pub fn start(source: &Checkout, settings: &Settings, wish: &StartRequest<'_>) -> Result<Start, WorktreeError> {
    let base = wish.base.unwrap_or("HEAD");
    if base.contains(char::is_control) || base.starts_with('-') {
        return Err(WorktreeError::NoBase(base.into()));
    }
    let branch = wish.branch.name().unwrap_or(wish.derived);
    // A branch and a folder of branches can't have one name: `a` is in the way of `a/b`.
    let above: Vec<&str> = branch.match_indices('/').map(|(at, _)| &branch[..at]).collect();
    let remotes: Vec<&str> = settings.remotes().collect();
    let is_derived = *wish.branch == BranchRequest::Derived;
    // The worktree's name is only its directory's if the branch has a name of its own.
    let plain = if is_derived { wish.name } else { branch };
    let mut asked =
        [format!("{base}^{{commit}}"), format!("refs/heads/{branch}"), format!("refs/heads/{plain}")].to_vec();
    asked.extend(above.iter().map(|b| format!("refs/heads/{b}")));
    asked.extend(remotes.iter().map(|r| format!("refs/remotes/{r}/{branch}")));
    let found: Vec<Option<String>> =
        source.git().resolve(&asked)?.into_iter().map(|object| object.map(|object| object.id)).collect();
    let (commit, tip) = (found[0].clone(), found[1].clone());
    let (in_the_way, at_remotes) = found[3..].split_at(above.len());
    let beside = (branch != plain && found[2].is_some()).then(|| plain.to_owned());
    let given = if wish.no_track { Tracking::No } else { Tracking::AsConfigured };
    let start = |used| Start { used, base: base.into(), commit: commit.clone(), beside: beside.clone() };
    if *wish.branch == BranchRequest::Detached {
        return Ok(Start { beside: None, ..start(BranchUse::Detached) });
    }
    if let Some(at) = in_the_way.iter().position(Option::is_some) {
        return Err(WorktreeError::BranchInTheWay { wanted: branch.into(), existing: above[at].into() });
    }
    let is_new = matches!(wish.branch, BranchRequest::New(_));
    if let Some(tip) = tip {
        let moves = matches!(wish.branch, BranchRequest::Reset(_));
        if is_new || (wish.base.is_some() && !moves) {
            return Err(WorktreeError::BranchTaken(branch.into()));
        }
        if let Some(at) = holder(source, branch)? {
            return Err(WorktreeError::BranchInUse { branch: branch.into(), at });
        }
        return Ok(match moves {
            true => start(BranchUse::Reset { from: tip, tracking: given }),
            false => Start { commit: Some(tip), ..start(BranchUse::Existing) },
        });
    }
    let is_guessed = wish.base.is_none() && !matches!(wish.branch, BranchRequest::New(_) | BranchRequest::Reset(_));
    let at = remotes.iter().zip(at_remotes).filter_map(|(remote, id)| Some((*remote, id.as_ref()?)));
    let found = if is_guessed { chosen(settings, branch, at.collect())? } else { None };
    let Some((remote, id)) = found else {
        return Ok(start(BranchUse::New(given)));
    };
    let tracking = if wish.no_track { Tracking::No } else { Tracking::Yes };
    Ok(Start { base: format!("{remote}/{branch}"), commit: Some(id.clone()), ..start(BranchUse::New(tracking)) })
}

/// Of the remotes that have the branch, with its commit, the only one, or `checkout.defaultRemote`.
fn chosen<'a>(
    settings: &Settings,
    branch: &str,
    at: Vec<(&'a str, &'a String)>,
) -> Result<Option<(&'a str, &'a String)>, WorktreeError> {
    let preferred = settings.value("checkout.defaultremote");
    match at[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => match at.iter().find(|(remote, _)| preferred == Some(*remote)) {
            Some(one) => Ok(Some(*one)),
            None => {
                let remotes = at.iter().map(|(remote, _)| (*remote).to_owned()).collect();
                Err(WorktreeError::AtSeveralRemotes { branch: branch.into(), remotes })
            }
        },
    }
}

/// The checkout of this repository that has the branch checked out.
fn holder(source: &Checkout, branch: &str) -> Result<Option<PathBuf>, WorktreeError> {
    let mut all: Vec<Checkout> = source.main()?.into_iter().collect();
    for (root, _) in source.registered()? {
        all.extend(Checkout::at(&root)?);
    }
    for checkout in all {
        if checkout.branch()?.as_deref() == Some(OsStr::new(branch)) {
            return Ok(Some(checkout.root));
        }
    }
    Ok(None)
}
