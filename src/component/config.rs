//! `depsfs.toml`: what a repository builds, as data. `depsfs help components` has the table of its keys, `depsfs init
//! --schema` their JSON schema.
//!
//! A key that isn't known, a name that is used twice, an order that goes in a circle: each is an error that names the
//! file, the line and the key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::terminal::DisplayName;
use crate::sys::time;

use schemars::JsonSchema;
use serde::Deserialize;

use super::order::{self, Ordered};
use super::pattern::{self, Pattern};
use super::template::Template;
use crate::git::settings::AbsolutePaths;
use crate::remote::RemoteTable;

/// Its name, at the top of a repository.
pub const FILE: &str = "depsfs.toml";

/// The whole of a `depsfs.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(title = "depsfs.toml")]
pub struct Config {
    /// The handling of ignored directories that no component names: `share` (as without this file) or `leave`.
    pub undeclared: Undeclared,
    /// The program and arguments that run commands; the command is the last argument.
    #[schemars(default = "shell")]
    pub shell: Option<Vec<String>>,
    /// The path at which builds find the worktree: its own, or that of the source checkout, as in `depsfs exec`.
    pub paths: BuildPaths,
    /// The components, in the order in which they are built.
    pub component: Vec<Component>,
    /// The object stores in which the team shares artifacts, in the order in which they are asked.
    pub remote: Vec<RemoteTable>,
}

/// The handling of ignored directories that no component names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Undeclared {
    /// They are shared from the source checkout, as without a `depsfs.toml`.
    #[default]
    Share,
    /// A new worktree doesn't get them.
    Leave,
}

/// The path at which builds find the worktree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuildPaths {
    /// Its own.
    #[default]
    Worktree,
    /// That of the source checkout, which is the same for all of its worktrees.
    Source,
}

/// One thing that is built: which artifacts it makes, and how a worktree gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Component {
    /// Its name; no other component has it.
    pub name: String,
    /// The directory in which its commands run and to which its paths are relative, below the top of the repository.
    #[serde(default)]
    pub dir: PathBuf,
    /// The artifact directories it makes, below `dir`; `*`, `?`, `**` and `[…]` as in .gitignore. git must ignore them.
    pub paths: Vec<String>,
    /// The inputs of its artifacts. Without a key they are taken from the source checkout as they are.
    pub key: Option<Key>,
    /// The name of its artifact in the build cache, such as `web-{key}-{platform}.tar.gz`. Without one the artifact is
    /// in the store only, as `<name>-<key>`.
    pub cache: Option<Template>,
    /// The command that builds it when it can't be had otherwise.
    pub build: Option<String>,
    /// The components that are built before it. Their keys are part of a key of files.
    #[serde(default)]
    pub after: Vec<String>,
    /// The handling of files that contain the source checkout's absolute path.
    pub absolute_paths: Option<AbsolutePaths>,
    /// If it has to be built, the build begins with the artifacts of the source checkout, though their key differs.
    #[serde(default)]
    pub incremental: bool,
    /// The longest its build may take, as `90s`, `20m` or `2h`; without it there is no limit.
    #[serde(default, deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
}

impl Ordered for Component {
    fn name(&self) -> &str {
        &self.name
    }

    fn after(&self) -> &[String] {
        &self.after
    }
}

/// The inputs of a component's artifacts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Key {
    /// Files whose names and contents make the key: below `dir`, or with a leading `/` below the top. Patterns as in
    /// `paths`.
    pub files: Vec<String>,
    /// A command that prints a content hash. `disabled-cache` in its output: no key this time.
    pub command: Option<String>,
    /// The longest the command may take [default: 10m].
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
}

/// A fault of a `depsfs.toml`, as `file, line n: why`. Lines count from 1; `None` if the fault has no line of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {why}", file.shown(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
pub struct ConfigError {
    pub file: PathBuf,
    pub line: Option<usize>,
    pub why: String,
}

impl Config {
    /// Reads the text of `file`, which is named in errors only.
    pub fn parse(file: &Path, text: &[u8]) -> Result<Config, ConfigError> {
        let config: Config = read(file, text)?;
        config.checked(file, text, |component| component)?;
        Ok(config)
    }

    /// Looks at what TOML can't say, at components as `seen` shows them.
    pub(crate) fn checked(
        &self,
        file: &Path,
        text: &[u8],
        seen: impl Fn(Component) -> Component,
    ) -> Result<(), ConfigError> {
        let at = |name: &str, why: String| {
            // The name stands in its component's table: the nearest place there is.
            let text = String::from_utf8_lossy(text);
            let is_its = |l: &str| l.trim_start().starts_with("name") && l.contains(&format!("{name:?}"));
            let why = format!("component {name:?}: {why}");
            ConfigError { file: file.into(), line: text.lines().position(is_its).map(|n| n + 1), why }
        };
        if self.shell.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError { file: file.into(), line: None, why: "shell names no program".into() });
        }
        let mut remotes = BTreeSet::new();
        for remote in &self.remote {
            let again = || (!remotes.insert(&remote.name)).then(|| "another remote has this name".to_owned());
            if let Some(why) = remote.fault().or_else(again) {
                return Err(ConfigError {
                    file: file.into(),
                    line: None,
                    why: format!("remote {:?}: {why}", remote.name),
                });
            }
        }
        let mut names = BTreeSet::new();
        for component in &self.component {
            let is_new = names.insert(component.name.as_str());
            let again = || (!is_new).then(|| "another component has this name".to_owned());
            if let Some(why) = component.fault().or_else(again) {
                return Err(at(&component.name, why));
            }
        }
        let components: Vec<Component> = self.component.iter().cloned().map(seen).collect();
        order::in_order(&components).map(drop).map_err(|(name, why)| at(&name, why))
    }

    /// The shell that runs commands, with its arguments.
    pub fn shell(&self) -> Vec<String> {
        self.shell.clone().unwrap_or_else(shell)
    }
}

/// Reads TOML of any shape; the error names the line and what is wrong there.
pub(crate) fn read<T: serde::de::DeserializeOwned>(file: &Path, text: &[u8]) -> Result<T, ConfigError> {
    let wrong = |line, why: String| ConfigError { file: file.into(), line, why };
    let text = std::str::from_utf8(text).map_err(|_| wrong(None, "it is not UTF-8".into()))?;
    toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        wrong(line, e.message().replace('\n', " "))
    })
}

fn shell() -> Vec<String> {
    ["sh", "-c"].map(str::to_owned).to_vec()
}

impl Component {
    /// The first error in this component, without regard to the others.
    fn fault(&self) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/@+".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_plain) || self.name.starts_with(['.', '-', '/']) {
            return Some("its name has to be made of letters, digits and . _ - / @ +".into());
        }
        if !pattern::stays_inside(&self.dir) {
            return Some(format!("dir {:?} does not lie below the top of the repository", self.dir));
        }
        if self.paths.is_empty() {
            return Some("paths names no artifact directory".into());
        }
        for (key, pattern) in self.paths.iter().map(|p| ("paths", p)).chain(self.key_files().map(|p| ("key.files", p)))
        {
            if let Err(why) = Pattern::new(&self.dir, pattern) {
                return Some(format!("{key} holds {pattern:?}: {why}"));
            }
        }
        let strays = |p: &&String| Pattern::new(&self.dir, p).is_ok_and(|p| !p.lies_in(&self.dir));
        if let Some(pattern) = self.paths.iter().find(strays) {
            return Some(format!("paths holds {pattern:?}, which does not lie below its dir"));
        }
        if self.key.as_ref().is_some_and(|key| key.files.is_empty() && key.command.is_none()) {
            return Some("its key has neither files nor a command".into());
        }
        if self.cache.is_some() && self.key.is_none() {
            return Some("cache needs a key".into());
        }
        None
    }

    fn key_files(&self) -> impl Iterator<Item = &String> {
        self.key.iter().flat_map(|key| &key.files)
    }

    /// The artifact directories, as patterns from the top of the repository.
    pub fn patterns(&self) -> Vec<Pattern> {
        self.paths.iter().filter_map(|p| Pattern::new(&self.dir, p).ok()).collect()
    }
}

/// `90s`, `20m`, `2h`.
fn duration<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(d)?;
    time::duration(&text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no time such as 90s, 20m or 2h")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("depsfs.toml"), text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_component_says_all_there_is_to_say_and_leaves_the_rest_to_defaults() {
        let config = parse(
            "undeclared = \"leave\"\nshell = [\"bash\", \"-c\"]\n[[component]]\nname = \"web\"\ndir = \"web\"\n\
             paths = [\"node_modules\", \"dist\"]\nkey = { files = [\"a.lock\"], command = \"hash\", timeout = \"90s\" }\n\
             cache = \"web-{key}.tar.gz\"\nbuild = \"npm ci\"\nafter = [\"lib\"]\nabsolute-paths = \"relocate\"\n\
             incremental = true\ntimeout = \"2h\"\n[[component]]\nname = \"lib\"\npaths = [\"target\"]\n",
        )
        .unwrap();
        let web = &config.component[0];
        assert_eq!((config.undeclared, config.shell()[0].as_str()), (Undeclared::Leave, "bash"));
        assert_eq!(web.timeout, Some(Duration::from_secs(7200)));
        assert_eq!(web.key.as_ref().unwrap().timeout, Some(Duration::from_secs(90)));
        assert_eq!((web.absolute_paths, web.incremental), (Some(AbsolutePaths::Relocate), true));
        let lib = Component { name: "lib".into(), paths: vec!["target".into()], ..Component::default() };
        assert_eq!(config.component[1], lib);
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_and_key() {
        let one = "[[component]]\nname = \"a\"\n";
        let table = [
            ("components = []\n".to_owned(), "depsfs.toml, line 1: unknown field `components`"),
            (format!("{one}paths = [\"x\"]\npathz = []\n"), "depsfs.toml, line 4: unknown field `pathz`"),
            (format!("{one}paths = [\"x\"]\n\nkey = {{ file = [] }}\n"), "depsfs.toml, line 5: unknown field `file`"),
            (one.into(), "depsfs.toml, line 1: missing field `paths`"),
            (format!("{one}paths = []\n"), "depsfs.toml, line 2: component \"a\": paths names no"),
            (format!("\n{one}paths = [\"../x\"]\n"), "depsfs.toml, line 3: component \"a\": paths holds \"../x\""),
            (format!("{one}paths = [\"x\"]\n{one}paths = [\"y\"]\n"), "another component has this name"),
            (format!("{one}paths = [\"x\"]\nafter = [\"b\"]\n"), "after names \"b\""),
            (format!("{one}paths = [\"x\"]\nkey = {{}}\n"), "its key has neither"),
            (format!("{one}paths = [\"x\"]\ncache = \"a-{{key}}.zst\"\n"), "cache needs a key"),
            (format!("{one}paths = [\"x\"]\ntimeout = \"soon\"\n"), "line 4: \"soon\" is no time"),
            (format!("{one}paths = [\"x\"]\nabsolute-paths = \"move\"\n"), "line 4: unknown variant `move`"),
            ("shell = []\n".into(), "shell names no program"),
            ("paths = \"here\"\n".into(), "depsfs.toml, line 1: unknown variant `here`"),
            ("[[component]\n".into(), "depsfs.toml, line 1: "),
        ];
        for (text, expected) in table {
            let said = parse(&text).unwrap_err();
            assert!(said.contains(expected), "{said}\n{text}");
        }
    }

    #[test]
    fn the_example_for_aztec_packages_is_one() {
        let file = Path::new("aztec-packages.toml");
        let config = Config::parse(file, include_bytes!("../../mount-helpers/aztec-packages.toml")).unwrap();
        let cached = config.component.iter().filter_map(|c| Some(c.cache.as_ref()?.fill(&c.name, "0123456789abcdef")));
        let cached: Vec<String> = cached.collect();
        assert!(cached.contains(&"noir-0123456789abcdef.tar.gz".to_owned()), "{cached:?}");
        assert!(cached.iter().any(|name| name.starts_with("barretenberg-") && name.ends_with(".zst")));
        let order = crate::component::order::in_order(&config.component).unwrap();
        let names: Vec<&str> = order.iter().map(|n| config.component[*n].name.as_str()).collect();
        assert_eq!((names[0], names[names.len() - 1]), ("noir", "yarn-project"));
    }
}
