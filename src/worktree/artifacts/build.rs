//! The build of one component, where nothing else has its artifacts.

use super::resolve::ArtifactSources;
use crate::component::key;
use crate::component::{BuildPaths, ComponentError, Components, Declared, NO_DIRECTORY_HINT};
use crate::git::checkout::Checkout;
use crate::git::command::LOCAL_VARIABLES;
use crate::sys::path;
use crate::sys::reason;
use crate::sys::shell::{self, Ended, Shell};
use crate::sys::terminal::DisplayName;

/// This program, as `depsfs exec` of the working directory's worktree, which lies at the source's path then.
const IN_NAMESPACE: [&str; 3] = ["/proc/self/exe", "exec", "--"];
const RESUME_HINT: &str = "mend it, then go on with depsfs create --resume";

/// Runs its build command in a checkout, with what it prints on stderr.
pub fn build(
    components: &Components,
    declared: &Declared,
    key: Option<&str>,
    checkout: &Checkout,
    supply: &ArtifactSources<'_>,
) -> Result<(), ComponentError> {
    let component = &declared.component;
    let wrong = |why: String, hint| ComponentError::Build { component: component.name.clone(), why, hint };
    let Some(command) = &component.build else {
        return Err(wrong(
            "it has no build command".into(),
            "give it build in depsfs.toml, or publish its artifact first",
        ));
    };
    let dir = checkout.root.join(&component.dir);
    if !path::is_dir(&dir) {
        return Err(wrong(format!("there is no directory {}", component.dir.shown()), NO_DIRECTORY_HINT));
    }
    (supply.say)(&format!("Building {}: {}", component.name, command.shown()));
    let mut set = key::environment(&component.name, &checkout.root);
    set.extend(key.map(|key| ("DEPSFS_KEY", key.into())));
    let limit = component.timeout;
    let shell = components.shell_of(declared);
    let at_source: Vec<String> = IN_NAMESPACE.map(str::to_owned).into_iter().chain(shell.iter().cloned()).collect();
    let argv = if components.paths == BuildPaths::Source { &at_source } else { shell };
    let run = Shell { shell: argv, command, dir: &dir, set: &set, unset: &LOCAL_VARIABLES, limit };
    match shell::run(&run)
        .map_err(|e| wrong(format!("cannot start {}: {}", shell[0].word(), reason(&e)), RESUME_HINT))?
    {
        Ended::Code(0) => Ok(()),
        ended => Err(wrong(format!("its command {} failed: {ended}", command.word()), RESUME_HINT)),
    }
}
