//! `depsfs publish`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{PublishAnswer, PublishedAnswer};
use super::components::{self, Outside};
use super::named::{self, NamedPaths};
use super::output::{self, count, size};
use super::places;
use super::push::Push;
use super::report::Failure;
use super::{record, remote};
use crate::component::{Components, Declared};
use crate::git::checkout::Checkout;
use crate::sys::{interrupt, path as paths};
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::artifacts::capture;
use crate::worktree::artifacts::materialize::{self, MaterializeTask};

const EXAMPLES: &str = "Examples:
  depsfs publish                           # all components that are built here
  depsfs publish build --name nightly      # one entry of any name
  depsfs publish fix-login build           # what another worktree has built";

/// Keep what this worktree has built as an entry of the store, which the next worktree gets
///
/// The entry has all visible files, the store's and the worktree's own; nothing of the worktree changes. Without
/// --name, the components that the paths belong to are published (without paths, all that are built), each under the
/// name of its artifact for the key it has now: the next create with that key takes it. With --name, the paths become
/// one entry of that name, at their places seen from the working directory. A file that is written meanwhile is an
/// error.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Publish {
    /// Artifact directories or files; after the name or branch of a worktree, those in that one [default: those of all
    /// components]
    #[arg(value_name = "WORKTREE|PATH")]
    paths: Vec<PathBuf>,
    /// The name of the entry; one that is there is replaced
    #[arg(long, requires = "paths")]
    name: Option<String>,
    /// Approve the commands that depsfs.toml names, as depsfs approve does
    #[arg(long)]
    approve: bool,
    /// Send what was published to the first remote of the team, as depsfs push does
    #[arg(long, conflicts_with = "name")]
    push: bool,
}

impl Publish {
    /// The first words of the message if it fails.
    pub fn failing(&self) -> String {
        let words =
            if self.push { "not everything was published and pushed" } else { "the components were not published" };
        words.into()
    }

    /// Mounts the worktree, then puts its directories into the store, and with `--push` at the team's remote.
    /// Components that were published before a failure stay so.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let named = named::paths(&self.paths)?;
        let checkout = named::checkout(named.worktree.as_deref())?;
        if let Some(views) = Views::of(&checkout)? {
            // Unmounted, only the worktree's own files are there.
            views.mount()?;
        }
        let outside = Outside::new(places::store()?).with_complete(true);
        // A published entry needs no remote.
        outside.bring_contents(&checkout)?;
        record::begin("publish", outside.store.path());
        record::concerns(&checkout.root);
        match &self.name {
            Some(name) => entry(name, &named, &outside),
            None => self.components(&checkout, &named.paths, &outside),
        }
    }

    fn components(&self, checkout: &Checkout, given: &[PathBuf], outside: &Outside) -> Result<(), Failure> {
        let components = components::approved(checkout, self.approve)?;
        if self.push {
            remote::find(&components, None)?;
        }
        let wanted = makers(&components, checkout, given)?;
        let is_wanted = |d: &Declared| match given.is_empty() {
            true => d.component.key.is_some(),
            false => wanted.contains(&d.component.name),
        };
        let all = outside.with(true, |supply| {
            let task = MaterializeTask {
                checkout,
                components: &components,
                supply,
                source: None,
                changed: false,
                builds: false,
            };
            materialize::publish_all(&task, &is_wanted, !given.is_empty())
        })?;
        if all.is_empty() {
            return Err(Failure::Refused {
                what: "nothing was published",
                why: "no component with a key has been built here".into(),
                hint: "build one first; or give paths and --name",
            });
        }
        let line = |(name, entry, frozen): &(String, String, capture::Frozen)| {
            format!("published {name} as {entry}: {}, {}\n", count(frozen.files, "file"), size(frozen.bytes))
        };
        let rows = all.iter().map(|(name, entry, frozen)| published(Some(name), entry, frozen)).collect();
        let mut answer = PublishAnswer { published: rows, pushed: None };
        let (done, text) = ("the components were published", || all.iter().map(line).collect());
        if !self.push {
            return output::done_answer(done, &answer, text);
        }
        // As text, they are reported before the push begins; as JSON, both are one object.
        if !output::is_json() {
            output::done_answer(done, &answer, text)?;
        }
        let sent = Push::to_first().send(checkout, &components, given, outside);
        if !output::is_json() {
            return sent?.print();
        }
        let (pushed, ended) = match sent {
            Ok(report) => (Some(report.answer), Ok(())),
            Err(failure) => (None, Err(failure)),
        };
        answer.pushed = pushed;
        output::done_answer(done, &answer, text)?;
        ended
    }
}

/// The names of the components that make artifacts at these paths. A path without one is wrong usage.
fn makers(components: &Components, checkout: &Checkout, given: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for path in given {
        let whole = paths::canonical(path).map_err(WorktreeError::from)?;
        let at = whole.strip_prefix(&checkout.root).unwrap_or(&whole).to_path_buf();
        let found: Vec<String> =
            components.all.iter().filter(|d| d.holds(&at)).map(|d| d.component.name.clone()).collect();
        if found.is_empty() {
            return Err(Failure::Usage("no component has an artifact at one of the paths", "give --name"));
        }
        names.extend(found);
    }
    Ok(names)
}

/// Publishes paths as one entry, at their places seen from the worktree that was named, else the working directory.
fn entry(name: &str, named: &NamedPaths, outside: &Outside) -> Result<(), Failure> {
    if named.paths.is_empty() {
        return Err(Failure::Usage("no path is named", "give artifact directories or files after the worktree"));
    }
    let base = named.worktree.as_deref().unwrap_or(Path::new("."));
    let base = paths::canonical(base).map_err(WorktreeError::from)?;
    let mut inside = Vec::new();
    for path in &named.paths {
        let whole = paths::canonical(path).map_err(WorktreeError::from)?;
        let below = whole.strip_prefix(&base).ok().filter(|p| !p.as_os_str().is_empty());
        let outside_it = "a path does not lie below the working directory";
        inside.push(below.ok_or(Failure::Usage(outside_it, "go to a directory above all of them"))?.to_path_buf());
    }
    let _share = outside.store.share()?;
    let frozen = capture::freeze(&outside.store, &base, &inside, &*outside.bar)?;
    capture::name(&outside.store, name, &frozen, &base)?;
    let (files, bytes) = (count(frozen.files, "file"), size(frozen.bytes));
    let published = vec![published(None, name, &frozen)];
    let text = || format!("published {name}: {files}, {bytes}\n");
    output::done_answer(format!("{name} was published"), &PublishAnswer { published, pushed: None }, text)
}

fn published(component: Option<&String>, entry: &str, frozen: &capture::Frozen) -> PublishedAnswer {
    PublishedAnswer { component: component.cloned(), entry: entry.into(), files: frozen.files, bytes: frozen.bytes }
}
