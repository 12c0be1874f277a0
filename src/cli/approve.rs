//! `depsfs approve`, and the question that other verbs ask before they run a repository's commands.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::ApproveAnswer;
use super::report::Failure;
use super::{confirm, named, output, places};
use crate::component::approve::Approval;
use crate::component::{Components, load};
use crate::git::settings::Settings;

const EXAMPLES: &str = "Examples:
  depsfs approve
  depsfs approve --withdraw";

/// Let depsfs run the commands that this repository's depsfs.toml names
///
/// They are approved as they stand there now, for this repository and all its worktrees: when one is changed or added,
/// all are asked for again. Commands of your own configuration need no approval.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Approve {
    /// A checkout of the repository: its name, its branch, or any path in it [default: the working directory]
    #[arg(value_name = "WORKTREE")]
    checkout: Option<PathBuf>,
    /// Take the approval back
    #[arg(long)]
    withdraw: bool,
}

impl Approve {
    /// Approves the commands of the file on disk and of that at HEAD without a question, and prints them in full.
    pub fn run(self) -> Result<(), Failure> {
        let checkout = named::checkout(self.checkout.as_deref())?;
        let user = places::user();
        let settings = Settings::load(&checkout.git()).map_err(crate::worktree::WorktreeError::from)?;
        // A create uses the committed file, a sync the file on disk.
        let both = [load::on_disk(&checkout, &user)?, load::at_commit(&checkout, &settings, Some("HEAD"), &user)?];
        let mut approvals: Vec<_> = both.iter().filter_map(|c| Approval::of(c, &checkout.common_dir)).collect();
        approvals.dedup();
        if approvals.is_empty() {
            let answer = ApproveAnswer { withdrawn: self.withdraw, commands: Vec::new() };
            return output::answer(&answer, || "no command of this repository needs approval\n".into());
        }
        let states = places::states()?;
        let mut text = String::new();
        for approval in &approvals {
            if self.withdraw {
                approval.withdraw(&states)?;
            } else {
                approval.give(&states)?;
            }
            let verb = if self.withdraw { "withdrawn for" } else { "approved for" };
            text += &format!("{verb} {}", approval.words());
        }
        let commands = approvals.iter().flat_map(|a| &a.commands).map(|command| command.words().to_string()).collect();
        output::answer(&ApproveAnswer { withdrawn: self.withdraw, commands }, || text)
    }
}

/// Passes when nothing needs approval, when it was given before, with `yes`, or when the person at the terminal gives it.
pub fn ensure(components: &Components, repository: &Path, yes: bool) -> Result<(), Failure> {
    let Some(approval) = Approval::of(components, repository) else { return Ok(()) };
    let states = places::states()?;
    if approval.is_given(&states) {
        return Ok(());
    }
    if !yes && !confirm::is_yes() {
        if !confirm::can_ask() {
            return Err(approval.missing().into());
        }
        let words = approval.words();
        let text = format!("depsfs.toml has commands that have not been approved for {}", words.trim_end());
        text.lines().for_each(output::note);
        if !confirm::confirm("Run them, now and later?")? {
            return Err(Failure::Declined);
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
