//! `depsfs create`.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use super::answers::{ComponentAnswer, CreateAnswer};
use super::approve;
use super::components::{self, Outside};
use super::created::{built, next_line, shape_line, source_line, words};
use super::exec;
use super::make_options::MakeOptions;
use super::named;
use super::output;
use super::places;
use super::record;
use super::report::Failure;
use crate::git::checkout::Checkout;
use crate::sys::interrupt;
use crate::sys::terminal::DisplayName;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::artifacts;
use crate::worktree::artifacts::commit::{self, CommitArtifact};
use crate::worktree::branch::BranchRequest;
use crate::worktree::copies;
use crate::worktree::create::{self, CreateOptions};
use crate::worktree::plan::{self, CreatePlan, CreateRequest};
use crate::worktree::relocation;
use crate::worktree::shape::{self, ShapeChoice};

/// The fault of words that are neither a name, a base-ref nor a command.
const WORDS: &str = "create takes a name and a base-ref, and a command with --exec alone";
const HOW: &str = "depsfs create --help lists what it takes";

const EXAMPLES: &str = "Examples:
  depsfs create fix-login                  # ../fix-login, on a new branch, from HEAD
  depsfs create al/fix-login origin/main   # the branch by name, from the remote's main
  depsfs create fix-login --dry-run        # prints what would be made
  cd \"$(depsfs create fix-login --print-path)\"";

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
#[command(after_help = EXAMPLES)]
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
    /// Go on with the components of a worktree that were not fetched or built yet, after a build that failed
    #[arg(long, conflicts_with_all = ["base_ref", "branch", "new_branch", "reset_branch", "detach", "no_track", "path", "frozen_only", "dry_run", "print_path", "copy"])]
    resume: bool,
    #[command(flatten)]
    how: MakeOptions,
    /// Run the command after -- in the new worktree, as depsfs exec does
    #[arg(long, requires = "command", conflicts_with_all = ["dry_run", "no_mount", "resume", "print_path"])]
    exec: bool,
    /// With --exec: the command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Create {
    /// The name as it was given, for messages; without one (`--resume`) other words for it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("the worktree")
    }

    /// A worktree at a commit, with a branch that is decided.
    pub fn of_commit(name: String, base: Option<String>, branch: BranchRequest, how: MakeOptions) -> Create {
        let (mut named, mut new, mut reset) = (None, None, None);
        match branch {
            BranchRequest::Named(name) => named = Some(name),
            BranchRequest::New(name) => new = Some(name),
            BranchRequest::Reset(name) => reset = Some(name),
            BranchRequest::Derived | BranchRequest::Detached => {}
        }
        Create {
            name: Some(name),
            base_ref: base,
            branch: named,
            new_branch: new,
            reset_branch: reset,
            detach: false,
            no_track: true,
            resume: false,
            how,
            exec: false,
            command: Vec::new(),
        }
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

    /// Prints the report on stdout, or the path alone (`--print-path`); with `--exec` the command follows. A failed create
    /// is taken back, but a failed build leaves the worktree.
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
        if !self.how.dry_run {
            mount_source(&source)?;
        }
        let wish = self.request();
        let plan = plan::plan(source, &wish, &places::store_path()?)?;
        if let Some(beside) = &plan.beside {
            let (name, beside) = (wish.name.word(), beside.word());
            output::note(&format!(
                "note: there is also a branch {beside}: depsfs create {name} --branch {beside} checks it out"
            ));
        }
        if wish.dry_run {
            return self.preview(&plan);
        }
        approve::ensure(&plan.components, &plan.source.common_dir, self.how.approve)?;
        let mtimes = !self.how.no_mtimes && plan.settings.mtimes();
        let copy = !self.how.no_mount && copies::wanted(self.how.copy, &plan.settings)?;
        let outside = Outside::new(places::store()?)
            .with_remotes(&plan.components, self.how.remote)
            .with_mtimes(mtimes)
            .with_copy(copy);
        // Not mounted, it would not be put in place.
        let looks = !self.how.no_mount && plan.needs_commit_artifact();
        let of_commit = match (&plan.commit, looks) {
            (Some(at), true) => {
                outside.with(true, |supply| match commit::nearest(&plan.source.git(), at, supply)? {
                    // Components may be had elsewhere.
                    None if plan.components.is_empty() => commit::must_be_absent(at, supply).map(|()| None),
                    found => Ok(found),
                })?
            }
            _ => None,
        };
        if let (Some(found), Some(at)) = (&of_commit, &plan.commit) {
            self.note_drift(&plan.source, at, found)?;
        }
        if plan.is_unbuilt && of_commit.is_none() && (!self.how.allow_unbuilt || self.how.frozen_only) {
            return Err(WorktreeError::Unbuilt(plan.source.root).into());
        }
        if self.how.frozen_only && !plan.components.is_empty() {
            // Fetched, not only looked up: the artifacts have to be there.
            let foreseen = outside.with(true, |supply| artifacts::plan::foresee(&plan, supply))?;
            artifacts::plan::refuse_builds(&foreseen.unwrap_or_default())?;
        }
        record::begin("create", outside.store.path());
        record::concerns(&plan.names.path);
        self.make(&plan, &outside, of_commit.as_ref(), copy)?;
        // The command may run for hours, and is none of the create.
        if self.exec {
            record::end(0, None);
        }
        if self.exec { exec::execute(Some(&plan.names.path), &self.command) } else { Ok(()) }
    }

    fn request(&self) -> CreateRequest {
        CreateRequest {
            name: self.name.clone().unwrap_or_default(),
            base: self.base_ref.clone(),
            branch: self.branch_request(),
            no_track: self.no_track,
            path: self.how.path.clone(),
            frozen_only: self.how.frozen_only,
            allow_unbuilt: self.how.allow_unbuilt,
            dry_run: self.how.dry_run,
            user: places::user(),
        }
    }

    /// Prints the plan, and changes nothing.
    fn preview(&self, plan: &CreatePlan) -> Result<(), Failure> {
        let foreseen = components::foreseen(plan, self.how.preview())?;
        let components = foreseen.decisions().map(|all| all.iter().map(ComponentAnswer::from).collect());
        let answer = CreateAnswer { components, ..CreateAnswer::planned(plan) };
        if self.how.print_path && !output::is_json() {
            return output::path(&plan.names.path);
        }
        output::answer(&answer, || plan.words() + &foreseen.words())
    }

    /// A note of the lock files of the commit `at` that pushed artifacts were not made with; refused with `--frozen-only`.
    fn note_drift(&self, source: &Checkout, at: &str, found: &CommitArtifact) -> Result<(), Failure> {
        let drifted = commit::drifted(&source.git(), at, found)?;
        if self.how.frozen_only && !drifted.is_empty() {
            return Err(WorktreeError::WouldBuild(drifted).into());
        }
        let names: Vec<String> = drifted.iter().map(|lock| lock.shown().to_string()).collect();
        if !names.is_empty() {
            let names = names.join(", ");
            output::note(&format!("note: {names}: other than the pushed artifacts were made with"));
        }
        Ok(())
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

    fn make(
        &self,
        plan: &CreatePlan,
        outside: &Outside,
        of_commit: Option<&CommitArtifact>,
        copy: bool,
    ) -> Result<(), Failure> {
        let mtimes = !self.how.no_mtimes && plan.settings.mtimes();
        let ShapeChoice { shape, because } = shape::wanted(self.how.view.map(Into::into), plan, true)?;
        let allow_other = self.how.allow_other || shape::lets_others_in(shape);
        let how = CreateOptions { mount: !self.how.no_mount, mtimes, allow_other, shape, copy: false };
        let how = if copy { how.without_views() } else { how };
        let created =
            outside.with(true, |supply| create::create(plan, &outside.store, how, supply, outside.bar.clone()))?;
        let said = words("created", plan, &created, how)
            + &shape_line(because.filter(|_| how.mount))
            + &source_line(plan)
            + &components::lines(&created.decisions);
        let made = format!("{} was created", created.worktree.shown());
        let next = next_line(&created.worktree)?;
        let answer = CreateAnswer::made(plan, &created, how.mount);
        if !(how.mount || how.copy) || (created.decisions.is_empty() && of_commit.is_none()) {
            return self.report(&made, &answer, &created.worktree, said + &next);
        }
        // A build may take long: people read first that the worktree is there. JSON is one object.
        let reported = match (output::is_json(), self.how.print_path) {
            (true, _) => Ok(()),
            (false, true) => {
                said.lines().for_each(output::note);
                Ok(())
            }
            (false, false) => output::done(&made, &said),
        };
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
        lines += &built(&done);
        lines += &outside.traffic();
        lines += &outside.bring_contents(&new)?;
        let words = lines + &next;
        reported.and_then(|()| self.report(&made, &answer, &created.worktree, words))
    }

    /// The report on stdout; with `--print-path` on stderr, and the path alone on stdout.
    fn report(&self, made: &str, answer: &CreateAnswer, worktree: &Path, text: String) -> Result<(), Failure> {
        if !self.how.print_path || output::is_json() {
            return output::done_answer(made, answer, || text);
        }
        text.lines().for_each(output::note);
        output::path(worktree)
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
        let components = components::approved(&checkout, self.how.approve)?;
        record::begin("create --resume", store.path());
        record::concerns(&checkout.root);
        let outside = Outside::for_checkout(store, &checkout)?
            .with_remotes(&components, self.how.remote)
            .without_mtimes(self.how.no_mtimes);
        let done = components::go_on(&checkout, &components, &outside)?;
        let contents = outside.bring_contents(&checkout)?;
        let answer =
            CreateAnswer { worktree: checkout.root.as_path().into(), mounted: true, ..CreateAnswer::default() };
        let answer = answer.with_done(done.iter().map(ComponentAnswer::from).collect());
        let words = || match done.is_empty() {
            true => "nothing is left to be done\n".into(),
            false => components::done(&done) + &contents,
        };
        output::done_answer("the components were fetched or built", &answer, words)
    }
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
