//! `depsfs cache`: the build cache of ci3, as its `cache_download` and `cache_upload` have it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Args, Subcommand};

use super::answers::{Answer, CacheExistsAnswer, CacheGetAnswer, CachePutAnswer, JsonPath};
use super::output;
use super::places;
use super::progress::Bar;
use super::record;
use super::report::Failure;
use crate::cache::{self, Artifact, ArtifactName, Environment, Put, RemoteRules, Reporting};
use crate::component::{Components, load};
use crate::git::checkout::Checkout;
use crate::git::settings::Settings;
use crate::remote::Team;
use crate::store::Store;
use crate::sys::log::OrWarn;
use crate::sys::terminal::DisplayName;
use crate::sys::{interrupt, path as paths, process};
use crate::worktree::WorktreeError;
use crate::worktree::placement::{self, PlaceRequest};

const EXAMPLES: &str = "Examples:
  depsfs cache get noir-0123456789abcdef.tar.gz
  depsfs cache put noir-0123456789abcdef.tar.gz target
  depsfs cache exists noir-0123456789abcdef.tar.gz || make";

/// Get and save build artifacts by name, as ci3's cache_download and cache_upload do
///
/// Nothing is written to stdout. An artifact comes from the store, from $CACHE_LOCAL_DIR, or from a remote: CI3_SERVER,
/// S3_BUILD_CACHE_AWS_PARAMS, CACHE_SSH_HOST, else $DEPSFS_CACHE_URL or git's depsfs.cacheUrl. A name that holds
/// "disabled-cache" and NO_CACHE=1 are a miss; NO_CACHE_UPLOAD=1 saves nothing.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct CacheCommand {
    #[command(subcommand)]
    verb: CacheVerb,
}

#[derive(Subcommand)]
enum CacheVerb {
    /// Put the files of an artifact in place; exit code 1 is a miss
    ///
    /// In a git worktree, members in ignored directories show in views, over which files that are there already stay
    /// on top; others are plain files. With CI=1, without git or FUSE, and in a worktree of create --copy, all are plain
    /// files. Existing files are never overwritten, but reported.
    Get {
        /// Name of the artifact, such as noir-0123456789abcdef.tar.gz
        name: String,
        /// Directory that the files are put below
        #[arg(default_value = ".")]
        out_dir: PathBuf,
    },
    /// Save paths as an artifact: in $CACHE_LOCAL_DIR, and at the remote unless CI=0
    Put {
        /// Name of the artifact, such as noir-0123456789abcdef.tar.gz
        name: String,
        /// Files and directories, relative to the working directory
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Exit code 0 when the store, $CACHE_LOCAL_DIR or the remote has the artifact, else 1
    Exists {
        /// Name of the artifact
        name: String,
    },
}

impl CacheCommand {
    /// The first words of the message if it fails.
    pub fn failing(&self) -> String {
        match &self.verb {
            CacheVerb::Get { name, .. } => format!("{name} is not in place"),
            CacheVerb::Put { name, .. } => format!("{name} was not saved"),
            CacheVerb::Exists { name } => format!("{name} cannot be asked for"),
        }
    }

    /// Prints progress and results on stderr. A miss is no message. Every failure but a signal is exit code 1: a script
    /// builds then.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        process::raise_open_files();
        match self.verb {
            CacheVerb::Get { name, out_dir } => get(&ArtifactName::new(&name)?, &out_dir),
            CacheVerb::Put { name, paths } => put(&ArtifactName::new(&name)?, &paths),
            CacheVerb::Exists { name } => {
                let found = cache::exists(&places::store()?, &ArtifactName::new(&name)?, &environment())?;
                silent(&CacheExistsAnswer { name, found })?;
                if found { Ok(()) } else { Err(Failure::Exited(1)) }
            }
        }
    }
}

/// The shell functions of ci3 expect nothing on stdout, but for an answer that `--json` asks for.
fn silent(answer: &impl Answer) -> Result<(), Failure> {
    output::answer(answer, String::new)
}

fn say(words: &str) {
    output::note(words);
}

fn get(name: &ArtifactName, out_dir: &Path) -> Result<(), Failure> {
    let env = environment();
    if name.is_disabled() || env.no_cache {
        return Err(Failure::Missed);
    }
    // A worktree that has views has them of one store.
    let store = match placement::store_at(out_dir)? {
        Some(path) => Store::existing(&path)?,
        None => places::store()?,
    };
    // Until the artifact is in a manifest, or extracted.
    let _share = store.share()?;
    let artifact = fetch(&store, name, &env)?;
    record::begin("cache get", store.path());
    record::concerns_name(name.as_str());
    record::concerns(out_dir);
    let placed = placement::place(
        &store,
        &[PlaceRequest { artifact: &artifact, out_dir, instead_of: &[], reveal: true }],
        is_ci(),
        &components_at(out_dir)?,
    )?;
    placed.words().iter().for_each(|words| say(words));
    silent(&CacheGetAnswer {
        name: name.to_string(),
        views: JsonPath::list(&placed.views),
        files: placed.written,
        kept: JsonPath::list(&placed.kept),
    })
}

/// The components of the checkout that holds a directory, whose policies for absolute paths count. A build goes on without
/// those that can't be read.
fn components_at(out_dir: &Path) -> Result<Components, Failure> {
    let Some(checkout) = placement::checkout_at(out_dir)? else { return Ok(Components::default()) };
    let components = load::on_disk(&checkout, &places::user());
    Ok(components.or_warn("the policies of components are not known").unwrap_or_default())
}

/// Whether this run is one of CI: then no view is made.
fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| !matches!(v.trim(), "" | "0" | "false"))
}

fn fetch(store: &Store, name: &ArtifactName, env: &Environment) -> Result<Artifact, Failure> {
    let bar = Bar::new();
    let line = |words: &str| bar.say(words);
    let artifact = cache::fetch(store, name, env, &Reporting { say: &line, reports_hits: true, progress: &bar })?;
    artifact.ok_or(Failure::Missed)
}

fn put(name: &ArtifactName, given: &[PathBuf]) -> Result<(), Failure> {
    let base = paths::canonical(Path::new(".")).map_err(WorktreeError::from)?;
    if let Ok(store) = places::store_path() {
        record::begin("cache put", &store);
        record::concerns_name(name.as_str());
    }
    let bar = Bar::new();
    let line = |words: &str| bar.say(words);
    let put =
        cache::put(name, given, &base, &environment(), &Reporting { say: &line, reports_hits: true, progress: &bar })?;
    drop(bar);
    let mut answer = CachePutAnswer { name: name.to_string(), skipped: None, file: None, uploaded: false };
    match put {
        Put::Skipped(why) => {
            record::forget();
            say(&format!("Not saving {name}: {why}."));
            answer.skipped = Some(why.to_string());
        }
        Put::Saved { file, remote } => {
            file.iter().for_each(|file| say(&format!("Saved {name} in {}.", file.shown())));
            if remote {
                say(&format!("Uploaded {name}."));
            }
            answer.file = file.map(|file| file.as_path().into());
            answer.uploaded = remote;
        }
    }
    silent(&answer)
}

/// The remotes of the build cache: its variables and addresses.
fn remotes() -> RemoteRules {
    let text = include_str!("../../mount-helpers/cache-remotes.toml");
    toml::from_str(text).expect("it is compiled in, and a test reads it")
}

/// The variables of this process. Switches are numbers; an empty variable is not set.
pub fn environment() -> Environment {
    let text = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    let is_set = |name: &str| text(name).is_some_and(|v| !matches!(v.trim(), "0" | "false"));
    let local_dir = std::env::var_os("CACHE_LOCAL_DIR").filter(|v| !v.is_empty());
    Environment {
        no_cache: is_set("NO_CACHE"),
        no_upload: is_set("NO_CACHE_UPLOAD"),
        local_dir: local_dir.map(|dir| std::path::absolute(&dir).unwrap_or(dir.into())),
        temporary: std::env::temp_dir(),
        is_local: text("CI").is_some_and(|v| matches!(v.trim(), "0" | "false")),
        remotes: remotes().rules.into_iter().filter_map(|rule| text(rule.variable()).map(|v| (rule, v))).collect(),
        endpoint: LazyLock::new(Box::new(move || text("DEPSFS_CACHE_URL").or_else(configured_endpoint))),
        // The build cache's own verbs have their own remotes.
        team: Team::default(),
        lazy: false,
    }
}

/// The endpoint in git's configuration, in a checkout.
fn configured_endpoint() -> Option<String> {
    let checkout = Checkout::containing(Path::new(".")).ok()??;
    Settings::load(&checkout.git()).ok()?.value("depsfs.cacheurl").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_the_variables_of_the_remotes_in_their_order() {
        let help =
            <CacheCommand as Args>::augment_args(clap::Command::new("cache")).get_long_about().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let at: Vec<_> = remotes().rules.iter().map(|rule| help.find(rule.variable())).collect();
        assert!(at.len() > 1 && at.iter().all(Option::is_some) && at.is_sorted(), "{at:?} in {help}");
    }
}
