//! `depsfs thaw`.

use std::path::PathBuf;

use clap::Args;

use super::output::{self, count};
use super::places;
use super::progress::Bar;
use super::report::Failure;
use super::unmount::say_held;
use crate::store::Progress;
use crate::sys::terminal::DisplayName;
use crate::views::thaw;

/// Turn paths of views into plain files of the worktree
///
/// The bytes are copied out of the store; nothing looks different afterwards. A whole artifact directory stops being
/// a view and needs no daemon from then on; it is refused while a program uses it.
#[derive(Args)]
pub struct Thaw {
    /// An artifact directory, a path below one, or a directory above some
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Thaw {
    pub fn run(self) -> Result<(), Failure> {
        // All are looked at before one is changed.
        let mut all = Vec::new();
        for path in &self.paths {
            let views = places::views(Some(path))?;
            for (view, inside) in views.targets(path)? {
                thaw::check(&views, &view, &inside)?;
                all.push((views.clone(), view, inside));
            }
        }
        let mut reported = Ok(());
        for (mut views, view, inside) in all {
            let name = view.path.join(&inside);
            let bar = Bar::new();
            bar.begin("thawing", None);
            let mut nodes = 0;
            let whole = thaw::thaw(&mut views, &view, &inside, &mut || {
                nodes += 1;
                bar.tick();
            })?;
            drop(bar);
            if let Some(released) = whole {
                say_held(released, "it goes on with it as it was");
            }
            let plain = if whole.is_some() { ", no view any more" } else { "" };
            let line = format!("thawed {}: {}{plain}\n", name.shown(), count(nodes, "path"));
            reported = reported.and(output::done("the paths were thawed", &line));
        }
        reported
    }
}
