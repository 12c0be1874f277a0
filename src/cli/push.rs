//! `depsfs push`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{PushAnswer, PushedAnswer};
use super::components::{self, Outside};
use super::output::{self, count, size};
use super::report::Failure;
use super::{named, places, record, remote};
use crate::component::{Components, template};
use crate::git::checkout::Checkout;
use crate::remote::{OpenRemote, PushOptions, PushOutcome, Pusher, commit_place};
use crate::sys::interrupt;
use crate::sys::terminal::DisplayName;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::artifacts::{commit, pushed};
use crate::worktree::recorded_times;
use crate::worktree::roots;

const EXAMPLES: &str = "Examples:
  depsfs push                    # all components that are built here
  depsfs push --all              # and every other artifact directory, under the commit
  depsfs push --dry-run";

/// Send artifacts to a remote of the team, for machines that have not built them
///
/// Without paths, the components that are built are sent, each under the name of its artifact for the key it has now.
/// With --all, the artifact directories that no component declares are sent as well, under the commit that is checked
/// out; with paths, what lies there. An entry that the remote has stays as it is. Files that may hold secrets, or paths
/// of this machine, are refused by name.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Push {
    /// Artifact directories; after the name or branch of a worktree, those in that one [default: those of all
    /// components]
    #[arg(value_name = "WORKTREE|PATH")]
    paths: Vec<PathBuf>,
    /// Send the artifact directories that no component declares as well
    #[arg(long, conflicts_with = "paths")]
    all: bool,
    /// Name of the remote [default: the first one]
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Line to push to [default: that of your configuration, else main]
    #[arg(long)]
    line: Option<String>,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Send files that match this pattern of .gitignore, though they are refused otherwise
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,
    /// Approve the commands and remotes that depsfs.toml names, as depsfs approve does
    #[arg(long)]
    approve: bool,
}

impl Push {
    /// To the first remote.
    pub fn to_first() -> Push {
        Push { paths: vec![], all: false, to: None, line: None, dry_run: false, allow: vec![], approve: false }
    }

    /// Runs it.
    ///
    /// # Errors
    /// It was not done, or not all of it.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let given = named::paths(&self.paths)?;
        let checkout = named::checkout(given.worktree.as_deref())?;
        let components = components::approved(&checkout, self.approve)?;
        remote::find(&components, self.to.as_deref())?;
        let store = match Views::of(&checkout)? {
            Some(views) => {
                // Unmounted, only the worktree's own files are there.
                views.mount()?;
                places::store_of(&views)?
            }
            None => places::store()?,
        };
        self.send(&checkout, &components, &given.paths, &Outside::new(store))?.print()
    }

    /// Sends the artifacts of a checkout, whose views are mounted: those at `paths`, as seen from the working directory;
    /// without paths, those of all components.
    ///
    /// # Errors
    /// It was not done, or not all of it.
    pub fn send(
        &self,
        checkout: &Checkout,
        components: &Components,
        paths: &[PathBuf],
        outside: &Outside,
    ) -> Result<PushReport, Failure> {
        let spec = remote::find(components, self.to.as_deref())?;
        let options = PushOptions {
            line: self.line.clone().or(spec.line.clone()).unwrap_or_else(|| "main".into()),
            allow: spec.allow.iter().chain(&self.allow).cloned().collect(),
            roots: roots::roots(checkout)?,
            dry_run: self.dry_run,
        };
        let opened = OpenRemote::open(spec)?;
        // One that does not answer is found before anything of the worktree is read or kept.
        opened.settings()?;
        if !self.dry_run {
            record::begin("push", outside.store.path());
            record::concerns(&checkout.root);
        }
        let _share = outside.store.share()?;
        let inside = inside(paths, checkout)?;
        let wants = pushed::Wants { paths: &inside, all: self.all, dry_run: self.dry_run };
        let chosen = outside.with(true, |supply| pushed::choose(checkout, components, &wants, supply))?;
        if chosen.is_empty() {
            return Err(Failure::Refused {
                what: "nothing was pushed",
                why: "there is no built component with a key, and --all was not given".into(),
                hint: "build one first; or give paths or --all to push directories of this commit",
            });
        }
        let mut pusher = Pusher::new(&opened, &outside.store, &options, &*outside.bar)?;
        let head = chosen.head.as_deref().unwrap_or("HEAD");
        let known = commit::places(&checkout.git(), head)?;
        pusher.learn(&known.into_iter().map(|(place, _)| place).collect::<Vec<_>>())?;
        let mut items = chosen.items(&outside.store, checkout)?;
        if let Some(head) = &chosen.head {
            items.push(chosen.commit(&outside.store, checkout, commit_place(head, template::platform()), head)?);
        } else {
            output::note("note: the checkout differs from its commit (git status): nothing is pushed under the commit");
        }
        let times = recorded_times::record(checkout).map_err(WorktreeError::from)?;
        let outcomes = pusher.push(&items.iter().map(|item| &item.item).collect::<Vec<_>>(), &times)?;
        let both = || items.iter().zip(&outcomes);
        let lines: String = both().map(|(item, outcome)| line(&item.name, outcome, self.dry_run)).collect();
        let entries = both().map(|(item, outcome)| pushed_answer(item.name.clone(), outcome)).collect();
        let traffic = opened.traffic();
        let to = format!("  to:       {}, line {}\n", opened.spec.shown_url().shown(), options.line.shown());
        let sent = format!("  sent:     {}, {}\n", size(traffic.sent), count(traffic.requests, "request"));
        let answer = PushAnswer {
            dry_run: self.dry_run,
            to: opened.spec.shown_url(),
            line: options.line.clone(),
            entries,
            requests: traffic.requests,
            bytes_sent: traffic.sent,
        };
        let lines = if self.dry_run { format!("{}{lines}{to}", output::DRY_RUN) } else { lines + &to + &sent };
        Ok(PushReport { answer, lines })
    }
}

/// A push that has ended, as it is reported.
pub struct PushReport {
    pub answer: PushAnswer,
    lines: String,
}

impl PushReport {
    /// Prints it.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub fn print(self) -> Result<(), Failure> {
        match self.answer.dry_run {
            true => output::answer(&self.answer, || self.lines),
            false => output::done_answer("the artifacts were pushed", &self.answer, || self.lines),
        }
    }
}

/// The paths, relative to the top of the checkout.
fn inside(paths: &[PathBuf], checkout: &Checkout) -> Result<Vec<PathBuf>, Failure> {
    let mut inside = Vec::new();
    for path in paths {
        let whole = crate::sys::path::canonical(path).map_err(WorktreeError::from)?;
        let outside = Failure::Usage("a path does not lie in the checkout", "go to the checkout that holds it");
        inside.push(whole.strip_prefix(&checkout.root).map_err(|_| outside)?.to_path_buf());
    }
    Ok(inside)
}

fn pushed_answer(name: String, outcome: &PushOutcome) -> PushedAnswer {
    let (new_files, new_bytes) = (outcome.new_files.len() as u64, outcome.new_bytes);
    PushedAnswer { name, was_there: outcome.was_there, unusable: outcome.unusable.clone(), new_files, new_bytes }
}

fn line(name: &str, outcome: &PushOutcome, dry_run: bool) -> String {
    let name = name.shown();
    if let Some(why) = &outcome.unusable {
        return format!("{name} is not pushed, as its name is taken: {why}\n");
    }
    if outcome.was_there {
        return format!("{name} is there already\n");
    }
    let verb = if dry_run { "would push" } else { "pushed" };
    let (files, bytes) = (count(outcome.new_files.len() as u64, "new file"), size(outcome.new_bytes));
    let mut words = format!("{verb} {name}: {files}, {bytes}\n");
    if dry_run {
        let shown = outcome.new_files.iter().take(SHOWN);
        words.extend(shown.map(|file: &PathBuf| format!("  new:      {}\n", Path::shown(file))));
        if outcome.new_files.len() > SHOWN {
            words += &format!("  new:      {} more\n", outcome.new_files.len() - SHOWN);
        }
    }
    words
}

/// The most new files that a dry run names.
const SHOWN: usize = 50;
