//! What is done with the traces of an artifact: the component that makes it says so, else git's configuration.

use std::path::Path;

use crate::sys::path;
use crate::worktree::component::{AbsolutePaths, Component, Config, FILE};
use crate::worktree::error::Error;
use crate::worktree::settings::Settings;

/// What the components and the configuration of a worktree say.
pub struct Policies {
    general: AbsolutePaths,
    components: Vec<Component>,
}

impl Policies {
    /// Those of a new worktree: its `depsfs.toml`, or the one that lies in its source, unknown to git.
    pub fn load(settings: &Settings, new: &Path, source: &Path) -> Result<Policies, Error> {
        let general = settings.absolute_paths()?;
        for root in [new, source] {
            let file = root.join(FILE);
            if let Some(text) = path::read_if_there(&file)? {
                return Ok(Policies { general, components: Config::parse(&file, &text)?.component });
            }
        }
        Ok(Policies { general, components: Vec::new() })
    }

    /// That of one artifact directory, relative to the top: its component's, or that of one that makes a part of it.
    pub fn of(&self, artifact: &Path) -> AbsolutePaths {
        let makes = |c: &&Component| c.patterns().iter().any(|p| p.holds(artifact));
        let makes_part = |c: &&Component| c.patterns().iter().any(|p| p.is_below(artifact));
        let found = self.components.iter().find(makes).or_else(|| self.components.iter().find(makes_part));
        found.and_then(|c| c.absolute_paths).unwrap_or(self.general)
    }
}
