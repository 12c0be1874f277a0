//! `depsfs create`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{ComponentAnswer, CreateAnswer};
use super::approve;
use super::components::{self, Outside, RemoteArgs};
use super::created::words;
use super::exec;
use super::named;
use super::output;
use super::places;
use super::record;
use super::report::Failure;
use super::view_option::ViewOption;
use crate::git::checkout::Checkout;
use crate::sys::interrupt;
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::artifacts;
use crate::worktree::artifacts::commit::{self, CommitArtifact};
use crate::worktree::artifacts::materialize::Brought;
use crate::worktree::artifacts::resolve::ArtifactSource;
use crate::worktree::branch::BranchRequest;
use crate::worktree::copies;
use crate::worktree::create::{self, CreateOptions};
use crate::worktree::plan::{self, CreatePlan, CreateRequest};
use crate::worktree::relocation;
use crate::worktree::shape;

/// The fault of words that are neither a name, a base-ref nor a command.
const WORDS: &str = "create takes a name and a base-ref, and a command with --exec alone";
const HOW: &str = "depsfs create --help lists what it takes";

/// Create a git worktree with the artifact directories of this checkout
///
/// The worktree is made beside the source checkout (the checkout of the working directory) and named after the last
/// segment of NAME. Its branch is --branch, else NAME if it has a slash, else <initials>/NAME (git's user.initials,
/// or the first letters of user.name), else NAME; a branch that exists already is checked out when no BASE-REF is
/// given, and one that a single remote has is made and tracks it. Every ignored directory of the source becomes a view in it, ignored single files are copied, submodules
/// initialised in the source are initialised, and tracked files with equal content get the source's times, so that
/// make, cargo and tsc find their artifacts up to date.
///
/// Components that a depsfs.toml names are fetched from the build cache, taken from the source when their key is the
/// same, or built, in their order. A build that fails leaves the worktree: mend it, then give --resume.
///
/// Everything that can fail is checked first; a failure or Ctrl-C half-way takes back what was made.
#[derive(Args)]
#[allow(rustdoc::invalid_html_tags, reason = "the text is help on a terminal")]
pub struct Create {
    /// Name of the worktree, such as fix-login or al/fix-login; with --resume, a worktree [default: the working
    /// directory's]
    #[arg(required_unless_present_any = ["resume", "command"])]
    name: Option<String>,
    /// Commit to start at [default: HEAD]; one of a remote, such as origin/main, is fetched first
    base_ref: Option<String>,
    /// Name of the branch; one that exists is checked out
    #[arg(long, conflicts_with_all = ["new_branch", "reset_branch", "detach"])]
    branch: Option<String>,
    /// Make a branch of this name, and refuse if it exists
    #[arg(short = 'b', value_name = "BRANCH", conflicts_with_all = ["reset_branch", "detach"])]
    new_branch: Option<String>,
    /// Make a branch of this name; one that exists is moved to BASE-REF
    #[arg(short = 'B', value_name = "BRANCH", conflicts_with = "detach")]
    reset_branch: Option<String>,
    /// Check BASE-REF out without a branch
    #[arg(long)]
    detach: bool,
    /// Don't let the new branch track the remote branch that it starts at
    #[arg(long, conflicts_with = "detach")]
    no_track: bool,
    /// Directory of the worktree [default: as git config depsfs.path says, else beside the source checkout]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Refuse when an artifact would have to be built: lock files differ at BASE-REF, or there is nothing to share
    #[arg(long)]
    frozen_only: bool,
    /// Go on with the components of a worktree that were not fetched or built yet, after a build that failed
    #[arg(long, conflicts_with_all = ["base_ref", "branch", "new_branch", "reset_branch", "detach", "no_track", "path", "frozen_only", "dry_run"])]
    resume: bool,
    /// Print what would be made, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Prepare the views, but don't mount them
    #[arg(long)]
    no_mount: bool,
    /// Copy the artifacts as plain files instead of mounting views: needs no FUSE [default: git config depsfs.mode, else
    /// views]
    #[arg(long, conflicts_with_all = ["no_mount", "allow_other", "view", "resume"])]
    copy: bool,
    /// Let other users into the views, with the permissions that files have (else they get EACCES)
    #[arg(long)]
    allow_other: bool,
    /// Mount one view of the whole worktree, or one for each artifact directory [default: git config depsfs.view, else
    /// directories]
    #[arg(long, value_enum)]
    view: Option<ViewOption>,
    /// Leave tracked files the time of their checkout (git config depsfs.mtimes=false does so always)
    #[arg(long)]
    no_mtimes: bool,
    /// Go on when the source has no ignored directory to share
    #[arg(long)]
    allow_unbuilt: bool,
    /// Approve the commands that depsfs.toml names, as depsfs approve does
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Run the command after -- in the new worktree, as depsfs exec does
    #[arg(long, requires = "command", conflicts_with_all = ["dry_run", "no_mount", "resume"])]
    exec: bool,
    /// With --exec: the command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Create {
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("the worktree")
    }

    /// Without `--exec`, words behind `--` are the name and the base-ref: a name may begin with a dash.
    fn named(mut self) -> Result<Create, Failure> {
        if !self.exec {
            if self.name.is_some() && !self.command.is_empty() {
                return Err(Failure::Usage(WORDS, HOW));
            }
            for word in std::mem::take(&mut self.command) {
                let word = word.to_string_lossy().into_owned();
                match (&self.name, &self.base_ref) {
                    (None, _) => self.name = Some(word),
                    (_, None) => self.base_ref = Some(word),
                    _ => {
                        return Err(Failure::Usage(WORDS, HOW));
                    }
                }
            }
        }
        if self.name.is_none() && !self.resume {
            return Err(Failure::Usage(WORDS, HOW));
        }
        Ok(self)
    }

    pub fn run(self) -> Result<(), Failure> {
        let this = self.named()?;
        this.make_or_go_on()
    }

    fn make_or_go_on(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        if self.resume {
            return self.go_on();
        }
        let source = places::checkout()?;
        if !self.dry_run {
            mount_source(&source)?;
        }
        let wish = CreateRequest {
            name: self.name.clone().unwrap_or_default(),
            base: self.base_ref.clone(),
            branch: self.branch_request(),
            no_track: self.no_track,
            path: self.path.clone(),
            frozen_only: self.frozen_only,
            allow_unbuilt: self.allow_unbuilt,
            dry_run: self.dry_run,
            user: places::user(),
        };
        let plan = plan::plan(source, &wish, &places::store_path()?)?;
        if let Some(beside) = &plan.beside {
            let (name, beside) = (wish.name.word(), beside.word());
            output::note(&format!(
                "note: there is also a branch {beside}: depsfs create {name} --branch {beside} checks it out"
            ));
        }
        if wish.dry_run {
            let foreseen = components::foreseen(&plan, self.approve, self.remote)?;
            let components = foreseen.decisions().map(|all| all.iter().map(ComponentAnswer::from).collect());
            let answer = CreateAnswer { components, ..CreateAnswer::planned(&plan) };
            return output::answer(&answer, || plan.words() + &foreseen.words());
        }
        approve::ensure(&plan.components, &plan.source.common_dir, self.approve)?;
        let mtimes = !self.no_mtimes && plan.settings.mtimes();
        let outside = Outside::new(places::store()?).with_remotes(&plan.components, self.remote).with_mtimes(mtimes);
        let of_commit = match (&plan.commit, plan.needs_commit_artifact()) {
            (Some(at), true) => outside.with(true, |supply| commit::nearest(&plan.source.git(), at, supply))?,
            _ => None,
        };
        if plan.is_unbuilt && of_commit.is_none() && (!self.allow_unbuilt || self.frozen_only) {
            return Err(WorktreeError::Unbuilt(plan.source.root).into());
        }
        if self.frozen_only && !plan.components.is_empty() {
            // Fetched, not only asked for: what is promised has to be there.
            let foreseen = outside.with(true, |supply| artifacts::plan::foresee(&plan, supply))?;
            artifacts::plan::refuse_builds(&foreseen.unwrap_or_default())?;
        }
        record::begin("create", outside.store.path());
        record::concerns(&plan.names.path);
        self.make(&plan, &outside, of_commit.as_ref())?;
        // The command may run for hours, and is none of the create.
        if self.exec {
            record::end(0, None);
        }
        if self.exec { exec::execute(Some(&plan.names.path), &self.command) } else { Ok(()) }
    }

    fn branch_request(&self) -> BranchRequest {
        match (&self.branch, &self.new_branch, &self.reset_branch) {
            (Some(name), _, _) => BranchRequest::Named(name.clone()),
            (_, Some(name), _) => BranchRequest::New(name.clone()),
            (_, _, Some(name)) => BranchRequest::Reset(name.clone()),
            _ if self.detach => BranchRequest::Detached,
            _ => BranchRequest::Derived,
        }
    }

    fn make(&self, plan: &CreatePlan, outside: &Outside, of_commit: Option<&CommitArtifact>) -> Result<(), Failure> {
        let mtimes = !self.no_mtimes && plan.settings.mtimes();
        let shape = shape::wanted(self.view.map(Into::into), &plan.settings)?;
        let allow_other = self.allow_other || shape::lets_others_in(shape);
        let copy = !self.no_mount && copies::wanted(self.copy, &plan.settings)?;
        let how = CreateOptions { mount: !self.no_mount, mtimes, allow_other, shape, copy: false };
        let how = if copy { how.without_views() } else { how };
        let created =
            outside.with(true, |supply| create::create(plan, &outside.store, how, supply, outside.bar.clone()))?;
        let said = words("created", plan, &created, how) + &source_line(plan) + &components::lines(&created.decisions);
        let made = format!("{} was created", created.worktree.shown());
        let next = next_line(&created.worktree)?;
        let answer = CreateAnswer::made(plan, &created, how.mount);
        if !(how.mount || how.copy) || (created.decisions.is_empty() && of_commit.is_none()) {
            return output::done_answer(&made, &answer, || said + &next);
        }
        // A build may take long: people read first that the worktree is there. JSON is one object.
        let reported = if output::is_json() { Ok(()) } else { output::done(&made, &said) };
        let new = places::checkout_at(&created.worktree)?;
        let mut lines = String::new();
        if let Some(found) = of_commit {
            let placed = outside.with(true, |supply| commit::place(&new, found, supply))?;
            lines += &components::commit_line(found, &placed);
        }
        let done = match created.decisions.is_empty() {
            true => Ok(Vec::new()),
            false => components::go_on(&new, &plan.components, outside),
        };
        let done = match done {
            Ok(done) => done,
            Err(failed) if output::is_json() => {
                return output::done_answer(&made, &answer, String::new).and(Err(failed));
            }
            Err(failed) => return Err(failed),
        };
        let answer = answer.with_done(done.iter().map(ComponentAnswer::from).collect());
        let words = || lines + &built(&done) + &outside.traffic() + &next;
        reported.and_then(|()| output::done_answer(&made, &answer, words))
    }

    fn go_on(&self) -> Result<(), Failure> {
        let checkout = named::checkout(self.name.as_deref().map(Path::new))?;
        let store = match Views::of(&checkout)? {
            Some(views) => {
                views.mount()?;
                places::store_of(&views)?
            }
            None => places::store()?,
        };
        let components = components::approved(&checkout, self.approve)?;
        record::begin("create --resume", store.path());
        record::concerns(&checkout.root);
        let outside = Outside::new(store).with_remotes(&components, self.remote).with_mtimes(!self.no_mtimes);
        let done = components::go_on(&checkout, &components, &outside)?;
        let answer =
            CreateAnswer { worktree: checkout.root.as_path().into(), mounted: true, ..CreateAnswer::default() };
        let answer = answer.with_done(done.iter().map(ComponentAnswer::from).collect());
        let words = || match done.is_empty() {
            true => "nothing is left to be done\n".into(),
            false => components::done(&done),
        };
        output::done_answer("the components were fetched or built", &answer, words)
    }
}

/// The source, where that is not the checkout of the working directory.
fn source_line(plan: &CreatePlan) -> String {
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
fn next_line(worktree: &Path) -> Result<String, Failure> {
    let here = path::absolute(Path::new("."))?;
    let here = path::canonical(&here).unwrap_or(here);
    let common = here.ancestors().find(|above| worktree.starts_with(above)).unwrap_or(Path::new("/"));
    let ups = here.components().count() - common.components().count();
    let below = worktree.strip_prefix(common).unwrap_or(worktree);
    let way = if ups > 3 { worktree.into() } else { PathBuf::from("../".repeat(ups)).join(below) };
    Ok(format!("  next:     cd {}\n", way.word()))
}

/// The components that were built, in one line.
fn built(done: &[Brought]) -> String {
    let names: Vec<&str> = done
        .iter()
        .filter(|b| b.decision.way == ArtifactSource::Build)
        .map(|b| b.decision.component.as_str())
        .collect();
    if names.is_empty() { String::new() } else { format!("  built:    {}\n", names.join(", ")) }
}

/// Mounts the views of the source: without them a worktree of depsfs would share only its own changes.
pub(super) fn mount_source(source: &Checkout) -> Result<(), Failure> {
    let Some(views) = Views::of(source)? else { return Ok(()) };
    places::store_of(&views)?;
    relocation::follow(&views)?;
    if !views.manifest.views.iter().all(|v| views.is_settled(v)) {
        views.mount()?;
        output::note(&format!("mounted the views of the source {}", source.root.shown()));
    }
    Ok(())
}
