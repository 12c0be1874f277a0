//! The report of a create or an adopt.

use std::path::{Path, PathBuf};

use super::embedded;
use super::output::{count, size};
use super::report::Failure;
use crate::git::checkout::Checkout;
use crate::git::command::Tracking;
use crate::store::manifest::Shape;
use crate::sys::path;
use crate::sys::terminal::{DisplayName, shell_word};
use crate::worktree::adopt;
use crate::worktree::artifacts::materialize::Brought;
use crate::worktree::artifacts::resolve::ArtifactSource;
use crate::worktree::branch::BranchUse;
use crate::worktree::create::{CopiedFile, CreateOptions, Created};
use crate::worktree::plan::CreatePlan;
use crate::worktree::shape::WholeReason;

/// The files of the source's views whose bytes the store has lost, in one line.
fn lost_words(lost: &[PathBuf]) -> Option<String> {
    let mut names: Vec<String> = lost.iter().take(8).map(|file| file.shown().to_string()).collect();
    if lost.len() > names.len() {
        names.push(format!("{} more", lost.len() - names.len()));
    }
    let files = count(lost.len() as u64, "file");
    let hint = "depsfs doctor --fix reads the checkouts again";
    (!lost.is_empty())
        .then(|| format!("  damaged:  the store has lost the bytes of {files}: {}; {hint}", names.join(", ")))
}

/// The single files that were copied, in one line.
fn copied_line(copied: &[CopiedFile]) -> Option<String> {
    let mut names: Vec<String> = copied.iter().take(8).map(|file| file.path.shown().to_string()).collect();
    if copied.len() > names.len() {
        names.push(format!("{} more", copied.len() - names.len()));
    }
    let files = count(copied.len() as u64, "ignored file");
    (!copied.is_empty()).then(|| format!("  copied:   {files}: {}", names.join(", ")))
}

fn branch_words(plan: &CreatePlan) -> String {
    match &plan.branch {
        BranchUse::Existing => " (existing)".into(),
        BranchUse::New(Tracking::Yes) => format!(" (tracks {})", plan.base.shown()),
        BranchUse::Reset { from, .. } => format!(" (was at {})", from.get(..10).unwrap_or(from)),
        _ => String::new(),
    }
}

/// That the worktree is one view, though no option requested it.
pub(super) fn shape_line(because: Option<WholeReason>) -> String {
    because.map_or_else(String::new, |why| format!("  view:     the whole worktree is one mount, as {why}\n"))
}

/// The new worktree, and the directories that were left out, with the reasons.
pub(super) fn words(verb: &str, plan: &CreatePlan, created: &Created, how: CreateOptions) -> String {
    let commit = created.commit.get(..10).unwrap_or(&created.commit);
    let mut lines = vec![
        format!("{verb} {}", created.worktree.shown()),
        format!("  branch:   {}{} at {commit}", created.branch, branch_words(plan)),
    ];
    let mut named: Vec<String> = created.views.iter().take(8).map(|v| v.shown().to_string()).collect();
    if created.views.len() > named.len() {
        named.push(format!("{} more", created.views.len() - named.len()));
    }
    let (files, bytes) = (count(created.shared_files, "file"), size(created.shared_bytes));
    let mounted = if how.mount { "" } else { ", not mounted" };
    if how.copy && !named.is_empty() {
        let directories = count(created.views.len() as u64, "directory");
        lines.push(format!("  plain:    {directories}, {files}, {bytes}: {}", named.join(", ")));
    } else if !named.is_empty() {
        let views = count(created.views.len() as u64, "view");
        lines.push(format!("  shared:   {views}, {files}, {bytes}{mounted}: {}", named.join(", ")));
    }
    if how.mount && how.shape == Shape::Worktree && !how.allow_other {
        let remedy = "echo user_allow_other | sudo tee -a /etc/fuse.conf, then depsfs mount --allow-other";
        lines.push(format!("  closed:   root and containers can't see the worktree; {remedy}"));
    }
    for (path, files) in &created.kept {
        let at_least = if *files < adopt::COUNTED { "" } else { "at least " };
        let files = count(*files as u64, "file");
        lines.push(format!("  kept:     {}: {at_least}{files} of its own on top", path.shown()));
    }
    lines.extend(copied_line(&created.copied));
    if created.submodules > 0 {
        lines.push(format!("  modules:  {}", count(created.submodules as u64, "submodule")));
    }
    for (path, why) in &created.unfit {
        lines.push(format!("  left out: {}: {why}", path.shown()));
    }
    for (path, why) in plan.ignored.left_out.iter().filter(|(_, why)| *why != crate::git::ignored::LeftOut::Empty) {
        lines.push(format!("  left out: {}: {}", path.shown(), why.words()));
    }
    lines.extend(
        embedded::line(&created.traced, created.copied.iter().filter(|file| file.relocated).count())
            .map(|line| format!("  {line}")),
    );
    lines.extend(lost_words(&created.lost));
    for lock in &created.drifted {
        lines.push(format!("  differs:  {}: artifacts beside it may have to be installed again", lock.shown()));
    }
    lines.join("\n") + "\n"
}

/// The source, where that is not the checkout of the working directory.
pub(super) fn source_line(plan: &CreatePlan) -> String {
    let source = &plan.source.root;
    match Checkout::containing(Path::new(".")) {
        Ok(Some(here)) if here.root != *source => {
            let inside = here.root.strip_prefix(source).unwrap_or(&here.root);
            format!("  source:   {}, of which {} is a submodule\n", source.shown(), inside.shown())
        }
        _ => String::new(),
    }
}

/// The next step: the way from the working directory to the new worktree, as a shell reads it.
///
/// # Errors
/// The working directory was deleted.
pub(super) fn next_line(worktree: &Path) -> Result<String, Failure> {
    let here = path::absolute(Path::new("."))?;
    let here = path::canonical(&here).unwrap_or(here);
    let common = here.ancestors().find(|above| worktree.starts_with(above)).unwrap_or(Path::new("/"));
    let ups = here.components().count() - common.components().count();
    let below = worktree.strip_prefix(common).unwrap_or(worktree);
    let way = if ups > 3 { worktree.into() } else { PathBuf::from("../".repeat(ups)).join(below) };
    Ok(format!("  next:     cd {}\n", shell_word(&way)))
}

/// The components that were built, in one line.
pub(super) fn built(done: &[Brought]) -> String {
    let names: Vec<&str> = done
        .iter()
        .filter(|b| b.decision.way == ArtifactSource::Build)
        .map(|b| b.decision.component.as_str())
        .collect();
    if names.is_empty() { String::new() } else { format!("  built:    {}\n", names.join(", ")) }
}
