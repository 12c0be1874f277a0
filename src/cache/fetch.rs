//! `depsfs cache get`, the first half: an artifact becomes an entry of the store, once for all callers.

use std::path::Path;
use std::time::Duration;

use super::local::{Local, PartialArtifact};
use super::remote::{Missed, Remote};
use super::{Artifact, ArtifactName, CacheError, Environment, Reporting};
use crate::remote::{self, Search};
use crate::store::import::{ArchiveLimits, ImportError, Refused, import_archive};
use crate::store::{Provenance, Store, escape};
use crate::sys::fs::Timespec;
use crate::sys::log::OrWarn;
use crate::sys::{interrupt, time};

/// Downloads of one artifact, before it is a miss.
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The artifact as an entry of the store: it is there, or comes from `CACHE_LOCAL_DIR`, or from the remote. `None` is a
/// miss. An archive that is refused as damaged or foreign is a miss too: nothing of it is kept.
///
/// Of several callers at once one fetches, the others wait for it.
pub fn fetch(
    store: &Store,
    name: &ArtifactName,
    env: &Environment,
    to: &Reporting<'_>,
) -> Result<Option<Artifact>, CacheError> {
    if name.is_disabled() || env.no_cache {
        let why = if env.no_cache { "NO_CACHE is set" } else { "its files differ from the commit's" };
        (to.say)(&format!("Not using the cache for {name}: {why}."));
        return Ok(None);
    }
    // Until it is used: gc must not come between.
    let _share = store.share()?;
    if let Some(found) = known(store, name, env, to)? {
        return Ok(Some(found));
    }
    let go_on = || interrupt::check().map_err(|_| CacheError::Interrupted);
    let _flight = store.single_flight(&blake3::hash(name.stem().as_bytes()), go_on)?;
    if let Some(found) = known(store, name, env, to)? {
        return Ok(Some(found));
    }
    let local = Local::open(env, to.say);
    if let Some(dir) = &local
        && let Some(file) = dir.find(name)?
    {
        match add(store, name, &file, shown(&file), to) {
            Ok(artifact) => {
                to.hit(name);
                dir.touch(&file);
                return Ok(Some(artifact));
            }
            Err(CacheError::Import(e @ ImportError::Refused { .. })) => {
                (to.say)(&format!("{e}; nothing of it is used"))
            }
            Err(e) => return Err(e),
        }
    }
    if let Some(found) = from_team(store, name, name.as_str(), env, to)? {
        return Ok(Some(found));
    }
    let Some(remote) = Remote::of(env)? else {
        (to.say)(&format!("Local cache miss for {name}, and there is no remote."));
        return Ok(None);
    };
    (to.say)(&format!("Local cache miss for {name}, downloading from remote."));
    download(store, name, &remote, local.as_ref(), to)
}

/// The artifact from one of the team's remotes, where it is called `at`.
///
/// # Errors
/// A signal came, or the store cannot be written; a remote that fails is reported and is a miss.
pub fn from_team(
    store: &Store,
    name: &ArtifactName,
    at: &str,
    env: &Environment,
    to: &Reporting<'_>,
) -> Result<Option<Artifact>, CacheError> {
    if env.team.is_empty() {
        return Ok(None);
    }
    let _share = store.share()?;
    let entry = name.entry_name(store)?.to_owned();
    let places = [remote::entry_place(at)];
    let found = env.team.bring(&Search {
        store,
        places: &places,
        name: &|_| entry.clone(),
        command: "a remote",
        lazy: env.lazy,
        say: to.say,
        progress: to.progress,
    })?;
    Ok(found.map(|found| {
        (to.say)(&format!("{name} came from {} (line {}).", found.url, found.line));
        Artifact { name: name.clone(), tree: found.tree, entry }
    }))
}

/// Whether one of the team's remotes has the artifact that is called `at` there. Nothing is fetched.
///
/// # Errors
/// A signal came.
pub fn team_has(store: &Store, at: &str, env: &Environment, say: &dyn Fn(&str)) -> Result<bool, CacheError> {
    let places = [remote::entry_place(at)];
    let search =
        Search { store, places: &places, name: &|_| String::new(), command: "", lazy: false, say, progress: &() };
    Ok(!env.team.is_empty() && env.team.look(&search)?.is_some())
}

/// An entry that is there counts as used now.
fn known(
    store: &Store,
    name: &ArtifactName,
    env: &Environment,
    to: &Reporting<'_>,
) -> Result<Option<Artifact>, CacheError> {
    let Some(entry) = name.find(store)? else { return Ok(None) };
    if !store.is_complete(entry.tree)? && !(env.lazy && store.is_usable(entry.tree)?) {
        if store.source(&entry.tree)?.is_none() {
            (to.say)(&format!("{name} is in the store, but damaged: it is fetched again."));
        }
        return Ok(None);
    }
    to.hit(name);
    // In another user's store it stays as it is.
    store.entries().touch(&entry.name).or_warn("the last use of an entry is not noted");
    Ok(Some(Artifact { name: name.clone(), tree: entry.tree, entry: entry.name }))
}

fn download(
    store: &Store,
    name: &ArtifactName,
    remote: &Remote,
    local: Option<&Local>,
    to: &Reporting<'_>,
) -> Result<Option<Artifact>, CacheError> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS {
        let (words, again) = match download_once(store, name, remote, local, to)? {
            Ok(artifact) => return Ok(Some(artifact)),
            Err(Missed::Failed(e)) => return Err(e),
            Err(Missed::Absent) => {
                (to.say)(&format!("The remote has no {name}."));
                return Ok(None);
            }
            Err(Missed::Broken { words, again }) => (words, again && attempt < ATTEMPTS),
        };
        let then = if again { "; trying again" } else { "" };
        (to.say)(&format!("{name} was not downloaded: {words}{then}"));
        if !again {
            break;
        }
        sleep(pause)?;
        pause *= 2;
    }
    Ok(None)
}

/// One attempt. A download is checked before it gets its name: no other process finds half of it.
fn download_once(
    store: &Store,
    name: &ArtifactName,
    remote: &Remote,
    local: Option<&Local>,
    to: &Reporting<'_>,
) -> Result<Result<Artifact, Missed>, CacheError> {
    let tmp = store.path().join("tmp");
    let mut local = local;
    let aside = match local.map(|dir| PartialArtifact::to_fetch(dir.path(), name)) {
        Some(Ok(aside)) => aside,
        Some(Err(e)) => {
            (to.say)(&format!("Warning: CACHE_LOCAL_DIR is not written: {e}"));
            local = None;
            PartialArtifact::to_fetch(&tmp, name)?
        }
        None => PartialArtifact::to_fetch(&tmp, name)?,
    };
    if let Err(missed) = remote.download(name, &aside, to.progress) {
        return Ok(Err(missed));
    }
    match add(store, name, aside.path(), remote.place(name), to) {
        Ok(artifact) => {
            if let Some(dir) = local {
                aside.name(&dir.path().join(name.as_str()))?;
            }
            Ok(Ok(artifact))
        }
        // A connection that broke without an error leaves the same.
        Err(CacheError::Import(ImportError::Refused { why, .. })) => {
            let again = matches!(why, Refused::Truncated);
            Ok(Err(Missed::Broken { words: format!("the downloaded archive is refused: {why}"), again }))
        }
        Err(e) => Err(e),
    }
}

/// Imports the file at `path`, and names the tree.
fn add(
    store: &Store,
    name: &ArtifactName,
    path: &Path,
    source: String,
    to: &Reporting<'_>,
) -> Result<Artifact, CacheError> {
    let imported = import_archive(store, path, &ArchiveLimits::default(), to.progress)?;
    let entry = name.entry_name(store)?.to_owned();
    let provenance = Provenance {
        source,
        command: "depsfs cache get".into(),
        created: time::rfc3339(Timespec::now()),
        files: imported.stats.files,
        bytes: imported.stats.bytes,
    };
    store.entries().put(&entry, imported.tree, provenance)?;
    Ok(Artifact { name: name.clone(), tree: imported.tree, entry })
}

fn shown(path: &Path) -> String {
    escape::escape(path.as_os_str().as_encoded_bytes())
}

/// Ended by a signal.
fn sleep(pause: Duration) -> Result<(), CacheError> {
    let until = std::time::Instant::now() + pause;
    while std::time::Instant::now() < until {
        if interrupt::raised().is_some() {
            return Err(CacheError::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Whether it is in the store, in `CACHE_LOCAL_DIR`, or at the remote, queried in this order. Nothing is fetched.
pub fn exists(store: &Store, name: &ArtifactName, env: &Environment) -> Result<bool, CacheError> {
    if name.is_disabled() || env.no_cache {
        return Ok(false);
    }
    if name.find(store)?.is_some() {
        return Ok(true);
    }
    if let Some(local) = Local::known(env)
        && local.find(name)?.is_some()
    {
        return Ok(true);
    }
    if team_has(store, name.as_str(), env, &|_| ())? {
        return Ok(true);
    }
    Remote::of(env)?.map_or(Ok(false), |remote| remote.has(name))
}
