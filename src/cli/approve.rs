//! `depsfs approve`, and the question that other verbs ask before they run a repository's commands.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use super::confirm::confirm;
use super::report::Failure;
use super::{output, places};
use crate::component::approve::Approval;
use crate::component::{Components, load};
use crate::git::settings::Settings;

/// Let depsfs run the commands that this repository's depsfs.toml names
///
/// They are approved as they stand there now, for this repository and all its worktrees: when one is changed or added,
/// all are asked for again. Commands of your own configuration need no approval.
#[derive(Args)]
pub struct Approve {
    /// The checkout, or any path in it [default: the working directory]
    checkout: Option<PathBuf>,
    /// Take the approval back
    #[arg(long)]
    withdraw: bool,
}

impl Approve {
    pub fn run(self) -> Result<(), Failure> {
        let checkout = places::checkout_at(self.checkout.as_deref().unwrap_or(Path::new(".")))?;
        let user = places::user();
        let settings = Settings::load(&checkout.git()).map_err(crate::worktree::WorktreeError::from)?;
        // A create uses the committed file, a sync the file on disk.
        let both = [load::on_disk(&checkout, &user)?, load::at_commit(&checkout, &settings, Some("HEAD"), &user)?];
        let mut approvals: Vec<_> = both.iter().filter_map(|c| Approval::of(c, &checkout.common_dir)).collect();
        approvals.dedup();
        if approvals.is_empty() {
            return output::print("no command of this repository needs approval\n");
        }
        let states = places::states()?;
        for approval in approvals {
            if self.withdraw {
                approval.withdraw(&states)?;
            } else {
                approval.give(&states)?;
            }
            let verb = if self.withdraw { "withdrawn for" } else { "approved for" };
            output::print(&format!("{verb} {}", approval.words()))?;
        }
        Ok(())
    }
}

/// Passes when nothing needs approval, when it was given before, with `yes`, or when the person at the terminal gives it.
pub fn ensure(components: &Components, repository: &Path, yes: bool) -> Result<(), Failure> {
    let Some(approval) = Approval::of(components, repository) else { return Ok(()) };
    let states = places::states()?;
    if approval.is_given(&states) {
        return Ok(());
    }
    if !yes {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(approval.missing().into());
        }
        let words = approval.words();
        let text = format!("depsfs.toml has commands that have not been approved for {}", words.trim_end());
        text.lines().for_each(output::note);
        if !confirm("Run them, now and later?", false)? {
            return Err(approval.missing().into());
        }
    }
    Ok(approval.give(&states)?)
}

/// As [`ensure`], only looked at.
pub fn is_given(components: &Components, repository: &Path) -> Result<bool, Failure> {
    match Approval::of(components, repository) {
        Some(approval) => Ok(approval.is_given(&places::states()?)),
        None => Ok(true),
    }
}
