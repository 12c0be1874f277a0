//! Common parts of `create`, `sync` and `publish`: the sources of artifacts, and reports about components.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::output::{count, size};
use super::progress::Bar;
use super::report::Failure;
use super::{approve, cache, places};
use crate::cache::Environment;
use crate::component::{Components, load};
use crate::git::checkout::Checkout;
use crate::git::settings::Settings;
use crate::remote::{Team, fetcher};
use crate::store::Store;
use crate::sys::path as paths;
use crate::sys::terminal::DisplayName;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::artifacts::commit::{self, CommitArtifact};
use crate::worktree::artifacts::materialize::{Brought, MaterializeTask};
use crate::worktree::artifacts::resolve::{ArtifactSource, ArtifactSources, Decision};
use crate::worktree::artifacts::{materialize, plan};
use crate::worktree::copies;
use crate::worktree::plan::CreatePlan;

/// The store, the build cache, and the person at the terminal.
pub struct Outside {
    pub store: Arc<Store>,
    env: Environment,
    pub bar: Arc<Bar>,
    mtimes: bool,
    copy: bool,
    /// The command returns when the contents of all files are here.
    complete: bool,
}

/// Which remotes are looked at.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct RemoteArgs {
    /// Don't look at the team's remotes for artifacts
    #[arg(long)]
    no_remote: bool,
    /// Take artifacts of this machine only: no remote and no build cache of another is asked
    #[arg(long)]
    offline: bool,
    /// Wait until the contents of all files are here, where a remote's configuration has them brought later (lazy = true)
    #[arg(long)]
    complete: bool,
}

impl RemoteArgs {
    /// Whether the team's remotes are looked at.
    pub fn looks(self) -> bool {
        !self.no_remote && !self.offline
    }
}

impl Outside {
    /// For artifacts in this store and at the build cache's remote (from the environment): views, with the source's
    /// times, until the `with_…` calls change that.
    pub fn new(store: Store) -> Outside {
        let (mut env, bar) = (cache::environment(), Arc::new(Bar::new()));
        env.lazy = true;
        Outside { store: Arc::new(store), env, bar, mtimes: true, copy: false, complete: false }
    }

    /// For the artifacts of a worktree that is there, with the settings of git's configuration. Its views, if it has
    /// any, stay what they are.
    ///
    /// # Errors
    /// The configuration cannot be read; `depsfs.mode` is none of the known words.
    pub fn for_checkout(store: Store, checkout: &Checkout) -> Result<Outside, Failure> {
        let settings = Settings::load(&checkout.git()).map_err(WorktreeError::from)?;
        let has_views = Views::of(checkout)?.is_some_and(|views| !views.manifest.views.is_empty());
        let copy = !has_views && copies::wanted(false, &settings)?;
        Ok(Outside::new(store).with_mtimes(settings.mtimes()).with_copy(copy))
    }

    /// Looks at the remotes of these components, too, unless the options say otherwise.
    pub fn with_remotes(mut self, components: &Components, which: RemoteArgs) -> Outside {
        if which.looks() {
            self.env.team = Team::of(components.remotes.clone());
        }
        // Contents that come later would come from a remote.
        self.env.lazy &= which.looks();
        self.complete = which.complete;
        if which.offline {
            self.env.remotes.clear();
            self.env.endpoint = Environment::default().endpoint;
        }
        self
    }

    /// Leaves tracked files their times, whatever the configuration has.
    pub fn without_mtimes(mut self, yes: bool) -> Outside {
        self.mtimes &= !yes;
        self
    }

    /// Whether tracked files get the times that came with artifacts.
    pub fn with_mtimes(mut self, yes: bool) -> Outside {
        self.mtimes = yes;
        self
    }

    /// Whether artifacts become plain files, and no view is mounted.
    pub fn with_copy(mut self, yes: bool) -> Outside {
        self.copy = yes;
        self.env.lazy &= !yes;
        self
    }

    /// The number of requests to the team's remotes, and the bytes that came.
    pub fn requests(&self) -> (u64, u64) {
        let traffic = self.env.team.traffic();
        (traffic.requests, traffic.received)
    }

    /// The requests to the team's remotes, in one line; nothing without any.
    pub fn traffic(&self) -> String {
        let traffic = self.env.team.traffic();
        match traffic.requests {
            0 => String::new(),
            n => format!("  remote:   {}, {}\n", count(n, "request"), size(traffic.received)),
        }
    }

    /// Has the contents of a worktree's files brought that are not here yet: waits for them with `--complete`, else they
    /// come in the background. Returns a line about them.
    ///
    /// # Errors
    /// Waited for, they did not come.
    pub fn bring_contents(&self, checkout: &Checkout) -> Result<String, Failure> {
        let trees = match Views::of(checkout)? {
            Some(views) => views.manifest.trees(),
            None => return Ok(String::new()),
        };
        let mut later = Vec::new();
        for tree in trees {
            later.extend(self.store.source(&tree)?.map(|_| tree));
        }
        if later.is_empty() {
            return Ok(String::new());
        }
        if self.complete {
            fetcher::complete(&self.store, &later, &*self.bar)?;
            return Ok("  contents: all are here\n".into());
        }
        if let Err(e) = fetcher::start(&self.store) {
            self.bar.say(&format!("{e}; files are fetched when they are read"));
        }
        Ok("  contents: they come while the views are used; depsfs status says how far\n".into())
    }

    /// Whether the command returns when the contents of all files are here.
    pub fn with_complete(mut self, yes: bool) -> Outside {
        self.complete = yes;
        self
    }

    /// Calls `act` with what artifacts come from.
    pub fn with<R>(&self, fetch: bool, act: impl FnOnce(&ArtifactSources<'_>) -> R) -> R {
        let say = |words: &str| self.bar.say(words);
        let (store, env, progress) = (&*self.store, &self.env, &*self.bar);
        act(&ArtifactSources { store, env, say: &say, progress, fetch, mtimes: self.mtimes, copy: self.copy })
    }
}

/// The result of a dry run about components.
pub enum Foreseen {
    /// And the line about the commit whose directories were pushed.
    Decided(Vec<Decision>, String),
    /// Their commands are not approved: they are not even looked at.
    Unapproved,
    /// The base-ref is not fetched yet.
    Unfetched,
}

impl Foreseen {
    /// A line for each component, or one with the reason why there are none.
    pub fn words(&self) -> String {
        match self {
            Foreseen::Decided(decisions, of_commit) => of_commit.clone() + &lines(decisions),
            Foreseen::Unapproved => "  components: not told, their commands are not approved (depsfs approve)\n".into(),
            Foreseen::Unfetched => "  components: not told, the base-ref is not fetched yet\n".into(),
        }
    }

    /// The decision for each component, if they were looked at.
    pub fn decisions(&self) -> Option<&[Decision]> {
        if let Foreseen::Decided(decisions, _) = self { Some(decisions) } else { None }
    }
}

/// How the components of a new worktree are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Preview {
    /// Their commands count as approved.
    pub approve: bool,
    /// Nothing is mounted, so that no directory of the commit is brought.
    pub no_mount: bool,
    /// That nothing is shared is an error.
    pub must_share: bool,
    pub remote: RemoteArgs,
}

/// Looks at the components of a new worktree, and changes nothing.
pub fn foreseen(plan: &CreatePlan, how: Preview) -> Result<Foreseen, Failure> {
    if plan.components.is_empty() && !plan.is_unbuilt {
        return Ok(Foreseen::Decided(Vec::new(), String::new()));
    }
    if !how.approve && !approve::is_given(&plan.components, &plan.source.common_dir)? {
        return Ok(Foreseen::Unapproved);
    }
    let path = places::store_path()?;
    let away = std::env::temp_dir().join(format!("depsfs-dry-run-{}", std::process::id()));
    // A store that isn't there holds nothing, and isn't made for a look.
    let is_there = paths::is_dir(&path);
    let outside =
        Outside::new(Store::open(if is_there { &path } else { &away })?).with_remotes(&plan.components, how.remote);
    let told = outside.with(false, |supply| plan::foresee(plan, supply));
    let of_commit = match how.no_mount {
        true => Ok(String::new()),
        false => outside.with(false, |supply| foreseen_commit(plan, supply)),
    };
    if !is_there {
        paths::remove_tree(&away).map_err(WorktreeError::from)?;
    }
    let of_commit = of_commit?;
    if plan.is_unbuilt && of_commit.is_empty() && how.must_share {
        return Err(WorktreeError::Unbuilt(plan.source.root.clone()).into());
    }
    Ok(told?.map_or(Foreseen::Unfetched, |decisions| Foreseen::Decided(decisions, of_commit)))
}

/// The commit whose directories were pushed and would be used, in one line.
fn foreseen_commit(plan: &CreatePlan, supply: &ArtifactSources<'_>) -> Result<String, Failure> {
    let Some(at) = plan.commit.as_ref().filter(|_| plan.needs_commit_artifact()) else { return Ok(String::new()) };
    let found = commit::look(&plan.source.git(), at, supply)?;
    Ok(found
        .map_or_else(String::new, |commit| format!("  pushed:   those of {}\n", commit.get(..10).unwrap_or(&commit))))
}

/// The artifact directories of a commit, in one line.
pub fn commit_line(found: &CommitArtifact, placed: &[PathBuf]) -> String {
    let named: Vec<String> = placed.iter().map(|at| at.shown().to_string()).collect();
    let commit = found.commit.get(..10).unwrap_or(&found.commit);
    let behind = match found.behind {
        0 => String::new(),
        n => format!(", {} before it", count(n as u64, "commit")),
    };
    format!("  pushed:   {} of {commit}{behind}, from {}\n", named.join(", "), found.received.url.shown())
}

/// A line for each component.
pub fn lines(decisions: &[Decision]) -> String {
    decisions.iter().map(|d| format!("  {:<9} {}\n", format!("{}:", d.component), d.words())).collect()
}

/// Goes on with what a worktree's components still need: what is not to be fetched is built.
pub fn go_on(checkout: &Checkout, components: &Components, outside: &Outside) -> Result<Vec<Brought>, Failure> {
    let done = outside.with(true, |supply| {
        materialize::bring(&MaterializeTask {
            checkout,
            components,
            supply,
            source: None,
            changed: false,
            builds: true,
        })
    });
    Ok(done?)
}

/// Brings the artifacts of components whose keys have changed, except those of the source: the caller takes these.
pub fn bring(
    checkout: &Checkout,
    components: &Components,
    outside: &Outside,
    builds: bool,
) -> Result<Vec<Brought>, Failure> {
    let source = source_of(checkout)?;
    let done = outside.with(true, |supply| {
        materialize::bring(&MaterializeTask {
            checkout,
            components,
            supply,
            source: source.as_ref(),
            changed: true,
            builds,
        })
    });
    Ok(done?)
}

/// As [`bring`] with changes, only looked at.
pub fn would_bring(checkout: &Checkout, components: &Components, outside: &Outside) -> Result<Vec<Brought>, Failure> {
    let source = source_of(checkout)?;
    let (record, decisions) = outside.with(false, |supply| {
        materialize::decisions(&MaterializeTask {
            checkout,
            components,
            supply,
            source: source.as_ref(),
            changed: true,
            builds: false,
        })
    })?;
    Ok(materialize::not_done(&record, decisions))
}

/// The checkout that a worktree was made from, if it is still there.
pub fn source_of(checkout: &Checkout) -> Result<Option<Checkout>, Failure> {
    let source = Views::of(checkout)?.and_then(|views| views.manifest.source);
    Ok(source.map(|at| Checkout::at(&at)).transpose().map_err(WorktreeError::from)?.flatten())
}

/// The components of a worktree, once its commands are approved.
pub fn approved(checkout: &Checkout, yes: bool) -> Result<Components, Failure> {
    let components = load::on_disk(checkout, &places::user())?;
    approve::ensure(&components, &checkout.common_dir, yes)?;
    Ok(components)
}

/// The outcome for components, a line each. The caller reports components that stay as they were.
pub fn done(all: &[Brought]) -> String {
    let line = |b: &Brought| {
        let words = match (&b.decision.way, b.done) {
            (ArtifactSource::Build, true) => "built".into(),
            _ => b.decision.words(),
        };
        format!("  {:<9} {words}\n", format!("{}:", b.decision.component))
    };
    all.iter().map(line).collect()
}
