//! `depsfs sync`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::SyncAnswer;
use super::components::{self, Outside, RemoteArgs};
use super::record;
use super::report::Failure;
use super::{named, output, places};
use crate::component::{Components, Declared, Undeclared};
use crate::store::plain_copy::CopyMode;
use crate::sys::interrupt;
use crate::sys::terminal::DisplayName;
use crate::views::copied;
use crate::views::set::Views;
use crate::worktree::artifacts::materialize::{self, Brought};
use crate::worktree::artifacts::resolve::ArtifactSource;
use crate::worktree::relocation;
use crate::worktree::sync::{self, Synced, TakePolicy};

const EXAMPLES: &str = "Examples:
  git rebase main && depsfs sync
  depsfs sync fix-login --dry-run          # prints what would change
  depsfs sync --build                      # builds what no one else has built";

/// Bring the artifacts of a worktree up to date, after a rebase or a pull
///
/// Recomputes the key of each component. If a key has changed, its artifact is fetched, or taken from the source if
/// that has the same key, and shows instead of the old one; nothing is unmounted. Artifacts of the source that belong
/// to no key are taken again as the source has them now, if the lock files beside them are the same in both;
/// directories that only the source has come, too. The worktree's own changes stay on top; changes that now hide
/// something newer are listed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct SyncCommand {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    worktree: Option<PathBuf>,
    /// Build what can't be had otherwise
    #[arg(long)]
    build: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Approve the commands that depsfs.toml names, as depsfs approve does
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

impl SyncCommand {
    /// Brings other artifacts to one worktree and prints a line for each component. Components that were done before a
    /// failure stay so; a second run goes on.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let mut views = named::views(self.worktree.as_deref())?;
        let store = places::store_of(&views)?;
        let checkout = places::checkout_at(&views.manifest.worktree)?;
        let components = components::approved(&checkout, self.approve)?;
        let outside = Outside::for_checkout(store, &checkout)?.with_remotes(&components, self.remote);
        if !self.dry_run {
            record::begin("sync", outside.store.path());
            record::concerns(&checkout.root);
            relocation::follow(&views)?;
            copied::complete(&mut views, &outside.store, CopyMode::Complete, &*outside.bar)?;
            views.mount()?;
        }
        let mut brought = match self.dry_run {
            true => components::would_bring(&checkout, &components, &outside)?,
            false => components::bring(&checkout, &components, &outside, self.build)?,
        };
        if brought.iter().any(|brought| brought.done) {
            record::changed();
        }
        let synced = match components::source_of(&checkout)? {
            Some(source) => {
                // Placing artifacts has changed the manifest.
                views = Views::load(&views.state_dir)?;
                let takes = |at: &Path| takes(&components, &brought, at);
                let task = sync::SyncTask {
                    target: &checkout,
                    store: &outside.store,
                    components: &components,
                    takes: &takes,
                    look: self.dry_run,
                    progress: outside.bar.clone(),
                };
                let synced = sync::from_source(&mut views, source, &task)?;
                if !self.dry_run {
                    let unfit = |declared: &Declared| synced.unfit.iter().any(|(at, _)| declared.covers(at));
                    materialize::took_source(&checkout, &components, &mut brought, &unfit)?;
                }
                synced
            }
            None => Synced::default(),
        };
        let contents = if self.dry_run { String::new() } else { outside.bring_contents(&checkout)? };
        let done = "the worktree was brought up to date";
        let answer = SyncAnswer::of(&brought, &synced);
        let text = || words(&brought, &synced, &views) + &contents;
        if self.dry_run { output::answer(&answer, text) } else { output::done_answer(done, &answer, text) }
    }
}

/// Whether a directory is the source's to give: no key speaks of it, or a key that is the source's now.
fn takes(components: &Components, brought: &[Brought], at: &Path) -> TakePolicy {
    let mut covering = components.covering(at).peekable();
    if covering.peek().is_none() && components.undeclared == Undeclared::Leave {
        return TakePolicy::No;
    }
    let mut takes = if covering.peek().is_none() { TakePolicy::IfFitting } else { TakePolicy::No };
    for declared in covering {
        let now = brought.iter().find(|b| b.decision.component == declared.component.name);
        match now.map(|b| &b.decision.way) {
            Some(ArtifactSource::Source) if declared.component.key.is_some() => return TakePolicy::Yes,
            _ if declared.component.key.is_none() => takes = TakePolicy::IfFitting,
            _ => {}
        }
    }
    takes
}

fn words(brought: &[Brought], synced: &Synced, views: &Views) -> String {
    let mut lines = components::done(brought);
    for at in &synced.changed {
        lines += &format!("  changed:  {}, as the source has it\n", at.shown());
    }
    for at in &synced.added {
        lines += &format!("  added:    {}, as the source has it\n", at.shown());
    }
    for (at, why) in &synced.unfit {
        lines += &format!("  unfit:    {}: {why}\n", at.shown());
    }
    for (kind, at) in &synced.hidden {
        lines += &format!("  hides newer: {} {}\n", kind.letter(), at.shown());
    }
    for at in brought.iter().flat_map(|b| &b.kept) {
        let at = at.strip_prefix(&views.manifest.worktree).unwrap_or(at);
        lines += &format!("  hides newer: M {}\n", at.shown());
    }
    if lines.is_empty() { "everything is up to date\n".into() } else { lines }
}
