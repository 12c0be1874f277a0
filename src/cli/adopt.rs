//! `depsfs adopt`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::answers::{AdoptAnswer, CreateAnswer, JsonPath};
use super::components::{self, Outside, RemoteArgs};
use super::create::mount_source;
use super::created::{shape_line, words};
use super::progress::Bar;
use super::record;
use super::report::Failure;
use super::view_option::ViewOption;
use super::{approve, named, output, places};
use crate::component::{Components, load};
use crate::git::checkout::Checkout;
use crate::store::manifest::Shape;
use crate::store::plain_copy::CopyMode;
use crate::sys::interrupt;
use crate::sys::terminal::DisplayName;
use crate::views::copied;
use crate::views::reshape;
use crate::views::set::Views;
use crate::worktree::WorktreeError;
use crate::worktree::adopt;
use crate::worktree::artifacts::commit::{self, CommitArtifact};
use crate::worktree::copies;
use crate::worktree::create::CreateOptions;
use crate::worktree::plan;
use crate::worktree::shape::{self, ShapeChoice};

const EXAMPLES: &str = "Examples:
  git worktree add ../fix-logout && depsfs adopt ../fix-logout
  depsfs adopt                             # the worktree that you stand in";

/// Give a worktree that git or another tool made its artifact directories
///
/// As create does after git's part: every ignored directory of the source becomes a view, ignored single files that are
/// not there are copied, submodules initialised in the source are initialised, tracked files with equal content get the
/// source's times. Files of the worktree stay: those in its artifact directories lie on top, and are listed.
///
/// If the source has nothing to share, what the team's remotes have for this commit and for the components is brought.
/// A worktree that has its views already only gets them mounted.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Adopt {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    #[arg(value_name = "WORKTREE")]
    path: Option<PathBuf>,
    /// The checkout whose artifacts it gets [default: the main worktree of its repository]
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Prepare the views, but don't mount them
    #[arg(long)]
    no_mount: bool,
    /// Copy the artifacts as plain files instead of mounting views: needs no FUSE [default: git config depsfs.mode, else
    /// views]
    #[arg(long, conflicts_with_all = ["no_mount", "allow_other", "view"])]
    copy: bool,
    /// Let other users into the views, with the permissions that files have (else they get EACCES)
    #[arg(long)]
    allow_other: bool,
    /// Mount one view of the whole worktree, or one for each artifact directory [default: git config depsfs.view, else
    /// worktree if there are more than 16 of them or fusermount3 mounts fewer, else directories]
    #[arg(long, value_enum)]
    view: Option<ViewOption>,
    /// Leave tracked files their times (git config depsfs.mtimes=false does so always)
    #[arg(long)]
    no_mtimes: bool,
    /// Go on when the source has no ignored directory to share
    #[arg(long)]
    allow_unbuilt: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

impl Adopt {
    /// The directory as it was given, for messages; the working directory by default.
    pub fn place(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("."))
    }

    /// Prints the answer that `create` prints. A failed adopt is taken back; a worktree that is adopted already is only
    /// mounted.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let target = named::checkout(self.path.as_deref())?;
        let source = adopt::source_of(&target, self.source.as_deref())?;
        let _alone = adopt::lock(&target)?;
        if let Some(views) = adopt::present(&target, &source, self.source.is_some())? {
            return self.mount_present(views, &target, &source);
        }
        mount_source(&source)?;
        let declared = load::on_disk(&target, &places::user())?;
        let looks = self.looks(&target, &declared)?;
        let allow_unbuilt = self.allow_unbuilt || looks;
        let plan = plan::of_existing(source, &target, &declared, allow_unbuilt, &places::store_path()?)?;
        let mtimes = !self.no_mtimes && plan.settings.mtimes();
        let copy = !self.no_mount && copies::wanted(self.copy, &plan.settings)?;
        let is_from_team = looks && !self.no_mount && plan.ignored.directories.is_empty();
        let from_team = if is_from_team { Some(Outside::new(places::store()?)) } else { None };
        let from_team = from_team.map(|o| o.with_remotes(&declared, self.remote).with_mtimes(mtimes).with_copy(copy));
        let of_commit = from_team
            .as_ref()
            .map(|outside| outside.with(true, |supply| commit::nearest(&target.git(), "HEAD", supply)));
        let of_commit = of_commit.transpose()?.flatten();
        let may_come = of_commit.is_some() || (from_team.is_some() && !declared.is_empty());
        if plan.ignored.directories.is_empty() && !self.allow_unbuilt && !may_come {
            return Err(WorktreeError::Unbuilt(plan.source.root).into());
        }
        let refused = reshape::refuse_whole(&target.state_dir(), &target.root);
        let ShapeChoice { shape, because } = shape::wanted(self.view.map(Into::into), &plan, refused.is_ok())?;
        if shape == Shape::Worktree {
            refused?;
        }
        let allow_other = self.allow_other || shape::lets_others_in(shape);
        let how = CreateOptions { mount: !self.no_mount, mtimes, allow_other, shape, copy: false };
        let how = if copy { how.without_views() } else { how };
        let store = Arc::new(places::store()?);
        record::begin("adopt", store.path());
        record::concerns(&target.root);
        // One bar for all that comes.
        let bar = from_team.as_ref().map_or_else(|| Arc::new(Bar::new()), |outside| outside.bar.clone());
        let adopted = adopt::adopt(&plan, &target, &store, how, bar)?;
        let mut said = words("adopted", &plan, &adopted, how) + &shape_line(because);
        if how.mount && how.shape == Shape::Worktree {
            said += "  shells:   those that stand in it see the plain directory until they enter it anew\n";
        }
        if let Some(outside) = &from_team {
            said += &bring(&target, &declared, of_commit.as_ref(), outside)?;
        }
        let made = CreateAnswer { base_ref: None, ..CreateAnswer::made(&plan, &adopted, how.mount) };
        let answer = AdoptAnswer { had_views: false, made };
        output::done_answer(format!("{} was adopted", adopted.worktree.shown()), &answer, || said)
    }

    /// For a worktree that was adopted before: completes its copies and mounts its views.
    fn mount_present(&self, mut views: Views, target: &Checkout, source: &Checkout) -> Result<(), Failure> {
        let store = places::store_of(&views)?;
        copied::complete(&mut views, &store, CopyMode::Complete, &Bar::new())?;
        if !self.no_mount {
            views.mount()?;
        }
        let made = CreateAnswer {
            worktree: target.root.as_path().into(),
            source: Some(source.root.as_path().into()),
            mounted: !self.no_mount,
            views: JsonPath::list(views.manifest.views.iter().map(|view| &view.path)),
            ..CreateAnswer::default()
        };
        let text = || format!("{} has its views already\n", target.root.shown());
        output::done_answer("the worktree has its views", &AdoptAnswer { had_views: true, made }, text)
    }

    /// Whether the team's remotes may be looked at: those of a repository after their approval.
    fn looks(&self, target: &Checkout, declared: &Components) -> Result<bool, Failure> {
        if !self.remote.looks() || declared.remotes.is_empty() {
            return Ok(false);
        }
        let is_given = approve::is_given(declared, &target.common_dir)?;
        if !is_given {
            output::note("note: the remotes of depsfs.toml are not approved (depsfs approve), and not looked at");
        }
        Ok(is_given)
    }
}

/// Brings the remotes' artifacts, and returns a line for each.
fn bring(
    target: &Checkout,
    declared: &Components,
    of_commit: Option<&CommitArtifact>,
    outside: &Outside,
) -> Result<String, Failure> {
    let mut lines = String::new();
    if let Some(found) = of_commit {
        let placed = outside.with(true, |supply| commit::place(target, found, supply))?;
        lines += &components::commit_line(found, &placed);
    }
    if !declared.is_empty() {
        let brought = components::bring(target, declared, outside, false)?;
        lines += &components::done(&brought);
    }
    Ok(lines + &outside.traffic() + &outside.bring_contents(target)?)
}
