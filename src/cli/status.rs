//! `depsfs status`.

use std::path::PathBuf;

use clap::Args;

use super::answers::ListAnswer;
use super::output::{self, count};
use super::report::Failure;
use super::{embedded, hung, named, overview, stats};
use crate::git::RepositoryError;
use crate::git::checkout::Checkout;
use crate::sys::terminal::DisplayName;
use crate::views::ViewsError;
use crate::views::set::Views;
use crate::views::status::{self, IncompleteView, ViewStatus, WorktreeStatus as Seen};
use crate::worktree::WorktreeError;
use crate::worktree::list::{self, ListedWorktree};

const EXAMPLES: &str = "Examples:
  depsfs status                # of the worktree that you stand in
  depsfs status fix-login      # of another, by its name, its branch or a path in it
  depsfs status || depsfs mount";

/// Show the views of a worktree, and whether they are there
///
/// One line for each view: [ok], [incomplete] while contents of its files are not all here, or [MISSING]; then where they come from, and lock files that have changed since. In a main
/// checkout, which has no views: all worktrees, as depsfs list prints them. Exit code 1 if a view is missing.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the text is help on a terminal")]
pub struct Status {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    worktree: Option<PathBuf>,
    /// Add what the daemon has counted: requests by kind, the slowest, bytes, copy-ups, restarts
    #[arg(long)]
    stats: bool,
    /// List instead each file that holds or held the absolute path of the source: relocated, left, or binary
    #[arg(long, conflicts_with = "stats")]
    paths: bool,
}

impl Status {
    /// Prints the status of one worktree, or of all of a repository. Views that are not mounted are
    /// [`Failure::ViewsMissing`]: exit code 1, without a message.
    pub fn run(self) -> Result<(), Failure> {
        let hung = if self.worktree.is_none() { hung::daemon_here() } else { None };
        let views = match hung.map_or_else(|| named::views(self.worktree.as_deref()), |dir| Ok(Views::load(&dir)?)) {
            Err(none) if !self.paths && !self.stats => return self.overview(none),
            views => views?,
        };
        if self.paths && !output::is_json() {
            return output::print(&embedded::list(&status::absolute_paths(&views)?));
        }
        let status = if self.stats { status::with_stats(&views)? } else { status::status(&views)? };
        output::answer(&status, || text(&status))?;
        if status.missing().next().is_some() { Err(Failure::ViewsMissing) } else { Ok(()) }
    }

    /// All worktrees of a repository, for its main checkout or its bare directory: they have no views. Any other failure
    /// stays one.
    fn overview(&self, none: Failure) -> Result<(), Failure> {
        let place = match &none {
            Failure::Worktree(WorktreeError::Views(ViewsError::NoViews(root))) => root,
            Failure::Worktree(WorktreeError::Views(ViewsError::Git(RepositoryError::NotACheckout(place)))) => place,
            _ => return Err(none),
        };
        let found = Checkout::of_any_repository(place).map_err(WorktreeError::from)?;
        let Some(main) = found.filter(|found| !found.is_linked()) else { return Err(none) };
        let answer = ListAnswer { worktrees: list::of_repository(&main)? };
        output::answer(&answer, || overview::table(&answer.worktrees))?;
        if answer.worktrees.iter().any(ListedWorktree::is_incomplete) { Err(Failure::ViewsMissing) } else { Ok(()) }
    }
}

fn text(status: &Seen) -> String {
    let mut lines: Vec<String> = status.views.iter().map(line).collect();
    lines.extend(missing(status));
    lines.push(format!("worktree: {}", status.worktree.shown()));
    if let Some(source) = &status.source {
        lines.push(format!("source:   {}", source.shown()));
    }
    if let Some(commit) = &status.commit {
        lines.push(format!("commit:   {commit}"));
    }
    lines.push(format!("created:  {}", status.created));
    lines.push(match &status.daemon {
        Some(daemon) => format!("daemon:   running, process {}", daemon.pid),
        None => "daemon:   not running".into(),
    });
    if let Some(why) = &status.store_trouble {
        let place = status.store.shown();
        lines.push(format!("store:    {place}: {why}; files that were not read before answer \"Input/output error\""));
    }
    if let Some(first) = status.lost_objects.first() {
        let all = count(status.lost_objects.len() as u64, "object");
        lines
            .push(format!("damaged:  {all} of the store, as {first}: files with them answer EIO; depsfs doctor --fix"));
    }
    let passing = status.views.iter().filter(|view| view.mode == Some("passthrough"));
    lines.extend(passing.map(|view| format!("mode:     {} passthrough", view.path.shown())));
    let damaged = status.views.iter().flat_map(|v| v.damaged_journals.iter().map(move |copy| (&v.path, copy)));
    lines.extend(damaged.map(|(path, copy)| {
        format!("journal:  that of {} was damaged; a copy is {} until you delete it", path.shown(), copy.shown())
    }));
    let trouble = status.daemon.iter().filter_map(|daemon| daemon.trouble.as_ref());
    lines.extend(trouble.map(|why| format!("trouble:  {why}; depsfs mount tries again")));
    lines.extend(status.drift.iter().map(|path| format!("drift:    {} has changed since", path.shown())));
    lines.extend(embedded::line(&status.absolute_paths, 0));
    lines.extend(status.stats.iter().flat_map(stats::lines));
    lines.join("\n") + "\n"
}

/// How many views are missing, and what brings them back.
fn missing(status: &Seen) -> Option<String> {
    let missing: Vec<&ViewStatus> = status.missing().collect();
    let mut remedies = Vec::new();
    if missing.iter().any(|view| view.copy == Some("begun") && !view.dropped) {
        remedies.push("depsfs adopt completes copies");
    }
    if missing.iter().any(|view| !view.dropped && view.copy.is_none()) {
        remedies.push("depsfs mount mounts those that are not mounted");
    }
    if missing.iter().any(|view| view.dropped) {
        remedies.push("depsfs reset restores deleted ones");
    }
    let (n, all) = (missing.len(), count(status.views.len() as u64, "view"));
    (n > 0).then(|| format!("missing:  {n} of {all}: {}", remedies.join(", ")))
}

fn line(view: &ViewStatus) -> String {
    let path = view.path.shown();
    match view.copy {
        Some(_) if view.dropped => {
            return format!("[MISSING] {path} (plain files, deleted; depsfs reset copies them anew)");
        }
        Some("begun") => return format!("[MISSING] {path} (copied in part; depsfs adopt completes it)"),
        Some(_) => return format!("[ok]      {path} (plain files)"),
        None => {}
    }
    match (view.mounted, view.dropped, &view.error) {
        (true, _, _) if view.hung => format!("[HUNG]    {path} (requests wait for an answer that no server will give)"),
        (true, _, _) if view.refusing => format!("[MISSING] {path} (answers EIO)"),
        (true, _, _) => match &view.incomplete {
            Some(incomplete) => format!("[incomplete] {path}: {}", incomplete_words(incomplete)),
            None => format!("[ok]      {path}"),
        },
        (false, true, _) if view.remade => format!("[ok]      {path} (plain: deleted and made anew)"),
        (false, true, _) if let Some(now) = &view.renamed_to => {
            format!("[MISSING] {path} (renamed to {}; depsfs reset brings it back)", now.shown())
        }
        (false, true, _) => format!("[MISSING] {path} (deleted; depsfs reset brings it back)"),
        (false, false, Some(why)) => format!("[MISSING] {path} ({why})"),
        (false, false, None) => format!("[MISSING] {path} (not mounted)"),
    }
}

/// How much of a view is here, and whether the rest comes.
fn incomplete_words(view: &IncompleteView) -> String {
    let share = format!("{} %", view.percent);
    match &view.silent_since {
        // Hours and minutes of RFC 3339.
        Some(since) => {
            let at = since.get(11..16).unwrap_or(since);
            format!("{share}, remote {} does not answer since {at} UTC", view.remote.shown())
        }
        None => share,
    }
}
