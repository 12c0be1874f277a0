//! `depsfs thaw`.

use std::path::PathBuf;

use clap::Args;

use super::output::{self, count};
use super::places;
use super::progress::Bar;
use super::report::Failure;
use crate::store::Progress;
use crate::sys::terminal::Shown;
use crate::worktree::thaw;

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
        for path in &self.paths {
            let mut views = places::views(Some(path))?;
            for (view, inside) in views.targets(path)? {
                let bar = Bar::new();
                bar.begin("thawing", None);
                let mut nodes = 0;
                let whole = thaw::thaw(&mut views, &view, &inside, &mut || {
                    nodes += 1;
                    bar.tick();
                })?;
                drop(bar);
                let plain = if whole { ", no view any more" } else { "" };
                let name = if whole { view.path.clone() } else { view.path.join(&inside) };
                output::print(&format!("thawed {}: {}{plain}\n", name.shown(), count(nodes, "path")))?;
            }
        }
        Ok(())
    }
}
