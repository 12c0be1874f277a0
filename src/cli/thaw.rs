//! `depsfs thaw`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::answers::{ThawAnswer, ThawedAnswer};
use super::output::{self, count};
use super::progress::Bar;
use super::record;
use super::report::Failure;
use super::unmount::say_held;
use super::{named, places};
use crate::store::Progress;
use crate::store::manifest::ViewSpec;
use crate::sys::terminal::DisplayName;
use crate::views::set::Views;
use crate::views::{contents, thaw};

const EXAMPLES: &str = "Examples:
  depsfs thaw node_modules                 # a plain directory from now on
  depsfs thaw node_modules/left-pad        # or a part of it
  depsfs thaw fix-login                    # all views of another worktree";

/// Turn paths of views into plain files of the worktree
///
/// The bytes are copied out of the store, after those that are still at a remote were brought; nothing looks different
/// afterwards. A whole artifact directory stops being
/// a view and needs no daemon from then on; it is refused while a program uses it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Thaw {
    /// An artifact directory, a path below one, or a directory above some; after the name or branch of a worktree,
    /// paths in that one; without paths, all views of it
    #[arg(required = true, value_name = "WORKTREE|PATH")]
    paths: Vec<PathBuf>,
    /// Print what would be thawed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Thaw {
    /// Copies out each path, after all paths were checked. Of several, those before a failure are thawed.
    pub fn run(self) -> Result<(), Failure> {
        // All are looked at before one is changed.
        let mut all = Vec::new();
        for path in named::paths(&self.paths)?.or_top() {
            let views = places::views_at(&path)?;
            for (view, inside) in views.targets(&path)? {
                thaw::check(&views, &view, &inside)?;
                all.push((views.clone(), view, inside));
            }
        }
        if self.dry_run {
            return would(&all);
        }
        let bar = Bar::new();
        for (views, view, inside) in &all {
            contents::bring(views, view, inside, &bar)?;
        }
        drop(bar);
        let (mut reported, mut thawed) = (Ok(()), Vec::new());
        for (mut views, view, inside) in all {
            let name = view.path.join(&inside);
            record::begin("thaw", &views.manifest.store);
            record::concerns(&views.place(&view).join(&inside));
            let bar = Bar::new();
            bar.begin("thawing", None);
            let mut nodes = 0;
            let whole = thaw::thaw(&mut views, &view, &inside, &mut || {
                nodes += 1;
                bar.tick();
            })?;
            record::changed();
            drop(bar);
            if let Some(released) = whole {
                say_held(released, "it goes on with it as it was");
            }
            let whole = whole.is_some();
            if !output::is_json() {
                reported = reported.and(output::done("the paths were thawed", &line(&name, nodes, whole)));
            }
            thawed.push(ThawedAnswer { path: name.as_path().into(), paths: nodes, whole });
        }
        let answer = ThawAnswer { dry_run: false, thawed };
        reported.and_then(|()| output::done_answer("the paths were thawed", &answer, String::new))
    }
}

fn line(name: &Path, nodes: u64, is_whole: bool) -> String {
    let plain = if is_whole { ", no view any more" } else { "" };
    format!("thawed {}: {}{plain}\n", name.shown(), count(nodes, "path"))
}

fn would(all: &[(Views, ViewSpec, PathBuf)]) -> Result<(), Failure> {
    let (mut text, mut thawed) = (String::new(), Vec::new());
    for (views, view, inside) in all {
        let (name, nodes) = (view.path.join(inside), thaw::would(views, view, inside)?);
        let whole = inside.as_os_str().is_empty();
        text += &line(&name, nodes, whole);
        thawed.push(ThawedAnswer { path: name.as_path().into(), paths: nodes, whole });
    }
    output::answer(&ThawAnswer { dry_run: true, thawed }, || output::dry(true, text))
}
