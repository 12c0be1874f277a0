//! `depsfs fetch`.

use std::path::PathBuf;

use clap::Args;

use super::answers::{ComponentAnswer, FetchAnswer};
use super::components::{self, Outside, RemoteArgs};
use super::named;
use super::output;
use super::places;
use super::record;
use super::report::Failure;
use crate::git::checkout::Checkout;
use crate::remote::RemoteError;
use crate::sys::interrupt;
use crate::views::set::Views;
use crate::worktree::artifacts::commit;
use crate::worktree::artifacts::resolve::ArtifactSource;

const EXAMPLES: &str = "Examples:
  depsfs fetch
  depsfs fetch fix-login";

/// Bring what the team's remotes have for this worktree
///
/// Components whose artifacts are not in place are fetched, and so are the artifact directories of the nearest commit
/// that somebody has pushed with depsfs push --all. Nothing is built. The worktree's own files stay on top. The contents of
/// all files are here afterwards.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct FetchCommand {
    /// The worktree: its name, its branch, or any path in it [default: the working directory]
    #[arg(value_name = "WORKTREE")]
    path: Option<PathBuf>,
    /// Approve the commands and remotes that depsfs.toml names, as depsfs approve does
    #[arg(long)]
    approve: bool,
}

impl FetchCommand {
    /// Runs it.
    ///
    /// # Errors
    /// It was not done, or not all of it.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        let checkout = named::checkout(self.path.as_deref())?;
        let components = components::approved(&checkout, self.approve)?;
        let views = Views::of(&checkout)?;
        if components.remotes.is_empty() && views.is_none() {
            return Err(RemoteError::NoRemote.into());
        }
        let store = match &views {
            Some(views) => {
                views.mount()?;
                places::store_of(views)?
            }
            None => places::store()?,
        };
        let outside = Outside::for_checkout(store, &checkout)?
            .with_remotes(&components, RemoteArgs::default())
            .with_complete(true);
        record::begin("fetch", outside.store.path());
        record::concerns(&checkout.root);
        if components.remotes.is_empty() {
            return contents_alone(&checkout, &outside);
        }
        let brought = components::bring(&checkout, &components, &outside, false)?;
        let fetched: Vec<_> =
            brought.into_iter().filter(|b| b.done && matches!(b.decision.way, ArtifactSource::Artifact(_))).collect();
        let mut lines = components::done(&fetched);
        let mut answer = FetchAnswer {
            components: fetched.iter().map(ComponentAnswer::from).collect(),
            commit: None,
            directories: Vec::new(),
            requests: 0,
            bytes_received: 0,
        };
        let has_views = views.is_some_and(|views| !views.manifest.views.is_empty());
        if !has_views && lines.is_empty() {
            let found = outside.with(true, |supply| commit::nearest(&checkout.git(), "HEAD", supply))?;
            if let Some(found) = found {
                let placed = outside.with(true, |supply| commit::place(&checkout, &found, supply))?;
                lines += &components::commit_line(&found, &placed);
                answer.directories = placed.iter().map(|at| at.as_path().into()).collect();
                answer.commit = Some(found.commit);
            } else {
                outside.with(true, |supply| commit::must_be_absent("HEAD", supply))?;
            }
        }
        let contents = outside.bring_contents(&checkout)?;
        (answer.requests, answer.bytes_received) = outside.requests();
        output::done_answer("the artifacts were fetched", &answer, || match lines.is_empty() {
            true if !contents.is_empty() => contents.clone(),
            true => "the remotes have nothing that is not here\n".into(),
            false => lines + &outside.traffic() + &contents,
        })
    }
}

/// Completes views without a remote in the configuration: their trees know the one that they came from.
fn contents_alone(checkout: &Checkout, outside: &Outside) -> Result<(), Failure> {
    let contents = outside.bring_contents(checkout)?;
    if contents.is_empty() {
        record::forget();
        return Err(RemoteError::NoRemote.into());
    }
    let answer = FetchAnswer { components: vec![], commit: None, directories: vec![], requests: 0, bytes_received: 0 };
    output::done_answer("the contents were fetched", &answer, || contents)
}
