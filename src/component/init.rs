//! `depsfs init`: a first `depsfs.toml`, of what lies in a checkout.
//!
//! | found                                   | a component for                      |
//! |-----------------------------------------|--------------------------------------|
//! | package-lock.json, npm-shrinkwrap.json  | npm                                  |
//! | pnpm-lock.yaml, yarn.lock               | pnpm, yarn                           |
//! | Cargo.lock                              | cargo                                |
//! | the topmost CMakeLists.txt              | cmake                                |
//! | uv.lock; poetry.lock; requirements.txt or pyproject.toml without them | uv; poetry; pip |
//! | the topmost meson.build                 | meson                                |
//! | the topmost pom.xml                     | maven                                |
//! | the topmost settings.gradle or build.gradle (also .kts) | gradle               |
//! | go.mod                                  | go                                   |
//! | Gemfile.lock, composer.lock             | bundler, composer                    |
//! | foundry.toml                            | foundry                              |
//! | ci3/cache_content_hash, and a bootstrap.sh beside .rebuild_patterns | ci3      |

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::ComponentError;
use super::tools::TOOLS;
use crate::git::checkout::{self, Checkout};

/// No more components are written.
const MOST: usize = 60;

const HEAD: &str = "\
# What this repository builds, for depsfs: https://github.com/depsfs/depsfs (depsfs help components).
#
# `depsfs create` tells each component's key in the new worktree, and takes its artifacts from the store or the build
# cache, from the source checkout when that has the same key, or builds them. Commands run after `depsfs approve`.

# Ignored directories that no component names: \"share\" takes them from the source checkout, \"leave\" does not.
# undeclared = \"share\"
";

const EMPTY: &str = "
# [[component]]
# name = \"web\"
# dir = \"web\"                             # where commands run; paths are relative to it
# paths = [\"node_modules\", \"dist\"]        # what it makes; git must ignore it
# key = { files = [\"package-lock.json\"] } # or command = \"./content-hash\"
# cache = \"web-{key}.tar.gz\"              # its name in the build cache
# build = \"npm ci && npm run build\"       # when it can't be had otherwise
# after = []                              # what has to be built before
";

/// One component to be written.
struct FoundTool {
    kind: &'static str,
    dir: PathBuf,
    paths: Vec<String>,
    key: String,
    cache: Option<String>,
    build: &'static str,
    more: &'static str,
    about: &'static str,
}

/// The text of a `depsfs.toml` for a checkout.
pub fn text(of: &Checkout) -> Result<String, ComponentError> {
    let tracked: Vec<PathBuf> = of.git().staged()?.into_iter().map(|(_, _, path)| path).collect();
    let untracked = of.git().untracked()?;
    let all: BTreeSet<PathBuf> = tracked.into_iter().chain(untracked).collect();
    let ignored: Vec<PathBuf> = of.git().ignored()?.iter().map(|p| checkout::plain(p)).collect();
    let mut found: Vec<FoundTool> = all.iter().filter_map(|path| component(path, &all, &ignored)).collect();
    found.truncate(MOST);
    let mut text = HEAD.to_owned();
    if found.is_empty() {
        text += EMPTY;
    }
    let mut names = BTreeSet::new();
    for one in &found {
        let name = name_of(one, &mut names);
        write_one(&mut text, one, &name);
    }
    Ok(text)
}

/// The component that a file stands for.
fn component(path: &Path, all: &BTreeSet<PathBuf>, ignored: &[PathBuf]) -> Option<FoundTool> {
    let dir = path.parent()?;
    let has = |name: &str| all.contains(&dir.join(name));
    let marker = path.file_name()?.to_str()?;
    match marker {
        "go.mod" => return Some(go(dir, has("go.sum"), ignored)),
        "bootstrap.sh" if has(".rebuild_patterns") && all.contains(Path::new("ci3/cache_content_hash")) => {
            return Some(ci3(dir, ignored));
        }
        _ => {}
    }
    let tool = TOOLS.iter().find(|tool| tool.marker == marker)?;
    // Some tools have one of several markers.
    let has_kind = |dir: &Path| TOOLS.iter().any(|t| t.kind == tool.kind && all.contains(&dir.join(t.marker)));
    let is_below = dir.ancestors().skip(1).any(has_kind);
    if tool.unless.iter().any(|other| has(other)) || (tool.topmost && is_below) {
        return None;
    }
    let build = tool.instead.filter(|(beside, _)| has(beside)).map_or(tool.build, |(_, build)| build);
    Some(FoundTool {
        kind: tool.kind,
        dir: dir.into(),
        paths: tool.paths.iter().map(|at| (*at).to_owned()).collect(),
        key: key_of(tool.files),
        cache: None,
        build,
        more: tool.more,
        about: tool.about,
    })
}

/// A key of files.
fn key_of(files: &[&str]) -> String {
    let quoted: Vec<String> = files.iter().map(|file| format!("{file:?}")).collect();
    format!("{{ files = [{}] }}", quoted.join(", "))
}

/// A module of Go: its vendored packages, if git ignores them, or its programs.
fn go(dir: &Path, has_sums: bool, ignored: &[PathBuf]) -> FoundTool {
    let is_vendored = ignored.contains(&dir.join("vendor"));
    let (made, build) = if is_vendored { ("vendor", "go mod vendor") } else { ("bin", "go build -o bin/ ./...") };
    FoundTool {
        kind: "go",
        dir: dir.into(),
        paths: vec![made.into()],
        key: key_of(if has_sums { &["go.mod", "go.sum"] } else { &["go.mod"] }),
        cache: None,
        build,
        more: "",
        about: "The output of Go; its own cache lies outside the checkout.",
    }
}

/// A component of ci3: its hash and its build are its own scripts'.
fn ci3(dir: &Path, ignored: &[PathBuf]) -> FoundTool {
    let below = ignored.iter().filter_map(|p| p.strip_prefix(dir).ok()).filter(|p| !p.as_os_str().is_empty());
    let mut paths: Vec<String> =
        below.filter(|p| !p.ends_with("node_modules")).map(|p| p.to_string_lossy().into_owned()).collect();
    if paths.is_empty() {
        paths.push("dest".into());
    }
    let last = dir.file_name().map_or("all".into(), |name| name.to_string_lossy().into_owned());
    FoundTool {
        kind: "ci3",
        dir: dir.into(),
        paths,
        key: "{ command = '\"$(git rev-parse --show-toplevel)\"/ci3/cache_content_hash .rebuild_patterns' }".into(),
        cache: Some(format!("{last}-{{key}}.tar.gz")),
        build: "./bootstrap.sh",
        more: "",
        about: "A component of ci3. `cache` has to be the name that its bootstrap.sh gives to cache_upload.",
    }
}

/// Its directory's name, or its kind's at the top; with a kind or a number behind it when that is taken.
fn name_of(one: &FoundTool, names: &mut BTreeSet<String>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/@+".contains(c);
    let dir: String = one.dir.to_string_lossy().chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let dir = dir.trim_start_matches(['.', '-', '/']);
    let first = if dir.is_empty() { one.kind.to_owned() } else { dir.to_owned() };
    let second = format!("{first}-{}", one.kind);
    let numbered = (2..).map(|n| format!("{second}-{n}"));
    let mut candidates = [first.clone(), second.clone()].into_iter().chain(numbered);
    let name = candidates.find(|name| !names.contains(name)).unwrap_or(first);
    names.insert(name.clone());
    name
}

fn write_one(text: &mut String, one: &FoundTool, name: &str) {
    let paths: Vec<String> = one.paths.iter().map(|p| format!("{p:?}")).collect();
    // Writing to a string does not fail.
    write!(text, "\n# {}\n[[component]]\nname = {name:?}\n", one.about).expect("a String takes all");
    if !one.dir.as_os_str().is_empty() {
        writeln!(text, "dir = {:?}", one.dir.to_string_lossy()).expect("a String takes all");
    }
    writeln!(text, "paths = [{}]", paths.join(", ")).expect("a String takes all");
    writeln!(text, "key = {}", one.key).expect("a String takes all");
    match &one.cache {
        Some(cache) => drop(writeln!(text, "cache = {cache:?}")),
        None => drop(writeln!(text, "# cache = \"{}-{{key}}-{{platform}}.tar.gz\"", name.replace('/', "-"))),
    }
    write!(text, "build = {:?}\n{}", one.build, one.more).expect("a String takes all");
}
